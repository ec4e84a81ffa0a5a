//! Reads a mounted /proc: the only room that opens files in it. What it finds
//! is handed over as the kernel told it; nothing is concluded here.
//!
//! - `mount` whose /proc it is, and what it hides; `census` how many processes it counts
//! - `process_dir` the files of one process
//! - `walk` threads, and batches of processes for them; `worker` one of these threads
//! - `scan` what is looked for, and where
//! - `process` one process, wholly or not at all; `status` as its status describes it, and
//!   once more; `inits` whether an init lives
//! - `details` what is read of a process only where that was asked for
//! - `holders` what a process holds: `children` for its children, `fds` open descriptors,
//!   `tables` those that threads share
//! - `mounts` what bind mounts hold; `released` what holds nothing any more
//! - `findings` what one thread of the walk gathers
//! - `descendants` who descends from this process, without a snapshot

pub mod census;
pub mod children;
pub mod details;
pub mod fds;
pub mod findings;
pub mod holders;
mod inits;
pub mod mount;
mod mounts;
mod process;
pub mod process_dir;
mod released;
pub mod scan;
pub mod status;
pub mod tables;
pub mod walk;
mod worker;

use std::collections::{BTreeSet, HashSet};
use std::os::fd::AsFd as _;
use std::path::Path;
use std::thread;

use rustix::io::{Errno, Result as SysResult};
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::discovery::{Discovery, INITIAL_PID_NAMESPACE, InitNow, ListedInit, Source};
use super::error::Error;
use super::kernel::nsfs::NamespaceFd;
use super::kernel::sys::{READ, is_gone, namespace_link, open_on_device, read_to_end};
use super::kernel::viewer;
use super::registry::NamespaceRegistry;
use crate::model::{self, Detail, Host, MAX_LEVEL, NamespaceId, Pid, Process, SearchScope};
use census::Census;
use findings::Findings;
use mount::Procfs;
use scan::Scan;

/// How often an init is asked for that ends just when it was named.
const LOOKS: usize = 3;

/// A mounted /proc as a source of snapshots.
pub struct ProcSource {
    procfs: Procfs,
    /// The viewer's own /proc, where the one that is read is another.
    own: Option<Procfs>,
    /// Inode of the viewer's namespace.
    viewer_namespace: Option<u64>,
}

