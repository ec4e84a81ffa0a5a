//! Serde type for open lists, the enumerations that later versions of pidns may extend.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use smol_str::SmolStr;

use super::parse::Cut;
use crate::model::{self, Keyword};

/// A value of an open list, an enumeration that later versions of pidns may extend.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Word<T> {
    /// A value that this version of pidns knows.
    Known(T),
    /// A value that this version of pidns does not know.
    Unknown(SmolStr),
}

impl<T: Keyword> Word<T> {
    /// Returns the value if it is known. Otherwise counts it in `unknown` and returns `None`.
    pub fn known(self, unknown: &mut UnknownWords) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(word) => {
                *unknown.0.entry((T::NOUNS, word)).or_default() += 1;
                None
            }
        }
    }
}

impl Word<model::Evidence> {
    /// Returns the kind of evidence, or `Inferred` if the value is unknown.
    pub fn certainty(self, unknown: &mut UnknownWords) -> model::Evidence {
        self.known(unknown).unwrap_or(model::Evidence::Inferred)
    }
}

impl<T> From<T> for Word<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: Keyword> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Known(value) => value.keyword(),
            Self::Unknown(word) => word,
        })
    }
}

/// Regular expression for the strings that `is_word` accepts.
#[cfg(test)]
pub const SPELLING: &str = "^[a-z][a-z0-9_-]{0,63}$";

/// Returns `true` if `text` is well-formed as a value of an open list (an enumeration to which
/// later versions of pidns can add values).
fn is_word(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase();
    let other = |c: char| letter(c) || c.is_ascii_digit() || c == '_' || c == '-';
    // The length is limited, because pidns prints unknown values.
    text.len() <= 64 && text.starts_with(letter) && text.chars().all(other)
}

impl<'de, T: Keyword> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);

        impl<T: Keyword> Visitor<'_> for Text<T> {
            type Value = Word<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word<T>, E> {
                match T::VALUES.iter().find(|value| value.keyword() == text) {
                    Some(&value) => Ok(Word::Known(value)),
                    None if is_word(text) => Ok(Word::Unknown(text.into())),
                    None => {
                        let text = format!("{text:?}");
                        Err(E::custom(format_args!("{} is not a valid word", Cut(&text))))
                    }
                }
            }
        }

        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// Counts of the unknown values that the reader left out or replaced.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UnknownWords(BTreeMap<([&'static str; 2], SmolStr), usize>);

impl UnknownWords {
    /// Returns `true` if the document contained no unknown values.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// Lists a few unknown values with their counts, such as `2 holders of kind "io_uring"`.
impl fmt::Display for UnknownWords {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        const NAMED: usize = 5;
        for (index, (([one, many], word), count)) in self.0.iter().take(NAMED).enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            let noun = if *count == 1 { one } else { many };
            write!(f, "{separator}{count} {noun} \"{word}\"")?;
        }
        match self.0.len().checked_sub(NAMED) {
            Some(more @ 1..) => write!(f, " and {more} more"),
            _ => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::snapshot::HolderKind;

    #[test]
    fn counts_unknown_words_and_rejects_invalid_ones() {
        let mut unknown = UnknownWords::default();
        for text in ["\"io_uring\"", "\"fd\"", "\"io_uring\""] {
            let word: Word<HolderKind> = serde_json::from_str(text).unwrap();
            word.known(&mut unknown);
        }
        let word: Word<model::NamespaceState> = serde_json::from_str("\"frozen\"").unwrap();
        assert_eq!(word.known(&mut unknown), None);
        assert_eq!(
            unknown.to_string(),
            "2 holders of kind \"io_uring\", 1 namespace state \"frozen\""
        );
        for no in ["\"\"", "\"Fd\"", "\"a b\"", "\"a\\n\"", "1", "null", "\"\u{e9}\""] {
            assert!(serde_json::from_str::<Word<HolderKind>>(no).is_err(), "{no}");
        }
        assert!(!is_word(&"a".repeat(65)));
    }

    #[test]
    fn lists_five_unknown_words_and_counts_the_rest() {
        let mut unknown = UnknownWords::default();
        for index in 0..7 {
            Word::<model::Detail>::Unknown(format!("x{index}").into()).known(&mut unknown);
        }
        assert!(unknown.to_string().ends_with("1 detail \"x4\" and 2 more"), "{unknown}");
    }
}
