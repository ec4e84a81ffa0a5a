//! What is said of a namespace or a process to people, whatever the format:
//! unescaped, so that each format makes it safe in its own way.

use std::fmt::{self, Write as _};

use crate::graph::PidGraph;
use crate::model::{Container, Evidence, Holder, Namespace, NamespaceState, Pid, Process};

/// Holders named one by one; the rest are counted.
const HOLDERS: usize = 3;

/// How much a thing said stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// Said in passing.
    Plain,
    /// Something is wrong here.
    Dead,
    /// Something is unfinished here.
    Nascent,
    /// This is concluded, not known.
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
    if namespace.state == NamespaceState::Live {
        match (namespace.init, init) {
            // That of a root is its first member.
            (_, Some(init)) if init.nspid.len() < 2 => {}
            (_, Some(init)) => plain(format!("init {}", ProcessLabel { process: init, arrow })),
            // Not selected.
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
        NamespaceState::Unknown => Some((Emphasis::Nascent, "state unknown".to_owned())),
        NamespaceState::Dead => Some((Emphasis::Dead, why_dead(graph, namespace, init))),
        NamespaceState::Nascent => {
            Some((Emphasis::Nascent, "nascent: no first process yet".to_owned()))
        }
    };
    // What is wrong comes before all else.
    said.splice(0..0, state);
    if namespace.evidence == Evidence::Inferred {
        said.push((Emphasis::Inferred, "inferred".to_owned()));
    }
    said
}

/// Why nothing can be forked into a dead namespace.
fn why_dead(graph: &PidGraph, namespace: &Namespace, init: Option<&Process>) -> String {
    let mut text = "dead: its init ".to_owned();
    let parent = |process: &Process| process.ppid.and_then(|ppid| graph.process(ppid));
    // Writing to a String does not fail.
    let _ = match init {
        None => match namespace.init {
            None => write!(text, "is gone"),
            // Not selected.
            Some(init) => write!(text, "{init} has terminated"),
        },
        Some(init) if init.is_zombie() => match parent(init) {
            Some(parent) => {
                write!(
                    text,
                    "{} is a zombie that {} {} does not reap",
                    init.pid, parent.pid, parent.comm
                )
            }
            None => write!(text, "{} is a zombie", init.pid),
        },
        Some(init) => {
            let members = graph.members(namespace);
            let unreaped = members.iter().filter(|member| member.is_zombie()).find_map(|member| {
                let parent =
                    parent(member).filter(|parent| parent.namespace != member.namespace)?;
                Some((member, parent))
            });
            match unreaped {
                Some((zombie, parent)) => write!(
                    text,
                    "{} has terminated but waits for zombie {}, which {} {} does not reap",
                    init.pid, zombie.pid, parent.pid, parent.comm
                ),
                None => write!(text, "{} has terminated but is not gone yet", init.pid),
            }
        }
    };
    text.push_str(", forks into it fail");
    text
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

/// Who keeps a namespace in being beside its members. Of a live one only what
/// outlasts its members is worth a word.
pub fn held_by(graph: &PidGraph, namespace: &Namespace) -> Option<String> {
    let lasts = |holder: &&Holder| {
        namespace.state != NamespaceState::Live || !matches!(holder, Holder::PidForChildren { .. })
    };
    let holders: Vec<_> = namespace.holders.iter().filter(lasts).collect();
    let mut text = String::new();
    for (index, holder) in holders.iter().take(HOLDERS).enumerate() {
        text.push_str(if index == 0 { "held by " } else { ", " });
        // Its name is not known where it was not selected.
        let mut of = |pid| match graph.process(pid) {
            Some(process) => write!(text, "{pid} {}", process.comm),
            None => write!(text, "{pid}"),
        };
        let _ = match holder {
            Holder::Fd { pid, fd, .. } => of(*pid).and_then(|()| write!(text, " (fd {fd})")),
            Holder::Mount { path, mount_namespace } => {
                write!(text, "mount {path} (mnt:[{mount_namespace}])")
            }
            Holder::PidForChildren { pid, tid, .. } if pid == tid => {
                of(*pid).and_then(|()| write!(text, " (pid_for_children)"))
            }
            Holder::PidForChildren { pid, tid, .. } => {
                of(*pid).and_then(|()| write!(text, " (pid_for_children of thread {tid})"))
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
        // Empty where the kernel does not tell.
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
