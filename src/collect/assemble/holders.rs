//! Fills in the holders of namespaces, and reports namespaces without a known holder.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use super::namespaces::index;
use crate::collect::holder_list::{HolderList, MAX_HOLDERS};
use crate::collect::log::DiagnosticLog;
use crate::model::{DiagnosticCode, Namespace, NamespaceId, Process};

/// Maximum number of namespaces that the diagnostic lists by ID.
const MAX_NAMED: usize = 10;

/// Fills in the holders of all namespaces in a list sorted by ID.
pub fn attach_holders(namespaces: &mut [Namespace], holders: HolderList, log: &mut DiagnosticLog) {
    let (holders, left_out) = holders.finish();
    for (inode, holder) in holders {
        if let Some(index) = index(namespaces, NamespaceId::Inode(inode)) {
            namespaces[index].holders.push(holder);
        }
    }
    if left_out > 0 {
        let message = format!(
            "{left_out} holders are left out, because at most {MAX_HOLDERS} of one kind are shown for \
             a namespace"
        );
        log.note_as(DiagnosticCode::HoldersLeftOut, message, None);
    }
}

/// Reports the namespaces that were found in kernel memory (`in_kernel`), but have no known member,
/// child or holder.
pub fn note_without_known_holder(
    namespaces: &[Namespace],
    processes: &[Process],
    in_kernel: &HashSet<u64>,
    log: &mut DiagnosticLog,
) {
    if in_kernel.is_empty() {
        return;
    }
    let is_unheld = |it: &&Namespace| {
        it.holders.is_empty() && it.id.inode().is_some_and(|inode| in_kernel.contains(&inode))
    };
    let mut unexplained: BTreeSet<NamespaceId> =
        namespaces.iter().filter(is_unheld).map(|it| it.id).collect();
    let own = processes.iter().filter_map(|it| it.namespace);
    for kept in own.chain(namespaces.iter().filter_map(|it| it.parent)) {
        unexplained.remove(&kept);
    }
    if unexplained.is_empty() {
        return;
    }
    let named: Vec<_> = unexplained.iter().take(MAX_NAMED).map(NamespaceId::to_string).collect();
    let mut message = format!("no holder was found for {}", named.join(", "));
    if let Some(more @ 1..) = unexplained.len().checked_sub(MAX_NAMED) {
        // Writing to a `String` does not fail.
        let _ = write!(message, " and {more} more");
    }
    log.note_as(DiagnosticCode::HeldUnseen, message, None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Holder, HoldingFile, Pid};
    use crate::testing::{namespace, process};

    /// Applies `change` to the test's namespaces, and returns the diagnostic message about the
    /// namespaces with inodes 2 to 5.
    fn message(change: impl FnOnce(&mut [Namespace])) -> Option<String> {
        let mut namespaces = vec![namespace(1, None)];
        namespaces.extend((2..=5).map(|inode| namespace(inode, Some(1))));
        change(&mut namespaces);
        let processes = [process(&[1], Some(1)), process(&[7, 2], Some(4))];
        let mut log = DiagnosticLog::default();
        note_without_known_holder(&namespaces, &processes, &(2..=5).collect(), &mut log);
        assert!(log.is_complete());
        log.into_diagnostics("").pop().map(|it| it.message)
    }

    #[test]
    fn a_holder_a_member_or_a_child_explains_a_namespace() {
        let message = message(|namespaces| {
            let (file, pid) = (HoldingFile::Pidfd, Pid::INIT);
            namespaces[1].holders = vec![Holder::File { file, pid, comm: None, fd: 3 }];
            namespaces[4].parent = Some(NamespaceId::Inode(3));
        });
        let expected = "no holder was found for pid:[5]; \
                        it may be a detached mount, or a mount of its procfs, which no search shows";
        assert_eq!(message.as_deref(), Some(expected));
    }

    #[test]
    fn the_diagnostic_names_ten_namespaces_and_counts_the_others() {
        let namespaces: Vec<_> = (1..=12).map(|inode| namespace(inode, None)).collect();
        let mut log = DiagnosticLog::default();
        note_without_known_holder(&namespaces, &[], &(1..=12).collect(), &mut log);
        let message = log.into_diagnostics("").pop().unwrap().message;
        assert!(message.contains("pid:[9], pid:[10] and 2 more; "), "{message}");
        let mut log = DiagnosticLog::default();
        note_without_known_holder(&namespaces, &[], &HashSet::new(), &mut log);
        assert!(log.into_diagnostics("").is_empty());
    }
}
