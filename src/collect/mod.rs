//! Reads the state of the running kernel into a [`Snapshot`].
//!
//! This module contains all access to /proc and to namespaces, and imports only `model`.
//!
//! A source (`proc` or `bpf`) finds processes and namespaces. `assemble` turns the result, a
//! `Discovery`, into a snapshot.
//!
//! - `proc`: the source that reads /proc, with the parsers in `parse`
//! - `bpf`: the source that uses BPF, and the search for namespaces in kernel memory
//! - `discovery`: the result of a source, and the trait through which `assemble` reads more data
//! - `assemble`: turns a discovery into a snapshot
//! - `containers`: finds container names, and processes outside of their init's container
//! - `kernel`: system calls for nsfs and mounts, permissions of pidns, user names
//! - `holder_list`: collects the holders of namespaces, using a limited amount of memory
//! - `mount_list`: collects the bind mounts of namespaces, using a limited amount of memory
//! - `registry`: keeps every namespace open, to prevent the reuse of its inode number
//! - `log`: collects diagnostics
//! - `error`: the error if no snapshot can be made
//! - `direct`: answers individual questions without a full scan
//! - `unblocked`: reads in a thread that pidns can abandon if a process blocks it
//! - `limits`: reads the limits that can make fork(2) fail, after a scan

mod assemble;
mod bpf;
mod containers;
mod direct;
mod discovery;
mod error;
mod holder_list;
mod kernel;
mod limits;
mod log;
mod mount_list;
pub mod parse;
mod proc;
mod registry;
mod unblocked;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::model::{Collector, Detail, EnvPattern, SearchScope, Snapshot};
use assemble::assemble;
use bpf::loader::LoadError;
use bpf::memory::search::KernelSearch;
use bpf::tasks::source::{BpfSource, SharedProgram};
use bpf::unavailable::BpfUnavailable;
use proc::ProcSource;
use proc::scan_mark;
use registry::NamespaceRegistry;
use unblocked::unless_blocked;

pub use containers::parse as runtime_files;
pub use direct::details_later::read_details;
pub use direct::hidden::still_in_kernel;
pub use direct::live_facts::LiveHost;
pub use direct::lookup::{NamespaceHandle, translate};
pub use direct::process_list::ProcessList;
pub use direct::run::{Descendant, Descendants};
pub use error::Error;
pub use kernel::clock::uptime;
pub use limits::Limits;
pub use unblocked::when_blocked;

/// A request for a snapshot.
#[derive(Clone, Debug)]
pub struct Request {
    /// The mount point of the procfs.
    pub procfs: PathBuf,
    /// The scopes to search for namespaces, besides the processes' own namespaces.
    pub search: BTreeSet<SearchScope>,
    /// The optional details to read about every process.
    pub details: BTreeSet<Detail>,
    /// Each process's environment is checked against these patterns.
    pub environment: BTreeSet<EnvPattern>,
    /// The way to read processes (BPF, /proc, or the faster of the two).
    pub collector: Collector,
}

/// A snapshot, and the method by which its processes were read.
#[derive(Debug)]
pub struct Collected {
    /// The snapshot.
    pub snapshot: Snapshot,
    /// How the processes were read.
    pub collector: CollectorUsed,
}

/// The method by which the processes were read. Every method gives the same snapshot.
#[derive(Debug)]
pub enum CollectorUsed {
    /// The processes were read through BPF.
    Bpf,
    /// The slower BPF program read the processes, because the faster program did not load.
    BpfByHelper(Arc<LoadError>),
    /// The processes were read through /proc. The field says why BPF was not used.
    Proc(BpfUnavailable),
}

impl fmt::Display for CollectorUsed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bpf => write!(f, "bpf"),
            Self::BpfByHelper(why) => write!(f, "bpf, with the program for older kernels: {why}"),
            Self::Proc(why) => write!(f, "proc; not bpf: {why}"),
        }
    }
}

/// Takes a snapshot of the live host, with diagnostics about all unreadable parts.
pub fn collect(request: &Request) -> Result<Collected, Error> {
    collect_by(request, &mut SharedProgram::Unshared, || ProcSource::open(&request.procfs))
}

/// A scanner that loads the BPF program once for several snapshots.
#[derive(Debug)]
pub struct Scanner {
    request: Request,
    program: SharedProgram,
}

impl Scanner {
    /// Creates a scanner that takes every snapshot with the same request.
    #[must_use]
    pub fn new(request: Request) -> Self {
        Self { request, program: SharedProgram::NotLoaded }
    }

    /// Returns the request that this scanner uses for every snapshot.
    #[must_use]
    pub fn request(&self) -> &Request {
        &self.request
    }

