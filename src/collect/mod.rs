//! Reads the kernel into a [`Snapshot`]: the only room that opens /proc or
//! asks the kernel for anything.
//!
//! - `procfs` the mounted /proc: whose it is, opening and reading
//! - `parse` bytes to fields, pure
//! - `scan` the walk over processes
//! - `nsfs` namespace descriptors and ioctls, `held` those met so far
//! - `holders` what else keeps namespaces in being
//! - `container` cgroups to containers
//! - `infer` places what may not be read
//! - `state` live, dead or nascent
//! - `diagnose` what could not be found out
//! - `translate` PIDs elsewhere, without a scan

pub mod container;
mod diagnose;
mod holders;
mod infer;
mod nsfs;
pub mod parse;
mod procfs;
mod registry;
mod scan;
mod state;
mod translate;

use std::collections::{BTreeSet, HashMap, HashSet};
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::io::Errno;
use rustix::process::{Resource, getrlimit, setrlimit};
use smol_str::SmolStr;

use crate::error::Error;
use crate::model::{
    Evidence, Host, Lineage, Namespace, NamespaceId, NamespaceState, Owner, Pid, Process,
    SearchScope, Snapshot,
};
use diagnose::{Code, DiagnosticLog};
use holders::Searches;
use procfs::Procfs;
use registry::{NamespaceRegistry, Registered};
use scan::{Discovery, Scan};

pub use translate::{NamespaceHandle, translate};

/// What to read.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the procfs is mounted.
    pub procfs: PathBuf,
    /// Where to look for namespaces; every process's own is always read.
    pub search: BTreeSet<SearchScope>,
}

/// Reads the live kernel.
///
/// # Errors
/// /proc cannot be read at all. Whatever it refuses in part is in the
/// snapshot's diagnostics.
pub fn collect(request: &Request) -> Result<Snapshot, Error> {
    let captured_at = humantime::format_rfc3339_micros(SystemTime::now()).to_string();
    raise_descriptor_limit();
    let procfs = Procfs::open(&request.procfs)?;
    let registry = NamespaceRegistry::default();
    let own_namespace = procfs.pin_own_namespace(&registry);
    let searches = Searches::of(&request.search);
    let scan = Scan { procfs: &procfs, namespace: own_namespace, searches, registry: &registry };
    let mut found = scan.run()?;
    if let Some(errno) = found.log.unreadable().filter(|_| found.processes.is_empty()) {
        return Err(Error::Read { path: procfs.path, source: errno.into() });
    }
    holders::mounts(&procfs, &registry, &mut found);
    let Discovery { mut processes, leaders, containers, terminated, holders, mut log, .. } = found;
    procfs.note_hidden(&mut log);

    let mut registered = registry.into_registered();
    let parents = registry::climb(&mut registered);
    let mut namespaces = describe(&registered, &parents, &mut log);
    if procfs.own {
        ask_for_inits(&registered, &mut processes);
    }
    let lone = || processes.iter().find(|it| it.nspid.len() == 1 && it.namespace.is_some());
    let known = infer::Known {
        mount: own_namespace.or_else(|| lone()?.namespace),
        leaders: &leaders,
        terminated: &terminated,
        all_seen: !log.hides_processes(),
        is_there: &|process| scan::is_there(&procfs, process),
    };
    let mount = infer::infer(&mut processes, &mut namespaces, &known, &mut log);

    namespaces.sort_unstable_by_key(|namespace| namespace.id);
    let index = |id: NamespaceId| namespaces.binary_search_by_key(&id, |it| it.id).ok();
    let inits: Vec<_> = processes
        .iter()
        .filter(|process| process.nspid.last() == Some(&Pid::INIT))
        .filter_map(|process| Some((index(process.namespace?)?, process.pid)))
        .collect();
    let holders: Vec<_> = holders
        .into_iter()
        .filter_map(|(inode, holder)| Some((index(NamespaceId::Inode(inode))?, holder)))
        .collect();
    for (index, init) in inits {
        namespaces[index].init = Some(init);
        namespaces[index].container = containers.get(&init).cloned();
    }
    for (index, holder) in holders {
        namespaces[index].holders.push(holder);
    }
    for namespace in &mut namespaces {
        namespace.holders.sort_unstable();
        // Threads share descriptors, and a chroot shows some mounts again.
        namespace.holders.dedup();
    }
    leave_out_vanished(&mut namespaces, &processes);
    let inputs = state::StateInputs {
        procfs: &procfs,
        mount,
        registered: &registered,
        terminated: &terminated,
        processes: &processes,
    };
    state::determine_states(&mut namespaces, &inputs, &mut log);
    name_users(&mut processes, &mut namespaces);

    Ok(Snapshot {
        generator: (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        captured_at,
        host: host(&procfs),
        procfs: crate::model::Procfs {
            path: procfs.path.to_string_lossy().into_owned(),
            own: procfs.own,
            namespace: mount,
        },
        searched: request.search.clone(),
        details: BTreeSet::new(),
        selected: Vec::new(),
        complete: log.is_complete(),
        namespaces,
        processes,
        diagnostics: log.into_diagnostics(advice()),
    })
}

/// A descriptor is held for every namespace, and a host may have thousands;
/// the soft limit is often 1024 for the sake of `select(2)`, which is not used here.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // Without, processes that can't be opened any more are left out, and said to be.
    let _ = setrlimit(Resource::Nofile, limit);
}

