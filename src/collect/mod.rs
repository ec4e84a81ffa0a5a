//! Reads the kernel into a [`Snapshot`]: request, source, discovery, snapshot.
//! Only this room opens /proc or asks the kernel for anything. Of the other
//! rooms it knows the model alone; showing and saving are done elsewhere.
//!
//! - `discovery` what any source hands over, and what it can be asked
//! - `proc` the source that reads a mounted /proc; `parse` makes fields of its bytes
//! - `bpf` the source that has the kernel run a program for every process; `unusable` why
//!   that cannot be
//! - `assemble` makes a snapshot of a discovery
//! - `nsfs` namespace descriptors and ioctls; `registry` those met so far
//! - `sys` opening and reading; `viewer` what this process may see of others;
//!   `user_name` the names of users
//! - `kernel_search` finds what is in the kernel though /proc leads nowhere to it
//! - `hidden` which namespaces are in the kernel though no scan shows them
//! - `log` what could not be found out; `error` why nothing could
//! - `lookup` translates a PID without a scan; `listing` lists processes for completions

mod assemble;
mod bpf;
mod direct;
mod discovery;
mod error;
mod kernel;
mod log;
pub mod parse;
mod proc;
mod registry;

use std::collections::BTreeSet;
use std::fmt;
use std::path::PathBuf;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustix::process::{Resource, getrlimit, setrlimit};

use crate::model::{Collector, Detail, SearchScope, Snapshot};
use assemble::assemble;
use bpf::BpfSource;
use bpf::memory::search::KernelSearch;
use discovery::Source;
use proc::ProcSource;
use registry::NamespaceRegistry;

pub use bpf::unusable::Unusable;
pub use direct::details_later::LaterDetails;
pub use direct::hidden::still_in_kernel;
pub use direct::lookup::{NamespaceHandle, translate};
pub use direct::process_list::ProcessList;
pub use direct::run::{Descendant, Descendants};
pub use error::Error;

/// What to read.
#[derive(Clone, Debug)]
pub struct Request {
    /// Where the procfs is mounted.
    pub procfs: PathBuf,
    /// Where to look for namespaces; every process's own is always read.
    pub search: BTreeSet<SearchScope>,
    /// What to read of every process beside what always is.
    pub details: BTreeSet<Detail>,
    /// How the kernel is asked.
    pub collector: Collector,
}

/// What was read, and how.
#[derive(Debug)]
pub struct Collected {
    /// What was read.
    pub snapshot: Snapshot,
    /// How the kernel was asked.
    pub way: Way,
}

/// How the kernel was asked for processes. The snapshot is the same.
#[derive(Debug)]
pub enum Way {
    /// By BPF.
    Bpf,
    /// By BPF, with the program for older kernels, which takes longer. Why not
    /// with the other one.
    BpfByHelper(Unusable),
    /// Through /proc alone, as it could not be asked by BPF.
    Proc(Unusable),
}

impl fmt::Display for Way {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bpf => write!(f, "bpf"),
            Self::BpfByHelper(why) => write!(f, "bpf, as on older kernels: {why}"),
            Self::Proc(why) => write!(f, "proc; not bpf: {why}"),
        }
    }
}

/// Reads the live kernel.
///
/// # Errors
/// /proc cannot be read at all, or the kernel not be asked in the way that was
/// named. Whatever is refused in part is in the snapshot's diagnostics.
pub fn collect(request: &Request) -> Result<Collected, Error> {
    let (captured_at, start) = (timestamp(SystemTime::now()), Instant::now());
    raise_descriptor_limit();
    let proc = ProcSource::open(&request.procfs)?;
    let Request { collector, search, details, .. } = request;
    let kernel = search.contains(&SearchScope::Kernel).then(|| KernelSearch::begin(&proc));
    let kernel = kernel.transpose().map_err(Error::Bpf)?;
    let bpf = BpfSource::open(&proc, *collector, search, details).map_err(Error::Bpf);
    let mut registry = NamespaceRegistry::default();
    let discovered = bpf.and_then(|bpf| {
        let discovery = bpf.discover(search, details, &registry)?;
        Ok((discovery, bpf.by_helper.map_or(Way::Bpf, Way::BpfByHelper)))
    });
    let (mut discovery, way) = match discovered {
        Ok(discovered) => discovered,
        Err(Error::Bpf(why)) if *collector != Collector::Bpf => {
            // The first one would keep what it met from going.
            registry = NamespaceRegistry::default();
            (proc.discover(search, details, &registry)?, Way::Proc(why))
        }
        Err(error) => return Err(error),
    };
    if let Some(kernel) = kernel {
        kernel.finish(&registry, &mut discovery).map_err(Error::Bpf)?;
    }
    let snapshot = assemble(&proc, registry, discovery, captured_at);
    let snapshot = Snapshot { scan_duration: Some(start.elapsed()), ..snapshot };
    Ok(Collected { snapshot, way })
}

/// A time as RFC 3339 has it. A clock that is set to before 1970 or after 9999
/// is as wrong as its nearest limit, and the form has no place for either.
fn timestamp(time: SystemTime) -> String {
    const END_OF_9999: Duration = Duration::from_secs(253_402_300_799);
    let time = time.clamp(UNIX_EPOCH, UNIX_EPOCH + END_OF_9999);
    humantime::format_rfc3339_micros(time).to_string()
}

/// Raises the limit on descriptors as far as is allowed: one is held for every
/// namespace, and a host may have thousands. The soft limit is often 1024 for
/// the sake of `select(2)`, which is not used here.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    // If that fails, processes that can't be opened any more are left out, and
    // diagnostics say so.
    let _ = setrlimit(Resource::Nofile, limit);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_that_is_far_off_is_no_panic() {
        let day = Duration::from_secs(86_400);
        assert_eq!(timestamp(UNIX_EPOCH - day), "1970-01-01T00:00:00.000000Z");
        assert_eq!(timestamp(UNIX_EPOCH + day), "1970-01-02T00:00:00.000000Z");
        assert_eq!(timestamp(UNIX_EPOCH + day * 4_000_000), "9999-12-31T23:59:59.000000Z");
    }
}
