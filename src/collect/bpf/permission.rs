//! Checks whether the kernel allows pidns to run BPF programs that read all tasks.

use std::fs;

use super::unavailable::BpfUnavailable;
use crate::collect::kernel::viewer;

/// Minimum free address space in bytes (the kernel's BTF data takes 5 to 10 MB).
const MIN_ADDRESS_SPACE: u64 = 64 << 20;

/// The file that shows the lockdown mode of the kernel (kernel_lockdown(7)).
const LOCKDOWN: &str = "/sys/kernel/security/lockdown";

/// Checks that pidns has the required capabilities.
pub fn check_capabilities() -> Result<(), BpfUnavailable> {
    // Without CAP_SYS_PTRACE, BPF would show more than pidns may read in /proc.
    if !viewer::may_trace_all() {
        return Err(BpfUnavailable::MissingCapability("CAP_SYS_PTRACE"));
    }
    if !viewer::may_load_bpf() {
        let missing = "CAP_BPF and CAP_PERFMON, or CAP_SYS_ADMIN,";
        return Err(BpfUnavailable::MissingCapability(missing));
    }
    Ok(())
}

/// Checks that kernel lockdown lets BPF programs read kernel memory (kernel_lockdown(7)).
pub fn check_lockdown() -> Result<(), BpfUnavailable> {
    let text = fs::read_to_string(LOCKDOWN);
    if text.is_ok_and(|text| text.contains("[confidentiality]")) {
        return Err(BpfUnavailable::LockedDown);
    }
    Ok(())
}

/// Checks that enough address space is left for the kernel's type information (BTF).
pub fn check_address_space() -> Result<(), BpfUnavailable> {
    // A failed allocation could abort pidns.
    match viewer::free_address_space() {
        Some(free) if free < MIN_ADDRESS_SPACE => Err(BpfUnavailable::LittleMemory),
        _ => Ok(()),
    }
}
