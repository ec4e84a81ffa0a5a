//! Writes the picture's label, with title, legend and diagnostics.

use std::fmt::Display;
use std::io::{self, Write};

use super::escape::Html;
use super::table::{FILLERS, LINE, LINES, LOOKS, PART};
use crate::model::{Evidence, NamespaceState, Snapshot};
use crate::wording::namespace::{ARROW_MEANS, Describe, INFERRED_MEANS};
use crate::wording::phrase::{Clipped, Count};

/// The markup that begins the tables of the title and the legend.
const TABLE: &str = "<table border=\"0\" cellborder=\"0\" cellspacing=\"2\" cellpadding=\"1\">";

/// The markup that begins a line of the title.
const TITLE_LINE: &str = "<tr><td align=\"left\">";

/// Writes the label, with a legend for dotted edges if `has_edges` is `true`.
pub fn write(
    snapshot: &Snapshot,
    describe: &Describe<'_>,
    has_edges: bool,
    out: &mut dyn Write,
) -> io::Result<()> {
    let mut label = Vec::new();
    let mut html = Html(&mut label);
    html.markup(TABLE)?;
    html.markup(TITLE_LINE)?;
    html.markup("<font point-size=\"14\"><b>")?;
    html.text("PID namespaces")?;
    if let Some(hostname) = &snapshot.host.hostname {
        html.text(format_args!(" of {}", Clipped(hostname, PART)))?;
    }
    html.markup("</b></font></td></tr>")?;
    html.markup(TITLE_LINE)?;
    let time = seconds(&snapshot.captured_at);
    let incomplete = if snapshot.complete { "" } else { "; incomplete" };
    html.text(format_args!("{}; {}{incomplete}", Clipped(&time, LINE), describe.counts()))?;
    for (index, criterion) in snapshot.selected.iter().enumerate() {
        let start = if index == 0 { "; selected by " } else { ", " };
        let values = criterion.values.join(" ");
        html.text(format_args!("{start}{} {}", criterion.by.name(), Clipped(&values, LINE)))?;
    }
    html.markup("</td></tr>")?;
    legend(snapshot, describe, has_edges, &mut html)?;
    diagnostics(snapshot, &mut html)?;
    html.markup("</table>")?;
    out.write_all(b"  label=<")?;
    out.write_all(&label)?;
    out.write_all(b">;\n")
}

fn diagnostics(snapshot: &Snapshot, html: &mut Html<'_>) -> io::Result<()> {
    let mut line = |text: &dyn Display| {
        html.markup(TITLE_LINE)?;
        html.text(text)?;
        html.markup("</td></tr>")
    };
    let diagnostics = &snapshot.diagnostics;
    let shown = if diagnostics.len() > LINES { LINES - 1 } else { LINES };
    for diagnostic in diagnostics.iter().take(shown) {
        let word = if diagnostic.is_gap() { "incomplete" } else { "note" };
        line(&format_args!("{word}: {}", Clipped(&diagnostic.message, PART)))?;
    }
    match diagnostics.len().checked_sub(shown) {
        Some(more @ 1..) => line(&format_args!("{} more diagnostics", Count(more))),
        _ => Ok(()),
    }
}

/// Writes a legend of the styles that occur in the picture.
fn legend(
    snapshot: &Snapshot,
    describe: &Describe<'_>,
    has_edges: bool,
    html: &mut Html<'_>,
) -> io::Result<()> {
    let mut rows = Vec::new();
    legend_rows(snapshot, describe, has_edges, &mut Html(&mut rows))?;
    if rows.is_empty() {
        return Ok(());
    }
    html.markup(TITLE_LINE)?;
    html.markup(
        "<table border=\"0\" cellborder=\"0\" cellspacing=\"0\" cellpadding=\"0\"><tr><td>",
    )?;
    html.markup(TABLE)?;
    html.0.write_all(&rows)?;
    html.markup("</table></td>")?;
    html.markup(&"<td></td>".repeat(FILLERS))?;
    html.markup("</tr></table></td></tr>")
}

fn legend_rows(
    snapshot: &Snapshot,
    describe: &Describe<'_>,
    has_edges: bool,
    html: &mut Html<'_>,
) -> io::Result<()> {
    let mut row = |sample: &dyn Fn(&mut Html<'_>) -> io::Result<()>, means: &dyn Display| {
        html.markup("<tr>")?;
        sample(html)?;
        html.markup("<td align=\"left\">")?;
        html.text(means)?;
        html.markup("</td></tr>")
    };
    let swatch = |fill: &str, color: &str, border: u8, style: &str| {
        format!(
            "<td border=\"{border}\" color=\"{color}\" style=\"{style}\" bgcolor=\"{fill}\" width=\"40\">    </td>"
        )
    };
    let namespaces = &snapshot.namespaces;
    for look in &LOOKS {
        let occurs = namespaces.iter().any(|it| it.state == look.state);
        // If all namespaces are live, the colour of live namespaces needs no explanation.
        let only = namespaces.iter().all(|it| it.state == NamespaceState::Live);
        if occurs && !only {
            let cell = swatch(look.fill, look.color, look.border, "solid");
            row(&|html| html.markup(&cell), &format_args!("{}: {}", look.class, look.meaning))?;
        }
    }
    let inferred = namespaces.iter().any(|it| it.evidence == Evidence::Inferred);
    if inferred {
        let cell = swatch("#ffffff", "#4a6785", 1, "dashed");
        row(&|html| html.markup(&cell), &format_args!("inferred: {INFERRED_MEANS}"))?;
    }
    let kept = namespaces.iter().any(|it| !describe.kept_by(it).is_empty());
    if kept && has_edges {
        let cell = "<td align=\"left\"><font color=\"#b3261e\"><b>· · · · &gt;</b></font></td>";
        row(&|html| html.markup(cell), &"keeps the namespace alive")?;
    }
    if let Some(example) = describe.example() {
        let cell = |html: &mut Html<'_>| {
            html.markup("<td align=\"left\">")?;
            html.text(&example)?;
            html.markup("</td>")
        };
        row(&cell, &ARROW_MEANS)?;
    }
    Ok(())
}

/// Returns the time of a snapshot without fractions of a second.
fn seconds(captured_at: &str) -> String {
    match captured_at.split_once('.') {
        Some((seconds, fraction)) if fraction.ends_with('Z') => format!("{seconds}Z"),
        _ => captured_at.to_owned(),
    }
}
