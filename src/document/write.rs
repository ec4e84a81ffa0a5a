//! Converts a graph to a document, one namespace or process at a time.

use serde::Serialize;
use serde::ser::Serializer;

use super::limit::Limit;
use super::open_list::Word;
use super::process::Process;
use super::scalars::{BootId, Code, Errno, Inode, Timestamp};
use super::snapshot::{
    Blocker, Diagnostic, Document, Generator, Holder, HolderKind, Host, Namespace, Owner,
};
use super::version::SCHEMA_VERSION;
use crate::graph::PidGraph;
use crate::model;

/// A list whose elements are created while it is serialized.
pub struct Lazy<I>(pub I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Lazy<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// Converts a graph to a document.
#[must_use]
pub fn document(graph: &PidGraph) -> impl Serialize {
    let processes = graph.processes().iter().map(Process::from);
    let snapshot = graph.snapshot();
    let (name, version) = snapshot.generator.clone();
    Document {
        schema_version: SCHEMA_VERSION.to_owned(),
        generator: Generator { name, version },
        captured_at: Timestamp(snapshot.captured_at.clone()),
        host: Host::from(&snapshot.host),
        procfs: snapshot.procfs.clone(),
        observer: snapshot.observer.clone(),
        searched: snapshot.searched.iter().map(|&scope| scope.into()).collect(),
        details: snapshot.details.iter().map(|&detail| detail.into()).collect(),
        selected: snapshot.selected.clone(),
        complete: snapshot.complete,
        roots: graph.roots().iter().map(|root| root.id).collect(),
        namespaces: Lazy(namespaces(graph)),
        processes: Lazy(processes),
        limits: snapshot.limits.as_ref().map(|limits| limits.iter().map(Limit::from).collect()),
        diagnostics: snapshot.diagnostics.iter().map(Diagnostic::from).collect(),
    }
}

/// Converts the namespaces of a graph to the serde type, in tree order.
pub fn namespaces(graph: &PidGraph) -> impl Iterator<Item = Namespace> + Clone {
    graph.tree().into_iter().map(move |(it, _)| namespace(graph, it))
}

/// Converts a namespace of this graph to the serde type.
pub fn namespace(graph: &PidGraph, namespace: &model::Namespace) -> Namespace {
    let members: Vec<_> = graph.members(namespace).iter().map(|member| member.pid).collect();
    Namespace {
        id: namespace.id,
        inode: namespace.id.inode().map(Inode),
        device: namespace.device,
        ns_id: namespace.ns_id,
        level: graph.level(namespace),
        parent: graph.parent(namespace).map(|parent| parent.id),
        children: graph.children(namespace).iter().map(|child| child.id).collect(),
        state: namespace.state.into(),
        init: namespace.init,
        member_count: namespace.member_count.or(Some(members.len())),
        members,
        owner: namespace.owner.as_ref().map(|owner| Owner {
            user_namespace: Inode(owner.user_namespace),
            uid: owner.uid,
            user: owner.user.clone(),
        }),
        holders: namespace.holders.iter().map(Holder::from).collect(),
        blocked_by: namespace.blocked_by.iter().map(Blocker::from).collect(),
        container: namespace.container.clone(),
        evidence: namespace.evidence.into(),
    }
}

impl From<&model::Host> for Host {
    fn from(host: &model::Host) -> Self {
        Self {
            hostname: host.hostname.clone(),
            kernel_release: host.kernel_release.clone(),
            boot_id: host.boot_id.clone().and_then(|id| BootId::try_from(id).ok()),
        }
    }
}

impl From<&model::Holder> for Holder {
    fn from(holder: &model::Holder) -> Self {
        let holder_of = |kind| Self {
            kind: Word::Known(kind),
            pid: None,
            tid: None,
            comm: None,
            fd: None,
            path: None,
            mount_namespace: None,
        };
        match holder {
            model::Holder::Fd { pid, comm, fd } => Self {
                pid: Some(*pid),
                comm: comm.clone(),
                fd: Some(*fd),
                ..holder_of(HolderKind::Fd)
            },
            model::Holder::Mount { path, mount_namespace } => Self {
                path: Some(path.clone()),
                mount_namespace: Some(Inode(*mount_namespace)),
                ..holder_of(HolderKind::Mount)
            },
            model::Holder::PidForChildren { pid, comm, tid } => Self {
                pid: Some(*pid),
                tid: Some(*tid),
                comm: comm.clone(),
                ..holder_of(HolderKind::PidForChildren)
            },
            model::Holder::File { file, pid, comm, fd } => Self {
                pid: Some(*pid),
                comm: comm.clone(),
                fd: Some(*fd),
                ..holder_of((*file).into())
            },
        }
    }
}

impl From<model::HoldingFile> for HolderKind {
    fn from(file: model::HoldingFile) -> Self {
        match file {
            model::HoldingFile::Pidfd => Self::Pidfd,
            model::HoldingFile::Socket => Self::Socket,
            model::HoldingFile::Listener => Self::Listener,
            model::HoldingFile::InFlight => Self::InFlight,
            model::HoldingFile::Message => Self::Message,
            model::HoldingFile::Procfs => Self::ProcfsFile,
        }
    }
}

impl From<&model::Blocker> for Blocker {
    fn from(blocker: &model::Blocker) -> Self {
        Self {
            pid: blocker.pid,
            comm: blocker.comm.clone(),
            reason: blocker.reason.into(),
            reaper: blocker.reaper,
        }
    }
}

impl From<&model::Diagnostic> for Diagnostic {
    fn from(diagnostic: &model::Diagnostic) -> Self {
        Self {
            code: Code(diagnostic.code.clone()),
            severity: diagnostic.severity.into(),
            message: diagnostic.message.clone(),
            errno: diagnostic.errno.clone().map(Errno),
            pids: diagnostic.pids.clone(),
        }
    }
}