impl ProcSource {
    /// Opens the procfs mounted at `path`.
    ///
    /// # Errors
    /// It cannot be opened, or is no procfs.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let procfs = Procfs::open(path)?;
        let own = if procfs.own { None } else { Procfs::open(Path::new("/proc")).ok() };
        let own = own.filter(|own| own.own);
        let shows_viewer = own.as_ref().unwrap_or(&procfs);
        let namespace = namespace_link(shows_viewer.fd(), c"self/ns/pid", "pid");
        Ok(Self { viewer_namespace: namespace.ok().flatten(), procfs, own })
    }

    /// Whether the /proc that is read is the viewer's own.
    pub fn is_own(&self) -> bool {
        self.procfs.own
    }

    /// The viewer, where this /proc shows it.
    pub fn viewer(&self) -> Option<Pid> {
        self.procfs.viewer
    }

    /// Inode of the viewer's namespace, where that is known.
    pub fn viewer_namespace(&self) -> Option<u64> {
        self.viewer_namespace
    }

    /// Makes ready to count processes.
    pub fn census(&self) -> Census {
        Census::new(&self.procfs)
    }

    /// More than there are processes on the host, which takes less to find out.
    pub fn count_at_most(&self) -> Option<u64> {
        Census::at_most(&self.procfs)
    }

    /// How many processes there are on the host.
    pub fn count(&self, census: &Census) -> Option<u64> {
        census.count(&self.procfs)
    }

    /// Whether a process is the viewer, as this /proc shows it.
    ///
    /// # Errors
    /// What is not as it is there.
    pub fn is_viewer(&self, seen: &Process) -> Result<(), &'static str> {
        let mut shown = status::now(&self.procfs, seen.pid).map_err(|_| "PID")?;
        shown.namespace = self.viewer_namespace.map(NamespaceId::Inode);
        let is_same = [
            ("PID", shown.nspid == seen.nspid),
            ("parent", shown.ppid == seen.ppid),
            ("namespace", shown.namespace == seen.namespace),
            ("name", shown.comm == seen.comm),
            ("user", shown.uid == seen.uid),
            ("number of threads", shown.threads == seen.threads),
            ("start time", shown.start_time == seen.start_time),
        ];
        is_same.iter().find(|(_, is_same)| !is_same).map_or(Ok(()), |(what, _)| Err(what))
    }

    /// A /proc that speaks in the viewer's own numbers, as the kernel does when
    /// it is asked.
    fn own(&self) -> Option<&Procfs> {
        if self.procfs.own { Some(&self.procfs) } else { self.own.as_ref() }
    }

    /// Whether a namespace is the viewer's own or below it, so that the viewer
    /// has a number for each process in it.
    fn is_within_viewers(&self, namespace: &NamespaceFd) -> bool {
        let Some(own) = self.viewer_namespace else { return false };
        if own == INITIAL_PID_NAMESPACE || own == namespace.inode() {
            return true;
        }
        let above = std::iter::successors(namespace.parent().ok(), |above| above.parent().ok());
        above.take(MAX_LEVEL).any(|above| above.inode() == own)
    }

    /// Whether a thread has that file open, by the file's inode number.
    pub fn has_open(&self, pid: Pid, tid: Pid, fd: u32, file: u64) -> bool {
        process_dir::look(|| released::has_open(&self.procfs, pid, tid, fd, file)).unwrap_or(false)
    }

    /// Whether a thread has the namespace of that inode for its children.
    pub fn has_for_children(&self, pid: Pid, tid: Pid, inode: u64) -> bool {
        let has = || released::has_for_children(&self.procfs, inode, pid, tid);
        process_dir::look(has).unwrap_or(false)
    }

    fn host(&self) -> Host {
        let uname = rustix::system::uname();
        let text = |name: &std::ffi::CStr| Some(name.to_string_lossy().into_owned());
        let mut buffer = Vec::new();
        // Containers often have /proc/sys mounted once more, to be read only.
        let boot_id = open_on_device(self.procfs.fd(), c"sys/kernel/random/boot_id", READ)
            .and_then(|file| read_to_end(&file, &mut buffer, 4096))
            .ok()
            .map(|()| String::from_utf8_lossy(&buffer).trim_end().to_owned());
        Host { hostname: text(uname.nodename()), kernel_release: text(uname.release()), boot_id }
    }

    /// That /proc cannot be listed.
    pub fn unlisted(&self, errno: Errno) -> Error {
        Error::read(&self.procfs.path, errno)
    }

    /// Discovers what there is, with the processes that `walk` finds.
    ///
    /// # Errors
    /// Nothing can be read at all; what `walk` says.
    pub fn discover_by(
        &self,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
        registry: &NamespaceRegistry,
        walk: impl FnOnce(Scan<'_>) -> Result<Findings, Error>,
    ) -> Result<Discovery, Error> {
        let procfs = &self.procfs;
        let namespace = procfs.pin_own_namespace(registry);
        let mut found = walk(Scan { procfs, namespace, search, details, registry })?;
        if let Some(errno) = found.log.unreadable().filter(|_| found.processes.is_empty()) {
            return Err(self.unlisted(errno));
        }
        // After the walk, which finds a process to read each mount table by.
        if search.contains(&SearchScope::Mounts) {
            mounts::search(procfs, namespace, registry, &mut found);
        }
        released::leave_out_released(procfs, search, &found.processes, &mut found.holders);
        procfs.note_hidden(&mut found.log);
        Ok(Discovery {
            procfs: model::Procfs {
                path: procfs.path.to_string_lossy().into_owned(),
                own: procfs.own,
                namespace,
            },
            searched: search.clone(),
            details: details.clone(),
            host: self.host(),
            viewer_namespace: self.viewer_namespace.map(NamespaceId::Inode),
            viewer_may_trace_all: viewer::may_trace_all(),
            processes: found.processes,
            leaders: found.leaders,
            cgroups: found.cgroups,
            terminated: found.terminated,
            undecided: found.undecided,
            holders: found.holders,
            in_kernel: HashSet::new(),
            log: found.log,
        })
    }
}

impl Source for ProcSource {
    fn discover(
        &self,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
        registry: &NamespaceRegistry,
    ) -> Result<Discovery, Error> {
        self.discover_by(search, details, registry, |scan| {
            walk::walk(scan).map_err(|errno| self.unlisted(errno))
        })
    }

    fn is_there(&self, process: &Process) -> bool {
        status::is_there(&self.procfs, process)
    }

    fn is_zombie(&self, process: &Process) -> bool {
        status::is_zombie(&self.procfs, process)
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
        let procfs = self.own.as_ref().unwrap_or(&self.procfs);
        procfs.viewer?;
        let look = || {
            let kind = Some(LinkNameSpaceType::ProcessID);
            move_into_link_name_space(namespace.as_fd(), kind).ok()?;
            let link = c"thread-self/ns/pid_for_children";
            match namespace_link(procfs.fd(), link, "pid") {
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

    fn init_now(&self, namespace: &NamespaceFd) -> InitNow {
        if self.viewer_namespace == Some(namespace.inode()) {
            // pidns itself runs in it. Had its init terminated, the kernel
            // would have killed pidns before.
            return InitNow::Living;
        }
        let Some(own) = self.own() else { return InitNow::Unknown };
        // An init may end just when it was named; it is then asked for anew.
        for _ in 0..LOOKS {
            let init = match namespace.tgid_from_pidns(Pid::INIT) {
                Ok(init) => init,
                Err(Errno::SRCH) if self.is_within_viewers(namespace) => return InitNow::Absent,
                Err(_) => return InitNow::Unknown,
            };
            // A namespace has one init in its life. So if the kernel names that
            // number before and after, one process had it all the while.
            let is_init = || namespace.tgid_from_pidns(Pid::INIT) == Ok(init);
            match inits::look(own, init, is_init) {
                Ok(now) => return now,
                Err(errno) if is_gone(errno) => {}
                Err(_) => return InitNow::Unknown,
            }
        }
        InitNow::Unknown
    }

    fn list_inits(&self) -> SysResult<Vec<ListedInit>> {
        inits::list(&self.procfs)
    }
}
