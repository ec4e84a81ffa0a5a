//! The document as serde types: its fields, in their order, and nothing else.

use serde::{Deserialize, Serialize};
use smol_str::SmolStr;

use super::scalars::{Id, Nspid, Pid};
use crate::model;

/// The whole of it. The long lists are types of their own, so that they are
/// written one by one and never all in memory.
#[derive(Debug, Serialize, Deserialize)]
pub struct Document<N = Vec<Namespace>, P = Vec<Process>> {
    pub(super) schema_version: String,
    pub(super) generator: Generator,
    pub(super) captured_at: String,
    pub(super) host: Host,
    pub(super) procfs: Procfs,
    pub(super) searched: Vec<SearchScope>,
    // Not asked for when reading, as it came after the first documents; like
    // it what is an Option.
    #[serde(default)]
    pub(super) selected: Vec<Criterion>,
    pub(super) complete: bool,
    pub(super) roots: Vec<Id>,
    pub(super) namespaces: N,
    pub(super) processes: P,
    pub(super) diagnostics: Vec<Diagnostic>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Generator {
    pub(super) name: String,
    pub(super) version: String,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Host {
    pub(super) hostname: Option<String>,
    pub(super) kernel_release: Option<String>,
    pub(super) boot_id: Option<String>,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Procfs {
    pub(super) path: String,
    pub(super) own: bool,
    pub(super) namespace: Option<Id>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum SearchScope {
    Processes,
    Children,
    Threads,
    Fds,
    Mounts,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Criterion {
    pub(super) by: String,
    pub(super) values: Vec<String>,
}

/// A PID namespace.
#[derive(Debug, Serialize, Deserialize)]
pub struct Namespace {
    pub(super) id: Id,
    pub(super) inode: Option<u64>,
    pub(super) device: Option<u64>,
    pub(super) ns_id: Option<u64>,
    pub(super) level: usize,
    pub(super) parent: Option<Id>,
    pub(super) children: Vec<Id>,
    pub(super) state: State,
    pub(super) init: Option<Pid>,
    pub(super) members: Vec<Pid>,
    pub(super) member_count: Option<usize>,
    pub(super) owner: Option<Owner>,
    pub(super) holders: Vec<Holder>,
    pub(super) container: Option<Container>,
    pub(super) evidence: Evidence,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum State {
    Live,
    Dead,
    Nascent,
    Unknown,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Owner {
    pub(super) user_namespace: u64,
    pub(super) uid: Option<u32>,
    pub(super) user: Option<SmolStr>,
}

#[derive(Debug, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "snake_case")]
pub(super) enum Holder {
    Fd { pid: Pid, fd: u32 },
    Mount { path: String, mount_namespace: u64 },
    PidForChildren { pid: Pid, tid: Pid },
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Container {
    pub(super) runtime: String,
    pub(super) id: String,
    pub(super) pod: Option<String>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Evidence {
    Kernel,
    Inferred,
}

/// A process.
#[derive(Debug, Serialize, Deserialize)]
pub struct Process {
    pub(super) pid: Pid,
    pub(super) ppid: Option<Pid>,
    pub(super) namespace: Option<Id>,
    pub(super) nspid: Nspid,
    pub(super) comm: SmolStr,
    pub(super) state: char,
    pub(super) uid: u32,
    pub(super) user: Option<SmolStr>,
    pub(super) kernel_thread: bool,
    pub(super) evidence: Evidence,
}

#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Diagnostic {
    pub(super) code: String,
    pub(super) severity: Severity,
    pub(super) message: String,
    pub(super) errno: Option<String>,
    pub(super) pids: Vec<Pid>,
}

#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub(super) enum Severity {
    Info,
    Warning,
}

/// A translation, to be serialised.
#[derive(Debug, Serialize)]
pub struct Translation {
    pub(super) schema_version: &'static str,
    pub(super) pid: Pid,
    pub(super) from: Option<Id>,
    pub(super) to: Option<Id>,
    pub(super) translated: Pid,
    pub(super) levels: Vec<Level>,
}

#[derive(Debug, Serialize)]
pub(super) struct Level {
    pub(super) namespace: Option<Id>,
    pub(super) pid: Pid,
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

same_words!(SearchScope, model::SearchScope: Processes, Children, Threads, Fds, Mounts);
same_words!(State, model::NamespaceState: Live, Dead, Nascent, Unknown);
same_words!(Evidence, model::Evidence: Kernel, Inferred);
same_words!(Severity, model::Severity: Info, Warning);
