//! Phrases for the findings of `pidns check`.

use std::fmt::Write as _;

use super::advice::{Adviser, Step, USE_REAPING_INIT};
use super::limit::{failure, limit_text};
use super::limit_advice::limit_advice;
use super::line::Line;
use super::namespace::namespace_line;
use super::phrase::{Counted, Symbols};
use super::subject::{Comm, Pids, ProcessRef, age_text, command};
use crate::model::{
    BlockReason, Blocker, CheckCode, Finding, Limit, Namespace, Pid, Process, StoppedBy, Subject,
    Verdict,
};
use crate::query::{Check, Origin};

/// The text of a finding.
pub struct FindingText {
    /// The subject of the finding, such as a process, and its problem.
    pub message: String,
    /// Ways to solve the problem, usually commands.
    pub advice: Vec<String>,
}

impl FindingText {
    /// Returns the message and the advice as one line.
    pub fn in_one_line(&self) -> String {
        let all: Vec<_> = std::iter::once(&self.message).chain(&self.advice).cloned().collect();
        all.join("; ")
    }
}

/// Returns a summary such as `2 denied, 1 warning`.
pub fn summary(check: &Check) -> String {
    let (denied, warned) = (check.count(Verdict::Deny), check.count(Verdict::Warn));
    let warnings = if warned == 1 { "warning" } else { "warnings" };
    let mut text = match (denied, warned) {
        (0, 0) if !check.caveats.is_empty() => {
            "nothing was found, but problems may be missing".to_owned()
        }
        (0, 0) if check.older > 0 => "nothing is new".to_owned(),
        (0, 0) => "nothing is wrong".to_owned(),
        (0, _) => format!("{warned} {warnings}"),
        (_, 0) => format!("{denied} denied"),
        _ => format!("{denied} denied, {warned} {warnings}"),
    };
    if check.older > 0 {
        let older = Counted(check.older, "older problem", "older problems");
        // Writing to a String cannot fail.
        let _ = write!(text, "; {older} left out (--all)");
    }
    if check.nothing_matches {
        text.push_str("; nothing matches the filter");
    }
    text
}

/// Returns the text of a finding of `pidns check`.
pub fn describe(check: &Check, finding: &Finding, symbols: Symbols) -> FindingText {
    let graph = &check.graph;
    let without_advice = |message| FindingText { message, advice: Vec::new() };
    // Do not suggest ending a process that a daemon or container in the earlier snapshot may need,
    // or a process that has just appeared and may end soon.
    let message = origin_message(check, finding, symbols);
    if let Some(message) = message.or_else(|| late_message(check, finding, symbols)) {
        return without_advice(message);
    }
    let FindingText { message, advice } = match finding.subject {
        Subject::Process(pid) => match graph.process(pid) {
            Some(process) => process_finding(check, finding.code, process, symbols),
            None => without_advice(pid.to_string()),
        },
        Subject::Namespace(id) => match graph.namespace(id) {
            Some(namespace) => namespace_finding(check, finding.code, namespace),
            None => without_advice(id.to_string()),
        },
        Subject::Limit(index) => graph
            .limit(index)
            .map_or_else(|| without_advice(String::new()), |limit| limit_finding(check, limit)),
        Subject::Snapshot => {
            // Leave out diagnostics such as `init-blocked`, because they do not make the view
            // incomplete. Other findings report them.
            let diagnostics = graph.snapshot().diagnostics.iter().filter(|it| it.is_gap());
            let reasons: Vec<_> = diagnostics.map(|it| it.message.as_str()).collect();
            let reasons =
                if reasons.is_empty() { "no reason given".to_owned() } else { reasons.join("; ") };
            without_advice(format!("the view is incomplete: {reasons}"))
        }
    };
    let age = match finding.subject {
        _ if !check.has_older_cause(finding) => "",
        Subject::Process(_) => " (both processes may be older than BEFORE)",
        Subject::Limit(_) => " (none of its processes was left behind)",
        Subject::Namespace(_) | Subject::Snapshot => {
            " (it and everything that keeps it may be older than BEFORE)"
        }
    };
    FindingText { message: message + age, advice }
}

