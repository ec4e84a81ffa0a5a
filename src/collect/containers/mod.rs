//! After a scan, finds the members of other containers in a namespace, and the names of containers
//! and pods. On a host without containers, this takes no further system calls.
//!
//! - `monitor` recognizes the processes that runtimes start as parents of containers
//! - `members` finds the processes that do not belong to the container of their namespace
//! - `names` finds names for all containers; `reader` knows the files of each runtime, `files` opens
//!   them safely, and `parse` parses them

mod files;
mod members;
mod monitor;
mod names;
mod parse;
mod reader;

use super::proc::ProcSource;
use crate::model::Snapshot;

/// Adds the members of other containers and the names of all containers to a snapshot. The
/// processes in the snapshot must be sorted by PID.
pub fn describe(source: &ProcSource, snapshot: &mut Snapshot) {
    members::find(source, snapshot);
    names::read(source, snapshot);
}
