//! The findings of `check` or `run`, prepared for the CI formats.

use crate::graph::PidGraph;
use crate::model::{CheckCode, Finding};
use crate::query::{Check, RunReport};
use crate::wording::finding::{FindingText, describe, summary};
use crate::wording::phrase::Symbols;
use crate::wording::run::{describe_leftover, run_heading};

/// The findings of `check` or `run`, each with its description.
pub struct CiFindings<'a> {
    /// The subcommand of pidns (`check` or `run`).
    pub verb: &'static str,
    /// The codes that `verb` can report.
    pub codes: Vec<CheckCode>,
    /// A summary of all findings in one sentence, without a full stop.
    pub summary: String,
    pub findings: Vec<(Finding, FindingText)>,
    /// Returns the graph to show with the findings, or `None` if a run left no processes or
    /// namespaces behind.
    pub branches: Box<dyn Fn() -> Option<PidGraph> + 'a>,
}

impl<'a> CiFindings<'a> {
    pub fn of_check(check: &'a Check) -> Self {
        let describe = |finding: &Finding| (*finding, describe(check, finding, Symbols::UNICODE));
        Self {
            verb: "check",
            codes: CheckCode::ALL.to_vec(),
            summary: summary(check),
            findings: check.findings.iter().map(describe).collect(),
            branches: Box::new(|| Some(check.branches())),
        }
    }

    pub fn of_run(report: &'a RunReport) -> Self {
        let describe =
            |finding: Finding| (finding, describe_leftover(report, &finding, Symbols::UNICODE));
        let leftovers = report.leftovers.as_ref();
        Self {
            verb: "run",
            codes: CheckCode::of_runs().collect(),
            summary: run_heading(report).trim_end_matches(':').to_owned(),
            findings: report.findings().into_iter().map(describe).collect(),
            branches: Box::new(move || {
                leftovers.map(|it| PidGraph::new(it.graph.snapshot().clone()))
            }),
        }
    }
}
