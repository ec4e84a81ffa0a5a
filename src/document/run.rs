//! The report on a job, as programs read it. What was left stands in it as a
//! document of its own, a part of the host's: whatever reads the one reads the
//! other.

use serde::{Serialize, Serializer};

use super::document;
use super::scalars::{Id, Pid};
use super::wire::Generator;
use super::words::Word;
use crate::graph::PidGraph;
use crate::model::{self, CheckCode, Ended, Subject, Verdict};
use crate::query;

/// Version of the schema that reports written here follow.
const JOB_VERSION: &str = "1.0";

/// What a command has left behind, as `pidns run -f json` writes it to the file
/// of --report. Within schema version 1.x fields are added, never renamed,
/// retyped or removed, and lists of words may grow.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct RunReport<'a> {
    /// Version of this schema that the report follows.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// The program that wrote it.
    generator: Generator,
    /// The command, and its arguments.
    command: &'a [String],
    /// How the command ended, as a shell has it: its status, or 128 and the
    /// number of the signal that ended it.
    status: u8,
    /// The signal that ended it, or null.
    signal: Option<u8>,
    /// How long what it had started was given to end, in seconds (--grace).
    grace: f64,
    /// What it must not leave (--deny).
    denied: Vec<Word<CheckCode>>,
    /// What it left, one entry for each thing and code; a dead namespace is also
    /// a leftover one.
    findings: Vec<RunFinding>,
    /// What became of it, where it was to be killed (--kill); null where it was
    /// not, or nothing was there to kill.
    killed: Option<Killed>,
    /// The part of the host that was left, a document of its own (pidns schema),
    /// with the ancestors of its namespaces; null where nothing was left.
    #[cfg_attr(test, schemars(with = "Option<super::wire::Document>"))]
    document: Option<Left<'a>>,
}

/// One thing that was left.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "finding"))]
struct RunFinding {
    /// What kind of thing.
    code: Word<CheckCode>,
    /// Whether it must not be left.
    denied: bool,
    /// The process, by PID, or null: a namespace, or processes of which each ends
    /// before it can be read.
    pid: Option<Pid>,
    /// The namespace, or null.
    namespace: Option<Id>,
    /// Age of the process in seconds; null where it is not known.
    age: Option<f64>,
}

/// What became of what was left, by PIDs in the document.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "killed"))]
struct Killed {
    /// Those that were sent SIGTERM; zombies are not among them.
    sigterm: Vec<Pid>,
    /// Those that were sent SIGKILL, too, or came only then.
    sigkill: Vec<Pid>,
    /// Those that are there all the same.
    remaining: Vec<Pid>,
}

/// The document of what was left.
struct Left<'a>(&'a PidGraph);

impl Serialize for Left<'_> {
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
                Subject::Snapshot => (None, None),
            };
            let process = pid.and_then(|pid| graph?.process(pid));
            RunFinding {
                code: finding.code.into(),
                denied: finding.verdict == Verdict::Deny,
                pid: pid.map(Pid),
                namespace: namespace.map(Id),
                age: process.and_then(|it| report.age(it)).map(|age| age.as_secs_f64()),
            }
        };
        Self {
            schema_version: JOB_VERSION,
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
            killed: report.killed.as_ref().map(Killed::from),
            document: graph.map(Left),
        }
    }
}

impl From<&model::Killed> for Killed {
    fn from(killed: &model::Killed) -> Self {
        let pids = |pids: &std::collections::BTreeSet<model::Pid>| {
            pids.iter().map(|&pid| Pid(pid)).collect()
        };
        Self {
            sigterm: pids(&killed.sigterm),
            sigkill: pids(&killed.sigkill),
            remaining: pids(&killed.remaining),
        }
    }
}
