//! Phrases for the report of `pidns run`.

use std::collections::BTreeSet;
use std::fmt::Write as _;

use super::advice::Adviser;
use super::finding::FindingText;
use super::line::Line;
use super::namespace::namespace_line;
use super::phrase::{Count, Counted, Symbols, namespaces, processes};
use super::subject::{Comm, Pids, ProcessRef, age_text, command, process_state};
use crate::graph::PidGraph;
use crate::model::{
    CheckCode, Ended, Finding, Killed, Namespace, NamespaceState, Pid, Process, Subject,
};
use crate::query::fold::{Drawn, Kinship, Relation, relation};
use crate::query::{Leftovers, RunReport};

/// Text about leftovers that exit before a scan can read them.
pub const UNSEEN: &str = "processes that exit before they can be read, each leaving a child";

/// Returns the message about a leftover, with advice if the leftover still exists.
pub fn describe_leftover(report: &RunReport, finding: &Finding, symbols: Symbols) -> FindingText {
    let without_advice = |message: String| FindingText { message, advice: Vec::new() };
    let Some(leftovers) = &report.leftovers else { return without_advice(String::new()) };
    let graph = &leftovers.graph;
    let adviser = Adviser { graph, live: &report.live };
    match finding.subject {
        Subject::Process(pid) => match graph.process(pid) {
            None => without_advice(pid.to_string()),
            Some(process) => {
                let text = process_text(report, leftovers, process, symbols);
                let (outcome, advice) = outcome(report.killed.as_ref(), process, &adviser);
                FindingText { message: text + &outcome, advice }
            }
        },
        Subject::Namespace(id) => match graph.namespace(id) {
            None => without_advice(id.to_string()),
            Some(namespace) => {
                let mut line = Line::default();
                namespace_line(graph, namespace, &mut line);
                // The graph contains no processes other than leftovers.
                let is_leftover = |pid| graph.process(pid).is_some();
                let advice = adviser.release(namespace, &BTreeSet::new(), is_leftover);
                FindingText { message: format!("{line} (was left behind)"), advice }
            }
        },
        Subject::Limit(_) | Subject::Snapshot => without_advice(UNSEEN.to_owned()),
    }
}

/// Returns a phrase about the effect of `--kill` on a process, and advice on how to end the
/// process.
fn outcome(
    killed: Option<&Killed>,
    process: &Process,
    adviser: &Adviser<'_>,
) -> (String, Vec<String>) {
    let pid = process.pid;
    let make_reap = || {
        let reaper = process.reaper();
        reaper.map_or_else(Vec::new, |reaper| adviser.make_reap(reaper, pid).commands())
    };
    let is_unreaped = killed.is_some_and(|it| it.unreaped.contains(&pid));
    let is_over = |it: &Killed| !it.remaining.contains(&pid);
    // `sigterm` and `sigkill` list only processes that were running, not processes that were
    // already zombies.
    if process.is_unreaped() {
        return match killed {
            Some(killed) if is_over(killed) && !is_unreaped => {
                ("; it has been reaped".to_owned(), Vec::new())
            }
            _ => (String::new(), make_reap()),
        };
    }
    let is_signalled = |it: &Killed| it.sigterm.contains(&pid) || it.sigkill.contains(&pid);
    let has_ended = killed.is_some_and(|it| is_signalled(it) && is_over(it));
    match process.reaper().filter(|_| is_unreaped) {
        _ if !has_ended => {
            // The graph contains no processes other than leftovers.
            let is_leftover = |pid| adviser.graph.process(pid).is_some();
            (String::new(), adviser.end_leftover(pid, &is_leftover))
        }
        None => ("; pidns has ended it".to_owned(), Vec::new()),
        Some(reaper) => {
            let reaper = ProcessRef::new(adviser.graph, reaper, None);
            (format!("; pidns has ended it, but {reaper} does not reap it"), make_reap())
        }
    }
}

fn process_text(
    report: &RunReport,
    leftovers: &Leftovers,
    process: &Process,
    symbols: Symbols,
) -> String {
    let pids = Pids { process, symbols, all: false };
    let command = command(process, symbols == Symbols::ASCII);
    let mut facts = run_facts(leftovers, process);
    facts.extend(run_age(report, &[process]));
    match facts.as_slice() {
        [] => format!("{pids} {command} was left behind"),
        facts => format!("{pids} {command} was left behind ({})", facts.join(", ")),
    }
}

/// Returns the heading, such as `make ended with status 0 and left 2 processes:`.
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
    // Writing to a String cannot fail.
    let _ = match left.as_slice() {
        [] => write!(text, " and left nothing"),
        [one] => write!(text, " and left {one}"),
        [first @ .., last] => write!(text, " and left {} and {last}", first.join(", ")),
    };
    let has_processes = findings.iter().any(|it| !matches!(it.subject, Subject::Namespace(_)));
    if has_processes && !report.grace.is_zero() {
        let waited = report.waited.as_secs_f64();
        let shown =
            if report.waited < report.grace { (waited * 10.0).round() / 10.0 } else { waited };
        let _ = write!(text, " after {shown} s");
    }
    if !left.is_empty() {
        text.push(':');
    }
    text
}

