//! Finds the container of a process from its cgroup path.
//!
//! Users can choose the names of cgroups, so never derive permissions from the result. Saved
//! documents contain cgroup paths, so this module is part of the model.
//!
//! Sources, looked up in November 2026:
//! - systemd puts `_` in front of unit names that could be mistaken for cgroup files, so
//!   `memory.service` becomes `_memory.service`: `cg_escape` in
//!   <https://github.com/systemd/systemd/blob/main/src/basic/cgroup-util.c>.
//! - Kubernetes pods: `podUID` below `kubepods`, or `kubepods-burstable-podUID.slice`, which
//!   replaces the hyphens of the UID with underscores: `ConvertCgroupNameToSystemd` in
//!   <https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/cm/cgroup_manager_linux.go>;
//!   the path if kubelet uses systemd but docker does not:
//!   <https://github.com/kubernetes/kubernetes/issues/36807>. In a kind cluster, each node is a
//!   docker or podman container, and the pod cgroups are below the cgroup of that container.

use std::borrow::Cow;

use super::runtime::{IdFormat, RUNTIMES, SHIM, segments};
use super::{Container, Pod};

/// Finds the innermost container in `/proc/PID/cgroup`, or the systemd unit if there is no
/// container.
///
/// `parent` is the name of the parent process.
#[must_use]
pub fn of_cgroups(
    cgroups: &[u8],
    parent: Option<&str>,
    has_terminated: impl FnOnce() -> bool,
) -> Option<Container> {
    innermost(cgroups, container)
        .or_else(|| innermost(cgroups, containerd).filter(|_| parent == Some(SHIM)))
        // After a process terminates, all its cgroup v1 paths are `/`, so they no longer show its
        // container. The cgroup v2 path may instead name the unit of the container runtime, so
        // ignore the unit of a terminated process.
        .or_else(|| innermost(cgroups, unit).filter(|_| !has_terminated()))
        .map(CgroupMatch::into_container)
}

/// Finds the container in a path from [`cgroup_path`], or the systemd unit if there is no
/// container.
#[must_use]
pub fn of_path(path: &str, parent: Option<&str>) -> Option<Container> {
    let path = path.as_bytes();
    container(path)
        .or_else(|| containerd(path).filter(|_| parent == Some(SHIM)))
        .or_else(|| unit(path))
        .map(CgroupMatch::into_container)
}

/// Selects a path from the contents of `/proc/PID/cgroup`, in this order of preference:
///
/// 1. a path that names a container
/// 2. a path that names a systemd unit
/// 3. the cgroup v2 path, unless it is the root cgroup
/// 4. the deepest cgroup v1 path
#[must_use]
pub fn cgroup_path(cgroups: &[u8]) -> Option<String> {
    if let Some(found) = innermost(cgroups, container).or_else(|| innermost(cgroups, unit)) {
        return Some(text(found.cgroup));
    }
    let depth = |path: &[u8]| segments(path).filter(|name| !name.is_empty()).count();
    let mut deepest: Option<(usize, &[u8])> = None;
    for Hierarchy { path, is_unified } in hierarchies(cgroups) {
        let depth = depth(path);
        if is_unified && depth > 0 {
            return Some(text(path));
        }
        if deepest.is_none_or(|(most, _)| depth > most) {
            deepest = Some((depth, path));
        }
    }
    deepest.map(|(_, path)| text(path))
}

/// A line of `/proc/PID/cgroup`.
struct Hierarchy<'a> {
    /// Path of the process's cgroup in this hierarchy.
    path: &'a [u8],
    /// `true` for the cgroup v2 hierarchy.
    is_unified: bool,
}

