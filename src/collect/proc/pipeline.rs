//! Finds pidns itself in a scan, and related processes: its ancestors, the rest of its pipeline,
//! and the shell that runs the CI step.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Dir, statat};
use rustix::io::Result as SysResult;

use super::process_dir::ProcessDir;
use super::procfs::Procfs;
use super::status::start_time_now;
use crate::collect::kernel::sys::{FileId, is_gone, open_dir, read, read_at_most, read_link};
use crate::collect::parse;
use crate::model::{Observer, Pid, Process};

/// Names of shells.
const SHELLS: [&str; 11] =
    ["sh", "bash", "dash", "ash", "busybox", "zsh", "ksh", "ksh93", "mksh", "yash", "fish"];

/// Maximum number of children of one ancestor that are checked for pipes. The youngest children are
/// checked first: the services of an init are older than the pipeline.
const MAX_CHILDREN: usize = 256;

/// The descriptors that connect a process to its pipeline.
const STANDARD: [&CStr; 3] = [c"fd/0", c"fd/1", c"fd/2"];

/// Maximum number of descriptors to read from a process that a shell is starting.
const MAX_DESCRIPTORS: usize = 256;

/// Maximum number of bytes of a command line that are compared.
const COMPARED_ARGS: usize = 4096;

/// Finds the running pidns process in its own scan. `processes` must be sorted by PID. Returns
/// `None` if the procfs does not show pidns.
pub fn observer(procfs: &Procfs, processes: &[Process]) -> Option<Observer> {
    let pid = procfs.viewer?;
    let ancestry = ancestry(processes, pid);
    let start_time = ancestry.first().and_then(|it| it.start_time);
    let mut attendants = pipeline(procfs, processes, &ancestry);
    let pid_max = procfs.pid_max();
    let own = ancestry.first().into_iter();
    attendants.extend(own.flat_map(|it| younger_siblings(processes, it, pid_max)));
    add_descendants(processes, &mut attendants);
    attendants.extend(ended_children_of_shells(procfs, processes, &ancestry));
    attendants.extend(ancestry.iter().filter_map(|it| it.ppid));
    attendants.remove(&pid);
    let step = step(procfs, &ancestry);
    let mut companions: BTreeSet<Pid> = step
        .into_iter()
        .flat_map(|(shell, script)| {
            siblings(processes, script).filter(|&it| is_subshell(procfs, it, shell.pid))
        })
        .collect();
    add_descendants(processes, &mut companions);
    Some(Observer {
        pid,
        start_time: start_time.or_else(|| start_time_now(procfs, pid)),
        step: step.map(|(shell, _)| shell.pid),
        companions: companions.into_iter().collect(),
        attendants: attendants.into_iter().collect(),
    })
}

/// Returns a process and its ancestors, as far as the scan shows them.
fn ancestry(processes: &[Process], pid: Pid) -> Vec<&Process> {
    let find = |pid: Pid| {
        let index = processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        processes.get(index)
    };
    let mut ancestry: Vec<&Process> = Vec::new();
    let mut next = find(pid);
    // Processes are read at different times, so the recorded parents can form a cycle.
    while let Some(process) = next.filter(|it| !ancestry.iter().any(|seen| seen.pid == it.pid)) {
        ancestry.push(process);
        next = process.ppid.and_then(find);
    }
    ancestry
}

/// Returns the siblings that were started after a process, such as the next command of a pipeline.
/// Leaves out a sibling if it is unknown which of the two processes started first.
fn younger_siblings(processes: &[Process], process: &Process, pid_max: Option<u32>) -> Vec<Pid> {
    let is_younger = |it: &&Process| {
        let starts = process.start().zip(it.start());
        process.ppid.is_some()
            && it.ppid == process.ppid
            && starts.is_some_and(|(own, other)| own.is_before(other, pid_max) == Some(true))
    };
    processes.iter().filter(is_younger).map(|it| it.pid).collect()
}

/// Returns the other processes with the same parent.
fn siblings(processes: &[Process], process: &Process) -> impl Iterator<Item = Pid> {
    let (pid, parent) = (process.pid, process.ppid);
    let is_sibling = move |it: &&Process| parent.is_some() && it.ppid == parent && it.pid != pid;
    processes.iter().filter(is_sibling).map(|it| it.pid)
}

