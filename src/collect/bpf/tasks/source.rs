//! Reads all processes through BPF, as an alternative to reading them through /proc.

use std::collections::BTreeSet;
use std::sync::Arc;

use rustix::fs::OFlags;

use super::auto;
use super::judge::TaskScan;
use super::record::{self, Record};
use crate::collect::bpf::loader::{
    IteratorProgram, KernelTypes, LoadError, LoadedObject, ProgramSpec, RDONLY_CAST,
};
use crate::collect::bpf::permission::{check_address_space, check_capabilities, check_lockdown};
use crate::collect::bpf::unavailable::BpfUnavailable;
use crate::collect::discovery::{Discovery, INITIAL_PID_NAMESPACE};
use crate::collect::error::Error;
use crate::collect::kernel::viewer;
use crate::collect::proc::ProcSource;
use crate::collect::proc::census::Census;
use crate::collect::proc::scan::{Target, searches_holders};
use crate::collect::proc::walk::{self, Share};
use crate::collect::registry::NamespaceRegistry;
use crate::model::{Collector, Detail, SearchScope};

/// The object file of `task.bpf.c` for kernels with [`RDONLY_CAST`].
const TASK: &[u8] = include_bytes!("task.bpf.o");

/// The object file of the slower variant of `task.bpf.c`, for older kernels.
const TASK_BY_HELPER: &[u8] = include_bytes!("task-by-helper.bpf.o");

/// Maximum number of processes for which memory is allocated in advance.
const MAX_PREALLOCATED: u64 = 1 << 16;

/// Maximum number of records per read. A longer read would delay signals.
const RECORDS_AT_ONCE: usize = 64;

/// Maximum number of times that pidns compares its own record with /proc.
///
/// The first comparison can fail, because the two can briefly differ.
const OWN_ATTEMPTS: usize = 3;

/// A loaded BPF program that reads processes.
#[derive(Debug)]
pub struct TaskProgram {
    program: IteratorProgram,
    /// The error that prevented the use of the faster BPF program, if any.
    by_helper: Option<Arc<LoadError>>,
}

/// The state of the BPF program. Later scans with the same search scopes reuse a loaded program.
#[derive(Clone, Debug, Default)]
pub enum SharedProgram {
    /// Only one scan is made, so the BPF program is not kept for later scans.
    #[default]
    Unshared,
    /// The first scan that needs the program will load it.
    NotLoaded,
    /// The program is loaded.
    Loaded(Arc<TaskProgram>),
    /// The program could not be loaded.
    Failed,
}

/// A source that reads all processes through BPF.
pub struct BpfSource<'a> {
    proc: &'a ProcSource,
    census: Census,
    program: Arc<TaskProgram>,
}

impl<'a> BpfSource<'a> {
    /// Loads the BPF program for a search, unless `shared` contains it.
    pub fn open(
        proc: &'a ProcSource,
        collector: Collector,
        search: &BTreeSet<SearchScope>,
        details: &BTreeSet<Detail>,
        shared: &mut SharedProgram,
    ) -> Result<Self, BpfUnavailable> {
        if collector == Collector::Proc {
            return Err(BpfUnavailable::NotRequested);
        }
        check_request(proc, search, details)?;
        match shared {
            SharedProgram::Unshared | SharedProgram::NotLoaded => {}
            SharedProgram::Loaded(program) => {
                return Ok(Self { proc, census: proc.census(), program: Arc::clone(program) });
            }
            SharedProgram::Failed => return Err(BpfUnavailable::NotLoadedBefore),
        }
        let is_repeated = matches!(shared, SharedProgram::NotLoaded);
        let census = check_host(proc, collector, searches_holders(search), is_repeated)?;
        let loaded = Self::load(proc, census, search);
        if is_repeated {
            *shared = match &loaded {
                Ok(source) => SharedProgram::Loaded(Arc::clone(&source.program)),
                Err(_) => SharedProgram::Failed,
            };
        }
        loaded
    }

    fn load(
        proc: &'a ProcSource,
        census: Census,
        search: &BTreeSet<SearchScope>,
    ) -> Result<Self, BpfUnavailable> {
        let section = if searches_holders(search) { "holders" } else { "processes" };
        let (program, by_helper) = load(section)?;
        let program = Arc::new(TaskProgram { program, by_helper: by_helper.map(Arc::new) });
        let source = Self { proc, census, program };
        source.check_own_record()?;
        Ok(source)
    }

