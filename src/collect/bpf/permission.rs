//! Checks before loading a program whether the kernel would let it run and read everything.

use std::fs;

use super::unavailable::BpfUnavailable;
use crate::collect::kernel::viewer;

/// The state of the kernel's lockdown, see kernel_lockdown(7).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Checks the capabilities. `CAP_SYS_PTRACE` is not needed to load a program, but without it BPF
/// would show more than the viewer may see in /proc.
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

/// Checks that programs may read the kernel's memory.
pub fn check_lockdown() -> Result<(), BpfUnavailable> {
    let text = fs::read_to_string(LOCKDOWN);
    if text.is_ok_and(|text| text.contains("[confidentiality]")) {
        return Err(BpfUnavailable::LockedDown);
    }
    Ok(())
}
