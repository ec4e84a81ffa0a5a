//! The command-line options that filtered a snapshot.

use serde::{Deserialize, Serialize};

/// An option that filtered the document, and its values.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "criterion"))]
pub struct Criterion {
    /// Name of the filter option: pid (for PIDs given as arguments), root, depth, members, comm,
    /// user, env, container, state or descendants-of. In a report of `pidns run`, descendants-of
    /// selects the descendants of pidns itself. Later versions may add options.
    pub by: FilterOption,
    /// The values of the option as text. A namespace is given by its ID.
    pub values: Vec<String>,
}

/// An option that filters a snapshot.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(from = "String", into = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
pub enum FilterOption {
    /// PIDs given as arguments.
    Pid,
    /// `--root`.
    Root,
    /// `--depth`.
    Depth,
    /// `--members`.
    Members,
    /// `--comm`.
    Comm,
    /// `--user`.
    User,
    /// `--env`, saved without the value of the variable.
    Env,
    /// `--container`.
    Container,
    /// `--state`.
    State,
    /// Descendants of `pidns run` that outlived the command it ran.
    DescendantsOf,
    /// An option from a later version of pidns.
    Other(String),
}

impl FilterOption {
    const KNOWN: [Self; 10] = [
        Self::Pid,
        Self::Root,
        Self::Depth,
        Self::Members,
        Self::Comm,
        Self::User,
        Self::Env,
        Self::Container,
        Self::State,
        Self::DescendantsOf,
    ];

    /// Returns the name that documents use for this option.
    #[must_use]
    pub fn name(&self) -> &str {
        match self {
            Self::Pid => "pid",
            Self::Root => "root",
            Self::Depth => "depth",
            Self::Members => "members",
            Self::Comm => "comm",
            Self::User => "user",
            Self::Env => "env",
            Self::Container => "container",
            Self::State => "state",
            Self::DescendantsOf => "descendants-of",
            Self::Other(name) => name,
        }
    }
}

impl From<String> for FilterOption {
    fn from(name: String) -> Self {
        let known = Self::KNOWN.into_iter().find(|option| option.name() == name);
        known.unwrap_or(Self::Other(name))
    }
}

impl From<FilterOption> for String {
    fn from(option: FilterOption) -> Self {
        option.name().to_owned()
    }
}
