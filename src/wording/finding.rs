//! Phrases for the findings of `check` and `run`.

use std::fmt::Write as _;

use super::advice::{kill, release, stack};
use super::line::Line;
use super::namespace::namespace_line;
use super::phrase::{Count, Counted, Symbols, namespaces, processes};
use super::subject::{Comm, Pids, ProcessRef, age_text, command, process_state};
use crate::graph::PidGraph;
use crate::model::{
    BlockReason, Blocker, CheckCode, Ended, Finding, Killed, Namespace, NamespaceState, Process,
    Subject, Verdict,
};
use crate::query::{Check, Leftovers, RunReport};

/// Explains the row of processes that exit before a scan can read them.
pub const UNSEEN: &str = "processes that exit before they can be read, each leaving a child";

/// A finding in words.
pub struct FindingText {
    /// The process or namespace, and the problem.
    pub message: String,
    /// Ways to solve it, usually commands.
    pub advice: Vec<String>,
}

impl FindingText {
    /// Message and advice in one line.
    pub fn in_one_line(&self) -> String {
        let all: Vec<_> = std::iter::once(&self.message).chain(&self.advice).cloned().collect();
        all.join("; ")
    }
}

/// Counts the findings of `check` by verdict: `2 denied, 1 warning`.
pub fn summary(check: &Check) -> String {
    let (denied, warned) = (check.count(Verdict::Deny), check.count(Verdict::Warn));
    let warnings = if warned == 1 { "warning" } else { "warnings" };
    match (denied, warned) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, _) => format!("{warned} {warnings}"),
        (_, 0) => format!("{denied} denied"),
        _ => format!("{denied} denied, {warned} {warnings}"),
    }
}

/// Describes a finding of `check`.
pub fn describe(check: &Check, finding: &Finding, symbols: Symbols) -> FindingText {
    let graph = &check.graph;
    let without_advice = |message| FindingText { message, advice: Vec::new() };
    match finding.subject {
        Subject::Process(pid) => match graph.process(pid) {
            Some(process) => process_finding(check, finding.code, process, symbols),
            None => without_advice(pid.to_string()),
        },
        Subject::Namespace(id) => match graph.namespace(id) {
            Some(namespace) => namespace_finding(graph, finding.code, namespace),
            None => without_advice(id.to_string()),
        },
        Subject::Snapshot => {
            let diagnostics = graph.snapshot().diagnostics.iter();
            let reasons: Vec<_> = diagnostics.map(|it| it.message.as_str()).collect();
            let reasons =
                if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join("; ") };
            without_advice(format!("the view is incomplete: {reasons}"))
        }
    }
}

fn process_finding(
    check: &Check,
    code: CheckCode,
    process: &Process,
    symbols: Symbols,
) -> FindingText {
    let graph = &check.graph;
    let pid = process.pid;
    let who = process_text(check, process, symbols);
    let is_stopped = matches!(process.state, 'T' | 't');
    let (message, advice) = match code {
        CheckCode::Zombie => match process.ppid {
            Some(parent) => (
                format!("{} does not reap its child {who}", ProcessRef::new(graph, parent, None)),
                vec![kill(graph, parent, "")],
            ),
            None => (format!("{who} is a zombie"), Vec::new()),
        },
        CheckCode::InitDoesNotReap => {
            let mut children = graph.child_processes(process);
            children.retain(|it| check.is_unreaped(it));
            let mut zombies = Line::default();
            zombies.list("", children.iter().map(|zombie| zombie.pid));
            (
                format!("{who} is an init and does not reap {zombies}"),
                vec!["use an init that reaps its children, such as docker run --init".to_owned()],
            )
        }
        CheckCode::StoppedInit => {
            (format!("{who} is an init and is stopped"), vec![format!("kill -CONT {pid}")])
        }
        CheckCode::Uninterruptible => {
            (format!("{who} is in uninterruptible sleep"), vec![stack(pid)])
        }
        _ if is_stopped => {
            (format!("{who} was left behind and is stopped"), vec![kill(graph, pid, "-KILL ")])
        }
        _ => (format!("{who} was left behind"), vec![kill(graph, pid, "")]),
    };
    FindingText { message, advice }
}

/// A process with its age, parent and namespace.
fn process_text(check: &Check, process: &Process, symbols: Symbols) -> String {
    let pids = Pids { process, symbols, all: false };
    let command = command(process, symbols == Symbols::ASCII);
    let mut facts = Vec::new();
    facts.extend(check.age(process).map(|age| format!("{} old", age_text(age))));
    if let Some(parent) = process.ppid {
        facts.push(format!("child of {}", ProcessRef::new(&check.graph, parent, None)));
    }
    if let Some(namespace) = process.namespace.filter(|_| process.nspid.len() > 1) {
        facts.push(format!("in {namespace}"));
    }
    if facts.is_empty() {
        format!("{pids} {command}")
    } else {
        format!("{pids} {command} ({})", facts.join(", "))
    }
}

