//! Finds the ancestors, siblings and descendants of processes, and recognizes shells.

use std::collections::{BTreeSet, HashMap, HashSet};
use std::ffi::CString;
use std::os::fd::AsFd as _;

use super::process_dir::ProcessDir;
use super::procfs::Procfs;
use super::status::read_now;
use crate::collect::kernel::sys::{is_gone, read, read_link};
use crate::collect::kernel::wait_limit::{WaitLimit, read_at_most};
use crate::collect::parse;
use crate::model::{Pid, Process};

const SHELLS: [&str; 11] =
    ["sh", "bash", "dash", "ash", "busybox", "zsh", "ksh", "ksh93", "mksh", "yash", "fish"];

/// Maximum number of command-line bytes to compare: the size of the longest argument, such as a
/// script, that execve(2) accepts.
const COMPARED_ARGS: usize = 128 << 10;

/// Returns a process and its ancestors, as far as the scan has found them.
pub fn ancestry(processes: &[Process], pid: Pid) -> Vec<&Process> {
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

/// Returns the other processes with the same parent.
pub fn siblings<'a>(
    processes: &'a [Process],
    process: &Process,
) -> impl Iterator<Item = &'a Process> {
    let (pid, parent) = (process.pid, process.ppid);
    let is_sibling = move |it: &&Process| parent.is_some() && it.ppid == parent && it.pid != pid;
    processes.iter().filter(is_sibling)
}

/// Adds the descendants of the processes in `pids`.
pub fn add_descendants(processes: &[Process], pids: &mut BTreeSet<Pid>) {
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

/// Returns the children of a process's main thread, in the order of fork or adoption.
pub fn children(procfs: &Procfs, parent: Pid) -> Vec<Pid> {
    let mut text = Vec::new();
    let name = CString::new(format!("{parent}/task/{parent}/children"));
    let Ok(name) = name else { return Vec::new() };
    if read(procfs.fd(), &name, &mut text).is_err() {
        return Vec::new();
    }
    text.split(u8::is_ascii_whitespace).filter_map(parse::entry).filter_map(Pid::new).collect()
}

/// Returns the processes in `ended` that have a new sibling with the same name.
pub fn restarted(procfs: &Procfs, processes: &[Process], ended: &[&Process]) -> BTreeSet<Pid> {
    let ended: Vec<_> = ended.iter().filter(|it| !it.is_zombie()).collect();
    let parents: BTreeSet<Pid> = ended.iter().filter_map(|it| it.ppid).collect();
    if parents.is_empty() {
        return BTreeSet::new();
    }
    let scanned: HashSet<Pid> = processes.iter().map(|it| it.pid).collect();
    let children = parents.into_iter().flat_map(|it| children(procfs, it));
    let new = children.filter(|pid| !scanned.contains(pid));
    let new: Vec<Process> = new.filter_map(|it| read_now(procfs, it).ok()).collect();
    let is_replaced =
        |it: &Process| new.iter().any(|new| (new.ppid, &new.comm) == (it.ppid, &it.comm));
    ended.into_iter().filter(|it| is_replaced(it)).map(|it| it.pid).collect()
}

/// Returns `true` if all threads of a process have exited.
pub fn has_ended(procfs: &Procfs, pid: Pid) -> bool {
    let Ok(dir) = ProcessDir::open(procfs.fd(), pid) else { return true };
    // The link `exe` is readable until the leader thread exits, so a process whose `exe` is
    // readable has not ended.
    read_link(dir.as_fd(), c"exe", &mut [0; 256]).is_err_and(is_gone)
        && read_now(procfs, pid)
            .map_or_else(is_gone, |it| it.threads.is_none_or(|it| it.get() == 1))
}

/// Returns `true` if the `comm` of a process is the name of a shell.
pub fn has_shell_name(process: &Process) -> bool {
    SHELLS.contains(&&*process.comm)
}

/// Returns `true` if a process is a shell.
pub fn is_shell(procfs: &Procfs, process: &Process, waits: &WaitLimit) -> bool {
    let is_shell = |path: &[u8]| SHELLS.iter().any(|it| it.as_bytes() == file_name(path));
    let mut link = [0; 256];
    let dir = ProcessDir::open(procfs.fd(), process.pid);
    if let Ok(program) = dir.and_then(|dir| read_link(dir.as_fd(), c"exe", &mut link)) {
        // An upgrade can have replaced the file.
        return is_shell(program.strip_suffix(b" (deleted)").unwrap_or(program));
    }
    // If the link `exe` can't be read, check `comm` and `argv[0]`.
    let arguments = arguments(procfs, process.pid, waits).unwrap_or_default();
    let first = arguments.split(|&byte| byte == 0).next().unwrap_or_default();
    // A login shell's `argv[0]` starts with a hyphen.
    is_shell(process.comm.as_bytes()) || is_shell(first.strip_prefix(b"-").unwrap_or(first))
}

/// Returns the part of a path after the last slash.
pub fn file_name(path: &[u8]) -> &[u8] {
    path.rsplit(|&byte| byte == b'/').next().unwrap_or_default()
}

/// Returns the PID of the process's session leader, if this procfs shows the leader.
pub fn session(procfs: &Procfs, pid: Pid) -> Option<Pid> {
    let mut stat = Vec::new();
    let dir = ProcessDir::open(procfs.fd(), pid).ok()?;
    read(dir.as_fd(), c"stat", &mut stat).ok()?;
    parse::stat(&stat)?.session
}

/// Returns `true` if a shell is probably a forked copy of its parent.
pub fn is_subshell(procfs: &Procfs, shell: Pid, parent: Pid, waits: &WaitLimit) -> bool {
    let of = |pid| arguments(procfs, pid, waits);
    // A forked copy has the same command line until it executes a program.
    of(shell).is_some_and(|text| of(parent) == Some(text))
}

/// Reads the start of a command line, in which a null byte ends each argument.
pub fn arguments(procfs: &Procfs, pid: Pid, waits: &WaitLimit) -> Option<Vec<u8>> {
    let mut text = Vec::new();
    let dir = ProcessDir::open(procfs.fd(), pid).ok()?;
    read_at_most(dir.as_fd(), c"cmdline", COMPARED_ARGS, &mut text, waits).ok()?;
    Some(text)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::process;

    /// Creates processes, each given as PID and parent PID.
    fn host(processes: &[(u32, u32)]) -> Vec<Process> {
        let made = processes.iter().map(|&(pid, ppid)| {
            let mut process = process(&[pid], Some(10));
            process.ppid = Pid::new(ppid);
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
        let processes = host(&[(1, 0), (20, 1), (30, 20), (40, 41), (41, 40)]);
        let of = |raw| self::raw(ancestry(&processes, pid(raw)).iter().map(|it| it.pid));
        assert_eq!(of(30), [30, 20, 1]);
        assert_eq!(of(40), [40, 41]);
        assert_eq!(of(99), [0; 0]);
    }

    #[test]
    fn siblings_have_the_same_parent_and_descendants_are_found_below_them() {
        let processes = host(&[(1, 0), (29, 1), (31, 1), (32, 1), (34, 31), (41, 20), (42, 34)]);
        let of = |index: usize| raw(siblings(&processes, &processes[index]).map(|it| it.pid));
        assert_eq!(of(3), [29, 31]);
        assert_eq!(of(0), [0; 0], "it has no parent");
        let mut below: BTreeSet<Pid> = Pid::new(31).into_iter().collect();
        add_descendants(&processes, &mut below);
        assert_eq!(raw(below), [31, 34, 42]);
    }
}
