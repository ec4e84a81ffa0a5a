//! What is said of a namespace or a process to people, the same in every format.
//! Nothing is concluded here that the snapshot does not say, and nothing is
//! escaped: each format makes text safe in its own way.

use std::fmt::{self, Write as _};

use smol_str::SmolStr;

use crate::graph::PidGraph;
use crate::model::{
    BlockReason, Blocker, Container, Evidence, Holder, Namespace, NamespaceState, Pid, Process,
};

/// Holders named one by one; the rest are counted.
const HOLDERS: usize = 3;

/// How much something that is said stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// Not at all.
    Plain,
    /// Something is wrong here.
    Dead,
    /// Something is unfinished here.
    Nascent,
    /// What is asked for here could not be found out.
    Unknown,
    /// This was concluded, and not said by the kernel.
    Inferred,
}

/// What is said of a namespace, the most asked for first.
pub fn summary(graph: &PidGraph, namespace: &Namespace, arrow: &str) -> Vec<(Emphasis, String)> {
    let mut said = Vec::new();
    let mut plain = |text: String| said.push((Emphasis::Plain, text));
    let shown = graph.members(namespace).len();
    match namespace.member_count.unwrap_or(shown) {
        0 if namespace.state != NamespaceState::Live => {}
        0 => plain("no visible process".to_owned()),
        1 => plain("1 process".to_owned()),
        count if shown == count || shown == 0 => plain(format!("{count} processes")),
        count => plain(format!("{count} processes ({shown} shown)")),
    }
    let init = namespace.init.and_then(|init| graph.process(init));
    if matches!(namespace.state, NamespaceState::Live | NamespaceState::Unknown) {
        match (namespace.init, init) {
            // The init of a root is listed first among its members.
            (_, Some(init)) if init.nspid.len() < 2 => {}
            (_, Some(init)) => plain(format!("init {}", ProcessLabel { process: init, arrow })),
            // It was not selected, so that no more is known of it here.
            (Some(pid), None) if pid != Pid::INIT => plain(format!("init {pid}")),
            (_, None) => {}
        }
        if let Some(container) = &namespace.container {
            plain(container_text(container));
        }
        if let Some(owner) = &namespace.owner {
            let mut text = match (&owner.user, owner.uid) {
                (Some(user), _) => format!("owner {user}"),
                (None, Some(uid)) => format!("owner uid {uid}"),
                (None, None) => "owner unknown".to_owned(),
            };
            let parent = graph.parent(namespace).and_then(|parent| parent.owner.as_ref());
            if parent.is_some_and(|parent| parent.user_namespace != owner.user_namespace) {
                let _ = write!(text, " in user:[{}]", owner.user_namespace);
            }
            plain(text);
        }
    }
    let state = match namespace.state {
        NamespaceState::Live => None,
        NamespaceState::Unknown => Some((
            Emphasis::Unknown,
            "state unknown: whether it has an init, or had one, cannot be proved".to_owned(),
        )),
        NamespaceState::Dead => Some((Emphasis::Dead, why_dead(graph, namespace))),
        NamespaceState::Nascent => {
            Some((Emphasis::Nascent, "nascent: no first process yet".to_owned()))
        }
    };
    // The state comes first where something is wrong with it.
    said.splice(0..0, state);
    if namespace.evidence == Evidence::Inferred {
        said.push((Emphasis::Inferred, "inferred".to_owned()));
    }
    said
}

/// Why nothing can be forked into a dead namespace, and what its init waits for.
fn why_dead(graph: &PidGraph, namespace: &Namespace) -> String {
    let mut text = "dead: its init ".to_owned();
    // Writing to a String does not fail.
    let _ = match (namespace.init, namespace.blocked_by.first()) {
        (None, _) => write!(text, "is gone"),
        (Some(init), None) => write!(text, "{init} has terminated but is not gone yet"),
        (Some(init), Some(blocker)) => write!(text, "{init} {}", what_blocks(graph, init, blocker)),
    };
    text.push_str(", forks into it fail");
    text
}

/// What a terminated init waits for, after its PID.
fn what_blocks(graph: &PidGraph, init: Pid, blocker: &Blocker) -> String {
    let Blocker { pid, comm, reason, reaper } = blocker;
    let reaper = reaper.map(|pid| NamedPid { pid, comm: comm_of(graph, pid) });
    match (reason, reaper) {
        (BlockReason::Zombie, Some(reaper)) if *pid == init => {
            format!("is a zombie that {reaper} does not reap")
        }
        (BlockReason::Zombie, None) if *pid == init => "is a zombie".to_owned(),
        (BlockReason::Uninterruptible, _) if *pid == init => {
            "has terminated but is in uninterruptible sleep".to_owned()
        }
        (BlockReason::Zombie, Some(reaper)) => {
            format!("has terminated but waits for zombie {pid}, which {reaper} does not reap")
        }
        (BlockReason::Zombie, None) => format!("has terminated but waits for zombie {pid}"),
        (BlockReason::Uninterruptible, _) => {
            format!("has terminated but waits for {pid} {comm}, which is in uninterruptible sleep")
        }
    }
}

