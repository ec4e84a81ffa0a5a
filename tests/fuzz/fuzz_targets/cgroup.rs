//! Parses arbitrary bytes as `/proc/PID/cgroup`. If a container is found, checks that it has a
//! known runtime, an ID, and either no pod UID or one of 32 hexadecimal digits. Lines of other
//! hierarchies must not change the result, and the path that pidns shows must, parsed alone, lead
//! to the same container. The result for a terminated process must be the same, except that a
//! systemd unit may be missing.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pidns::model::cgroup::{cgroup_path, of_cgroups, of_path};
use pidns::model::runtime::SHIM;

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
    let found = of_cgroups(bytes, None, || false);
    let more = [b"12:cpu,cpuacct:/\nno line\n", bytes, b"\n0::/\n"].concat();
    assert_eq!(of_cgroups(&more, None, || false), found);
    let terminated = of_cgroups(bytes, None, || true);
    assert!(cgroup_path(bytes).is_none_or(|path| path.len() <= 3 * bytes.len()));
    assert_eq!(cgroup_path(bytes).and_then(|path| of_path(&path, None)), found);
    let of_shim = of_cgroups(bytes, Some(SHIM), || false);
    assert!(found.is_none() || of_shim.is_some_and(|it| !it.is_unit() || found == Some(it)));
    let Some(container) = found else { return assert_eq!(terminated, None) };
    assert!(
        terminated.as_ref() == Some(&container)
            || (terminated.is_none() && container.runtime == "systemd")
    );
    assert!(RUNTIMES.contains(&container.runtime.as_str()), "{container:?}");
    assert!(!container.id.is_empty(), "{container:?}");
    if let Some(pod) = container.pod {
        assert_eq!(pod.uid.chars().filter(char::is_ascii_hexdigit).count(), 32, "{pod:?}");
        assert!(pod.uid.chars().all(|c| c == '-' || c.is_ascii_hexdigit()), "{pod:?}");
    }
});
