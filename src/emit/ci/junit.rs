//! Writes findings as JUnit XML, with one test case for each code.

use std::io::{self, Write};

use quick_junit::{NonSuccessKind, Report, TestCase, TestCaseStatus, TestSuite};

use super::findings::CiFindings;
use crate::emit::Sanitized;
use crate::model::Verdict;

/// Writes a JUnit report with a single test suite.
pub fn write(all: &CiFindings<'_>, out: &mut dyn Write) -> io::Result<()> {
    let mut suite = TestSuite::new(format!("pidns {}", all.verb));
    for &code in &all.codes {
        let lines = |verdict| {
            let findings = all.findings.iter();
            let findings = findings.filter(move |(it, _)| it.verdict == verdict && it.code == code);
            let lines: Vec<String> =
                findings.map(|(_, text)| Sanitized(text.in_one_line()).to_string()).collect();
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
        case.set_classname(format!("pidns.{}", all.verb));
        if !warned.is_empty() {
            case.set_system_out(warned.join("\n"));
        }
        suite.add_test_case(case);
    }
    let mut report = Report::new("pidns");
    report.add_test_suite(suite);
    let xml = report.to_string().map_err(io::Error::other)?;
    // Jenkins's JUnit schema forbids the attribute `skipped` of `testsuites`.
    out.write_all(xml.replacen(" skipped=\"0\"", "", 1).as_bytes())
}
