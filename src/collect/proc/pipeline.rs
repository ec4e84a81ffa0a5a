//! Finds pidns itself and related processes in a scan: its ancestors, its tracer, the other
//! processes of its pipeline, and the processes that run the heartbeat of its CI step (see
//! `heartbeat`).

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::{CStr, CString};
use std::os::fd::AsFd as _;

use rustix::fs::{AtFlags, Dir, statat};
use rustix::io::{Errno, Result as SysResult};

use super::descriptor_table::is_close_on_exec;
use super::heartbeat;
use super::process_dir::ProcessDir;
use super::procfs::Procfs;
use super::relatives::{
    add_descendants, ancestry, children, has_ended, is_init, is_shell, is_subshell, session,
    siblings,
};
use super::status::{read_now, start_time_now};
use super::waiting;
use crate::collect::kernel::sys::{FileId, open_dir, read_link};
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::parse;
use crate::model::{Observer, Pid, Process};

/// Maximum number of children of one ancestor that are checked for pipes. The youngest children are
/// checked first: if the ancestor is an init, most of its children are services, which are older
/// than the pipeline.
const MAX_CHILDREN: usize = 256;

/// The descriptors that connect a process to its pipeline.
const STANDARD: [&CStr; 3] = [c"fd/0", c"fd/1", c"fd/2"];

/// Maximum number of descriptors to read for pidns itself, for a shell, or for a process that a
/// shell has forked but that has not executed its program yet. For other processes, only the
/// `STANDARD` descriptors are read.
const MAX_DESCRIPTORS: usize = 256;

/// Finds the running pidns process in its own scan. `processes` must be sorted by PID. Returns
/// `None` if the procfs does not show pidns.
pub fn observer(procfs: &Procfs, processes: &[Process]) -> Option<Observer> {
    let pid = procfs.viewer?;
    let ancestry = ancestry(processes, pid);
    let waits = WaitLimit::of_memory();
    let start_time = ancestry.first().and_then(|it| it.start_time);
    let mut attendants = pipeline(procfs, processes, &ancestry, &waits);
    attendants.extend(unreadable_siblings(procfs, processes, &ancestry));
    add_descendants(processes, &mut attendants);
    attendants.extend(ended_children_of_shells(procfs, processes, &ancestry));
    attendants.extend(ancestry.iter().filter_map(|it| it.ppid));
    attendants.extend(ancestry.first().and_then(|it| waiting::tracer(procfs, it)));
    attendants.remove(&pid);
    let step = heartbeat::step(procfs, processes, &ancestry, &waits);
    Some(Observer {
        pid,
        start_time: start_time.or_else(|| start_time_now(procfs, pid)),
        step: step.as_ref().map(|it| it.shell),
        companions: step.into_iter().flat_map(|it| it.heartbeat).collect(),
        attendants: attendants.into_iter().collect(),
    })
}

/// Returns siblings that are probably in the pipeline of pidns, but do not permit pidns to read
/// their descriptors, such as `sudo tee log` in the pipeline of an ordinary user.
///
/// A sibling must have started after pidns, and must be in the same session. The parent must be a
/// shell, and must not be an init, because an init adopts orphans. A later start time is not
/// enough: if a shell replaced itself with pidns (`exec`), pidns has the start time and the
/// siblings of that shell.
fn unreadable_siblings(procfs: &Procfs, processes: &[Process], ancestry: &[&Process]) -> Vec<Pid> {
    let [own, parent, ..] = ancestry else { return Vec::new() };
    if is_init(parent) || !is_shell(procfs, parent) {
        return Vec::new();
    }
    let (pid_max, own_session) = (procfs.pid_max(), session(procfs, own.pid));
    let is_younger = |it: &&Process| {
        let starts = own.start().zip(it.start());
        starts.is_some_and(|(own, other)| own.is_before(other, pid_max) == Some(true))
    };
    let is_unreadable = |it: &&Process| {
        let link = ProcessDir::open(procfs.fd(), it.pid)
            .and_then(|dir| read_link(dir.as_fd(), c"exe", &mut [0; 256]).map(drop));
        matches!(link, Err(Errno::ACCESS | Errno::PERM)) && session(procfs, it.pid) == own_session
    };
    siblings(processes, own).filter(is_younger).filter(is_unreadable).map(|it| it.pid).collect()
}