/// Adds the descendants of the processes in `pids`.
fn add_descendants(processes: &[Process], pids: &mut BTreeSet<Pid>) {
    if pids.is_empty() {
        return;
    }
    let mut children: HashMap<Pid, Vec<Pid>> = HashMap::new();
    for process in processes {
        if let Some(parent) = process.ppid {
            children.entry(parent).or_default().push(process.pid);
        }
    }
    let mut todo: Vec<Pid> = pids.iter().copied().collect();
    while let Some(parent) = todo.pop() {
        let below = children.get(&parent).into_iter().flatten();
        todo.extend(below.copied().filter(|&child| pids.insert(child)));
    }
}

/// The pipes and FIFOs that a process has open.
#[derive(Default)]
struct Pipes {
    /// The pipes that the process reads from.
    read: HashSet<FileId>,
    /// The pipes that the process writes to.
    written: HashSet<FileId>,
}

impl Pipes {
    /// Reads standard input, output and error of a process.
    fn of(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |_| Ok(STANDARD.map(CString::from).into()))
    }

    /// Reads all descriptors of a process, starting with the highest number. To connect a pipe, a
    /// shell duplicates it to a standard descriptor, and then closes the original, which has a
    /// higher number. Reading in descending order can't miss both descriptors.
    fn of_all(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |dir| {
            let entries = Dir::new(open_dir(dir.as_fd(), c"fd")?)?.flatten();
            let numbers = entries.filter_map(|entry| parse::entry(entry.file_name().to_bytes()));
            let mut numbers: Vec<u32> = numbers.take(MAX_DESCRIPTORS).collect();
            numbers.extend([0, 1, 2]);
            numbers.sort_unstable_by_key(|&it| std::cmp::Reverse(it));
            Ok(numbers.iter().filter_map(|it| CString::new(format!("fd/{it}")).ok()).collect())
        })
    }

    /// Reads descriptors of a process. `list` returns their paths. Descriptors that can't be read
    /// are left out.
    fn of_descriptors(
        procfs: &Procfs,
        pid: Pid,
        list: impl FnOnce(&ProcessDir<'_>) -> SysResult<Vec<CString>>,
    ) -> Self {
        let mut pipes = Self::default();
        let Ok(dir) = ProcessDir::open(procfs.fd(), pid) else { return pipes };
        for name in list(&dir).unwrap_or_default() {
            let name = name.as_c_str();
            let Ok(Some(pipe)) = FileId::of_pipe(dir.as_fd(), name) else { continue };
            // The permissions of the link show whether the descriptor is the read end or the write
            // end of the pipe. The end matters: a daemon that a job leaves behind may have the same
            // end open as pidns, but is not part of the pipeline.
            let Ok(link) = statat(dir.as_fd(), name, AtFlags::SYMLINK_NOFOLLOW) else { continue };
            if link.st_mode & 0o400 != 0 {
                pipes.read.insert(pipe);
            }
            if link.st_mode & 0o200 != 0 {
                pipes.written.insert(pipe);
            }
        }
        pipes
    }

    fn is_empty(&self) -> bool {
        self.read.is_empty() && self.written.is_empty()
    }

    /// Returns `true` if `other` has the opposite end of one of these pipes open.
    ///
    /// If so, also adds pipes of `other`, to find the next process in the pipeline: if `other`
    /// reads from one of these pipes, the pipes that `other` writes to; if `other` writes to one,
    /// the pipes that `other` reads from.
    ///
    /// A process that only has the same end of a pipe open does not belong to the pipeline: it may
    /// be a daemon of the job that has inherited this end.
    fn follow(&mut self, other: &Self) -> bool {
        let is_reader = !self.written.is_disjoint(&other.read);
        let is_writer = !self.read.is_disjoint(&other.written);
        if is_reader {
            self.written.extend(&other.written);
        }
        if is_writer {
            self.read.extend(&other.read);
        }
        is_reader || is_writer
    }
}

