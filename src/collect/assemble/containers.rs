//! Which container a process is in, by its cgroup: the paths that runtimes
//! make, in one table.
//!
//! Sources of the shapes, by runtime:
//! - docker: <https://docs.docker.com/engine/containers/runmetrics/> (both drivers),
//!   rootless the same below `user@.service`.
//! - containerd: `criContainerID` of <https://github.com/containerd/containerd>
//!   (`cri-containerd-ID.scope`; `SLICE:cri-containerd:ID` where a systemd path
//!   met the cgroupfs driver); nerdctl likewise with its own prefix; `ctr` puts
//!   ID under its containerd namespace.
//! - cri-o: `crio-ID.scope`, <https://github.com/cri-o/cri-o> (`cgmgr`); its
//!   monitor is `crio-conmon-ID.scope`, which is no container.
//! - podman: `libpod-ID.scope`, `libpod_parent/libpod-ID`, `podman-create(1)`
//!   (`--cgroups`); its monitor likewise.
//! - lxc, LXD, Incus: `lxc.payload.NAME`, before LXC 4.0 `lxc/NAME`:
//!   `lxc.container.conf(5)` (`lxc.cgroup.dir.container`). All three make the same paths.
//! - systemd-nspawn: `machine-NAME.scope` or `systemd-nspawn@NAME.service`,
//!   `systemd-nspawn(1)` (`--machine`, `--keep-unit`).
//! - Kubernetes pods: `podUID` below `kubepods`, `kubepods-burstable-podUID.slice`,
//!   <https://kubernetes.io/docs/concepts/architecture/cgroups/>; in kind below
//!   the node's docker or podman container.
//! - buildkit: `/buildkit/ID`, below docker `/docker/buildkit/ID`,
//!   <https://github.com/moby/buildkit> (`--oci-cgroup-parent`).

use crate::model::Container;

/// `PREFIX-ID.scope`, `SLICE:PREFIX:ID` or `PREFIX-ID` with an ID of 64
/// hexadecimal digits.
const PREFIXES: [(&str, &str); 7] = [
    ("docker", "docker"),
    ("cri-containerd", "containerd"),
    ("nerdctl", "containerd"),
    ("crio", "cri-o"),
    ("libpod", "podman"),
    ("buildkit", "buildkit"),
    ("runc", "runc"),
];

/// `PARENT/ID`, and whether the ID is of 64 hexadecimal digits or any name.
const PARENTS: [(&str, &str, bool); 6] = [
    ("docker", "docker", true),
    ("moby", "docker", true),
    ("k8s.io", "containerd", true),
    ("buildkit", "buildkit", false),
    ("lxc", "lxc", false),
    ("lxc.payload", "lxc", false),
];

/// The container that `/proc/PID/cgroup` names (`cgroups(7)`), of version 1, 2
/// or both: the innermost of the first hierarchy that names any.
#[must_use]
pub fn of_cgroups(cgroups: &[u8]) -> Option<Container> {
    // Systemd units are in one hierarchy, containers may be in others alone.
    let paths = || cgroups.split(|&byte| byte == b'\n').filter_map(path);
    paths().find_map(container).or_else(|| paths().find_map(systemd_unit))
}

/// The path in `ID:CONTROLLERS:PATH`.
fn path(line: &[u8]) -> Option<&str> {
    std::str::from_utf8(line).ok()?.splitn(3, ':').nth(2)
}

fn container(path: &str) -> Option<Container> {
    let segments: Vec<&str> = path.split('/').collect();
    (0..segments.len()).rev().find_map(|index| {
        let name = segments[index];
        let parent = index.checked_sub(1).map_or("", |parent| segments[parent]);
        let (runtime, id) = named(name)
            .or_else(|| below(parent, name))
            .or_else(|| ctr(&segments[..=index]))
            .or_else(|| is_hex(name).then_some(()).and(pod(parent)).map(|_| ("kubernetes", name)))
            // Anyone may call a cgroup `lxc.payload.`, or `machine-.scope`.
            .filter(|(_, id)| !id.is_empty())?;
        // A container may have a node of a cluster inside, with pods: the
        // nearest pod above is its own.
        let pod = segments[..=index].iter().rev().find_map(|segment| pod(segment));
        Some(Container { runtime: runtime.to_owned(), id: unescape(id), pod })
    })
}

/// A segment that tells all by itself.
fn named(name: &str) -> Option<(&'static str, &str)> {
    if let Some(machine) = machine(name) {
        return Some(("systemd-nspawn", machine));
    }
    if let Some(payload) = name.strip_prefix("lxc.payload.") {
        return Some(("lxc", payload));
    }
    let scope = name.strip_suffix(".scope").unwrap_or(name);
    let colons = name.split_once(':').map(|(_slice, rest)| rest);
    PREFIXES.iter().find_map(|&(prefix, runtime)| {
        let id = scope.strip_prefix(prefix).and_then(|rest| rest.strip_prefix('-'));
        let id = id.or_else(|| colons?.strip_prefix(prefix)?.strip_prefix(':'));
        id.filter(|id| is_hex(id)).map(|id| (runtime, id))
    })
}

