//! Serde type for policies. Its doc comments become the descriptions in the schema.

use serde::{Deserialize, Serialize};

use super::parse::{Invalid, parse};
use crate::model::Verdict;
use crate::query::{ParseRuleError, Rule};

/// A policy in YAML or JSON, as read by `pidns check --policy`. A rule is a check code, optionally
/// with a scope: `zombie:comm=GLOB`, `zombie:ns=NS`, `zombie:container=NAME`, `zombie:user=NAME`,
/// `zombie:cgroup=GLOB`, `zombie:env=NAME`. A scope limits the rule to some processes and
/// namespaces. A rule with a scope takes precedence over a rule without a scope. Otherwise, allow
/// takes precedence over warn, and warn over deny.
#[derive(Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
pub struct PolicyFile {
    /// Rules that select the findings to deny. A denied finding makes the check fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    deny: Vec<String>,
    /// Rules that select the findings to report as warnings. A warning does not make the check
    /// fail.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    warn: Vec<String>,
    /// Rules that select the findings to leave out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    allow: Vec<String>,
}

/// Phrases in parser errors, each with a replacement that policy authors understand.
const TERMS: [(&str, &str); 5] = [
    ("is not a pidns document", "is not a policy with the lists deny, warn and allow"),
    ("expected sequence start", "is not a list of rules"),
    ("expected string scalar", "is not a rule"),
    ("expected a sequence", "expected a list of rules"),
    ("expected a string", "expected a rule"),
];

/// Maximum size of a policy in bytes.
pub const MAX_POLICY_SIZE: u64 = 1 << 20;

/// Reads a policy.
pub fn policy(text: &[u8]) -> Result<Vec<(Verdict, Rule)>, Invalid> {
    if text.len() as u64 > MAX_POLICY_SIZE {
        return Err(Invalid::at("", format!("larger than {} MiB", MAX_POLICY_SIZE >> 20)));
    }
    let file: PolicyFile = parse(text).map_err(|error| error.reworded(&TERMS))?;
    let mut rules = Vec::new();
    for (verdict, list) in
        [(Verdict::Deny, file.deny), (Verdict::Warn, file.warn), (Verdict::Allow, file.allow)]
    {
        for (index, rule) in list.iter().enumerate() {
            let place = || format!("{}[{index}]", verdict.name());
            let parsed = rule
                .parse()
                .map_err(|error: ParseRuleError| Invalid::at(place(), error.to_string()))?;
            rules.push((verdict, parsed));
        }
    }
    Ok(rules)
}