/// Returns the other processes in the pipelines of pidns and its ancestors. Such a process is a
/// child of pidns or of an ancestor, and a pipe connects it to pidns, to an ancestor, or to another
/// process in the pipeline.
fn pipeline(procfs: &Procfs, processes: &[Process], ancestry: &[&Process]) -> BTreeSet<Pid> {
    let mut pipes = Pipes::default();
    for process in ancestry {
        let Pipes { read, written } = Pipes::of(procfs, process.pid);
        pipes.read.extend(read);
        pipes.written.extend(written);
    }
    if pipes.is_empty() {
        return BTreeSet::new();
    }
    // A shell forks a child before it connects the pipes to the child's standard input and output.
    // Until then, the child has the pipes open as other descriptors. Children of pidns can be in
    // this state, too: a shell starts processes for redirections such as `2> >(cat)` before it
    // executes pidns.
    let is_starting = |it: &Process| {
        let is_child = |parent: &Process| it.ppid == Some(parent.pid) && it.comm == parent.comm;
        ancestry.first().is_some_and(|own| it.ppid == Some(own.pid))
            || ancestry
                .iter()
                .any(|parent| is_child(parent) && is_subshell(procfs, it.pid, parent.pid))
    };
    // An init starts pipelines only if it is a shell.
    let parents = ancestry.iter().copied().filter(|it| !is_init(it) || is_shell(procfs, it));
    let others = children_of(processes, ancestry, &parents.collect::<Vec<_>>()).into_iter();
    let adopted = Adopted::of(procfs, ancestry);
    let others = others.map(|it| {
        let all = is_starting(it);
        let mut pipes = if all { Pipes::of_all(procfs, it.pid) } else { Pipes::of(procfs, it.pid) };
        // An orphan may be a daemon that an earlier command started. The daemon may have inherited
        // the write end of a pipe, so ignore the pipes that it writes to.
        if adopted.may_have(procfs, it) {
            pipes.written.clear();
        }
        (it.pid, pipes)
    });
    connected(pipes, others.filter(|(_, pipes)| !pipes.is_empty()).collect())
}

/// Returns the processes in `others` that are connected to one of `pipes`, directly or through
/// other processes in `others`.
fn connected(mut pipes: Pipes, mut others: Vec<(Pid, Pipes)>) -> BTreeSet<Pid> {
    let mut found = BTreeSet::new();
    while let Some(index) = others.iter().position(|(_, other)| pipes.follow(other)) {
        found.insert(others.swap_remove(index).0);
    }
    found
}

/// Returns the youngest children of each of `parents`, at most [`MAX_CHILDREN`] each. Leaves out
/// ancestors of pidns, kernel threads, and zombies.
fn children_of<'a>(
    processes: &'a [Process],
    ancestry: &[&Process],
    parents: &[&Process],
) -> Vec<&'a Process> {
    let is_ancestor = |pid: Pid| ancestry.iter().any(|it| it.pid == pid);
    let is_parent = |pid: Pid| parents.iter().any(|it| it.pid == pid);
    let mut children: HashMap<Pid, Vec<&Process>> = HashMap::new();
    for process in processes.iter().filter(|it| !it.kernel_thread && !it.is_zombie()) {
        let parent = process.ppid.filter(|&parent| is_parent(parent));
        if let Some(parent) = parent.filter(|_| !is_ancestor(process.pid)) {
            children.entry(parent).or_default().push(process);
        }
    }
    for children in children.values_mut() {
        children.sort_unstable_by_key(|it| std::cmp::Reverse((it.start_time, it.pid)));
        children.truncate(MAX_CHILDREN);
    }
    children.into_values().flatten().collect()
}

/// The ancestors of pidns that may adopt orphans: inits, and programs that may be subreapers.
/// Shells are not subreapers.
///
/// Maps the PID of each such ancestor to the children that are assumed not to be orphans. In the
/// kernel's list of the ancestor's children, they come before the child that is pidns or an
/// ancestor of pidns. They include the earlier commands of a pipeline, because a shell starts
/// commands from left to right.
struct Adopted(HashMap<Pid, Vec<Pid>>);

impl Adopted {
    fn of(procfs: &Procfs, ancestry: &[&Process]) -> Self {
        let mut next = None;
        let mut own = HashMap::new();
        for ancestor in ancestry {
            let adopts = is_init(ancestor) || (next.is_some() && !is_shell(procfs, ancestor));
            if adopts {
                let mut children = children(procfs, ancestor.pid);
                let index = children.iter().position(|&it| Some(it) == next);
                children.truncate(index.unwrap_or(0));
                own.insert(ancestor.pid, children);
            }
            next = Some(ancestor.pid);
        }
        Self(own)
    }