    /// Takes a snapshot of the live host.
    pub fn scan(&mut self) -> Result<Collected, Error> {
        let Self { request, program } = self;
        collect_by(request, program, || ProcSource::open(&request.procfs))
    }
}

/// Takes a snapshot through the procfs of `descendants`, ignoring the path in `request`.
pub fn collect_with(descendants: &Descendants, request: &Request) -> Result<Collected, Error> {
    // Use the procfs that is already open, because the command that `pidns run` ran may have
    // unmounted the procfs at the path in `request`.
    collect_by(request, &mut SharedProgram::Unshared, || descendants.procfs().map(ProcSource::of))
}

fn collect_by(
    request: &Request,
    program: &mut SharedProgram,
    open: impl Fn() -> Result<ProcSource, Error>,
) -> Result<Collected, Error> {
    let loaded = &*program;
    let (collected, loaded) = unless_blocked(|| {
        let begin = (now(), Instant::now());
        raise_descriptor_limit();
        scan_mark::renew();
        // `open` may enter a time namespace, which requires a single-threaded process.
        let proc = open()?;
        let (request, mut program) = (request.clone(), loaded.clone());
        Ok(move || (scan(&request, &mut program, &proc, begin), program))
    })?;
    *program = loaded;
    collected
}

/// Takes a snapshot of the processes that `proc` shows.
fn scan(
    request: &Request,
    program: &mut SharedProgram,
    proc: &ProcSource,
    (captured_at, start): (String, Instant),
) -> Result<Collected, Error> {
    let Request { collector, search, .. } = request;
    // The scan does not read limits, because `Limits::of` reads them after the scan.
    let mut details = request.details.clone();
    let reads_limits = details.remove(&Detail::Limits);
    let details = &details;
    let kernel = search.contains(&SearchScope::Kernel).then(|| KernelSearch::begin(proc));
    let kernel = kernel.transpose().map_err(Error::Bpf)?;
    let bpf = BpfSource::open(proc, *collector, search, details, program).map_err(Error::Bpf);
    let mut registry = NamespaceRegistry::default();
    let discovered = bpf.and_then(|bpf| {
        let discovery = bpf.discover(search, details, &registry)?;
        let used = bpf.by_helper().map_or(CollectorUsed::Bpf, CollectorUsed::BpfByHelper);
        Ok((discovery, used))
    });
    let (mut discovery, used) = match discovered {
        Ok(discovered) => discovered,
        Err(Error::Bpf(why)) if *collector != Collector::Bpf => {
            // Replace the registry, because the old one may keep unused namespaces alive.
            registry = NamespaceRegistry::default();
            (proc.discover(search, details, &registry)?, CollectorUsed::Proc(why))
        }
        Err(error) => return Err(error),
    };
    proc.match_environments(&request.environment, &mut discovery);
    if let Some(kernel) = kernel {
        kernel.finish(&registry, &mut discovery).map_err(Error::Bpf)?;
    }
    let mut snapshot = assemble(proc, registry, discovery, captured_at);
    containers::describe(proc, &mut snapshot);
    if reads_limits {
        Limits::of(proc.procfs()?, *collector, &snapshot, None).add_to(&mut snapshot);
        snapshot.details.insert(Detail::Limits);
    }
    let observer = proc.observer(&snapshot.processes);
    let snapshot = Snapshot { scan_duration: Some(start.elapsed()), observer, ..snapshot };
    Ok(Collected { snapshot, collector: used })
}

/// Returns the current time in UTC, in the RFC 3339 format of snapshots.
#[must_use]
pub fn now() -> String {
    timestamp(SystemTime::now())
}

/// Formats a time as RFC 3339, clamped to the years 1970 to 9999.
fn timestamp(time: SystemTime) -> String {
    const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);
    let time = time.clamp(UNIX_EPOCH, UNIX_EPOCH + END_OF_9999);
    humantime::format_rfc3339_micros(time).to_string()
}

/// Raises the soft limit on open descriptors, since each namespace needs a descriptor.
pub fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    // The usual soft limit, 1024, protects users of select(2), which pidns does not call.
    limit.current = limit.maximum;
    // If the limit can't be raised, a diagnostic reports the processes that can't be opened.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clamps_times_before_1970_and_after_9999() {
        let day = Duration::from_secs(86_400);
        assert_eq!(timestamp(UNIX_EPOCH - day), "1970-01-01T00:00:00.000000Z");
        assert_eq!(timestamp(UNIX_EPOCH + day), "1970-01-02T00:00:00.000000Z");
        assert_eq!(timestamp(UNIX_EPOCH + day * 4_000_000), "9999-12-31T23:59:59.000000Z");
    }
}
