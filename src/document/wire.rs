//! The document as serde types: its fields, in their order, and nothing else.
//!
//! Comments of types and fields are the descriptions of the published schema,
//! which `schema.rs` makes of them. Where they say `remote`, `objects.rs` has the
//! implementations, which take nothing but objects. A field that a later 1.x adds may be null,
//! or a list, as documents of earlier versions do not have it.

use std::borrow::Cow;

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

use super::process::Process;
use super::scalars::{BootId, Code, Errno, Id, Inode, Pid, Timestamp};
use super::words::{HolderKind, SnapshotRecordType, Word};
use crate::model;

/// The PID namespace hierarchy of a Linux host, as `pidns -f json` and
/// `pidns -f yaml` write it. Flat lists joined by ids. Within schema version
/// 1.x fields are added, never renamed, retyped or removed, and lists of words
/// that have a branch for any other word may grow: readers pass over fields and
/// words that they do not know.
// The long lists are types of their own, so that they are written one by one
// and never all in memory.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Document<N = Vec<Namespace>, P = Vec<Process<'static>>> {
    /// Version of this schema that the document follows.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    pub schema_version: String,
    /// The program that wrote the document.
    pub generator: Generator,
    /// When the scan began: RFC 3339, UTC, at most nine digits of a second's
    /// fraction (pidns writes microseconds).
    pub captured_at: Timestamp,
    /// Where the scan ran.
    pub host: Host,
    /// The /proc that was read.
    pub procfs: Procfs,
    /// Where namespaces were looked for.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub searched: Vec<Word<model::SearchScope>>,
    /// What was read of processes because it was asked for; the fields of what
    /// was not are null.
    // Absent in documents made before it existed, hence the default; `selected`
    // and `blocked_by` likewise.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub details: Vec<Word<model::Detail>>,
    /// By what the document was cut down since the scan, in that order; empty
    /// where it is whole. Where it is not, init, ppid, procfs.namespace and the
    /// PIDs in holders, blocked_by and diagnostics may name what is left out,
    /// and complete and diagnostics are of the whole. Ancestors of what is
    /// selected are kept, without their members, except above a root: that has
    /// no parent then, and levels count from it.
    #[serde(default)]
    pub selected: Vec<Criterion>,
    /// False as soon as anything in the places searched may be missing or is
    /// not from the kernel; diagnostics says what and why.
    pub complete: bool,
    /// The topmost visible namespaces, sorted.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub roots: Vec<Id>,
    /// Every namespace in tree order: a parent before its children, siblings by
    /// inode; of a selection, those selected and their ancestors (see selected).
    pub namespaces: N,
    /// Every process, by PID; of a selection, the processes selected.
    pub processes: P,
    /// What a reader must know, one entry for each code and errno.
    pub diagnostics: Vec<Diagnostic>,
}

/// A line of `pidns -f ndjson`: one thing of one snapshot of one host. Lines of
/// any number of hosts may follow each other in any order. The field that
/// `record` names holds the thing, as it stands in the document; a snapshot is
/// one line of kind snapshot and as many of the others as that says. Within
/// schema version 1.x fields are added, never renamed, retyped or removed, and
/// readers pass over fields and kinds that they do not know.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(extend("allOf" = super::schema::payloads_of::<SnapshotRecordType>())))]
#[allow(clippy::struct_field_names, reason = "`record` is what users see")]
pub struct Record<'a> {
    /// Version of this schema that the record follows.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    pub schema_version: Cow<'a, str>,
    /// When the scan began, as in the document. With host it names the snapshot
    /// that the record belongs to.
    pub captured_at: Cow<'a, Timestamp>,
    /// Where the scan ran, as in the document.
    pub host: Cow<'a, Host>,
    /// What the record holds.
    pub record: Word<SnapshotRecordType>,
    /// Of a record of kind snapshot.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[cfg_attr(test, schemars(with = "SnapshotHead"))]
    pub snapshot: Option<SnapshotHead>,
    /// Of a record of kind namespace.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[cfg_attr(test, schemars(with = "Namespace"))]
    pub namespace: Option<Namespace>,
    /// Of a record of kind process.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[cfg_attr(test, schemars(with = "Process"))]
    pub process: Option<Process<'a>>,
    /// Of a record of kind diagnostic.
    #[serde(default, skip_serializing_if = "Option::is_none", deserialize_with = "present")]
    #[cfg_attr(test, schemars(with = "Diagnostic"))]
    pub diagnostic: Option<Diagnostic>,
}