/// Returns the message for a leftover that a daemon or container in the earlier snapshot may have
/// started.
fn origin_message(check: &Check, finding: &Finding, symbols: Symbols) -> Option<String> {
    if !finding.reports_leftover() {
        return None;
    }
    let (graph, origin) = (&check.graph, check.origin_of(finding.subject)?);
    let reason = match origin {
        Origin::Daemon(daemon) => {
            format!("a new worker of {}", ProcessRef::new(graph, *daemon, None))
        }
        Origin::Container(container) => format!("{container} may have been restarted"),
    };
    let text = leftover_text(check, finding.subject, symbols)?;
    Some(match (origin, finding.subject) {
        (Origin::Daemon(_), Subject::Namespace(_)) => format!("{text} (may belong to {reason})"),
        (Origin::Container(_), Subject::Namespace(_)) => format!("{text} ({reason})"),
        (Origin::Daemon(daemon), Subject::Process(pid))
            if graph.process(pid).is_some_and(|it| it.ppid == Some(*daemon)) =>
        {
            format!("{text} may be {reason}")
        }
        (Origin::Daemon(_), _) => format!("{text} may belong to {reason}"),
        (Origin::Container(_), _) => format!("{text} is new, but {reason}"),
    })
}

/// Returns the message for a leftover that appeared only while pidns was repeating the check.
fn late_message(check: &Check, finding: &Finding, symbols: Symbols) -> Option<String> {
    let text = leftover_text(check, finding.subject, symbols)?;
    check.is_late(finding).then(|| format!("{text} appeared during --wait"))
}

/// Describes a leftover process or namespace.
fn leftover_text(check: &Check, subject: Subject, symbols: Symbols) -> Option<String> {
    match subject {
        Subject::Process(pid) => Some(process_text(check, check.graph.process(pid)?, symbols)),
        Subject::Namespace(id) => {
            let mut line = Line::default();
            namespace_line(&check.graph, check.graph.namespace(id)?, &mut line);
            Some(line.to_string())
        }
        Subject::Limit(_) | Subject::Snapshot => None,
    }
}

/// Returns the command that enters the namespace of a finding, if this is possible.
pub fn enter(check: &Check, finding: &Finding) -> Option<String> {
    let (namespace, process) = match finding.subject {
        Subject::Process(pid) => (check.graph.process(pid)?.namespace?, Some(pid)),
        Subject::Namespace(id) => (id, None),
        Subject::Limit(_) | Subject::Snapshot => return None,
    };
    Adviser { graph: &check.graph, live: &check.live }.enter(namespace, process)
}

fn limit_finding(check: &Check, limit: &Limit) -> FindingText {
    let adviser = Adviser { graph: &check.graph, live: &check.live };
    let text = limit_text(&check.graph, limit);
    let message = match (limit.full, limit.percent()) {
        (Some(false), Some(percent)) => format!("{text}, which is {percent} %"),
        _ => format!("{}: {text}", failure(limit.kind)),
    };
    FindingText { message, advice: limit_advice(&adviser, limit) }
}

fn process_finding(
    check: &Check,
    code: CheckCode,
    process: &Process,
    symbols: Symbols,
) -> FindingText {
    let graph = &check.graph;
    let adviser = Adviser { graph, live: &check.live };
    let pid = process.pid;
    let who = process_text(check, process, symbols);
    let end = || adviser.end_leftover(pid, &|pid| check.is_leftover(pid));
    let (message, advice) = match code {
        CheckCode::Zombie => match process.reaper() {
            Some(reaper) => {
                let idle = idle_process(check, reaper);
                let message = match process.tracer() {
                    Some(_) => format!("{idle} does not reap {who}, which it traces"),
                    None => format!("{idle} does not reap its child {who}"),
                };
                (message, adviser.make_reap(reaper, pid).commands())
            }
            None => (format!("{who} is a zombie"), Vec::new()),
        },
        CheckCode::InitDoesNotReap => {
            let mut children = graph.child_processes(process);
            children.retain(|it| check.is_unreaped(it));
            let mut zombies = Line::default();
            zombies.list("", children.iter().map(|zombie| zombie.pid));
            (
                format!("{who} is an init and does not reap {zombies}"),
                vec![USE_REAPING_INIT.to_owned()],
            )
        }
        CheckCode::StoppedInit => {
            let by = match adviser.stopped_by(pid) {
                Some(StoppedBy::Tracer(Some(tracer))) => {
                    format!(" by its tracer {}", ProcessRef::new(graph, tracer, None))
                }
                _ => String::new(),
            };
            let advice = adviser.go_on(pid).map(Step::commands).unwrap_or_default();
            (format!("{who} is an init and is stopped{by}"), advice)
        }
        CheckCode::Uninterruptible => {
            let thread = match check.live.stuck_threads.get(&pid) {
                Some(tid) => format!("{who}: its thread {tid} is in uninterruptible sleep"),
                None if process.is_frozen() => format!("{who} is frozen"),
                None => format!("{who} is in uninterruptible sleep"),
            };
            (thread, adviser.wake(pid))
        }
        _ if process.is_stopped() => (format!("{who} was left behind and is stopped"), end()),
        _ if check.live.unkillable.contains(&pid) => {
            (format!("{who} was left behind and is in uninterruptible sleep"), end())
        }
        _ => (format!("{who} was left behind"), end()),
    };
    FindingText { message, advice }
}