/// Parses the lines of `/proc/PID/cgroup` (`ID:CONTROLLERS:PATH`), skipping malformed lines.
fn hierarchies(cgroups: &[u8]) -> impl Iterator<Item = Hierarchy<'_>> {
    cgroups.split(|&byte| byte == b'\n').filter_map(|line| {
        // The path can contain colons.
        let path = line.splitn(3, |&byte| byte == b':').nth(2)?;
        let is_unified = line.starts_with(b"0::");
        // If a zombie's v2 cgroup was removed, the kernel appends " (deleted)" to its path
        // (`cgroup-v2.rst`, "Processes").
        let removed = path.strip_suffix(b" (deleted)").filter(|_| is_unified);
        Some(Hierarchy { path: removed.unwrap_or(path), is_unified })
    })
}

/// A container or unit found in a cgroup path.
struct CgroupMatch<'a> {
    runtime: &'static str,
    id: Cow<'a, [u8]>,
    /// The path up to and including the segment with the ID.
    path: &'a [u8],
    /// Number of segments in `path`.
    depth: usize,
    /// The full path of the process's cgroup.
    cgroup: &'a [u8],
}

impl<'a> CgroupMatch<'a> {
    fn new(runtime: &'static str, id: Cow<'a, [u8]>, path: &'a [u8], cgroup: &'a [u8]) -> Self {
        let depth = segments(path).count();
        Self { runtime, id, path, depth, cgroup }
    }

    fn into_container(self) -> Container {
        // A cluster node can itself be a container in a pod, so take the innermost pod.
        let pod = segments(self.path).rev().find_map(pod);
        let pod = pod.map(Pod::new);
        Container { pod, ..Container::new(self.runtime, &text(&self.id)) }
    }
}

/// Returns the deepest match in all hierarchies, or the first of equally deep matches.
fn innermost<'a>(
    cgroups: &'a [u8],
    name: fn(&'a [u8]) -> Option<CgroupMatch<'a>>,
) -> Option<CgroupMatch<'a>> {
    let mut last: &[u8] = b"/";
    let paths = hierarchies(cgroups).map(|hierarchy| hierarchy.path);
    // Skip repeated paths, because most hierarchies have the same path.
    let paths = paths.filter(|&path| std::mem::replace(&mut last, path) != path);
    // In cgroup version 1, a runtime can create a container's cgroup in only some hierarchies.
    // Other hierarchies can name an outer container, so take the deepest match.
    paths.filter_map(name).reduce(|best, next| if next.depth > best.depth { next } else { best })
}

/// Finds the innermost container in a cgroup path.
fn container(cgroup: &[u8]) -> Option<CgroupMatch<'_>> {
    let in_default = || containerd(cgroup).filter(|_| cgroup.starts_with(b"/default/"));
    ancestors(cgroup)
        .find_map(|path| {
            let name = segments(path).next_back()?;
            let name = name.strip_prefix(b"kata_").unwrap_or(name);
            let (runtime, id) = machine(name)
                .or_else(|| {
                    RUNTIMES.iter().find_map(|(runtime, place, id)| {
                        Some((*runtime, place.id(path, name).filter(|it| id.fits(it))?.into()))
                    })
                })
                .or_else(|| nameless(path, name).map(|(runtime, id)| (runtime, id.into())))?;
            Some(CgroupMatch::new(runtime, id, path, cgroup))
        })
        .or_else(in_default)
}

/// Finds the container ID in `name`, the last segment of `path`. Called if `path` matches no known
/// container runtime.
fn nameless<'a>(path: &[u8], name: &'a [u8]) -> Option<(&'static str, &'a [u8])> {
    if segments(path).rev().nth(1).and_then(pod).is_some() {
        return (IdFormat::Hex.fits(name) || is_pod_uid(name)).then_some(("kubernetes", name));
    }
    let scope = name.strip_suffix(b".scope").and_then(|scope| {
        let dash = scope.iter().rposition(|&byte| byte == b'-')?;
        // `crio-conmon-ID.scope` contains the monitor of a container.
        let is_monitor = scope[..dash].ends_with(b"conmon");
        (!is_monitor).then_some(&scope[dash + 1..])
    });
    let id = scope.unwrap_or(name);
    IdFormat::Hex.fits(id).then_some(("unknown", id))
}

