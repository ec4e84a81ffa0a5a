//! Writes the events of `pidns watch` as a log, each line with a time and a mark.

use std::io::{self, Write};

use super::tree::{Mark, TreeDrawer};
use crate::emit::overlay::{Overlay, OverlayNode};
use crate::emit::{Style, palette};
use crate::query::{Check, Diff, Round, WatchEvent};
use crate::wording::finding::describe;
use crate::wording::line::{Emphasis, Line};
use crate::wording::namespace::location;
use crate::wording::phrase::unplaced;
use crate::wording::watch::start;

/// Writes the events of one watch round.
pub fn write(round: &Round<'_>, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let mut log = Log { clock: &round.clock, style, lines: TreeDrawer::new(style, 0, out) };
    if let Some(day) = &round.new_day {
        log.sentence(' ', day)?;
    }
    round.events.iter().try_for_each(|event| match event {
        WatchEvent::Start(begin) => log.line(log.plain(), &start(begin)),
        WatchEvent::Changes(diff) => changes(diff, &mut log),
        WatchEvent::Problems(check) => problems(check, &mut log),
        WatchEvent::Notice(notice) => {
            let sign = if notice.code.is_problem() { '!' } else { ' ' };
            log.sentence(sign, &notice.message)
        }
    })
}

/// Writes the lines of one round of the watch, all with the same timestamp.
struct Log<'r, 'o> {
    clock: &'r str,
    style: Style,
    lines: TreeDrawer<'o>,
}

impl Log<'_, '_> {
    fn line(&mut self, mark: Mark, line: &Line) -> io::Result<()> {
        self.lines.log_line(self.clock, mark, line)
    }

    fn sentence(&mut self, sign: char, text: &str) -> io::Result<()> {
        let mut line = Line::default();
        line.words("", text);
        let mark = if sign == '!' { self.problem() } else { self.plain() };
        self.line(mark, &line)
    }

    fn plain(&self) -> Mark {
        Mark::of_change(None, self.style)
    }

    fn problem(&self) -> Mark {
        let color = if self.style.color {
            palette::style(Emphasis::Warning)
        } else {
            anstyle::Style::new()
        };
        Mark { sign: '!', style: color }
    }
}

fn changes(diff: &Diff, log: &mut Log<'_, '_>) -> io::Result<()> {
    let overlay = Overlay::new(diff, log.style.symbols(), !log.style.unfolded);
    for root in overlay.children(None) {
        namespace(&overlay, root, true, log)?;
    }
    let ambiguous = unplaced(1).1;
    rows(&overlay, None, Some(ambiguous), log)
}

/// Writes the changes of a namespace, of its members, and of its child namespaces.
fn namespace(
    overlay: &Overlay<'_>,
    node: OverlayNode,
    is_root: bool,
    log: &mut Log<'_, '_>,
) -> io::Result<()> {
    if let Some(happened) = overlay.happened(Some(node)) {
        let mut line = Line::default();
        overlay.heading(Some(node), &mut line);
        log.line(Mark::of_change(Some(happened), log.style), &line)?;
    }
    let location = overlay.namespace(node).filter(|_| !is_root).map(location);
    rows(overlay, Some(node), location.as_deref(), log)?;
    let children = overlay.children(Some(node)).into_iter();
    children.into_iter().try_for_each(|child| namespace(overlay, child, false, log))
}

/// Writes the changed processes of a namespace. `location` is a phrase that names the namespace.
fn rows(
    overlay: &Overlay<'_>,
    node: Option<OverlayNode>,
    location: Option<&str>,
    log: &mut Log<'_, '_>,
) -> io::Result<()> {
    overlay.rows(node).iter().try_for_each(|row| {
        let mut line = Line::default();
        row.describe(location, log.style.symbols(), &mut line);
        log.line(Mark::of_change(row.happened, log.style), &line)
    })
}

/// Writes each problem, and advice on what to do about it.
fn problems(check: &Check, log: &mut Log<'_, '_>) -> io::Result<()> {
    check.findings.iter().try_for_each(|finding| {
        let text = describe(check, finding, log.style.symbols());
        log.sentence('!', &format!("{}: {}", finding.code.name(), text.message))?;
        if text.advice.is_empty() {
            return Ok(());
        }
        let mut line = Line::default();
        line.plain("", format_args!("to solve it:"));
        line.part(" ", Emphasis::Command, format_args!("{}", text.advice.join("; ")));
        log.line(log.plain(), &line)
    })
}
