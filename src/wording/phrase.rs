//! Pieces of what is said: numbers, names, PIDs, holders.

use std::fmt::{self, Write as _};

use super::line::Line;
use crate::graph::PidGraph;
use crate::model::{Container, Holder, HoldingFile, Owner, Pid, Process};

/// Levels of which all PIDs are shown.
const LEVELS: usize = 4;

/// Characters beyond ASCII, or what stands for them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// Between a process's PIDs in one level and the next.
    pub arrow: &'static str,
    /// Between how many and what.
    pub times: &'static str,
    /// Where something was left out.
    pub ellipsis: &'static str,
}

impl Symbols {
    /// Where Unicode is at hand.
    pub const UNICODE: Self = Self { arrow: " → ", times: "×", ellipsis: "…" };
    /// Where it is not.
    pub const ASCII: Self = Self { arrow: " -> ", times: "x", ellipsis: "..." };
}

/// A number of things, with commas between the thousands.
pub struct Count(pub usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A number of things and their name, in the plural where there is not one.
pub struct Of(pub usize, pub &'static str, pub &'static str);

impl fmt::Display for Of {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, many) = *self;
        write!(f, "{} {}", Count(count), if count == 1 { one } else { many })
    }
}

/// A number of processes.
pub fn processes(count: usize) -> Of {
    Of(count, "process", "processes")
}

/// A process's name, which may be empty.
pub struct Comm<'a>(pub &'a str);

impl fmt::Display for Comm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(no name)" } else { self.0 })
    }
}

/// The beginning of a text that may be long: so many characters of it.
pub struct Clipped<'a>(pub &'a str, pub usize);

impl fmt::Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(self.1) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", self.0.get(..end).unwrap_or_default()),
        }
    }
}

/// What keeps a namespace alive.
pub enum KeptBy<'a> {
    /// An open file descriptor of a process.
    Fd(ProcessRef<'a>, u32),
    /// A bind mount, in a mount namespace.
    Mount(&'a str, u64),
    /// A process, or one of its threads, whose children start in it.
    Starter(ProcessRef<'a>, Option<Pid>),
    /// A file that a process has open, which is not the namespace's own.
    File(ProcessRef<'a>, HoldingFile, u32),
    /// Namespaces that were made in it.
    Children,
    /// Something that is not known.
    Unseen,
}

impl<'a> KeptBy<'a> {
    pub fn holder(graph: &'a PidGraph, holder: &'a Holder) -> Self {
        match holder {
            Holder::Fd { pid, comm, fd } => {
                Self::Fd(ProcessRef::new(graph, *pid, comm.as_deref()), *fd)
            }
            Holder::Mount { path, mount_namespace } => Self::Mount(path, *mount_namespace),
            Holder::PidForChildren { pid, comm, tid } => Self::Starter(
                ProcessRef::new(graph, *pid, comm.as_deref()),
                (pid != tid).then_some(*tid),
            ),
            Holder::File { file, pid, comm, fd } => {
                Self::File(ProcessRef::new(graph, *pid, comm.as_deref()), *file, *fd)
            }
        }
    }

    /// The process that does.
    pub fn pid(&self) -> Option<Pid> {
        match self {
            Self::Fd(process, _) | Self::Starter(process, _) | Self::File(process, ..) => {
                Some(process.pid)
            }
            Self::Mount(..) | Self::Children | Self::Unseen => None,
        }
    }
}

impl KeptBy<'_> {
    /// Says who or what keeps it, and how, in two parts.
    pub fn describe(&self, line: &mut Line) {
        match self {
            Self::Fd(process, fd) => {
                line.plain("", format_args!("kept by {process}:"));
                line.plain(" ", format_args!("open fd {fd}"));
            }
            Self::Mount(path, mount_namespace) => {
                line.plain("", format_args!("kept by mount {path}"));
                line.plain(" ", format_args!("(in mnt:[{mount_namespace}])"));
            }
            Self::Starter(process, None) => {
                line.plain("", format_args!("kept by {process}:"));
                line.plain(" ", format_args!("its children would start here"));
            }
            Self::Starter(process, Some(thread)) => {
                line.plain("", format_args!("kept by {process}:"));
                line.plain(" ", format_args!("children of its thread {thread} would start here"));
            }
            Self::File(process, file, fd) => {
                line.plain("", format_args!("kept by {process}:"));
                match file {
                    HoldingFile::Pidfd => line.plain(" ", format_args!("pidfd {fd}")),
                    HoldingFile::Socket => {
                        line.plain(" ", format_args!("unix socket {fd} whose peer was in it"));
                    }
                    HoldingFile::InFlight => {
                        line.plain(" ", format_args!("descriptor in flight to its socket {fd}"));
                    }
                    HoldingFile::Procfs => {
                        line.plain(" ", format_args!("open file of its /proc, fd {fd}"));
                    }
                }
            }
            Self::Children => line.plain("", format_args!("kept by the namespaces below it")),
            Self::Unseen => {
                line.plain("", format_args!("kept by something that no search shows"));
            }
        }
    }
}

impl fmt::Display for KeptBy<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut line = Line::default();
        self.describe(&mut line);
        line.parts().enumerate().try_for_each(|(index, part)| {
            f.write_str(if index == 0 { "" } else { part.separator })?;
            f.write_str(part.text)
        })
    }
}

