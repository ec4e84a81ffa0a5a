//! Reads the names of containers and pods from local files of the container runtimes, never from a
//! socket or an API. The files are described in the table [`RUNTIMES`].
//!
//! The files are read in a thread of its own, and names that take too long are left out: a file can
//! be on a network or FUSE file system that does not answer.

use std::collections::{HashMap, HashSet};
use std::os::fd::{AsFd as _, OwnedFd};
use std::path::Path;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fs::CWD;

use super::files::{self, open_base, open_in_root};
use super::monitor::{CONMON, Monitor, find};
use super::parse::{self, Names};
use crate::collect::direct::lookup::process_file;
use crate::collect::kernel::sys::read_at_most;
use crate::collect::kernel::user_name::user_name;
use crate::collect::proc::ProcSource;
use crate::collect::proc::procfs::Procfs;
use crate::model::{Container, Pid, Pod, Process, Snapshot, cgroup};

/// Time limit for reading all names.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Size limit for the file of one container. Environment variables are the longest part of it.
const MAX_CONFIG: usize = 1 << 20;

/// Size limit for a file with the names of all containers.
const MAX_LIST: usize = 1 << 25;

/// Size limit for the command line of a runtime.
const MAX_COMMAND_LINE: usize = 1 << 17;

/// A container runtime that keeps names in files.
struct RuntimeFiles {
    /// Name of the runtime in [`Container`].
    runtime: &'static str,
    /// Name of the process that is the parent of a container's first process.
    monitor: &'static str,
    /// Reads the names of a container.
    read: fn(&mut NameReader, &NamelessContainer) -> Option<Names>,
}

/// The runtimes that keep names in files:
///
/// - docker: `containers/ID/config.v2.json` in the data directory of the daemon (`--data-root` or
///   `daemon.json`, by default `/var/lib/docker`): `containerRoot` and `configFileName` in
///   <https://github.com/moby/moby/blob/master/daemon/container/container.go>
/// - containerd: `config.json` in the bundle, which is the working directory of the shim. One shim
///   serves all containers of a pod, whose bundles are next to each other: `NewBundle` in
///   <https://github.com/containerd/containerd/blob/main/core/runtime/v2/bundle.go>
/// - cri-o: `config.json` in the bundle, which is an argument of conmon:
///   <https://github.com/containers/conmon/blob/main/docs/conmon.8.md>
/// - podman: `containers.json` in the storage directory, or `volatile-containers.json` for
///   containers that are removed when they end. The bundle, an argument of conmon, is in the same
///   directory: `newContainerStore` in
///   <https://github.com/containers/storage/blob/main/containers.go>
const RUNTIMES: [RuntimeFiles; 4] = [
    RuntimeFiles { runtime: "docker", monitor: cgroup::SHIM, read: NameReader::docker },
    RuntimeFiles { runtime: "containerd", monitor: cgroup::SHIM, read: NameReader::containerd },
    RuntimeFiles { runtime: "cri-o", monitor: CONMON, read: NameReader::cri_o },
    RuntimeFiles { runtime: "podman", monitor: CONMON, read: NameReader::podman },
];

/// Runtimes of [`Container`] for containers whose cgroup does not name the runtime. The parent of
/// the container can name it.
const UNNAMED: [&str; 2] = ["kubernetes", "unknown"];

/// Fills in the names of the containers and pods of a snapshot.
pub fn read(source: &ProcSource, snapshot: &mut Snapshot) {
    // `true` while an earlier thread is reading, because a file system does not answer.
    static IS_READING: AtomicBool = AtomicBool::new(false);
    let wanted = nameless_containers(snapshot);
    if wanted.is_empty() || IS_READING.swap(true, Ordering::Relaxed) {
        return;
    }
    let keys: Vec<_> = wanted.iter().map(|it| it.container.clone()).collect();
    let (sender, receiver) = channel();
    let reader = source.procfs().map(|procfs| NameReader::new(procfs, snapshot));
    let thread = thread::Builder::new().spawn(move || {
        if let Ok(mut reader) = reader {
            reader.read_all(&wanted, &sender);
        }
        IS_READING.store(false, Ordering::Relaxed);
    });
    if thread.is_err() {
        IS_READING.store(false, Ordering::Relaxed);
        return;
    }
    let deadline = Instant::now() + TIMEOUT;
    let mut found = FoundNames::default();
    while let Ok(read) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        found.add(&keys, read);
    }
    let namespaces = snapshot.namespaces.iter_mut().filter_map(|it| it.container.as_mut());
    let details = snapshot.processes.iter_mut().filter_map(|it| it.details.as_deref_mut());
    for container in namespaces.chain(details.filter_map(|it| it.container.as_mut())) {
        found.fill_in(container);
    }
}

