//! Prepares the process before any other code runs. Replaces closed standard descriptors, records
//! the disposition of SIGPIPE, and provides a large enough stack.

use std::os::fd::{BorrowedFd, IntoRawFd as _};
use std::process::ExitCode;
use std::thread;

use nix::sys::signal::SigSet;
use pidns::run::raw_signals::note_sigpipe;
use rustix::io::fcntl_getfd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, getrlimit};
use rustix::stdio::{stderr, stdin, stdout};

/// Stack size in bytes that is enough for pidns, and the standard library's default for new
/// threads.
const ENOUGH_STACK: usize = 2 * 1024 * 1024;

/// Runs `main`, in a new thread if the main thread has less stack than [`ENOUGH_STACK`].
///
/// `ulimit -s` limits only the main thread's stack.
pub fn with_enough_stack(main: fn() -> ExitCode) -> ExitCode {
    let limit = getrlimit(Resource::Stack).current;
    if limit.is_some_and(|limit| limit < ENOUGH_STACK as u64)
        && let Ok(thread) = thread::Builder::new().stack_size(ENOUGH_STACK).spawn(main)
    {
        // Block all signals in the main thread. The kernel then delivers them to the new thread,
        // which runs the program.
        let _ = SigSet::all().thread_block();
        return thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    // Without a new thread (RLIMIT_NPROC), use the main thread's small stack. It is usually enough.
    main()
}

/// Replaces standard descriptors that were closed when the program was executed (`pidns >&-`).
/// Otherwise, a file opened later could become standard output and be overwritten.
///
/// The replacement is the read end of a pipe without a writer. Reading from it returns end-of-file.
/// Writing to it fails with `EBADF`, as for a closed descriptor. The replacement is close-on-exec.
///
/// Without this function, the Rust runtime would open /dev/null for closed descriptors, and output
/// would be lost without an error. pidns could not distinguish this /dev/null from one that the
/// caller has chosen. In a chroot without /dev/null, the runtime would abort.
extern "C" fn replace_closed_descriptors() {
    let is_closed = |fd: BorrowedFd<'_>| fcntl_getfd(fd).is_err();
    while [stdin(), stdout(), stderr()].into_iter().any(is_closed)
        && let Ok((reader, _writer)) = pipe_with(PipeFlags::CLOEXEC)
    {
        // The read end replaces the first closed standard descriptor, because the kernel assigns
        // the lowest free number. Keep the read end open. Dropping `_writer` closes the write end.
        let _ = reader.into_raw_fd();
    }
}

/// Functions that the C library calls before `main`. Safe Rust has no hook before the Rust runtime
/// opens /dev/null for closed standard descriptors, and ignores SIGPIPE.
//
// SAFETY: each entry of the section must be a pointer to an `extern "C"` function that returns
// nothing. Both entries are such pointers. The two functions ignore the arguments that the C
// library passes. They do not rely on anything that the Rust runtime sets up: they only make system
// calls, and close only descriptors that they own.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: [extern "C" fn(); 2] = [replace_closed_descriptors, note_sigpipe];
