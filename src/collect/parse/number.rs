//! Parses words and decimal numbers, the syntax of most procfs files.

/// Parses decimal numbers separated by white space, up to the first word that is not a number.
pub fn numbers(value: &[u8]) -> impl Iterator<Item = u32> {
    words(value).map_while(number)
}

/// Splits a byte string at white space.
pub fn words(value: &[u8]) -> impl Iterator<Item = &[u8]> {
    value.split(u8::is_ascii_whitespace).filter(|word| !word.is_empty())
}

/// Parses a word that consists of decimal digits only, if the number fits into `N`.
pub fn number<N: TryFrom<u64>>(word: &[u8]) -> Option<N> {
    // Every number with 19 digits fits into 64 bits, but some numbers with 20 digits do not.
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
