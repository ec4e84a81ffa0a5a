//! Suppresses repeated reports of a gap (a reason why a snapshot is incomplete).

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Time for which a gap must be absent before it counts as ended.
const ENDS_AFTER: Duration = Duration::from_secs(60);

/// The reasons why snapshots or comparisons from the past minute are incomplete.
#[derive(Debug, Default)]
pub struct Gaps {
    /// Time when each gap (a reason why snapshots are incomplete) was last seen, by name.
    seen: BTreeMap<String, Instant>,
}

/// A change in the gaps (reasons why snapshots are incomplete) that the watch must report.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GapChange {
    /// The snapshot has a gap that no other snapshot from the past minute had.
    New,
    /// All gaps have ended, so the snapshots are complete again.
    Ended,
}

impl Gaps {
    /// Records the gaps in a snapshot, and returns the change that the watch must report.
    pub fn note(
        &mut self,
        names: impl IntoIterator<Item = String>,
        now: Instant,
    ) -> Option<GapChange> {
        let had_gaps = !self.seen.is_empty();
        let mut is_new = false;
        for name in names {
            is_new |= self.seen.insert(name, now).is_none();
        }
        self.seen.retain(|_, seen| now.saturating_duration_since(*seen) < ENDS_AFTER);
        if is_new {
            return Some(GapChange::New);
        }
        (had_gaps && self.seen.is_empty()).then_some(GapChange::Ended)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_gap_is_reported_once_until_it_has_been_absent_for_a_minute() {
        let start = Instant::now();
        let mut gaps = Gaps::default();
        let mut note = |seconds: u64, names: &[&str]| {
            let names = names.iter().map(|&name| name.to_owned());
            gaps.note(names, start + Duration::from_secs(seconds))
        };
        assert_eq!(note(0, &[]), None);
        assert_eq!(note(1, &["a"]), Some(GapChange::New));
        assert_eq!(note(2, &[]), None);
        assert_eq!(note(3, &["a"]), None);
        assert_eq!(note(4, &["b"]), Some(GapChange::New));
        assert_eq!(note(63, &[]), None);
        assert_eq!(note(64, &[]), Some(GapChange::Ended));
        assert_eq!(note(65, &[]), None);
        assert_eq!(note(66, &["a"]), Some(GapChange::New));
    }
}
