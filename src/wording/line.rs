//! A line in the making: parts one after another, in one buffer that serves
//! for every line, so that a line costs no allocation.
//!
//! A part is what must stay together: lines break between parts alone.

use std::fmt::{self, Write as _};

/// How much a part stands out, and why.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Emphasis {
    /// Not at all.
    Plain,
    /// What the line is about: the name of an init.
    Name,
    /// Nothing can ever start in this namespace again.
    Dead,
    /// Something is unfinished or stuck.
    Warning,
    /// A process that came in from outside.
    Entered,
    /// Concluded, not known.
    Inferred,
}

/// A part of a line.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Part<'a> {
    /// What stands between it and the part before: punctuation, then blanks.
    /// The blanks are left out where the line breaks.
    pub separator: &'static str,
    /// How much it stands out.
    pub emphasis: Emphasis,
    /// What it says, unescaped.
    pub text: &'a str,
}

/// The parts of a line.
#[derive(Debug, Default)]
pub struct Line {
    text: String,
    parts: Vec<(&'static str, Emphasis, usize)>,
}

impl Line {
    /// Starts anew.
    pub fn clear(&mut self) {
        self.text.clear();
        self.parts.clear();
    }

    /// One more part.
    pub fn part(&mut self, separator: &'static str, emphasis: Emphasis, text: fmt::Arguments<'_>) {
        // Writing to a String does not fail.
        let _ = self.text.write_fmt(text);
        self.parts.push((separator, emphasis, self.text.len()));
    }

    /// One more part that does not stand out.
    pub fn plain(&mut self, separator: &'static str, text: fmt::Arguments<'_>) {
        self.part(separator, Emphasis::Plain, text);
    }

    /// A sentence, which may break between any two words.
    pub fn words(&mut self, separator: &'static str, text: &str) {
        for (index, word) in text.split(' ').enumerate() {
            self.plain(if index == 0 { separator } else { " " }, format_args!("{word}"));
        }
    }

    /// The parts, in order. The separator of the first means nothing.
    pub fn parts(&self) -> impl Iterator<Item = Part<'_>> {
        let mut start = 0;
        self.parts.iter().map(move |&(separator, emphasis, end)| {
            let text = self.text.get(start..end).unwrap_or_default();
            start = end;
            Part { separator, emphasis, text }
        })
    }
}
