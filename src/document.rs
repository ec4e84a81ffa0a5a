//! The document that programs read: the wire types of the published schema,
//! and nothing but them.
//!
//! Flat lists joined by IDs, so that `jq` needs no recursion. Within 1.x
//! fields are added, never renamed, retyped or removed. Every field is always
//! there, null where unknown.

use std::collections::{BTreeSet, HashMap, HashSet};
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
    searched: Vec<SearchScope>,
    // Not asked for when reading, as it came after the first documents; like
    // it what is an Option.
    #[serde(default)]
    selected: Vec<Criterion>,
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
enum SearchScope {
    Processes,
    Children,
    Threads,
    Fds,
    Mounts,
}

#[derive(Debug, Serialize, Deserialize)]
struct Criterion {
    by: String,
    values: Vec<String>,
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
    member_count: Option<usize>,
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
    Unknown,
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
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct Id(model::NamespaceId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A process ID, on the wire a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
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
struct WithGraph<'a> {
    tree: std::vec::IntoIter<(&'a model::Namespace, usize)>,
    graph: &'a PidGraph,
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

/// Version of the schema that translations written here follow.
const TRANSLATION_VERSION: &str = "1.0";

/// The published schema of a translation (JSON Schema 2020-12).
pub const TRANSLATION_SCHEMA: &str = include_str!("../schemas/pidns-translation-1.schema.json");

/// A translation, to be serialised.
#[derive(Debug, Serialize)]
pub struct Translation {
    schema_version: &'static str,
    pid: Pid,
    from: Option<Id>,
    to: Option<Id>,
    translated: Pid,
    levels: Vec<Level>,
}

#[derive(Debug, Serialize)]
struct Level {
    namespace: Option<Id>,
    pid: Pid,
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

/// Largest document that is read, in bytes.
pub const MAX_SIZE: u64 = 128 << 20;

/// Lines, brackets and list marks that YAML may have, as its parser takes some
/// 130 bytes for each, or more: a document of 100,000 processes has two million.
const MAX_YAML_ITEMS: usize = 4_000_000;

/// Brackets that may be open at once in YAML, and list marks in one line, as
/// its parser takes quadratic time and much memory for them. Counted without
/// regard to quotes: names and paths may hold some.
const MAX_YAML_DEPTH: usize = 20_000;

/// Why a text is no document, and where.
#[derive(Debug, PartialEq, Eq)]
pub struct Invalid {
    /// The place, `processes[17].namespace`; empty where it is the whole.
    place: String,
    problem: String,
}

impl Invalid {
    fn at(place: impl Into<String>, problem: impl Into<String>) -> Self {
        Self { place: place.into(), problem: problem.into() }
    }

    /// What a parser says, which may quote a whole file that is no document,
    /// and repeat the place.
    fn found(place: &serde_path_to_error::Path, error: &dyn fmt::Display) -> Self {
        const QUOTED: usize = 120;
        let (place, said) = (place.to_string(), error.to_string());
        let said = said.strip_prefix(&format!("{place}: ")).unwrap_or(&said);
        let problem = match (said.char_indices().nth(QUOTED), said.rsplit_once(", expected ")) {
            (None, _) => said.to_owned(),
            (Some(_), Some((_, expected))) if expected.len() < QUOTED => {
                format!("is not {expected}")
            }
            (Some((end, _)), _) => format!("{}…", &said[..end]),
        };
        Self { place, problem }
    }
}

impl fmt::Display for Invalid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.place.as_str() {
            "" | "." | "?" => f.write_str(&self.problem),
            place => write!(f, "{place}: {}", self.problem),
        }
    }
}

impl std::error::Error for Invalid {}

/// Reads a document, JSON or YAML, told apart by content. It is not trusted:
/// what comes back is as consistent as a scan of the kernel would be.
///
/// # Errors
/// The text is no document, or one of another major version, or contradicts itself.
pub fn read(text: &[u8]) -> Result<model::Snapshot, Invalid> {
    #[derive(Deserialize)]
    #[serde(expecting = "a document of pidns")]
    struct Version {
        schema_version: String,
    }
    if text.trim_ascii().is_empty() {
        return Err(Invalid::at("", "is empty"));
    }
    // Another version may differ in all else, so this comes first.
    let version = parse::<Version>(text)?.schema_version;
    if version.split_once('.').is_none_or(|(major, _)| major != "1") {
        let problem = format!("{version} is not supported, only 1.x is");
        return Err(Invalid::at("schema_version", problem));
    }
    parse::<Document>(text).and_then(Document::into_snapshot).map_err(|mut error| {
        // Words that are not known here may well be right there.
        if version != SCHEMA_VERSION {
            error.problem.push_str("; the document follows schema version ");
            error.problem.push_str(&version);
            error.problem.push_str(", this program 1.0");
        }
        error
    })
}

/// Takes a text apart, as far as its form goes.
fn parse<T: serde::de::DeserializeOwned>(text: &[u8]) -> Result<T, Invalid> {
    let text = text.strip_prefix("\u{feff}".as_bytes()).unwrap_or(text);
    if text.trim_ascii_start().first() == Some(&b'{') {
        let mut json = serde_json::Deserializer::from_slice(text);
        let value = serde_path_to_error::deserialize(&mut json)
            .map_err(|error| Invalid::found(error.path(), error.inner()))?;
        json.end().map_err(|error| Invalid::at("", error.to_string()))?;
        return Ok(value);
    }
    let text = std::str::from_utf8(text).map_err(|error| Invalid::at("", error.to_string()))?;
    let (mut items, mut open, mut marks) = (0_usize, 0_usize, 0_usize);
    for byte in text.bytes() {
        match byte {
            b'\n' => marks = 0,
            b'-' | b'?' => marks += 1,
            b'[' | b'{' => open += 1,
            b']' | b'}' => open = open.saturating_sub(1),
            b',' => {}
            _ => continue,
        }
        items += 1;
        if items > MAX_YAML_ITEMS || open.max(marks) > MAX_YAML_DEPTH {
            return Err(Invalid::at("", "too large or too deep for YAML; JSON may be larger"));
        }
    }
    serde_path_to_error::deserialize(serde_yaml::Deserializer::from_str(text))
        .map_err(|error| Invalid::found(error.path(), error.inner()))
}

impl Document {
    /// The snapshot that the document was made of.
    fn into_snapshot(self) -> Result<model::Snapshot, Invalid> {
        let depths = self.check_namespaces()?;
        self.check_processes(&depths)?;
        let Self { generator, host, procfs, searched, .. } = self;
        Ok(model::Snapshot {
            generator: (generator.name, generator.version),
            captured_at: self.captured_at,
            host: model::Host {
                hostname: host.hostname,
                kernel_release: host.kernel_release,
                boot_id: host.boot_id,
            },
            procfs: model::Procfs {
                path: procfs.path,
                own: procfs.own,
                namespace: procfs.namespace.map(|id| id.0),
            },
            searched: searched.into_iter().map(Into::into).collect(),
            details: BTreeSet::new(),
            selected: self.selected.into_iter().map(Into::into).collect(),
            complete: self.complete,
            namespaces: self.namespaces.into_iter().map(Into::into).collect(),
            processes: self.processes.into_iter().map(Into::into).collect(),
            diagnostics: self.diagnostics.into_iter().map(Into::into).collect(),
        })
    }

    /// Whether nothing was cut away, that something else may refer to.
    fn is_whole(&self) -> bool {
        self.selected.is_empty()
    }

    /// How deep every namespace is. A parent comes before its children, which
    /// also rules out cycles.
    fn check_namespaces(&self) -> Result<HashMap<Id, Depth>, Invalid> {
        let mut depths: HashMap<Id, Depth> = HashMap::with_capacity(self.namespaces.len());
        let mut children: HashMap<Id, Vec<Id>> = HashMap::new();
        let mut roots = Vec::new();
        for (index, namespace) in self.namespaces.iter().enumerate() {
            let at = |field: &str| format!("namespaces[{index}].{field}");
            let mut depth = match namespace.parent.map(|parent| (parent, depths.get(&parent))) {
                None => Depth { root: namespace.id, level: 0, below_procfs: None },
                Some((_, Some(above))) => Depth {
                    root: above.root,
                    level: above.level + 1,
                    below_procfs: above.below_procfs.map(|below| below + 1),
                },
                Some((parent, None)) => {
                    let problem = format!("{} is no namespace before this one", parent.0);
                    return Err(Invalid::at(at("parent"), problem));
                }
            };
            if Some(namespace.id) == self.procfs.namespace {
                depth.below_procfs = Some(0);
            }
            if namespace.level != depth.level || depth.level > model::MAX_LEVEL {
                let problem =
                    format!("{} where {} is expected, at most 32", namespace.level, depth.level);
                return Err(Invalid::at(at("level"), problem));
            }
            if namespace.inode != namespace.id.0.inode() {
                return Err(Invalid::at(at("inode"), "is not that of the id"));
            }
            if depths.insert(namespace.id, depth).is_some() {
                return Err(Invalid::at(at("id"), format!("{} comes twice", namespace.id.0)));
            }
            match namespace.parent {
                None => roots.push(namespace.id),
                Some(parent) => children.entry(parent).or_default().push(namespace.id),
            }
        }
        if !is_same_set(&self.roots, &roots) {
            return Err(Invalid::at("roots", "are not the namespaces without parent"));
        }
        for (index, namespace) in self.namespaces.iter().enumerate() {
            let named = children.get(&namespace.id).map_or(&[][..], Vec::as_slice);
            if !is_same_set(&namespace.children, named) {
                let place = format!("namespaces[{index}].children");
                return Err(Invalid::at(place, "are not the namespaces that name it as parent"));
            }
        }
        let absent = self.procfs.namespace.filter(|id| !depths.contains_key(id));
        if let Some(id) = absent.filter(|_| self.is_whole()) {
            return Err(Invalid::at("procfs.namespace", format!("no namespace {}", id.0)));
        }
        Ok(depths)
    }

    /// Every process is in one namespace, with as many PIDs as that is deep.
    fn check_processes(&self, depths: &HashMap<Id, Depth>) -> Result<(), Invalid> {
        let mut members: HashMap<Id, Vec<Pid>> = HashMap::new();
        // By root, PIDs that members of it have.
        let mut above: HashMap<Id, usize> = HashMap::new();
        let mut seen = HashSet::with_capacity(self.processes.len());
        for (index, process) in self.processes.iter().enumerate() {
            let at = |field: &str| format!("processes[{index}].{field}");
            let pid = process.pid.0;
            if !seen.insert(process.pid) {
                return Err(Invalid::at(at("pid"), format!("{pid} comes twice")));
            }
            let numbers = process.nspid.0.len();
            if process.nspid.0.first().is_some_and(|&first| first != pid) {
                return Err(Invalid::at(at("nspid"), format!("does not begin with {pid}")));
            }
            if numbers > model::MAX_LEVEL + 1 {
                return Err(Invalid::at(at("nspid"), "is longer than namespaces nest"));
            }
            let Some(id) = process.namespace else { continue };
            let Some(depth) = depths.get(&id) else {
                return Err(Invalid::at(at("namespace"), format!("no namespace {}", id.0)));
            };
            // Some kernels do not tell the numbers. Of parents that are out of
            // sight nobody knows how many there are, but all below have the same.
            let expected = match depth.below_procfs {
                Some(below) => below + 1,
                None if numbers <= depth.level => depth.level + 1,
                None => {
                    depth.level + *above.entry(depth.root).or_insert_with(|| numbers - depth.level)
                }
            };
            if numbers != 0 && numbers != expected {
                let problem = format!("{numbers} PIDs where {expected} are expected");
                return Err(Invalid::at(at("nspid"), problem));
            }
            members.entry(id).or_default().push(process.pid);
        }
        for (index, namespace) in self.namespaces.iter().enumerate() {
            let at = |field: &str| format!("namespaces[{index}].{field}");
            let named = members.get(&namespace.id).map_or(&[][..], Vec::as_slice);
            if !is_same_set(&namespace.members, named) {
                return Err(Invalid::at(at("members"), "are not the processes that name it"));
            }
            // A part may lack it, but not have it elsewhere.
            let elsewhere = |init| self.is_whole() || seen.contains(&init);
            if namespace.init.is_some_and(|init| !named.contains(&init) && elsewhere(init)) {
                return Err(Invalid::at(at("init"), "is not a member"));
            }
            let count = namespace.member_count.unwrap_or(named.len());
            if count < named.len() || (count > named.len() && self.is_whole()) {
                let problem = format!("{count} where {} are listed", named.len());
                return Err(Invalid::at(at("member_count"), problem));
            }
        }
        Ok(())
    }
}
/// How deep a namespace is: below its root, and below that of the /proc that
/// was read, where it is.
struct Depth {
    root: Id,
    level: usize,
    below_procfs: Option<usize>,
}

/// Whether two lists name the same, each once, in whatever order.
fn is_same_set<T: Copy + Ord>(one: &[T], other: &[T]) -> bool {
    let sorted = |list: &[T]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    one.len() == other.len() && sorted(one) == sorted(other)
}

impl From<Namespace> for model::Namespace {
    fn from(namespace: Namespace) -> Self {
        Self {
            id: namespace.id.0,
            device: namespace.device,
            ns_id: namespace.ns_id,
            parent: namespace.parent.map(|id| id.0),
            state: namespace.state.into(),
            init: namespace.init.map(|pid| pid.0),
            member_count: namespace.member_count.filter(|&count| count != namespace.members.len()),
            owner: namespace.owner.map(|owner| model::Owner {
                user_namespace: owner.user_namespace,
                uid: owner.uid,
                user: owner.user,
            }),
            holders: namespace.holders.into_iter().map(Into::into).collect(),
            blocked_by: Vec::new(),
            container: namespace.container.map(|container| model::Container {
                runtime: container.runtime,
                id: container.id,
                pod: container.pod,
            }),
            evidence: namespace.evidence.into(),
        }
    }
}

impl From<Holder> for model::Holder {
    fn from(holder: Holder) -> Self {
        match holder {
            Holder::Fd { pid, fd } => Self::Fd { pid: pid.0, comm: None, fd },
            Holder::Mount { path, mount_namespace } => Self::Mount { path, mount_namespace },
            Holder::PidForChildren { pid, tid } => {
                Self::PidForChildren { pid: pid.0, comm: None, tid: tid.0 }
            }
        }
    }
}

impl From<Process> for model::Process {
    fn from(process: Process) -> Self {
        Self {
            pid: process.pid.0,
            ppid: process.ppid.map(|pid| pid.0),
            namespace: process.namespace.map(|id| id.0),
            nspid: process.nspid.0,
            comm: process.comm,
            state: process.state,
            uid: process.uid,
            user: process.user,
            threads: None,
            start_time: None,
            kernel_thread: process.kernel_thread,
            evidence: process.evidence.into(),
            details: None,
        }
    }
}

impl From<Criterion> for model::Criterion {
    fn from(criterion: Criterion) -> Self {
        Self { by: criterion.by, values: criterion.values }
    }
}

impl From<Diagnostic> for model::Diagnostic {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            code: diagnostic.code,
            severity: diagnostic.severity.into(),
            message: diagnostic.message,
            errno: diagnostic.errno,
            pids: diagnostic.pids.into_iter().map(|pid| pid.0).collect(),
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

same_words!(SearchScope, model::SearchScope: Processes, Children, Threads, Fds, Mounts);
same_words!(State, model::NamespaceState: Live, Dead, Nascent, Unknown);
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
            model::SearchScope::ALL.map(|it| json(SearchScope::from(it))).into(),
        );
        let states = [State::Live, State::Dead, State::Nascent];
        same("/$defs/namespace/properties/state/enum", states.map(json).into());
        same("/$defs/evidence/enum", [Evidence::Kernel, Evidence::Inferred].map(json).into());
        let severities = [Severity::Info, Severity::Warning];
        same("/$defs/diagnostic/properties/severity/enum", severities.map(json).into());
    }

