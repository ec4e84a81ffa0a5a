//! The report on a job, as programs read it. What was left stands in it as a
//! document of its own, a part of the host's: whatever reads the one reads the
//! other.

use serde::{Serialize, Serializer};

use super::document;
use super::scalars::{Id, Pid};
use super::wire::Generator;
use crate::graph::PidGraph;
use crate::model::{self, Ended};
use crate::query::{self, Subject};

/// Version of the schema that reports written here follow.
const JOB_VERSION: &str = "1.0";

/// A report, to be serialised.
#[derive(Serialize)]
pub struct JobReport<'a> {
    schema_version: &'static str,
    generator: Generator,
    command: &'a [String],
    status: u8,
    signal: Option<u8>,
    grace: f64,
    denied: Vec<&'static str>,
    findings: Vec<Finding>,
    killed: Option<Killed>,
    document: Option<Left<'a>>,
}

#[derive(Serialize)]
struct Finding {
    code: &'static str,
    denied: bool,
    pid: Option<Pid>,
    namespace: Option<Id>,
    age: Option<f64>,
}

#[derive(Serialize)]
struct Killed {
    sigterm: Vec<Pid>,
    sigkill: Vec<Pid>,
    remaining: Vec<Pid>,
}

/// The document of what was left.
struct Left<'a>(&'a PidGraph);

impl Serialize for Left<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        document(self.0).serialize(serializer)
    }
}

impl<'a> From<&'a query::JobReport> for JobReport<'a> {
    fn from(report: &'a query::JobReport) -> Self {
        let graph = report.leftovers.as_ref().map(|leftovers| &leftovers.graph);
        let finding = |finding: query::Finding| {
            let (pid, namespace) = match finding.subject {
                Subject::Process(pid) => (Some(pid), None),
                Subject::Namespace(id) => (None, Some(id)),
                Subject::Unseen => (None, None),
            };
            let process = pid.and_then(|pid| graph?.process(pid));
            Finding {
                code: finding.code.name(),
                denied: report.denied.contains(&finding.code),
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
            denied: report.denied.iter().map(|code| code.name()).collect(),
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