/// The pipes and FIFOs that a process has open.
#[derive(Default)]
struct Pipes {
    /// The pipes that the process reads from.
    read: HashSet<FileId>,
    /// The pipes that the process writes to.
    written: HashSet<FileId>,
    /// `true` if the process may be a daemon that an earlier command of the pipeline started. Such
    /// a daemon may have inherited the write end of a pipe.
    may_be_daemon: bool,
    /// The pipes in `written` whose reader is a sibling that the kernel lists before this process.
    /// A shell starts the writer of a pipe before the reader, so the shell did not start this
    /// process. The process may be a daemon that the actual writer started.
    late: HashSet<FileId>,
}

impl Pipes {
    /// Finds the pipes among the standard descriptors of a process: input, output and error.
    fn of(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |_| Ok(STANDARD.map(CString::from).into()))
    }

    /// Finds the pipes among all open descriptors of a process. To connect a pipe, a shell
    /// duplicates it to a standard descriptor before it closes the original, which has a higher
    /// number. So pidns reads the descriptors from the highest to the lowest: if the original is
    /// closed, the duplicate exists already.
    fn of_all(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |dir| Ok(paths(descriptors(dir)?)))
    }

    /// Finds the pipes that may belong to the pipeline of pidns or of a shell. Includes every pipe
    /// among the standard descriptors. Among the higher descriptors, includes only the write ends
    /// of anonymous pipes that the shell's commands inherit, as in `exec 3> >(cat)`. Other pipes
    /// may lead to a server, as in `exec 3< <(server)`.
    fn of_shell(procfs: &Procfs, pid: Pid) -> Self {
        Self::of_descriptors(procfs, pid, |dir| {
            let is_passed_on = |fd: &u32| {
                let link = CString::new(format!("fd/{fd}")).unwrap_or_default();
                let is_pipe = read_link(dir.as_fd(), &link, &mut [0; 32])
                    .is_ok_and(|target| target.starts_with(b"pipe:"));
                let is_written = statat(dir.as_fd(), &link, AtFlags::SYMLINK_NOFOLLOW)
                    .is_ok_and(|it| it.st_mode & 0o200 != 0);
                *fd < 3 || is_pipe && is_written && !is_close_on_exec(dir.as_fd(), *fd)
            };
            Ok(paths(descriptors(dir)?.into_iter().filter(is_passed_on)))
        })
    }

    /// Finds the pipes among the descriptors of a process. `list` selects the descriptors, and
    /// returns their paths. Leaves out descriptors that can't be read.
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
            // end of the pipe. pidns must know which end is open: a daemon that a job left behind
            // may have inherited the same end as pidns, but is not part of the pipeline.
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

    /// Returns `true` if `other` contains the opposite end of a pipe in `self`.
    ///
    /// If so, also adds pipes to `self`, to find the next process in the pipeline. If `other` reads
    /// from a pipe in `self`, adds the pipes that `other` writes to. If `other` writes to a pipe in
    /// `self`, adds the pipes that `other` reads from.
    ///
    /// If `other` contains only the same end of a pipe as `self`, returns `false`: the process may
    /// be a daemon that the job started and that inherited this end.
    fn follow(&mut self, other: &Self) -> bool {
        let is_reader = !self.written.is_disjoint(&other.read);
        let mut written = other.written.difference(&other.late);
        let is_writer = !other.may_be_daemon && written.any(|pipe| self.read.contains(pipe));
        if is_reader {
            self.written.extend(&other.written);
        }
        if is_writer {
            self.read.extend(&other.read);
        }
        is_reader || is_writer
    }
}

/// Returns the descriptors of a process, the highest number first.
fn descriptors(dir: &ProcessDir<'_>) -> SysResult<Vec<u32>> {
    let entries = Dir::new(open_dir(dir.as_fd(), c"fd")?)?.flatten();
    let numbers = entries.filter_map(|entry| parse::entry(entry.file_name().to_bytes()));
    let mut numbers: Vec<u32> = numbers.take(MAX_DESCRIPTORS).collect();
    numbers.extend([0, 1, 2]);
    numbers.sort_unstable_by_key(|&it| std::cmp::Reverse(it));
    Ok(numbers)
}

