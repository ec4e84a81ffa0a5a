//! Building blocks of phrases, such as counts and truncated text.

use std::fmt::{self, Write as _};

/// Symbols that have an ASCII replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// The arrow between a process's PID in one namespace and its PID in the next namespace.
    pub arrow: &'static str,
    /// The multiplication sign between a number and a name, as in `3 × sleep`.
    pub times: &'static str,
    /// The symbol that replaces omitted text.
    pub ellipsis: &'static str,
}

impl Symbols {
    /// Symbols for output that may contain Unicode.
    pub const UNICODE: Self = Self { arrow: " → ", times: "×", ellipsis: "…" };
    /// Symbols for output that must be ASCII.
    pub const ASCII: Self = Self { arrow: " -> ", times: "x", ellipsis: "..." };

    /// Returns the ASCII symbols if `ascii` is true, and the Unicode symbols otherwise.
    pub const fn new(ascii: bool) -> Self {
        if ascii { Self::ASCII } else { Self::UNICODE }
    }
}

/// A number that is displayed with commas as thousands separators.
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

/// A number, with the singular and the plural of its noun.
pub struct Counted(pub usize, pub &'static str, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, many) = *self;
        write!(f, "{} {}", Count(count), if count == 1 { one } else { many })
    }
}

/// Returns a phrase such as `2 processes`.
pub fn processes(count: usize) -> Counted {
    Counted(count, "process", "processes")
}

/// Returns a phrase such as `2 PID namespaces`.
pub fn namespaces(count: usize) -> Counted {
    Counted(count, "PID namespace", "PID namespaces")
}

/// Returns a phrase with the number of processes whose namespace is ambiguous.
pub fn unplaced(count: usize) -> Counted {
    Counted(
        count,
        "process whose namespace is ambiguous",
        "processes whose namespaces are ambiguous",
    )
}

/// Displays the text, truncated to the given number of characters.
pub struct Clipped<'a>(pub &'a str, pub usize);

impl fmt::Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(self.1) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", self.0.get(..end).unwrap_or_default()),
        }
    }
}

/// Returns a phrase such as `2 more processes`, for processes that are left out.
pub fn more_processes(count: usize) -> Counted {
    Counted(count, "more process", "more processes")
}