/// A container whose names are to be read.
struct NamelessContainer {
    container: Container,
    monitor: Option<Monitor>,
}

/// Returns the containers that can have a name besides their ID, each only once.
fn nameless_containers(snapshot: &Snapshot) -> Vec<NamelessContainer> {
    let processes = &snapshot.processes;
    let monitor = |process: &Process| find(processes, process.ppid).and_then(Monitor::of);
    let inits = snapshot.namespaces.iter().filter_map(|namespace| {
        let init = find(processes, namespace.init);
        Some((namespace.container.as_ref()?, init.and_then(monitor)))
    });
    let others = processes.iter().filter_map(|it| Some((it.other_container()?, monitor(it))));
    let mut wanted: Vec<NamelessContainer> = Vec::new();
    let mut indices: HashMap<(&str, &str), usize> = HashMap::new();
    for (container, monitor) in inits.chain(others) {
        let has_file = |it: &RuntimeFiles| it.runtime == container.runtime;
        if !UNNAMED.contains(&&*container.runtime) && !RUNTIMES.iter().any(has_file) {
            continue;
        }
        let index = *indices.entry((&container.runtime, &container.id)).or_insert(wanted.len());
        match wanted.get_mut(index) {
            Some(known) => known.monitor = known.monitor.take().or(monitor),
            None => wanted.push(NamelessContainer { container: container.clone(), monitor }),
        }
    }
    wanted
}

/// The names of one container, with its index in the list of nameless containers.
enum ReadName {
    Container(usize, &'static str, Names),
    /// UID, name and namespace of a pod.
    Pod(String, String, String),
}

/// The names that were found so far.
#[derive(Default)]
struct FoundNames {
    /// By the runtime and ID of the container: the runtime that has the files, and the names.
    containers: HashMap<(String, String), (&'static str, Names)>,
    /// By the UID of the pod: name and namespace.
    pods: HashMap<String, (Option<String>, Option<String>)>,
}

impl FoundNames {
    fn add(&mut self, keys: &[Container], read: ReadName) {
        match read {
            ReadName::Container(index, runtime, names) => {
                let Some(Container { runtime: key, id, pod, .. }) = keys.get(index) else { return };
                let uid = pod.as_ref().map(|pod| &pod.uid).or(names.pod_uid.as_ref());
                if let (Some(uid), Some(_)) = (uid, &names.pod_name) {
                    let (name, namespace) = (names.pod_name.clone(), names.pod_namespace.clone());
                    self.pods.insert(uid.clone(), (name, namespace));
                }
                self.containers.insert((key.clone(), id.clone()), (runtime, names));
            }
            ReadName::Pod(uid, name, namespace) => {
                self.pods.insert(uid, (Some(name), Some(namespace)));
            }
        }
    }

    fn fill_in(&self, container: &mut Container) {
        let key = (container.runtime.clone(), container.id.clone());
        if let Some((runtime, names)) = self.containers.get(&key) {
            if UNNAMED.contains(&&*container.runtime) {
                (*runtime).clone_into(&mut container.runtime);
            }
            container.name.clone_from(&names.container);
            if container.pod.is_none() {
                container.pod = names.pod_uid.clone().map(Pod::new);
            }
        }
        if let Some(pod) = &mut container.pod
            && let Some((name, namespace)) = self.pods.get(&pod.uid)
        {
            (pod.name, pod.namespace) = (name.clone(), namespace.clone());
        }
    }
}

/// Reads names through a procfs.
struct NameReader {
    procfs: Procfs,
    /// The root directory of the host that the procfs shows, if it is visible.
    root: Option<OwnedFd>,
    /// PID and UID of Docker's daemons.
    daemons: Vec<(Pid, u32)>,
    /// Docker's directories of containers, and the users whose files they contain. `None` until
    /// they are needed.
    docker: Option<Vec<(OwnedFd, u32)>>,
    /// The names of podman's containers, by ID.
    podman: HashMap<String, String>,
    /// The directories in which `podman` was read.
    podman_directories: HashSet<(u32, String)>,
}

impl NameReader {
    fn new(procfs: Procfs, snapshot: &Snapshot) -> Self {
        let daemons = snapshot.processes.iter().filter(|process| process.comm == "dockerd");
        Self {
            procfs,
            root: None,
            daemons: daemons.map(|process| (process.pid, process.uid)).collect(),
            docker: None,
            podman: HashMap::new(),
            podman_directories: HashSet::new(),
        }
    }

