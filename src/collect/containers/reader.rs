//! Reads the names of one container from local files, as described in the table [`RUNTIMES`].

use std::collections::HashMap;
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;

use rustix::fs::CWD;

use super::files::{self, open_base, open_in_root};
use super::monitor::{Monitor, RuntimeOwner};
use super::parse::{self, Names};
use crate::collect::direct::lookup::process_file;
use crate::collect::kernel::user_name::user_name;
use crate::collect::kernel::wait_limit::{WaitLimit, read_at_most};
use crate::collect::proc::procfs::Procfs;
use crate::model::{Container, Pid, Snapshot, runtime};

/// Size limit for a configuration file, large enough for a container with many environment
/// variables.
const MAX_CONFIG: usize = 1 << 20;

/// Size limit for a file with the names of all containers.
const MAX_LIST: usize = 1 << 25;

/// Size limit for the command line of a runtime.
const MAX_COMMAND_LINE: usize = 1 << 17;

/// A container runtime that stores the names of its containers in files.
struct RuntimeFiles {
    /// Name of the runtime, as in `Container::runtime`.
    runtime: &'static str,
    /// Name of the process that is the parent of a container's first process.
    monitor: &'static str,
    /// Reads the names of a container.
    read: fn(&mut NameReader, &NamelessContainer) -> Option<Names>,
}

/// The runtimes that store the names of their containers in files, and the paths of these files:
///
/// - docker: `containers/ID/config.v2.json` in the daemon's data directory. `--data-root` or
///   `daemon.json` can set this directory, by default `/var/lib/docker`. See `configFileName` in
///   <https://github.com/moby/moby/blob/master/daemon/container/container.go>.
/// - containerd: `config.json` in the bundle, which is the working directory of the shim. All
///   containers of a pod have the same shim, and their bundles are in the same directory. See
///   `NewBundle` in <https://github.com/containerd/containerd/blob/main/core/runtime/v2/bundle.go>.
/// - cri-o: `config.json` in the bundle. The path of the bundle is an argument of conmon. See
///   <https://github.com/containers/conmon/blob/main/docs/conmon.8.md>.
/// - podman: `containers.json` in the storage directory. Containers that are removed when they end
///   are in `volatile-containers.json`. With `transient_store`, the latter file is in the run
///   directory. The arguments of conmon show both directories: the bundle is below the storage
///   directory, and the PID file is below the run directory. See `newContainerStore` in
///   <https://github.com/containers/storage/blob/main/containers.go>.
const RUNTIMES: [RuntimeFiles; 4] = [
    RuntimeFiles { runtime: "docker", monitor: runtime::SHIM, read: NameReader::docker },
    RuntimeFiles { runtime: "containerd", monitor: runtime::SHIM, read: NameReader::containerd },
    RuntimeFiles { runtime: "cri-o", monitor: runtime::CONMON, read: NameReader::cri_o },
    RuntimeFiles { runtime: "podman", monitor: runtime::CONMON, read: NameReader::podman },
];

/// The placeholders in `Container::runtime` for a runtime that the cgroup path does not name.
const UNNAMED: [&str; 2] = ["kubernetes", "unknown"];

/// Returns `true` if `runtime` is a placeholder for an unknown runtime.
pub fn is_unnamed(runtime: &str) -> bool {
    UNNAMED.contains(&runtime)
}

/// Returns `true` if this runtime may store the names of its containers in files.
pub fn has_names(runtime: &str) -> bool {
    is_unnamed(runtime) || RUNTIMES.iter().any(|files| files.runtime == runtime)
}

/// A container whose names have not been read yet.
pub struct NamelessContainer {
    pub container: Container,
    /// The monitor of the container, if there is one.
    pub monitor: Option<Monitor>,
}

impl NamelessContainer {
    /// Returns the container's ID if it is valid as a file name.
    fn file_name(&self) -> Option<&str> {
        let id = &self.container.id;
        (!id.contains('/') && ![".", ".."].contains(&&**id)).then_some(id)
    }

    /// Returns the owner of the container's runtime, by default root on the host.
    fn owner(&self) -> RuntimeOwner {
        self.monitor.map_or(RuntimeOwner::HOST, |monitor| monitor.owner)
    }

    fn monitor(&self, comm: &str) -> Option<Monitor> {
        self.monitor.filter(|monitor| monitor.comm == comm)
    }
}

