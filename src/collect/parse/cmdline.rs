//! Parses `/proc/PID/cmdline` (`proc_pid_cmdline(5)`).

use smol_str::SmolStr;

/// Splits a command line into its arguments, and replaces invalid UTF-8 with U+FFFD.
#[must_use]
pub fn cmdline(bytes: &[u8]) -> Vec<SmolStr> {
    // The command line of zombies and kernel threads is empty.
    if bytes.is_empty() {
        return Vec::new();
    }
    let text = bytes.strip_suffix(b"\0").unwrap_or(bytes);
    text.split(|&byte| byte == 0).map(|it| String::from_utf8_lossy(it).into()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn splits_arguments_at_nul() {
        assert_eq!(cmdline(b"sleep\0inf\0"), ["sleep", "inf"]);
        assert_eq!(cmdline(b"a\0\0b c\0"), ["a", "", "b c"]);
        assert_eq!(cmdline(b"a\0\0"), ["a", ""]);
        assert_eq!(cmdline(b"nginx: worker"), ["nginx: worker"]);
        assert_eq!(cmdline(b"\xff\0"), ["\u{fffd}"]);
        // If a program is executed with an empty argv, Linux adds one empty argument.
        assert_eq!(cmdline(b"\0"), [""]);
        assert_eq!(cmdline(b""), [] as [&str; 0]);
    }
}
