//! Finds parent processes that a scan has missed.

use std::collections::BTreeSet;

use super::findings::ScanFindings;
use super::scan::Scan;
use super::walk;
use crate::model::Pid;

/// Maximum number of searches for missing parents in a scan.
const MAX_SEARCHES: usize = 8;

/// Reads the parents that the scan missed, and rereads their children.
pub fn find_missing(scan: Scan<'_>, found: &mut ScanFindings) {
    let mut before = BTreeSet::new();
    for _ in 0..MAX_SEARCHES {
        let orphans = orphans(found);
        // Stop if the last search found none of the missing parents, because /proc may hide them.
        if orphans.is_empty() || orphans == before {
            return;
        }
        // Remove each child and read it again, because it may have exited or been given a new
        // parent.
        found.remove(&orphans.iter().map(|&(child, _)| child).collect());
        let again: BTreeSet<Pid> = orphans.iter().flat_map(|&(one, other)| [one, other]).collect();
        found.merge(walk::read(scan, &Vec::from_iter(again)));
        found.processes.sort_by_key(|process| process.pid);
        before = orphans;
    }
}

/// Returns pairs of PID and parent PID for the processes with a missing parent.
fn orphans(found: &ScanFindings) -> BTreeSet<(Pid, Pid)> {
    // The scan has sorted the processes by PID.
    let is_found = |pid| found.processes.binary_search_by_key(&pid, |it| it.pid).is_ok();
    let mut previous = None;
    let mut orphans = BTreeSet::new();
    for process in &found.processes {
        // Consecutive processes often have the same parent, so look it up only once.
        let Some(parent) = process.ppid.filter(|_| process.ppid != previous) else { continue };
        if is_found(parent) {
            previous = Some(parent);
        } else {
            orphans.insert((process.pid, parent));
        }
    }
    orphans
}
