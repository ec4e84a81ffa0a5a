//! Lists of words that may grow within 1.x: the words of this version, and how
//! a document of a later one is read that has others.

use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use serde::de::{Deserialize, Deserializer, Error, Visitor};
use serde::ser::{Serialize, Serializer};
use smol_str::SmolStr;

use super::parse::Cut;
use crate::model;

/// The words of a list that may grow.
pub trait Vocabulary: Copy + 'static {
    /// Every word that this version knows.
    const ALL: &'static [Self];
    /// What the list is called in the schema.
    #[cfg(test)]
    const NAME: &'static str;
    /// What one thing with a word that it does not know is called, and several.
    const UNKNOWN: [&'static str; 2];

    /// The word in the document.
    fn word(self) -> &'static str;

    /// What the published schema says of it.
    #[cfg(test)]
    fn meaning(self) -> &'static str;
}

/// One row a word: its value, its text in the document, its meaning in the schema.
macro_rules! vocabulary {
    ($type:ty, $name:literal, $unknown:expr, { $($value:ident: $word:literal, $meaning:literal;)+ }) => {
        impl Vocabulary for $type {
            const ALL: &'static [Self] = &[$(Self::$value),+];
            #[cfg(test)]
            const NAME: &'static str = $name;
            const UNKNOWN: [&'static str; 2] = $unknown;

            fn word(self) -> &'static str {
                match self {
                    $(Self::$value => $word,)+
                }
            }

            #[cfg(test)]
            fn meaning(self) -> &'static str {
                match self {
                    $(Self::$value => $meaning,)+
                }
            }
        }
    };
}

pub(super) use vocabulary;

vocabulary!(model::SearchScope, "search_scope", ["search scope", "search scopes"], {
    Processes: "processes", "Every process's own namespace.";
    Children: "children", "Every process's `pid_for_children`.";
    Threads: "threads", "Every thread's `pid_for_children`, and the descriptors and mounts \
        that a thread has for itself.";
    Fds: "fds", "Every file descriptor table.";
    Mounts: "mounts", "The mount table of every mount namespace in reach.";
    Kernel: "kernel", "The kernel's list of PID namespaces, and what keeps those without a living \
        init there (Linux 6.18).";
});

vocabulary!(model::Detail, "detail", ["detail", "details"], {
    Args: "args", "Command lines, which may hold secrets.";
    Namespaces: "namespaces", "The inodes of the other namespaces.";
    Cgroup: "cgroup", "The path of the cgroup.";
});

vocabulary!(model::NamespaceState, "namespace_state", ["namespace state", "namespace states"], {
    Live: "live", "Its init runs.";
    Dead: "dead", "Its init has terminated: nothing can ever be forked into it again (ENOMEM).";
    Nascent: "nascent", "Made, but without a first process yet.";
    Unknown: "unknown", "None of these could be proved.";
});

vocabulary!(model::Evidence, "evidence", ["mark of evidence", "marks of evidence"], {
    Kernel: "kernel", "Said by the kernel.";
    Inferred: "inferred", "Concluded by rules that allow one answer, where the kernel would not say.";
});

vocabulary!(model::BlockReason, "block_reason", ["blocker for reason", "blockers for reason"], {
    Zombie: "zombie", "It has terminated, and its parent does not reap it.";
    Uninterruptible: "uninterruptible", "It is in uninterruptible sleep (state D), in which no \
        signal reaches it.";
});

vocabulary!(model::Severity, "severity", ["severity", "severities"], {
    Warning: "warning", "Something may be missing or wrong.";
});

/// The kinds of [`model::Holder`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HolderKind {
    Fd,
    Mount,
    PidForChildren,
    Pidfd,
    Socket,
    InFlight,
    ProcfsFile,
}

vocabulary!(HolderKind, "holder_kind", ["holder of kind", "holders of kind"], {
    Fd: "fd", "An open file descriptor: `pid` and `fd` say whose.";
    Mount: "mount", "A bind mount of the namespace's nsfs file: `path` and `mount_namespace` say \
        where.";
    PidForChildren: "pid_for_children", "A thread whose children are born in it \
        (/proc/PID/task/TID/ns/pid_for_children, since Linux 4.12): `pid` and `tid` say which.";
    Pidfd: "pidfd", "A pidfd of a process that was in it: `pid` and `fd` say whose. This and what \
        follows is looked for with --search kernel, for namespaces without a living init.";
    Socket: "socket", "A UNIX socket whose peer was in it (SO_PEERCRED): `pid` and `fd` say whose.";
    InFlight: "in_flight", "A UNIX socket in which a descriptor that keeps it waits to be received \
        (SCM_RIGHTS), or what a process that was in it has sent (SCM_CREDENTIALS): `pid` and `fd` \
        say whose.";
    ProcfsFile: "procfs_file", "An open file or directory of its procfs, or of a process that was \
        in it: `pid` and `fd` say whose.";
});

