//! Reports changes on the live host as they happen (`pidns watch`).

use std::collections::BTreeSet;
use std::io;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use nix::sys::signal::Signal as NixSignal;
use rustix::process::Signal;

use super::diff::{add_live_facts, hidden};
use super::save::SaveDir;
use super::show::incomplete_text;
use super::until::{Until, incomparable};
use super::view;
use crate::cli::{self, Origin};
use crate::collect::{self, Request, Scanner};
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::{
    Detail, Host, NamespaceId, NamespaceRef, NotFound, Notice, NoticeCode, Snapshot,
};
use crate::output::{self, Outcome};
use crate::query::{
    self, Check, Coverage, Diff, DiffCaveat, DiffScope, Policy, Round, WatchEvent, WatchStart,
    leave_out_observer, without_attendants,
};
use crate::run::signals::Signals;
use crate::watch::gaps::{GapChange, Gaps};
use crate::watch::local_time::LocalTime;
use crate::watch::schedule::Schedule;
use crate::wording::watch as wording;

/// Shortest `--interval` at which each round also searches for missing namespaces. The search takes
/// up to 0.2 seconds, so pidns skips it at shorter intervals.
const MIN_INTERVAL_FOR_HIDDEN: Duration = Duration::from_secs(1);

/// The reason why the watch ends.
enum End {
    /// A problem selected by `--until` has occurred.
    Occurred,
    /// The time limit of `--for` has expired.
    Time,
    /// A signal arrived between two rounds.
    Signal(Signal),
    /// The namespace of `--root` is gone.
    RootGone(NamespaceId),
    /// The reader has closed the pipe.
    Closed,
    /// A signal arrived while pidns was writing to a slow reader.
    Stopped,
}

/// Reports changes. Returns exit status 1 if the watch ends before a problem selected by `--until`
/// has occurred.
pub fn watch(arguments: &cli::Watch) -> Result<Exit, Error> {
    let signals = Signals::block_ending()
        .map_err(|source| Error::Run { what: "take signals (signalfd)", source })?;
    let mut watcher = Watcher::start(arguments, &signals)?;
    let end = watcher.run()?;
    let is_no = !arguments.until.is_empty() && !matches!(end, End::Occurred);
    let why = match end {
        End::Closed => return Ok(Exit::Success),
        End::Occurred | End::Stopped => None,
        End::Time => Some("after the time of --for".to_owned()),
        End::Signal(signal) => Some(match NixSignal::try_from(signal.as_raw()) {
            Ok(signal) => format!("by {signal}"),
            Err(_) => "by a signal".to_owned(),
        }),
        End::RootGone(id) => Some(format!("because {id} (--root) is gone")),
    };
    if let Some(why) = why {
        watcher.report_end(&why)?;
    }
    Ok(view::exit_status(is_no, watcher.is_complete, arguments.output.strict))
}

/// The state of a running `pidns watch`.
struct Watcher<'a> {
    arguments: &'a cli::Watch,
    signals: &'a Signals,
    scanner: Scanner,
    scope: DiffScope,
    until: Option<Until>,
    save: Option<SaveDir>,
    /// The previous snapshot.
    before: Snapshot,
    /// The namespace of `--root`.
    root: Option<NamespaceId>,
    schedule: Schedule,
    end_at: Option<Instant>,
    gaps: Gaps,
    /// The local date of the last output.
    day: String,
    /// Number of snapshots so far.
    taken: u64,
    /// Number of failed rounds since the last snapshot.
    failed: u64,
    /// `true` if all snapshots so far are complete.
    is_complete: bool,
}

/// The results of a successful round.
struct Look {
    after: Snapshot,
    diff: Diff,
    problems: Option<Check>,
}

