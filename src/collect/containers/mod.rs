//! After a scan, finds processes that are not in the same container as the init of their namespace.
//! Also finds the names of containers and pods. On a host without containers, this module usually
//! makes no system calls.
//!
//! - `monitor` recognizes container monitors (containerd-shim and conmon), which are the parents of
//!   the first processes of containers
//! - `members` finds processes that are not in the same container as the init of their namespace
//! - `names` finds names for all containers; `reader` locates the files of each runtime, `files`
//!   opens them safely, and `parse` parses them

mod files;
mod members;
mod monitor;
mod names;
pub mod parse;
mod reader;

use super::proc::ProcSource;
use crate::model::Snapshot;

/// Adds container names to a snapshot. Also adds the container of each process that is not in the
/// container of its namespace's init. The processes must be sorted by PID.
pub fn describe(source: &ProcSource, snapshot: &mut Snapshot) {
    members::find(source, snapshot);
    names::read(source, snapshot);
}
