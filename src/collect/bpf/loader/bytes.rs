//! Reads numbers and strings at an offset, and returns `None` if the data is too short.

pub fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    bytes.get(at..)?.first_chunk().map(|bytes| u16::from_le_bytes(*bytes))
}

pub fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    bytes.get(at..)?.first_chunk().map(|bytes| u32::from_le_bytes(*bytes))
}

/// Returns the 32-bit number at offset `at`, converted to `usize`.
pub fn offset_at(bytes: &[u8], at: usize) -> Option<usize> {
    usize::try_from(u32_at(bytes, at)?).ok()
}

/// Returns the 64-bit number at offset `at`, converted to `usize`.
pub fn long_offset_at(bytes: &[u8], at: usize) -> Option<usize> {
    let bytes = bytes.get(at..)?.first_chunk()?;
    usize::try_from(u64::from_le_bytes(*bytes)).ok()
}

/// Returns `length` bytes, starting at offset `at`.
pub fn part(bytes: &[u8], at: usize, length: usize) -> Option<&[u8]> {
    bytes.get(at..)?.get(..length)
}

/// Returns the string at offset `at`, without its terminating NUL.
pub fn text_at(bytes: &[u8], at: usize) -> Option<&[u8]> {
    let text = bytes.get(at..)?;
    text.get(..memchr::memchr(0, text)?)
}
