//! The source of snapshots that reads processes through BPF.

use std::collections::BTreeSet;

use super::judge::TaskScan;
use super::record::{self, Record};
use crate::collect::bpf::loader::{
    IteratorProgram, KernelTypes, LoadError, LoadedObject, ProgramSpec, RDONLY_CAST,
};
use crate::collect::bpf::permission::{check_capabilities, check_lockdown};
use crate::collect::bpf::unavailable::BpfUnavailable;
use crate::collect::discovery::{Discovery, INITIAL_PID_NAMESPACE};
use crate::collect::error::Error;
use crate::collect::proc::ProcSource;
use crate::collect::proc::census::Census;
use crate::collect::proc::scan::{Target, searches_holders};
use crate::collect::proc::walk;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{Collector, Detail, SearchScope};

/// `task.bpf.c` as compiled by tests/bpf/build, for kernels with [`RDONLY_CAST`].
const TASK: &[u8] = include_bytes!("task.bpf.o");

/// The same for older kernels. It reads each field by a call of a helper, which is slower.
const TASK_BY_HELPER: &[u8] = include_bytes!("task-by-helper.bpf.o");

/// Number of processes from which BPF is faster than /proc, if only processes are searched and if
/// holders are searched as well.
const MIN_PROCESSES: u64 = 350;
const MIN_PROCESSES_WITH_HOLDERS: u64 = 230;

/// Limit on the processes to allocate memory for in advance.
const MAX_PREALLOCATED: u64 = 1 << 16;

/// Reads all processes through BPF.
pub struct BpfSource<'a> {
    proc: &'a ProcSource,
    census: Census,
    program: IteratorProgram,
    /// Why the program for older kernels is used, if it is.
    pub by_helper: Option<LoadError>,
}

impl<'a> BpfSource<'a> {
    /// Loads the program for a search, or says why BPF cannot or should not be used for it.
    pub fn open(
        proc: &'a ProcSource,
        collector: Collector,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
    ) -> Result<Self, BpfUnavailable> {
        if collector == Collector::Proc {
            return Err(BpfUnavailable::NotRequested);
        }
        check_request(proc, search, details)?;
        let searches_holders = searches_holders(search);
        let min = if searches_holders { MIN_PROCESSES_WITH_HOLDERS } else { MIN_PROCESSES };
        let saves_time = |count: Option<u64>| count.is_some_and(|count| count >= min);
        if collector == Collector::Auto {
            if proc.viewer_namespace() != Some(INITIAL_PID_NAMESPACE) {
                return Err(BpfUnavailable::UnknownCount);
            }
            if !saves_time(proc.count_at_most()) {
                return Err(BpfUnavailable::FewProcesses);
            }
        }
        check_capabilities()?;
        let census = proc.census();
        if collector == Collector::Auto && !saves_time(proc.count(&census)) {
            return Err(BpfUnavailable::FewProcesses);
        }
        check_lockdown()?;
        let section = if searches_holders { "holders" } else { "processes" };
        let (program, by_helper) = load(section)?;
        Ok(Self { proc, census, program, by_helper })
    }

    /// Reads every process, and searches for holders.
    pub fn discover(
        &self,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
        registry: &NamespaceRegistry,
    ) -> Result<Discovery, Error> {
        self.proc.discover_by(search, details, registry, |scan| {
            let before = self.proc.count(&self.census);
            let capacity = before.map_or(0, |count| count.min(MAX_PREALLOCATED));
            let capacity = usize::try_from(capacity).unwrap_or(0);
            let (parts, found) = walk::read_while_listing(scan, |read| {
                let part = self.read_tasks(TaskScan::new(search, capacity), read);
                (part, self.proc.count(&self.census))
            });
            let (mut tasks, mut counts) = (TaskScan::new(search, 0), vec![before]);
            for (part, after) in parts {
                tasks.merge(part.map_err(Error::Bpf)?);
                counts.push(after);
            }
            if !self.proc.viewer().is_some_and(|viewer| tasks.contains(viewer)) {
                return Err(Error::Bpf(BpfUnavailable::WrongOwnRecord("PID")));
            }
            tasks.judge(scan, found, &counts).map_err(|errno| self.proc.unlisted(errno))
        })
    }

    /// Adds the record of every process, or of this thread's share of them if two threads read.
    /// Processes to read through /proc are passed to `read`.
    fn read_tasks<'s>(
        &self,
        mut tasks: TaskScan<'s>,
        read: &dyn Fn(Target),
    ) -> Result<TaskScan<'s>, BpfUnavailable> {
        self.program.read_records(record::SIZE, |record| {
            let mut record = Record::read(record).ok_or(BpfUnavailable::Inconsistent)?;
            if Some(record.process.pid) == self.proc.viewer() {
                // pidns knows itself, so its own record shows whether the offsets are right.
                self.proc.is_viewer(&record.process).map_err(BpfUnavailable::WrongOwnRecord)?;
                // Reading through /proc leaves out the descriptors that pidns itself has opened.
                record.needs_proc = true;
            }
            if let Some(target) = tasks.add(record) {
                read(target);
            }
            Ok::<_, BpfUnavailable>(())
        })?;
        Ok(tasks)
    }
}

/// Checks that BPF can answer what is asked.
fn check_request(
    proc: &ProcSource,
    search: &BTreeSet<SearchScope>,
    details: &BTreeSet<Detail>,
) -> Result<(), BpfUnavailable> {
    if !proc.is_own() {
        return Err(BpfUnavailable::OtherProcfs);
    }
    if !details.is_empty() {
        return Err(BpfUnavailable::NotCollected("--details"));
    }
    if search.contains(&SearchScope::Threads) {
        return Err(BpfUnavailable::NotCollected("the holders of each thread (--search threads)"));
    }
    Ok(())
}

/// Loads the program in this section, and says why it is the one for older kernels if it is.
fn load(section: &'static str) -> Result<(IteratorProgram, Option<LoadError>), LoadError> {
    let spec = ProgramSpec { section, name: "pidns_tasks", iterator: "bpf_iter_task", map: None };
    // Types of the object first: this call is cheap, and it is the one that fails without permission.
    let object = LoadedObject::load(TASK)?;
    let kernel = KernelTypes::open()?;
    match object.program(spec, &kernel) {
        Ok(program) => Ok((program, None)),
        // The kernel is older than Linux 6.2, or its verifier is stricter.
        Err(error) if error.is_missing(RDONLY_CAST) || error.is_rejected() => {
            Ok((LoadedObject::load(TASK_BY_HELPER)?.program(spec, &kernel)?, Some(error)))
        }
        Err(error) => Err(error),
    }
}
