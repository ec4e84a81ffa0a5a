//! Collects the bind mounts of namespaces, using a limited amount of memory.
//!
//! Any user can create many bind mounts with long paths. For each namespace, the list stores at
//! most [`MAX_HOLDERS`] different paths.

use std::collections::{HashMap, HashSet};
use std::rc::Rc;

use super::holder_list::MAX_HOLDERS;
use super::parse::{MountedKind, NamespaceMount};

/// The bind mounts of nsfs files in one mount namespace.
#[derive(Debug, Default)]
pub struct MountList {
    mounts: Vec<NamespaceMount>,
    /// Maps the inode of each namespace to the paths of its bind mounts.
    paths: HashMap<u64, HashSet<Rc<[u8]>>>,
    left_out: usize,
}

impl MountList {
    /// Returns the mounts, and how many mounts of PID namespaces were left out.
    pub fn finish(self) -> (Vec<NamespaceMount>, usize) {
        (self.mounts, self.left_out)
    }
}

impl Extend<NamespaceMount> for MountList {
    fn extend<T: IntoIterator<Item = NamespaceMount>>(&mut self, mounts: T) {
        for mut mount in mounts {
            let paths = self.paths.entry(mount.inode).or_default();
            if let Some(path) = paths.get(&mount.path) {
                mount.path = Rc::clone(path);
            } else if paths.len() < MAX_HOLDERS {
                paths.insert(Rc::clone(&mount.path));
            } else {
                self.left_out += usize::from(mount.kind == MountedKind::Pid);
                continue;
            }
            self.mounts.push(mount);
        }
    }
}

impl FromIterator<NamespaceMount> for MountList {
    fn from_iter<T: IntoIterator<Item = NamespaceMount>>(mounts: T) -> Self {
        let mut list = Self::default();
        list.extend(mounts);
        list
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_equal_paths_and_counts_the_mounts_at_further_paths() {
        let mount = |id, kind, inode, path: String| NamespaceMount {
            id,
            kind,
            inode,
            path: path.into_bytes().into(),
        };
        let mut list = MountList::default();
        for id in 0..20_000 {
            list.extend([
                mount(id, MountedKind::Pid, 4, "/x".to_owned()),
                mount(id, MountedKind::Pid, 5, format!("/{id}")),
                mount(id, MountedKind::Mount, 6, format!("/{id}")),
            ]);
        }
        let (mounts, left_out) = list.finish();
        assert_eq!((mounts.len(), left_out), (20_000 + 2 * MAX_HOLDERS, 20_000 - MAX_HOLDERS));
        let mut stacked = mounts.iter().filter(|it| it.inode == 4);
        let first = stacked.next().unwrap();
        assert!(stacked.all(|it| Rc::ptr_eq(&it.path, &first.path)));
    }
}
