//! Determines the privileges of the pidns process, and the restrictions that apply to it.

use rustix::process::{Resource, getrlimit};
use rustix::thread::{CapabilitySet, capabilities};

use super::sys::{own_namespace, read_own};
use crate::collect::discovery::INITIAL_PID_NAMESPACE;
use crate::collect::parse;
use crate::model::INITIAL_USER_NAMESPACE;

/// Returns `true` if pidns has `CAP_SYS_PTRACE` over every process.
pub fn may_trace_all() -> bool {
    has_everywhere(CapabilitySet::SYS_PTRACE)
}

/// Returns `true` if pidns has `CAP_SYS_ADMIN` over every namespace.
pub fn may_administer() -> bool {
    has_everywhere(CapabilitySet::SYS_ADMIN)
}

/// Returns `true` if pidns may raise the hard limits of every process.
pub fn may_raise_hard_limits() -> bool {
    has_everywhere(CapabilitySet::SYS_RESOURCE)
}

/// Returns `true` if pidns may load BPF programs that read kernel memory.
pub fn may_load_bpf() -> bool {
    may_administer() || [CapabilitySet::BPF, CapabilitySet::PERFMON].into_iter().all(has_everywhere)
}

/// Returns `true` if pidns has the privileges of root on the host, and sees all processes.
pub fn is_host_root() -> bool {
    let own = own_namespace(c"self/ns/pid", "pid");
    may_trace_all() && may_load_bpf() && own == Ok(Some(INITIAL_PID_NAMESPACE))
}

/// Returns how many more bytes pidns can map under `RLIMIT_AS`, or `None` if unlimited.
pub fn free_address_space() -> Option<u64> {
    let limit = getrlimit(Resource::As).current?;
    let status = read_own(c"self/status").unwrap_or_default();
    Some(limit.saturating_sub(parse::virtual_memory(&status).unwrap_or_default()))
}

/// Returns `true` if a seccomp filter may kill pidns for a forbidden system call.
pub fn has_seccomp_filter() -> bool {
    let status = read_own(c"self/status").unwrap_or_default();
    parse::seccomp_mode(&status).is_some_and(|mode| mode != 0)
}

fn has_everywhere(capability: CapabilitySet) -> bool {
    is_in_initial_user_namespace()
        && capabilities(None).is_ok_and(|sets| sets.effective.contains(capability))
}

/// Returns `true` if pidns is in the group that has this GID in the initial user namespace.
pub fn is_in_group(gid: u32) -> bool {
    is_in_initial_user_namespace()
        && (rustix::process::getegid().as_raw() == gid
            || rustix::process::getgroups()
                .is_ok_and(|groups| groups.iter().any(|group| group.as_raw() == gid)))
}

fn is_in_initial_user_namespace() -> bool {
    own_namespace(c"self/ns/user", "user") == Ok(Some(INITIAL_USER_NAMESPACE))
}