/// Returns the paths of descriptors, such as `fd/3`, relative to the directory of the process.
fn paths(descriptors: impl IntoIterator<Item = u32>) -> Vec<CString> {
    let path = |fd| CString::new(format!("fd/{fd}")).ok();
    descriptors.into_iter().filter_map(path).collect()
}

/// Returns the processes that are in a pipeline with pidns or one of its ancestors. Such a process
/// is a child of pidns or of an ancestor, and a pipe connects it to pidns, to an ancestor, or to
/// another process in the pipeline.
fn pipeline(
    procfs: &Procfs,
    processes: &[Process],
    ancestry: &[&Process],
    waits: &WaitLimit,
) -> BTreeSet<Pid> {
    let mut pipes = Pipes::default();
    for (index, process) in ancestry.iter().enumerate() {
        let is_own_or_shell = index == 0 || is_shell(procfs, process);
        let of = if is_own_or_shell { Pipes::of_shell } else { Pipes::of };
        let Pipes { read, written, .. } = of(procfs, process.pid);
        pipes.read.extend(read);
        pipes.written.extend(written);
    }
    if pipes.is_empty() {
        return BTreeSet::new();
    }
    // A child that a shell has just forked for a command has the pipes open, but not yet as its
    // standard input and output. So read all descriptors of such a child. Children of pidns can be
    // in this state, too: a shell starts processes for redirections such as `2> >(cat)` before it
    // executes pidns.
    let is_starting = |it: &Process| {
        let is_child = |parent: &Process| it.ppid == Some(parent.pid) && it.comm == parent.comm;
        ancestry.first().is_some_and(|own| it.ppid == Some(own.pid))
            || ancestry
                .iter()
                .any(|parent| is_child(parent) && is_subshell(procfs, it.pid, parent.pid, waits))
    };
    // An init starts pipelines only if it is a shell.
    let parents = ancestry.iter().copied().filter(|it| !is_init(it) || is_shell(procfs, it));
    let others = children_of(processes, ancestry, &parents.collect::<Vec<_>>()).into_iter();
    let adopted = Adopted::of(procfs, ancestry);
    let others = others.map(|it| {
        let all = is_starting(it);
        let mut pipes = if all { Pipes::of_all(procfs, it.pid) } else { Pipes::of(procfs, it.pid) };
        pipes.may_be_daemon = adopted.may_have(procfs, it);
        (it.pid, pipes)
    });
    let mut others: Vec<_> = others.filter(|(_, pipes)| !pipes.is_empty()).collect();
    let late: Vec<_> = others.iter().map(|it| adopted.late(it, &others)).collect();
    for ((_, pipes), late) in others.iter_mut().zip(late) {
        pipes.late = late;
    }
    connected(pipes, others)
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

/// For each ancestor of pidns that may adopt orphans, the children that the ancestor probably
/// started itself. An init may adopt orphans, and so may any ancestor except a shell, because it
/// may be a subreaper.
///
/// The kernel lists the children of a process in the order in which they were forked or adopted.
/// pidns assumes that the ancestor started every child that is listed before pidns or before the
/// next ancestor of pidns. For an init that is a shell, these children include the earlier commands
/// of pidns's pipeline, because a shell starts commands from left to right.
///
/// An orphan that was adopted early is also among these children. pidns recognizes such an orphan
/// only if it is a session leader, or if it writes to a pipe whose reader is listed earlier.
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

    /// Returns [`Pipes::late`] for a process. `others` must contain the siblings of the process.
    fn late(&self, (pid, pipes): &(Pid, Pipes), others: &[(Pid, Pipes)]) -> HashSet<FileId> {
        let mut lists = self.0.values();
        let earlier = lists.find_map(|own| own.get(..own.iter().position(|it| it == pid)?));
        let is_earlier = |other: &Pid| earlier.is_some_and(|earlier| earlier.contains(other));
        let readers = others.iter().filter(|(other, _)| is_earlier(other));
        readers.flat_map(|(_, it)| it.read.intersection(&pipes.written)).copied().collect()
    }

    /// Returns `true` if a process may be an orphan that an ancestor of pidns has adopted.
    fn may_have(&self, procfs: &Procfs, process: &Process) -> bool {
        let own = process.ppid.and_then(|parent| self.0.get(&parent));
        let leads_session = |pid| session(procfs, pid) == Some(pid);
        own.is_some_and(|own| !own.contains(&process.pid) || leads_session(process.pid))
    }
}

