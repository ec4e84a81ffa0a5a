//! Writes limits as human-readable text, with advice for each limit that has been reached.

use std::io::{self, Write};

use crate::emit::{Sanitized, Style};
use crate::model::{DiagnosticCode, Limit, LimitKind};
use crate::query::LimitReport;
use crate::wording::advice::Adviser;
use crate::wording::limit::{failure, limit_text, limits_summary, namesake_lines, unknown_hint};
use crate::wording::limit_advice::limit_advice;
use crate::wording::line::Emphasis;

/// Writes the limits, a summary, and the reasons why limits are unknown.
pub fn write(report: &LimitReport, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let adviser = Adviser { graph: &report.graph, live: &report.live };
    let shown: Vec<&Limit> = report.limits.iter().filter(|it| is_shown(it)).collect();
    for limit in &shown {
        let also = if report.is_own(limit) { " (this shell, too)" } else { "" };
        write_limit(limit, also, &adviser, style, out)?;
    }
    let gap = if shown.is_empty() { "" } else { "\n" };
    writeln!(out, "{gap}{}", limits_summary(report))?;
    let diagnostics = report.graph.snapshot().diagnostics.iter();
    let code = DiagnosticCode::LimitsUnknown.name();
    let mut reasons = diagnostics.filter(|it| it.code == code).peekable();
    let hint = reasons.peek().and_then(|_| unknown_hint(report));
    for reason in reasons {
        writeln!(out, "  {}", Sanitized(&reason.message))?;
    }
    if let Some(hint) = hint {
        writeln!(out, "{hint}")?;
    }
    // List the processes that have a requested PID in their own PID namespace, because the user may
    // have meant one of them.
    for line in namesake_lines(report) {
        writeln!(out, "{}", Sanitized(line))?;
    }
    Ok(())
}

/// Writes one limit, with advice if the limit has been reached.
fn write_limit(
    limit: &Limit,
    also: &str,
    adviser: &Adviser<'_>,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let text = Sanitized(limit_text(adviser.graph, limit));
    if limit.full != Some(true) {
        let percent = limit.percent().map_or("?".to_owned(), |percent| format!("{percent} %"));
        return writeln!(out, "{percent:>4}  {text}");
    }
    let mark = style.emphasis(Emphasis::Dead);
    writeln!(out, "{mark}{}{mark:#}{also}: {text}", failure(limit.kind))?;
    for advice in limit_advice(adviser, limit) {
        writeln!(out, "  {}", Sanitized(advice))?;
    }
    Ok(())
}

/// Returns `true` if the text output shows this limit.
fn is_shown(limit: &Limit) -> bool {
    let is_open = limit.full == Some(false);
    !(is_open && (limit.max.is_none() || limit.kind == LimitKind::InitTerminated))
}
