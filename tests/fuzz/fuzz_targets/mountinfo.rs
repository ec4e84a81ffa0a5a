//! Parses arbitrary bytes as `/proc/PID/mountinfo`. Checks that each line is parsed independently
//! of other lines. Each mount that is found is written in the kernel's notation, and must be parsed
//! again with the same result.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pidns::collect::parse::{
    MountedKind, NamespaceMount, hidepid, mount_ids, namespace_mounts, shows_root,
};

fuzz_target!(|bytes: &[u8]| {
    let lines = || bytes.split(|&byte| byte == b'\n');
    let mounts: Vec<_> = namespace_mounts(bytes).collect();
    let by_line: Vec<_> = lines().flat_map(namespace_mounts).collect();
    assert_eq!(mounts, by_line);
    let ids: Vec<_> = mount_ids(bytes).collect();
    assert!(mounts.iter().all(|mount| ids.contains(&mount.id)));
    assert_eq!(shows_root(bytes), lines().any(shows_root));
    let device = |line| hidepid(line, 0, 21);
    assert_eq!(device(bytes), lines().find_map(device));
    for mount in mounts {
        let again: Vec<_> = namespace_mounts(&as_the_kernel_writes(&mount)).collect();
        assert_eq!(again, [mount]);
    }
});

fn as_the_kernel_writes(mount: &NamespaceMount) -> Vec<u8> {
    let kind = match mount.kind {
        MountedKind::Pid => "pid",
        MountedKind::Mount => "mnt",
    };
    let mut line = format!("{} 27 0:4 {kind}:[{}] ", mount.id, mount.inode).into_bytes();
    for &byte in mount.path.iter() {
        if b" \t\n\\".contains(&byte) {
            line.extend(format!("\\{byte:03o}").into_bytes());
        } else {
            line.push(byte);
        }
    }
    line.extend(b" rw shared:13 master:2 - nsfs nsfs rw");
    line
}
