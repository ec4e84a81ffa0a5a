//! Converts a graph to documents and records, one namespace and process at a time.

use std::iter::once;

use serde::Serialize;
use serde::ser::Serializer;

use super::process::Process;
use super::record::{Envelope, Record};
use super::scalars::{BootId, Code, Errno, Id, Inode, Pid, Timestamp};
use super::wire::{
    Blocker, Container, Counts, Criterion, Diagnostic, Document, Generator, Holder, Host, Level,
    Namespace, Owner, Procfs, SnapshotContent, SnapshotSummary, Translation,
};
use super::words::{HolderKind, Word};
use super::{SCHEMA_VERSION, TRANSLATION_VERSION};
use crate::graph::PidGraph;
use crate::model;

/// A list whose elements are created while it is serialized.
pub struct Lazy<I>(pub I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Lazy<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// Returns the document of a graph.
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
        procfs: Procfs::from(&snapshot.procfs),
        searched: snapshot.searched.iter().map(|&scope| scope.into()).collect(),
        details: snapshot.details.iter().map(|&detail| detail.into()).collect(),
        selected: snapshot.selected.iter().map(Criterion::from).collect(),
        complete: snapshot.complete,
        roots: graph.roots().iter().map(|root| Id(root.id)).collect(),
        namespaces: Lazy(namespaces(graph)),
        processes: Lazy(processes),
        diagnostics: snapshot.diagnostics.iter().map(Diagnostic::from).collect(),
    }
}

/// Writes the records of a graph: first the snapshot, then the lists in the order of the
/// document. Stops at the first error of `write`.
pub fn write_records<E>(
    graph: &PidGraph,
    write: impl FnMut(&Record<'_, SnapshotContent<'_>>) -> Result<(), E>,
) -> Result<(), E> {
    let snapshot = graph.snapshot();
    let summary = SnapshotContent::Snapshot(SnapshotSummary::from(graph));
    let namespaces = namespaces(graph).map(SnapshotContent::Namespace);
    let processes = graph.processes().iter().map(|it| SnapshotContent::Process(it.into()));
    let diagnostics = snapshot.diagnostics.iter().map(|it| SnapshotContent::Diagnostic(it.into()));
    let envelope = Envelope::new(SCHEMA_VERSION, snapshot);
    envelope.write_each(once(summary).chain(namespaces).chain(processes).chain(diagnostics), write)
}

impl From<&PidGraph> for SnapshotSummary {
    fn from(graph: &PidGraph) -> Self {
        let snapshot = graph.snapshot();
        let (name, version) = snapshot.generator.clone();
        Self {
            generator: Generator { name, version },
            procfs: Procfs::from(&snapshot.procfs),
            searched: snapshot.searched.iter().map(|&scope| scope.into()).collect(),
            details: snapshot.details.iter().map(|&detail| detail.into()).collect(),
            selected: snapshot.selected.iter().map(Criterion::from).collect(),
            complete: snapshot.complete,
            roots: graph.roots().iter().map(|root| Id(root.id)).collect(),
            counts: Counts {
                namespace: snapshot.namespaces.len(),
                process: snapshot.processes.len(),
                diagnostic: snapshot.diagnostics.len(),
            },
        }
    }
}

/// Converts the namespaces of a graph, in tree order.
fn namespaces(graph: &PidGraph) -> impl Iterator<Item = Namespace> + Clone {
    graph.tree().into_iter().map(move |(it, _)| namespace(graph, it))
}

/// Converts a namespace, with its level, parent, children and members from the graph.
pub fn namespace(graph: &PidGraph, namespace: &model::Namespace) -> Namespace {
    let members: Vec<_> = graph.members(namespace).iter().map(|member| Pid(member.pid)).collect();
    Namespace {
        id: Id(namespace.id),
        inode: namespace.id.inode().map(Inode),
        device: namespace.device,
        ns_id: namespace.ns_id,
        level: graph.level(namespace),
        parent: graph.parent(namespace).map(|parent| Id(parent.id)),
        children: graph.children(namespace).iter().map(|child| Id(child.id)).collect(),
        state: namespace.state.into(),
        init: namespace.init.map(Pid),
        member_count: namespace.member_count.or(Some(members.len())),
        members,
        owner: namespace.owner.as_ref().map(|owner| Owner {
            user_namespace: Inode(owner.user_namespace),
            uid: owner.uid,
            user: owner.user.clone(),
        }),
        holders: namespace.holders.iter().map(Holder::from).collect(),
        blocked_by: namespace.blocked_by.iter().map(Blocker::from).collect(),
        container: namespace.container.as_ref().map(|container| Container {
            runtime: container.runtime.clone(),
            id: container.id.clone(),
            pod: container.pod.clone(),
        }),
        evidence: namespace.evidence.into(),
    }
}

impl Generator {
    /// This program.
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
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

impl From<&model::Procfs> for Procfs {
    fn from(procfs: &model::Procfs) -> Self {
        Self { path: procfs.path.clone(), own: procfs.own, namespace: procfs.namespace.map(Id) }
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
                pid: Some(Pid(*pid)),
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
                pid: Some(Pid(*pid)),
                tid: Some(Pid(*tid)),
                comm: comm.clone(),
                ..holder_of(HolderKind::PidForChildren)
            },
            model::Holder::File { file, pid, comm, fd } => Self {
                pid: Some(Pid(*pid)),
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
            model::HoldingFile::InFlight => Self::InFlight,
            model::HoldingFile::Procfs => Self::ProcfsFile,
        }
    }
}

impl From<&model::Blocker> for Blocker {
    fn from(blocker: &model::Blocker) -> Self {
        Self {
            pid: Pid(blocker.pid),
            comm: blocker.comm.clone(),
            reason: blocker.reason.into(),
            reaper: blocker.reaper.map(Pid),
        }
    }
}

impl From<&model::Criterion> for Criterion {
    fn from(criterion: &model::Criterion) -> Self {
        Self { by: criterion.by.name().to_owned(), values: criterion.values.clone() }
    }
}

impl From<&model::Diagnostic> for Diagnostic {
    fn from(diagnostic: &model::Diagnostic) -> Self {
        Self {
            code: Code(diagnostic.code.clone()),
            severity: diagnostic.severity.into(),
            message: diagnostic.message.clone(),
            errno: diagnostic.errno.clone().map(Errno),
            pids: diagnostic.pids.iter().map(|&pid| Pid(pid)).collect(),
        }
    }
}

impl From<&model::Translation> for Translation {
    fn from(translation: &model::Translation) -> Self {
        let level = |level: &model::Level| Level {
            namespace: level.namespace.map(Id),
            pid: Pid(level.pid),
        };
        Self {
            schema_version: TRANSLATION_VERSION,
            pid: Pid(translation.pid),
            from: translation.from.map(Id),
            to: translation.to.map(Id),
            translated: Pid(translation.translated),
            levels: translation.levels.iter().map(level).collect(),
        }
    }
}
