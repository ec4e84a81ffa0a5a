//! Builds one line of text from parts. Output wraps between parts only.
//!
//! All parts share one buffer, so a `Line` that is cleared and reused does not
//! allocate for each line.

use std::fmt::{self, Write as _};

use super::phrase::Count;

/// Items that a list in a line names; the others are counted.
pub const LISTED: usize = 8;

/// Why a part stands out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// Ordinary text.
    Plain,
    /// The name of an init.
    Name,
    /// A namespace in which no process can start any more.
    Dead,
    /// Something unfinished or stuck.
    Warning,
    /// A process that entered its namespace from outside.
    Entered,
    /// An inference, not an answer of the kernel.
    Inferred,
    /// A shell command to copy. It is safe for a terminal already, and further
    /// escapes would change its meaning.
    Command,
}

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Text between the previous part and this one: punctuation, then blanks.
    /// A line break replaces the blanks.
    pub separator: &'static str,
    /// Why it stands out.
    pub emphasis: Emphasis,
    /// The text, unescaped.
    pub text: &'a str,
}

/// The parts of a line.
#[derive(Clone, Debug, Default)]
pub struct Line {
    text: String,
    parts: Vec<(&'static str, Emphasis, usize)>,
}

impl Line {
    /// Removes all parts.
    pub fn clear(&mut self) {
        self.text.clear();
        self.parts.clear();
    }

    /// Adds a part.
    pub fn part(&mut self, separator: &'static str, emphasis: Emphasis, text: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.text.write_fmt(text);
        self.parts.push((separator, emphasis, self.text.len()));
    }

    /// Adds a part without emphasis.
    pub fn plain(&mut self, separator: &'static str, text: fmt::Arguments<'_>) {
        self.part(separator, Emphasis::Plain, text);
    }

    /// Adds each word of a sentence as a part.
    pub fn words(&mut self, separator: &'static str, text: &str) {
        for (index, word) in text.split(' ').enumerate() {
            self.plain(if index == 0 { separator } else { " " }, format_args!("{word}"));
        }
    }

    /// Adds the first [`LISTED`] items, each a part, and the number of the others.
    pub fn list(
        &mut self,
        separator: &'static str,
        items: impl ExactSizeIterator<Item: fmt::Display>,
    ) {
        let more = items.len().saturating_sub(LISTED);
        for (index, item) in items.take(LISTED).enumerate() {
            self.plain(if index == 0 { separator } else { ", " }, format_args!("{item}"));
        }
        if more > 0 {
            self.plain(", ", format_args!("and {} more", Count(more)));
        }
    }

    /// The parts, in order. The separator of the first part is not shown.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut start = 0;
        self.parts.iter().map(move |&(separator, emphasis, end)| {
            let text = self.text.get(start..end).unwrap_or_default();
            start = end;
            Part { separator, emphasis, text }
        })
    }
}

impl fmt::Display for Line {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.parts().enumerate().try_for_each(|(index, part)| {
            f.write_str(if index == 0 { "" } else { part.separator })?;
            f.write_str(part.text)
        })
    }
}
