//! Builds a line of text from parts, so that the line can wrap between the parts.

use std::fmt::{self, Write as _};

use super::phrase::Count;

/// Maximum number of list items that a line shows.
pub const LISTED: usize = 8;

/// The reason why a part of a line is highlighted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// Ordinary text.
    Plain,
    /// The name of an init.
    Name,
    /// A namespace in which no process can start any more.
    Dead,
    /// Text that needs attention, because it is about something unfinished, stuck or ambiguous.
    Warning,
    /// A process that entered its namespace from outside.
    Entered,
    /// A fact that pidns inferred because the kernel did not report it.
    Inferred,
    /// A shell command for users to copy, which must not be escaped again.
    Command,
}

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// Punctuation before this part, with spaces that a line break may replace.
    pub separator: &'static str,
    /// The reason why this part is highlighted.
    pub emphasis: Emphasis,
    /// The text, not yet escaped.
    pub text: &'a str,
}

/// A line of text that consists of parts.
#[derive(Clone, Debug, Default)]
pub struct Line {
    text: String,
    parts: Vec<(&'static str, Emphasis, usize)>,
}

impl Line {
    /// Removes all parts, but keeps the buffer for reuse.
    pub fn clear(&mut self) {
        self.text.clear();
        self.parts.clear();
    }

    /// Adds `separator` and a part to the line.
    pub fn part(&mut self, separator: &'static str, emphasis: Emphasis, text: fmt::Arguments<'_>) {
        // Writing to a String cannot fail.
        let _ = self.text.write_fmt(text);
        self.parts.push((separator, emphasis, self.text.len()));
    }

    /// Adds a part without emphasis.
    pub fn plain(&mut self, separator: &'static str, text: fmt::Arguments<'_>) {
        self.part(separator, Emphasis::Plain, text);
    }

    /// Adds a shell command, split into parts after each `&&`, because a shell allows a line break
    /// there.
    pub fn command(&mut self, separator: &'static str, command: &str) {
        let mut rest = command;
        let mut separator = separator;
        while let Some(end) = rest.find("&& ").map(|at| at + "&&".len()) {
            self.part(separator, Emphasis::Command, format_args!("{}", &rest[..end]));
            (rest, separator) = (&rest[end + 1..], " ");
        }
        self.part(separator, Emphasis::Command, format_args!("{rest}"));
    }

    /// Adds each word of a sentence as a separate part, so that lines can wrap between words.
    pub fn words(&mut self, separator: &'static str, text: &str) {
        for (index, word) in text.split(' ').enumerate() {
            self.plain(if index == 0 { separator } else { " " }, format_args!("{word}"));
        }
    }

    /// Adds the first [`LISTED`] items as parts, and the number of remaining items.
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

    /// Returns the parts in order. Callers must ignore the separator of the first part.
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