fn namespace_finding(graph: &PidGraph, code: CheckCode, namespace: &Namespace) -> FindingText {
    let mut line = Line::default();
    namespace_line(graph, namespace, &mut line);
    let message = match code {
        CheckCode::BlockedInit => {
            let init = namespace.init.map_or_else(String::new, |init| format!("{init} "));
            let reasons: Vec<_> =
                namespace.blocked_by.iter().map(|blocker| blocker_text(graph, blocker)).collect();
            format!(
                "the init {init}of {} cannot finish its exit: {}",
                namespace.id,
                reasons.join("; ")
            )
        }
        CheckCode::DeepNesting => {
            let lineage = std::iter::successors(Some(namespace), |it| graph.parent(it));
            format!("{} is nested {} levels deep, of at most 32", namespace.id, lineage.count() - 1)
        }
        CheckCode::LeftoverNamespace => format!("{line} (was left behind)"),
        _ => line.to_string(),
    };
    let advice = match code {
        CheckCode::BlockedInit => {
            let reapers = namespace.blocked_by.iter().filter_map(|blocker| blocker.reaper);
            reapers.map(|reaper| kill(graph, reaper, "")).collect()
        }
        CheckCode::DeepNesting => Vec::new(),
        CheckCode::UnknownState => {
            vec!["run pidns as root on the host, with the host's /proc".to_owned()]
        }
        _ => release(graph, namespace),
    };
    FindingText { message, advice }
}

fn blocker_text(graph: &PidGraph, blocker: &Blocker) -> String {
    let Blocker { pid, comm, reason, reaper } = blocker;
    let comm = Comm(comm);
    match (reason, reaper) {
        (BlockReason::Zombie, Some(reaper)) => {
            let reaper = ProcessRef::new(graph, *reaper, None);
            format!("{reaper} does not reap its child {pid} {comm}")
        }
        (BlockReason::Zombie, None) => format!("{pid} {comm} is a zombie"),
        (BlockReason::Uninterruptible, _) => format!("{pid} {comm} is in uninterruptible sleep"),
    }
}

/// Says how the command of `run` ended, and counts what it left behind.
pub fn run_heading(report: &RunReport) -> String {
    let name = report.command.first().map_or("the command", String::as_str);
    let mut text = match report.ended {
        Ended::Exited(status) => format!("{name} ended with status {status}"),
        Ended::Killed(signal) => format!("{name} was ended by signal {signal}"),
    };
    let findings = report.findings();
    let count = |code| {
        findings.iter().filter(|it| it.code == code && it.subject != Subject::Snapshot).count()
    };
    let counts = [
        processes(count(CheckCode::LeftoverProcess)),
        Counted(count(CheckCode::Zombie), "zombie", "zombies"),
        namespaces(count(CheckCode::LeftoverNamespace)),
    ];
    let counts = counts.into_iter().filter(|Counted(count, ..)| *count > 0);
    let mut left: Vec<String> = counts.map(|counted| counted.to_string()).collect();
    if findings.iter().any(|finding| finding.subject == Subject::Snapshot) {
        left.push("processes that cannot be counted".to_owned());
    }
    // Writing to a String does not fail.
    let _ = match left.as_slice() {
        [] => write!(text, " and left nothing"),
        [one] => write!(text, " and left {one}"),
        [first @ .., last] => write!(text, " and left {} and {last}", first.join(", ")),
    };
    let has_processes = findings.iter().any(|it| !matches!(it.subject, Subject::Namespace(_)));
    if has_processes && !report.grace.is_zero() {
        let _ = write!(text, " after {} s", report.grace.as_secs_f64());
    }
    if !left.is_empty() {
        text.push(':');
    }
    text
}

/// Facts about a process that `run` found, except its age.
pub fn run_facts(leftovers: &Leftovers, process: &Process) -> Vec<String> {
    let graph = &leftovers.graph;
    let mut facts = Vec::new();
    if let Some(state) = process_state(process.state) {
        let parent = process.ppid.and_then(|ppid| graph.process(ppid));
        facts.push(match parent.filter(|_| process.is_zombie()) {
            Some(it) => format!("{state}: {} {} does not reap it", it.pid, Comm(&it.comm)),
            None => state.to_owned(),
        });
    }
    let init_of = |it: &&Namespace| it.init == Some(process.pid);
    if let Some(namespace) = leftovers.made().find(init_of) {
        facts.push(match namespace.state {
            NamespaceState::Dead => format!("init of {}, which is dead", namespace.id),
            _ => format!("init of {}", namespace.id),
        });
    }
    facts
}

/// The age of the oldest of these processes.
pub fn run_age(report: &RunReport, processes: &[&Process]) -> Option<String> {
    let oldest = processes.iter().filter_map(|process| report.age(process)).max()?;
    Some(match processes {
        [_] => format!("{} old", age_text(oldest)),
        _ => format!("up to {} old", age_text(oldest)),
    })
}

/// Says which processes `run --kill` ended, and which are still there.
pub fn killed_text(killed: &Killed) -> String {
    let all = killed.sigterm.union(&killed.sigkill).count();
    let mut text = format!("killed {}", processes(all));
    // Writing to a String does not fail.
    if !killed.sigkill.is_empty() {
        let _ = write!(text, ", {} of them by SIGKILL", Count(killed.sigkill.len()));
    }
    if !killed.remaining.is_empty() {
        let mut remaining = Line::default();
        remaining.list("", killed.remaining.iter());
        let _ = write!(text, "; still there: {remaining}");
    }
    text
}
