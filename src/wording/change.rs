//! Phrases for the changes between two snapshots.

use super::line::Line;
use super::namespace::namespace_line;
use super::phrase::{Symbols, namespaces, processes};
use super::report::ReportRow;
use super::subject::{Comm, ProcessRef, command, process_state};
use super::unmount::add_umounts;
use crate::graph::PidGraph;
use crate::model::{Namespace, NamespaceId, Process};
use crate::query::{Diff, Happened, NamespaceChange, NamespaceField, ProcessChange, ProcessField};

/// Returns the character that marks a change.
pub fn mark(happened: Happened) -> char {
    match happened {
        Happened::Came => '+',
        Happened::Went => '-',
        Happened::Hidden => '?',
        Happened::Changed => '~',
    }
}

/// Returns `true` if a namespace is new or gone, or if anything except its members changed.
pub fn is_more_than_members(change: &NamespaceChange) -> bool {
    change.happened() != Happened::Changed
        || change.fields.iter().any(|field| *field != NamespaceField::Members)
}

/// Returns a summary with the numbers of changed processes and PID namespaces.
pub fn summary(diff: &Diff) -> String {
    if !diff.differs() {
        let is_attendant = |it: &&Process| diff.attendants.contains(&it.pid);
        let attendants = diff.after.processes().iter().filter(is_attendant).count();
        let processes = processes(diff.after.processes().len() - attendants);
        let namespaces = namespaces(diff.common_namespaces());
        return format!("No difference: {processes} and {namespaces} in both.");
    }
    let changes = diff.namespaces.iter().filter(|change| is_more_than_members(change));
    let sentences = [
        counts("Process", "Processes", diff.processes.iter().map(ProcessChange::happened)),
        counts("PID namespace", "PID namespaces", changes.map(NamespaceChange::happened)),
    ];
    sentences.into_iter().flatten().collect::<Vec<_>>().join(" ")
}

/// Returns a sentence with the number of changes of each kind, if there are any.
fn counts(one: &str, many: &str, happened: impl Iterator<Item = Happened>) -> Option<String> {
    let happened: Vec<Happened> = happened.collect();
    let kinds = [
        (Happened::Came, "came"),
        (Happened::Went, "went"),
        (Happened::Hidden, "hidden"),
        (Happened::Changed, "changed"),
    ];
    let counts: Vec<_> = kinds
        .into_iter()
        .map(|(kind, word)| (happened.iter().filter(|&&it| it == kind).count(), word))
        .filter(|(count, _)| *count > 0)
        .map(|(count, word)| format!("{count} {word}"))
        .collect();
    let noun = if happened.len() == 1 { one } else { many };
    (!counts.is_empty()).then(|| format!("{noun}: {}.", counts.join(", ")))
}

/// Adds a namespace and its change to `line`, or only its ID if `change` is `None`.
pub fn namespace_change(
    diff: &Diff,
    graph: &PidGraph,
    namespace: &Namespace,
    change: Option<&NamespaceChange>,
    line: &mut Line,
) {
    let Some(change) = change else {
        line.plain("", format_args!("{}", namespace.id));
        return;
    };
    if change.hidden {
        line.plain("", format_args!("{}", namespace.id));
        line.words("  ", "hidden: still in the kernel, kept by something that /proc does not show");
        return;
    }
    if change.after.is_none() {
        line.plain("", format_args!("{}", namespace.id));
        line.plain("  ", format_args!("gone; was {}", namespace.state.name()));
        return;
    }
    namespace_line(graph, namespace, line);
    add_umounts(namespace, &diff.live, line);
    let Some(old) = change.before.and_then(|id| diff.before.namespace(id)) else { return };
    for field in &change.fields {
        match (field, old.parent) {
            (NamespaceField::State, _) => {
                line.plain("; ", format_args!("was {}", old.state.name()));
            }
            (NamespaceField::Parent, Some(parent)) => {
                line.plain("; ", format_args!("its parent was {parent}"));
            }
            (NamespaceField::Parent, None) => {
                line.plain("; ", format_args!("its parent was not seen"));
            }
            (NamespaceField::Members, _) => {}
        }
    }
}

/// Returns the row of the report for a process that is new, gone or changed.
pub fn process_change<'a>(
    diff: &'a Diff,
    change: &ProcessChange,
    symbols: Symbols,
) -> Option<ReportRow<'a>> {
    let before = change.before.and_then(|pid| diff.before.process(pid));
    let after = change.after.and_then(|pid| diff.after.process(pid));
    let process = after.or(before)?;
    let facts = if let (Some(before), Some(after)) = (before, after) {
        let changes = change.fields.iter();
        changes.map(|&field| field_change(diff, field, before, after, symbols)).collect()
    } else {
        let is_init = process.nspid.len() > 1 && process.is_init();
        let facts = [is_init.then_some("init"), compared_state(process)];
        facts.into_iter().flatten().map(str::to_owned).collect()
    };
    Some(ReportRow {
        happened: Some(change.happened()),
        processes: vec![process],
        command: command(process, symbols == Symbols::ASCII),
        facts,
        is_leaf: true,
    })
}

/// Returns the process state, or `None` if the process is running or waiting.
fn compared_state(process: &Process) -> Option<&'static str> {
    // `pidns diff` treats running and waiting (R, S, D, I) as one state.
    process_state(process).filter(|_| process.state != 'D')
}

/// Returns a phrase with the old and the new value of a field.
fn field_change(
    diff: &Diff,
    field: ProcessField,
    before: &Process,
    after: &Process,
    symbols: Symbols,
) -> String {
    let namespace =
        |id: Option<NamespaceId>| id.map_or_else(|| "unknown".to_owned(), |id| id.to_string());
    let parent = |graph: &PidGraph, process: &Process| match process.ppid {
        None => "none".to_owned(),
        Some(pid) => ProcessRef::new(graph, pid, None).to_string(),
    };
    let user = |process: &Process| match &process.user {
        Some(user) => user.to_string(),
        None => format!("uid {}", process.uid),
    };
    let state =
        |process: &Process| compared_state(process).unwrap_or("running or waiting").to_owned();
    let (name, before, after) = match field {
        ProcessField::Namespace => {
            ("namespace ", namespace(before.namespace), namespace(after.namespace))
        }
        ProcessField::Parent => {
            ("parent ", parent(&diff.before, before), parent(&diff.after, after))
        }
        ProcessField::Comm => {
            ("name ", Comm(&before.comm).to_string(), Comm(&after.comm).to_string())
        }
        ProcessField::User => ("user ", user(before), user(after)),
        ProcessField::State => ("", state(before), state(after)),
    };
    format!("{name}{before}{}{after}", symbols.arrow)
}