/// Reads the names of containers from the files of their runtimes.
pub struct NameReader {
    procfs: Procfs,
    /// The host's root directory, if the procfs is mounted on its subdirectory `proc`.
    root: Option<OwnedFd>,
    /// The PID and owner of each Docker daemon.
    daemons: Vec<(Pid, RuntimeOwner)>,
    /// The directories in which the Docker daemons of each owner store containers.
    docker: HashMap<RuntimeOwner, Vec<OwnedFd>>,
    /// The parent directory of the last containerd bundle that was read, and the owner (UID and PID
    /// namespace) of the containerd daemon that created the bundle.
    bundles: Option<(OwnedFd, RuntimeOwner)>,
    /// For each podman user, a map from container ID to container name.
    podman: HashMap<RuntimeOwner, HashMap<String, String>>,
}

impl NameReader {
    /// Creates a reader for the containers of a snapshot that was taken from `procfs`.
    pub fn new(procfs: Procfs, snapshot: &Snapshot) -> Self {
        let daemons = snapshot.processes.iter().filter(|process| process.comm == runtime::DOCKERD);
        let root = procfs.path.parent().filter(|_| procfs.path.ends_with("proc"));
        Self {
            root: root.and_then(|root| open_base(CWD, root).ok()),
            procfs,
            daemons: daemons.map(|process| (process.pid, RuntimeOwner::of(process))).collect(),
            docker: HashMap::new(),
            bundles: None,
            podman: HashMap::new(),
        }
    }

    /// Reads the names of a container, and returns them with the name of the runtime.
    pub fn read(&mut self, wanted: &NamelessContainer) -> Option<(&'static str, Names)> {
        let runtime = wanted.container.runtime.as_str();
        RUNTIMES.iter().find_map(|files| {
            let is_meant = if is_unnamed(runtime) {
                wanted.monitor(files.monitor).is_some()
            } else {
                files.runtime == runtime
            };
            let names = is_meant.then(|| (files.read)(self, wanted)).flatten()?;
            Some((files.runtime, names))
        })
    }

    /// Reads the UID, name and namespace of each pod for which the kubelet keeps logs.
    pub fn read_pods(&self, mut visit: impl FnMut(String, String, String)) {
        let Some(logs) = self.in_host("/var/log/pods") else { return };
        files::list(logs.as_fd(), |name| {
            if let Some((uid, name, namespace)) = parse::pod_log_directory(name.to_bytes()) {
                visit(uid, name, namespace);
            }
        });
    }

    fn docker(&mut self, wanted: &NamelessContainer) -> Option<Names> {
        let owner = wanted.owner();
        if !self.docker.contains_key(&owner) {
            self.docker.insert(owner, self.docker_directories(owner));
        }
        let file = format!("{}/config.v2.json", wanted.file_name()?);
        let name = self.docker.get(&owner)?.iter().find_map(|directory| {
            parse::docker_name(&files::read(directory.as_fd(), &file, owner.uid, MAX_CONFIG)?)
        })?;
        Some(Names { container: Some(name), ..Names::default() })
    }

    /// Opens the directories in which the Docker daemons of this owner store containers.
    fn docker_directories(&self, owner: RuntimeOwner) -> Vec<OwnedFd> {
        let daemons = self.daemons.iter().filter(|(_, it)| *it == owner);
        let mut directories: Vec<_> =
            daemons.filter_map(|(pid, owner)| self.docker_directory(*pid, owner.uid)).collect();
        // Containers can outlive their Docker daemon (`live-restore`), so even without a daemon,
        // open the directory that Docker uses by default on the host.
        if owner == RuntimeOwner::HOST {
            directories.extend(self.in_host("/var/lib/docker/containers"));
        }
        directories
    }

    /// Opens the directory in which a Docker daemon stores its containers.
    fn docker_directory(&self, pid: Pid, uid: u32) -> Option<OwnedFd> {
        let root = self.root_of(pid)?;
        let command_line = self.command_line(pid);
        let option = |names: &[&str]| parse::option(&command_line, names).map(str::to_owned);
        let is_root = uid == 0;
        let in_home = |path: &str| format!("/home/{}/{path}", user_name(uid).unwrap_or_default());
        let configured = || {
            let file = option(&["--config-file"]).unwrap_or_else(|| {
                if is_root {
                    "/etc/docker/daemon.json".to_owned()
                } else {
                    in_home(".config/docker/daemon.json")
                }
            });
            let (directory, name) = file.rsplit_once('/')?;
            let directory = open_in_root(root.as_fd(), directory).ok()?;
            parse::data_root(&files::read(directory.as_fd(), name, uid, MAX_CONFIG)?)
        };
        let data = option(&["--data-root", "--graph", "-g"]).or_else(configured);
        let data = data.unwrap_or_else(|| {
            if is_root { "/var/lib/docker".to_owned() } else { in_home(".local/share/docker") }
        });
        open_in_root(root.as_fd(), &format!("{data}/containers")).ok()
    }

