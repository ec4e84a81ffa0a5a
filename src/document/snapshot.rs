//! Serde types for snapshots. Their doc comments become the descriptions in the schema.
//!
//! New fields in 1.x versions must be nullable or lists, because older documents lack them.

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

use super::limit::Limit;
use super::open_list::Word;
use super::process::Process;
use super::scalars::{BootId, Code, Errno, Inode, Timestamp};
use crate::model::{self, Container, Criterion, NamespaceId, Observer, Pid, Procfs, keywords};

/// The PID namespace hierarchy of a Linux host, as written by `pidns -f json` and `pidns -f yaml`.
/// The lists are flat, and entries refer to each other by ID. Readers must ignore unknown fields
/// and values. Later 1.x versions of the schema may add fields, but will never rename or remove a
/// field, or change its type. They may also add values to enumerations whose description says that
/// they are extensible (an open list).
// The list fields have generic types, so that `Lazy` can create their elements during
// serialization.
// `object_only.rs` implements the serde traits for types with `remote = "Self"`.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct Document<N = Vec<Namespace>, P = Vec<Process<'static>>> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    pub schema_version: String,
    /// The program that wrote the document.
    pub generator: Generator,
    /// Start time of the scan in UTC (RFC 3339 with up to nine decimal places; pidns writes six).
    pub captured_at: Timestamp,
    /// The host that was scanned.
    pub host: Host,
    /// The procfs that was read.
    pub procfs: Procfs,
    /// The pidns process that took the snapshot, or null if the procfs does not show it.
    pub observer: Option<Observer>,
    /// The places that were searched for namespaces.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub searched: Vec<Word<model::SearchScope>>,
    /// The optional details that the user requested. If a detail was not requested, its fields are
    /// null.
    #[serde(default)]
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub details: Vec<Word<model::Detail>>,
    /// The filters applied since the scan, in order. An unfiltered document has an empty list. In a
    /// filtered document, `init`, `ppid`, `procfs.namespace` and the PIDs in `holders`,
    /// `blocked_by` and `diagnostics` may refer to removed processes and namespaces. The fields
    /// `complete` and `diagnostics` still describe the whole scan. The ancestors of selected
    /// namespaces are included without their members. If --root selected a new root namespace, the
    /// new root has level 0 and no parent.
    #[serde(default)]
    pub selected: Vec<Criterion>,
    /// False if pidns inferred facts, or may have missed something (see `diagnostics`).
    pub complete: bool,
    /// The topmost visible namespaces, sorted by ID.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub roots: Vec<NamespaceId>,
    /// All namespaces, with parents before their children, and siblings sorted by inode. A filtered
    /// document contains only the selected namespaces and their ancestors (see `selected`).
    pub namespaces: N,
    /// All processes, or the selected processes in a filtered document, sorted by PID.
    pub processes: P,
    /// Limits that can make fork(2) or the creation of a PID namespace fail. A filtered document
    /// contains only the limits of the selected processes. Null if limits were not requested (see
    /// `details`).
    #[serde(default)]
    pub limits: Option<Vec<Limit>>,
    /// Problems encountered during the scan, one entry for each combination of code and errno.
    pub diagnostics: Vec<Diagnostic>,
}

/// Name and version of a program.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Generator {
    /// Name of the program that wrote the document.
    pub name: String,
    /// Version of the program (Semantic Versioning).
    pub version: String,
}

impl Generator {
    /// Returns the name and version of this program.
    pub fn this() -> Self {
        Self {
            name: env!("CARGO_PKG_NAME").to_owned(),
            version: env!("CARGO_PKG_VERSION").to_owned(),
        }
    }
}

/// Name, kernel release and boot ID of a host.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub struct Host {
    /// Node name, as returned by uname(2).
    pub hostname: Option<String>,
    /// Kernel release, as returned by uname(2).
    pub kernel_release: Option<String>,
    /// Random ID of the boot (/proc/sys/kernel/random/boot_id), or null if unreadable or invalid.
    pub boot_id: Option<BootId>,
}

/// A PID namespace (see pid_namespaces(7)).
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "namespace"))]
pub struct Namespace {
    /// ID of the namespace, unique within a document, for references from other fields.
    pub id: NamespaceId,
    /// Inode of the namespace on nsfs, or null if it could not be read.
    pub inode: Option<Inode>,
    /// Device number of the namespace's nsfs, or null if the namespace could not be opened.
    pub device: Option<u64>,
    /// The kernel's 64-bit ID of the namespace (NS_GET_ID). Null before Linux 6.18. The kernel does
    /// not reuse IDs until the next reboot. Programs that store numbers as doubles lose digits
    /// above 2^53.
    pub ns_id: Option<u64>,
    /// Number of ancestors (0 for a root namespace), or null if an ancestor is unknown.
    // Serde would read a missing `level` as null, so require the field.
    #[serde(deserialize_with = "Option::deserialize")]
    #[cfg_attr(test, schemars(range(max = 32)))]
    pub level: Option<usize>,
    /// The parent namespace, or null for a root namespace or an unknown parent.
    pub parent: Option<NamespaceId>,
    /// The child namespaces, sorted by inode.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub children: Vec<NamespaceId>,
    /// State of the namespace. The state is `live` only if pidns or the kernel confirmed that the
    /// init is running.
    pub state: Word<model::NamespaceState>,
    /// The process with PID 1 in this namespace, or null if it does not exist or is not visible.
    pub init: Option<Pid>,
    /// The members (processes in this namespace, not in its descendants), sorted by PID.
    #[cfg_attr(test, schemars(extend("uniqueItems" = true)))]
    pub members: Vec<Pid>,
    /// Number of members, which can exceed the length of `members` in a filtered document.
    #[serde(default, deserialize_with = "present")]
    #[cfg_attr(test, schemars(with = "usize"))]
    pub member_count: Option<usize>,
    /// The user namespace that owns the PID namespace, or null if the kernel does not reveal it.
    pub owner: Option<Owner>,
    /// Known descriptors, mounts and threads that keep the namespace alive even without members.
    pub holders: Vec<Holder>,
    /// The processes that block the removal of the namespace's terminated init. The kernel removes
    /// an init only after all other processes of the namespace have been reaped. Empty if the init
    /// has not terminated, or if pidns found no such process.
    #[serde(default)]
    pub blocked_by: Vec<Blocker>,
    /// The container named in the cgroup path of the namespace's init, or null.
    pub container: Option<Container>,
    /// How pidns knows the identity and parent of the namespace (reported by the kernel, or
    /// inferred by pidns).
    pub evidence: Word<model::Evidence>,
}

