//! Findings as JUnit XML: a test case for each code, which fails where
//! something of it is denied. What is only warned of is its output.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::check::said;
use crate::emit::Sanitized;
use crate::model::{CheckCode, Verdict};
use crate::query::Check;

/// Writes a report with one suite.
pub fn write(check: &Check, out: &mut dyn Write) -> io::Result<()> {
    let mut suite = TestSuite::new("pidns check");
    for &code in CheckCode::ALL {
        let lines = |verdict| {
            let findings = check.findings.iter();
            let findings = findings.filter(move |it| it.verdict == verdict && it.code == code);
            let lines: Vec<String> = findings
                .map(|finding| {
                    let said = said(check, finding, false);
                    let message = Sanitized(said.message).to_string();
                    let advice = Sanitized(said.advice.join("; ")).to_string();
                    if advice.is_empty() { message } else { format!("{message}; {advice}") }
                })
                .collect();
            lines
        };
        let (denied, warned) = (lines(Verdict::Deny), lines(Verdict::Warn));
        let mut status = TestCaseStatus::success();
        if !denied.is_empty() {
            status = TestCaseStatus::non_success(NonSuccessKind::Failure);
            status.set_type(code.name());
            status.set_message(format!("{}: {}", code.name(), denied.len()));
            status.set_description(denied.join("\n"));
        }
        let mut case = TestCase::new(code.name(), status);
        case.set_classname("pidns.check");
        if !warned.is_empty() {
            case.set_system_out(warned.join("\n"));
        }
        suite.add_test_case(case);
    }
    let mut report = Report::new("pidns");
    report.add_test_suite(suite);
    let xml = report.to_string().map_err(io::Error::other)?;
    // The schema of Jenkins has this attribute on each suite, but not on all of
    // them together, which come first.
    out.write_all(xml.replacen(" skipped=\"0\"", "", 1).as_bytes())
}
