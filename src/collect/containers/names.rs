//! Reads the names of containers and pods from local files of the container runtimes, never from a
//! socket or an API.
//!
//! A separate thread reads the files, and names that are not found within a time limit are left
//! out. (A file can be on a network or FUSE file system that does not respond.)

use std::collections::{HashMap, HashSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::monitor::{Monitor, find};
use super::parse::Names;
use super::reader::{NameReader, NamelessContainer, has_names, is_unnamed};
use crate::collect::proc::ProcSource;
use crate::model::{Container, Pod, Process, Snapshot};

/// Time limit for reading all names.
const TIMEOUT: Duration = Duration::from_secs(1);

/// Fills in the names of the containers and pods of a snapshot.
pub fn read(source: &ProcSource, snapshot: &mut Snapshot) {
    // `true` while an earlier thread is still reading because a file system does not respond.
    static IS_READING: AtomicBool = AtomicBool::new(false);
    let wanted = nameless_containers(snapshot);
    if wanted.is_empty() || IS_READING.swap(true, Ordering::Relaxed) {
        return;
    }
    let containers: Vec<_> = wanted.iter().map(|it| it.container.clone()).collect();
    let (sender, receiver) = channel();
    let reader = source.procfs().map(|procfs| NameReader::new(procfs, snapshot));
    let thread = thread::Builder::new().spawn(move || {
        if let Ok(reader) = reader {
            read_all(reader, &wanted, &sender);
        }
        IS_READING.store(false, Ordering::Relaxed);
    });
    if thread.is_err() {
        IS_READING.store(false, Ordering::Relaxed);
        return;
    }
    let deadline = Instant::now() + TIMEOUT;
    let mut found = FoundNames::default();
    while let Ok(name) = receiver.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        found.add(&containers, name);
    }
    let namespaces = snapshot.namespaces.iter_mut().filter_map(|it| it.container.as_mut());
    let details = snapshot.processes.iter_mut().filter_map(|it| it.details.as_deref_mut());
    for container in namespaces.chain(details.filter_map(|it| it.container.as_mut())) {
        found.fill_in(container);
    }
}

/// Returns the containers whose names may be in files, without duplicates.
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

/// Reads the names of all containers, and sends each container's names as soon as they are known.
fn read_all(mut reader: NameReader, wanted: &[NamelessContainer], sender: &Sender<FoundName>) {
    let mut nameless_pods: HashSet<&str> = HashSet::new();
    for (index, wanted) in wanted.iter().enumerate() {
        let found = reader.read(wanted);
        if found.as_ref().is_none_or(|(_, names)| names.pod_name.is_none()) {
            nameless_pods.extend(wanted.container.pod.as_ref().map(|pod| pod.uid.as_str()));
        }
        let Some((runtime, names)) = found else { continue };
        // Sending fails after the time limit, when the receiver has been dropped.
        if sender.send(FoundName::Container(index, runtime, names)).is_err() {
            return;
        }
    }
    if !nameless_pods.is_empty() {
        reader.read_pods(|uid, name, namespace| {
            if nameless_pods.contains(&*uid) {
                let _ = sender.send(FoundName::Pod(uid, name, namespace));
            }
        });
    }
}

/// A name that the thread has found.
enum FoundName {
    /// Index in the list of containers, the runtime whose files contain the names, and the names.
    Container(usize, &'static str, Names),
    /// UID, name and namespace of a pod.
    Pod(String, String, String),
}

/// The names that were found so far.
#[derive(Default)]
struct FoundNames {
    /// Maps the runtime and ID of each container to its names, and to the runtime whose files
    /// contain these names.
    containers: HashMap<(String, String), (&'static str, Names)>,
    /// Maps the UID of each pod to its name and namespace.
    pods: HashMap<String, (Option<String>, Option<String>)>,
}

impl FoundNames {
    fn add(&mut self, containers: &[Container], found: FoundName) {
        match found {
            FoundName::Container(index, runtime, names) => {
                let Some(container) = containers.get(index) else { return };
                let Container { runtime: key, id, pod, .. } = container;
                let uid = pod.as_ref().map(|pod| &pod.uid).or(names.pod_uid.as_ref());
                if let (Some(uid), Some(_)) = (uid, &names.pod_name) {
                    let (name, namespace) = (names.pod_name.clone(), names.pod_namespace.clone());
                    self.pods.insert(uid.clone(), (name, namespace));
                }
                self.containers.insert((key.clone(), id.clone()), (runtime, names));
            }
            FoundName::Pod(uid, name, namespace) => {
                self.pods.insert(uid, (Some(name), Some(namespace)));
            }
        }
    }

    fn fill_in(&self, container: &mut Container) {
        let key = (container.runtime.clone(), container.id.clone());
        if let Some((runtime, names)) = self.containers.get(&key) {
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
