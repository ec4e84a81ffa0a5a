//! Looks up the names of users by UID.

use smol_str::SmolStr;

/// Returns the name of a user from the name service (`nsswitch.conf(5)`).
#[cfg(not(target_feature = "crt-static"))]
pub fn user_name(uid: u32) -> Option<SmolStr> {
    use nix::unistd::{Uid, User};
    Some(User::from_uid(Uid::from_raw(uid)).ok()??.name.into())
}

/// Returns the name of a user from `/etc/passwd`.
#[cfg(target_feature = "crt-static")]
pub fn user_name(uid: u32) -> Option<SmolStr> {
    use std::sync::LazyLock;
    // `getpwuid` loads shared libraries of the host, which can crash a static program.
    static PASSWD: LazyLock<Vec<u8>> =
        LazyLock::new(|| std::fs::read("/etc/passwd").unwrap_or_default());
    name_in(&PASSWD, uid)
}

/// Finds the name of the user with this UID in the text of a `passwd(5)` file.
#[cfg(any(target_feature = "crt-static", test))]
fn name_in(passwd: &[u8], uid: u32) -> Option<SmolStr> {
    passwd.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.split(|&byte| byte == b':');
        let (name, number) = (fields.next()?, fields.nth(1)?);
        let is_meant = std::str::from_utf8(number).ok()?.parse() == Ok(uid);
        is_meant.then(|| String::from_utf8_lossy(name).into())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_a_user_by_uid() {
        let passwd =
            b"root:x:0:0:root:/root:/bin/bash\n\nbroken\n+::::::\nwww:x:33:33::/:\nw2:x:33:1";
        for (uid, expected) in [(0, Some("root")), (33, Some("www")), (1, None)] {
            assert_eq!(name_in(passwd, uid).as_deref(), expected);
        }
        assert_eq!(name_in(b"", 0), None);
    }
}
