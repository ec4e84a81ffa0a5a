//! Phrases that describe a process, for all reports.

use std::fmt;
use std::time::Duration;

use super::phrase::Symbols;
use crate::graph::PidGraph;
use crate::model::{Container, Pid, Process, cgroup};

/// Maximum number of PIDs to show for each process.
const LEVELS: usize = 4;

/// Maximum number of characters to show from a command line.
const COMMAND: usize = 60;

/// The name of a process for display, with `(no name)` for an empty name.
pub struct Comm<'a>(pub &'a str);

impl fmt::Display for Comm<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.0.is_empty() { "(no name)" } else { self.0 })
    }
}

/// A process, displayed as its PID and, if known, its name.
pub struct ProcessRef<'a> {
    pid: Pid,
    comm: Option<&'a str>,
}

impl<'a> ProcessRef<'a> {
    /// Creates a reference to a process, with its name from `comm` or the graph.
    pub fn new(graph: &'a PidGraph, pid: Pid, comm: Option<&'a str>) -> Self {
        let seen = || graph.known_process(pid).map(|process| &*process.comm);
        Self { pid, comm: comm.or_else(seen) }
    }

    /// Returns the PID of the process.
    pub fn pid(&self) -> Pid {
        self.pid
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

/// The PIDs of a process for display, from the outermost namespace to the innermost.
pub struct Pids<'a> {
    /// The process whose PIDs are displayed.
    pub process: &'a Process,
    /// The symbols to use for the arrow and the ellipsis.
    pub symbols: Symbols,
    /// `true` if a long list of PIDs is shown in full.
    pub all: bool,
}

impl fmt::Display for Pids<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Symbols { arrow, ellipsis, .. } = self.symbols;
        // Take the outermost PID from `pid`, because `nspid` is empty before Linux 4.1.
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

/// Returns the beginning of the command line, or the name if there is no command line.
pub fn command(process: &Process, ascii: bool) -> String {
    let args = process.details.as_ref().and_then(|details| details.args.as_ref());
    let Some(args) = args.filter(|args| !args.is_empty()) else {
        let Process { comm, kernel_thread, .. } = process;
        return if *kernel_thread { format!("[{comm}]") } else { Comm(comm).to_string() };
    };
    let text = args.join(" ");
    match text.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}{}", &text[..end], Symbols::new(ascii).ellipsis),
        None => text,
    }
}

/// Returns a phrase for an unusual process state, such as frozen or stopped.
pub fn process_state(process: &Process) -> Option<&'static str> {
    match process.state {
        _ if process.is_unreaped() => Some("zombie"),
        _ if process.has_exited_leader() => Some("leader thread exited"),
        _ if process.is_frozen() => Some("frozen"),
        'T' => Some("stopped"),
        't' => Some("stopped by a tracer"),
        'D' => Some("uninterruptible"),
        _ => None,
    }
}

/// Returns the systemd service or container in the cgroup path of a process.
pub fn part_of(graph: &PidGraph, process: &Process) -> Option<String> {
    let namespace = process.namespace.and_then(|id| graph.namespace(id));
    let own = namespace.and_then(|namespace| namespace.container.as_ref());
    let found = cgroup::of_path(process.cgroup()?, None);
    let is_found = |it: &&Container| found.as_ref().is_some_and(|found| found.is_same(it));
    // Prefer the container in the graph, because it can have a name. The container
    // from the cgroup path has only an ID.
    if let Some(container) = process.other_container().or_else(|| own.filter(is_found)) {
        return Some(container.to_string());
    }
    let found = found?;
    if found.is_unit() {
        // Leave out systemd scopes, such as login sessions, because they are not services.
        let is_service = |name: &&str| name.ends_with(".service");
        let unit = Some(found.id).filter(|it| is_service(&it.as_str()))?;
        // A user's service can have the name of a system service, so add `user@UID.service`.
        let outer = process.cgroup()?.split('/').find(is_service).filter(|it| *it != unit);
        return Some(outer.map_or(unit.clone(), |outer| format!("{unit} in {outer}")));
    }
    Some(found.to_string())
}

/// Returns an age in its largest unit, such as `3 d`.
pub fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", age.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_is_part_of_its_service_or_container() {
        let part = |cgroup: &str| {
            let mut process = crate::testing::process(&[7], None);
            process.details.get_or_insert_default().cgroup = Some(cgroup.to_owned());
            part_of(&PidGraph::new(crate::testing::farm()), &process)
        };
        assert_eq!(part("/system.slice/cron.service").as_deref(), Some("cron.service"));
        assert_eq!(
            part("/user.slice/user-7.slice/user@7.service/app.slice/sshd.service").as_deref(),
            Some("sshd.service in user@7.service")
        );
        let docker = format!("/docker/3f2a1b9c04de{}", "0".repeat(52));
        assert_eq!(part(&docker).as_deref(), Some("docker 3f2a1b9c04de"));
        assert_eq!(part("/user.slice/user-0.slice/session-3.scope"), None);
        assert_eq!(part("/"), None);
    }
}
