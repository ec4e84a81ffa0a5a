//! Applies the rules that deny, warn about, or allow findings.

use std::fmt;
use std::str::FromStr;

use super::container::ContainerPattern;
use super::pattern::{Glob, User};
use crate::graph::PidGraph;
use crate::model::{
    CheckCode, EnvPattern, Namespace, NamespaceRef, NamespaceState, Pid, Process, Subject, Verdict,
    runtime,
};

/// A rule for the findings with a given check code: either all of them, or only those in a scope
/// (`CODE:KEY=VALUE`).
#[derive(Clone, Debug)]
pub struct Rule {
    code: CheckCode,
    scope: Option<RuleScope>,
    /// The rule as the user wrote it.
    text: String,
}

impl Rule {
    /// Returns the check code of the rule.
    #[must_use]
    pub fn code(&self) -> CheckCode {
        self.code
    }
}

impl fmt::Display for Rule {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// The processes and namespaces that a rule applies to.
#[derive(Clone, Debug)]
enum RuleScope {
    /// Processes with a matching name, and namespaces whose init has a matching name.
    Comm(Glob),
    /// A single namespace and its members.
    Namespace(NamespaceRef),
    /// The container's processes and namespaces.
    Container(ContainerPattern),
    /// Processes and namespaces of this user, and namespaces whose init runs as this user.
    User(User),
    /// Processes with a matching cgroup path, and namespaces whose init has a matching cgroup path.
    Cgroup(Glob),
    /// Processes with a matching environment, and namespaces whose init has a matching environment.
    Env(EnvPattern),
}

/// The reason why a string is not a valid rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseRuleError {
    /// No check code has this name.
    Code(String),
    /// The scope does not begin with a known key.
    Key(String),
    /// The value is not valid for its key. The string contains the reason.
    Value(String),
}

impl fmt::Display for ParseRuleError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Code(code) => {
                let known: Vec<_> = CheckCode::ALL.iter().map(|code| code.name()).collect();
                write!(f, "no code {code:?}; the codes are {}", known.join(", "))
            }
            Self::Key(key) => {
                write!(
                    f,
                    "{key:?} is not comm=GLOB, ns=NS, container=NAME|ID, user=NAME|UID, cgroup=GLOB \
                     or env=NAME[=VALUE]"
                )
            }
            Self::Value(problem) => f.write_str(problem),
        }
    }
}

impl std::error::Error for ParseRuleError {}

impl FromStr for Rule {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (code, scope) = match text.split_once(':') {
            Some((code, scope)) => (code, Some(scope)),
            None => (text, None),
        };
        let code = CheckCode::from_name(code).ok_or(ParseRuleError::Code(code.to_owned()))?;
        let scope = scope.map(str::parse).transpose()?;
        Ok(Self { code, scope, text: text.to_owned() })
    }
}

impl FromStr for RuleScope {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |error: &dyn fmt::Display| ParseRuleError::Value(format!("{text}: {error}"));
        match text.split_once('=') {
            Some((_, "")) => Err(ParseRuleError::Value(format!("{text:?} has no value"))),
            Some(("comm", glob)) => glob.parse().map(Self::Comm).map_err(|error| bad(&error)),
            Some(("ns", ns)) => ns.parse().map(Self::Namespace).map_err(|error| bad(&error)),
            Some(("container", pattern)) => {
                let Ok(pattern) = pattern.parse();
                Ok(Self::Container(pattern))
            }
            Some(("user", user)) => {
                let Ok(user) = user.parse();
                Ok(Self::User(user))
            }
            Some(("cgroup", glob)) => glob.parse().map(Self::Cgroup).map_err(|error| bad(&error)),
            Some(("env", pattern)) => pattern.parse().map(Self::Env).map_err(|error| bad(&error)),
            _ => Err(ParseRuleError::Key(text.to_owned())),
        }
    }
}

