//! What is made of what is wrong: denied, warned of, or allowed.

use std::fmt;
use std::str::FromStr;

use crate::graph::PidGraph;
use crate::model::{CheckCode, Namespace, NamespaceRef, Process, Subject, Verdict};
use crate::query::pattern::{ContainerPrefix, Glob, User};

/// What a rule is about: all that has a code, or the part of it that is of
/// these processes or namespaces. Written `CODE` or `CODE:KEY=VALUE`.
#[derive(Clone, Debug)]
pub struct Rule {
    code: CheckCode,
    scope: Option<Scope>,
}

#[derive(Clone, Debug)]
enum Scope {
    /// Processes of that name; namespaces whose init has it.
    Comm(Glob),
    /// That namespace, and its members.
    Namespace(NamespaceRef),
    /// The namespaces of the container whose ID begins so, their members, and its
    /// processes in others.
    Container(ContainerPrefix),
    /// Processes of that user; namespaces owned by it.
    User(User),
}

/// A text is no rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ParseRuleError {
    /// There is no such code.
    Code(String),
    /// Its key is none.
    Key(String),
    /// The value does not go with the key; why.
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
                write!(f, "{key:?} is not comm=GLOB, ns=NS, container=PREFIX or user=NAME|UID")
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
        Ok(Self { code, scope })
    }
}

impl FromStr for Scope {
    type Err = ParseRuleError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let bad = |error: &dyn fmt::Display| ParseRuleError::Value(error.to_string());
        match text.split_once('=') {
            Some((_, "")) => Err(ParseRuleError::Value(format!("{text:?} has no value"))),
            Some(("comm", glob)) => glob.parse().map(Self::Comm).map_err(|error| bad(&error)),
            Some(("ns", ns)) => ns.parse().map(Self::Namespace).map_err(|error| bad(&error)),
            Some(("container", prefix)) => {
                let Ok(prefix) = prefix.parse();
                Ok(Self::Container(prefix))
            }
            Some(("user", user)) => {
                let Ok(user) = user.parse();
                Ok(Self::User(user))
            }
            _ => Err(ParseRuleError::Key(text.to_owned())),
        }
    }
}

impl Scope {
    fn holds(&self, graph: &PidGraph, subject: Subject) -> bool {
        match subject {
            Subject::Process(pid) => graph.process(pid).is_some_and(|process| {
                let namespace = process.namespace.and_then(|id| graph.namespace(id));
                match self {
                    Self::Comm(glob) => glob.matches(&process.comm),
                    Self::User(user) => user.owns(process),
                    Self::Namespace(named) => is_named(*named, graph, namespace),
                    Self::Container(prefix) => prefix.holds(process) || is_of(prefix, namespace),
                }
            }),
            Subject::Namespace(id) => graph.namespace(id).is_some_and(|namespace| {
                let init = namespace.init.and_then(|init| graph.process(init));
                match self {
                    Self::Comm(glob) => init.is_some_and(|init| glob.matches(&init.comm)),
                    Self::User(user) => owns(user, namespace, init),
                    Self::Namespace(named) => is_named(*named, graph, Some(namespace)),
                    Self::Container(prefix) => is_of(prefix, Some(namespace)),
                }
            }),
            Subject::Snapshot => false,
        }
    }
}

fn is_named(named: NamespaceRef, graph: &PidGraph, namespace: Option<&Namespace>) -> bool {
    let id = namespace.map(|namespace| namespace.id);
    match named {
        NamespaceRef::Id(named) => id == Some(named),
        NamespaceRef::Of(pid) => {
            id.is_some() && graph.process(pid).is_some_and(|process| process.namespace == id)
        }
    }
}

fn is_of(prefix: &ContainerPrefix, namespace: Option<&Namespace>) -> bool {
    let container = namespace.and_then(|namespace| namespace.container.as_ref());
    container.is_some_and(|container| prefix.matches(container))
}

fn owns(user: &User, namespace: &Namespace, init: Option<&Process>) -> bool {
    init.is_some_and(|init| user.owns(init))
        || namespace.owner.as_ref().is_some_and(|owner| match user {
            User::Name(name) => owner.user.as_deref() == Some(name),
            User::Uid(uid) => owner.uid == Some(*uid),
        })
}

/// Rules for what is wrong. A rule with a scope goes before one without, a
/// later list of rules before an earlier one, and then allow before warn before
/// deny; where no rule holds, each code has its default.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    lists: Vec<Vec<(Verdict, Rule)>>,
}

impl Policy {
    /// Adds a list of rules, which go before those that are there already.
    pub fn add(&mut self, rules: Vec<(Verdict, Rule)>) {
        self.lists.push(rules);
    }

    /// Whether a rule is about a container: who is in it is known by cgroups.
    #[must_use]
    pub fn names_a_container(&self) -> bool {
        let mut rules = self.lists.iter().flatten();
        rules.any(|(_, rule)| matches!(rule.scope, Some(Scope::Container(_))))
    }

    /// What is made of something that was found.
    pub(super) fn verdict(&self, graph: &PidGraph, code: CheckCode, subject: Subject) -> Verdict {
        let best = |is_scoped: bool| {
            self.lists.iter().rev().find_map(|rules| {
                let holds = |rule: &Rule| {
                    rule.code == code
                        && rule.scope.is_some() == is_scoped
                        && rule.scope.as_ref().is_none_or(|scope| scope.holds(graph, subject))
                };
                rules.iter().filter(|(_, rule)| holds(rule)).map(|(verdict, _)| *verdict).max()
            })
        };
        best(true).or_else(|| best(false)).unwrap_or(code.default_verdict())
    }
}
