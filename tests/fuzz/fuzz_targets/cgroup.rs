//! `/proc/PID/cgroup`, whatever its bytes, names a container or none: one with
//! a name, of a known runtime, and a pod's UID where there is one; hierarchies
//! that name none change nothing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pidns::collect::containers::of_cgroups;

const RUNTIMES: [&str; 10] = [
    "docker",
    "containerd",
    "cri-o",
    "podman",
    "buildkit",
    "runc",
    "lxc",
    "systemd-nspawn",
    "kubernetes",
    "systemd",
];

fuzz_target!(|bytes: &[u8]| {
    let found = of_cgroups(bytes);
    let more = [b"12:cpu,cpuacct:/\nno line\n", bytes, b"\n0::/\n"].concat();
    assert_eq!(of_cgroups(&more), found);
    let Some(container) = found else { return };
    assert!(RUNTIMES.contains(&container.runtime.as_str()), "{container:?}");
    assert!(!container.id.is_empty(), "{container:?}");
    if let Some(pod) = container.pod {
        assert_eq!(pod.chars().filter(char::is_ascii_hexdigit).count(), 32, "{pod}");
        assert!(pod.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{pod}");
    }
});
