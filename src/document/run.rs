//! Serde types for run reports. Their doc comments become the descriptions in the schema.

use serde::{Serialize, Serializer};

use super::open_list::Word;
use super::snapshot::Generator;
use super::write::document;
use crate::graph::PidGraph;
use crate::model::{self, CheckCode, Ended, Killed, NamespaceId, Pid, Subject, Verdict};
use crate::query;

/// Schema version of the run reports that this program writes.
const RUN_VERSION: &str = "1.0";

/// The output of `pidns run -f json --report FILE`: the processes and namespaces that a command
/// left behind. Later 1.x versions of the schema may add fields, but will never rename or remove a
/// field, or change its type. They may also add values to enumerations whose description says that
/// they are extensible (an open list).
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunReport<'a> {
    /// Version of the schema.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// The program that wrote the report.
    generator: Generator,
    /// The command with its arguments.
    command: &'a [String],
    /// Exit status of the command, or 128 plus the signal number if a signal terminated it.
    status: u8,
    /// Number of the signal that terminated the command, or null.
    signal: Option<u8>,
    /// Maximum time in seconds that pidns waits for the command's processes to exit (--grace).
    grace: f64,
    /// The denied codes (--deny).
    denied: Vec<Word<CheckCode>>,
    /// The leftovers of the command, one entry for each code that applies to a process or
    /// namespace. For example, a dead namespace has two entries: `dead-namespace` and
    /// `leftover-namespace`.
    findings: Vec<RunFinding>,
    /// The processes that were killed (--kill), or null if no process was killed.
    killed: Option<&'a Killed>,
    /// The leftover processes and namespaces, as a document in the format of `pidns -f json`. The
    /// document includes the ancestors of leftover namespaces. Null if there are no leftovers.
    #[cfg_attr(test, schemars(with = "Option<super::snapshot::Document>"))]
    document: Option<LeftoverDocument<'a>>,
}

/// A leftover process or namespace.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "finding"))]
struct RunFinding {
    /// Code of the problem.
    code: Word<CheckCode>,
    /// `true` if problems with this code are denied (--deny).
    denied: bool,
    /// PID of the leftover process. Null for a namespace, and for processes that exited before
    /// pidns could read them.
    pid: Option<Pid>,
    /// ID of the leftover namespace, or null if the finding is about processes.
    namespace: Option<NamespaceId>,
    /// Age of the process in seconds, or null if unknown.
    age: Option<f64>,
}

/// Serializes the leftovers as a document.
struct LeftoverDocument<'a>(&'a PidGraph);

impl Serialize for LeftoverDocument<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        document(self.0).serialize(serializer)
    }
}

impl<'a> From<&'a query::RunReport> for RunReport<'a> {
    fn from(report: &'a query::RunReport) -> Self {
        let graph = report.leftovers.as_ref().map(|leftovers| &leftovers.graph);
        let finding = |finding: model::Finding| {
            let (pid, namespace) = match finding.subject {
                Subject::Process(pid) => (Some(pid), None),
                Subject::Namespace(id) => (None, Some(id)),
                Subject::Limit(_) | Subject::Snapshot => (None, None),
            };
            let process = pid.and_then(|pid| graph?.process(pid));
            RunFinding {
                code: finding.code.into(),
                denied: finding.verdict == Verdict::Deny,
                pid,
                namespace,
                age: process.and_then(|it| report.age(it)).map(|age| age.as_secs_f64()),
            }
        };
        Self {
            schema_version: RUN_VERSION,
            generator: Generator::this(),
            command: &report.command,
            status: report.ended.status(),
            signal: match report.ended {
                Ended::Exited(_) => None,
                Ended::Killed(signal) => Some(signal),
            },
            grace: report.grace.as_secs_f64(),
            denied: report.denied.iter().map(|&code| code.into()).collect(),
            findings: report.findings().into_iter().map(finding).collect(),
            killed: report.killed.as_ref(),
            document: graph.map(LeftoverDocument),
        }
    }
}
