//! Asks the kernel for all processes at once, by a BPF program that it runs for
//! each of its tasks (a task iterator, since Linux 5.8; what this one needs,
//! since 5.17). That takes a fraction of the time in which /proc is read.
//!
//! The program is a filter, and /proc the judge: of processes of which there is
//! nothing odd it tells all that /proc would show, and whatever else there is
//! goes the way of `proc`, by other threads at the same time. The answers to
//! what is asked afterwards come from there, too.
//!
//! Three more programs find what /proc leads to by no way at all (`--search kernel`).
//!
//! - `task.bpf.c` the program; `task.bpf.o` the same, made by tests/bpf/build, and
//!   `task-by-helper.bpf.o` for kernels before Linux 6.2
//! - `record` what the program writes; `judge` what follows from it
//! - `namespaces.bpf.c`, `namespaces.bpf.o` the other three; `namespaces` what they tell
//! - `object` makes a program ready for the running kernel; `btf` reads types
//! - `kernel` the calls of `bpf(2)`, which are unsafe

mod loader;
pub mod memory;
mod tasks;
pub mod unusable;

use std::collections::BTreeSet;
use std::fs;
use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::{Errno, Result as SysResult};

use super::discovery::{Discovery, INITIAL_PID_NAMESPACE, InitNow, ListedInit, Source};
use super::error::Error;
use super::kernel::nsfs::NamespaceFd;
use super::kernel::viewer;
use super::proc::ProcSource;
use super::proc::census::Census;
use super::proc::scan::{Target, searches_holders};
use super::proc::walk;
use super::registry::NamespaceRegistry;
use crate::model::{Collector, Detail, Pid, Process, SearchScope};
use loader::object::{self, Object, Section};
use loader::syscall::{self, Types};
use tasks::judge::Seen;
use tasks::record::{self, Record};
use unusable::Unusable;

/// Processes from which on it takes less time to ask the kernel than to read
/// /proc: where they alone are looked at, and where holders are searched.
const WORTH_IT: u64 = 350;
const WORTH_IT_WITH_HOLDERS: u64 = 230;

/// Processes that there is room made for before they are counted out.
const MOST_ROOM: u64 = 1 << 16;

/// Where the kernel tells whether it is locked down (`kernel_lockdown(7)`).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Bytes that are read of an iterator at a time. The kernel gives 32 KiB at most.
const BUFFER: usize = 32 * 1024;

/// The function of the kernel whose arguments the programs of a task iterator get.
const ITERATOR: &[u8] = b"bpf_iter_task";

/// The kernel as a source of snapshots, asked by BPF.
pub struct BpfSource<'a> {
    proc: &'a ProcSource,
    census: Census,
    /// The program, which the kernel has verified.
    program: OwnedFd,
    /// Why it is the one for older kernels, if it is that.
    pub by_helper: Option<Unusable>,
}

impl<'a> BpfSource<'a> {
    /// Has the kernel take the program for a search. With [`Collector::Auto`]
    /// only where that is surely worth it.
    ///
    /// # Errors
    /// The kernel cannot be asked so, or this search not be done so.
    pub fn open(
        proc: &'a ProcSource,
        collector: Collector,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
    ) -> Result<Self, Unusable> {
        if collector == Collector::Proc {
            return Err(Unusable::Unasked);
        }
        if !proc.is_own() {
            return Err(Unusable::Elsewhere);
        }
        if !details.is_empty() {
            return Err(Unusable::Untold("--details"));
        }
        if search.contains(&SearchScope::Threads) {
            return Err(Unusable::Untold("what threads hold (--search threads)"));
        }
        let searches_holders = searches_holders(search);
        let least = match collector {
            Collector::Auto if searches_holders => WORTH_IT_WITH_HOLDERS,
            Collector::Auto => WORTH_IT,
            _ => 0,
        };
        let is_worth_it = |count: Option<u64>| count.is_some_and(|count| count >= least);
        if collector == Collector::Auto {
            // In other namespaces /proc counts the processes of the whole host.
            if proc.viewer_namespace() != Some(INITIAL_PID_NAMESPACE) {
                return Err(Unusable::Uncounted);
            }
            if !is_worth_it(proc.count_at_most()) {
                return Err(Unusable::Few);
            }
        }
        check_capabilities()?;
        let census = proc.census();
        if collector == Collector::Auto && !is_worth_it(proc.count(&census)) {
            return Err(Unusable::Few);
        }
        check_lockdown()?;
        let name = if searches_holders { "holders" } else { "processes" };
        let section = Section { name, called_as: ITERATOR, map: None };
        // First what is often refused and takes little.
        let programs = Programs::new(object::TASK)?;
        let types = Types::open().map_err(Unusable::NoTypes)?;
        let load = |programs: Programs| programs.load(section, &types, "pidns_tasks");
        let (program, by_helper) = match load(programs) {
            Ok(program) => (program, None),
            // Older kernels, or those whose verifier is of another opinion.
            Err(why) if why.is_missing(object::CAST) || matches!(why, Unusable::Refused { .. }) => {
                (load(Programs::new(object::TASK_BY_HELPER)?)?, Some(why))
            }
            Err(why) => return Err(why),
        };
        Ok(Self { proc, census, program, by_helper })
    }

