//! From a graph to the document, one process and one namespace at a time.

use serde::Serialize;
use serde::ser::Serializer;

use super::scalars::{Id, Nspid, Pid};
use super::wire::{
    Container, Criterion, Diagnostic, Document, Generator, Holder, Host, Level, Namespace, Owner,
    Process, Procfs, Translation,
};
use super::{SCHEMA_VERSION, TRANSLATION_VERSION};
use crate::graph::PidGraph;
use crate::model;

/// A list that is made while it is written.
pub struct Lazy<I>(pub(super) I);

impl<I: Iterator<Item: Serialize> + Clone> Serialize for Lazy<I> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.clone())
    }
}

/// The document of a graph, to be serialised.
pub fn document(graph: &PidGraph) -> impl Serialize {
    let snapshot = graph.snapshot();
    let (name, version) = snapshot.generator.clone();
    let tree = graph.tree();
    Document {
        schema_version: SCHEMA_VERSION.to_owned(),
        generator: Generator { name, version },
        captured_at: snapshot.captured_at.clone(),
        host: Host {
            hostname: snapshot.host.hostname.clone(),
            kernel_release: snapshot.host.kernel_release.clone(),
            boot_id: snapshot.host.boot_id.clone(),
        },
        procfs: Procfs {
            path: snapshot.procfs.path.clone(),
            own: snapshot.procfs.own,
            namespace: snapshot.procfs.namespace.map(Id),
        },
        searched: snapshot.searched.iter().map(|&source| source.into()).collect(),
        selected: snapshot.selected.iter().map(Criterion::from).collect(),
        complete: snapshot.complete,
        roots: graph.roots().iter().map(|root| Id(root.id)).collect(),
        namespaces: Lazy(WithGraph { tree: tree.into_iter(), graph }),
        processes: Lazy(graph.processes().iter().map(Process::from)),
        diagnostics: snapshot.diagnostics.iter().map(Diagnostic::from).collect(),
    }
}

/// The namespaces of a graph, with what only the graph knows of them.
#[derive(Clone)]
pub(super) struct WithGraph<'a> {
    pub(super) tree: std::vec::IntoIter<(&'a model::Namespace, usize)>,
    pub(super) graph: &'a PidGraph,
}

impl Iterator for WithGraph<'_> {
    type Item = Namespace;

    fn next(&mut self) -> Option<Namespace> {
        let (namespace, level) = self.tree.next()?;
        let members: Vec<_> =
            self.graph.members(namespace).iter().map(|member| Pid(member.pid)).collect();
        Some(Namespace {
            id: Id(namespace.id),
            inode: namespace.id.inode(),
            device: namespace.device,
            ns_id: namespace.ns_id,
            level,
            parent: self.graph.parent(namespace).map(|parent| Id(parent.id)),
            children: self.graph.children(namespace).iter().map(|child| Id(child.id)).collect(),
            state: namespace.state.into(),
            init: namespace.init.map(Pid),
            member_count: namespace.member_count.or(Some(members.len())),
            members,
            owner: namespace.owner.as_ref().map(|owner| Owner {
                user_namespace: owner.user_namespace,
                uid: owner.uid,
                user: owner.user.clone(),
            }),
            holders: namespace.holders.iter().map(Holder::from).collect(),
            container: namespace.container.as_ref().map(|container| Container {
                runtime: container.runtime.clone(),
                id: container.id.clone(),
                pod: container.pod.clone(),
            }),
            evidence: namespace.evidence.into(),
        })
    }
}

impl From<&model::Process> for Process {
    fn from(process: &model::Process) -> Self {
        Self {
            pid: Pid(process.pid),
            ppid: process.ppid.map(Pid),
            namespace: process.namespace.map(Id),
            nspid: Nspid(process.nspid.clone()),
            comm: process.comm.clone(),
            state: process.state,
            uid: process.uid,
            user: process.user.clone(),
            kernel_thread: process.kernel_thread,
            evidence: process.evidence.into(),
        }
    }
}

impl From<&model::Holder> for Holder {
    fn from(holder: &model::Holder) -> Self {
        match holder {
            model::Holder::Fd { pid, fd, .. } => Self::Fd { pid: Pid(*pid), fd: *fd },
            model::Holder::Mount { path, mount_namespace } => {
                Self::Mount { path: path.clone(), mount_namespace: *mount_namespace }
            }
            model::Holder::PidForChildren { pid, tid, .. } => {
                Self::PidForChildren { pid: Pid(*pid), tid: Pid(*tid) }
            }
        }
    }
}

impl From<&model::Criterion> for Criterion {
    fn from(criterion: &model::Criterion) -> Self {
        Self { by: criterion.by.clone(), values: criterion.values.clone() }
    }
}

impl From<&model::Diagnostic> for Diagnostic {
    fn from(diagnostic: &model::Diagnostic) -> Self {
        Self {
            code: diagnostic.code.clone(),
            severity: diagnostic.severity.into(),
            message: diagnostic.message.clone(),
            errno: diagnostic.errno.clone(),
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
