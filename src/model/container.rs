//! Which container a process is in, by its cgroup: the paths that runtimes
//! make, in one table. A path says what made it look so, and anyone may call a
//! cgroup anything: this is a name for people, nothing to base a permission on.
//!
//! It is a rule about a text, the same for the kernel's and that of a saved
//! document; therefore it is with the model. Nothing here reads a file.
//!
//! Sources of the shapes; all were looked up in 2026-11 unless the line says so:
//! - docker, both drivers: `withCgroups` in
//!   <https://github.com/moby/moby/blob/master/daemon/oci_linux.go>.
//!   ECS puts docker's containers below the task, `/ecs/TASK/ID` or
//!   `ecstasks-TASK.slice`: `BuildCgroupRoot` in
//!   <https://github.com/aws/amazon-ecs-agent/blob/master/agent/api/task/task_linux.go>.
//! - buildkit: `PARENT/buildkit/ID`, or under systemd with docker's own prefix,
//!   `system.slice:docker:ID`: `GenerateSpec` in
//!   <https://github.com/moby/buildkit/blob/master/executor/oci/spec.go>; an ID is 25
//!   digits to the base of 36: <https://github.com/moby/buildkit/blob/master/identity/randomid.go>.
//! - containerd: `cri-containerd-ID.scope`, `getCgroupsPath` in
//!   <https://github.com/containerd/containerd/blob/main/internal/cri/server/podsandbox/helpers_linux.go>;
//!   `/NAMESPACE/ID` for whoever sets no path, `populateDefaultUnixSpec` in
//!   <https://github.com/containerd/containerd/blob/main/pkg/oci/spec.go>; what either
//!   may be called: <https://github.com/containerd/containerd/blob/main/pkg/identifiers/validate.go>.
//!   nerdctl has a prefix of its own: `generateCgroupPath` in
//!   <https://github.com/containerd/nerdctl/blob/main/pkg/cmd/container/run_cgroup_linux.go>.
//! - cri-o: `crio-ID.scope` and `crio-ID`; its monitor is `crio-conmon-ID.scope`,
//!   which is no container:
//!   <https://github.com/cri-o/cri-o/tree/main/internal/config/cgmgr>.
//! - podman: `libpod-ID.scope`, `libpod_parent/libpod-ID`, and with
//!   `--cgroups=split`, which Quadlet uses, `UNIT/libpod-payload-ID`:
//!   `getOCICgroupPath` in
//!   <https://github.com/containers/podman/blob/main/libpod/container_internal_linux.go>.
//! - runc without a path of its own, under systemd: `runc-NAME.scope`; the form
//!   `PREFIX-NAME.scope` of all that use runc's library: `getUnitName` in
//!   <https://github.com/opencontainers/cgroups/blob/main/systemd/common.go>.
//! - crun likewise: `get_systemd_scope_and_slice` in
//!   <https://github.com/containers/crun/blob/main/src/libcrun/cgroup-systemd.c>.
//! - lxc, LXD, Incus: `lxc.payload.NAME`:
//!   <https://github.com/lxc/lxc/blob/main/src/lxc/cgroups/cgroup.h>. `lxc/NAME` of
//!   LXC before 4.0 is from memory. All three make the same paths.
//!   Libvirt's LXC driver has `machine-lxc\x2dNUMBER\x2dNAME.scope`, the machine's name
//!   escaped: `virDomainDriverGenerateMachineName` in
//!   <https://github.com/libvirt/libvirt/blob/master/src/hypervisor/domain_driver.c>,
//!   `virSystemdMakeScopeName` in
//!   <https://github.com/libvirt/libvirt/blob/master/src/util/virsystemd.c>.
//! - systemd-nspawn: `machine-NAME.scope` or `systemd-nspawn@NAME.service`,
//!   `systemd-nspawn(1)` (`--machine`, `--keep-unit`); from memory.
//! - garden of Cloud Foundry: `garden/HANDLE`, of late `garden/good/HANDLE` and
//!   `garden/bad/HANDLE`:
//!   <https://github.com/cloudfoundry/guardian/tree/main/rundmc/cgroups>.
//! - Kubernetes pods: `podUID` below `kubepods`, and with hyphens as underscores
//!   in `kubepods-burstable-podUID.slice`: `ConvertCgroupNameToSystemd` in
//!   <https://github.com/kubernetes/kubernetes/blob/master/pkg/kubelet/cm/cgroup_manager_linux.go>;
//!   with a kubelet that uses systemd over a docker that does not:
//!   <https://github.com/kubernetes/kubernetes/issues/36807>. In kind all of it is
//!   below the node's docker or podman container.