    /// Returns `true` if a process may be an orphan that an ancestor of pidns has adopted.
    fn may_have(&self, procfs: &Procfs, process: &Process) -> bool {
        let own = process.ppid.and_then(|parent| self.0.get(&parent));
        own.is_some_and(|own| !own.contains(&process.pid) || leads_session(procfs, process.pid))
    }
}

/// Lists the children of the main thread of a process, in the order in which they were forked or
/// adopted. Returns an empty list if the children can't be read.
fn children(procfs: &Procfs, parent: Pid) -> Vec<Pid> {
    let mut text = Vec::new();
    let name = CString::new(format!("{parent}/task/{parent}/children"));
    let Ok(name) = name else { return Vec::new() };
    if read(procfs.fd(), &name, &mut text).is_err() {
        return Vec::new();
    }
    text.split(u8::is_ascii_whitespace).filter_map(parse::entry).filter_map(Pid::new).collect()
}

fn is_init(process: &Process) -> bool {
    process.nspid.last() == Some(&Pid::INIT)
}

/// Returns the terminated children of the shells in `ancestry`, such as an earlier command in the
/// pipeline. [`pipeline`] can't find a child that has terminated since the scan, because the
/// child's pipes can no longer be read. A shell may even have reaped the child while waiting for
/// pidns.
fn ended_children_of_shells(
    procfs: &Procfs,
    processes: &[Process],
    ancestry: &[&Process],
) -> Vec<Pid> {
    let shells = ancestry.iter().skip(1).filter(|it| is_shell(procfs, it));
    let shells: BTreeSet<Pid> = shells.map(|it| it.pid).collect();
    let children = processes.iter().filter(|it| it.reaper().is_some_and(|it| shells.contains(&it)));
    let has_ended = |pid| match ProcessDir::open(procfs.fd(), pid) {
        // Reading the link `exe` of a zombie fails.
        Ok(dir) => read_link(dir.as_fd(), c"exe", &mut [0; 256]).is_err_and(is_gone),
        Err(errno) => is_gone(errno),
    };
    children.filter(|it| has_ended(it.pid)).map(|it| it.pid).collect()
}

/// Finds [`Observer::step`]: the nearest ancestor that is a shell, leads a session, and has started
/// another shell to run a script. Returns both shells.
///
/// The first shell must have been started with `-c`, to run a command of the CI agent. Any other
/// shell may run the step itself, so its children may be leftovers. An init is not accepted,
/// because its children may be orphans that it has adopted from the script.
fn step<'a>(procfs: &Procfs, ancestry: &[&'a Process]) -> Option<(&'a Process, &'a Process)> {
    let is_step = |&(shell, script): &(&Process, &Process)| {
        is_shell(procfs, script)
            && is_shell(procfs, shell)
            && !is_init(shell)
            && leads_session(procfs, shell.pid)
            && arguments(procfs, shell.pid)
                .is_some_and(|it| it.split(|&it| it == 0).nth(1) == Some(b"-c"))
            && !is_subshell(procfs, script.pid, shell.pid)
    };
    // Skip pidns: it is not a shell, even if it is called `sh`.
    let shells = ancestry.iter().skip(2);
    let scripts = ancestry.iter().skip(1);
    shells.zip(scripts).map(|(shell, script)| (*shell, *script)).find(is_step)
}

/// Returns `true` if the program of a process is a shell. Checks the link `exe` if possible,
/// because `comm` may be the name of a script.
fn is_shell(procfs: &Procfs, process: &Process) -> bool {
    let mut link = [0; 256];
    let dir = ProcessDir::open(procfs.fd(), process.pid);
    let program = dir.and_then(|dir| Ok(read_link(dir.as_fd(), c"exe", &mut link)?.to_vec()));
    let program = program.unwrap_or_else(|_| process.comm.as_bytes().to_vec());
    let name = program.rsplit(|&byte| byte == b'/').next().unwrap_or_default();
    SHELLS.iter().any(|shell| shell.as_bytes() == name)
}