/// A segment that tells by the one above it.
fn below<'a>(parent: &str, name: &'a str) -> Option<(&'static str, &'a str)> {
    let rule = PARENTS.iter().find(|(above, ..)| *above == parent)?;
    let &(_, runtime, hex) = rule;
    (!hex || is_hex(name)).then_some((runtime, name))
}

/// `ctr run` in containerd's namespace `default`: at the top, as anyone may
/// call a cgroup that.
fn ctr<'a>(segments: &[&'a str]) -> Option<(&'static str, &'a str)> {
    match segments {
        ["", "default", name] => Some(("containerd", name)),
        _ => None,
    }
}

/// The name in `machine-NAME.scope`, but not of a virtual machine or another
/// manager's container registered with systemd-machined.
fn machine(name: &str) -> Option<&str> {
    let unit = name.strip_prefix("systemd-nspawn@").and_then(|rest| rest.strip_suffix(".service"));
    unit.or_else(|| {
        let machine = name.strip_prefix("machine-")?.strip_suffix(".scope")?;
        let foreign = ["qemu\\x2d", "lxc\\x2d", "libvirt\\x2d"];
        (!foreign.iter().any(|prefix| machine.starts_with(prefix))).then_some(machine)
    })
}

/// The UID in `podUID` or `kubepods-burstable-podUID.slice`, where systemd
/// has underscores for hyphens.
fn pod(segment: &str) -> Option<String> {
    let slice = segment.split_once(':').map_or(segment, |(slice, _)| slice);
    let uid = match slice.strip_suffix(".slice") {
        Some(slice) if slice.contains("kubepods") => slice.rsplit_once("-pod")?.1.replace('_', "-"),
        _ => slice.strip_prefix("pod")?.to_owned(),
    };
    // A static pod has a hash in place of a UUID.
    let digits = uid.chars().filter(char::is_ascii_hexdigit).count();
    (digits == 32 && uid.chars().all(|c| c.is_ascii_hexdigit() || c == '-')).then_some(uid)
}

/// The innermost service or scope that is no container: a unit may have a PID
/// namespace of its own (`PrivatePIDs=`, `systemd.exec(5)`).
fn systemd_unit(path: &str) -> Option<Container> {
    let unit = path.rsplit('/').find(|name| {
        // Where systemd itself lives.
        *name != "init.scope"
            && [".service", ".scope"]
                .iter()
                .any(|kind| name.strip_suffix(kind).is_some_and(|stem| !stem.is_empty()))
    })?;
    Some(Container { runtime: "systemd".to_owned(), id: unescape(unit), pod: None })
}

/// An ID as runtimes make them: 64 hexadecimal digits.
fn is_hex(id: &str) -> bool {
    id.len() == 64 && id.bytes().all(|byte| byte.is_ascii_hexdigit())
}