/// What a line of ndjson holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RecordKind {
    Snapshot,
    Namespace,
    Process,
    Diagnostic,
}

vocabulary!(RecordKind, "record_kind", ["record of kind", "records of kind"], {
    Snapshot: "snapshot", "What a document holds beside its lists; one for each snapshot.";
    Namespace: "namespace", "An entry of the document's namespaces.";
    Process: "process", "An entry of its processes.";
    Diagnostic: "diagnostic", "An entry of its diagnostics.";
});

/// A word of a list that may grow.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Word<T> {
    /// One of this version.
    Known(T),
    /// One of a later version.
    Unknown(SmolStr),
}

impl<T: Vocabulary> Word<T> {
    /// The value; a word of a later version is noted down as passed over.
    pub fn known(self, passed_over: &mut PassedOver) -> Option<T> {
        match self {
            Self::Known(value) => Some(value),
            Self::Unknown(word) => {
                *passed_over.0.entry((T::UNKNOWN, word)).or_default() += 1;
                None
            }
        }
    }
}

impl Word<model::Evidence> {
    /// The evidence; what is not known to be said by the kernel counts as inferred.
    pub fn certainty(self, passed_over: &mut PassedOver) -> model::Evidence {
        self.known(passed_over).unwrap_or(model::Evidence::Inferred)
    }
}

impl<T> From<T> for Word<T> {
    fn from(value: T) -> Self {
        Self::Known(value)
    }
}

impl<T: Vocabulary> Serialize for Word<T> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(match self {
            Self::Known(value) => value.word(),
            Self::Unknown(word) => word,
        })
    }
}

/// The spelling of every word, as the schema has it.
#[cfg(test)]
pub const SPELLING: &str = "^[a-z][a-z0-9_-]{0,63}$";

/// Whether a text is spelled as words are. Their length is limited, as what is
/// passed over is printed.
fn is_word(text: &str) -> bool {
    let letter = |c: char| c.is_ascii_lowercase();
    let other = |c: char| letter(c) || c.is_ascii_digit() || c == '_' || c == '-';
    text.len() <= 64 && text.starts_with(letter) && text.chars().all(other)
}

impl<'de, T: Vocabulary> Deserialize<'de> for Word<T> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text<T>(PhantomData<T>);

        impl<T: Vocabulary> Visitor<'_> for Text<T> {
            type Value = Word<T>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a word")
            }

            fn visit_str<E: Error>(self, text: &str) -> Result<Word<T>, E> {
                match T::ALL.iter().find(|value| value.word() == text) {
                    Some(&value) => Ok(Word::Known(value)),
                    None if is_word(text) => Ok(Word::Unknown(text.into())),
                    None => {
                        let text = format!("{text:?}");
                        Err(E::custom(format_args!("{} is not spelled as a word is", Cut(&text))))
                    }
                }
            }
        }

        deserializer.deserialize_str(Text(PhantomData))
    }
}

/// Words of a later version that a document had: what they said is left out,
/// or taken as unknown.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PassedOver(BTreeMap<([&'static str; 2], SmolStr), usize>);

impl PassedOver {
    /// Whether everything was understood.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }
}

/// A short list: `2 holders of kind "io_uring", 1 namespace state "frozen"`.
impl fmt::Display for PassedOver {
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

    #[test]
    fn words_are_those_of_the_model_and_the_command_line() {
        for scope in model::SearchScope::ALL {
            assert_eq!(scope.word(), scope.name());
        }
        for detail in model::Detail::ALL {
            assert_eq!(detail.word(), detail.name());
        }
        for state in model::NamespaceState::ALL {
            assert_eq!(state.word(), state.name());
        }
    }

    #[test]
    fn a_word_of_a_later_version_is_counted_and_what_is_no_word_refused() {
        let mut passed_over = PassedOver::default();
        for text in ["\"io_uring\"", "\"fd\"", "\"io_uring\""] {
            let word: Word<HolderKind> = serde_json::from_str(text).unwrap();
            word.known(&mut passed_over);
        }
        let word: Word<model::NamespaceState> = serde_json::from_str("\"frozen\"").unwrap();
        assert_eq!(word.known(&mut passed_over), None);
        assert_eq!(
            passed_over.to_string(),
            "2 holders of kind \"io_uring\", 1 namespace state \"frozen\""
        );
        for no in ["\"\"", "\"Fd\"", "\"a b\"", "\"a\\n\"", "1", "null", "\"\u{e9}\""] {
            assert!(serde_json::from_str::<Word<HolderKind>>(no).is_err(), "{no}");
        }
        assert!(!is_word(&"a".repeat(65)));
    }

    #[test]
    fn only_some_words_are_named() {
        let mut passed_over = PassedOver::default();
        for index in 0..7 {
            Word::<model::Detail>::Unknown(format!("x{index}").into()).known(&mut passed_over);
        }
        assert!(passed_over.to_string().ends_with("1 detail \"x4\" and 2 more"), "{passed_over}");
    }
}
