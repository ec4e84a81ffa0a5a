//! Finds the parents that a scan has missed.

use std::collections::BTreeSet;

use super::findings::ScanFindings;
use super::scan::Scan;
use super::walk;
use crate::model::Pid;

/// Maximum number of times that processes are read again. On a host where parents exit all the
/// time, the new parent of a process can exit before it is read, too.
const ROUNDS: usize = 8;

/// If the parent of a process was not found, reads both the process and the parent again.
///
/// If the parent has exited during the scan, the process has a new parent by now. If the parent was
/// started after /proc was listed, the parent is found now. If the process itself has exited, it is
/// left out. If the parent still can't be read, `assemble` adds a diagnostic.
pub fn find_missing(scan: Scan<'_>, found: &mut ScanFindings) {
    let mut before = BTreeSet::new();
    for _ in 0..ROUNDS {
        let orphans = orphans(found);
        // If nothing has changed, the parents can't be read at all. /proc may hide them (hidepid).
        if orphans.is_empty() || orphans == before {
            return;
        }
        found.remove(&orphans.iter().map(|&(child, _)| child).collect());
        let again: BTreeSet<Pid> = orphans.iter().flat_map(|&(one, other)| [one, other]).collect();
        found.merge(walk::read(scan, &Vec::from_iter(again)));
        found.processes.sort_by_key(|process| process.pid);
        before = orphans;
    }
}

/// Returns the PID of each process whose parent was not found, together with the parent's PID. The
/// processes must be sorted by PID.
fn orphans(found: &ScanFindings) -> BTreeSet<(Pid, Pid)> {
    let is_found = |pid| found.processes.binary_search_by_key(&pid, |it| it.pid).is_ok();
    let mut previous = None;
    let mut orphans = BTreeSet::new();
    for process in &found.processes {
        // Successive processes often have the same parent, which is then looked up only once.
        let Some(parent) = process.ppid.filter(|_| process.ppid != previous) else { continue };
        if is_found(parent) {
            previous = Some(parent);
        } else {
            orphans.insert((process.pid, parent));
        }
    }
    orphans
}