/// A process by its PID, and its name where that is known.
pub struct ProcessRef<'a> {
    pid: Pid,
    comm: Option<&'a str>,
}

impl<'a> ProcessRef<'a> {
    /// The process, with the name that it has in the graph if not in `comm`.
    pub fn new(graph: &'a PidGraph, pid: Pid, comm: Option<&'a str>) -> Self {
        let seen = || graph.process(pid).map(|process| &*process.comm);
        Self { pid, comm: comm.or_else(seen) }
    }
}

impl fmt::Display for ProcessRef<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.fmt(f)?;
        match self.comm {
            Some(comm) => write!(f, " {}", Comm(comm)),
            None => Ok(()),
        }
    }
}

/// A process's PIDs, outermost first.
pub struct Pids<'a> {
    /// The process.
    pub process: &'a Process,
    /// The characters to show them with.
    pub symbols: Symbols,
    /// Whether all are shown, in however many levels.
    pub all: bool,
}

impl fmt::Display for Pids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Symbols { arrow, ellipsis, .. } = self.symbols;
        // Empty where the kernel does not tell.
        self.process.pid.fmt(f)?;
        let mut inner = self.process.nspid.get(1..).unwrap_or_default();
        if !self.all && inner.len() >= LEVELS {
            write!(f, "{arrow}{ellipsis}")?;
            inner = inner.get(inner.len() - 2..).unwrap_or_default();
        }
        for pid in inner {
            write!(f, "{arrow}{pid}")?;
        }
        Ok(())
    }
}

/// A container without its pod, as its own tools shorten its ID.
pub struct ContainerText<'a>(pub &'a Container);

impl fmt::Display for ContainerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Container { runtime, id, .. } = self.0;
        let hex = id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
        let short = id.get(..12).filter(|_| hex).unwrap_or(id);
        write!(f, "{runtime} {short}")
    }
}

/// Who owns a namespace.
pub struct OwnerText<'a> {
    /// The owner.
    pub owner: &'a Owner,
    /// Whether it is the parent's user in another user namespace.
    pub apart: bool,
}

impl fmt::Display for OwnerText<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Owner { user, uid, user_namespace } = self.owner;
        match (user, uid) {
            (Some(user), _) => write!(f, "owner {user}")?,
            (None, Some(uid)) => write!(f, "owner uid {uid}")?,
            (None, None) => write!(f, "owner unknown")?,
        }
        if self.apart { write!(f, " in user:[{user_namespace}]") } else { Ok(()) }
    }
}
