//! Sentences about the findings of `run`, for CI formats.

use super::advice::Adviser;
use super::finding::{FindingText, UNSEEN, run_age, run_facts};
use super::line::Line;
use super::namespace::namespace_line;
use super::phrase::Symbols;
use super::subject::{Pids, command};
use crate::model::{Finding, Process, Subject};
use crate::query::{Leftovers, RunReport};

/// Describes a finding of `run`. If `--kill` has ended the process, there is no advice.
pub fn describe_leftover(report: &RunReport, finding: &Finding, symbols: Symbols) -> FindingText {
    let without_advice = |message: String| FindingText { message, advice: Vec::new() };
    let Some(leftovers) = &report.leftovers else { return without_advice(String::new()) };
    let graph = &leftovers.graph;
    let adviser = Adviser { graph, live: &report.live };
    match finding.subject {
        Subject::Process(pid) => match graph.process(pid) {
            None => without_advice(pid.to_string()),
            Some(process) => {
                let mut message = process_text(report, leftovers, process, symbols);
                let killed = report.killed.as_ref().filter(|it| !it.remaining.contains(&pid));
                if killed.is_none() {
                    return FindingText { message, advice: adviser.end(pid) };
                }
                message.push_str("; pidns has ended it");
                without_advice(message)
            }
        },
        Subject::Namespace(id) => match graph.namespace(id) {
            None => without_advice(id.to_string()),
            Some(namespace) => {
                let mut line = Line::default();
                namespace_line(graph, namespace, &mut line);
                let advice = adviser.release(namespace);
                FindingText { message: format!("{line} (was left behind)"), advice }
            }
        },
        Subject::Limit(_) | Subject::Snapshot => without_advice(UNSEEN.to_owned()),
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