    /// Adds every process that there is at this moment, or where several threads
    /// look, the share of this one. Those that are to be read through /proc are
    /// sent to whoever does that.
    ///
    /// # Errors
    /// The kernel does not tell, or nothing that makes sense.
    fn look<'s>(&self, mut seen: Seen<'s>, read: &dyn Fn(Target)) -> Result<Seen<'s>, Unusable> {
        read_records(&self.program, record::SIZE, |record| {
            let mut record = Record::read(record).ok_or(Unusable::Senseless)?;
            if Some(record.process.pid) == self.proc.viewer() {
                self.proc.is_viewer(&record.process).map_err(Unusable::Wrong)?;
                // What pidns itself holds does not count.
                record.is_odd = true;
            }
            if let Some(target) = seen.take(record) {
                read(target);
            }
            Ok(())
        })?;
        Ok(seen)
    }
}

/// The programs of an object, whose types the kernel has taken.
struct Programs {
    object: Object,
    types: OwnedFd,
}

impl Programs {
    /// Those of an object that pidns has with it.
    ///
    /// # Errors
    /// As of [`syscall::load_types`].
    fn new(object: &'static [u8]) -> Result<Self, Unusable> {
        let object = Object::read(object).ok_or(Unusable::OwnObject)?;
        let types = syscall::load_types(object.types)?;
        Ok(Self { object, types })
    }

    /// Has the kernel, with these types of its own, take one of them under a name.
    ///
    /// # Errors
    /// It does not, or does not have what the program reads.
    fn load(&self, it: Section<'_>, kernel: &Types, name: &str) -> Result<OwnedFd, Unusable> {
        let program = self.object.program(it, kernel)?;
        syscall::load_program(&program, name, self.types.as_fd())
    }
}

/// Whether the viewer may have the kernel run such programs, and would see
/// through /proc whatever they tell.
fn check_capabilities() -> Result<(), Unusable> {
    if !viewer::may_trace_all() {
        return Err(Unusable::Capability("CAP_SYS_PTRACE"));
    }
    if !viewer::may_load_bpf() {
        return Err(Unusable::Capability("CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN,"));
    }
    Ok(())
}

/// Whether the kernel lets programs read its memory.
fn check_lockdown() -> Result<(), Unusable> {
    let text = fs::read_to_string(LOCKDOWN);
    if text.is_ok_and(|text| text.contains("[confidentiality]")) {
        return Err(Unusable::LockedDown);
    }
    Ok(())
}

/// Has the kernel run an iterator's program, and hands over its records, each
/// of so many bytes.
///
/// # Errors
/// The kernel says so; what `take` says.
fn read_records(
    program: &OwnedFd,
    size: usize,
    mut take: impl FnMut(&[u8]) -> Result<(), Unusable>,
) -> Result<(), Unusable> {
    let iterator = syscall::open_iterator(program)?;
    let mut buffer = vec![0; BUFFER];
    loop {
        let length = match rustix::io::read(&iterator, &mut buffer) {
            Ok(0) => return Ok(()),
            Ok(length) => length,
            // The kernel stops after a million objects of which nothing was
            // written, and goes on when it is asked again.
            Err(Errno::AGAIN | Errno::INTR) => continue,
            Err(errno) => return Err(Unusable::Call { call: "BPF_ITER_CREATE", errno }),
        };
        buffer.get(..length).unwrap_or_default().chunks(size).try_for_each(&mut take)?;
    }
}

impl Source for BpfSource<'_> {
    fn discover(
        &self,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
        registry: &NamespaceRegistry,
    ) -> Result<Discovery, Error> {
        self.proc.discover_by(search, details, registry, |scan| {
            let before = self.proc.count(&self.census);
            let room = before.map_or(0, |count| count.min(MOST_ROOM));
            let (shares, found) = walk::read_while_listing(scan, |read| {
                let seen = Seen::new(search, usize::try_from(room).unwrap_or(0));
                (self.look(seen, read), self.proc.count(&self.census))
            });
            let (mut seen, mut counted) = (Seen::new(search, 0), vec![before]);
            for (share, after) in shares {
                seen.merge(share.map_err(Error::Bpf)?);
                counted.push(after);
            }
            if !self.proc.viewer().is_some_and(|viewer| seen.has(viewer)) {
                return Err(Error::Bpf(Unusable::Wrong("PID")));
            }
            seen.judge(scan, found, &counted).map_err(|errno| self.proc.unlisted(errno))
        })
    }

    fn is_there(&self, process: &Process) -> bool {
        self.proc.is_there(process)
    }

    fn is_zombie(&self, process: &Process) -> bool {
        self.proc.is_zombie(process)
    }

    fn init_of(&self, namespace: &NamespaceFd) -> SysResult<Pid> {
        self.proc.init_of(namespace)
    }

    fn had_init(&self, namespace: &NamespaceFd) -> Option<bool> {
        self.proc.had_init(namespace)
    }

    fn init_now(&self, namespace: &NamespaceFd) -> InitNow {
        self.proc.init_now(namespace)
    }

    fn list_inits(&self) -> SysResult<Vec<ListedInit>> {
        self.proc.list_inits()
    }
}
