//! Says of which namespaces it is not known what keeps them. That they are in
//! the kernel's memory is known before; nothing is asked here.

use std::collections::{BTreeSet, HashSet};
use std::fmt::Write as _;

use crate::collect::log::DiagnosticLog;
use crate::model::{DiagnosticCode, Namespace, NamespaceId, Process};

/// Namespaces that the diagnostic names; the rest are counted.
const NAMED: usize = 10;

/// Notes those of the namespaces in the kernel's memory (by inode) that have no
/// member, no holder and no namespace below.
pub fn note_held_unseen(
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
    let mut unseen: BTreeSet<NamespaceId> =
        namespaces.iter().filter(is_unheld).map(|it| it.id).collect();
    let homes = processes.iter().filter_map(|it| it.namespace);
    for kept in homes.chain(namespaces.iter().filter_map(|it| it.parent)) {
        unseen.remove(&kept);
    }
    if unseen.is_empty() {
        return;
    }
    let named: Vec<_> = unseen.iter().take(NAMED).map(NamespaceId::to_string).collect();
    let mut account = format!("kept by something that no search shows: {}", named.join(", "));
    if let Some(more @ 1..) = unseen.len().checked_sub(NAMED) {
        // Writing to a String does not fail.
        let _ = write!(account, " and {more} more");
    }
    log.note_as(DiagnosticCode::HeldUnseen, account, None);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{Holder, HoldingFile, Pid};
    use crate::testing::{namespace, process};

    /// What is said of namespaces 2 to 5 in the kernel's memory, below 1.
    fn said(change: impl FnOnce(&mut [Namespace])) -> Option<String> {
        let mut namespaces = vec![namespace(1, None)];
        namespaces.extend((2..=5).map(|inode| namespace(inode, Some(1))));
        change(&mut namespaces);
        let processes = [process(&[1], Some(1)), process(&[7, 2], Some(4))];
        let mut log = DiagnosticLog::default();
        note_held_unseen(&namespaces, &processes, &(2..=5).collect(), &mut log);
        assert!(log.is_complete());
        log.into_diagnostics("").pop().map(|it| it.message)
    }

    #[test]
    fn what_has_a_holder_a_member_or_a_namespace_below_is_none_of_them() {
        let message = said(|namespaces| {
            let (file, pid) = (HoldingFile::Pidfd, Pid::INIT);
            namespaces[1].holders = vec![Holder::File { file, pid, comm: None, fd: 3 }];
            namespaces[4].parent = Some(NamespaceId::Inode(3));
        });
        let expected = "kept by something that no search shows: pid:[5]; \
                        it may be a mount of its /proc, for one";
        assert_eq!(message.as_deref(), Some(expected));
    }

    #[test]
    fn only_some_are_named() {
        let namespaces: Vec<_> = (1..=12).map(|inode| namespace(inode, None)).collect();
        let mut log = DiagnosticLog::default();
        note_held_unseen(&namespaces, &[], &(1..=12).collect(), &mut log);
        let message = log.into_diagnostics("").pop().unwrap().message;
        assert!(message.contains("pid:[9], pid:[10] and 2 more; "), "{message}");
        let mut log = DiagnosticLog::default();
        note_held_unseen(&namespaces, &[], &HashSet::new(), &mut log);
        assert!(log.into_diagnostics("").is_empty());
    }
}