    fn written(snapshot: model::Snapshot) -> Value {
        serde_json::to_value(document(&PidGraph::new(snapshot))).unwrap()
    }

    #[test]
    fn what_was_written_reads_back_as_it_was() {
        for snapshot in [crate::testing::farm(), everything()] {
            let graph = PidGraph::new(snapshot);
            let json = serde_json::to_string(&document(&graph)).unwrap();
            assert_eq!(&read(json.as_bytes()).unwrap(), graph.snapshot());
            let yaml = serde_yaml::to_string(&document(&graph)).unwrap();
            assert_eq!(&read(yaml.as_bytes()).unwrap(), graph.snapshot());
        }
    }

    #[test]
    fn a_later_minor_version_is_read_and_another_major_one_refused_by_name() {
        let mut later = written(everything());
        later["schema_version"] = "1.7".into();
        later["colour"] = "green".into();
        later["namespaces"][0]["colour"] = serde_json::json!({"deep": [1, 2]});
        assert!(read(later.to_string().as_bytes()).is_ok());
        for version in ["2.0", "0.9", "1", "one", ""] {
            later["schema_version"] = version.into();
            let error = read(later.to_string().as_bytes()).unwrap_err();
            let expected = format!("schema_version: {version} is not supported, only 1.x is");
            assert_eq!(error.to_string(), expected);
        }
    }