/// The user namespace that owns a PID namespace (user_namespaces(7), NS_GET_USERNS since Linux
/// 4.9).
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "owner"))]
pub struct Owner {
    /// Inode of the user namespace.
    pub user_namespace: Inode,
    /// UID of the creator, as seen in pidns's user namespace (NS_GET_OWNER_UID since Linux 4.11).
    pub uid: Option<u32>,
    /// Name of the user with this UID, or null if unknown.
    pub user: Option<SmolStr>,
}

keywords! {
    /// Kind of holder.
    pub enum HolderKind("holder_kind", "holder of kind", "holders of kind") {
        /// An open file descriptor (`fd` of process `pid`) that refers to the namespace.
        Fd = "fd",
        /// A bind mount of the namespace's nsfs file, at `path` in `mount_namespace`.
        Mount = "mount",
        /// A thread (`tid` of process `pid`) that creates its children in the namespace
        /// (/proc/PID/task/TID/ns/pid_for_children, since Linux 4.12).
        PidForChildren = "pid_for_children",
        /// A pidfd (`fd` of process `pid`) for a terminated process of the namespace. Only
        /// `--search kernel` finds holders of the kinds `pidfd`, `socket`, `listener`, `in_flight`,
        /// `message` and `procfs_file`. That search covers only namespaces without a living init.
        Pidfd = "pidfd",
        /// A connected UNIX socket (`fd` of process `pid`) with a peer from the namespace
        /// (SO_PEERCRED).
        Socket = "socket",
        /// A UNIX socket (`fd` of process `pid`) on which a process in the namespace called
        /// listen(2).
        Listener = "listener",
        /// A UNIX socket (`fd` of process `pid`) with an unreceived message. A descriptor in the
        /// message keeps the namespace alive (SCM_RIGHTS).
        InFlight = "in_flight",
        /// A UNIX socket (`fd` of process `pid`) with unreceived credentials from the namespace
        /// (SCM_CREDENTIALS).
        Message = "message",
        /// An open file or directory (`fd` of process `pid`) that keeps the namespace alive. It is
        /// in a procfs of the namespace, or in the /proc/PID directory of a former member.
        ProcfsFile = "procfs_file",
    }
}

/// A descriptor, mount or thread that keeps a namespace alive. All fields are always present. A
/// field is null if it does not apply to the kind of holder.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "holder"))]
#[cfg_attr(test, schemars(extend("allOf" = super::schema::required_holder_fields())))]
pub struct Holder {
    /// The kind of holder.
    pub kind: Word<HolderKind>,
    /// PID of the holding process, or null for a mount.
    pub pid: Option<Pid>,
    /// If the kind is `pid_for_children`, the thread ID (equal to `pid` for the leader thread).
    /// Null for all other kinds.
    pub tid: Option<Pid>,
    /// Command name of the holding process, or null if unknown.
    pub comm: Option<SmolStr>,
    /// The descriptor number in the process, or null for `mount` and `pid_for_children`.
    pub fd: Option<u32>,
    /// If the kind is `mount`, the mount point as seen in `mount_namespace`. `(unreachable)` if the
    /// mount point has no path because another mount covers the root directory. `(path too long)`
    /// if the path has 4,096 bytes or more.
    pub path: Option<String>,
    /// If the kind is `mount`, the inode of the mount namespace that contains the mount. Null for
    /// all other kinds.
    pub mount_namespace: Option<Inode>,
}

/// A process that blocks the removal of a terminated init (zap_pid_ns_processes in the kernel).
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "blocker"))]
pub struct Blocker {
    /// PID of the process that the init waits for, or PID of the init if the init is an unreaped
    /// zombie.
    pub pid: Pid,
    /// Command name of the process.
    pub comm: SmolStr,
    /// The reason why the process still exists.
    pub reason: Word<model::BlockReason>,
    /// The process that must reap or release this process (the tracer if there is one, otherwise
    /// the parent). Null if unknown, or if `reason` is `uninterruptible`.
    pub reaper: Option<Pid>,
}

/// A problem encountered during the scan.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "diagnostic"))]
pub struct Diagnostic {
    /// Machine-readable code of the problem.
    #[cfg_attr(test, schemars(extend("description" = super::schema::description_of_codes())))]
    pub code: Code,
    /// Severity of the diagnostic.
    pub severity: Word<model::Severity>,
    /// Human-readable description (its wording may change at any time).
    pub message: String,
    /// Name (such as EACCES) or number of the system error, or null if there was none.
    pub errno: Option<Errno>,
    /// The processes that the problem concerns.
    pub pids: Vec<Pid>,
}

/// Deserializes a field that may be absent but must not be null.
pub fn present<'de, T: Deserialize<'de>, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<T>, D::Error> {
    T::deserialize(deserializer).map(Some)
}
