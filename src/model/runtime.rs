//! Container runtimes: the formats of their cgroup paths, and the processes that monitor
//! containers.
//!
//! Sources of the path formats, looked up in November 2026 unless noted otherwise:
//! - docker, with the cgroupfs and the systemd driver: `withCgroups` in
//!   <https://github.com/moby/moby/blob/master/daemon/oci_linux.go>. Amazon ECS places docker's
//!   containers below the cgroup of their task, `/ecs/TASK/ID` or `ecstasks-TASK.slice`:
//!   `BuildCgroupRoot` in
//!   <https://github.com/aws/amazon-ecs-agent/blob/master/agent/api/task/task_linux.go>.
//! - buildkit: `PARENT/buildkit/ID`. Under systemd, the path has docker's prefix:
//!   `system.slice:docker:ID`. Both formats: `GenerateSpec` in
//!   <https://github.com/moby/buildkit/blob/master/executor/oci/spec.go>. A BuildKit ID has 25
//!   base-36 digits: <https://github.com/moby/buildkit/blob/master/identity/randomid.go>.
//! - containerd: `cri-containerd-ID.scope`, `getCgroupsPath` in
//!   <https://github.com/containerd/containerd/blob/main/internal/cri/server/podsandbox/helpers_linux.go>;
//!   `/NAMESPACE/ID` for clients that set no path, `populateDefaultUnixSpec` in
//!   <https://github.com/containerd/containerd/blob/main/pkg/oci/spec.go>; valid namespaces and
//!   IDs: <https://github.com/containerd/containerd/blob/main/pkg/identifiers/validate.go>. Mesos,
//!   Nomad, Apptainer, Firecracker's jailer and many others use such paths too, so a path of this
//!   format is accepted only if the namespace is `default`, or if the process is a child of
//!   containerd's shim. Kata Containers put `kata_` in front of the ID: `vcTypes.CgroupPaths` in
//!   <https://github.com/kata-containers/kata-containers/blob/main/src/runtime/pkg/resourcecontrol/cgroups.go>
//!   (from memory). nerdctl uses its own prefix: `generateCgroupPath` in
//!   <https://github.com/containerd/nerdctl/blob/main/pkg/cmd/container/run_cgroup_linux.go>.
//! - cri-o: `crio-ID.scope` and `crio-ID`. `crio-conmon-ID.scope` contains the monitor process, not
//!   the container: <https://github.com/cri-o/cri-o/tree/main/internal/config/cgmgr>.
//! - podman: `libpod-ID.scope`, `libpod_parent/libpod-ID`, and with
//!   `--cgroups=split`, which Quadlet uses, `UNIT/libpod-payload-ID`:
//!   `getOCICgroupPath` in
//!   <https://github.com/containers/podman/blob/main/libpod/container_internal_linux.go>.
//! - runc under systemd, if the caller sets no path: `runc-NAME.scope`. All programs that use
//!   runc's library create `PREFIX-NAME.scope`: `getUnitName` in
//!   <https://github.com/opencontainers/cgroups/blob/main/systemd/common.go>.
//! - crun: `crun-NAME.scope`, `get_systemd_scope_and_slice` in
//!   <https://github.com/containers/crun/blob/main/src/libcrun/cgroup-systemd.c>.
//! - lxc, LXD, Incus: `lxc.payload.NAME`:
//!   <https://github.com/lxc/lxc/blob/main/src/lxc/cgroups/cgroup.h>. LXC before 4.0 used
//!   `lxc/NAME` (from memory). Libvirt's LXC driver creates `machine-lxc\x2dNUMBER\x2dNAME.scope`,
//!   with NAME escaped, or without systemd, `PARTITION/NAME.libvirt-lxc`:
//!   `virDomainDriverGenerateMachineName` in
//!   <https://github.com/libvirt/libvirt/blob/master/src/hypervisor/domain_driver.c>,
//!   `virSystemdMakeScopeName` in
//!   <https://github.com/libvirt/libvirt/blob/master/src/util/virsystemd.c>.
//! - systemd-nspawn: `machine-NAME.scope` or `systemd-nspawn@NAME.service`, `systemd-nspawn(1)`
//!   (`--machine`, `--keep-unit`; from memory).
//! - Cloud Foundry's garden: `garden/HANDLE`; newer versions use `garden/good/HANDLE` and
//!   `garden/bad/HANDLE`:
//!   <https://github.com/cloudfoundry/guardian/tree/main/rundmc/cgroups>.
//! - iSulad and others that use systemd: `PREFIX-ID.scope`, with an ID of 64 digits (from memory).

