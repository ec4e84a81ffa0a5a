//! `/proc/PID/cgroup`, whatever its bytes, names a container or none: one with
//! a name, of a known runtime, and a pod's UID where there is one; hierarchies
//! that name none change nothing, that the process has terminated takes away a
//! unit alone, and the path that is shown names it, too.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pidns::model::containers::{cgroup_path, of_cgroups, sought_of_path};

const RUNTIMES: [&str; 13] = [
    "docker",
    "containerd",
    "cri-o",
    "podman",
    "buildkit",
    "runc",
    "crun",
    "garden",
    "lxc",
    "systemd-nspawn",
    "kubernetes",
    "systemd",
    "unknown",
];

fuzz_target!(|bytes: &[u8]| {
    let found = of_cgroups(bytes, || false);
    let more = [b"12:cpu,cpuacct:/\nno line\n", bytes, b"\n0::/\n"].concat();
    assert_eq!(of_cgroups(&more, || false), found);
    let terminated = of_cgroups(bytes, || true);
    assert!(cgroup_path(bytes).is_none_or(|path| path.len() <= 3 * bytes.len()));
    let alone = cgroup_path(bytes).and_then(|path| sought_of_path(&path));
    assert!(found.is_none() || alone == found, "{found:?} is not {alone:?}");
    let Some(container) = found else { return assert_eq!(terminated, None) };
    assert!(
        terminated.as_ref() == Some(&container)
            || (terminated.is_none() && container.runtime == "systemd")
    );
    assert!(RUNTIMES.contains(&container.runtime.as_str()), "{container:?}");
    assert!(!container.id.is_empty(), "{container:?}");
    if let Some(pod) = container.pod {
        assert_eq!(pod.chars().filter(char::is_ascii_hexdigit).count(), 32, "{pod}");
        assert!(pod.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{pod}");
    }
});
