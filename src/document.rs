//! The document that programs read: the wire types of the published schema,
//! and nothing but them.
//!
//! Flat lists joined by IDs, so that `jq` needs no recursion. Within 1.x
//! fields are added, never renamed, retyped or removed. The types say with
//! `skip_serializing` nothing: every field is always there, null where unknown.

use std::fmt;

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use crate::graph::PidGraph;
use crate::model;

/// Version of the schema that documents written here follow.
pub const SCHEMA_VERSION: &str = "1.0";

/// The published schema (JSON Schema 2020-12).
pub const SCHEMA: &str = include_str!("../schemas/pidns-1.schema.json");

/// The whole of it. The long lists are types of their own, so that they are
/// written one by one and never all in memory.
#[derive(Debug, Serialize, Deserialize)]
pub struct Document<N = Vec<Namespace>, P = Vec<Process>> {
    schema_version: String,
    generator: Generator,
    captured_at: String,
    host: Host,
    procfs: Procfs,
    searched: Vec<Source>,
    complete: bool,
    roots: Vec<Id>,
    namespaces: N,
    processes: P,
    diagnostics: Vec<Diagnostic>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Generator {
    name: String,
    version: String,
}

#[derive(Debug, Serialize, Deserialize)]
struct Host {
    hostname: Option<String>,
    kernel_release: Option<String>,
    boot_id: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
struct Procfs {
    path: String,
    own: bool,
    namespace: Option<Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Source {
    Processes,
    Children,
    Threads,
    Fds,
    Mounts,
}

/// A PID namespace.
#[derive(Debug, Serialize, Deserialize)]
pub struct Namespace {
    id: Id,
    inode: Option<u64>,
    device: Option<u64>,
    ns_id: Option<u64>,
    level: usize,
    parent: Option<Id>,
    children: Vec<Id>,
    state: State,
    init: Option<Pid>,
    members: Vec<Pid>,
    owner: Option<Owner>,
    holders: Vec<Holder>,
    container: Option<Container>,
    evidence: Evidence,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum State {
    Live,
    Dead,
    Nascent,
}

#[derive(Debug, Serialize, Deserialize)]
struct Owner {
    user_namespace: u64,
    uid: Option<u32>,
    user: Option<SmolStr>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
enum Holder {
    Fd { pid: Pid, fd: u32 },
    Mount { path: String, mount_namespace: u64 },
    PidForChildren { pid: Pid, tid: Pid },
}

#[derive(Debug, Serialize, Deserialize)]
struct Container {
    runtime: String,
    id: String,
    pod: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Evidence {
    Kernel,
    Inferred,
}

/// A process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Process {
    pid: Pid,
    ppid: Option<Pid>,
    namespace: Option<Id>,
    nspid: Nspid,
    comm: SmolStr,
    state: char,
    uid: u32,
    user: Option<SmolStr>,
    kernel_thread: bool,
    evidence: Evidence,
}

#[derive(Debug, Serialize, Deserialize)]
struct Diagnostic {
    code: String,
    severity: Severity,
    message: String,
    errno: Option<String>,
    pids: Vec<Pid>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    Info,
    Warning,
}

/// A namespace's ID, on the wire its text.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Id(model::NamespaceId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(&self.0)
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A process ID, on the wire a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
struct Pid(model::Pid);

impl From<Pid> for u32 {
    fn from(pid: Pid) -> Self {
        pid.0.as_u32()
    }
}

impl TryFrom<u32> for Pid {
    type Error = NoPid;

    fn try_from(raw: u32) -> Result<Self, NoPid> {
        model::Pid::new(raw).map(Self).ok_or(NoPid(raw))
    }
}

/// A number that is no PID.
struct NoPid(u32);

impl fmt::Display for NoPid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no PID", self.0)
    }
}

/// The PIDs of a process in every level, on the wire a list of numbers.
#[derive(Debug)]
struct Nspid(model::Nspid);

impl Serialize for Nspid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|pid| pid.as_u32()))
    }
}

impl<'de> Deserialize<'de> for Nspid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pids = Vec::<Pid>::deserialize(deserializer)?;
        Ok(Self(pids.into_iter().map(|pid| pid.0).collect()))
    }
}

/// A list that is made while it is written.
pub struct Lazy<I>(I);

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
        complete: snapshot.complete,
        roots: graph.roots().iter().map(|root| Id(root.id)).collect(),
        namespaces: Lazy(WithGraph { tree: tree.into_iter(), graph }),
        processes: Lazy(graph.processes().iter().map(Process::from)),
        diagnostics: snapshot.diagnostics.iter().map(Diagnostic::from).collect(),
    }
}

