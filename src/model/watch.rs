//! Messages of `pidns watch` about the watch itself.

use std::path::PathBuf;

use super::keywords;

/// A message about the watch itself, for example that some changes may have been missed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Notice {
    /// The kind of the message.
    pub code: NoticeCode,
    /// Human-readable text.
    pub message: String,
    /// The number of rounds or problems that the message mentions, if any.
    pub count: Option<u64>,
    /// The snapshot files that the watch saved.
    pub files: Vec<PathBuf>,
}

keywords! {
    /// The kind of a [`Notice`].
    pub enum NoticeCode("notice_code", "notice", "notices") {
        /// Rounds were skipped, because an earlier round took longer than the interval.
        RoundsSkipped = "rounds-skipped",
        /// A snapshot is incomplete, so changes may be missing or wrong.
        Incomplete = "incomplete",
        /// The snapshots are complete again after a gap: all snapshots of the last minute were
        /// complete.
        Complete = "complete",
        /// A snapshot could not be taken.
        ScanFailed = "scan-failed",
        /// A snapshot was taken, after one or more attempts failed.
        ScanWorks = "scan-works",
        /// The first snapshot already has problems listed in `--until`. These problems do not end
        /// the watch.
        AlreadyThere = "already-there",
        /// Two snapshots were saved: the last one before a problem, and the first one that contains
        /// the problem.
        Saved = "saved",
        /// A snapshot could not be saved.
        NotSaved = "not-saved",
        /// The watch has ended.
        Ended = "ended",
    }
}

impl NoticeCode {
    /// Returns `true` if the message reports a gap in the watch, or a failure.
    #[must_use]
    pub fn is_problem(self) -> bool {
        matches!(self, Self::RoundsSkipped | Self::Incomplete | Self::ScanFailed | Self::NotSaved)
    }
}

keywords! {
    /// A reason why the changes that a watch reports may be incomplete.
    pub enum WatchCaveat("watch_caveat", "caveat", "caveats") {
        /// Processes and namespaces that existed only between two snapshots are not reported.
        ShortLived = "short-lived",
    }
}