fn leads_session(procfs: &Procfs, pid: Pid) -> bool {
    let mut stat = Vec::new();
    let read =
        ProcessDir::open(procfs.fd(), pid).and_then(|it| read(it.as_fd(), c"stat", &mut stat));
    read.is_ok() && parse::stat(&stat).and_then(|stat| stat.session) == Some(pid)
}

/// Returns `true` if a shell is a copy of its parent (`fork(2)` without `execve(2)`): both have the
/// same command line.
fn is_subshell(procfs: &Procfs, shell: Pid, parent: Pid) -> bool {
    arguments(procfs, shell).is_some_and(|text| arguments(procfs, parent) == Some(text))
}

/// Reads the start of the command line of a process.
fn arguments(procfs: &Procfs, pid: Pid) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let dir = ProcessDir::open(procfs.fd(), pid).ok()?;
    read_at_most(dir.as_fd(), c"cmdline", COMPARED_ARGS, &mut text).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::process;

    /// Creates processes, each given as PID, parent PID and start time.
    fn host(processes: &[(u32, u32, u64)]) -> Vec<Process> {
        let made = processes.iter().map(|&(pid, ppid, start_time)| {
            let mut process = process(&[pid], Some(10));
            process.ppid = Pid::new(ppid);
            process.start_time = Some(start_time);
            process
        });
        made.collect()
    }

    fn raw(pids: impl IntoIterator<Item = Pid>) -> Vec<u32> {
        pids.into_iter().map(Pid::as_u32).collect()
    }

    #[test]
    fn a_cycle_of_parents_ends_the_ancestry() {
        let pid = |raw| Pid::new(raw).unwrap();
        let processes = host(&[(1, 0, 1), (20, 1, 2), (30, 20, 7), (40, 41, 8), (41, 40, 8)]);
        let of = |raw| self::raw(ancestry(&processes, pid(raw)).iter().map(|it| it.pid));
        assert_eq!(of(30), [30, 20, 1]);
        assert_eq!(of(40), [40, 41]);
        assert_eq!(of(99), [0; 0]);
    }

    #[test]
    fn younger_siblings_are_found_by_start_time_and_pid() {
        // Process 32 is pidns. Processes 29 and 31 started before it.
        let mut processes = host(&[(1, 0, 1), (29, 1, 8), (31, 1, 6), (32, 1, 8), (33, 1, 8)]);
        processes.extend(host(&[(34, 33, 9), (41, 20, 9)]));
        assert_eq!(raw(siblings(&processes, &processes[3])), [29, 31, 33]);
        let mut younger = BTreeSet::from_iter(younger_siblings(&processes, &processes[3], None));
        assert_eq!(raw(younger.iter().copied()), [33]);
        add_descendants(&processes, &mut younger);
        assert_eq!(raw(younger), [33, 34]);
        // Without start times, pidns cannot tell which siblings are younger.
        processes[4].start_time = None;
        assert_eq!(younger_siblings(&processes, &processes[3], None), []);
        assert_eq!(younger_siblings(&processes, &processes[0], None), [], "it has no parent");
    }

    #[test]
    fn a_pipeline_goes_from_each_end_of_a_pipe_to_the_other_end() {
        let pipe = |&inode: &u64| FileId { device: 13, inode };
        let pipes = |read: &[u64], written: &[u64]| Pipes {
            read: read.iter().map(pipe).collect(),
            written: written.iter().map(pipe).collect(),
        };
        let connected = |others: &[(u32, Pipes)]| {
            let copies = others.iter().map(|(raw, it)| {
                let copy = Pipes { read: it.read.clone(), written: it.written.clone() };
                (Pid::new(*raw).unwrap(), copy)
            });
            raw(connected(pipes(&[1], &[2]), copies.collect()))
        };
        // Process 5 reads what process 4 writes.
        let readers = [(5, pipes(&[3], &[9])), (4, pipes(&[2], &[3])), (6, pipes(&[8], &[8]))];
        assert_eq!(connected(&readers), [4, 5]);
        let writers = [(4, pipes(&[3], &[1])), (5, pipes(&[], &[3]))];
        assert_eq!(connected(&writers), [4, 5]);
        // Processes 6 and 7 have the same end of a pipe open as pidns.
        let daemons = [(4, pipes(&[2], &[])), (6, pipes(&[1], &[])), (7, pipes(&[], &[2]))];
        assert_eq!(connected(&daemons), [4]);
    }
}