/// Returns the name of a process and, if the process cannot run, the reason.
fn idle_process(check: &Check, pid: Pid) -> String {
    let process = ProcessRef::new(&check.graph, pid, None);
    let adviser = Adviser { graph: &check.graph, live: &check.live };
    match adviser.stopped_by(pid) {
        _ if check.live.frozen.contains_key(&pid) => format!("{process} is frozen and"),
        _ if check.live.uninterruptible.contains(&pid) => {
            format!("{process} is in uninterruptible sleep and")
        }
        Some(StoppedBy::Signal) => format!("{process} is stopped and"),
        Some(StoppedBy::Tracer(_)) => format!("{process} is stopped by its tracer and"),
        None => process.to_string(),
    }
}

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
    facts.extend(check.graph.container_of(process).map(|it| format!("of {it}")));
    if facts.is_empty() {
        format!("{pids} {command}")
    } else {
        format!("{pids} {command} ({})", facts.join(", "))
    }
}

fn namespace_finding(check: &Check, code: CheckCode, namespace: &Namespace) -> FindingText {
    let graph = &check.graph;
    let adviser = Adviser { graph, live: &check.live };
    let mut line = Line::default();
    namespace_line(graph, namespace, &mut line);
    let message = match code {
        CheckCode::BlockedInit => {
            let init = namespace.init.map_or_else(String::new, |init| format!("{init} "));
            let reasons: Vec<_> =
                namespace.blocked_by.iter().map(|blocker| blocker_text(check, blocker)).collect();
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
        CheckCode::BlockedInit => adviser.unblock(namespace),
        CheckCode::DeepNesting => Vec::new(),
        CheckCode::UnknownState => adviser.find_state(namespace),
        _ => adviser.release(namespace, &check.attendants, |pid| check.is_leftover(pid)),
    };
    FindingText { message, advice }
}

fn blocker_text(check: &Check, blocker: &Blocker) -> String {
    let Blocker { pid, comm, reason, reaper } = blocker;
    let comm = Comm(comm);
    let process = check.graph.known_process(*pid);
    let (tracer, is_frozen) =
        (process.and_then(Process::tracer), process.is_some_and(Process::is_frozen));
    match (reason, reaper) {
        (BlockReason::Zombie, Some(reaper)) if tracer == Some(*reaper) => {
            format!("{} does not reap {pid} {comm}, which it traces", idle_process(check, *reaper))
        }
        (BlockReason::Zombie, Some(reaper)) => {
            format!("{} does not reap its child {pid} {comm}", idle_process(check, *reaper))
        }
        (BlockReason::Zombie, None) => format!("{pid} {comm} is a zombie"),
        (BlockReason::Uninterruptible, _) if is_frozen => format!("{pid} {comm} is frozen"),
        (BlockReason::Uninterruptible, _) => format!("{pid} {comm} is in uninterruptible sleep"),
        (BlockReason::Traced, Some(reaper)) => {
            format!("{} traces {pid} {comm} and does not let it exit", idle_process(check, *reaper))
        }
        (BlockReason::Traced, None) => format!("the tracer of {pid} {comm} does not let it exit"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::graph::PidGraph;
    use crate::model::{Diagnostic, DiagnosticCode, Severity};
    use crate::query::{Policy, Unsettled};
    use crate::testing::farm;

    #[test]
    fn an_incomplete_view_names_only_the_diagnostics_that_are_gaps() {
        let mut host = farm();
        host.complete = false;
        let diagnostic = |code: DiagnosticCode, message: &str| Diagnostic {
            code: code.name().to_owned(),
            severity: Severity::Warning,
            message: message.to_owned(),
            errno: None,
            pids: Vec::new(),
        };
        host.diagnostics = vec![
            diagnostic(DiagnosticCode::ProcessUnreadable, "1 process could not be read"),
            diagnostic(DiagnosticCode::InitDoesNotReap, "init 6 does not reap its children"),
        ];
        let check = Check::new(PidGraph::new(host), Unsettled::default(), &Policy::default());
        let incomplete = check.findings.iter().find(|it| it.code == CheckCode::Incomplete);
        let text = describe(&check, incomplete.unwrap(), Symbols::ASCII);
        assert_eq!(text.message, "the view is incomplete: 1 process could not be read");
    }
}