    fn containerd(&mut self, wanted: &NamelessContainer) -> Option<Names> {
        const BUNDLES: &str = "/run/containerd/io.containerd.runtime.v2.task";
        let file = format!("{}/config.json", wanted.file_name()?);
        let owner = wanted.owner();
        let read = |bundles: &OwnedFd| {
            let config = files::read(bundles.as_fd(), &file, owner.uid, MAX_CONFIG)?;
            Some(parse::annotated_names(&config))
        };
        let Some(shim) = wanted.monitor(runtime::SHIM) else {
            let bundles = |namespace| self.in_host(&format!("{BUNDLES}/{namespace}"));
            return ["k8s.io", "default"].into_iter().find_map(|it| read(&bundles(it)?));
        };
        // Only IDs of 64 digits are unique across all of containerd's namespaces.
        let is_unique = wanted.container.id.len() == 64;
        // The next bundle is often in the same directory as the last bundle.
        let last = self.bundles.as_ref().filter(|(_, last)| is_unique && *last == owner);
        if let Some(names) = last.and_then(|(bundles, _)| read(bundles)) {
            return Some(names);
        }
        let bundles = open_base(self.procfs.fd(), process_file(shim.pid, "cwd/..").ok()?).ok()?;
        let names = read(&bundles)?;
        self.bundles = Some((bundles, owner));
        Some(names)
    }

    fn cri_o(&mut self, wanted: &NamelessContainer) -> Option<Names> {
        let bundle = if let Some(Monitor { pid, .. }) = wanted.monitor(runtime::CONMON) {
            let command_line = self.command_line(pid);
            let bundle = parse::option(&command_line, &["-b", "--bundle"])?;
            open_in_root(self.root_of(pid)?.as_fd(), bundle).ok()?
        } else {
            let storage = "/run/containers/storage/overlay-containers";
            self.in_host(&format!("{storage}/{}/userdata", wanted.file_name()?))?
        };
        let uid = wanted.owner().uid;
        let config = files::read(bundle.as_fd(), "config.json", uid, MAX_CONFIG)?;
        // The bundle of a podman container has no annotations with names.
        Some(parse::annotated_names(&config)).filter(|names| *names != Names::default())
    }

    fn podman(&mut self, wanted: &NamelessContainer) -> Option<Names> {
        let (id, owner) = (&wanted.container.id, wanted.owner());
        let is_known = self.podman.get(&owner).is_some_and(|names| names.contains_key(id));
        if !is_known {
            let storage = match wanted.monitor(runtime::CONMON) {
                Some(conmon) => self.podman_storage(conmon.pid),
                None => self
                    .in_host("/var/lib/containers/storage/overlay-containers")
                    .into_iter()
                    .collect(),
            };
            let files = ["containers.json", "volatile-containers.json"];
            let names = self.podman.entry(owner).or_default();
            for directory in storage {
                let read = |file| files::read(directory.as_fd(), file, owner.uid, MAX_LIST);
                names.extend(
                    files.into_iter().filter_map(read).flat_map(|it| parse::podman_names(&it)),
                );
            }
        }
        let name = self.podman.get(&owner)?.get(id)?.clone();
        Some(Names { container: Some(name), ..Names::default() })
    }

    /// Opens the storage directories of the container that this conmon has started.
    fn podman_storage(&self, conmon: Pid) -> Vec<OwnedFd> {
        let command_line = self.command_line(conmon);
        let Some(root) = self.root_of(conmon) else { return Vec::new() };
        let open = |(option, levels): (&str, usize)| {
            let path = Path::new(parse::option(&command_line, &[option])?);
            open_in_root(root.as_fd(), path.ancestors().nth(levels)?.to_str()?).ok()
        };
        [("-b", 2), ("-p", 3)].into_iter().filter_map(open).collect()
    }

    fn command_line(&self, pid: Pid) -> Vec<u8> {
        let (mut bytes, waits) = (Vec::new(), WaitLimit::of_memory());
        // If the command line cannot be read, assume the defaults of the runtime.
        let _ = process_file(pid, "cmdline").and_then(|file| {
            read_at_most(self.procfs.fd(), &file, MAX_COMMAND_LINE, &mut bytes, &waits)
        });
        bytes
    }

    /// Opens the root directory of a process.
    fn root_of(&self, pid: Pid) -> Option<OwnedFd> {
        open_base(self.procfs.fd(), process_file(pid, "root").ok()?).ok()
    }

    /// Opens a directory below the host's root directory.
    fn in_host(&self, path: &str) -> Option<OwnedFd> {
        open_in_root(self.root.as_ref()?.as_fd(), path).ok()
    }
}