use std::borrow::Cow;

use super::Container;

/// How a runtime names the cgroup of a container.
enum Place {
    /// `PREFIX-ID.scope`, made by systemd, or `SLICE:PREFIX:ID`, where a path
    /// meant for systemd met a runtime that makes its cgroups itself. With an
    /// ID of 64 digits `PREFIX-ID` alone is enough.
    Prefix(&'static str),
    /// `STARTID`, without anything between the two.
    Start(&'static str),
    /// `PARENT/ID`; `*` is a parent of any name.
    Below(&'static [&'static str]),
}

use Place::{Below, Prefix, Start};

/// What the ID of a container looks like.
enum Id {
    /// 64 hexadecimal digits.
    Hex,
    /// 25 digits to the base of 36.
    BuildKit,
    /// Whatever its user called it.
    Name,
}

/// The runtimes: a row for each way to name a cgroup, the first that fits wins.
const RUNTIMES: [(&str, Place, Id); 22] = [
    ("docker", Prefix("docker"), Id::Hex),
    ("docker", Below(&["docker"]), Id::Hex),
    ("docker", Below(&["moby"]), Id::Hex),
    ("docker", Below(&["ecs", "*"]), Id::Hex),
    ("buildkit", Prefix("docker"), Id::BuildKit),
    ("buildkit", Prefix("buildkit"), Id::BuildKit),
    ("buildkit", Below(&["buildkit"]), Id::Name),
    ("containerd", Prefix("cri-containerd"), Id::Hex),
    ("containerd", Prefix("nerdctl"), Id::Hex),
    ("containerd", Below(&["k8s.io"]), Id::Hex),
    ("containerd", Below(&["default"]), Id::Hex),
    ("cri-o", Prefix("crio"), Id::Hex),
    ("podman", Prefix("libpod"), Id::Hex),
    ("podman", Prefix("libpod-payload"), Id::Hex),
    ("runc", Prefix("runc"), Id::Name),
    ("crun", Prefix("crun"), Id::Name),
    ("lxc", Start("lxc.payload."), Id::Name),
    ("lxc", Below(&["lxc.payload"]), Id::Name),
    ("lxc", Below(&["lxc"]), Id::Name),
    ("garden", Below(&["garden", "good"]), Id::Name),
    ("garden", Below(&["garden", "bad"]), Id::Name),
    ("garden", Below(&["garden"]), Id::Name),
];

/// Cgroups at the top that are no namespaces of containerd, though something is
/// right below them.
const NO_NAMESPACES: [&str; 9] = [
    "docker",
    "ecs",
    "elogind",
    "garden",
    "kubepods",
    "libpod_parent",
    "lxc",
    "lxc.monitor",
    "lxc.payload",
];

/// The container that `/proc/PID/cgroup` names (`cgroups(7)`), of version 1, 2
/// or both: the innermost, in whichever hierarchy that is. Where there is none,
/// the systemd unit.
///
/// In the hierarchies of version 1 the kernel shows a process that has
/// terminated at the top, wherever it was; only that of version 2 still says
/// where. A unit in that one is then no answer: it may as well be the service
/// that made the container. So `has_terminated` is asked before a unit is given.
/// A container in version 2 is given all the same, and can be the one around its
/// own where the runtime inside used version 1 only.
#[must_use]
pub fn of_cgroups(cgroups: &[u8], has_terminated: impl FnOnce() -> bool) -> Option<Container> {
    find(cgroups, has_terminated).map(Found::into_container)
}

/// The container that the path of a single cgroup names, as [`cgroup_path`]
/// gives it; where there is none, the systemd unit. A path does not tell in
/// which hierarchies it is, and so not whether `/NAMESPACE/ID` is containerd's.
#[must_use]
pub fn of_path(path: &str) -> Option<Container> {
    let path = path.as_bytes();
    container(path)
        .or_else(|| containerd_at(path).filter(|_| is_default_namespace(path)))
        .or_else(|| unit(path))
        .map(Found::into_container)
}

/// The same for whoever looks for a container by its id: `/NAMESPACE/ID` counts,
/// as whoever names that id means it.
#[must_use]
pub fn sought_of_path(path: &str) -> Option<Container> {
    let path = path.as_bytes();
    container(path)
        .or_else(|| containerd_at(path))
        .or_else(|| unit(path))
        .map(Found::into_container)
}

/// The cgroup that `/proc/PID/cgroup` names, as text: where it is in several
/// hierarchies, that which tells the container or unit of a live process. Where
/// none does: that of version 2, or where that is the top, as it is on hosts
/// with version 1 in use, the one deepest in a hierarchy of version 1. Of a
/// removed cgroup, the path that it had. `None` where the file names no cgroup
/// at all.
#[must_use]
pub fn cgroup_path(cgroups: &[u8]) -> Option<String> {
    if let Some(found) = find(cgroups, || false) {
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

/// What `/proc/PID/cgroup` names.
fn find(cgroups: &[u8], has_terminated: impl FnOnce() -> bool) -> Option<Found<'_>> {
    innermost(cgroups, container)
        .or_else(|| containerd(cgroups))
        .or_else(|| innermost(cgroups, unit).filter(|_| !has_terminated()))
}

/// A line of `/proc/PID/cgroup`.
struct Hierarchy<'a> {
    /// Where the process is in it.
    path: &'a [u8],
    /// Whether it is that of version 2.
    is_unified: bool,
}

/// The lines, `ID:CONTROLLERS:PATH`; what makes no sense is passed over. A path
/// may hold any byte but a newline, which the kernel refuses.
fn hierarchies(cgroups: &[u8]) -> impl Iterator<Item = Hierarchy<'_>> {
    cgroups.split(|&byte| byte == b'\n').filter_map(|line| {
        let path = line.splitn(3, |&byte| byte == b':').nth(2)?;
        let is_unified = line.starts_with(b"0::");
        // The cgroup of a zombie may have been removed: the kernel says so in
        // version 2, where the process stays in it (`cgroup-v2.rst`, "Processes").
        let removed = path.strip_suffix(b" (deleted)").filter(|_| is_unified);
        Some(Hierarchy { path: removed.unwrap_or(path), is_unified })
    })
}

