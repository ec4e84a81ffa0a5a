//! Patterns that select processes by name, user or container.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::model::{Container, Process, container};

/// A pattern for process names. `*`, `?`, `[a-z]` and `[!a-z]` work as in the shell. A backslash is
/// an ordinary character, so write `[*]` to match a `*` literally.
#[derive(Clone, Debug)]
pub struct Glob {
    text: String,
    pattern: glob::Pattern,
}

impl Glob {
    /// Returns `true` if the pattern matches the whole name.
    #[must_use]
    pub fn matches(&self, name: &str) -> bool {
        self.pattern.matches(name)
    }
}

impl fmt::Display for Glob {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl FromStr for Glob {
    type Err = glob::PatternError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        // Adapt the pattern to the glob crate, which accepts `**` only between slashes, and `!` but
        // not `^` for negation.
        let mut pattern = text.replace("[^", "[!");
        while pattern.contains("**") {
            pattern = pattern.replace("**", "*");
        }
        Ok(Self { text: text.to_owned(), pattern: glob::Pattern::new(&pattern)? })
    }
}

/// A user, given by name or UID.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum User {
    /// A user name, as in the host's user database.
    Name(String),
    /// A real user ID.
    Uid(u32),
}

impl User {
    /// Returns `true` if the process's real user is this user.
    #[must_use]
    pub fn owns(&self, process: &Process) -> bool {
        match self {
            Self::Name(name) => process.user.as_deref() == Some(name),
            Self::Uid(uid) => process.uid == *uid,
        }
    }
}

impl fmt::Display for User {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Uid(uid) => uid.fmt(f),
        }
    }
}

impl FromStr for User {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(text.parse().map_or_else(|_| Self::Name(text.to_owned()), Self::Uid))
    }
}

/// A prefix of a container ID or pod UID. Matching ignores case, because most IDs and UIDs are
/// hexadecimal numbers.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ContainerPrefix(String);

impl ContainerPrefix {
    /// Returns `true` if the container's ID or pod UID has this prefix.
    #[must_use]
    pub fn matches(&self, container: &Container) -> bool {
        self.is_prefix_of(&container.id)
            || container.pod.as_deref().is_some_and(|pod| self.is_prefix_of(pod))
    }

    /// Returns `true` if the process's cgroup belongs to a matching container. Returns `false` if
    /// the cgroup was not read.
    #[must_use]
    pub fn holds(&self, process: &Process) -> bool {
        let cgroup = process.details.as_ref().and_then(|details| details.cgroup.as_deref());
        cgroup.and_then(container::sought_of_path).is_some_and(|container| self.matches(&container))
    }

    fn is_prefix_of(&self, text: &str) -> bool {
        let start = text.as_bytes().get(..self.0.len());
        start.is_some_and(|start| start.eq_ignore_ascii_case(self.0.as_bytes()))
    }
}

impl fmt::Display for ContainerPrefix {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl FromStr for ContainerPrefix {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self(text.to_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::ProcessDetails;
    use crate::testing::process;

    #[test]
    fn a_pattern_matches_as_in_the_shell() {
        let matches = |pattern: &str, name| pattern.parse::<Glob>().unwrap().matches(name);
        for (pattern, name) in [
            ("sl*p", "sleep"),
            ("s**", "sleep"),
            ("[^t]*", "sleep"),
            ("[!t]*", "sleep"),
            ("kworker/*", "kworker/0:1"),
        ] {
            assert!(matches(pattern, name), "{pattern}");
        }
        assert!(!matches("[^s]*", "sleep") && !matches("slee", "sleep") && !matches("S*", "sleep"));
        assert!("[".parse::<Glob>().is_err());
    }

    #[test]
    fn matches_container_ids_and_pod_uids_in_either_case() {
        let container = Container {
            runtime: "containerd".to_owned(),
            id: "3f2a1b9c".to_owned(),
            pod: Some("6ba7b810-9dad".to_owned()),
        };
        let prefix = |text: &str| text.parse::<ContainerPrefix>().unwrap();
        for text in ["3f2a", "3F2A1b9c", "6BA7B810-9d", ""] {
            assert!(prefix(text).matches(&container), "{text}");
        }
        for text in ["f2a", "3f2a1b9c0", "9dad", "\u{e9}"] {
            assert!(!prefix(text).matches(&container), "{text}");
        }
        let mut process = process(&[7], None);
        assert!(!prefix("3f2a").holds(&process), "the cgroup was not read");
        let cgroup = Some("/lxc.payload.3f2a\u{e9}/init.scope".to_owned());
        process.details = Some(Box::new(ProcessDetails { cgroup, ..ProcessDetails::default() }));
        assert!(prefix("3F2A\u{e9}").holds(&process));
        assert!(!prefix("3f2ab").holds(&process));
    }
}