impl<'a> Watcher<'a> {
    /// Takes the first snapshot.
    fn start(arguments: &'a cli::Watch, signals: &'a Signals) -> Result<Self, Error> {
        let save = arguments.save.as_deref().map(SaveDir::open).transpose()?;
        let (procfs, collector) = (arguments.procfs.clone(), arguments.collector);
        let origin = Origin { procfs, file: None, host: None, collector };
        // An open handle keeps its namespace alive, so keep this handle only until `start` returns.
        let root = view::handle(arguments.filter.root.as_ref(), &origin)?;
        let mut scope = DiffScope {
            selection: arguments.filter.selection(root.as_ref().map(|root| root.namespace)),
            kernel_threads: false,
        };
        let now = Instant::now();
        let mut scanner = Scanner::new(request(arguments));
        let before = view::snapshot(scanner.scan()?);
        let coverage = Coverage::of(&before);
        let not_found = |no| Error::not_found(no, &coverage);
        let graph = PidGraph::new(before.clone());
        let root = scope.selection.root.map(|root| query::resolve(&graph, root)).transpose();
        let root = root.map_err(not_found)?;
        // The kernel can reuse a PID or an inode, so resolve `--root` once.
        scope.selection.root = root.map(NamespaceRef::Id);
        scope.selection.check_container(&graph).map_err(not_found)?;
        match query::part(graph, &scope.selection) {
            (_, Some(no)) if !matches!(no, NotFound::Selection(_)) => return Err(not_found(no)),
            _ => {}
        }
        let has_until = !arguments.until.is_empty();
        let until = || Until::new(&arguments.until, &before, scanner.request());
        let until = has_until.then(until).transpose()?;
        Ok(Self {
            arguments,
            signals,
            scanner,
            scope,
            until,
            save,
            is_complete: before.complete,
            before,
            root,
            schedule: Schedule::new(arguments.interval(), now),
            end_at: arguments.end_after().and_then(|after| now.checked_add(after)),
            gaps: Gaps::default(),
            day: String::new(),
            taken: 1,
            failed: 0,
        })
    }

    /// Reports changes until the watch ends.
    fn run(&mut self) -> Result<End, Error> {
        if let Some(end) = self.report_start()? {
            return Ok(end);
        }
        loop {
            self.schedule.end_round(Instant::now());
            if let Some(end) = self.wait() {
                return Ok(end);
            }
            // After the time limit, one last round reports the remaining changes.
            let is_last = self.end_at.is_some_and(|at| Instant::now() >= at);
            if let Some(end) = self.round()? {
                return Ok(end);
            }
            if is_last {
                return Ok(End::Time);
            }
        }
    }

    /// Waits for the next round, or returns the reason to end the watch.
    fn wait(&self) -> Option<End> {
        let times = [self.schedule.due(), self.end_at];
        let until = times.into_iter().flatten().min();
        loop {
            if let Some(received) = self.signals.iter().next() {
                return Some(End::Signal(received.signal));
            }
            let left = until.map(|at| at.saturating_duration_since(Instant::now()));
            if left.is_some_and(|left| left.is_zero()) {
                return None;
            }
            if self.signals.wait_while_open(io::stdout().as_fd(), left) {
                return Some(End::Closed);
            }
        }
    }

    /// Takes a snapshot, and reports the changes.
    fn round(&mut self) -> Result<Option<End>, Error> {
        let started = collect::now();
        match self.look() {
            Ok(look) => self.report(look),
            Err(error) => {
                self.failed += 1;
                let notice = (self.failed == 1)
                    .then(|| notice(NoticeCode::ScanFailed, error.one_line(), None));
                let notices = notice.into_iter().chain(self.skipped_notice());
                let events = notices.map(WatchEvent::Notice).collect();
                let host = self.before.host.clone();
                self.write(&started, &host, events)
            }
        }
    }

    fn look(&mut self) -> Result<Look, Error> {
        let after = self.scanner.scan()?.snapshot;
        let (after, problems) = match &self.until {
            Some(until) => until.check(after, &self.scope, &mut self.scanner)?,
            None => (after, None),
        };
        let diff = self.compare(&after)?;
        Ok(Look { after, diff, problems })
    }

