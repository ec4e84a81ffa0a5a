//! The words of the field as plain values: what a scan of the kernel found.
//!
//! Nothing here reads, prints or serialises; a test may build any of it
//! literally. Collections of a [`Snapshot`] are unordered on entry and sorted
//! by whoever shows them.

use std::collections::BTreeSet;
use std::fmt;
use std::num::NonZeroU32;
use std::str::FromStr;

use smallvec::SmallVec;
use smol_str::{SmolStr, SmolStrBuilder};

/// Levels of nesting below the initial PID namespace (`MAX_PID_NS_LEVEL` of
/// the kernel): a process has at most `MAX_LEVEL + 1` PIDs.
pub const MAX_LEVEL: usize = 32;

/// A process or thread ID: positive, and at most `i32::MAX` as `pid_t` is signed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Pid(NonZeroU32);

impl Pid {
    /// PID 1: the init of a namespace, seen from inside.
    pub const INIT: Self = Self(NonZeroU32::MIN);

    /// `None` for 0, with which the kernel says "no such process here", and
    /// for what does not fit in `pid_t`.
    #[must_use]
    pub fn new(raw: u32) -> Option<Self> {
        i32::try_from(raw).ok()?;
        NonZeroU32::new(raw).map(Self)
    }

    /// The bare number.
    #[must_use]
    pub fn as_u32(self) -> u32 {
        self.0.get()
    }
}

impl FromStr for Pid {
    type Err = ParsePidError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        text.parse().ok().and_then(Self::new).ok_or(ParsePidError)
    }
}

/// The text is no PID.
#[derive(Debug, PartialEq, Eq)]
pub struct ParsePidError;

impl fmt::Display for ParsePidError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not a PID")
    }
}

impl std::error::Error for ParsePidError {}

impl fmt::Display for Pid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// A process's PIDs, from the namespace of the /proc that was read inward to
/// its own; empty where the kernel does not say (`NSpid` of
/// `/proc/PID/status`, since Linux 4.1).
pub type Nspid = SmallVec<[Pid; 6]>;

/// How a PID namespace is known. Displayed as `readlink /proc/PID/ns/pid`
/// prints it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceId {
    /// By its inode on nsfs, unique among the living: `pid:[4026531836]`.
    Inode(u64),
    /// Known to exist, but its inode could not be read: named after its init
    /// or, without one, its lowest member: `pid:[?6]`.
    Unread(Pid),
}

impl NamespaceId {
    /// The inode, where it is known.
    #[must_use]
    pub fn inode(self) -> Option<u64> {
        match self {
            Self::Inode(inode) => Some(inode),
            Self::Unread(_) => None,
        }
    }

    /// Its text, without the cost of `fmt`: every process in a document has one.
    #[must_use]
    pub fn text(self) -> SmolStr {
        let (prefix, number) = match self {
            Self::Inode(inode) => ("pid:[", inode),
            Self::Unread(pid) => ("pid:[?", pid.as_u32().into()),
        };
        let mut text = SmolStrBuilder::new();
        text.push_str(prefix);
        text.push_str(itoa::Buffer::new().format(number));
        text.push(']');
        text.finish()
    }
}

impl fmt::Display for NamespaceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text())
    }
}

/// The text is no `pid:[INODE]` or `pid:[?PID]`.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseNamespaceIdError;

impl fmt::Display for ParseNamespaceIdError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not of the form pid:[INODE] or pid:[?PID]")
    }
}

impl std::error::Error for ParseNamespaceIdError {}

impl FromStr for NamespaceId {
    type Err = ParseNamespaceIdError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let inner = text.strip_prefix("pid:[").and_then(|rest| rest.strip_suffix(']'));
        let inner = inner.ok_or(ParseNamespaceIdError)?;
        let (unread, digits) = inner.strip_prefix('?').map_or((false, inner), |rest| (true, rest));
        // `parse` takes a leading plus, and leading zeros would give one
        // namespace two spellings.
        if !digits.starts_with(|c: char| matches!(c, '1'..='9')) {
            return Err(ParseNamespaceIdError);
        }
        if unread {
            digits.parse().ok().map(Self::Unread)
        } else {
            digits.parse().ok().map(Self::Inode)
        }
        .ok_or(ParseNamespaceIdError)
    }
}

