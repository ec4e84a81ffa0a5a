//! Parses `/proc/PID/uid_map` and `/proc/PID/gid_map` (`user_namespaces(7)`).

use super::number::number;

/// Returns the ID that a user namespace's ID 0 maps to in the reader's user namespace.
#[must_use]
pub fn zero_maps_to(map: &[u8]) -> Option<u64> {
    map.split(|&byte| byte == b'\n').find_map(|line| {
        let words = line.split(u8::is_ascii_whitespace).filter(|it| !it.is_empty());
        let numbers: Vec<Option<u64>> = words.map(number).collect();
        match numbers[..] {
            [Some(0), outside, Some(1..)] => outside,
            _ => None,
        }
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_map_that_begins_at_zero_has_a_root() {
        assert_eq!(zero_maps_to(b"         0          0 4294967295\n"), Some(0));
        assert_eq!(zero_maps_to(b"1 100000 65535\n0 1000 1\n"), Some(1000));
        for map in [&b"      1000       1000          1\n"[..], b"", b"0 0 0\n", b"0\n"] {
            assert_eq!(zero_maps_to(map), None);
        }
    }
}
