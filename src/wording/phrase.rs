//! Small pieces that other phrases are made of: symbols, counts and shortened text.

use std::fmt::{self, Write as _};

/// Characters that have an ASCII replacement.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Symbols {
    /// Between the PID of a process in one namespace and the next.
    pub arrow: &'static str,
    /// Between a count and what is counted.
    pub times: &'static str,
    /// In place of text that is left out.
    pub ellipsis: &'static str,
}

impl Symbols {
    /// Used when the output may hold Unicode.
    pub const UNICODE: Self = Self { arrow: " → ", times: "×", ellipsis: "…" };
    /// Used when the output must be ASCII.
    pub const ASCII: Self = Self { arrow: " -> ", times: "x", ellipsis: "..." };

    /// The ASCII symbols if `ascii` is true.
    pub const fn new(ascii: bool) -> Self {
        if ascii { Self::ASCII } else { Self::UNICODE }
    }
}

/// A number with a comma between thousands.
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

/// A number and a noun in its singular and plural form.
pub struct Counted(pub usize, pub &'static str, pub &'static str);

impl fmt::Display for Counted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(count, one, many) = *self;
        write!(f, "{} {}", Count(count), if count == 1 { one } else { many })
    }
}

/// A number of processes.
pub fn processes(count: usize) -> Counted {
    Counted(count, "process", "processes")
}

/// A number of PID namespaces.
pub fn namespaces(count: usize) -> Counted {
    Counted(count, "PID namespace", "PID namespaces")
}

/// A number of processes that could not be placed in a namespace.
pub fn unplaced(count: usize) -> Counted {
    Counted(
        count,
        "process whose namespace is ambiguous",
        "processes whose namespaces are ambiguous",
    )
}

/// At most this many characters of a text.
pub struct Clipped<'a>(pub &'a str, pub usize);

impl fmt::Display for Clipped<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0.char_indices().nth(self.1) {
            None => f.write_str(self.0),
            Some((end, _)) => write!(f, "{}…", self.0.get(..end).unwrap_or_default()),
        }
    }
}

/// A number of processes that are left out.
pub fn more_processes(count: usize) -> Counted {
    Counted(count, "more process", "more processes")
}