    /// Returns the error that prevented the use of the faster BPF program, if any.
    pub fn by_helper(&self) -> Option<Arc<LoadError>> {
        self.program.by_helper.clone()
    }

    /// Compares the record of pidns itself with the values in /proc.
    fn check_own_record(&self) -> Result<(), BpfUnavailable> {
        let mut compared = Err("PID");
        for _ in 0..OWN_ATTEMPTS {
            let viewer = self.proc.viewer().ok_or(BpfUnavailable::WrongOwnRecord("PID"))?;
            let iterator = self.program.program.open(OFlags::empty(), Some(viewer.as_u32()))?;
            let mut own = None;
            iterator.read(record::SIZE, RECORDS_AT_ONCE, |record| {
                let record = Record::read(record).ok_or(BpfUnavailable::Inconsistent)?;
                own = own.take().or(Some(record.process).filter(|it| it.pid == viewer));
                Ok::<_, BpfUnavailable>(())
            })?;
            compared = own.map_or(Err("PID"), |own| self.proc.is_viewer(&own));
            if compared.is_ok() {
                break;
            }
        }
        // A wrong value means that the BPF program reads the wrong kernel fields.
        compared.map_err(BpfUnavailable::WrongOwnRecord)
    }

    /// Reads every process, and searches the scopes in `search` for holders of namespaces.
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
            let (parts, found) = walk::read_while_listing(scan, |share, read| {
                let part = self.read_tasks(share, TaskScan::new(search, capacity), read);
                (part, self.proc.count(&self.census))
            });
            let (mut tasks, mut counts) = (TaskScan::new(search, 0), vec![before]);
            for (part, after) in parts {
                tasks.merge(part.map_err(Error::Bpf)?);
                counts.push(after);
            }
            tasks.judge(scan, found, &counts).map_err(|errno| self.proc.unlisted(errno))
        })
    }

    /// Runs the BPF program for one share of the processes, and adds the records to `tasks`.
    fn read_tasks<'s>(
        &self,
        share: Share,
        mut tasks: TaskScan<'s>,
        read: &dyn Fn(Target),
    ) -> Result<TaskScan<'s>, BpfUnavailable> {
        // The flags tell two simultaneous iterators apart (see is_anothers() in `task.bpf.c`).
        let flags = match share {
            Share::Whole => OFlags::empty(),
            Share::First => OFlags::APPEND,
            Share::Second => OFlags::NONBLOCK,
        };
        let iterator = self.program.program.open(flags, None)?;
        iterator.read(record::SIZE, RECORDS_AT_ONCE, |record| {
            let mut record = Record::read(record).ok_or(BpfUnavailable::Inconsistent)?;
            if Some(record.process.pid) == self.proc.viewer() {
                // Read pidns itself through /proc, because only the /proc reader can ignore the
                // descriptors that this scan has opened.
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

/// Returns an error if the host forbids BPF, or if [`Collector::Auto`] should avoid it.
fn check_host(
    proc: &ProcSource,
    collector: Collector,
    searches_holders: bool,
    is_repeated: bool,
) -> Result<Census, BpfUnavailable> {
    let saves_time = |processes| auto::saves_time(searches_holders, is_repeated, processes);
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
    if collector == Collector::Auto {
        if !saves_time(proc.count(&census)) {
            return Err(BpfUnavailable::FewProcesses);
        }
        if viewer::has_seccomp_filter() {
            return Err(BpfUnavailable::SeccompFilter);
        }
    }
    check_lockdown()?;
    check_address_space()?;
    Ok(census)
}

/// Returns an error if BPF cannot collect the requested data from the requested procfs.
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

/// Loads the program `section` of [`TASK`], or of [`TASK_BY_HELPER`] on older kernels.
fn load(section: &'static str) -> Result<(IteratorProgram, Option<LoadError>), LoadError> {
    let spec = ProgramSpec { section, name: "pidns_tasks", iterator: "bpf_iter_task", map: None };
    // Load the object file first, because this fails quickly if the kernel does not permit BPF.
    let object = LoadedObject::load(TASK)?;
    let kernel = KernelTypes::open()?;
    match object.program(spec, &kernel) {
        Ok(program) => Ok((program, None)),
        // The kernel is older than Linux 6.2, or the kernel's verifier has rejected the program.
        Err(error) if error.is_missing(RDONLY_CAST) || error.is_rejected() => {
            Ok((LoadedObject::load(TASK_BY_HELPER)?.program(spec, &kernel)?, Some(error)))
        }
        Err(error) => Err(error),
    }
}
