//! Parses `/proc/PID/fdinfo/FD` (`proc_pid_fdinfo(5)`).

use crate::model::Pid;

/// Returns the `open(2)` flags of a descriptor, or `None` if the text is malformed.
#[must_use]
pub fn descriptor_flags(text: &[u8]) -> Option<u32> {
    u32::from_str_radix(field(text, b"flags:")?, 8).ok()
}

/// Returns the PID of a pidfd's process, or `None` if the process is gone or not visible.
#[must_use]
pub fn pidfd_process(text: &[u8]) -> Option<Pid> {
    field(text, b"Pid:")?.parse().ok().and_then(Pid::new)
}

fn field<'a>(text: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let mut lines = text.split(|&byte| byte == b'\n');
    let value = lines.find_map(|line| line.strip_prefix(name))?;
    Some(str::from_utf8(value).ok()?.trim())
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

    #[test]
    fn reads_the_process_of_a_pidfd() {
        let text = b"pos:\t0\nflags:\t02000002\nPid:\t14751\nNSpid:\t14751\t42\n";
        assert_eq!(pidfd_process(text), Pid::new(14_751));
        for gone in [&b"pos:\t0\n"[..], b"Pid:\t-1\nNSpid:\t-1\n", b"Pid:\t0\n"] {
            assert_eq!(pidfd_process(gone), None, "{gone:?}");
        }
    }
}
