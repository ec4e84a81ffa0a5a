//! Parses `/proc/PID/fdinfo/FD` (`proc_pid_fdinfo(5)`).

/// Returns the flags of a descriptor, as `open(2)` takes them. Returns `None` if the text is
/// malformed.
#[must_use]
pub fn descriptor_flags(text: &[u8]) -> Option<u32> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let octal = lines.find_map(|line| line.strip_prefix(b"flags:"))?;
    u32::from_str_radix(str::from_utf8(octal).ok()?.trim(), 8).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_the_flags_as_an_octal_number() {
        let text = b"pos:\t0\nflags:\t02104000\nmnt_id:\t3\nino:\t4026531836\n";
        assert_eq!(descriptor_flags(text), Some(0o2_104_000));
        for malformed in [&b""[..], b"pos:\t0\n", b"flags:\t9\n", b"flags:\n", b"flags:\t\xff\n"] {
            assert_eq!(descriptor_flags(malformed), None, "{malformed:?}");
        }
    }
}