/// What a path names.
struct Found<'a> {
    runtime: &'static str,
    id: Cow<'a, [u8]>,
    /// The path, to the segment that has the ID.
    path: &'a [u8],
    /// How many segments that path has.
    depth: usize,
    /// The path of the cgroup that the process itself is in.
    cgroup: &'a [u8],
}

impl<'a> Found<'a> {
    fn new(runtime: &'static str, id: Cow<'a, [u8]>, path: &'a [u8], cgroup: &'a [u8]) -> Self {
        let depth = segments(path).count();
        Self { runtime, id, path, depth, cgroup }
    }

    fn into_container(self) -> Container {
        // A container may have a node of a cluster inside, with pods: the
        // nearest pod above is its own.
        let pod = segments(self.path).rev().find_map(pod);
        Container { runtime: self.runtime.to_owned(), id: text(&self.id), pod }
    }
}

/// What is named deepest in its hierarchy; of equals the first. With version 1
/// a runtime need not use all hierarchies, so that one of them may name a
/// container and another only the node or container around it.
fn innermost<'a>(cgroups: &'a [u8], name: fn(&'a [u8]) -> Option<Found<'a>>) -> Option<Found<'a>> {
    let mut last: &[u8] = b"/";
    let paths = hierarchies(cgroups).map(|hierarchy| hierarchy.path);
    // Most hierarchies say the same again.
    let paths = paths.filter(|&path| std::mem::replace(&mut last, path) != path);
    paths.filter_map(name).reduce(|best, next| if next.depth > best.depth { next } else { best })
}

