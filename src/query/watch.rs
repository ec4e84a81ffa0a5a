//! The results of a round of `pidns watch`.

use std::time::Duration;

use super::check::Check;
use super::diff::Diff;
use super::policy::Rule;
use crate::graph::PidGraph;
use crate::model::{Host, Notice};

/// Everything that a round of the watch reports.
#[derive(Debug)]
pub struct Round<'a> {
    /// Start time of the round's scan, in RFC 3339 format, UTC.
    pub captured_at: String,
    /// The scan's start time in the host's time zone, as hours, minutes and seconds.
    pub clock: String,
    /// The local date, unless an earlier report has the same date.
    pub new_day: Option<String>,
    /// The watched host.
    pub host: &'a Host,
    /// The events, in the order in which they are reported.
    pub events: Vec<WatchEvent<'a>>,
}

/// An event that the watch reports.
#[derive(Debug)]
pub enum WatchEvent<'a> {
    /// The watch begins.
    Start(WatchStart<'a>),
    /// Processes or namespaces changed between two snapshots.
    Changes(&'a Diff),
    /// Problems that end the watch (`--until`).
    Problems(&'a Check),
    /// A message about the watch itself.
    Notice(Notice),
}

/// The first snapshot, and the options of the watch.
#[derive(Debug)]
pub struct WatchStart<'a> {
    /// The selected part of the first snapshot.
    pub first: &'a PidGraph,
    /// Time between the starts of two scans.
    pub interval: Duration,
    /// The problems that end the watch.
    pub until: &'a [Rule],
    /// Time after which the watch ends.
    pub end_after: Option<Duration>,
}
