//! Parses the text formats of procfs.
//!
//! The parsers never panic, and allocate memory only for their results.

mod cmdline;
mod fdinfo;
mod id_map;
mod limits;
mod link;
mod mountinfo;
mod number;
mod stat;
mod status;
mod timens;

pub use cmdline::cmdline;
pub use fdinfo::{descriptor_flags, pidfd_process};
pub use id_map::zero_maps_to;
pub use limits::{LimitMax, cgroup_limit, counter, max_processes, tasks_on_host};
pub use link::{entry, namespace_link};
pub use mountinfo::{
    CgroupMount, HidePid, MountedKind, NamespaceMount, PATH_MAX, PATH_TOO_LONG, cgroup_mounts,
    cgroup_path, hidepid, mount_ids, namespace_mounts, shows_root,
};
pub use stat::{Stat, stat};
pub use status::{
    Leaders, Status, capabilities, context_switches, is_setuid, leaders, name, seccomp_mode,
    signals, status, status_pid, thread_group, tracer, virtual_memory,
};
pub use timens::boottime_offset;

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::model::MAX_LEVEL;

    proptest! {
        #[test]
        fn parsers_accept_any_bytes(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let parsed = status(&bytes);
            prop_assert!(parsed.nspid.len() <= MAX_LEVEL + 1);
            prop_assert!(stat(&bytes).is_none_or(|it| it.comm.len() < bytes.len()));
            prop_assert!(cmdline(&bytes).len() <= bytes.len());
            let _ = (hidepid(&bytes, 0, 21), leaders(&bytes), boottime_offset(&bytes), descriptor_flags(&bytes));
            let _ = (is_setuid(&bytes), context_switches(&bytes));
            let _ = (cgroup_limit(&bytes), counter(&bytes), tasks_on_host(&bytes));
            let _ = (max_processes(&bytes), cgroup_path(&bytes, "pids"));
            prop_assert!(namespace_mounts(&bytes).count() <= bytes.len());
        }
    }
}