/// The container that a path names.
fn container(cgroup: &[u8]) -> Option<Found<'_>> {
    ancestors(cgroup).find_map(|path| {
        let name = segments(path).next_back()?;
        let (runtime, id) = machine(name)
            .or_else(|| {
                RUNTIMES.iter().find_map(|(runtime, place, id)| {
                    Some((*runtime, place.id(path, name).filter(|found| id.fits(found))?.into()))
                })
            })
            .or_else(|| {
                // A container for sure, but nothing says of which runtime.
                Id::Hex.fits(name).then(|| {
                    let in_pod = segments(path).rev().nth(1).and_then(pod).is_some();
                    (if in_pod { "kubernetes" } else { "unknown" }, name.into())
                })
            })?;
        Some(Found::new(runtime, id, path, cgroup))
    })
}

impl Place {
    /// The ID that is in `name`, the last segment of `path`.
    fn id<'a>(&self, path: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Prefix(prefix) => {
                let prefix = prefix.as_bytes();
                let after = |name: &'a [u8]| name.strip_prefix(prefix)?.strip_prefix(b"-");
                if let Some(scope) = name.strip_suffix(b".scope") {
                    return after(scope);
                }
                let mut parts = name.splitn(3, |&byte| byte == b':').skip(1);
                match (parts.next(), parts.next()) {
                    (Some(middle), Some(id)) if middle == prefix => Some(id),
                    _ => after(name).filter(|id| Id::Hex.fits(id)),
                }
            }
            Self::Start(start) => name.strip_prefix(start.as_bytes()),
            Self::Below(parents) => {
                let mut above = segments(path).rev().skip(1);
                let fits = |parent: &&str| {
                    above.next().is_some_and(|name| *parent == "*" || name == parent.as_bytes())
                };
                parents.iter().rev().all(fits).then_some(name)
            }
        }
    }
}

impl Id {
    fn fits(&self, id: &[u8]) -> bool {
        match self {
            Self::Hex => id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit),
            Self::BuildKit => {
                id.len() == 25 && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'))
            }
            // Anyone may call a cgroup `lxc.payload.`, or `runc-.scope`.
            Self::Name => !id.is_empty(),
        }
    }
}

/// `/NAMESPACE/ID`, where containerd puts what was not given a path.
///
/// Nothing but its shape says so; therefore only at the top, and only where it
/// is in the hierarchy of version 2 or, as runc uses all of version 1, in more
/// than one of those. The namespace `default` is known by its name.
fn containerd(cgroups: &[u8]) -> Option<Found<'_>> {
    let mut seen_once = None;
    hierarchies(cgroups).find_map(|Hierarchy { path, is_unified }| {
        let found = containerd_at(path)?;
        let is_sure = is_unified || is_default_namespace(path) || seen_once == Some(path);
        if !is_sure {
            seen_once.get_or_insert(path);
        }
        is_sure.then_some(found)
    })
}

/// Whether a path is in the namespace that containerd's own client uses.
fn is_default_namespace(path: &[u8]) -> bool {
    path.starts_with(b"/default/")
}

/// What is a container if the path is that of `/NAMESPACE/ID`.
fn containerd_at(cgroup: &[u8]) -> Option<Found<'_>> {
    let mut names = segments(cgroup.strip_prefix(b"/")?);
    let (namespace, id) = (names.next()?, names.next()?);
    if !is_identifier(namespace) || !is_identifier(id) {
        return None;
    }
    if namespace != b"default" {
        let is_other = NO_NAMESPACES.iter().any(|other| other.as_bytes() == namespace);
        if is_other || names.next().is_some() {
            return None;
        }
    }
    // Without what is below the container.
    let path = cgroup.get(..namespace.len() + id.len() + 2)?;
    Some(Found::new("containerd", id.into(), path, cgroup))
}

