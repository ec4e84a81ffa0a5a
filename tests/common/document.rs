//! Deserializes the JSON document, checks its invariants, and compares it with data that the tests
//! read from /proc.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::LazyLock;

use serde::Deserialize;

use super::{pidns, stdout};

/// The JSON document of pidns. Deserialization fails if a field is unknown or missing.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Document {
    pub schema_version: String,
    pub generator: Generator,
    pub captured_at: String,
    pub host: Host,
    pub procfs: Procfs,
    pub observer: Option<Observer>,
    pub searched: Vec<String>,
    pub details: Vec<String>,
    pub selected: Vec<Criterion>,
    pub complete: bool,
    pub roots: Vec<String>,
    pub namespaces: Vec<Namespace>,
    pub processes: Vec<Process>,
    pub limits: Option<Vec<serde_json::Value>>,
    pub diagnostics: Vec<Diagnostic>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Generator {
    pub name: String,
    pub version: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Host {
    pub hostname: Option<String>,
    pub kernel_release: Option<String>,
    pub boot_id: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Procfs {
    pub path: String,
    pub own: bool,
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Observer {
    pub pid: u32,
    pub start_time: Option<u64>,
    pub scan_end: Option<u64>,
    pub step: Option<u32>,
    pub companions: Vec<u32>,
    pub attendants: Vec<u32>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Criterion {
    pub by: String,
    pub values: Vec<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Namespace {
    pub id: String,
    pub inode: Option<u64>,
    pub device: Option<u64>,
    pub ns_id: Option<u64>,
    pub level: Option<usize>,
    pub parent: Option<String>,
    pub children: Vec<String>,
    pub state: String,
    pub init: Option<u32>,
    pub members: Vec<u32>,
    pub member_count: usize,
    pub owner: Option<Owner>,
    pub holders: Vec<Holder>,
    pub blocked_by: Vec<Blocker>,
    pub container: Option<Container>,
    pub evidence: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Owner {
    pub user_namespace: u64,
    pub uid: Option<u32>,
    pub user: Option<String>,
}

/// Kinds of holders that are open files, but not of the namespace itself.
const FILES: [&str; 6] = ["pidfd", "socket", "listener", "in_flight", "message", "procfs_file"];

/// A holder of a namespace, with only the fields that apply to its kind.
#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(try_from = "AnyHolder")]
pub enum Holder {
    Fd { pid: u32, fd: u32 },
    Mount { path: String, mount_namespace: u64 },
    PidForChildren { pid: u32, tid: u32 },
    File { kind: String, pid: u32, fd: u32 },
}

/// A holder of a namespace as in the JSON: every key is present, and null if it does not apply.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct AnyHolder {
    kind: String,
    pid: Option<u32>,
    tid: Option<u32>,
    comm: Option<String>,
    fd: Option<u32>,
    path: Option<String>,
    mount_namespace: Option<u64>,
}

impl TryFrom<AnyHolder> for Holder {
    type Error = String;

    fn try_from(holder: AnyHolder) -> Result<Self, String> {
        match holder {
            AnyHolder {
                ref kind,
                pid: Some(pid),
                tid: None,
                comm: _,
                fd: Some(fd),
                path: None,
                mount_namespace: None,
            } if kind == "fd" => Ok(Self::Fd { pid, fd }),
            AnyHolder {
                ref kind,
                pid: None,
                tid: None,
                comm: None,
                fd: None,
                path: Some(ref path),
                mount_namespace: Some(mount_namespace),
            } if kind == "mount" => Ok(Self::Mount { path: path.clone(), mount_namespace }),
            AnyHolder {
                ref kind,
                pid: Some(pid),
                tid: Some(tid),
                comm: _,
                fd: None,
                path: None,
                mount_namespace: None,
            } if kind == "pid_for_children" => Ok(Self::PidForChildren { pid, tid }),
            AnyHolder {
                kind,
                pid: Some(pid),
                tid: None,
                comm: _,
                fd: Some(fd),
                path: None,
                mount_namespace: None,
            } if FILES.contains(&kind.as_str()) => Ok(Self::File { kind, pid, fd }),
            other => Err(format!("no kind of holder has these fields: {other:?}")),
        }
    }
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Blocker {
    pub pid: u32,
    pub comm: String,
    pub reason: String,
    pub reaper: Option<u32>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Container {
    pub runtime: String,
    pub id: String,
    pub name: Option<String>,
    pub pod: Option<Pod>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Pod {
    pub uid: String,
    pub name: Option<String>,
    pub namespace: Option<String>,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Process {
    pub pid: u32,
    pub ppid: Option<u32>,
    pub namespace: Option<String>,
    pub nspid: Vec<u32>,
    pub comm: String,
    pub args: Option<Vec<String>>,
    pub state: String,
    pub uid: u32,
    pub user: Option<String>,
    pub threads: Option<u32>,
    pub start_time: Option<u64>,
    pub kernel_thread: bool,
    pub namespaces: Option<BTreeMap<String, u64>>,
    pub cgroup: Option<String>,
    pub container: Option<Container>,
    pub tracer: Option<u32>,
    pub frozen: bool,
    pub evidence: String,
}

#[derive(Clone, Debug, Deserialize, PartialEq)]
#[serde(deny_unknown_fields)]
pub struct Diagnostic {
    pub code: String,
    pub severity: String,
    pub message: String,
    pub errno: Option<String>,
    pub pids: Vec<u32>,
}

static SCHEMA: LazyLock<jsonschema::Validator> = LazyLock::new(|| {
    let schema = serde_json::from_str(include_str!("../../schemas/pidns-1.schema.json"));
    let options = jsonschema::options().should_validate_formats(true);
    options.build(&schema.expect("is JSON")).expect("is a schema")
});

/// Validates a document against the published schema and returns the errors.
pub fn schema_errors(document: &serde_json::Value) -> Vec<String> {
    SCHEMA
        .iter_errors(document)
        .map(|error| format!("{}: {error}", error.instance_path()))
        .collect()
}

impl Document {
    /// Parses a document, and asserts that it matches the schema and is consistent.
    pub fn read(json: &str) -> Self {
        let value: serde_json::Value = serde_json::from_str(json).expect("is JSON");
        assert_eq!(schema_errors(&value), Vec::<String>::new());
        let document: Self = serde_json::from_value(value).expect("matches the mirror");
        document.check();
        document
    }

    /// Runs pidns with these arguments, asserts that it succeeds, and parses the document.
    pub fn of(arguments: &[&str]) -> Self {
        let mut all = vec!["-q", "-f", "json"];
        all.extend(arguments);
        Self::read(&stdout(&pidns(&all)))
    }

    /// Asserts that the lists in the document do not contradict each other.
    fn check(&self) {
        let mut before: BTreeMap<&str, &Namespace> = BTreeMap::new();
        for namespace in &self.namespaces {
            let id = namespace.id.as_str();
            match namespace.parent.as_deref() {
                None => {
                    let is_root = self.roots.iter().any(|root| root == id);
                    assert_eq!(namespace.level, is_root.then_some(0), "{id}");
                }
                Some(parent) => {
                    let parent = before.get(parent).expect("a parent comes first");
                    assert_eq!(namespace.level, parent.level.map(|level| level + 1), "{id}");
                    assert!(parent.children.contains(&namespace.id), "{id}");
                }
            }
            let members: Vec<u32> = self
                .processes
                .iter()
                .filter(|process| process.namespace.as_deref() == Some(id))
                .map(|process| process.pid)
                .collect();
            assert_eq!(namespace.members, members, "{id}");
            let whole = self.selected.is_empty();
            if let Some(init) = namespace.init.filter(|&pid| whole || members.contains(&pid)) {
                assert_eq!(self.process(init).nspid.last(), Some(&1), "{id}");
            }
            assert!(
                namespace.member_count == members.len()
                    || (!whole && namespace.member_count > members.len()),
                "{id}"
            );
            assert!(before.insert(id, namespace).is_none(), "{id} comes once");
        }
        assert!(self.processes.is_sorted_by(|one, other| one.pid < other.pid));
        for process in &self.processes {
            assert_eq!(process.nspid[0], process.pid);
            if let Some(namespace) = &process.namespace {
                assert!(before.contains_key(namespace.as_str()), "{namespace}");
            }
        }
        if self.selected.is_empty() {
            self.check_parents();
        }
        let kinds: BTreeSet<_> = self.diagnostics.iter().map(|it| (&it.code, &it.errno)).collect();
        assert_eq!(kinds.len(), self.diagnostics.len(), "one entry for each code and errno");
        let unplaced = self.processes.iter().any(|process| process.namespace.is_none());
        let inferred = self.processes.iter().any(|process| process.evidence == "inferred")
            || self.namespaces.iter().any(|namespace| namespace.evidence == "inferred");
        assert!(!self.complete || !(unplaced || inferred), "an inferred view is not complete");
        assert!(
            self.complete || !self.diagnostics.is_empty(),
            "an incomplete view needs a diagnostic"
        );
    }

    /// Asserts that the parent of each process is in the document, too.
    fn check_parents(&self) {
        let pids: BTreeSet<u32> = self.processes.iter().map(|process| process.pid).collect();
        for process in &self.processes {
            let Some(parent) = process.ppid else { continue };
            assert!(pids.contains(&parent), "no process {parent}, the parent of {}", process.pid);
        }
    }

    pub fn process(&self, pid: u32) -> &Process {
        self.find_process(pid).unwrap_or_else(|| panic!("no process {pid}"))
    }

    pub fn find_process(&self, pid: u32) -> Option<&Process> {
        let index = self.processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        Some(&self.processes[index])
    }

    pub fn namespace(&self, id: &str) -> &Namespace {
        self.find_namespace(id).unwrap_or_else(|| panic!("no namespace {id}"))
    }

    pub fn find_namespace(&self, id: &str) -> Option<&Namespace> {
        self.namespaces.iter().find(|namespace| namespace.id == id)
    }

    /// Returns the namespace of a process.
    pub fn home(&self, pid: u32) -> &Namespace {
        let process = self.process(pid);
        self.namespace(process.namespace.as_ref().unwrap_or_else(|| panic!("{pid} is unplaced")))
    }

    /// Returns the IDs of a namespace and its ancestors, outermost first.
    pub fn lineage(&self, id: &str) -> Vec<&str> {
        let mut lineage = vec![self.namespace(id).id.as_str()];
        while let Some(parent) = &self.namespace(lineage[lineage.len() - 1]).parent {
            lineage.push(parent);
        }
        lineage.reverse();
        lineage
    }

    pub fn diagnostic(&self, code: &str) -> Option<&Diagnostic> {
        self.diagnostics.iter().find(|diagnostic| diagnostic.code == code)
    }
}

/// Asserts that the document shows the namespace of each process in `pids` correctly or not at all.
/// Returns the number of processes whose namespace the document shows.
pub fn compare(document: &Document, truth: &BTreeMap<u32, (String, usize)>, pids: &[u32]) -> usize {
    // If the inode of a namespace is unknown, its ID is `pid:[?PID]`, and PID is one of its
    // members.
    let real = |id: &str| match id.strip_prefix("pid:[?") {
        None => id.to_owned(),
        Some(pid) => truth[&pid.trim_end_matches(']').parse().unwrap()].0.clone(),
    };
    let mut placed = 0;
    for pid in pids {
        let process = document.process(*pid);
        let Some(id) = &process.namespace else { continue };
        placed += 1;
        let (expected, level) = &truth[pid];
        assert_eq!(&real(id), expected, "{pid} is in the wrong place");
        let namespace = document.namespace(id);
        if let Some(shown) = namespace.level {
            assert_eq!(shown, *level, "{pid}");
        }
        if let Some(parent) = &namespace.parent {
            // In /proc, the parent namespace must be one level above the namespace of the process.
            let above = truth.iter().find(|(_, (id, _))| *id == real(parent));
            let (_, (_, above)) = above.expect("a parent with processes");
            assert_eq!(above + 1, *level, "the parent of {id}");
        }
    }
    placed
}