/// Matches `/NAMESPACE/ID`, a format that other programs also use.
///
/// Callers must check that NAMESPACE is `default`, or that the parent process is containerd's shim.
fn containerd(cgroup: &[u8]) -> Option<CgroupMatch<'_>> {
    let mut names = segments(cgroup.strip_prefix(b"/")?);
    let (namespace, name) = (names.next()?, names.next()?);
    // Truncate the path after the segment with the ID.
    let path = cgroup.get(..namespace.len() + name.len() + 2)?;
    let id = name.strip_prefix(b"kata_").unwrap_or(name);
    let is_match = is_identifier(namespace) && is_identifier(id);
    is_match.then(|| CgroupMatch::new("containerd", id.into(), path, cgroup))
}

/// Returns `true` for a valid containerd name that is not a systemd unit.
fn is_identifier(name: &[u8]) -> bool {
    let is_unit =
        [".slice", ".scope", ".service"].iter().any(|kind| name.ends_with(kind.as_bytes()));
    !is_unit
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// Matches `machine-NAME.scope` and `systemd-nspawn@NAME.service`, unless NAME is a virtual
/// machine.
fn machine(name: &[u8]) -> Option<(&'static str, Cow<'_, [u8]>)> {
    let instance = name.strip_prefix(b"systemd-nspawn@");
    if let Some(instance) = instance.and_then(|rest| rest.strip_suffix(b".service")) {
        return (!instance.is_empty()).then(|| ("systemd-nspawn", unescape(instance).into()));
    }
    let machine = unescape(name.strip_prefix(b"machine-")?.strip_suffix(b".scope")?);
    if let Some(libvirt) = machine.strip_prefix(b"lxc-") {
        // Since version 1.3, libvirt puts a number in the name. A name without a number can come
        // from systemd-nspawn or from an older libvirt, so reject it.
        let end = libvirt.iter().position(|&byte| byte == b'-')?;
        let (number, name) = (&libvirt[..end], &libvirt[end + 1..]);
        let is_numbered = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
        return (is_numbered && !name.is_empty()).then(|| ("lxc", name.to_vec().into()));
    }
    // libvirt registers virtual machines with these prefixes.
    let is_foreign = [&b"qemu-"[..], b"libvirt-"].iter().any(|driver| machine.starts_with(driver));
    (!is_foreign && !machine.is_empty()).then(|| ("systemd-nspawn", machine.into()))
}

/// Extracts the UID from `podUID` or `kubepods-burstable-podUID.slice`.
fn pod(segment: &[u8]) -> Option<String> {
    let slice = segment.split(|&byte| byte == b':').next()?;
    let uid = match slice.strip_suffix(b".slice") {
        Some(slice) => {
            let pod = slice.windows(4).rposition(|window| window == b"-pod")?;
            // Slice names contain underscores instead of the hyphens of the UID.
            slice[pod + 4..].iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect()
        }
        None => slice.strip_prefix(b"pod")?.to_vec(),
    };
    let is_uid = is_pod_uid(&uid);
    String::from_utf8(uid).ok().filter(|_| is_uid)
}

/// Returns `true` for a UUID, or for the 32-digit hash of a static pod.
fn is_pod_uid(uid: &[u8]) -> bool {
    let digits = uid.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    digits == 32 && uid.iter().all(|&byte| byte.is_ascii_hexdigit() || byte == b'-')
}

/// Finds the innermost systemd service or scope in a cgroup path.
fn unit(cgroup: &[u8]) -> Option<CgroupMatch<'_>> {
    ancestors(cgroup).find_map(|path| {
        let name = segments(path).next_back()?;
        let name = name.strip_prefix(b"_").unwrap_or(name);
        let stem = name.strip_suffix(b".service").or_else(|| name.strip_suffix(b".scope"))?;
        // `init.scope` contains systemd itself.
        let is_unit = !stem.is_empty() && name != b"init.scope";
        // Keep escapes, because `a\x2db.scope` and `a-b.scope` are different units.
        is_unit.then(|| CgroupMatch::new("systemd", name.into(), path, cgroup))
    })
}

