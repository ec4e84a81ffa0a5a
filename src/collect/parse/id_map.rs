//! Parses `/proc/PID/uid_map` and `/proc/PID/gid_map` (`user_namespaces(7)`).

use super::number::number;

/// Returns `true` if the user namespace has a user or group with ID 0.
#[must_use]
pub fn maps_zero(map: &[u8]) -> bool {
    map.split(|&byte| byte == b'\n').any(|line| {
        let words = line.split(u8::is_ascii_whitespace).filter(|it| !it.is_empty());
        let numbers: Vec<Option<u64>> = words.map(number).collect();
        matches!(numbers[..], [Some(0), Some(_), Some(1..)])
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_map_that_begins_at_zero_has_a_root() {
        assert!(maps_zero(b"         0          0 4294967295\n"));
        assert!(maps_zero(b"1 100000 65535\n0 1000 1\n"));
        assert!(!maps_zero(b"      1000       1000          1\n"));
        assert!(!maps_zero(b"") && !maps_zero(b"0 0 0\n") && !maps_zero(b"0\n"));
    }
}
