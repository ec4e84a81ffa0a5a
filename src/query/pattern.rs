//! Patterns that select processes by name or user.

use std::convert::Infallible;
use std::fmt;
use std::str::FromStr;

use crate::model::Process;

/// A shell pattern for names, in which `[*]` matches `*` and a backslash is literal.
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
        // The glob crate negates a set with `!` only, and accepts `**` only between slashes.
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
    /// Returns `true` if this user is the real user of the process.
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

#[cfg(test)]
mod tests {
    use super::*;

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
}