    /// Reads the names of all containers, and sends each one as soon as it is known.
    fn read_all(&mut self, wanted: &[NamelessContainer], sender: &Sender<ReadName>) {
        let root = self.procfs.path.parent().filter(|_| self.procfs.path.ends_with("proc"));
        self.root = root.and_then(|root| open_base(CWD, root).ok());
        let mut nameless_pods: HashSet<&str> = HashSet::new();
        for (index, wanted) in wanted.iter().enumerate() {
            let found = self.read_one(wanted);
            let pod = wanted.container.pod.as_ref();
            if found.as_ref().is_none_or(|(_, names)| names.pod_name.is_none()) {
                nameless_pods.extend(pod.map(|pod| pod.uid.as_str()));
            }
            let Some((runtime, names)) = found else { continue };
            // The receiver is gone after the time limit.
            if sender.send(ReadName::Container(index, runtime, names)).is_err() {
                return;
            }
        }
        if nameless_pods.is_empty() {
            return;
        }
        let Some(logs) = self.in_host("/var/log/pods") else { return };
        files::list(logs.as_fd(), |name| {
            let pod = parse::pod_log_directory(name.to_bytes());
            if let Some((uid, name, namespace)) =
                pod.filter(|(uid, ..)| nameless_pods.contains(&**uid))
            {
                // After the time limit, the receiver is gone, and nobody needs the name.
                let _ = sender.send(ReadName::Pod(uid, name, namespace));
            }
        });
    }

    fn read_one(&mut self, wanted: &NamelessContainer) -> Option<(&'static str, Names)> {
        let monitor = wanted.monitor.as_ref().map(|monitor| monitor.comm);
        RUNTIMES.iter().find_map(|files| {
            let is_unnamed = UNNAMED.contains(&&*wanted.container.runtime);
            let is_meant = if is_unnamed {
                monitor == Some(files.monitor)
            } else {
                files.runtime == wanted.container.runtime
            };
            let names = is_meant.then(|| (files.read)(self, wanted)).flatten()?;
            Some((files.runtime, names))
        })
    }

    fn docker(&mut self, wanted: &NamelessContainer) -> Option<Names> {
        if self.docker.is_none() {
            self.docker = Some(self.docker_directories());
        }
        let name = self.docker.iter().flatten().find_map(|(directory, uid)| {
            let file = format!("{}/config.v2.json", file_name(&wanted.container.id)?);
            parse::docker_name(&files::read(directory.as_fd(), &file, *uid, MAX_CONFIG)?)
        })?;
        Some(Names { container: Some(name), ..Names::default() })
    }

    /// Opens the directory of containers of each daemon. If no daemon is running, containers can
    /// still run (`live-restore`).
    fn docker_directories(&self) -> Vec<(OwnedFd, u32)> {
        let of_daemon = |&(pid, uid): &(Pid, u32)| {
            let root = open_base(self.procfs.fd(), process_file(pid, "root").ok()?).ok()?;
            let command_line = self.command_line(pid);
            let option = |names: &[&str]| parse::option(&command_line, names).map(str::to_owned);
            let home = || format!("/home/{}", user_name(uid).unwrap_or_default());
            let file = option(&["--config-file"]).unwrap_or_else(|| match uid {
                0 => "/etc/docker/daemon.json".to_owned(),
                _ => format!("{}/.config/docker/daemon.json", home()),
            });
            let configured = || {
                let (directory, name) = file.rsplit_once('/')?;
                let directory = open_in_root(root.as_fd(), directory).ok()?;
                parse::data_root(&files::read(directory.as_fd(), name, uid, MAX_CONFIG)?)
            };
            let default = || match uid {
                0 => "/var/lib/docker".to_owned(),
                _ => format!("{}/.local/share/docker", home()),
            };
            let data = option(&["--data-root", "--graph", "-g"]).or_else(configured);
            let path = format!("{}/containers", data.unwrap_or_else(default));
            Some((open_in_root(root.as_fd(), &path).ok()?, uid))
        };
        let mut directories: Vec<_> = self.daemons.iter().filter_map(of_daemon).collect();
        directories.extend(self.in_host("/var/lib/docker/containers").map(|it| (it, 0)));
        directories
    }