    /// Compares a snapshot with the previous one.
    fn compare(&self, after: &Snapshot) -> Result<Diff, Error> {
        let asks = self.arguments.interval() >= MIN_INTERVAL_FOR_HIDDEN;
        // The search for hidden namespaces takes too long for short intervals. Without the search,
        // a missing namespace counts as gone.
        let hidden = if asks { hidden(&self.before, after) } else { BTreeSet::new() };
        let [one, other] = [&self.before, after].map(|it| without_attendants(it.clone()));
        let mut diff = Diff::between(one, other, &self.scope).map_err(incomparable)?;
        diff.hide(&hidden);
        let mut changed = diff.namespaces.iter().filter_map(|it| diff.after.namespace(it.after?));
        if changed.any(|it| it.mounts().next().is_some()) {
            add_live_facts(&mut diff, &self.arguments.procfs)?;
        }
        Ok(diff)
    }

    /// Reports the results of a round, and returns the reason if the watch must end.
    fn report(&mut self, look: Look) -> Result<Option<End>, Error> {
        let Look { after, diff, problems } = look;
        self.taken += 1;
        self.is_complete &= after.complete;
        let mut notices = Vec::new();
        if let failed @ 1.. = std::mem::take(&mut self.failed) {
            let message = wording::scan_works(failed);
            notices.push(notice(NoticeCode::ScanWorks, message, Some(failed)));
        }
        notices.extend(self.gap_notice(&after, Some(&diff)));
        notices.extend(self.skipped_notice());
        if problems.is_some() {
            notices.extend(self.save_both(&after));
        }
        let mut events = Vec::new();
        if diff.differs() {
            events.push(WatchEvent::Changes(&diff));
        }
        events.extend(problems.as_ref().map(WatchEvent::Problems));
        events.extend(notices.into_iter().map(WatchEvent::Notice));
        let written = self.write(&after.captured_at, &after.host, events)?;
        let mut end = problems.is_some().then_some(End::Occurred);
        if let Some(root) = self.root {
            self.root = diff.counterpart(root);
            self.scope.selection.root = self.root.map(NamespaceRef::Id);
            if self.root.is_none() {
                end = end.or(Some(End::RootGone(root)));
            }
        }
        self.before = after;
        Ok(written.or(end))
    }

    /// Reports the first snapshot, and returns the reason if the watch must end.
    fn report_start(&mut self) -> Result<Option<End>, Error> {
        let first = self.before.clone();
        let mut shown = first.clone();
        leave_out_observer(&mut shown, false);
        let (shown, _) = query::part(PidGraph::new(shown), &self.scope.selection);
        let mut events = vec![WatchEvent::Start(WatchStart {
            first: &shown,
            interval: self.arguments.interval(),
            until: &self.arguments.until,
            end_after: self.arguments.end_after(),
        })];
        events.extend(self.gap_notice(&first, None).map(WatchEvent::Notice));
        if let Some(until) = &self.until
            && let count @ 1.. = until.already_there(&self.scope)
        {
            let codes: Vec<_> = until.codes().collect();
            let message = wording::already_there(count, &codes);
            let notice = notice(NoticeCode::AlreadyThere, message, u64::try_from(count).ok());
            events.push(WatchEvent::Notice(notice));
        }
        self.write(&first.captured_at, &first.host, events)
    }

    /// Reports the end of the watch, unless a slow reader would block pidns.
    fn report_end(&mut self, why: &str) -> Result<(), Error> {
        if !output::is_writable() {
            return Ok(());
        }
        let message = wording::ended(why, self.taken, self.schedule.skipped());
        let event = WatchEvent::Notice(notice(NoticeCode::Ended, message, Some(self.taken)));
        let host = self.before.host.clone();
        self.write(&collect::now(), &host, vec![event]).map(drop)
    }