    #[test]
    fn what_contradicts_itself_is_refused_with_the_place() {
        let mut whole = everything();
        whole.selected.clear();
        whole.namespaces[0].member_count = None;
        let spoil = |pointer: &str, value: Value| {
            let mut bad = written(whole.clone());
            *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
            read(bad.to_string().as_bytes()).unwrap_err().to_string()
        };
        let dead = "pid:[4026532180]";
        for (pointer, value, expected) in [
            ("/roots", serde_json::json!([]), "roots: are not the namespaces without parent"),
            ("/procfs/namespace", "pid:[5]".into(), "procfs.namespace: no namespace pid:[5]"),
            (
                "/namespaces/1/parent",
                dead.into(),
                "namespaces[1].parent: pid:[4026532180] is no namespace before this one",
            ),
            (
                "/namespaces/1/parent",
                "pid:[4026532179]".into(),
                "namespaces[1].parent: pid:[4026532179] is no namespace before this one",
            ),
            (
                "/namespaces/2/level",
                7.into(),
                "namespaces[2].level: 7 where 2 is expected, at most 32",
            ),
            ("/namespaces/2/inode", 7.into(), "namespaces[2].inode: is not that of the id"),
            (
                "/namespaces/1/children",
                serde_json::json!([]),
                "namespaces[1].children: are not the namespaces that name it as parent",
            ),
            (
                "/namespaces/0/members/0",
                9.into(),
                "namespaces[0].members: are not the processes that name it",
            ),
            ("/namespaces/0/init", 6.into(), "namespaces[0].init: is not a member"),
            (
                "/namespaces/0/member_count",
                4.into(),
                "namespaces[0].member_count: 4 where 3 are listed",
            ),
            (
                "/processes/3/namespace",
                "pid:[5]".into(),
                "processes[3].namespace: no namespace pid:[5]",
            ),
            ("/processes/3/pid", 7.into(), "processes[3].nspid: does not begin with 7"),
            (
                "/processes/3/nspid",
                serde_json::json!([6]),
                "processes[3].nspid: 1 PIDs where 2 are expected",
            ),
            ("/processes/3/pid", 0.into(), "processes[3].pid: 0 is no PID"),
            (
                "/processes/3/uid",
                (-1).into(),
                "processes[3].uid: invalid value: integer `-1`, expected u32",
            ),
            (
                "/processes/3/state",
                "SS".into(),
                "processes[3].state: invalid value: string \"SS\", expected a character",
            ),
            (
                "/processes/3/namespace",
                "x".into(),
                "processes[3].namespace: not of the form pid:[INODE] or pid:[?PID]",
            ),
            (
                "/namespaces/2/state",
                "undead".into(),
                "namespaces[2].state: unknown variant `undead`, expected one of `live`, `dead`, `nascent`, `unknown`",
            ),
        ] {
            // JSON errors name the line as well.
            let error = spoil(pointer, value);
            assert_eq!(error.split(" at line ").next(), Some(expected), "{pointer}");
        }
        let mut twice = written(everything());
        let process = twice["processes"][0].clone();
        twice["processes"].as_array_mut().unwrap().insert(1, process);
        assert_eq!(
            read(twice.to_string().as_bytes()).unwrap_err().to_string(),
            "processes[1].pid: 1 comes twice"
        );
    }