/// What a document holds beside its lists; the fields are those of the document.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "snapshot"))]
pub struct SnapshotHead {
    /// The program that wrote it.
    pub generator: Generator,
    /// The /proc that was read.
    pub procfs: Procfs,
    /// Where namespaces were looked for.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub searched: Vec<Word<model::SearchScope>>,
    /// What was read of processes because it was asked for.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub details: Vec<Word<model::Detail>>,
    /// By what it was cut down since the scan; empty where it is whole.
    pub selected: Vec<Criterion>,
    /// False as soon as anything in the places searched may be missing or is
    /// not from the kernel.
    pub complete: bool,
    /// The topmost visible namespaces, sorted.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub roots: Vec<Id>,
    /// How many records of the other kinds belong to the snapshot.
    pub counts: Counts,
}

/// How many records of each kind belong to a snapshot, so that a reader notices
/// where some were lost on the way.
#[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "counts"))]
pub struct Counts {
    /// Records of kind namespace.
    pub namespace: usize,
    /// Records of kind process.
    pub process: usize,
    /// Records of kind diagnostic.
    pub diagnostic: usize,
}

/// A program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Generator {
    /// Its name.
    pub name: String,
    /// Its version (Semantic Versioning).
    pub version: String,
}

/// A host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Host {
    /// Node name, uname(2).
    pub hostname: Option<String>,
    /// Kernel release, uname(2).
    pub kernel_release: Option<String>,
    /// Random id of this boot, /proc/sys/kernel/random/boot_id; null where it
    /// could not be read, or is no UUID.
    pub boot_id: Option<BootId>,
}

/// A mount of procfs.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Procfs {
    /// Where it was mounted.
    pub path: String,
    /// Whether it shows the viewer's own PID namespace. If not, it is that of
    /// an ancestor or of another namespace, and the kernel says less of parents.
    pub own: bool,
    /// The PID namespace whose numbers it speaks in: the first number of every
    /// nspid is a PID there. Null where no process told.
    pub namespace: Option<Id>,
}

/// An option that selects, and what was given for it.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "criterion"))]
pub struct Criterion {
    /// The option: pid (processes by number), root, depth, members, comm, user,
    /// container or state. May grow.
    pub by: String,
    /// What was given, as text; a namespace as its id.
    pub values: Vec<String>,
}

/// A PID namespace, pid_namespaces(7).
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "namespace"))]
pub struct Namespace {
    /// What the lists are joined by; unique in a document.
    pub id: Id,
    /// Its inode on nsfs; null where it could not be read.
    pub inode: Option<Inode>,
    /// Device number of nsfs; null where the namespace could not be opened.
    pub device: Option<u64>,
    /// The kernel's 64-bit number for it, never reused within a boot (NS_GET_ID,
    /// since Linux 6.18), else null. Programs that read numbers as doubles lose
    /// digits beyond 2^53.
    pub ns_id: Option<u64>,
    /// 0 for a root, else its parent's plus one; null where the way up to a root
    /// could not be found out.
    // Null says something, so it must be there.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(range(max = 32)))]
    pub level: Option<usize>,
    /// The namespace that it was made in; null for a root, and where it could not
    /// be found out.
    pub parent: Option<Id>,
    /// The namespaces made in it, by inode.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub children: Vec<Id>,
    /// What has become of it. Never a guess: live needs an init that was seen
    /// alive, or that the kernel confirms.
    pub state: Word<model::NamespaceState>,
    /// The process that is PID 1 in it; null where there is none or it is out
    /// of sight.
    pub init: Option<Pid>,
    /// The processes whose own (innermost) namespace it is, by PID.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub members: Vec<Pid>,
    /// How many members it has; more than are listed only where not all were
    /// selected.
    #[serde(default, deserialize_with = "present")]
    #[cfg_attr(test, schemars(with = "usize"))]
    pub member_count: Option<usize>,
    /// Who owns it; null where that is out of reach.
    pub owner: Option<Owner>,
    /// What keeps it alive beside its members, as far as it was searched for.
    pub holders: Vec<Holder>,
    /// Why its terminated init cannot go: the kernel ends a PID namespace only
    /// once all of its processes are reaped. Empty where nothing keeps it, or
    /// its init has not terminated.
    #[serde(default)]
    pub blocked_by: Vec<Blocker>,
    /// The container that its init's cgroup path names, or null.
    pub container: Option<Container>,
    /// How it and its place in the hierarchy are known.
    pub evidence: Word<model::Evidence>,
}