/// The format of a container's cgroup path.
pub(super) enum PathFormat {
    /// `PREFIX-ID.scope`, `SLICE:PREFIX:ID`, or `PREFIX-ID` with 64 hexadecimal digits.
    Prefix(&'static str),
    /// A fixed prefix, directly followed by the ID, as in `lxc.payload.ID`.
    Start(&'static str),
    /// The ID, directly followed by a fixed suffix, as in `ID.libvirt-lxc`.
    End(&'static str),
    /// `PARENT/ID` or `PARENT/PARENT/ID`, at the end of the cgroup path. The value lists the names
    /// of the parents, and `*` matches any name.
    Below(&'static [&'static str]),
}

use PathFormat::{Below, End, Prefix, Start};

/// The format of a container ID.
pub(super) enum IdFormat {
    /// 64 hexadecimal digits.
    Hex,
    /// 25 base-36 digits (BuildKit).
    BuildKit,
    /// Any non-empty text, such as a name that a user chose.
    Name,
}

/// Formats of the runtimes' cgroup paths and IDs, in order of precedence.
pub(super) const RUNTIMES: [(&str, PathFormat, IdFormat); 23] = [
    ("docker", Prefix("docker"), IdFormat::Hex),
    ("docker", Below(&["docker"]), IdFormat::Hex),
    ("docker", Below(&["moby"]), IdFormat::Hex),
    ("docker", Below(&["ecs", "*"]), IdFormat::Hex),
    ("buildkit", Prefix("docker"), IdFormat::BuildKit),
    ("buildkit", Prefix("buildkit"), IdFormat::BuildKit),
    ("buildkit", Below(&["buildkit"]), IdFormat::Name),
    ("containerd", Prefix("cri-containerd"), IdFormat::Hex),
    ("containerd", Prefix("nerdctl"), IdFormat::Hex),
    ("containerd", Below(&["k8s.io"]), IdFormat::Hex),
    ("containerd", Below(&["default"]), IdFormat::Hex),
    ("cri-o", Prefix("crio"), IdFormat::Hex),
    ("podman", Prefix("libpod"), IdFormat::Hex),
    ("podman", Prefix("libpod-payload"), IdFormat::Hex),
    ("runc", Prefix("runc"), IdFormat::Name),
    ("crun", Prefix("crun"), IdFormat::Name),
    ("lxc", Start("lxc.payload."), IdFormat::Name),
    ("lxc", Below(&["lxc.payload"]), IdFormat::Name),
    ("lxc", Below(&["lxc"]), IdFormat::Name),
    ("lxc", End(".libvirt-lxc"), IdFormat::Name),
    ("garden", Below(&["garden", "good"]), IdFormat::Name),
    ("garden", Below(&["garden", "bad"]), IdFormat::Name),
    ("garden", Below(&["garden"]), IdFormat::Name),
];

/// Name of containerd's shim, the parent of each process started in a container.
pub const SHIM: &str = "containerd-shim";

/// Name of conmon, the parent of each process that podman or CRI-O starts in a container.
pub const CONMON: &str = "conmon";

/// Names of the processes that start containers and monitor them.
pub const MONITORS: [&str; 2] = [SHIM, CONMON];

/// Name of the Docker daemon.
pub const DOCKERD: &str = "dockerd";

/// Names of the commands that start a process in a container, or connect to one (`docker attach`).
pub const CLIENTS: [&str; 10] = [
    "docker",
    "docker-compose",
    "podman",
    "podman-remote",
    "podman-compose",
    "nerdctl",
    "ctr",
    "crictl",
    "kubectl",
    "oc",
];

impl PathFormat {
    /// Extracts the ID from `name`, the last segment of `path`.
    pub(super) fn id<'a>(&self, path: &[u8], name: &'a [u8]) -> Option<&'a [u8]> {
        match self {
            Self::Prefix(prefix) => {
                let prefix = prefix.as_bytes();
                let after = |name: &'a [u8]| name.strip_prefix(prefix)?.strip_prefix(b"-");
                if let Some(scope) = name.strip_suffix(b".scope") {
                    return after(scope);
                }
                // A runtime that does not use systemd can receive a path in systemd's syntax. It
                // then creates a cgroup with the literal name `SLICE:PREFIX:ID`.
                let mut parts = name.splitn(3, |&byte| byte == b':').skip(1);
                match (parts.next(), parts.next()) {
                    (Some(middle), Some(id)) if middle == prefix => Some(id),
                    _ => after(name).filter(|id| IdFormat::Hex.fits(id)),
                }
            }
            Self::Start(start) => name.strip_prefix(start.as_bytes()),
            Self::End(end) => name.strip_suffix(end.as_bytes()),
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

impl IdFormat {
    pub(super) fn fits(&self, id: &[u8]) -> bool {
        match self {
            Self::Hex => id.len() == 64 && id.iter().all(u8::is_ascii_hexdigit),
            Self::BuildKit => {
                id.len() == 25 && id.iter().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'z'))
            }
            // Reject an empty ID, as in the cgroup names `lxc.payload.` and `runc-.scope`.
            Self::Name => !id.is_empty(),
        }
    }
}

/// Iterates over the segments of a cgroup path, outermost first.
pub(super) fn segments(path: &[u8]) -> impl DoubleEndedIterator<Item = &[u8]> {
    path.split(|&byte| byte == b'/')
}