    #[test]
    fn what_a_later_version_added_need_not_be_there() {
        let mut farm = written(crate::testing::farm());
        let fields =
            [("", "selected"), ("/procfs", "namespace"), ("/namespaces/0", "member_count")];
        for (object, field) in fields {
            farm.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(field).unwrap();
        }
        let mut expected = crate::testing::farm();
        expected.procfs.namespace = None;
        assert_eq!(
            PidGraph::new(read(farm.to_string().as_bytes()).unwrap()).snapshot(),
            PidGraph::new(expected).snapshot()
        );
    }

    #[test]
    fn a_part_may_lack_something_but_not_contradict_itself() {
        let mut part = written(everything());
        part["namespaces"][0]["member_count"] = 1.into();
        assert_eq!(
            read(part.to_string().as_bytes()).unwrap_err().to_string(),
            "namespaces[0].member_count: 1 where 3 are listed"
        );
        part["namespaces"][0]["member_count"] = 3.into();
        part["namespaces"][0]["init"] = 6.into();
        assert_eq!(
            read(part.to_string().as_bytes()).unwrap_err().to_string(),
            "namespaces[0].init: is not a member"
        );
        part["namespaces"][0]["init"] = 99.into();
        assert!(read(part.to_string().as_bytes()).is_ok(), "not selected");
    }

