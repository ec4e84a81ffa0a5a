//! Patterns that filter processes by their environment variables.

use std::fmt;
use std::str::FromStr;

/// A pattern `NAME` or `NAME=VALUE` for the environment variables of a process.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EnvPattern {
    name: String,
    /// The value to match, or `None` for any value.
    value: Option<String>,
}

impl EnvPattern {
    /// Returns the name of the variable.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns `true` if this pattern matches an environment entry (`NAME=VALUE`).
    #[must_use]
    pub fn matches(&self, entry: &[u8]) -> bool {
        let value = entry.strip_prefix(self.name.as_bytes()).and_then(|it| it.strip_prefix(b"="));
        value.is_some_and(|value| self.value.as_ref().is_none_or(|it| it.as_bytes() == value))
    }
}

/// Hides the value, which can be a secret.
impl fmt::Debug for EnvPattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.name)?;
        f.write_str(if self.value.is_some() { "=..." } else { "" })
    }
}

impl FromStr for EnvPattern {
    type Err = &'static str;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (name, value) = match text.split_once('=') {
            Some((name, value)) => (name, Some(value.to_owned())),
            None => (text, None),
        };
        if name.is_empty() {
            return Err("not NAME or NAME=VALUE");
        }
        Ok(Self { name: name.to_owned(), value })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_matches_any_value_and_a_value_only_itself() {
        let matches = |pattern: &str, entry: &str| {
            pattern.parse::<EnvPattern>().unwrap().matches(entry.as_bytes())
        };
        for (pattern, entry) in
            [("A", "A=1"), ("A", "A="), ("A=1", "A=1"), ("A=", "A="), ("A=b=c", "A=b=c")]
        {
            assert!(matches(pattern, entry), "{pattern} {entry}");
        }
        for (pattern, entry) in
            [("A", "AB=1"), ("A", "B=A=1"), ("A", "A"), ("A=1", "A=12"), ("A=", "A=1"), ("A", "")]
        {
            assert!(!matches(pattern, entry), "{pattern} {entry}");
        }
        assert!("=x".parse::<EnvPattern>().is_err() && "".parse::<EnvPattern>().is_err());
        assert_eq!(format!("{:?}", "TOKEN=secret".parse::<EnvPattern>().unwrap()), "TOKEN=...");
    }
}
