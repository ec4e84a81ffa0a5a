//! Schedules the rounds of a watch with a clock that ignores changes to the system time.

use std::time::{Duration, Instant};

/// Minimum time between two reports of skipped rounds.
const QUIET: Duration = Duration::from_secs(60);

/// The schedule of a watch, with a round due at each multiple of the interval.
#[derive(Debug)]
pub struct Schedule {
    interval: Duration,
    /// Time of the next round, or `None` if the clock cannot represent it.
    due: Option<Instant>,
    /// Rounds skipped since the last report.
    unreported: SkippedRounds,
    /// Time of the last report.
    reported_at: Option<Instant>,
    /// Number of rounds skipped since the watch began.
    skipped: u64,
}

/// Rounds that were skipped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SkippedRounds {
    /// Number of skipped rounds.
    pub count: u64,
    /// Longest time that a round took, counted from its due time. Includes only rounds that caused
    /// others to be skipped.
    pub longest: Duration,
}

impl Schedule {
    /// Creates a schedule whose first round begins now.
    #[must_use]
    pub fn new(interval: Duration, now: Instant) -> Self {
        let unreported = SkippedRounds::default();
        Self { interval, due: Some(now), unreported, reported_at: None, skipped: 0 }
    }

    /// Returns the time of the next round, or `None` if the clock cannot represent it.
    #[must_use]
    pub fn due(&self) -> Option<Instant> {
        self.due
    }

    /// Returns the number of rounds skipped since the watch began.
    #[must_use]
    pub fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Records the end of a round, counts the skipped rounds, and schedules the next.
    pub fn end_round(&mut self, now: Instant) {
        let Some(due) = self.due else { return };
        let (took, interval) =
            (now.saturating_duration_since(due), self.interval.as_nanos().max(1));
        let missed = u64::try_from(took.as_nanos() / interval).unwrap_or(u64::MAX);
        if missed > 0 {
            self.skipped = self.skipped.saturating_add(missed);
            self.unreported.count = self.unreported.count.saturating_add(missed);
            self.unreported.longest = self.unreported.longest.max(took);
        }
        // The next round is due at the next multiple of the interval, `left` from now.
        let left = u64::try_from(interval - took.as_nanos() % interval).ok();
        self.due = left.and_then(|left| now.checked_add(Duration::from_nanos(left)));
    }

    /// Returns the rounds skipped since the last report. Reports them at most once a minute.
    pub fn take_report(&mut self, now: Instant) -> Option<SkippedRounds> {
        let is_early = self.reported_at.is_some_and(|at| now.saturating_duration_since(at) < QUIET);
        if self.unreported.count == 0 || is_early {
            return None;
        }
        self.reported_at = Some(now);
        Some(std::mem::take(&mut self.unreported))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(seconds: f64) -> Duration {
        Duration::from_secs_f64(seconds)
    }

    #[test]
    fn rounds_keep_to_multiples_of_the_interval() {
        let start = Instant::now();
        let mut schedule = Schedule::new(seconds(2.0), start);
        for (ended, due, skipped) in [
            (0.5, 2.0, 0),
            (2.0, 4.0, 0),
            // This round takes longer than two intervals.
            (8.5, 10.0, 2),
            (11.9, 12.0, 2),
            // pidns was stopped (SIGSTOP) for almost an hour.
            (3600.0, 3602.0, 1796),
        ] {
            schedule.end_round(start + seconds(ended));
            assert_eq!(schedule.due(), Some(start + seconds(due)), "{ended}");
            assert_eq!(schedule.skipped(), skipped, "{ended}");
        }
    }

    #[test]
    fn skipped_rounds_are_reported_at_most_once_a_minute() {
        let start = Instant::now();
        let mut schedule = Schedule::new(seconds(1.0), start);
        let mut reports = Vec::new();
        for round in 0..100 {
            // Every round takes 1.5 seconds, so every second round is skipped.
            let ended = start + seconds(f64::from(round) * 2.0 + 1.5);
            schedule.end_round(ended);
            reports.extend(schedule.take_report(ended).map(|it| (round, it.count, it.longest)));
        }
        let longest = seconds(1.5);
        let expected =
            [0, 30, 60, 90].map(|round| (round, if round == 0 { 1 } else { 30 }, longest));
        assert_eq!(reports, expected);
        assert_eq!(schedule.skipped(), 100);
    }

    #[test]
    fn an_interval_may_be_longer_than_the_clock_can_represent() {
        let start = Instant::now();
        let mut schedule = Schedule::new(Duration::MAX, start);
        schedule.end_round(start + seconds(1.0));
        assert_eq!(schedule.due(), None);
        schedule.end_round(start + seconds(2.0));
        assert_eq!(schedule.skipped(), 0);
    }
}