/// Returns the facts about a leftover process for the report, without its age.
pub fn run_facts(leftovers: &Leftovers, process: &Process) -> Vec<String> {
    let graph = &leftovers.graph;
    let mut facts = Vec::new();
    if let Some(state) = process_state(process) {
        let parent = process.reaper().and_then(|reaper| graph.known_process(reaper));
        facts.push(match parent.filter(|_| process.is_unreaped()) {
            Some(it) => format!("{state}: {} {} does not reap it", it.pid, Comm(&it.comm)),
            None => state.to_owned(),
        });
    }
    if process.state == '?' {
        facts.push("hidden by /proc".to_owned());
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

/// Returns a phrase with the age of the oldest process, such as `up to 3 d old`.
pub fn run_age(report: &RunReport, processes: &[&Process]) -> Option<String> {
    let oldest = processes.iter().filter_map(|process| report.age(process)).max()?;
    Some(match processes {
        [_] => format!("{} old", age_text(oldest)),
        _ => format!("up to {} old", age_text(oldest)),
    })
}

/// Returns a phrase about the effect of `pidns run --kill`, with names from `graph`.
pub fn killed_text(killed: &Killed, graph: Option<&PidGraph>) -> String {
    let has_ended = |pid: &&Pid| !killed.remaining.contains(*pid);
    let all = killed.sigterm.union(&killed.sigkill).filter(has_ended).count();
    let by_sigkill = killed.sigkill.iter().filter(has_ended).count();
    let mut text = format!("killed {}", processes(all));
    if by_sigkill > 0 {
        // Writing to a `String` cannot fail, here and below.
        let _ = write!(text, ", {} of them by SIGKILL", Count(by_sigkill));
    }
    let names = |pids: &BTreeSet<Pid>, with_user: bool| {
        let mut names = Line::default();
        let name = |&pid: &Pid| {
            let Some(graph) = graph else { return pid.to_string() };
            let name = ProcessRef::new(graph, pid, None);
            let user = graph.process(pid).and_then(|it| it.user.as_ref()).filter(|_| with_user);
            user.map_or_else(|| name.to_string(), |user| format!("{name} of user {user}"))
        };
        names.list("", pids.iter().map(name));
        names.to_string()
    };
    if let Some(graph) = graph.filter(|_| !killed.outsiders.is_empty()) {
        let mut outsiders = Line::default();
        outsiders.list("", killed.outsiders.iter().map(|&pid| outsider_text(graph, pid)));
        let _ = write!(text, "; killed with the init of their PID namespace: {outsiders}");
    }
    if !killed.refused.is_empty() {
        let _ = write!(text, "; not permitted to signal {}", names(&killed.refused, true));
    }
    if !killed.remaining.is_empty() {
        let are_killed = killed.remaining.is_subset(&killed.sigkill);
        let after = if are_killed { " after SIGKILL" } else { "" };
        let _ = write!(text, "; still there{after}: {}", names(&killed.remaining, false));
    }
    if !killed.unreaped.is_empty() {
        let _ = write!(text, "; not reaped: {}", names(&killed.unreaped, false));
    }
    text
}

/// Returns a phrase that names an outsider (not a descendant of the command) and its parent.
fn outsider_text(graph: &PidGraph, pid: Pid) -> String {
    let name = ProcessRef::new(graph, pid, None);
    let process = graph.known_process(pid);
    let related =
        process.and_then(|it| relation(it, Drawn::Listed, |pid| graph.known_process(pid)));
    let Some(Relation { kinship, pid, .. }) = related else { return name.to_string() };
    let parent = ProcessRef::new(graph, pid, None);
    match kinship {
        Kinship::EnteredBy => format!("{name} (entered by {parent})"),
        Kinship::ReparentedTo => format!("{name} (entered, reparented to {parent})"),
        Kinship::ChildOf | Kinship::ZombieOf | Kinship::TracedBy => name.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_is_still_there_is_not_counted_as_killed() {
        let pids = |raw: &[u32]| raw.iter().copied().filter_map(Pid::new).collect();
        let killed = |sigterm: &[u32], sigkill: &[u32], remaining: &[u32]| Killed {
            sigterm: pids(sigterm),
            sigkill: pids(sigkill),
            remaining: pids(remaining),
            ..Killed::default()
        };
        for (killed, expected) in [
            (killed(&[7], &[7], &[7]), "killed 0 processes; still there after SIGKILL: 7"),
            (
                killed(&[7, 8], &[7, 9], &[7]),
                "killed 2 processes, 1 of them by SIGKILL; still there after SIGKILL: 7",
            ),
            (killed(&[7], &[], &[8]), "killed 1 process; still there: 8"),
        ] {
            assert_eq!(killed_text(&killed, None), expected);
        }
    }
}