/// Iterates over a cgroup path and its ancestors, innermost first.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        path.iter().rposition(|&byte| byte == b'/').map(|end| &path[..end])
    })
}

/// Converts a name to text, with U+FFFD for invalid UTF-8.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// Decodes systemd's escapes in a machine name, such as `\x2d` (`systemd.unit(5)`).
fn unescape(name: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(name.len());
    let mut rest = name;
    while let Some((&first, after)) = rest.split_first() {
        let escaped = rest.strip_prefix(b"\\x").and_then(|digits| {
            let (hex, after) = digits.split_first_chunk::<2>()?;
            let [high, low] = hex.map(|digit| char::from(digit).to_digit(16));
            Some((u8::try_from(high? * 16 + low?).ok()?, after))
        });
        let (byte, after) = escaped.unwrap_or((first, after));
        bytes.push(byte);
        rest = after;
    }
    bytes
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ID: &str = "3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a";
    const UID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    const UNIT_UID: &str = "6ba7b810_9dad_11d1_80b4_00c04fd430c8";

    /// Formats a container as `RUNTIME CONTAINER POD`, with placeholders for the test's IDs.
    fn say(found: Option<Container>) -> String {
        found.map_or("none".to_owned(), |found| {
            let pod = found.pod.map_or("-".to_owned(), |pod| pod.uid.replace(UID, "UID"));
            format!("{} {} {pod}", found.runtime, found.id.replace(ID, "ID").replace(UID, "UID"))
        })
    }

    /// Replaces the placeholders ID, UID and UNIT_UID in a cgroup path.
    fn fill(path: &str) -> String {
        path.replace("UNIT_UID", UNIT_UID).replace("UID", UID).replace("ID", ID)
    }

    /// Finds the container that a cgroup v2 path names, and asserts that [`of_path`] agrees.
    fn read(path: &str) -> String {
        let said = say(live(format!("0::{}\n", fill(path)).as_bytes()));
        let path = fill(path);
        let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
        assert_eq!(say(of_path(path, None)), said, "from the path: {path}");
        said
    }

    /// Finds the container of a live process with an unknown parent.
    fn live(cgroups: &[u8]) -> Option<Container> {
        of_cgroups(cgroups, None, || false)
    }

    /// Builds the contents of `/proc/PID/cgroup` from entries of the form `HIERARCHY=PATH`.
    fn hybrid(places: &[&str]) -> Vec<u8> {
        let hierarchies = ["pids", "memory", "freezer", "name=systemd", "unified"];
        let place = |name: &str| {
            let name = name.trim_start_matches("name=");
            places
                .iter()
                .find_map(|place| place.strip_prefix(name)?.strip_prefix('='))
                .unwrap_or("/")
        };
        let lines = hierarchies.iter().enumerate().map(|(index, name)| match *name {
            "unified" => format!("0::{}\n", fill(place(name))),
            _ => format!("{}:{name}:{}\n", hierarchies.len() - index, fill(place(name))),
        });
        lines.collect::<String>().into_bytes()
    }

    #[test]
    fn recognises_the_paths_of_each_runtime() {
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
            ("/ecs/UID/ID", "docker ID -"),
            ("/ecs/0123456789abcdef0123456789abcdef/ID", "docker ID -"),
            (
                "/ecstasks.slice/ecstasks-0123456789abcdef0123456789abcdef.slice/docker-ID.scope",
                "docker ID -",
            ),
            ("/default/ID", "containerd ID -"),
            ("/default/redis/init.scope", "containerd redis -"),
            ("/system.slice/quadlet-web.service/libpod-payload-ID", "podman ID -"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/web.service/libpod-payload-ID/container",
                "podman ID -",
            ),
            (
                "/user.slice/user-1000.slice/user@1000.service/user.slice/user-libpod_pod_ID.slice/libpod-ID.scope/container",
                "podman ID -",
            ),
            ("/system.slice/runc-web.scope", "runc web -"),
            ("/system.slice:runc:web", "runc web -"),
            ("/system.slice/crun-web.scope", "crun web -"),
            ("/system.slice/crun-web.scope/container", "crun web -"),
            (
                "/system.slice/garden.service/garden/70eb4ce5-a065-4401-6990-88ed",
                "garden 70eb4ce5-a065-4401-6990-88ed -",
            ),
            ("/garden/good/70eb4ce5-a065/init", "garden 70eb4ce5-a065 -"),
            ("/garden/bad/70eb4ce5-a065", "garden 70eb4ce5-a065 -"),
            ("/lxc/101/ns/system.slice/docker-ID.scope", "docker ID -"),
            ("/machine.slice/machine-lxc\\x2d1234\\x2dweb.scope", "lxc web -"),
            (
                "/system.slice/docker-k2wt6rm0sz4xxr9bh1yo5yvpq.scope",
                "buildkit k2wt6rm0sz4xxr9bh1yo5yvpq -",
            ),
            (
                "/system.slice:docker:k2wt6rm0sz4xxr9bh1yo5yvpq",
                "buildkit k2wt6rm0sz4xxr9bh1yo5yvpq -",
            ),
            (
                "/system.slice/docker.service/BestEffort.slice/BestEffort-podUNIT_UID.slice/ID",
                "kubernetes ID UID",
            ),
            ("/actions_job/ID", "unknown ID -"),
            ("/ID", "unknown ID -"),
            ("/my-parent/ID/init.scope", "unknown ID -"),
            ("/buildkit/k2wt6rm0sz4xxr9bh1yo5yvpq", "buildkit k2wt6rm0sz4xxr9bh1yo5yvpq -"),
            ("/docker/buildkit/k2wt6rm0sz4xxr9bh1yo5yvpq", "buildkit k2wt6rm0sz4xxr9bh1yo5yvpq -"),
            ("/system.slice/cups.service", "systemd cups.service -"),
            ("/user.slice/user-0.slice/session-3.scope", "systemd session-3.scope -"),
            ("/nomad.slice/share.slice/UID.web.scope", "systemd UID.web.scope -"),
            (
                "/user.slice/user-1000.slice/user@1000.service/app.slice/app-org.gnome.Terminal.slice/vte-spawn-UID.scope",
                "systemd vte-spawn-UID.scope -",
            ),
            ("/../../docker-ID.scope", "docker ID -"),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
    }

    #[test]
    fn recognises_ids_in_other_names() {
        for (path, expected) in [
            ("/default/kata_my-sandbox-1", "containerd my-sandbox-1 -"),
            ("/kubepods/burstable/podUID/kata_ID", "kubernetes ID UID"),
            (
                "/kubepods/besteffort/podUID/15aa6e53-b09a-40c7-8558-c6c31e36c88a",
                "kubernetes 15aa6e53-b09a-40c7-8558-c6c31e36c88a UID",
            ),
            ("/production.partition/web.libvirt-lxc", "lxc web -"),
            ("/system.slice/isulad-ID.scope", "unknown ID -"),
            (
                "/system.slice/slurmstepd.scope/job_1392969/step_0/user/task_0",
                "systemd slurmstepd.scope -",
            ),
            ("/system.slice/_memory.service", "systemd memory.service -"),
        ] {
            assert_eq!(read(path), expected, "{path}");
        }
    }

    #[test]
    fn finds_the_container_of_a_pod_in_a_kind_cluster() {
        let outer = "/system.slice/docker-aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa.scope";
        let slice = "/kubelet.slice/kubelet-kubepods.slice/kubelet-kubepods-podUNIT_UID.slice";
        assert_eq!(read(&format!("{outer}{slice}/cri-containerd-ID.scope")), "containerd ID UID");
        assert_eq!(read("/docker/ID/kubelet/kubepods/podUID/ID"), "kubernetes ID UID");
    }

    #[test]
    fn hosts_monitors_and_virtual_machines_are_not_containers() {
        for path in [
            "/",
            "",
            "/init.scope",
            "/docker",
            "/docker/web",
            "/srv/podcast/web",
            "/lxc",
            "/kubepods/podUID",
            "/user.slice/user-0.slice",
            "/firecracker/551e7604-e35c-42b3-b825-416853441234",
            "/apptainer/12345",
            "/mesos/168b386b-893f-478e-bbf1-209482231b88",
            "/nomad/adf74b7e-7a33-7c69-997e-189ebbb38f94",
            "/NSJAIL/1234",
            "/prod/web",
            "/podruntime/etcd",
        ] {
            assert_eq!(read(path), "none", "{path}");
        }
        assert_eq!(read("/machine.slice/crio-conmon-ID.scope"), "systemd crio-conmon-ID.scope -");
        assert_eq!(
            read("/machine.slice/machine-qemu\\x2d1\\x2dvm.scope"),
            "systemd machine-qemu\\x2d1\\x2dvm.scope -"
        );
    }

    #[test]
    fn an_empty_name_is_not_a_container() {
        for path in [
            "/lxc.payload.",
            "/lxc/",
            "/a/garden/",
            "/buildkit/",
            "//",
            "/system.slice:runc:",
            "/default/",
            "/docker/buildkit/",
            "/machine-.slice",
            "/default/kata_",
            "/a/.libvirt-lxc",
        ] {
            assert_eq!(read(path), "none", "{path}");
        }
        for unit in [
            "machine-.scope",
            "runc-.scope",
            "crun-.scope",
            "docker-.scope",
            "libpod-conmon-ID.scope",
            "systemd-nspawn@.service",
            "machine-lxc\\x2d1\\x2d.scope",
            "machine-lxc\\x2d\\x2dweb.scope",
            "machine-lxc\\x2dweb.scope",
        ] {
            assert_eq!(read(&format!("/{unit}")), format!("systemd {unit} -"));
        }
        assert_eq!(read("/lxc.payload.web/lxc.payload."), "lxc web -");
    }

    #[test]
    fn the_deepest_match_of_all_hierarchies_wins() {
        let kind = "/docker/aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999";
        let pod = format!("memory={kind}/kubelet/kubepods/burstable/podUID/ID");
        for (places, expected) in [
            (vec!["pids=/docker/ID"], "docker ID -"),
            (vec!["pids=/ecs/0123456789abcdef0123456789abcdef/ID"], "docker ID -"),
            (vec!["pids=/docker/ID", "systemd=/system.slice/x.service"], "docker ID -"),
            (vec!["pids=/my-parent/ID"], "unknown ID -"),
            (vec!["pids=/system.slice/web.service/libpod-payload-ID"], "podman ID -"),
            (vec!["pids=/system.slice/garden.service/garden/70eb4ce5"], "garden 70eb4ce5 -"),
            (vec!["systemd=/lxc/web/system.slice/docker-ID.scope", "pids=/lxc/web"], "docker ID -"),
            (vec![&format!("pids={kind}"), &pod], "kubernetes ID UID"),
            (vec![&pod, &format!("unified={kind}")], "kubernetes ID UID"),
            (vec!["pids=/lxc/one", "memory=/lxc/two"], "lxc one -"),
            (
                vec![
                    "freezer=/mesos/UID/kubepods/besteffort/podUID/ID",
                    "systemd=/mesos_executors.slice",
                ],
                "kubernetes ID UID",
            ),
            (
                vec!["pids=/user.slice", "systemd=/user.slice/user-0.slice/session-3.scope"],
                "systemd session-3.scope -",
            ),
            (
                vec!["pids=/system.slice/a.service", "unified=/system.slice/a.service/b.service"],
                "systemd b.service -",
            ),
            (vec![], "none"),
        ] {
            let cgroups = hybrid(&places);
            assert_eq!(say(live(&cgroups)), expected, "{places:?}");
            let path = cgroup_path(&cgroups).unwrap();
            assert_eq!(say(of_path(&path, None)), expected, "from the selected path: {path}");
        }
    }

    #[test]
    fn only_a_shim_proves_that_two_segments_are_a_container_of_containerd() {
        for (places, by_shim) in [
            (vec!["unified=/prod/web"], "containerd web -"),
            (vec!["memory=/prod/web"], "containerd web -"),
            (vec!["unified=/podruntime/etcd"], "containerd etcd -"),
            (vec!["unified=/prod/kata_web"], "containerd web -"),
            (vec!["unified=/prod/web/init.scope"], "containerd web -"),
            (vec!["unified=/prod"], "none"),
            (vec!["unified=/../web"], "none"),
            (vec!["unified=/prod/-web"], "none"),
            (vec!["unified=/prod/a b"], "none"),
            (vec!["unified=/user.slice/user-0.slice"], "none"),
        ] {
            let cgroups = hybrid(&places);
            let of = |parent| say(of_cgroups(&cgroups, Some(parent), || false));
            assert_eq!(of(SHIM), by_shim, "{places:?}");
            assert_eq!((of("bash"), say(live(&cgroups))), ("none".into(), "none".into()));
        }
        assert_eq!(say(of_path("/prod/web", Some(SHIM))), "containerd web -");
        // A path below `/default` belongs to containerd even if the parent process is unknown.
        assert_eq!(say(live(&hybrid(&["memory=/default/web"]))), "containerd web -");
        // Docker starts containers through containerd's shim, so the shim's name does not tell
        // Docker from containerd.
        let docker = hybrid(&["pids=/docker/ID"]);
        assert_eq!(say(of_cgroups(&docker, Some(SHIM), || false)), "docker ID -");
    }

    #[test]
    fn a_terminated_init_has_a_container_but_no_unit() {
        let service = hybrid(&["unified=/system.slice/containerd.service"]);
        assert_eq!(say(live(&service)), "systemd containerd.service -");
        assert_eq!(of_cgroups(&service, None, || true), None);
        for place in ["unified=/system.slice/docker-ID.scope", "unified=/docker/ID/init.scope"] {
            assert_eq!(say(of_cgroups(&hybrid(&[place]), None, || true)), "docker ID -");
            let removed = format!("{place} (deleted)");
            assert_eq!(say(of_cgroups(&hybrid(&[&removed]), None, || true)), "docker ID -");
        }
        // `has_terminated` must not be called for cgroups without a unit.
        let never = || -> bool { panic!("asked") };
        assert_eq!(say(of_cgroups(&hybrid(&["pids=/docker/ID"]), None, never)), "docker ID -");
        assert_eq!(of_cgroups(&hybrid(&[]), None, never), None);
    }

    #[test]
    fn strips_deleted_in_version_2_only() {
        assert_eq!(read("/system.slice/runc-web.scope (deleted)"), "runc web -");
        assert_eq!(read("/lxc/web (deleted)"), "lxc web -");
        assert_eq!(read("/default/web (deleted)"), "containerd web -");
        // The kernel appends " (deleted)" only to cgroup v2 paths. In a cgroup v1 path, it is part
        // of the name.
        let named = hybrid(&["pids=/lxc/web (deleted)"]);
        assert_eq!(say(live(&named)), "lxc web (deleted) -");
    }

    #[test]
    fn accepts_names_with_any_bytes() {
        for (cgroups, expected) in [
            (&b"0::/\xff\xfe/lxc.payload.web"[..], "lxc web -"),
            (b"0::/lxc.payload.w\xffb", "lxc w\u{fffd}b -"),
            (b"0::/\xff/runc-a:b.scope", "runc a:b -"),
            (b"0::/a:b:c/lxc/d:e", "lxc d:e -"),
            (b"0::/a\xff.service", "systemd a\u{fffd}.service -"),
            (b"0::/system.slice/a\\x2db.scope", "systemd a\\x2db.scope -"),
            (b"0::/system.slice/runc-a\\x2db.scope", "runc a\\x2db -"),
            (
                b"0::/machine-a\\x2db\\xc3\\xa4\\x+1\\xff\\x2.scope",
                "systemd-nspawn a-bä\\x+1\u{fffd}\\x2 -",
            ),
            (b"0::/lxc.payload.a b\t\x1b[31m", "lxc a b\t\x1b[31m -"),
        ] {
            let shown = String::from_utf8_lossy(cgroups);
            assert_eq!(say(live(cgroups)), expected, "{shown}");
        }
    }

    #[test]
    fn selects_version_2_or_the_deepest_path_of_version_1() {
        for (cgroups, expected) in [
            (&b"0::/a/b\n"[..], Some("/a/b")),
            (b"0::/a/b (deleted)\n", Some("/a/b")),
            (b"3:pids:/a/b/c\n0::/a\n", Some("/a")),
            (b"3:pids:/a\n2:memory:/a/b\n1:cpu:/c/d\n0::/\n", Some("/a/b")),
            // A path with a container or unit takes precedence over all other paths.
            (b"3:pids:/lxc/web/init.scope\n0::/a/b/c\n", Some("/lxc/web/init.scope")),
            (b"3:pids:/a/b/c\n1:name=systemd:/a/b.scope\n0::/a\n", Some("/a/b.scope")),
            (b"3:pids:/default/web\n1:cpu:/x/y/z\n0::/\n", Some("/default/web")),
            (b"0::/lxc/web (deleted)\n", Some("/lxc/web")),
            (b"3:pids:/a (deleted)\n", Some("/a (deleted)")),
            (b"2:pids:/\n0::/\n", Some("/")),
            (b"0::/a:b\xff\n", Some("/a:b\u{fffd}")),
            (b"", None),
            (b"no line\n", None),
        ] {
            assert_eq!(cgroup_path(cgroups).as_deref(), expected);
        }
    }

    #[test]
    fn the_uid_of_a_static_pod_is_a_hash() {
        let hash = "d41d8cd98f00b204e9800998ecf8427e";
        let path = format!("0::/kubepods/burstable/pod{hash}/{ID}");
        let pod = live(path.as_bytes()).unwrap().pod.unwrap();
        assert_eq!((pod.uid.as_str(), pod.name), (hash, None));
    }

    proptest! {
        #[test]
        fn does_not_panic_on_any_path(
            path in "(/|[a-z0-9]{1,3}|docker|lxc|machine-|\\.scope|\\.slice|\\.service|pod|:|\\\\x2d| \\(deleted\\)){0,20}",
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            for bytes in [format!("0::{path}\n1:a:{path}").as_bytes(), &bytes, &[b"0::", &bytes[..]].concat()] {
                let found = live(bytes);
                prop_assert!(found.as_ref().is_none_or(|found| !found.id.is_empty()));
                let terminated = of_cgroups(bytes, None, || true);
                prop_assert!(terminated == found || found.as_ref().is_some_and(Container::is_unit));
                let path = cgroup_path(bytes);
                prop_assert!(path.as_ref().is_none_or(|path| path.len() <= 3 * bytes.len()));
                prop_assert_eq!(found, path.and_then(|path| of_path(&path, None)));
            }
        }
    }
}
