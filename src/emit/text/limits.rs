//! Writes limits as human-readable text: full limits first, each with advice.

use std::io::{self, Write};

use crate::emit::{Sanitized, Style};
use crate::model::{DiagnosticCode, Limit, LimitKind};
use crate::query::LimitReport;
use crate::wording::advice::Adviser;
use crate::wording::limit::{failure, limit_advice, limit_text, limits_summary};
use crate::wording::line::Emphasis;

/// Writes a line for each limit and, if there is advice, a second line with the advice. The last
/// lines are a summary and the reasons why limits are unknown.
pub fn write(report: &LimitReport, style: Style, out: &mut dyn Write) -> io::Result<()> {
    let adviser = Adviser { graph: &report.graph, live: &report.live };
    let shown: Vec<&Limit> = report.limits.iter().filter(|it| is_shown(it)).collect();
    for limit in &shown {
        write_limit(limit, &adviser, style, out)?;
    }
    let gap = if shown.is_empty() { "" } else { "\n" };
    writeln!(out, "{gap}{}", limits_summary(report))?;
    let diagnostics = report.graph.snapshot().diagnostics.iter();
    let code = DiagnosticCode::LimitsUnknown.name();
    for reason in diagnostics.filter(|it| it.code == code) {
        writeln!(out, "  {}", Sanitized(&reason.message))?;
    }
    Ok(())
}

/// Writes one limit.
pub fn write_limit(
    limit: &Limit,
    adviser: &Adviser<'_>,
    style: Style,
    out: &mut dyn Write,
) -> io::Result<()> {
    let text = Sanitized(limit_text(limit));
    if limit.full != Some(true) {
        let percent = limit.percent().map_or("?".to_owned(), |percent| format!("{percent} %"));
        return writeln!(out, "{percent:>4}  {text}");
    }
    let mark = style.emphasis(Emphasis::Dead);
    writeln!(out, "{mark}{}{mark:#}: {text}", failure(limit.kind))?;
    let advice = limit_advice(adviser, limit);
    if !advice.is_empty() {
        writeln!(out, "  {}", Sanitized(advice.join("; ")))?;
    }
    Ok(())
}

/// Returns `true` if the report shows the limit. A limit that is not full is hidden if it has no
/// maximum, or if it is `InitTerminated`, which only reports a terminated init.
fn is_shown(limit: &Limit) -> bool {
    let is_open = limit.full == Some(false);
    !(is_open && (limit.max.is_none() || limit.kind == LimitKind::InitTerminated))
}
