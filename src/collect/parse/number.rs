//! Decimal numbers and words of a line, as most files of /proc have them. What
//! they mean is for the parsers of each file.

/// The decimal numbers that a value begins with, separated by white space; it
/// ends at the first word that is no number.
pub fn numbers(value: &[u8]) -> impl Iterator<Item = u32> {
    words(value).map_while(number)
}

/// The words of a value, separated by white space.
pub fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// A word that is a decimal number and nothing else; `None` where it does not
/// fit into `N`.
pub fn number<N: TryFrom<u64>>(word: &[u8]) -> Option<N> {
    // Any number of 19 digits fits into 64 bits; one of 20 may not.
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
