//! Finds the containers of processes, and the names of containers and pods, after a scan.
//!
//! On a host without containers, this module usually makes no system calls.
//!
//! - `monitor` recognizes container monitors (containerd-shim and conmon)
//! - `members` finds processes that are not in the container of their namespace's init
//! - `names` finds names for all containers
//! - `reader` locates the files of each runtime
//! - `files` opens the files of a runtime safely
//! - `parse` parses the files of a runtime

mod files;
mod members;
mod monitor;
mod names;
pub mod parse;
mod reader;

use super::proc::ProcSource;
use crate::model::Snapshot;

/// Adds containers and their names to a snapshot.
///
/// The processes in the snapshot must be sorted by PID.
pub fn describe(source: &ProcSource, snapshot: &mut Snapshot) {
    members::find(source, snapshot);
    names::read(source, snapshot);
}
