//! Collects the holders of namespaces, within a memory limit.
//!
//! Without a limit, users could exhaust pidns's memory by opening many descriptors: a descriptor
//! costs its user only 8 bytes of kernel memory, but it costs pidns ten times as much memory.

use std::mem::discriminant;

use crate::model::Holder;

/// Maximum number of holders of each kind that the list stores for one namespace.
pub const MAX_HOLDERS: usize = 10_000;

/// Maximum total [`size`] of the holders in a list.
///
/// At this limit, the holders fill less than half of the largest allowed output document.
const MAX_SIZE: usize = 100_000;

/// Minimum total [`size`] at which `push` checks the limits of the list.
const FIRST_CHECK: usize = 1 << 16;

/// Holders, each with the inode of the namespace that it keeps alive.
#[derive(Debug)]
pub struct HolderList {
    holders: Vec<(u64, Holder)>,
    /// Total [`size`] of the holders in the list.
    size: usize,
    /// Total [`size`] at which `push` next checks the limits of the list.
    next_check: usize,
    left_out: usize,
}

impl Default for HolderList {
    fn default() -> Self {
        Self { holders: Vec::new(), size: 0, next_check: FIRST_CHECK, left_out: 0 }
    }
}

impl HolderList {
    /// Adds a holder of the namespace with this inode.
    pub fn push(&mut self, inode: u64, holder: Holder) {
        self.size += size(&holder);
        self.holders.push((inode, holder));
        if self.size >= self.next_check {
            self.leave_out_excess();
        }
    }

    /// Adds the contents of another list.
    pub fn merge(&mut self, other: Self) {
        self.left_out += other.left_out;
        for (inode, holder) in other.holders {
            self.push(inode, holder);
        }
    }

    /// Adds `count` to the number of holders that were left out.
    pub fn leave_out(&mut self, count: usize) {
        self.left_out += count;
    }

    /// Iterates over the holders, each with the inode of the namespace that it keeps alive.
    pub fn iter(&self) -> std::slice::Iter<'_, (u64, Holder)> {
        self.holders.iter()
    }

    /// Keeps only the holders of the namespaces that `is_kept` selects by inode.
    pub fn retain_namespaces(&mut self, is_kept: impl Fn(u64) -> bool) {
        self.holders.retain(|&(inode, _)| is_kept(inode));
    }

    /// Keeps only the holders that `is_kept` selects.
    pub fn retain(&mut self, is_kept: impl Fn(&Holder) -> bool) {
        self.holders.retain(|(_, holder)| is_kept(holder));
    }

    /// Returns the sorted, deduplicated holders, and the number of holders that were left out.
    pub fn finish(mut self) -> (Vec<(u64, Holder)>, usize) {
        self.leave_out_excess();
        (self.holders, self.left_out)
    }

    /// Removes duplicates, and the holders that exceed [`MAX_HOLDERS`] or [`MAX_SIZE`].
    fn leave_out_excess(&mut self) {
        // In a sorted list, holders of the same kind and namespace are adjacent.
        self.holders.sort_unstable();
        self.holders.dedup();
        let mut limit = MAX_HOLDERS;
        self.keep_first(limit);
        // Keep at least one holder of each kind and namespace.
        while self.size > MAX_SIZE && limit > 1 {
            limit /= 2;
            self.keep_first(limit);
        }
        self.next_check = FIRST_CHECK.max(2 * self.size);
    }

    /// Keeps the first `limit` holders of each kind and namespace.
    fn keep_first(&mut self, limit: usize) {
        let before = self.holders.len();
        let (mut previous, mut count) = (None, 0);
        self.holders.retain(|(inode, holder)| {
            let this = Some((*inode, discriminant(holder)));
            count = if this == previous { count + 1 } else { 1 };
            previous = this;
            count <= limit
        });
        self.left_out += before - self.holders.len();
        self.size = self.holders.iter().map(|(_, holder)| size(holder)).sum();
    }
}

/// Returns the approximate size of a holder in memory, in units of 64 bytes.
fn size(holder: &Holder) -> usize {
    match holder {
        Holder::Mount { path, .. } => 1 + path.len() / 64,
        _ => 1,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Pid;

    fn fd(pid: u32, fd: u32) -> Holder {
        Holder::Fd { pid: Pid::new(pid).unwrap(), comm: None, fd }
    }

    #[test]
    fn keeps_the_first_holders_of_each_kind_and_counts_the_others() {
        let mut list = HolderList::default();
        let mount = Holder::Mount { path: "/x".to_owned(), mount_namespace: 7 };
        for pid in (1..=100).rev() {
            for number in 0..1000 {
                list.push(4, fd(pid, number));
            }
        }
        assert!(list.iter().len() < 2 * FIRST_CHECK);
        let mut other = HolderList::default();
        for inode in [4, 5, 5] {
            other.push(inode, mount.clone());
        }
        other.leave_out(3);
        list.merge(other);
        let (holders, left_out) = list.finish();
        assert_eq!((holders.len(), left_out), (MAX_HOLDERS + 2, 90_000 + 3));
        assert_eq!(holders[MAX_HOLDERS - 1], (4, fd(10, 999)));
        assert_eq!(holders[MAX_HOLDERS..], [(4, mount.clone()), (5, mount)]);
    }
    #[test]
    fn many_namespaces_share_the_total_size() {
        let mut list = HolderList::default();
        for inode in 1..=100 {
            for number in 0..if inode == 50 { 3 } else { 10_000 } {
                list.push(inode, fd(1, number));
            }
        }
        let long = |number| format!("/{number:04000}");
        for number in 0..1000 {
            list.push(1, Holder::Mount { path: long(number), mount_namespace: 7 });
        }
        let (holders, left_out) = list.finish();
        assert_eq!(holders.len() + left_out, 99 * 10_000 + 3 + 1000);
        let total: usize = holders.iter().map(|(_, holder)| size(holder)).sum();
        assert!((MAX_SIZE / 4..=MAX_SIZE).contains(&total), "{total}");
        let of = |wanted| holders.iter().filter(|(inode, _)| *inode == wanted).count();
        assert_eq!(of(50), 3);
        assert!((200..MAX_SIZE / 99).contains(&of(2)), "{}", of(2));
        assert_eq!(of(2), of(99));
    }
}
