//! Prepares standard descriptors, SIGPIPE and the stack before any other code runs.

use std::os::fd::{BorrowedFd, IntoRawFd as _};
use std::process::ExitCode;
use std::thread;

use nix::sys::signal::SigSet;
use pidns::run::raw_signals::note_sigpipe;
use rustix::io::fcntl_getfd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, getrlimit};
use rustix::stdio::{stderr, stdin, stdout};

/// Stack size in bytes that is enough for pidns. It is the standard library's default for threads.
const ENOUGH_STACK: usize = 2 * 1024 * 1024;

/// Runs `main`, in a new thread if the main thread has less stack than [`ENOUGH_STACK`].
pub fn with_enough_stack(main: fn() -> ExitCode) -> ExitCode {
    // `ulimit -s` limits only the main thread's stack.
    let limit = getrlimit(Resource::Stack).current;
    if limit.is_some_and(|limit| limit < ENOUGH_STACK as u64)
        && let Ok(thread) = thread::Builder::new().stack_size(ENOUGH_STACK).spawn(main)
    {
        // Block all signals in this thread, so that the kernel delivers them to the new thread.
        let _ = SigSet::all().thread_block();
        return thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    // If no thread can be started, the main thread's small stack is usually enough.
    main()
}

/// Replaces closed standard descriptors (`pidns >&-`) with the read end of a pipe.
///
/// Writing to the read end fails with `EBADF`, as for a closed descriptor. Without a replacement,
/// the Rust runtime would open /dev/null, and output would be lost without an error. In a chroot
/// without /dev/null, the runtime would abort.
extern "C" fn replace_closed_descriptors() {
    let is_closed = |fd: BorrowedFd<'_>| fcntl_getfd(fd).is_err();
    while [stdin(), stdout(), stderr()].into_iter().any(is_closed)
        && let Ok((reader, _writer)) = pipe_with(PipeFlags::CLOEXEC)
    {
        // The kernel assigns the lowest free descriptor number, so `reader` has replaced a closed
        // standard descriptor. Keep it open.
        let _ = reader.into_raw_fd();
    }
}

/// Functions that the C library calls before the Rust runtime starts.
//
// SAFETY: `.init_array` needs pointers to `extern "C"` functions that return nothing. The functions
// ignore the arguments that the C library passes to them, and do not need the Rust runtime.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: [extern "C" fn(); 2] = [replace_closed_descriptors, note_sigpipe];
