//! Decodes the numbers in records that the BPF programs write.

/// Splits exactly `4 * N` bytes into `N` 32-bit numbers.
pub fn words<const N: usize>(bytes: &[u8]) -> Option<[u32; N]> {
    let (words, rest) = bytes.as_chunks::<4>();
    let words: &[[u8; 4]; N] = words.try_into().ok().filter(|_| rest.is_empty())?;
    Some(words.map(u32::from_ne_bytes))
}

/// Joins two 32-bit halves into a 64-bit number.
pub fn long(low: u32, high: u32) -> u64 {
    u64::from(high) << 32 | u64::from(low)
}
