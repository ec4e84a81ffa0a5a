//! Reads the names of containers and pods from local files, never from a socket or an API.
//!
//! A separate thread reads the files, because a network or FUSE file system may not respond. Names
//! that are not found within a time limit are left out.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::monitor::{Monitor, find};
use super::parse::Names;
use super::reader::{NameReader, NamelessContainer, has_names, is_unnamed};
use crate::collect::kernel::sys::within;
use crate::collect::proc::ProcSource;
use crate::model::{Container, Pod, Process, Snapshot};

/// Time limit for reading all names.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Fills in the names of the containers and pods of a snapshot.
pub fn read(source: &ProcSource, snapshot: &mut Snapshot) {
    let wanted = nameless_containers(snapshot);
    let reading = (!wanted.is_empty()).then(NameReading::start).flatten();
    let (Some(reading), Ok(procfs)) = (reading, source.procfs()) else { return };
    let reader = NameReader::new(procfs, snapshot);
    // Unlike a channel, a mutex does not wake up the waiting thread for each name.
    let names = Arc::new(SharedNames(Mutex::new(Some(FoundNames::default()))));
    let shared = Arc::clone(&names);
    // After the time limit, use the names that the thread has found so far.
    let _ = within(TIMEOUT, move || {
        let _reading = reading;
        read_all(reader, &wanted, &shared);
        Ok(())
    });
    let Some(found) = names.lock().take() else { return };
    let namespaces = snapshot.namespaces.iter_mut().filter_map(|it| it.container.as_mut());
    let details = snapshot.processes.iter_mut().filter_map(|it| it.details.as_deref_mut());
    for container in namespaces.chain(details.filter_map(|it| it.container.as_mut())) {
        found.fill_in(container);
    }
}

/// A guard that exists while a thread reads names.
struct NameReading;

/// `true` while a [`NameReading`] exists.
static IS_READING: AtomicBool = AtomicBool::new(false);

impl NameReading {
    /// Creates the guard, unless another thread is reading names.
    fn start() -> Option<Self> {
        // A file system that hangs must block only one thread of `pidns watch`.
        (!IS_READING.swap(true, Ordering::Relaxed)).then_some(Self)
    }
}

impl Drop for NameReading {
    fn drop(&mut self) {
        IS_READING.store(false, Ordering::Relaxed);
    }
}

/// Returns the containers whose runtime may store container names in files. Each container appears
/// once.
///
/// At this point, no container names have been read.
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
        if !has_names(&container.runtime) {
            continue;
        }
        let index = *indices.entry((&container.runtime, &container.id)).or_insert(wanted.len());
        match wanted.get_mut(index) {
            Some(known) => known.monitor = known.monitor.or(monitor),
            None => wanted.push(NamelessContainer { container: container.clone(), monitor }),
        }
    }
    wanted
}

/// The names that a thread has found so far, or `None` after the time limit.
struct SharedNames(Mutex<Option<FoundNames>>);

impl SharedNames {
    fn lock(&self) -> MutexGuard<'_, Option<FoundNames>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the names of the containers in `wanted`, until the time limit is reached.
fn read_all(mut reader: NameReader, wanted: &[NamelessContainer], names: &SharedNames) {
    let mut nameless_pods: HashSet<&str> = HashSet::new();
    for wanted in wanted {
        let found = reader.read(wanted);
        if found.as_ref().is_none_or(|(_, names)| names.pod_name.is_none()) {
            nameless_pods.extend(wanted.container.pod.as_ref().map(|pod| pod.uid.as_str()));
        }
        let Some((runtime, found)) = found else { continue };
        let Some(names) = &mut *names.lock() else { return };
        names.add(&wanted.container, runtime, found);
    }
    if !nameless_pods.is_empty() {
        reader.read_pods(|uid, name, namespace| {
            if nameless_pods.contains(&*uid)
                && let Some(names) = &mut *names.lock()
            {
                names.pods.insert(uid, (Some(name), Some(namespace)));
            }
        });
    }
}

/// The names found so far.
#[derive(Default)]
struct FoundNames {
    /// Maps each container to its names.
    ///
    /// The key is the runtime from the cgroup path (or a placeholder) and the container ID. The
    /// value is the runtime whose files contain the names, and the names themselves.
    containers: HashMap<(String, String), (&'static str, Names)>,
    /// Maps the UID of each Kubernetes pod to its name and its Kubernetes namespace.
    pods: HashMap<String, (Option<String>, Option<String>)>,
}

impl FoundNames {
    /// Adds the names of one container, from the files of `runtime`.
    fn add(&mut self, container: &Container, runtime: &'static str, names: Names) {
        let uid = container.pod.as_ref().map(|pod| &pod.uid).or(names.pod_uid.as_ref());
        if let (Some(uid), Some(_)) = (uid, &names.pod_name) {
            let (name, namespace) = (names.pod_name.clone(), names.pod_namespace.clone());
            self.pods.insert(uid.clone(), (name, namespace));
        }
        let key = (container.runtime.clone(), container.id.clone());
        self.containers.insert(key, (runtime, names));
    }

    fn fill_in(&self, container: &mut Container) {
        let key = (container.runtime.clone(), container.id.clone());
        if let Some((runtime, names)) = self.containers.get(&key) {
            // The cgroup path does not name the runtime, so use the runtime whose files contained
            // the container's names.
            if is_unnamed(&container.runtime) {
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