impl RuleScope {
    fn contains(&self, graph: &PidGraph, subject: Subject) -> bool {
        match subject {
            Subject::Process(pid) => {
                graph.process(pid).is_some_and(|process| self.contains_process(graph, process))
            }
            Subject::Namespace(id) => graph
                .namespace(id)
                .is_some_and(|namespace| self.contains_namespace(graph, namespace)),
            Subject::Limit(index) => graph.limit(index).is_some_and(|limit| {
                let is_contained = |pid: &Pid| {
                    graph.process(*pid).is_some_and(|it| self.contains_process(graph, it))
                };
                !limit.pids.is_empty() && limit.pids.iter().all(is_contained)
            }),
            Subject::Snapshot => false,
        }
    }

    fn contains_process(&self, graph: &PidGraph, process: &Process) -> bool {
        let namespace = process.namespace.and_then(|id| graph.namespace(id));
        match self {
            Self::Comm(glob) => glob.matches(&process.comm),
            Self::User(user) => user.owns(process),
            Self::Namespace(named) => is_named(*named, graph, namespace),
            Self::Container(pattern) => {
                let of_namespace = || namespace?.container.as_ref();
                let container = process.other_container().or_else(of_namespace);
                container.is_some_and(|it| pattern.matches(it))
            }
            Self::Cgroup(glob) => process.cgroup().is_some_and(|cgroup| glob.matches(cgroup)),
            Self::Env(pattern) => process.has_environment(pattern),
        }
    }

    fn contains_namespace(&self, graph: &PidGraph, namespace: &Namespace) -> bool {
        let init = namespace.init.and_then(|init| graph.process(init));
        match self {
            Self::Comm(glob) => init.is_some_and(|init| glob.matches(&init.comm)),
            Self::User(user) => owns(user, namespace, init),
            Self::Namespace(named) => is_named(*named, graph, Some(namespace)),
            Self::Container(pattern) => {
                namespace.container.as_ref().is_some_and(|it| pattern.matches(it))
            }
            Self::Cgroup(_) | Self::Env(_) => {
                init.is_some_and(|init| self.contains_process(graph, init))
            }
        }
    }
}

fn is_named(named: NamespaceRef, graph: &PidGraph, namespace: Option<&Namespace>) -> bool {
    let id = namespace.map(|namespace| namespace.id);
    match named {
        NamespaceRef::Id(named) => id == Some(named),
        NamespaceRef::NsId(named) => namespace.is_some_and(|it| it.ns_id == Some(named)),
        NamespaceRef::Of(pid) => {
            id.is_some() && graph.process(pid).is_some_and(|process| process.namespace == id)
        }
    }
}

/// Returns `true` if this user owns the namespace, or if its init runs as this user.
fn owns(user: &User, namespace: &Namespace, init: Option<&Process>) -> bool {
    init.is_some_and(|init| user.owns(init))
        || namespace.owner.as_ref().is_some_and(|owner| match user {
            User::Name(name) => owner.user.as_deref() == Some(name),
            User::Uid(uid) => owner.uid == Some(*uid),
        })
}

/// Lists of rules that decide the verdict on each finding.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    lists: Vec<Vec<(Verdict, Rule)>>,
    /// Report a limit if at least this percentage of it is used. `None` means the default.
    pub warn_at: Option<u64>,
}

/// Default of [`Policy::warn_at`].
pub(super) const WARN_AT: u64 = 90;

impl Policy {
    /// Creates a policy that denies the findings that match these rules, and allows all others.
    #[must_use]
    pub fn only(rules: Vec<Rule>) -> Self {
        let allow = CheckCode::ALL.iter().map(|code| {
            let rule = Rule { code: *code, scope: None, text: code.name().to_owned() };
            (Verdict::Allow, rule)
        });
        let deny = rules.into_iter().map(|rule| (Verdict::Deny, rule)).collect();
        Self { lists: vec![allow.collect(), deny], warn_at: None }
    }

    /// Adds a list of rules, which take precedence over the earlier lists.
    pub fn add(&mut self, rules: Vec<(Verdict, Rule)>) {
        self.lists.push(rules);
    }

    /// Returns `true` if a rule needs the cgroups of all processes.
    #[must_use]
    pub fn needs_cgroups(&self) -> bool {
        let needs = |it: &RuleScope| matches!(it, RuleScope::Container(_) | RuleScope::Cgroup(_));
        self.scopes().any(needs)
    }