/// Returns the terminated children of the shells in `ancestry`, such as an earlier command in the
/// pipeline. [`pipeline`] can't find a child that has terminated since the scan, because the
/// child's pipes can no longer be read.
fn ended_children_of_shells(
    procfs: &Procfs,
    processes: &[Process],
    ancestry: &[&Process],
) -> Vec<Pid> {
    let shells = ancestry.iter().skip(1).filter(|it| is_shell(procfs, it));
    let shells: BTreeSet<Pid> = shells.map(|it| it.pid).collect();
    let is_child = |it: &&Process| it.reaper().is_some_and(|it| shells.contains(&it));
    let ended = processes.iter().filter(is_child).filter(|it| has_ended(procfs, it.pid));
    let ended: Vec<&Process> = ended.collect();
    if ended.iter().all(|it| it.is_zombie()) {
        return ended.iter().map(|it| it.pid).collect();
    }
    // A child that has ended may be a daemon that has restarted itself. If its parent has a new
    // child with the same name, assume a restart, and leave the ended child out of the result.
    let is_scanned = |pid| processes.binary_search_by_key(&pid, |it| it.pid).is_ok();
    let new = shells.iter().flat_map(|&it| children(procfs, it)).filter(|&it| !is_scanned(it));
    let new: Vec<Process> = new.filter_map(|it| read_now(procfs, it).ok()).collect();
    let is_replaced = |it: &Process| {
        !it.is_zombie() && new.iter().any(|new| (new.ppid, &new.comm) == (it.ppid, &it.comm))
    };
    ended.iter().filter(|it| !is_replaced(it)).map(|it| it.pid).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(pids: impl IntoIterator<Item = Pid>) -> Vec<u32> {
        pids.into_iter().map(Pid::as_u32).collect()
    }

    #[test]
    fn a_pipeline_goes_from_each_end_of_a_pipe_to_the_other_end() {
        let pipe = |&inode: &u64| FileId { device: 13, inode };
        let pipes = |read: &[u64], written: &[u64]| Pipes {
            read: read.iter().map(pipe).collect(),
            written: written.iter().map(pipe).collect(),
            ..Pipes::default()
        };
        let connected = |others: &[(u32, Pipes)]| {
            let copies = others.iter().map(|(raw, it)| {
                let copy = Pipes {
                    read: it.read.clone(),
                    written: it.written.clone(),
                    may_be_daemon: it.may_be_daemon,
                    late: it.late.clone(),
                };
                (Pid::new(*raw).unwrap(), copy)
            });
            raw(connected(pipes(&[1], &[2]), copies.collect()))
        };
        // Process 5 reads what process 4 writes.
        let readers = [(5, pipes(&[3], &[9])), (4, pipes(&[2], &[3])), (6, pipes(&[8], &[8]))];
        assert_eq!(connected(&readers), [4, 5]);
        let writers = [(4, pipes(&[3], &[1])), (5, pipes(&[], &[3]))];
        assert_eq!(connected(&writers), [4, 5]);
        // pidns reads from pipe 1 and writes to pipe 2. Process 6 also reads from pipe 1, and
        // process 7 also writes to pipe 2.
        let daemons = [(4, pipes(&[2], &[])), (6, pipes(&[1], &[])), (7, pipes(&[], &[2]))];
        assert_eq!(connected(&daemons), [4]);
        // Process 4 may be a daemon that has the write end of the pipe open.
        let mut orphans = [(4, pipes(&[], &[1])), (5, pipes(&[2], &[3])), (6, pipes(&[3], &[]))];
        for (_, orphan) in &mut orphans {
            orphan.may_be_daemon = true;
        }
        assert_eq!(connected(&orphans), [5, 6]);
        // The reader of pipe 3 was started before process 4, which writes to this pipe.
        let mut writers = [(4, pipes(&[], &[3])), (5, pipes(&[3], &[1]))];
        assert_eq!(connected(&writers), [4, 5]);
        writers[0].1.late.insert(pipe(&3));
        assert_eq!(connected(&writers), [5]);
    }
}