    /// Saves the snapshot with the new problem, and the snapshot before it.
    fn save_both(&self, after: &Snapshot) -> Vec<Notice> {
        let Some(dir) = &self.save else { return Vec::new() };
        let (mut files, mut notices) = (Vec::new(), Vec::new());
        for (snapshot, word) in [(&self.before, "before"), (after, "after")] {
            match dir.save(snapshot, word) {
                Ok(path) => files.push(path),
                Err(error) => notices.push(notice(NoticeCode::NotSaved, error.one_line(), None)),
            }
        }
        if !files.is_empty() {
            let saved = notice(NoticeCode::Saved, wording::saved(&files), None);
            notices.insert(0, Notice { files, ..saved });
        }
        notices
    }

    /// Returns a notice if data is incomplete for a new reason, or is complete again.
    fn gap_notice(&mut self, snapshot: &Snapshot, diff: Option<&Diff>) -> Option<Notice> {
        let gaps = snapshot.diagnostics.iter().filter(|it| it.is_gap());
        let names = gaps.map(|it| format!("{} {:?}", it.code, it.errno));
        let caveats: Vec<DiffCaveat> = diff
            .map_or_else(BTreeSet::new, Diff::caveats)
            .into_iter()
            .filter(|it| *it != DiffCaveat::Incomplete)
            .collect();
        let of_diff = caveats.iter().map(|it| it.name().to_owned());
        let change = self.gaps.note(names.chain(of_diff).collect::<Vec<_>>(), Instant::now())?;
        let message = match change {
            GapChange::New => {
                let incomplete = (!snapshot.complete).then(|| incomplete_text(snapshot));
                let caveats = caveats.iter().map(|it| it.message().to_owned());
                incomplete.into_iter().chain(caveats).collect::<Vec<_>>().join("; ")
            }
            GapChange::Ended => "the snapshots are complete again".to_owned(),
        };
        let code = match change {
            GapChange::New => NoticeCode::Incomplete,
            GapChange::Ended => NoticeCode::Complete,
        };
        Some(notice(code, message, None))
    }

    fn skipped_notice(&mut self) -> Option<Notice> {
        let skipped = self.schedule.take_report(Instant::now())?;
        let interval = self.arguments.interval();
        let message = wording::rounds_skipped(skipped.count, skipped.longest, interval);
        Some(notice(NoticeCode::RoundsSkipped, message, Some(skipped.count)))
    }

    /// Writes events, and returns the reason if the watch must end.
    fn write(
        &mut self,
        captured_at: &str,
        host: &Host,
        events: Vec<WatchEvent<'_>>,
    ) -> Result<Option<End>, Error> {
        if events.is_empty() {
            return Ok(None);
        }
        let LocalTime { day, clock } = LocalTime::of(captured_at);
        let new_day = (day != self.day).then(|| day.clone());
        self.day = day;
        let round = Round { captured_at: captured_at.to_owned(), clock, new_day, host, events };
        let output = &self.arguments.output;
        let style = view::style(output, self.arguments.folding.no_fold);
        let stop = self.signals.fd();
        let emit = |out: &mut dyn io::Write| output.format.0.emit(&round, style, out);
        Ok(match output::write_until(stop, emit)? {
            Outcome::Taken => None,
            Outcome::Closed => Some(End::Closed),
            Outcome::Stopped => Some(End::Stopped),
        })
    }
}

/// Returns the scan request for the snapshots of the watch.
fn request(arguments: &cli::Watch) -> Request {
    let policy = Policy::only(arguments.until.clone());
    let needs_cgroups = arguments.filter.container.is_some() || policy.needs_cgroups();
    let mut details = arguments.details();
    details.extend(needs_cgroups.then_some(Detail::Cgroup));
    // Limits are not compared.
    details.remove(&Detail::Limits);
    Request {
        procfs: arguments.procfs.clone(),
        search: arguments.search(),
        details,
        environment: arguments.filter.env.iter().chain(policy.environment()).cloned().collect(),
        collector: arguments.collector,
    }
}

fn notice(code: NoticeCode, message: String, count: Option<u64>) -> Notice {
    Notice { code, message, count, files: Vec::new() }
}