    fn containerd(&mut self, wanted: &NamelessContainer) -> Option<Names> {
        const BUNDLES: &str = "/run/containerd/io.containerd.runtime.v2.task";
        let id = file_name(&wanted.container.id)?;
        let read = |bundles: OwnedFd, uid| {
            let file = format!("{id}/config.json");
            let config = files::read(bundles.as_fd(), &file, uid, MAX_CONFIG)?;
            Some(parse::annotated_names(&config))
        };
        match wanted.monitor.as_ref().filter(|monitor| monitor.comm == cgroup::SHIM) {
            Some(&Monitor { pid, uid, .. }) => {
                let bundles = process_file(pid, "cwd/..").ok()?;
                read(open_base(self.procfs.fd(), bundles).ok()?, uid)
            }
            None => ["k8s.io", "default"]
                .into_iter()
                .find_map(|namespace| read(self.in_host(&format!("{BUNDLES}/{namespace}"))?, 0)),
        }
    }

    fn cri_o(&mut self, wanted: &NamelessContainer) -> Option<Names> {
        let read = |bundle: OwnedFd, uid| {
            let config = files::read(bundle.as_fd(), "config.json", uid, MAX_CONFIG)?;
            // podman's bundles have no names.
            let names = parse::annotated_names(&config);
            (names != Names::default()).then_some(names)
        };
        match wanted.monitor.as_ref().filter(|monitor| monitor.comm == CONMON) {
            Some(&Monitor { pid, uid, .. }) => {
                let command_line = self.command_line(pid);
                let bundle = parse::option(&command_line, &["-b", "--bundle"])?;
                let root = open_base(self.procfs.fd(), process_file(pid, "root").ok()?).ok()?;
                read(open_in_root(root.as_fd(), bundle).ok()?, uid)
            }
            None => {
                let id = file_name(&wanted.container.id)?;
                let bundle = format!("/run/containers/storage/overlay-containers/{id}/userdata");
                read(self.in_host(&bundle)?, 0)
            }
        }
    }

    fn podman(&mut self, wanted: &NamelessContainer) -> Option<Names> {
        let id = &wanted.container.id;
        if !self.podman.contains_key(id) {
            match wanted.monitor.as_ref().filter(|monitor| monitor.comm == CONMON) {
                Some(monitor) => self.read_podman(monitor)?,
                None if self.podman_directories.insert((0, String::new())) => {
                    let storage = "/var/lib/containers/storage/overlay-containers";
                    let names = self.in_host(storage).map(podman_names(0));
                    self.podman.extend(names.unwrap_or_default());
                }
                None => {}
            }
        }
        let name = self.podman.get(id)?.clone();
        Some(Names { container: Some(name), ..Names::default() })
    }

    /// Reads the names of the containers in the storage directory of this conmon's container.
    fn read_podman(&mut self, monitor: &Monitor) -> Option<()> {
        let command_line = self.command_line(monitor.pid);
        let root = process_file(monitor.pid, "root").ok()?;
        for (option, levels) in [("-b", 2), ("-p", 3)] {
            let path = parse::option(&command_line, &[option]).map(Path::new);
            let Some(storage) = path.and_then(|it| it.ancestors().nth(levels)?.to_str()) else {
                continue;
            };
            if self.podman_directories.insert((monitor.uid, storage.to_owned())) {
                let root = open_base(self.procfs.fd(), &root).ok()?;
                let storage = open_in_root(root.as_fd(), storage).ok();
                self.podman.extend(storage.map(podman_names(monitor.uid)).unwrap_or_default());
            }
        }
        Some(())
    }

    fn command_line(&self, pid: Pid) -> Vec<u8> {
        let mut bytes = Vec::new();
        let _ = process_file(pid, "cmdline")
            .and_then(|file| read_at_most(self.procfs.fd(), &file, MAX_COMMAND_LINE, &mut bytes));
        bytes
    }

    /// Opens a directory of the host that the procfs shows.
    fn in_host(&self, path: &str) -> Option<OwnedFd> {
        open_in_root(self.root.as_ref()?.as_fd(), path).ok()
    }
}

/// Returns the ID if it can be the name of a file.
fn file_name(id: &str) -> Option<&str> {
    (!id.contains('/') && ![".", ".."].contains(&id)).then_some(id)
}

/// Returns a function that reads the names in a storage directory of podman.
fn podman_names(uid: u32) -> impl Fn(OwnedFd) -> HashMap<String, String> {
    move |storage| {
        let names =
            ["containers.json", "volatile-containers.json"].into_iter().filter_map(|file| {
                Some(parse::podman_names(&files::read(storage.as_fd(), file, uid, MAX_LIST)?))
            });
        names.flatten().collect()
    }
}
