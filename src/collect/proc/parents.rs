//! Finds the parents that a scan has missed.

use std::collections::BTreeSet;

use super::findings::ScanFindings;
use super::scan::Scan;
use super::walk;
use crate::model::Pid;

/// Maximum number of rounds that read missing parents. A second round is needed if a process gets a
/// new parent, and the new parent exits before pidns has read it.
const ROUNDS: usize = 8;

/// Reads the parents that the scan missed, and rereads their children.
///
/// The scan misses a parent that exits during the scan, or that starts after /proc was listed. If
/// the old parent has exited, rereading the child shows its new parent. A child that has exited is
/// removed from `found`. If the parent still can't be read, `assemble` adds a diagnostic.
pub fn find_missing(scan: Scan<'_>, found: &mut ScanFindings) {
    let mut before = BTreeSet::new();
    for _ in 0..ROUNDS {
        let orphans = orphans(found);
        // Stop if the last round found none of the missing parents. /proc may hide the parents
        // (hidepid).
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
        // Consecutive processes often have the same parent. Look up that parent only once.
        let Some(parent) = process.ppid.filter(|_| process.ppid != previous) else { continue };
        if is_found(parent) {
            previous = Some(parent);
        } else {
            orphans.insert((process.pid, parent));
        }
    }
    orphans
}