/// The namespaces of a graph, with what only the graph knows of them.
#[derive(Clone)]
struct WithGraph<'a> {
    tree: std::vec::IntoIter<(&'a model::Namespace, usize)>,
    graph: &'a PidGraph,
}

impl Iterator for WithGraph<'_> {
    type Item = Namespace;

    fn next(&mut self) -> Option<Namespace> {
        let (namespace, level) = self.tree.next()?;
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
            members: self.graph.members(namespace).iter().map(|member| Pid(member.pid)).collect(),
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
            model::Holder::Fd { pid, fd } => Self::Fd { pid: Pid(*pid), fd: *fd },
            model::Holder::Mount { path, mount_namespace } => {
                Self::Mount { path: path.clone(), mount_namespace: *mount_namespace }
            }
            model::Holder::PidForChildren { pid, tid } => {
                Self::PidForChildren { pid: Pid(*pid), tid: Pid(*tid) }
            }
        }
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

/// Words that are the same on the wire and in the model, both ways.
macro_rules! same_words {
    ($wire:ident, $model:path: $($word:ident),+) => {
        impl From<$model> for $wire {
            fn from(word: $model) -> Self {
                match word {
                    $(<$model>::$word => Self::$word,)+
                }
            }
        }

        impl From<$wire> for $model {
            fn from(word: $wire) -> Self {
                match word {
                    $($wire::$word => Self::$word,)+
                }
            }
        }
    };
}

same_words!(Source, model::Source: Processes, Children, Threads, Fds, Mounts);
same_words!(State, model::NamespaceState: Live, Dead, Nascent);
same_words!(Evidence, model::Evidence: Kernel, Inferred);
same_words!(Severity, model::Severity: Info, Warning);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde_json::Value;

    use super::*;
    use crate::testing::everything;

    fn keys(object: &Value) -> BTreeSet<&str> {
        object.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Compares what is written with what the schema says of it, object by object.
    fn compare(schema: &Value, part: &Value, written: &Value, seen: &mut BTreeSet<String>) {
        if let Some(reference) = part.get("$ref").and_then(Value::as_str) {
            let part = schema.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            return compare(schema, part, written, seen);
        }
        for kind in ["anyOf", "oneOf"] {
            for choice in part.get(kind).and_then(Value::as_array).into_iter().flatten() {
                let tag = choice.pointer("/properties/kind/const");
                if (tag.is_none() || tag == written.get("kind"))
                    && !written.is_null()
                    && choice["type"] != "null"
                {
                    compare(schema, choice, written, seen);
                }
            }
        }
        if let Some(properties) = part.get("properties") {
            let required =
                part["required"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
            assert_eq!(keys(properties), keys(written));
            assert_eq!(keys(properties), required.collect(), "every field is always there");
            for (name, property) in properties.as_object().unwrap() {
                let reference = property.get("description").or(property.get("const"));
                assert!(reference.is_some(), "{name} is described");
                seen.insert(name.clone());
                compare(schema, property, &written[name], seen);
            }
        }
        if let (Some(items), Some(written)) = (part.get("items"), written.as_array()) {
            for written in written {
                compare(schema, items, written, seen);
            }
        }
    }

    fn json(word: impl Serialize) -> Value {
        serde_json::to_value(word).unwrap()
    }

    fn properties(schema: &Value, all: &mut BTreeSet<String>) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    all.extend(properties.keys().cloned());
                }
                object.values().for_each(|value| properties(value, all));
            }
            Value::Array(list) => list.iter().for_each(|value| properties(value, all)),
            _ => {}
        }
    }

    #[test]
    fn schema_and_types_have_the_same_fields() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let graph = PidGraph::new(everything());
        let written = serde_json::to_value(document(&graph)).unwrap();
        let mut seen = BTreeSet::new();
        compare(&schema, &schema, &written, &mut seen);
        let mut all = BTreeSet::new();
        properties(&schema, &mut all);
        assert_eq!(seen, all, "the sample has every part of the schema");
    }

    #[test]
    fn schema_and_types_have_the_same_words() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let same = |pointer: &str, words: Vec<Value>| {
            assert_eq!(schema.pointer(pointer), Some(&Value::Array(words)), "{pointer}");
        };
        same(
            "/properties/searched/items/enum",
            model::Source::ALL.map(|it| json(Source::from(it))).into(),
        );
        let states = [State::Live, State::Dead, State::Nascent];
        same("/$defs/namespace/properties/state/enum", states.map(json).into());
        same("/$defs/evidence/enum", [Evidence::Kernel, Evidence::Inferred].map(json).into());
        let severities = [Severity::Info, Severity::Warning];
        same("/$defs/diagnostic/properties/severity/enum", severities.map(json).into());
    }
}