/// Places inits whose links may not be read, but whose namespace is held: by a
/// descriptor or a mount. The kernel tells a namespace's PID 1 to anyone who
/// sees it (`NS_GET_TGID_FROM_PIDNS`, since Linux 6.11).
fn ask_for_inits(registered: &HashMap<u64, Registered>, processes: &mut [Process]) {
    for (&inode, registered) in registered {
        let Some(init) = registered.fd.as_ref().and_then(|fd| fd.tgid_from_pidns(Pid::INIT).ok())
        else {
            continue;
        };
        let index = processes.binary_search_by_key(&init, |process| process.pid);
        if let Some(process) = index.ok().map(|index| &mut processes[index])
            && process.namespace.is_none()
            && process.nspid.last() == Some(&Pid::INIT)
        {
            process.namespace = Some(NamespaceId::Inode(inode));
        }
    }
}

/// Leaves out namespaces that nothing leads to any more, as whoever did has
/// vanished since: only pidns itself holds them.
fn leave_out_vanished(namespaces: &mut Vec<Namespace>, processes: &[Process]) {
    let alone = |it: &&Namespace| it.init.is_none() && it.holders.is_empty();
    let mut vanished: HashSet<_> = namespaces.iter().filter(alone).map(|it| it.id).collect();
    if vanished.is_empty() {
        return;
    }
    for id in processes.iter().filter_map(|process| process.namespace) {
        vanished.remove(&id);
    }
    let lineage = Lineage::new(namespaces);
    for namespace in namespaces.iter() {
        if vanished.contains(&namespace.id) {
            continue;
        }
        for above in lineage.climb(namespace.id) {
            vanished.remove(&above);
        }
    }
    namespaces.retain(|namespace| !vanished.contains(&namespace.id));
}

/// What the kernel says of every namespace met.
fn describe(
    registered: &HashMap<u64, Registered>,
    parents: &HashMap<u64, rustix::io::Result<u64>>,
    log: &mut DiagnosticLog,
) -> Vec<Namespace> {
    let describe = |(&inode, registered): (&u64, &Registered)| {
        let fd = registered.fd.as_ref();
        let parent = match parents.get(&inode) {
            Some(Ok(parent)) => Some(NamespaceId::Inode(*parent)),
            // Topmost, or the parent is out of sight.
            Some(Err(Errno::PERM)) | None => None,
            Some(Err(errno)) => {
                log.note(Code::ParentUnreadable, Some(*errno), None);
                None
            }
        };
        let owner = fd.and_then(|fd| fd.user_namespace().ok()).map(|user| Owner {
            user_namespace: user.inode(),
            uid: user.owner_uid().ok(),
            user: None,
        });
        Namespace {
            id: NamespaceId::Inode(inode),
            device: fd.map(nsfs::NamespaceFd::device),
            ns_id: fd.and_then(|fd| fd.ns_id().ok()),
            parent,
            state: NamespaceState::Live,
            init: None,
            member_count: None,
            owner,
            holders: Vec::new(),
            blocked_by: Vec::new(),
            container: None,
            evidence: Evidence::Kernel,
        }
    };
    registered.iter().map(describe).collect()
}

/// Looks every user up once.
fn name_users(processes: &mut [Process], namespaces: &mut [Namespace]) {
    let mut names: HashMap<u32, Option<SmolStr>> = HashMap::new();
    let mut name = |uid: u32| {
        let look_up = || Some(uzers::get_user_by_uid(uid)?.name().to_string_lossy().into());
        names.entry(uid).or_insert_with(look_up).clone()
    };
    for process in processes {
        process.user = name(process.uid);
    }
    for owner in namespaces.iter_mut().filter_map(|namespace| namespace.owner.as_mut()) {
        owner.user = owner.uid.and_then(&mut name);
    }
}

fn host(procfs: &Procfs) -> Host {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| Some(name.to_string_lossy().into_owned());
    let mut buffer = Vec::new();
    let boot_id = procfs::read(procfs.fd(), c"sys/kernel/random/boot_id", &mut buffer)
        .ok()
        .map(|()| String::from_utf8_lossy(&buffer).trim_end().to_owned());
    Host { hostname: text(uname.nodename()), kernel_release: text(uname.release()), boot_id }
}

/// How to see what was refused.
fn advice() -> &'static str {
    if procfs::viewer_may_trace_all() {
        "refused even to CAP_SYS_PTRACE, as a security module may do"
    } else {
        "run as root of the host, or with CAP_SYS_PTRACE, to see it"
    }
}
