//! Phrases for the holders of a namespace, such as descriptors and bind mounts.

use super::line::Line;
use super::subject::ProcessRef;
use crate::graph::PidGraph;
use crate::model::{Holder, HoldingFile, Namespace, NamespaceState, Pid, SearchScope};
use crate::query::fold::keeping;

/// A reason why a namespace still exists.
pub enum KeptBy<'a> {
    /// A process has an open file descriptor with this number, which refers to the namespace.
    Fd(ProcessRef<'a>, u32),
    /// The namespace is bind-mounted at this path, in the mount namespace with this inode.
    Mount(&'a str, u64),
    /// A thread with this TID (`None` for the main thread) starts its children in the namespace.
    PidForChildren(ProcessRef<'a>, Option<Pid>),
    /// An open file of this kind, with this descriptor number, keeps the namespace alive.
    File(ProcessRef<'a>, HoldingFile, u32),
    /// The namespace has child namespaces.
    Children,
    /// Something that pidns did not find keeps the namespace alive.
    Unseen,
}

impl<'a> KeptBy<'a> {
    fn holder(graph: &'a PidGraph, holder: &'a Holder) -> Self {
        match holder {
            Holder::Fd { pid, comm, fd } => {
                Self::Fd(ProcessRef::new(graph, *pid, comm.as_deref()), *fd)
            }
            Holder::Mount { path, mount_namespace } => Self::Mount(path, *mount_namespace),
            Holder::PidForChildren { pid, comm, tid } => Self::PidForChildren(
                ProcessRef::new(graph, *pid, comm.as_deref()),
                (pid != tid).then_some(*tid),
            ),
            Holder::File { file, pid, comm, fd } => {
                Self::File(ProcessRef::new(graph, *pid, comm.as_deref()), *file, *fd)
            }
        }
    }

    /// Returns the PID of the holder if it is a process.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Fd(process, _) | Self::PidForChildren(process, _) | Self::File(process, ..) => {
                Some(process.pid())
            }
            Self::Mount(..) | Self::Children | Self::Unseen => None,
        }
    }

    /// Adds to `line` the reason why the namespace still exists.
    pub fn describe(&self, separator: &'static str, line: &mut Line) {
        match self {
            Self::Fd(process, _) | Self::PidForChildren(process, _) | Self::File(process, ..) => {
                line.plain(separator, format_args!("kept by {process}:"));
            }
            Self::Mount(path, _) => line.plain(separator, format_args!("kept by mount {path}")),
            Self::Children => line.plain(separator, format_args!("kept by its child namespaces")),
            Self::Unseen => {
                line.plain(separator, format_args!("kept by something that no search finds"));
            }
        }
        match self {
            Self::Fd(_, fd) => line.plain(" ", format_args!("open fd {fd}")),
            Self::Mount(_, mount_namespace) => {
                line.plain(" ", format_args!("(in mnt:[{mount_namespace}])"));
            }
            Self::PidForChildren(_, None) => {
                line.plain(" ", format_args!("its children would start here"));
            }
            Self::PidForChildren(_, Some(tid)) => {
                line.plain(" ", format_args!("children of its thread {tid} would start here"));
            }
            Self::File(_, HoldingFile::Pidfd, fd) => line.plain(" ", format_args!("pidfd {fd}")),
            Self::File(_, HoldingFile::Socket, fd) => {
                line.plain(" ", format_args!("unix socket {fd} whose peer was in it"));
            }
            Self::File(_, HoldingFile::Listener, fd) => {
                line.plain(" ", format_args!("listening unix socket {fd}, opened in it"));
            }
            Self::File(_, HoldingFile::Message, fd) => {
                line.plain(" ", format_args!("unread message from it to its socket {fd}"));
            }
            Self::File(_, HoldingFile::InFlight, fd) => {
                line.plain(" ", format_args!("descriptor in flight to its socket {fd}"));
            }
            Self::File(_, HoldingFile::Procfs, fd) => {
                line.plain(" ", format_args!("open file of its /proc, fd {fd}"));
            }
            Self::Children | Self::Unseen => {}
        }
    }
}

/// Returns the known reasons why a namespace still exists, filtered by [`keeping()`].
pub fn kept_by<'a>(graph: &'a PidGraph, namespace: &'a Namespace) -> Vec<KeptBy<'a>> {
    let holders = keeping(graph, namespace);
    let mut reasons: Vec<KeptBy<'a>> = holders.map(|it| KeptBy::holder(graph, it)).collect();
    if reasons.is_empty() && namespace.state != NamespaceState::Live {
        // In the kernel, each child namespace holds a reference to its parent.
        if !graph.children(namespace).is_empty() {
            reasons.push(KeptBy::Children);
        } else if is_held_unseen(graph, namespace) {
            reasons.push(KeptBy::Unseen);
        }
    }
    reasons
}

/// Returns `true` if a search of kernel memory found no holder of this namespace.
fn is_held_unseen(graph: &PidGraph, namespace: &Namespace) -> bool {
    let snapshot = graph.snapshot();
    let has_no_process = matches!(namespace.state, NamespaceState::Dead | NamespaceState::Nascent);
    has_no_process
        && namespace.init.is_none()
        // A filter may have removed child namespaces from the snapshot.
        && snapshot.selected.is_empty()
        && snapshot.searched.contains(&SearchScope::Kernel)
}