    #[test]
    fn without_an_anchor_the_pids_of_one_tree_still_agree() {
        let mut apart = everything();
        apart.procfs.namespace = None;
        let mut bad = written(apart);
        assert!(read(bad.to_string().as_bytes()).is_ok());
        for (nspid, expected) in [
            (serde_json::json!([7]), "processes[4].nspid: 1 PIDs where 2 are expected"),
            (serde_json::json!([7, 5, 2]), "processes[4].nspid: 3 PIDs where 2 are expected"),
        ] {
            bad["processes"][4]["nspid"] = nspid;
            assert_eq!(read(bad.to_string().as_bytes()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn what_is_no_document_is_not_quoted_at_length() {
        let secret = "secret ".repeat(100);
        assert_eq!(read(secret.as_bytes()).unwrap_err().to_string(), "is not a document of pidns");
        assert_eq!(read(b" \n").unwrap_err().to_string(), "is empty");
        let later = "{\"schema_version\": \"1.7\"}";
        let error = read(later.as_bytes()).unwrap_err().to_string();
        assert!(error.ends_with("; the document follows schema version 1.7, this program 1.0"));
    }

    #[test]
    fn nonsense_is_refused_in_bounded_time() {
        let deep = "[".repeat(1_000_000);
        let deep_inside = format!("{{\"schema_version\": \"1.0\", \"x\": {deep}");
        let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
             c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
             e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n\
             g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nschema_version: *g\n";
        let start = std::time::Instant::now();
        for text in
            ["", " ", "{", "[]", "null", "- a", "\u{0}", "{}x", "a: b", &deep, &deep_inside, bomb]
        {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
            assert!(error.len() < 500, "{error}");
        }
        assert!(read(b"\xff\xfe").is_err());
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    proptest::proptest! {
        #[test]
        fn any_change_of_a_document_is_survived(at in 0_usize..6000, byte: u8, part: bool) {
            let mut whole = everything();
            if !part {
                whole.selected.clear();
                whole.namespaces[0].member_count = None;
            }
            let mut text = written(whole).to_string().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok(snapshot) = read(&text) {
                let graph = PidGraph::new(snapshot);
                let json = serde_json::to_string(&document(&graph)).unwrap();
                proptest::prop_assert!(read(json.as_bytes()).is_ok());
            }
        }
    }
}