/// The user namespace that owns a PID namespace, user_namespaces(7)
/// (NS_GET_USERNS, since Linux 4.9).
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "owner"))]
pub struct Owner {
    /// Its inode.
    pub user_namespace: Inode,
    /// The user that made it, as the viewer's user namespace maps user IDs
    /// (NS_GET_OWNER_UID, since Linux 4.11); null where the kernel does not say.
    pub uid: Option<u32>,
    /// That user's name; null where the host has none.
    pub user: Option<SmolStr>,
}

/// What keeps a namespace alive. Every field is always there, and null where
/// it does not apply to the kind.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "holder"))]
#[cfg_attr(test, schemars(extend("allOf" = super::schema::fields_of_holders())))]
pub struct Holder {
    /// The kind of holder.
    pub kind: Word<HolderKind>,
    /// The process that holds it.
    pub pid: Option<Pid>,
    /// Of pid_for_children the thread; equal to pid for the leader.
    pub tid: Option<Pid>,
    /// Name of the process; null where it is not known.
    pub comm: Option<SmolStr>,
    /// Of fd, pidfd, socket, in_flight and procfs_file the number of the
    /// descriptor in the process.
    pub fd: Option<u32>,
    /// Of mount the mount point, as its mount namespace sees it.
    pub path: Option<String>,
    /// Of mount the inode of that mount namespace.
    pub mount_namespace: Option<Inode>,
}

/// A process that keeps a terminated init from going (zap_pid_ns_processes of
/// the kernel).
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "blocker"))]
pub struct Blocker {
    /// The process that the init waits for, or the init itself where it is a
    /// zombie that nobody reaps.
    pub pid: Pid,
    /// Its name.
    pub comm: SmolStr,
    /// Why it does not go.
    pub reason: Word<model::BlockReason>,
    /// The process outside the namespace that does not reap it; null where it
    /// is no zombie, or that is not known.
    pub reaper: Option<Pid>,
}

/// The container, or systemd unit, that a cgroup path names.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "container"))]
pub struct Container {
    /// What made it: docker, containerd, cri-o, podman, lxc (LXD and Incus make
    /// the same paths), systemd-nspawn, buildkit, runc, crun, garden,
    /// kubernetes (a pod's container of a runtime that the path does not name),
    /// unknown (any other container of such a runtime), or systemd for a unit.
    /// May grow.
    pub runtime: String,
    /// Its id or name there.
    pub id: String,
    /// UID of its Kubernetes pod, or null.
    pub pod: Option<String>,
}

/// Something that a reader of the document must know.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "diagnostic"))]
pub struct Diagnostic {
    // The schema lists the codes of this version.
    /// What it is, for programs.
    #[cfg_attr(test, schemars(extend("description" = super::schema::description_of_codes())))]
    pub code: Code,
    /// How much it matters.
    pub severity: Word<model::Severity>,
    /// What it is, for people; the wording may change at any time.
    pub message: String,
    /// Name of the system's error, such as EACCES, where one is the cause; its
    /// number where it has no name here.
    pub errno: Option<Errno>,
    /// The processes that it concerns, however many.
    pub pids: Vec<Pid>,
}

/// What a PID is called in another PID namespace, as `pidns translate -f json`
/// writes it: of several PIDs one after another, a line each unless indented. Within schema version 1.x fields are added, never renamed, retyped
/// or removed.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Translation {
    /// Version of this schema that the translation follows.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    pub schema_version: &'static str,
    /// The PID that was asked for, in the numbers of `from`.
    pub pid: Pid,
    /// The namespace that it is meant in; null where its id is unknown.
    pub from: Option<Id>,
    /// The namespace that it was translated to; null where its id is unknown.
    pub to: Option<Id>,
    /// The PID of the same process there.
    pub translated: Pid,
    /// The process's PID in every namespace that it is visible in, from that of
    /// the /proc that was read inward to its own.
    #[cfg_attr(test, schemars(length(min = 1)))]
    pub levels: Vec<Level>,
}

/// A process's PID in one namespace.
#[derive(Debug, Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "level"))]
pub struct Level {
    /// The namespace; null where its id is unknown.
    pub namespace: Option<Id>,
    /// The process's PID there.
    pub pid: Pid,
}

/// A value that may be absent, but not null.
fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
