//! Reads the kernel into a [`Snapshot`]: the only room that opens /proc or
//! asks the kernel for anything.
//!
//! - `proc` reads a mounted /proc, `parse` makes fields of its bytes
//! - `discovery` what that hands over
//! - `assemble` makes the snapshot of it
//! - `nsfs` namespace descriptors and ioctls, `registry` those met so far
//! - `sys` opening and reading
//! - `log` what could not be found out
//! - `lookup` PIDs elsewhere, without a scan

mod assemble;
mod discovery;
mod log;
mod lookup;
mod nsfs;
pub mod parse;
mod proc;
mod registry;
mod sys;

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::time::SystemTime;

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::error::Error;
use crate::model::{Host, NamespaceId, Pid, SearchScope, Snapshot};
use assemble::describe::{ask_for_inits, describe};
use assemble::users::name_users;
use assemble::vanished::leave_out_vanished;
use assemble::{infer, state};
use discovery::Discovery;
use proc::holders::Searches;
use proc::mount::{Procfs, viewer_may_trace_all};
use proc::walk::Scan;
use proc::{mounts, process};
use registry::NamespaceRegistry;

pub use assemble::containers;
pub use lookup::{NamespaceHandle, translate};

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
    mounts::mounts(&procfs, &registry, &mut found);
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
        all_seen: !log.hides_inits(),
        is_there: &|process| process::is_there(&procfs, process),
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

fn host(procfs: &Procfs) -> Host {
    let uname = rustix::system::uname();
    let text = |name: &std::ffi::CStr| Some(name.to_string_lossy().into_owned());
    let mut buffer = Vec::new();
    let boot_id = sys::read(procfs.fd(), c"sys/kernel/random/boot_id", &mut buffer)
        .ok()
        .map(|()| String::from_utf8_lossy(&buffer).trim_end().to_owned());
    Host { hostname: text(uname.nodename()), kernel_release: text(uname.release()), boot_id }
}

/// How to see what was refused.
fn advice() -> &'static str {
    if viewer_may_trace_all() {
        "refused even to CAP_SYS_PTRACE, as a security module may do"
    } else {
        "run as root of the host, or with CAP_SYS_PTRACE, to see it"
    }
}
