//! Bytes of /proc to fields: pure functions that survive anything, and
//! allocate nothing that they do not return. A file for each kernel format.
//!
//! Opening and reading belong to the callers.

mod link;
mod mountinfo;
mod stat;
mod status;

pub use link::{entry, namespace_link};
pub use mountinfo::{HidePid, NamespaceMount, hidepid, namespace_mounts, shows_root};
pub use stat::stat_is_exiting;
pub use status::{Leaders, Status, leaders, status};

/// The leading run of decimal numbers, parted by blanks; ends at what is none.
fn numbers(value: &[u8]) -> impl Iterator<Item = u32> {
    words(value).map_while(number)
}

/// The words of a value.
fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = value;
    std::iter::from_fn(move || {
        rest = rest.trim_ascii_start();
        let end = rest.iter().position(u8::is_ascii_whitespace).unwrap_or(rest.len());
        let (word, after) = rest.split_at(end);
        rest = after;
        (!word.is_empty()).then_some(word)
    })
}

/// A decimal number, nothing else.
fn number<N: TryFrom<u64>>(word: &[u8]) -> Option<N> {
    // 19 digits fit in 64 bits whatever they are; more only by chance.
    if word.is_empty() || word.len() > 19 {
        return None;
    }
    let mut value = 0_u64;
    for &byte in word {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value * 10 + u64::from(digit);
    }
    N::try_from(value).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::model::MAX_LEVEL;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let parsed = status(&bytes);
            prop_assert!(parsed.nspid.len() <= MAX_LEVEL + 1);
            let _ = (stat_is_exiting(&bytes), hidepid(&bytes, 0, 21), leaders(&bytes));
            prop_assert!(namespace_mounts(&bytes).count() <= bytes.len());
        }
    }
}
