//! Building blocks of other phrases: symbols, counts and shortened text.

use std::fmt::{self, Write as _};

/// Symbols that have an ASCII replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// Stands between the PID of a process in one namespace and its PID in the next.
    pub arrow: &'static str,
    /// Stands between a count and the counted thing.
    pub times: &'static str,
    /// Stands in place of text that is left out.
    pub ellipsis: &'static str,
}

impl Symbols {
    /// Used when the output may contain Unicode.
    pub const UNICODE: Self = Self { arrow: " → ", times: "×", ellipsis: "…" };
    /// Used when the output must be ASCII.
    pub const ASCII: Self = Self { arrow: " -> ", times: "x", ellipsis: "..." };

    /// Returns the ASCII symbols if `ascii` is true, and the Unicode symbols otherwise.
    pub const fn new(ascii: bool) -> Self {
        if ascii { Self::ASCII } else { Self::UNICODE }
    }
}

/// A number that is displayed with a comma between thousands.
pub struct Count(pub usize);

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (index, digit) in digits.chars().enumerate() {
            if index > 0 && (digits.len() - index).is_multiple_of(3) {
                f.write_char(',')?;
            }
            f.write_char(digit)?;
        }
        Ok(())
    }
}

/// A number and its noun, given in the singular and in the plural.
pub struct Counted(pub usize, pub &'static str, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, many) = *self;
        write!(f, "{} {}", Count(count), if count == 1 { one } else { many })
    }
}

/// Returns a number of processes, with the noun.
pub fn processes(count: usize) -> Counted {
    Counted(count, "process", "processes")
}

/// Returns a number of PID namespaces, with the noun.
pub fn namespaces(count: usize) -> Counted {
    Counted(count, "PID namespace", "PID namespaces")
}

/// Returns a number of processes whose namespace is ambiguous, with a phrase that says so.
pub fn unplaced(count: usize) -> Counted {
    Counted(
        count,
        "process whose namespace is ambiguous",
        "processes whose namespaces are ambiguous",
    )
}

/// A text of which at most this many characters are displayed.
pub struct Clipped<'a>(pub &'a str, pub usize);

impl fmt::Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(self.1) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", self.0.get(..end).unwrap_or_default()),
        }
    }
}

/// Returns a number of processes that are left out, with a phrase that says so.
pub fn more_processes(count: usize) -> Counted {
    Counted(count, "more process", "more processes")
}
