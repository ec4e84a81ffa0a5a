//! A bare list of processes, for completions: no scan, no places searched, and
//! nothing said of what is missing. Each fact is read when it is asked for.

use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fs::{AtFlags, RawDir, statat};

use super::lookup::process_file;
use crate::collect::kernel::sys::{open_dir, read};
use crate::collect::kernel::user_name::user_name;
use crate::collect::parse;
use crate::collect::proc::mount::Procfs;
use crate::model::{Container, Pid, container};

/// The processes of a /proc, as they come and go.
#[derive(Debug)]
pub struct Listing(Procfs);

impl Listing {
    /// Of the procfs mounted at `path`; `None` where there is none.
    #[must_use]
    pub fn open(path: &Path) -> Option<Self> {
        Procfs::open(path).ok().map(Self)
    }

    /// The PIDs of all processes, in order.
    #[must_use]
    pub fn pids(&self) -> Vec<Pid> {
        let mut pids = Vec::new();
        let Ok(dir) = open_dir(self.0.fd(), c".") else { return pids };
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        let mut entries = RawDir::new(dir, &mut buffer);
        while let Some(Ok(entry)) = entries.next() {
            pids.extend(parse::entry(entry.file_name().to_bytes()).and_then(Pid::new));
        }
        pids.sort_unstable();
        pids
    }

    /// The name of a process.
    #[must_use]
    pub fn comm(&self, pid: Pid) -> Option<String> {
        let comm = self.read(pid, "comm")?;
        Some(String::from_utf8_lossy(comm.strip_suffix(b"\n").unwrap_or(&comm)).into_owned())
    }

    /// The user who owns a process: the name, or else the number.
    #[must_use]
    pub fn owner(&self, pid: Pid) -> Option<(u32, String)> {
        let name = process_file(pid, "").ok()?;
        let uid = statat(self.0.fd(), &name, AtFlags::empty()).ok()?.st_uid;
        Some((uid, user_name(uid).map_or_else(|| uid.to_string(), |name| name.to_string())))
    }

    /// The container that a process is in, by its cgroup.
    #[must_use]
    pub fn container(&self, pid: Pid) -> Option<Container> {
        container::of_cgroups(&self.read(pid, "cgroup")?, || false)
    }

    fn read(&self, pid: Pid, file: &str) -> Option<Vec<u8>> {
        let mut bytes = Vec::new();
        read(self.0.fd(), &process_file(pid, file).ok()?, &mut bytes).ok()?;
        Some(bytes)
    }
}
