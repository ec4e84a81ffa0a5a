//! Parses the names of procfs directory entries and the targets of procfs links.

use super::number::number;

/// Parses a numeric entry name of `/proc`, `/proc/PID/task` or `/proc/PID/fd`.
#[must_use]
pub fn entry<N: TryFrom<u64>>(name: &[u8]) -> Option<N> {
    number(name)
}

/// Returns the inode in a link to a namespace of type `kind`, such as `pid:[4026531836]`.
#[must_use]
pub fn namespace_link(link: &[u8], kind: &str) -> Option<u64> {
    let inner = link.strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?;
    number(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rejects_links_of_another_type() {
        assert_eq!(namespace_link(b"pid:[4026531836]", "pid"), Some(4_026_531_836));
        for link in [
            &b"mnt:[1]"[..],
            b"pid:[1",
            b"pid:[]",
            b"pid:[x]",
            b"/tmp/pid:[1]",
            b"pid:[1] (deleted)",
        ] {
            assert_eq!(namespace_link(link, "pid"), None);
        }
    }
}
