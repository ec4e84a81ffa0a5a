//! Lists processes for shell completion, and reads their names and owners.

use std::path::Path;

use rustix::fs::{AtFlags, statat};

use super::lookup::process_file;
use crate::collect::kernel::sys::read;
use crate::collect::kernel::user_name::user_name;
use crate::collect::proc::procfs::Procfs;
use crate::model::Pid;

/// The processes that a procfs shows, read again at each call.
#[derive(Debug)]
pub struct ProcessList(Procfs);

impl ProcessList {
    /// Opens the procfs at `path`, or returns `None` if no procfs is mounted there.
    #[must_use]
    pub fn open(path: &Path) -> Option<Self> {
        Procfs::open(path).ok().map(Self)
    }

    /// Returns all PIDs in ascending order, or an empty list if the procfs is unreadable.
    #[must_use]
    pub fn pids(&self) -> Vec<Pid> {
        let Ok(pids) = self.0.pids() else { return Vec::new() };
        let mut pids: Vec<_> = pids.map_while(Result::ok).collect();
        pids.sort_unstable();
        pids
    }

    /// Returns the name of a process, if it is readable.
    #[must_use]
    pub fn comm(&self, pid: Pid) -> Option<String> {
        let comm = self.read(pid, "comm")?;
        Some(String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)).into_owned())
    }

    /// Returns the UID of a process's owner, and the user name (or the UID as text).
    #[must_use]
    pub fn owner(&self, pid: Pid) -> Option<(u32, String)> {
        let name = process_file(pid, "").ok()?;
        let uid = statat(self.0.fd(), &name, AtFlags::empty()).ok()?.st_uid;
        Some((uid, user_name(uid).map_or_else(|| uid.to_string(), |name| name.to_string())))
    }

    /// Returns the path at which the procfs is mounted.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.0.path
    }

    fn read(&self, pid: Pid, file: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        read(self.0.fd(), &process_file(pid, file).ok()?, &mut bytes).ok()?;
        Some(bytes)
    }
}
