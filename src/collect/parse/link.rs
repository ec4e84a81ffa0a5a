//! Names of directory entries and texts of links in /proc; no contents of files.

use super::number::number;

/// A directory entry of /proc, /proc/PID/task or /proc/PID/fd that is a number.
#[must_use]
pub fn entry<N: TryFrom<u64>>(name: &[u8]) -> Option<N> {
    number(name)
}

/// The inode in a namespace link, `pid:[4026531836]` with the kind `pid`.
#[must_use]
pub fn namespace_link(link: &[u8], kind: &str) -> Option<u64> {
    let inner = link.strip_prefix(kind.as_bytes())?.strip_prefix(b":[")?.strip_suffix(b"]")?;
    number(inner)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_link_of_another_kind_is_no_namespace() {
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
