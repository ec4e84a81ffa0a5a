//! A process: a thread group, known by the PID of its leader.

use smol_str::SmolStr;

use super::{Evidence, NamespaceId, Nspid, Pid};

/// A process: a thread group, known by the PID of its leader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Process {
    /// PID in the namespace of the /proc that was read.
    pub pid: Pid,
    /// Its parent, in the same numbers; `None` where it has none that this /proc shows.
    pub ppid: Option<Pid>,
    /// Its own (innermost) namespace; `None` where that is ambiguous.
    pub namespace: Option<NamespaceId>,
    /// Its PIDs in every level.
    pub nspid: Nspid,
    /// Command name, at most 15 bytes unless it is a kernel thread
    /// (`PR_SET_NAME`); bytes that are not UTF-8 are U+FFFD.
    pub comm: SmolStr,
    /// One letter as in `ps(1)`: `S` sleeping, `Z` zombie and so on.
    pub state: char,
    /// Real user ID, as the reader's user namespace maps it.
    pub uid: u32,
    /// That user's name, where the host has one.
    pub user: Option<SmolStr>,
    /// Whether it is a thread of the kernel's own.
    pub kernel_thread: bool,
    /// How its namespace is known.
    pub evidence: Evidence,
}

impl Process {
    /// Whether it has terminated and waits for its parent to reap it.
    #[must_use]
    pub fn is_zombie(&self) -> bool {
        matches!(self.state, 'Z' | 'X')
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_stays_small_as_hosts_have_many() {
        assert!(size_of::<Process>() <= 144, "{}", size_of::<Process>());
    }
}
