//! Reads a mounted /proc: the only room that opens files in it.
//!
//! - `mount` whose /proc it is, and what it hides
//! - `process_dir` the files of one process
//! - `walk` threads, and batches of processes for them
//! - `process` one process, wholly or not at all
//! - `holders` what processes hold, `mounts` what bind mounts do

pub mod holders;
pub mod mount;
pub mod mounts;
pub mod process;
pub mod process_dir;
pub mod walk;

use std::os::fd::AsFd as _;
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::nsfs::NamespaceFd;
use super::sys::namespace_link;
use mount::Procfs;

/// Whether a namespace ever had an init. The kernel shows `pid_for_children`
/// only if it had; so a thread that is about to end enters it, without any
/// child, and looks. `None` where it may not enter (it takes `CAP_SYS_ADMIN`).
pub fn had_init(fd: &NamespaceFd, procfs: &Procfs) -> Option<bool> {
    // The own thread is to be looked at, which this /proc must show.
    procfs.viewer?;
    let look = || {
        let kind = Some(LinkNameSpaceType::ProcessID);
        move_into_link_name_space(fd.as_fd(), kind).ok()?;
        match namespace_link(procfs.fd(), c"thread-self/ns/pid_for_children", "pid") {
            Ok(shown) => shown.map(|inode| inode == fd.inode()),
            Err(Errno::NOENT) => Some(false),
            Err(_) => None,
        }
    };
    thread::scope(|scope| {
        let looker = thread::Builder::new().spawn_scoped(scope, look).ok()?;
        looker.join().ok().flatten()
    })
}