/// Whether the kernel said so or the rules for placing processes gave one answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Evidence {
    /// Said by the kernel.
    Kernel,
    /// Concluded where the kernel would not say.
    Inferred,
}

/// The life of a namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum NamespaceState {
    /// Its init runs.
    Live,
    /// Its init has terminated: every fork into it fails (`ENOMEM`).
    Dead,
    /// Made, but without a first process yet.
    Nascent,
}

impl NamespaceState {
    /// Its name in the document and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Dead => "dead",
            Self::Nascent => "nascent",
        }
    }
}

/// A PID namespace (`pid_namespaces(7)`).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespace {
    /// Its identity within a snapshot.
    pub id: NamespaceId,
    /// Device number of nsfs, where the namespace could be opened.
    pub device: Option<u64>,
    /// The kernel's 64-bit number, never reused (`NS_GET_ID`, since Linux 6.18).
    pub ns_id: Option<u64>,
    /// The namespace it was made in; `None` for a topmost visible one.
    pub parent: Option<NamespaceId>,
    /// Live, dead or nascent.
    pub state: NamespaceState,
    /// The process with PID 1 in it, where it is visible.
    pub init: Option<Pid>,
    /// How many members it has where they are not all in the snapshot, as some
    /// were not selected.
    pub member_count: Option<usize>,
    /// Who owns it, where that is in reach.
    pub owner: Option<Owner>,
    /// What keeps it in being beside its members.
    pub holders: Vec<Holder>,
    /// The container that its init's cgroup belongs to.
    pub container: Option<Container>,
    /// How it and its place in the hierarchy are known.
    pub evidence: Evidence,
}

/// The user namespace that owns a PID namespace (`NS_GET_USERNS`, since Linux 4.9).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Inode of the user namespace.
    pub user_namespace: u64,
    /// UID that made the user namespace, as the reader's user namespace maps
    /// it (`NS_GET_OWNER_UID`, since Linux 4.11).
    pub uid: Option<u32>,
    /// That user's name, where the host has one.
    pub user: Option<SmolStr>,
}

/// What keeps a namespace in being beside its members.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Holder {
    /// An open file descriptor.
    Fd {
        /// The process that has it open.
        pid: Pid,
        /// Its number there.
        fd: u32,
    },
    /// A bind mount of the namespace's nsfs file.
    Mount {
        /// The mount point, as its mount namespace sees it.
        path: String,
        /// Inode of that mount namespace.
        mount_namespace: u64,
    },
    /// A thread whose children are born in it (`/proc/PID/ns/pid_for_children`,
    /// since Linux 4.12).
    PidForChildren {
        /// The process.
        pid: Pid,
        /// The thread; equal to `pid` for the leader.
        tid: Pid,
    },
}

/// The container, or service, that a cgroup path names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// What made it: `docker`, `containerd`, `podman` and so on.
    pub runtime: String,
    /// Its ID there.
    pub id: String,
    /// UID of its Kubernetes pod.
    pub pod: Option<String>,
}

/// A process: a thread group, known by the PID of its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// PID in the namespace of the /proc that was read.
    pub pid: Pid,
    /// Its parent, in the same numbers; `None` where it has none that this /proc shows.
    pub ppid: Option<Pid>,
    /// Its own (innermost) namespace; `None` where that is ambiguous.
    pub namespace: Option<NamespaceId>,
    /// Its PIDs in every level.
    pub nspid: Nspid,
    /// Command name, at most 15 bytes unless it is a kernel thread
    /// (`PR_SET_NAME`); bytes that are not UTF-8 are U+FFFD.
    pub comm: SmolStr,
    /// One letter as in `ps(1)`: `S` sleeping, `Z` zombie and so on.
    pub state: char,
    /// Real user ID, as the reader's user namespace maps it.
    pub uid: u32,
    /// That user's name, where the host has one.
    pub user: Option<SmolStr>,
    /// Whether it is a thread of the kernel's own.
    pub kernel_thread: bool,
    /// How its namespace is known.
    pub evidence: Evidence,
}

impl Process {
    /// Whether it has terminated and waits for its parent to reap it.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

/// A place to look for namespaces in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum SearchScope {
    /// Every process's own namespace.
    Processes,
    /// Every process's `pid_for_children`.
    Children,
    /// Every thread's `pid_for_children`.
    Threads,
    /// Every file descriptor table.
    Fds,
    /// The mount table of every mount namespace in reach.
    Mounts,
}

