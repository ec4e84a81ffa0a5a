//! What is wrong with a host: for people, for programs, and for those who show
//! the results of jobs; one file a format. What is said of a finding, and what
//! to do about it, is the same in all of them, and is here.

use std::io::{self, Write};

use crate::document;
use crate::emit::Style;
use crate::emit::data::json::Json;
use crate::emit::data::ndjson::JsonLines;
use crate::graph::PidGraph;
use crate::model::{
    BlockReason, Blocker, CheckCode, Finding, Holder, Namespace, Pid, Process, Subject, Verdict,
};
use crate::query::Check;
use crate::wording::namespace::{Pids, Symbols};
use crate::wording::subject::{age_text, command, part_of, pids, shell_word, state_text};

/// Commands that would let go of one namespace; whoever keeps it by more sees
/// the rest at the next look.
const MOST: usize = 10;

/// The formats of a check.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum CheckFormat {
    /// A line or two for each finding, for people.
    Text,
    /// The findings, as `pidns schema check` describes them.
    Json,
    /// The same as records, one a line, as `pidns schema check-record` describes.
    #[value(alias = "jsonl")]
    Ndjson,
    /// Workflow commands, which GitHub Actions shows as annotations.
    Github,
    /// JUnit XML, a test case for each code.
    Junit,
    /// A table for a job's summary.
    Markdown,
}

impl CheckFormat {
    /// All of them, in the order in which they are shown.
    pub const ALL: [Self; 6] =
        [Self::Text, Self::Json, Self::Ndjson, Self::Github, Self::Junit, Self::Markdown];

    /// Writes what was found.
    ///
    /// # Errors
    /// What the writer says.
    pub fn emit(self, check: &Check, style: Style, out: &mut dyn Write) -> io::Result<()> {
        let said = |finding: &Finding| {
            let said = said(check, finding, false);
            (said.message, said.advice)
        };
        match self {
            Self::Text => crate::emit::text::check::write(check, style, out),
            Self::Json => Json { pretty: style.pretty }.write(&document::check(check, said), out),
            Self::Ndjson => {
                let mut lines = JsonLines::new(out);
                document::write_check_records(check, said, |record| lines.line(record))?;
                lines.end()
            }
            Self::Github => super::github::write(check, out),
            Self::Junit => super::junit::write(check, out),
            Self::Markdown => super::markdown::write(check, out),
        }
    }
}

/// What is said of a finding.
pub struct Said {
    /// Who, and what is wrong.
    pub message: String,
    /// What to do about it, a command or an advice each.
    pub advice: Vec<String>,
}

/// The sum of it: `2 denied, 1 warning`.
pub fn sum(check: &Check) -> String {
    let (denied, warned) = (check.count(Verdict::Deny), check.count(Verdict::Warn));
    let warnings = if warned == 1 { "warning" } else { "warnings" };
    match (denied, warned) {
        (0, 0) => "nothing is wrong".to_owned(),
        (0, _) => format!("{warned} {warnings}"),
        (_, 0) => format!("{denied} denied"),
        _ => format!("{denied} denied, {warned} {warnings}"),
    }
}

/// What is said of a finding.
pub fn said(check: &Check, finding: &Finding, ascii: bool) -> Said {
    let graph = &check.graph;
    match finding.subject {
        Subject::Process(pid) => match graph.process(pid) {
            Some(process) => of_process(check, finding.code, process, ascii),
            None => Said { message: pid.to_string(), advice: Vec::new() },
        },
        Subject::Namespace(id) => match graph.namespace(id) {
            Some(namespace) => of_namespace(graph, finding.code, namespace),
            None => Said { message: id.to_string(), advice: Vec::new() },
        },
        Subject::Snapshot => {
            let messages = graph.snapshot().diagnostics.iter().map(|it| it.message.as_str());
            let messages: Vec<_> = messages.collect();
            let why = if messages.is_empty() {
                "no reason given".to_owned()
            } else {
                messages.join("; ")
            };
            Said { message: format!("the view is incomplete: {why}"), advice: Vec::new() }
        }
    }
}