    /// Returns `true` if the user asked for a check of limits (by a rule or `--warn-at`).
    #[must_use]
    pub fn asks_for_limits(&self) -> bool {
        let denies = |(verdict, rule): &(Verdict, Rule)| {
            *verdict == Verdict::Deny && rule.code == CheckCode::TaskLimit
        };
        self.warn_at.is_some() || self.lists.iter().flatten().any(denies)
    }

    /// Returns the environment patterns of all rules.
    pub fn environment(&self) -> impl Iterator<Item = &EnvPattern> {
        self.scopes().filter_map(|scope| match scope {
            RuleScope::Env(pattern) => Some(pattern),
            _ => None,
        })
    }

    fn scopes(&self) -> impl Iterator<Item = &RuleScope> {
        self.lists.iter().flatten().filter_map(|(_, rule)| rule.scope.as_ref())
    }

    /// Returns the verdict on a finding.
    pub(super) fn verdict(&self, graph: &PidGraph, code: CheckCode, subject: Subject) -> Verdict {
        // A rule with a scope takes precedence over a rule without a scope.
        if let Some(verdict) = self.best(graph, code, subject, true) {
            return verdict;
        }
        let general = self.best(graph, code, subject, false).unwrap_or(code.default_verdict());
        let users = match (code, subject) {
            // A rule that allows a service also allows the namespaces that the service creates.
            (CheckCode::LeftoverNamespace, Subject::Namespace(id)) => {
                graph.namespace(id).map(|it| owners(graph, it))
            }
            // A rule that allows a container also allows its monitor.
            (CheckCode::LeftoverProcess, Subject::Process(pid)) => {
                graph.process(pid).map(|it| monitored(graph, it))
            }
            _ => None,
        };
        let verdict = users.and_then(|users| self.strictest(graph, &users));
        verdict.map_or(general, |verdict| general.max(verdict))
    }

    /// Tests each of these processes against the rules that have a scope, and returns the strictest
    /// verdict.
    ///
    /// Returns `None` unless there are processes and each of them matches one of these rules.
    fn strictest(&self, graph: &PidGraph, pids: &[Pid]) -> Option<Verdict> {
        let code = CheckCode::LeftoverProcess;
        let verdicts = pids.iter().map(|&pid| self.best(graph, code, Subject::Process(pid), true));
        verdicts.collect::<Option<Vec<_>>>()?.into_iter().min()
    }

    /// Returns the verdict of the rules that match a finding, or `None` if no rule matches.
    ///
    /// `is_scoped`: `true` to apply only rules with a scope, `false` to apply only rules without
    /// one.
    fn best(
        &self,
        graph: &PidGraph,
        code: CheckCode,
        subject: Subject,
        is_scoped: bool,
    ) -> Option<Verdict> {
        // A later list takes precedence over an earlier list.
        self.lists.iter().rev().find_map(|rules| {
            let matches = |rule: &Rule| {
                rule.code == code
                    && rule.scope.is_some() == is_scoped
                    && rule.scope.as_ref().is_none_or(|scope| scope.contains(graph, subject))
            };
            // Allow takes precedence over warn, and warn over deny.
            rules.iter().filter(|(_, rule)| matches(rule)).map(|(verdict, _)| *verdict).max()
        })
    }
}

/// Returns the first processes of the containers that a process monitors.
fn monitored(graph: &PidGraph, process: &Process) -> Vec<Pid> {
    if !runtime::MONITORS.contains(&&*process.comm) {
        return Vec::new();
    }
    let children = graph.child_processes(process).into_iter();
    children.filter(|it| graph.container_of(it).is_some()).map(|it| it.pid).collect()
}

/// Returns the init of a namespace or, if the init is unknown, all members.
pub(super) fn owners(graph: &PidGraph, namespace: &Namespace) -> Vec<Pid> {
    // No process can enter a dead namespace any more.
    if namespace.state == NamespaceState::Dead {
        return Vec::new();
    }
    let init = namespace.init.filter(|&init| graph.process(init).is_some());
    let members = || graph.members(namespace).into_iter().map(|it| it.pid).collect();
    init.map_or_else(members, |init| vec![init])
}