impl SearchScope {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 5] =
        [Self::Processes, Self::Children, Self::Threads, Self::Fds, Self::Mounts];

    /// All but the threads, which cost most and tell least.
    #[must_use]
    pub fn default_set() -> BTreeSet<Self> {
        Self::ALL.into_iter().filter(|&source| source != Self::Threads).collect()
    }

    /// Its name in the document and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Processes => "processes",
            Self::Children => "children",
            Self::Threads => "threads",
            Self::Fds => "fds",
            Self::Mounts => "mounts",
        }
    }
}

/// How much a diagnostic matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Worth knowing; nothing is missing.
    Info,
    /// Something may be missing or wrong.
    Warning,
}

/// Something that a reader of the snapshot must know, one for each code and errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is, for programs: lower case and hyphens.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is, for people.
    pub message: String,
    /// Name of the system's error, `EACCES`, where one is the cause.
    pub errno: Option<String>,
    /// The processes that it concerns.
    pub pids: Vec<Pid>,
}

/// The host that a snapshot was taken on.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Host {
    /// Node name (`uname(2)`).
    pub hostname: Option<String>,
    /// Release of the kernel (`uname(2)`).
    pub kernel_release: Option<String>,
    /// Random ID of this boot (`/proc/sys/kernel/random/boot_id`).
    pub boot_id: Option<String>,
}

/// The /proc that a snapshot was read from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Procfs {
    /// Where it was mounted.
    pub path: String,
    /// Whether it shows the viewer's own PID namespace.
    pub own: bool,
    /// The PID namespace whose numbers it speaks in, where that is known.
    pub namespace: Option<NamespaceId>,
}

/// A way to name a PID namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NamespaceRef {
    /// By its ID: `4026531836`, `pid:[4026531836]` or `pid:[?6]`.
    Id(NamespaceId),
    /// That of a process: `@PID`.
    Of(Pid),
}

impl FromStr for NamespaceRef {
    type Err = ParseNamespaceRefError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        if let Some(pid) = text.strip_prefix('@') {
            return pid.parse().map(Self::Of).map_err(|_| ParseNamespaceRefError);
        }
        let id = text.parse().or_else(|_| format!("pid:[{text}]").parse());
        id.map(Self::Id).map_err(|_| ParseNamespaceRefError)
    }
}

/// The text names no namespace.
#[derive(Debug, PartialEq, Eq)]
pub struct ParseNamespaceRefError;

impl fmt::Display for ParseNamespaceRefError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("not an inode, pid:[INODE], pid:[?PID], @PID, or a path with a slash in it")
    }
}

impl std::error::Error for ParseNamespaceRefError {}

/// By what a snapshot was cut down: an option's name and what was given for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Criterion {
    /// The option, `pid` for processes by number.
    pub by: String,
    /// What was given; a namespace as its ID.
    pub values: Vec<String>,
}

/// A plain no: what was looked for is not there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NotFound {
    /// No such process.
    Process {
        /// Its PID,
        pid: Pid,
        /// in this namespace; `None` for that of the /proc that was read.
        namespace: Option<NamespaceId>,
    },
    /// No such namespace.
    Namespace(NamespaceId),
    /// The process is there, but its namespace could not be found out.
    Ambiguous(Pid),
    /// The process is there, but not visible in that namespace.
    NotVisible {
        /// Its PID in the namespace of the /proc that was read.
        pid: Pid,
        /// Where it is not visible.
        namespace: NamespaceId,
    },
    /// The process may be visible there, but this /proc does not tell its PID.
    NotTold {
        /// The PID that is known of it, or was asked for.
        pid: Pid,
        /// Where it may be visible.
        namespace: NamespaceId,
    },
    /// Nothing meets all criteria.
    Selection(Vec<Criterion>),
}

