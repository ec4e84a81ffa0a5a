//! Checks, before a BPF program is loaded, whether the kernel will let it run and read all tasks.

use std::fs;

use super::unavailable::BpfUnavailable;
use crate::collect::kernel::viewer;

/// The file that shows the kernel's lockdown mode, see kernel_lockdown(7).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Checks that the viewer has the required capabilities. The kernel loads a BPF program without
/// `CAP_SYS_PTRACE`, but pidns requires this capability, so that BPF does not show more than the
/// viewer may see in /proc.
pub fn check_capabilities() -> Result<(), BpfUnavailable> {
    if !viewer::may_trace_all() {
        return Err(BpfUnavailable::MissingCapability("CAP_SYS_PTRACE"));
    }
    if !viewer::may_load_bpf() {
        let missing = "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN,";
        return Err(BpfUnavailable::MissingCapability(missing));
    }
    Ok(())
}

/// Checks that BPF programs may read kernel memory. The kernel refuses this if it is locked down in
/// confidentiality mode.
pub fn check_lockdown() -> Result<(), BpfUnavailable> {
    let text = fs::read_to_string(LOCKDOWN);
    if text.is_ok_and(|text| text.contains("[confidentiality]")) {
        return Err(BpfUnavailable::LockedDown);
    }
    Ok(())
}