/// A process's name, where the process is in the graph.
fn comm_of(graph: &PidGraph, pid: Pid) -> Option<&str> {
    graph.process(pid).map(|process| process.comm.as_str())
}

/// A PID, and the name of the process where that is known.
struct NamedPid<'a> {
    pid: Pid,
    comm: Option<&'a str>,
}

impl fmt::Display for NamedPid<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.pid.fmt(f)?;
        self.comm.map_or(Ok(()), |comm| write!(f, " {comm}"))
    }
}

fn container_text(container: &Container) -> String {
    // As their own tools shorten it.
    let hex = |id: &str| id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit());
    let id = container.id.get(..12).filter(|_| hex(&container.id)).unwrap_or(&container.id);
    match &container.pod {
        Some(pod) => format!("{} {id} of pod {pod}", container.runtime),
        None => format!("{} {id}", container.runtime),
    }
}

/// Who keeps a namespace alive beside its members. Of a live one only those
/// holders are named that outlast its members.
pub fn held_by<'a>(graph: &'a PidGraph, namespace: &'a Namespace) -> Option<String> {
    let lasts = |holder: &&Holder| {
        namespace.state != NamespaceState::Live || !matches!(holder, Holder::PidForChildren { .. })
    };
    let holders: Vec<_> = namespace.holders.iter().filter(lasts).collect();
    let mut text = String::new();
    for (index, holder) in holders.iter().take(HOLDERS).enumerate() {
        text.push_str(if index == 0 { "held by " } else { ", " });
        // The holder carries the name, as its process need not be selected.
        let holding = |pid: Pid, comm: &'a Option<SmolStr>| NamedPid {
            pid,
            comm: comm.as_deref().or_else(|| comm_of(graph, pid)),
        };
        // Writing to a String does not fail.
        let _ = match holder {
            Holder::Fd { pid, comm, fd } => write!(text, "{} (fd {fd})", holding(*pid, comm)),
            Holder::Mount { path, mount_namespace } => {
                write!(text, "mount {path} (mnt:[{mount_namespace}])")
            }
            Holder::PidForChildren { pid, comm, tid } if pid == tid => {
                write!(text, "{} (pid_for_children)", holding(*pid, comm))
            }
            Holder::PidForChildren { pid, comm, tid } => {
                write!(text, "{} (pid_for_children of thread {tid})", holding(*pid, comm))
            }
        };
    }
    if let Some(more @ 1..) = holders.len().checked_sub(HOLDERS) {
        let _ = write!(text, " and {more} more");
    }
    // Each namespace keeps the one that it was made in.
    let below = namespace.state != NamespaceState::Live && !graph.children(namespace).is_empty();
    if text.is_empty() && below {
        text.push_str("held by the namespaces below it");
    }
    (!text.is_empty()).then_some(text)
}

/// A process's PIDs, outermost first.
pub struct Pids<'a> {
    /// The process.
    pub process: &'a Process,
    /// What stands between two of them.
    pub arrow: &'a str,
}

impl fmt::Display for Pids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // nspid is empty where the kernel does not tell (before Linux 4.1).
        self.process.pid.fmt(f)?;
        for pid in self.process.nspid.iter().skip(1) {
            write!(f, "{}{pid}", self.arrow)?;
        }
        Ok(())
    }
}

/// A process's PIDs and name; a kernel thread in brackets, as ps(1) has it.
pub struct ProcessLabel<'a> {
    /// The process.
    pub process: &'a Process,
    /// What stands between two of its PIDs.
    pub arrow: &'a str,
}

impl fmt::Display for ProcessLabel<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { process, arrow } = *self;
        write!(f, "{} {}", Pids { process, arrow }, ProcessName(process))
    }
}

/// A process's name, and whether it is a zombie.
pub struct ProcessName<'a>(pub &'a Process);

impl fmt::Display for ProcessName<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let process = self.0;
        if process.kernel_thread {
            write!(f, "[{}]", process.comm)
        } else if process.is_zombie() {
            write!(f, "{} (zombie)", process.comm)
        } else {
            f.write_str(&process.comm)
        }
    }
}
