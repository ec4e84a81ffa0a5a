//! Phrases for `pidns watch`.

use std::path::Path;
use std::time::Duration;

use super::line::Line;
use super::phrase::{Count, Counted, namespaces, processes};
use crate::model::{CheckCode, WatchCaveat};
use crate::query::WatchStart;

/// Returns a phrase about the changes that the watch may miss.
pub fn caveat(caveat: WatchCaveat) -> &'static str {
    match caveat {
        WatchCaveat::ShortLived => {
            "a process or namespace that comes and goes between two snapshots is not reported"
        }
    }
}

/// Returns the first line of the log, with the watched host and the interval.
pub fn start(start: &WatchStart<'_>) -> Line {
    let snapshot = start.first.snapshot();
    let mut text = format!(
        "watching {} and {}",
        namespaces(snapshot.namespaces.len()),
        processes(snapshot.processes.len())
    );
    if let Some(hostname) = &snapshot.host.hostname {
        text.push_str(" on ");
        text.push_str(hostname);
    }
    text.push_str(", every ");
    text.push_str(&seconds(start.interval));
    text.push_str("; what comes and goes between two snapshots is not reported");
    let mut line = Line::default();
    line.words("", &text);
    line
}

/// Returns a phrase with the number of skipped rounds and the longest round's duration.
pub fn rounds_skipped(skipped: u64, longest: Duration, interval: Duration) -> String {
    format!(
        "skipped {}: a snapshot took {:.2} s, and the interval is {}",
        rounds(skipped),
        longest.as_secs_f64(),
        seconds(interval)
    )
}

/// Returns the message for the first successful scan after `failed` rounds without a snapshot.
pub fn scan_works(failed: u64) -> String {
    format!("snapshots work again, after {} without one", rounds(failed))
}

/// Returns a phrase such as `waiting for a new zombie; 2 problems already here`.
pub fn already_there(count: usize, codes: &[CheckCode]) -> String {
    let codes: Vec<_> = codes.iter().map(|code| code.name()).collect();
    let codes = codes.join(" or ");
    let problems = Counted(count, "problem", "problems");
    format!("waiting for a new {codes}; {problems} already here ('pidns check' lists them)")
}

/// Returns a phrase with the names of the saved files.
pub fn saved(files: &[impl AsRef<Path>]) -> String {
    let files: Vec<_> = files.iter().map(|file| file.as_ref().display().to_string()).collect();
    format!("saved {}", files.join(" and "))
}

/// Returns the last line of the log. `why` says why the watch ended, such as "by SIGINT".
pub fn ended(why: &str, taken: u64, skipped: u64) -> String {
    let snapshots = Counted(usize::try_from(taken).unwrap_or(usize::MAX), "snapshot", "snapshots");
    if skipped == 0 {
        format!("ended {why}, after {snapshots}")
    } else {
        format!("ended {why}, after {snapshots}; {} skipped", rounds(skipped))
    }
}

fn rounds(count: u64) -> String {
    let count = usize::try_from(count).unwrap_or(usize::MAX);
    format!("{} {}", Count(count), if count == 1 { "round" } else { "rounds" })
}

fn seconds(duration: Duration) -> String {
    format!("{} s", duration.as_secs_f64())
}