fn of_process(check: &Check, code: CheckCode, process: &Process, ascii: bool) -> Said {
    let graph = &check.graph;
    let pid = process.pid;
    let symbols = if ascii { Symbols::ASCII } else { Symbols::UNICODE };
    let pids_of_it = Pids { process, symbols, all: false };
    let mut who = format!("{pids_of_it} {}", command(process, ascii));
    let mut facts = Vec::new();
    facts.extend(check.age(process).map(|age| format!("{} old", age_text(age))));
    if let Some(parent) = process.ppid {
        facts.push(format!("child of {}", named(graph, parent)));
    }
    if let Some(namespace) = process.namespace.filter(|_| process.nspid.len() > 1) {
        facts.push(format!("in {namespace}"));
    }
    if !facts.is_empty() {
        who = format!("{who} ({})", facts.join(", "));
    }
    let stopped = matches!(process.state, 'T' | 't');
    let (message, advice) = match code {
        CheckCode::Zombie => match process.ppid {
            Some(parent) => (
                format!("{} does not reap its child {who}", named(graph, parent)),
                vec![kill(graph, parent, "")],
            ),
            None => (format!("{who} is a zombie"), Vec::new()),
        },
        CheckCode::InitDoesNotReap => {
            let children = graph.child_processes(process).into_iter();
            let zombies: Vec<_> =
                children.filter(|it| check.is_unreaped(it)).map(|it| it.pid).collect();
            let advice = "use an init that reaps, as of docker run --init";
            (
                format!("{who} is an init and does not reap {}", pids(zombies.into_iter())),
                vec![advice.to_owned()],
            )
        }
        CheckCode::StoppedInit => {
            (format!("{who} is an init and is stopped"), vec![format!("kill -CONT {pid}")])
        }
        CheckCode::Uninterruptible => (
            format!("{who} is in uninterruptible sleep"),
            vec![format!("cat /proc/{pid}/stack says where it waits")],
        ),
        _ if stopped => (format!("{who} is left, and stopped"), vec![kill(graph, pid, "-KILL ")]),
        _ => (format!("{who} is left"), vec![kill(graph, pid, "")]),
    };
    Said { message, advice }
}

fn of_namespace(graph: &PidGraph, code: CheckCode, namespace: &Namespace) -> Said {
    let text = state_text(graph, namespace);
    let message = match code {
        CheckCode::BlockedInit => {
            let init = namespace.init.map_or_else(String::new, |init| format!("{init} "));
            let waits: Vec<_> =
                namespace.blocked_by.iter().map(|blocker| waits_for(graph, blocker)).collect();
            format!("the init {init}of {} cannot go: {}", namespace.id, waits.join("; "))
        }
        CheckCode::DeepNesting => {
            let lineage = std::iter::successors(Some(namespace), |it| graph.parent(it));
            format!("{} is {} levels deep, of 32", namespace.id, lineage.count() - 1)
        }
        CheckCode::LeftoverNamespace => format!("{text} (is left)"),
        _ => text,
    };
    let advice = match code {
        CheckCode::BlockedInit => {
            let reapers = namespace.blocked_by.iter().filter_map(|blocker| blocker.reaper);
            reapers.map(|reaper| kill(graph, reaper, "")).collect()
        }
        CheckCode::DeepNesting => Vec::new(),
        CheckCode::UnknownState => vec!["run as root of the host, on its /proc".to_owned()],
        _ => let_go(graph, namespace),
    };
    Said { message, advice }
}

fn waits_for(graph: &PidGraph, blocker: &Blocker) -> String {
    let Blocker { pid, comm, reason, reaper } = blocker;
    match (reason, reaper) {
        (BlockReason::Zombie, Some(reaper)) => {
            format!("{} does not reap its child {pid} {comm}", named(graph, *reaper))
        }
        (BlockReason::Zombie, None) => format!("{pid} {comm} is a zombie"),
        (BlockReason::Uninterruptible, _) => format!("{pid} {comm} is in uninterruptible sleep"),
    }
}

/// What would let a namespace go.
fn let_go(graph: &PidGraph, namespace: &Namespace) -> Vec<String> {
    let init = namespace.init.map(|init| kill(graph, init, "-KILL "));
    let holders = namespace.holders.iter().map(|holder| match holder {
        Holder::Fd { pid, .. } | Holder::PidForChildren { pid, .. } | Holder::File { pid, .. } => {
            kill(graph, *pid, "")
        }
        Holder::Mount { path, .. } => format!("umount {}", shell_word(path)),
    });
    let mut advice: Vec<String> = init.into_iter().chain(holders).take(MOST).collect();
    advice.dedup();
    advice
}

/// How to end a process; of a service or container that is said, which is rather
/// to be stopped or started anew as a whole. With the init of /proc's own
/// namespace all that can be seen would end.
fn kill(graph: &PidGraph, pid: Pid, signal: &str) -> String {
    if pid == Pid::INIT {
        return format!("{pid} is the init here, and cannot be ended without all else");
    }
    match graph.process(pid).and_then(part_of) {
        Some(whole) => format!("kill {signal}{pid}, a part of {whole}"),
        None => format!("kill {signal}{pid}"),
    }
}

/// A PID with the name of its process, where that is in the graph.
fn named(graph: &PidGraph, pid: Pid) -> String {
    match graph.process(pid) {
        Some(process) => format!("{pid} {}", process.comm),
        None => pid.to_string(),
    }
}

#[cfg(test)]
mod tests;