impl fmt::Display for NotFound {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Process { pid, namespace: None } => write!(f, "no process {pid}"),
            Self::Process { pid, namespace: Some(id) } => write!(f, "no process {pid} in {id}"),
            Self::Namespace(id) => write!(f, "no namespace {id}"),
            Self::Ambiguous(pid) => write!(f, "the namespace of process {pid} is ambiguous"),
            Self::NotVisible { pid, namespace } => {
                write!(f, "process {pid} is not visible in {namespace}")
            }
            Self::NotTold { pid, namespace } => {
                write!(f, "this /proc does not tell of process {pid} in {namespace}")
            }
            Self::Selection(criteria) => {
                const NAMED: usize = 5;
                f.write_str("nothing matches")?;
                for (index, Criterion { by, values }) in criteria.iter().enumerate() {
                    let and = if index == 0 { "" } else { " and" };
                    let named = &values[..values.len().min(NAMED)];
                    write!(f, "{and} {by} {}", named.join(" "))?;
                    if let Some(more @ 1..) = values.len().checked_sub(NAMED) {
                        write!(f, " and {more} more")?;
                    }
                }
                Ok(())
            }
        }
    }
}

impl std::error::Error for NotFound {}

/// What a PID is called in another namespace, and in all that the process is
/// visible in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Translation {
    /// The PID that was asked for.
    pub pid: Pid,
    /// The namespace that it is meant in; `None` where that is unknown.
    pub from: Option<NamespaceId>,
    /// The namespace that it was translated to; `None` where that is unknown.
    pub to: Option<NamespaceId>,
    /// The process's PID there.
    pub translated: Pid,
    /// Every level, from the namespace of the /proc that was read inward to
    /// the process's own.
    pub levels: Vec<Level>,
}

/// A process's PID in one of the namespaces that it is visible in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// The namespace; `None` where it is unknown.
    pub namespace: Option<NamespaceId>,
    /// The PID there.
    pub pid: Pid,
}

/// Everything that one scan found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Snapshot {
    /// Name and version of the program that made it.
    pub generator: (String, String),
    /// When the scan began: RFC 3339, UTC.
    pub captured_at: String,
    /// Where it was taken.
    pub host: Host,
    /// The /proc that was read.
    pub procfs: Procfs,
    /// Where namespaces were looked for.
    pub searched: BTreeSet<SearchScope>,
    /// By what it was cut down since; empty where it is whole.
    pub selected: Vec<Criterion>,
    /// Whether nothing is missing in those places, and all is from the kernel.
    pub complete: bool,
    /// The namespaces.
    pub namespaces: Vec<Namespace>,
    /// The processes.
    pub processes: Vec<Process>,
    /// What a reader must know.
    pub diagnostics: Vec<Diagnostic>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_namespace_id_reads_back_as_it_was_written() {
        for text in ["pid:[4026531836]", "pid:[?6]", "pid:[1]"] {
            assert_eq!(text.parse::<NamespaceId>().unwrap().to_string(), text);
        }
    }

    #[test]
    fn what_is_no_namespace_id_is_refused() {
        for text in [
            "",
            "pid:[]",
            "pid:[?]",
            "pid:[0]",
            "pid:[+1]",
            "pid:[01]",
            "pid:[1",
            "mnt:[1]",
            "pid:[?4294967295]",
            "pid:[99999999999999999999]",
        ] {
            assert_eq!(text.parse::<NamespaceId>(), Err(ParseNamespaceIdError), "{text}");
        }
    }

    #[test]
    fn a_namespace_is_named_by_its_id_or_a_process() {
        let id = NamespaceRef::Id(NamespaceId::Inode(4_026_531_836));
        let pid = Pid::new(6).unwrap();
        for (text, expected) in [
            ("4026531836", id),
            ("pid:[4026531836]", id),
            ("pid:[?6]", NamespaceRef::Id(NamespaceId::Unread(pid))),
            ("@6", NamespaceRef::Of(pid)),
        ] {
            assert_eq!(text.parse(), Ok(expected), "{text}");
        }
        for text in ["", "@", "@0", "@x", "pid:[x]", "mnt:[1]", "-1", "0", "here"] {
            assert_eq!(text.parse::<NamespaceRef>(), Err(ParseNamespaceRefError), "{text}");
        }
    }

    #[test]
    fn a_pid_fits_in_pid_t_and_is_never_zero() {
        assert_eq!(Pid::new(0), None);
        assert_eq!(Pid::new(0x8000_0000), None);
        assert_eq!(Pid::new(0x7fff_ffff).map(Pid::as_u32), Some(0x7fff_ffff));
    }

    #[test]
    fn a_process_stays_small_as_hosts_have_many() {
        assert!(size_of::<Process>() <= 144, "{}", size_of::<Process>());
    }
}
