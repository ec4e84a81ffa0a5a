//! What is wrong with a host, and the policy that says what must not be, as
//! programs read and write them. Comments of types and fields are the
//! descriptions of the published schemas.

mod records;

use serde::{Deserialize, Serialize};

use super::Invalid;
use super::process::Process;
use super::scalars::{Id, Pid, Timestamp};
use super::wire::{Generator, Host, Namespace};
use super::words::Word;
use super::write::namespace;
use crate::model::{self, CheckCode, Subject, Verdict};
use crate::query::{self, Rule};

#[cfg(test)]
pub use records::CheckRecord;
pub use records::write_check_records;

/// Version of the schema that checks written here follow.
const CHECK_VERSION: &str = "1.0";

/// What is wrong with a host, as `pidns check -f json` writes it. Within schema
/// version 1.x fields are added, never renamed, retyped or removed, and lists of
/// words may grow.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct CheckReport<'a> {
    /// Version of this schema that the report follows.
    #[cfg_attr(test, schemars(regex(pattern = r"^1\.(0|[1-9][0-9]*)$")))]
    schema_version: &'static str,
    /// When the scan began.
    captured_at: Timestamp,
    /// Where the scan ran.
    host: Host,
    /// All but the list.
    #[serde(flatten)]
    head: CheckSummary,
    /// What is wrong: denied first, then by code.
    findings: Vec<CheckFinding<'a>>,
}

/// What a check says beside its list.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "check"))]
pub struct CheckSummary {
    /// The program that wrote it.
    generator: Generator,
    /// Whether nothing is missing in the places searched.
    complete: bool,
    /// When the view was taken that this one was compared with (--since), or null.
    since: Option<Timestamp>,
    /// How many findings are denied; the exit status is 1 unless it is 0.
    denied: usize,
    /// How many are warned of.
    warned: usize,
}

/// One thing that is wrong.
#[derive(Serialize)]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "finding"))]
pub struct CheckFinding<'a> {
    /// What kind of thing.
    code: Word<CheckCode>,
    /// What the policy makes of it.
    verdict: Word<Verdict>,
    /// Who, and what is wrong, for people; the wording may change at any time.
    message: String,
    /// What to do about it, for people.
    advice: Vec<String>,
    /// The process that it is about, by PID, or null.
    pid: Option<Pid>,
    /// The namespace that it is about, or null.
    namespace_id: Option<Id>,
    /// Age of the process in seconds; null where it is not known.
    age: Option<f64>,
    /// The process as in the document, or null.
    process: Option<Process<'a>>,
    /// The namespace as in the document, or null.
    namespace: Option<Namespace>,
}

/// A check, to be serialised; `said` is what people are told of a finding, and
/// what they can do about it.
pub fn check(
    check: &query::Check,
    said: impl Fn(&model::Finding) -> (String, Vec<String>),
) -> CheckReport<'_> {
    let snapshot = check.graph.snapshot();
    CheckReport {
        schema_version: CHECK_VERSION,
        captured_at: Timestamp(snapshot.captured_at.clone()),
        host: Host::from(&snapshot.host),
        head: CheckSummary::from(check),
        findings: findings(check, said).collect(),
    }
}

fn findings(
    check: &query::Check,
    said: impl Fn(&model::Finding) -> (String, Vec<String>),
) -> impl Iterator<Item = CheckFinding<'_>> {
    let graph = &check.graph;
    check.findings.iter().map(move |finding| {
        let (process, id) = match finding.subject {
            Subject::Process(pid) => (graph.process(pid), None),
            Subject::Namespace(id) => (None, Some(id)),
            Subject::Snapshot => (None, None),
        };
        let of = id.and_then(|id| graph.namespace(id));
        let (message, advice) = said(finding);
        CheckFinding {
            code: finding.code.into(),
            verdict: finding.verdict.into(),
            message,
            advice,
            pid: process.map(|it| Pid(it.pid)),
            namespace_id: id.map(Id),
            age: process.and_then(|it| check.age(it)).map(|age| age.as_secs_f64()),
            process: process.map(Process::from),
            namespace: of.map(|it| namespace(graph, it)),
        }
    })
}

impl From<&query::Check> for CheckSummary {
    fn from(check: &query::Check) -> Self {
        Self {
            generator: Generator::this(),
            complete: check.graph.snapshot().complete,
            since: check.since.clone().map(Timestamp),
            denied: check.count(Verdict::Deny),
            warned: check.count(Verdict::Warn),
        }
    }
}

/// What `pidns check --policy` reads, as YAML or JSON: rules for what is wrong.
/// A rule is a code, or a code and whom it is about: `zombie:comm=GLOB`,
/// `zombie:ns=NS`, `zombie:container=PREFIX`, `zombie:user=NAME`. A rule about
/// somebody goes before one that is not, then allow before warn before deny.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyFile {
    /// What must not be.
    #[serde(default)]
    deny: Vec<String>,
    /// What is said.
    #[serde(default)]
    warn: Vec<String>,
    /// What is passed over.
    #[serde(default)]
    allow: Vec<String>,
}

/// Largest policy, in bytes.
pub const MAX_POLICY_SIZE: u64 = 1 << 20;

/// Reads a policy.
///
/// # Errors
/// The text is no policy, or a rule in it is none.
pub fn policy(text: &[u8]) -> Result<Vec<(Verdict, Rule)>, Invalid> {
    if text.len() as u64 > MAX_POLICY_SIZE {
        return Err(Invalid::at("", format!("larger than {} MiB", MAX_POLICY_SIZE >> 20)));
    }
    let file: PolicyFile = super::parse::parse(text)?;
    let mut rules = Vec::new();
    for (verdict, list) in
        [(Verdict::Deny, file.deny), (Verdict::Warn, file.warn), (Verdict::Allow, file.allow)]
    {
        for (index, rule) in list.iter().enumerate() {
            let place = || format!("{}[{index}]", verdict.name());
            let parsed = rule
                .parse()
                .map_err(|error: query::ParseRuleError| Invalid::at(place(), error.to_string()))?;
            rules.push((verdict, parsed));
        }
    }
    Ok(rules)
}