/// Whether containerd takes this for a name, and systemd does not.
fn is_identifier(name: &[u8]) -> bool {
    let is_unit =
        [".slice", ".scope", ".service"].iter().any(|kind| name.ends_with(kind.as_bytes()));
    !is_unit
        && name.first().is_some_and(u8::is_ascii_alphanumeric)
        && name.iter().all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(byte))
}

/// The name in `machine-NAME.scope`, unless it is a virtual machine's: any
/// manager may register its machines with systemd-machined, and the driver of
/// libvirt begins the name.
fn machine(name: &[u8]) -> Option<(&'static str, Cow<'_, [u8]>)> {
    let instance = name.strip_prefix(b"systemd-nspawn@");
    if let Some(instance) = instance.and_then(|rest| rest.strip_suffix(b".service")) {
        return (!instance.is_empty()).then(|| ("systemd-nspawn", unescape(instance).into()));
    }
    let machine = unescape(name.strip_prefix(b"machine-")?.strip_suffix(b".scope")?);
    if let Some(libvirt) = machine.strip_prefix(b"lxc-") {
        // Without the number: of libvirt before 1.3, or a machine of nspawn's
        // that is called so.
        let end = libvirt.iter().position(|&byte| byte == b'-')?;
        let (number, name) = (&libvirt[..end], &libvirt[end + 1..]);
        let is_numbered = !number.is_empty() && number.iter().all(u8::is_ascii_digit);
        return (is_numbered && !name.is_empty()).then(|| ("lxc", name.to_vec().into()));
    }
    let is_foreign = [&b"qemu-"[..], b"libvirt-"].iter().any(|driver| machine.starts_with(driver));
    (!is_foreign && !machine.is_empty()).then(|| ("systemd-nspawn", machine.into()))
}

/// The UID in `podUID` or `kubepods-burstable-podUID.slice`, where systemd
/// has underscores for hyphens.
fn pod(segment: &[u8]) -> Option<String> {
    let slice = segment.split(|&byte| byte == b':').next()?;
    let uid = match slice.strip_suffix(b".slice") {
        Some(slice) => {
            let pod = slice.windows(4).rposition(|window| window == b"-pod")?;
            slice[pod + 4..].iter().map(|&byte| if byte == b'_' { b'-' } else { byte }).collect()
        }
        None => slice.strip_prefix(b"pod")?.to_vec(),
    };
    // A static pod has a hash in place of a UUID.
    let digits = uid.iter().filter(|byte| byte.is_ascii_hexdigit()).count();
    let is_uid = digits == 32 && uid.iter().all(|&byte| byte.is_ascii_hexdigit() || byte == b'-');
    String::from_utf8(uid).ok().filter(|_| is_uid)
}

/// The innermost service or scope: a unit may have a PID namespace of its own
/// (`PrivatePIDs=`, `systemd.exec(5)`). Its ID is its name as systemd writes it
/// and takes it: `a\x2db.scope` is another unit than `a-b.scope`.
fn unit(cgroup: &[u8]) -> Option<Found<'_>> {
    ancestors(cgroup).find_map(|path| {
        let name = segments(path).next_back()?;
        let stem = name.strip_suffix(b".service").or_else(|| name.strip_suffix(b".scope"))?;
        // Where systemd itself lives.
        let is_unit = !stem.is_empty() && name != b"init.scope";
        is_unit.then(|| Found::new("systemd", name.into(), path, cgroup))
    })
}

/// A path and those of the cgroups around it, innermost first.
fn ancestors(path: &[u8]) -> impl Iterator<Item = &[u8]> {
    std::iter::successors(Some(path), |path| {
        path.iter().rposition(|&byte| byte == b'/').map(|end| &path[..end])
    })
}

/// The names in a path, outermost first.
fn segments(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}

/// Names are text to people; what of them is not UTF-8 becomes U+FFFD.
fn text(name: &[u8]) -> String {
    String::from_utf8_lossy(name).into_owned()
}

