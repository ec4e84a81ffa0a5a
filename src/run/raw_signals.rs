//! Handles real-time signals, dispositions and tracees, for which nix and rustix have no safe API.

#![allow(unsafe_code)]

use std::ptr;
use std::sync::atomic::{AtomicBool, Ordering};

use rustix::process::{Pid, Signal, WaitOptions, wait};

/// The highest signal number on all architectures that Rust supports, except MIPS.
const MAX_SIGNAL: i32 = 64;

/// The first two real-time signals, which the C library uses internally.
const RESERVED: [i32; 2] = [32, 33];

static SIGPIPE_WAS_IGNORED: AtomicBool = AtomicBool::new(false);

/// Records whether SIGPIPE is ignored, before the Rust runtime ignores it.
pub extern "C" fn note_sigpipe() {
    SIGPIPE_WAS_IGNORED.store(is_ignored(libc::SIGPIPE), Ordering::Relaxed);
}

/// Returns `true` if this process ignores the signal with this number.
#[must_use]
pub fn is_ignored(signal: i32) -> bool {
    let mut action = std::mem::MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: with a null pointer, sigaction(2) only writes to `action`. An all-zero `sigaction` is
    // valid.
    let action = unsafe {
        libc::sigaction(signal, ptr::null(), action.as_mut_ptr());
        action.assume_init()
    };
    action.sa_sigaction == libc::SIG_IGN
}

/// Returns `true` if SIGPIPE was ignored when pidns was executed.
pub fn was_sigpipe_ignored() -> bool {
    SIGPIPE_WAS_IGNORED.load(Ordering::Relaxed)
}

/// Restores the default action of SIGPIPE, which the Rust runtime ignores.
pub fn reset_sigpipe() {
    // SAFETY: SIG_DFL is a valid disposition, and this program has no SIGPIPE handler.
    unsafe { libc::signal(libc::SIGPIPE, libc::SIG_DFL) };
}

/// Reaps the children of a shell that replaced itself with pidns (`job & exec pidns`).
///
/// Unreaped children would appear in the report as zombies of pidns.
pub fn reap_inherited_children() {
    // With SIG_IGN, the kernel reaps children as soon as they terminate.
    // SAFETY: SIG_IGN is a valid disposition. `pidns run`, which waits for children, never calls
    // this function.
    unsafe { libc::signal(libc::SIGCHLD, libc::SIG_IGN) };
    // `__WALL` includes children that do not send SIGCHLD when they terminate.
    let any_child = WaitOptions::from_bits_retain(libc::__WALL.cast_unsigned());
    while let Ok(Some(_)) = wait(WaitOptions::NOHANG | any_child) {}
}

/// Returns the signal with this number, unless the C library uses it internally.
#[must_use]
pub fn signal(number: i32) -> Option<Signal> {
    let is_valid = (1..=MAX_SIGNAL).contains(&number) && !RESERVED.contains(&number);
    // SAFETY: the number is valid, and the C library does not use the signal internally.
    is_valid.then(|| unsafe { Signal::from_raw_unchecked(number) })
}

/// Stops tracing a child that a signal has stopped, and delivers the signal to the child.
///
/// A child can make pidns its tracer (`PTRACE_TRACEME`), for example to find out whether a debugger
/// traces it. Returns `false` if pidns does not trace the child.
pub(super) fn release_tracee(child: Pid, signal: i32) -> bool {
    // The kernel stops a traced child with SIGTRAP when it executes a program.
    let signal = if signal == libc::SIGTRAP { 0 } else { signal };
    let no_address = ptr::null_mut::<libc::c_void>();
    // SAFETY: PTRACE_DETACH uses no memory of this process.
    let result = unsafe {
        libc::ptrace(libc::PTRACE_DETACH, child.as_raw_nonzero().get(), no_address, signal)
    };
    result == 0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn signals_of_the_c_library_are_left_out() {
        let numbers: Vec<_> = (-1..=66).filter(|&number| signal(number).is_some()).collect();
        assert_eq!(numbers, (1..=31).chain(34..=64).collect::<Vec<_>>());
    }
}
