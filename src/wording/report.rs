//! Lines about processes in the reports of `pidns diff` and `pidns run`.

use std::collections::HashMap;

use super::line::Line;
use super::phrase::{Count, Symbols};
use super::subject::Pids;
use crate::model::Process;
use crate::query::Happened;
use crate::query::fold::MOST_APART;

/// A row of a report for one process or several similar processes.
pub struct ReportRow<'a> {
    /// The kind of change to the processes, or `None` in a report of `pidns run`.
    pub happened: Option<Happened>,
    /// The processes on this row: one process, or several if [`fold()`] has merged rows.
    pub processes: Vec<&'a Process>,
    /// The command line that the processes have in common.
    pub command: String,
    /// Facts that apply to every process in the row.
    pub facts: Vec<String>,
    /// `true` if this row has no child rows. [`fold()`] merges only such rows.
    pub is_leaf: bool,
}

impl ReportRow<'_> {
    /// Adds the row's PIDs, command and facts to `line`, with the fact `last` at the end.
    pub fn describe(&self, last: Option<&str>, symbols: Symbols, line: &mut Line) {
        let (first_word, words) = match self.command.split_once(' ') {
            Some((first_word, words)) => (first_word, Some(words)),
            None => (self.command.as_str(), None),
        };
        match self.processes.as_slice() {
            [process] => {
                let pids = Pids { process, symbols, all: false };
                line.plain("", format_args!("{pids} {first_word}"));
            }
            processes => {
                let (count, times) = (Count(processes.len()), symbols.times);
                line.plain("", format_args!("{count} {times} {first_word}"));
            }
        }
        if let Some(words) = words {
            line.words(" ", words);
        }
        if self.processes.len() > 1 {
            line.list(": ", self.processes.iter().map(|process| process.pid));
        }
        for (index, fact) in self.facts.iter().map(String::as_str).chain(last).enumerate() {
            line.words(if index == 0 { "  " } else { ", " }, fact);
        }
    }
}

/// Merges equal leaf rows into one row if there are more than [`MOST_APART`] of them.
pub fn fold(rows: Vec<ReportRow<'_>>) -> Vec<ReportRow<'_>> {
    let key = |row: &ReportRow<'_>| {
        row.is_leaf.then(|| (row.happened, row.command.clone(), row.facts.clone()))
    };
    let mut counts: HashMap<_, usize> = HashMap::new();
    for key in rows.iter().filter_map(key) {
        *counts.entry(key).or_default() += 1;
    }
    counts.retain(|_, count| *count > MOST_APART);
    let mut places: HashMap<_, usize> = HashMap::new();
    let mut folded: Vec<ReportRow<'_>> = Vec::new();
    for row in rows {
        let key = key(&row).filter(|key| counts.contains_key(key));
        let place = key.map(|key| *places.entry(key).or_insert(folded.len()));
        match place.and_then(|place| folded.get_mut(place)) {
            Some(first) => first.processes.extend(row.processes),
            None => folded.push(row),
        }
    }
    folded
}