/// What systemd escaped in a unit's name, `a\x2db` for `a-b` (`systemd.unit(5)`).
fn unescape(name: &str) -> String {
    let mut text = String::with_capacity(name.len());
    let mut rest = name;
    while let Some((before, after)) = rest.split_once("\\x") {
        text.push_str(before);
        let code = after.get(..2).and_then(|hex| u8::from_str_radix(hex, 16).ok());
        if let Some(code) = code.filter(u8::is_ascii) {
            text.push(code.into());
            rest = &after[2..];
        } else {
            text.push_str("\\x");
            rest = after;
        }
    }
    text + rest
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a";
    const UID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    const UNIT_UID: &str = "6ba7b810_9dad_11d1_80b4_00c04fd430c8";

    /// `RUNTIME ID POD` of a path, with the stand-ins ID, UID and UNIT_UID.
    fn read(path: &str) -> String {
        let path = path.replace("UNIT_UID", UNIT_UID).replace("UID", UID).replace("ID", ID);
        match of_cgroups(format!("0::{path}\n").as_bytes()) {
            None => "none".to_owned(),
            Some(found) => format!(
                "{} {} {}",
                found.runtime,
                found.id.replace(ID, "ID"),
                found.pod.map_or("-".to_owned(), |pod| pod.replace(UID, "UID"))
            ),
        }
    }

    #[test]
    fn every_runtime_is_told_by_the_path_that_it_makes() {
        for (path, expected) in [
            ("/docker/ID", "docker ID -"),
            ("/system.slice/docker-ID.scope", "docker ID -"),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/docker-ID.scope",
                "docker ID -",
            ),
            ("/system.slice:docker:ID", "docker ID -"),
            ("/system.slice/docker-ID.scope/init.scope", "docker ID -"),
            ("/default/redis", "containerd redis -"),
            ("/k8s.io/ID", "containerd ID -"),
            ("/system.slice/nerdctl-ID.scope", "containerd ID -"),
            (
                "/kubepods.slice/kubepods-burstable.slice/kubepods-burstable-podUNIT_UID.slice/cri-containerd-ID.scope",
                "containerd ID UID",
            ),
            (
                "/system.slice/containerd.service/kubepods-besteffort-podUNIT_UID.slice:cri-containerd:ID",
                "containerd ID UID",
            ),
            ("/kubepods/burstable/podUID/ID", "kubernetes ID UID"),
            ("/kubepods/podUID/ID", "kubernetes ID UID"),
            ("/kubepods.slice/kubepods-podUNIT_UID.slice/crio-ID.scope", "cri-o ID UID"),
            ("/kubepods.slice/kubepods-podUNIT_UID.slice/crio-ID.scope/container", "cri-o ID UID"),
            ("/kubepods/besteffort/podUID/crio-ID", "cri-o ID UID"),
            ("/machine.slice/libpod-ID.scope/container", "podman ID -"),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/libpod-ID.scope",
                "podman ID -",
            ),
            ("/libpod_parent/libpod-ID", "podman ID -"),
            ("/lxc/web", "lxc web -"),
            ("/lxc.payload/web", "lxc web -"),
            ("/lxc.payload.web", "lxc web -"),
            ("/lxc.payload.user-1000_web/system.slice/ssh.service", "lxc user-1000_web -"),
            ("/machine.slice/machine-my\\x2dweb.scope/payload", "systemd-nspawn my-web -"),
            ("/machine.slice/systemd-nspawn@web.service/payload", "systemd-nspawn web -"),
            ("/buildkit/k2wt6rm0sz4xxr9bh1yo5yvpq", "buildkit k2wt6rm0sz4xxr9bh1yo5yvpq -"),
            ("/docker/buildkit/k2wt6rm0sz4xxr9bh1yo5yvpq", "buildkit k2wt6rm0sz4xxr9bh1yo5yvpq -"),
            ("/system.slice/cups.service", "systemd cups.service -"),
            ("/user.slice/user-0.slice/session-3.scope", "systemd session-3.scope -"),
            ("/../../docker-ID.scope", "docker ID -"),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
    }

    #[test]
    fn in_kind_the_pod_s_container_is_meant_not_the_node_s() {
        let outer = "/system.slice/docker-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.scope";
        let slice = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUNIT_UID.slice";
        assert_eq!(read(&format!("{outer}{slice}/cri-containerd-ID.scope")), "containerd ID UID");
        assert_eq!(read("/docker/ID/kubelet/kubepods/podUID/ID"), "kubernetes ID UID");
    }

    #[test]
    fn a_host_a_monitor_or_a_virtual_machine_is_no_container() {
        for path in [
            "/",
            "",
            "/init.scope",
            "/docker",
            "/docker/web",
            "/podcast/web",
            "/lxc",
            "/kubepods/podUID",
            "/user.slice/user-0.slice",
        ] {
            assert_eq!(read(path), "none", "{path}");
        }
        assert_eq!(
            read("/machine.slice/crio-conmon-ID.scope"),
            format!("systemd crio-conmon-ID.scope -")
        );
        assert_eq!(
            read("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope"),
            "systemd machine-qemu-1-vm.scope -"
        );
    }

    #[test]
    fn what_has_no_name_is_no_container() {
        for path in ["/lxc.payload.", "/lxc/", "/default/", "/docker/buildkit/", "/machine-.slice"]
        {
            assert_eq!(read(path), "none", "{path}");
        }
        assert_eq!(read("/machine-.scope"), "systemd machine-.scope -");
        assert_eq!(read("/lxc.payload.web/lxc.payload."), "lxc web -");
    }

    #[test]
    fn with_version_1_any_hierarchy_may_tell() {
        let cgroups =
            format!("12:pids:/docker/{ID}\n1:name=systemd:/system.slice/x.service\n0::/\n");
        assert_eq!(of_cgroups(cgroups.as_bytes()).unwrap().runtime, "docker");
        assert_eq!(of_cgroups(b"12:cpu,cpuacct:/\n1:name=systemd:/\n0::/\n"), None);
    }

    #[test]
    fn a_static_pod_has_a_hash_for_its_uid() {
        let hash = "d41d8cd98f00b204e9800998ecf8427e";
        let path = format!("0::/kubepods/burstable/pod{hash}/{ID}");
        assert_eq!(of_cgroups(path.as_bytes()).unwrap().pod.as_deref(), Some(hash));
    }

    proptest! {
        #[test]
        fn any_path_is_survived(path in "[a-z0-9:/.\\\\x-]{0,200}", bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let found = of_cgroups(format!("0::{path}").as_bytes());
            prop_assert!(found.is_none_or(|found| !found.id.is_empty()));
            let _ = of_cgroups(&bytes);
        }
    }
}
