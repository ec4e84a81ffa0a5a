//! Reads a mounted /proc: the only room that opens files in it. What it finds
//! is handed over as the kernel told it; nothing is concluded here.
//!
//! - `mount` whose /proc it is, and what it hides
//! - `process_dir` the files of one process
//! - `walk` threads, and batches of processes for them
//! - `process` one process, wholly or not at all
//! - `holders` what a process holds: `children` for its children, `fds` open descriptors
//! - `mounts` what bind mounts hold; `released` what holds nothing any more
//! - `findings` what one thread of the walk gathers
//! - `descendants` who descends from this process, without a snapshot

mod children;
pub mod descendants;
mod fds;
mod findings;
mod holders;
pub mod mount;
mod mounts;
mod process;
mod process_dir;
mod released;
mod walk;

use std::collections::BTreeSet;
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;

use rustix::io::{Errno, Result as SysResult};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::discovery::{Discovery, Source};
use super::error::Error;
use super::nsfs::NamespaceFd;
use super::registry::NamespaceRegistry;
use super::sys::{namespace_link, read};
use super::viewer;
use crate::model::{self, Host, Pid, Process, SearchScope};
use mount::Procfs;
use process::Scan;

/// A mounted /proc as a source of snapshots.
pub struct ProcSource {
    procfs: Procfs,
}

impl ProcSource {
    /// Opens the procfs mounted at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or is no procfs.
    pub fn open(path: &Path) -> Result<Self, Error> {
        Ok(Self { procfs: Procfs::open(path)? })
    }

    fn host(&self) -> Host {
        let uname = rustix::system::uname();
        let text = |name: &std::ffi::CStr| Some(name.to_string_lossy().into_owned());
        let mut buffer = Vec::new();
        let boot_id = read(self.procfs.fd(), c"sys/kernel/random/boot_id", &mut buffer)
            .ok()
            .map(|()| String::from_utf8_lossy(&buffer).trim_end().to_owned());
        Host { hostname: text(uname.nodename()), kernel_release: text(uname.release()), boot_id }
    }
}

impl Source for ProcSource {
    fn discover(
        &self,
        search: &BTreeSet<SearchScope>,
        registry: &NamespaceRegistry,
    ) -> Result<Discovery, Error> {
        let procfs = &self.procfs;
        let namespace = procfs.pin_own_namespace(registry);
        let mut found = walk::walk(Scan { procfs, namespace, search, registry })
            .map_err(|errno| Error::read(&procfs.path, errno))?;
        if let Some(errno) = found.log.unreadable().filter(|_| found.processes.is_empty()) {
            return Err(Error::read(&procfs.path, errno));
        }
        // After the walk, which finds a process to read each mount table by.
        mounts::search(procfs, registry, &mut found);
        released::leave_out_released(procfs, search, &found.processes, &mut found.holders);
        procfs.note_hidden(&mut found.log);
        Ok(Discovery {
            procfs: model::Procfs {
                path: procfs.path.to_string_lossy().into_owned(),
                own: procfs.own,
                namespace,
            },
            searched: search.clone(),
            host: self.host(),
            viewer_may_trace_all: viewer::may_trace_all(),
            processes: found.processes,
            leaders: found.leaders,
            cgroups: found.cgroups,
            terminated: found.terminated,
            holders: found.holders,
            log: found.log,
        })
    }

    fn is_there(&self, process: &Process) -> bool {
        process::is_there(&self.procfs, process)
    }

    fn init_of(&self, namespace: &NamespaceFd) -> SysResult<Pid> {
        // The kernel answers in the viewer's numbers, which are not those of
        // another namespace's /proc.
        if self.procfs.own { namespace.tgid_from_pidns(Pid::INIT) } else { Err(Errno::NOTTY) }
    }

    /// The kernel shows a thread's `pid_for_children` only if that namespace
    /// ever had an init. So a thread that is about to end enters the
    /// namespace, makes no child, and looks. It takes `CAP_SYS_ADMIN` to enter.
    fn had_init(&self, namespace: &NamespaceFd) -> Option<bool> {
        // The thread looks at itself, which this /proc must show.
        self.procfs.viewer?;
        let look = || {
            let kind = Some(LinkNameSpaceType::ProcessID);
            move_into_link_name_space(namespace.as_fd(), kind).ok()?;
            let link = c"thread-self/ns/pid_for_children";
            match namespace_link(self.procfs.fd(), link, "pid") {
                Ok(shown) => shown.map(|inode| inode == namespace.inode()),
                Err(Errno::NOENT) => Some(false),
                Err(_) => None,
            }
        };
        thread::scope(|scope| {
            let looker = thread::Builder::new().spawn_scoped(scope, look).ok()?;
            looker.join().ok().flatten()
        })
    }
}