/// What systemd escaped in the name of a machine, `a\x2db` for `a-b`
/// (`systemd.unit(5)`).
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

    /// `RUNTIME ID POD` of what was found, with the stand-ins ID and UID.
    fn say(found: Option<Container>) -> String {
        found.map_or("none".to_owned(), |found| {
            let pod = found.pod.map_or("-".to_owned(), |pod| pod.replace(UID, "UID"));
            format!("{} {} {pod}", found.runtime, found.id.replace(ID, "ID").replace(UID, "UID"))
        })
    }

    /// Puts in what ID, UID and UNIT_UID stand for.
    fn fill(path: &str) -> String {
        path.replace("UNIT_UID", UNIT_UID).replace("UID", UID).replace("ID", ID)
    }

    /// What a path of version 2 says of a live process.
    fn read(path: &str) -> String {
        let said = say(of_cgroups(format!("0::{}\n", fill(path)).as_bytes(), || false));
        let path = fill(path);
        let path = path.strip_suffix(" (deleted)").unwrap_or(&path);
        assert_eq!(say(sought_of_path(path)), said, "the path alone tells it: {path}");
        said
    }

    /// `/proc/PID/cgroup` of a host with both versions, whose hierarchies are at
    /// the top but for those given as `HIERARCHY=PATH`.
    fn hybrid(places: &[&str]) -> Vec<u8> {
        let hierarchies = ["pids", "memory", "name=systemd", "unified"];
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
            ("/ecs/UID/ID", "docker ID -"),
            ("/ecs/0123456789abcdef0123456789abcdef/ID", "docker ID -"),
            (
                "/ecstasks.slice/ecstasks-0123456789abcdef0123456789abcdef.slice/docker-ID.scope",
                "docker ID -",
            ),
            ("/default/ID", "containerd ID -"),
            ("/default/redis/init.scope", "containerd redis -"),
            ("/fargate.task/web", "containerd web -"),
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
            "/srv/podcast/web",
            "/lxc",
            "/kubepods/podUID",
            "/user.slice/user-0.slice",
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
    fn what_has_no_name_is_no_container() {
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
        ] {
            assert_eq!(read(path), "none", "{path}");
        }
        for unit in [
            "machine-.scope",
            "runc-.scope",
            "crun-.scope",
            "docker-.scope",
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
    fn the_deepest_of_all_hierarchies_tells() {
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
            assert_eq!(say(of_cgroups(&cgroups, || false)), expected, "{places:?}");
            let path = cgroup_path(&cgroups).unwrap();
            assert_eq!(say(sought_of_path(&path)), expected, "the cgroup alone tells it: {path}");
        }
    }

    #[test]
    fn a_namespace_of_containerd_is_not_seen_in_a_single_controller() {
        for (places, expected) in [
            (vec!["unified=/prod/web"], "containerd web -"),
            (vec!["pids=/prod/web", "memory=/prod/web"], "containerd web -"),
            (vec!["pids=/prod/web", "memory=/prod/db"], "none"),
            (vec!["memory=/process_api/9aac18513de46cc9"], "none"),
            (vec!["memory=/default/web"], "containerd web -"),
            (vec!["unified=/prod/web/worker"], "none"),
            (vec!["unified=/prod"], "none"),
            (vec!["unified=/../web"], "none"),
            (vec!["unified=/prod/-web"], "none"),
            (vec!["unified=/prod/a b"], "none"),
            (vec!["unified=/elogind/c1"], "none"),
            (vec!["unified=/user.slice/user-0.slice"], "none"),
        ] {
            assert_eq!(say(of_cgroups(&hybrid(&places), || false)), expected, "{places:?}");
        }
        // A path alone does not tell whether it is in one.
        for (path, expected, sought) in [
            ("/process_api/9aac18513de46cc9", "none", "containerd 9aac18513de46cc9 -"),
            ("/default/web", "containerd web -", "containerd web -"),
        ] {
            assert_eq!(say(of_path(path)), expected, "{path}");
            assert_eq!(say(sought_of_path(path)), sought, "{path}");
        }
    }

    #[test]
    fn a_terminated_init_is_in_no_unit_but_still_in_its_container() {
        let service = hybrid(&["unified=/system.slice/containerd.service"]);
        assert_eq!(say(of_cgroups(&service, || false)), "systemd containerd.service -");
        assert_eq!(of_cgroups(&service, || true), None);
        for place in ["unified=/system.slice/docker-ID.scope", "unified=/docker/ID/init.scope"] {
            assert_eq!(say(of_cgroups(&hybrid(&[place]), || true)), "docker ID -");
            let removed = format!("{place} (deleted)");
            assert_eq!(say(of_cgroups(&hybrid(&[&removed]), || true)), "docker ID -");
        }
        // Whether it has terminated is only asked where it matters.
        let never = || -> bool { panic!("asked") };
        assert_eq!(say(of_cgroups(&hybrid(&["pids=/docker/ID"]), never)), "docker ID -");
        assert_eq!(of_cgroups(&hybrid(&[]), never), None);
    }

    #[test]
    fn removed_is_said_of_version_2_alone() {
        assert_eq!(read("/system.slice/runc-web.scope (deleted)"), "runc web -");
        assert_eq!(read("/lxc/web (deleted)"), "lxc web -");
        assert_eq!(read("/default/web (deleted)"), "containerd web -");
        // A name of version 1 can end so.
        let named = hybrid(&["pids=/lxc/web (deleted)"]);
        assert_eq!(say(of_cgroups(&named, || false)), "lxc web (deleted) -");
    }

    #[test]
    fn names_are_taken_as_they_are_whatever_their_bytes() {
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
            assert_eq!(say(of_cgroups(cgroups, || false)), expected, "{shown}");
        }
    }

    #[test]
    fn the_cgroup_is_that_of_version_2_or_the_deepest_of_version_1() {
        for (cgroups, expected) in [
            (&b"0::/a/b\n"[..], Some("/a/b")),
            (b"0::/a/b (deleted)\n", Some("/a/b")),
            (b"3:pids:/a/b/c\n0::/a\n", Some("/a")),
            (b"3:pids:/a\n2:memory:/a/b\n1:cpu:/c/d\n0::/\n", Some("/a/b")),
            // Whatever tells the container or the unit goes before.
            (b"3:pids:/lxc/web/init.scope\n0::/a/b/c\n", Some("/lxc/web/init.scope")),
            (b"3:pids:/a/b/c\n1:name=systemd:/a/b.scope\n0::/a\n", Some("/a/b.scope")),
            (b"3:pids:/prod/web\n2:memory:/prod/web\n1:cpu:/x/y/z\n0::/\n", Some("/prod/web")),
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
    fn a_static_pod_has_a_hash_for_its_uid() {
        let hash = "d41d8cd98f00b204e9800998ecf8427e";
        let path = format!("0::/kubepods/burstable/pod{hash}/{ID}");
        assert_eq!(of_cgroups(path.as_bytes(), || false).unwrap().pod.as_deref(), Some(hash));
    }

    proptest! {
        #[test]
        fn any_path_is_survived(
            path in "(/|[a-z0-9]{1,3}|docker|lxc|machine-|\\.scope|\\.slice|\\.service|pod|:|\\\\x2d| \\(deleted\\)){0,20}",
            bytes in proptest::collection::vec(any::<u8>(), 0..200),
        ) {
            for bytes in [format!("0::{path}\n1:a:{path}").as_bytes(), &bytes, &[b"0::", &bytes[..]].concat()] {
                let found = of_cgroups(bytes, || false);
                prop_assert!(found.as_ref().is_none_or(|found| !found.id.is_empty()));
                let terminated = of_cgroups(bytes, || true);
                prop_assert!(terminated == found || found.as_ref().is_some_and(|it| it.runtime == "systemd"));
                let path = cgroup_path(bytes);
                prop_assert!(path.as_ref().is_none_or(|path| path.len() <= 3 * bytes.len()));
                // A single controller of version 1 is enough where its path alone is known.
                let alone = path.and_then(|path| sought_of_path(&path));
                prop_assert!(found == alone || found.is_none());
            }
        }
    }
}
