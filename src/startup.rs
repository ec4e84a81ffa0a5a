//! What the program needs before anything else of it runs: standard descriptors
//! and a stack. Nothing here knows what the program does.

use std::os::fd::{BorrowedFd, IntoRawFd as _};
use std::process::ExitCode;
use std::thread;

use nix::sys::signal::SigSet;
use rustix::io::fcntl_getfd;
use rustix::pipe::{PipeFlags, pipe_with};
use rustix::process::{Resource, getrlimit};
use rustix::stdio::{stderr, stdin, stdout};

/// A stack that is large enough, in bytes: what the standard library gives
/// every thread.
const ENOUGH_STACK: usize = 2 * 1024 * 1024;

/// Runs `main` with [`ENOUGH_STACK`] where the main thread has less (`ulimit -s`).
/// That limit is for the main thread alone: memory of other stacks is mapped.
pub fn with_enough_stack(main: fn() -> ExitCode) -> ExitCode {
    let limit = getrlimit(Resource::Stack).current;
    if limit.is_some_and(|limit| limit < ENOUGH_STACK as u64)
        && let Ok(thread) = thread::Builder::new().stack_size(ENOUGH_STACK).spawn(main)
    {
        // Signals are for the thread that does the work, and may wait for them.
        let _ = SigSet::all().thread_block();
        return thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
    }
    // Where no thread can be made (RLIMIT_NPROC), the small stack has to do.
    main()
}

/// Puts something in the place of standard descriptors that were closed when the
/// program was executed (`pidns >&-`), so that no file opened later gets such a
/// number and is written to. It is a pipe that can only be read and is at its
/// end: reading it is as reading nothing, and writing to it fails with `EBADF`,
/// just as with a closed descriptor. Programs that pidns executes find them
/// closed again.
///
/// The runtime of the standard library would do it next, with /dev/null opened
/// for reading and writing. That takes all output without an error, and cannot be
/// told from the /dev/null that others hand over on purpose (`stdout=DEVNULL` of
/// Python opens it in the same way). Where there is no /dev/null, as in some
/// chroots, the runtime aborts.
extern "C" fn replace_closed_descriptors() {
    let is_closed = |fd: BorrowedFd<'_>| fcntl_getfd(fd).is_err();
    while [stdin(), stdout(), stderr()].into_iter().any(is_closed)
        && let Ok((reader, _writer)) = pipe_with(PipeFlags::CLOEXEC)
    {
        // It got the lowest number that was free, and stays open, whereas the
        // writer is closed.
        let _ = reader.into_raw_fd();
    }
}

/// The C library calls the functions in this section before `main`, and so before
/// the runtime of the standard library; no other way leads there in time.
//
// SAFETY: the section is for pointers to functions of the C calling convention
// that return nothing, and this is one; arguments that they are called with are
// ignored. The function relies on nothing that the runtime sets up: it makes
// system calls, and owns the descriptors that it closes.
#[allow(unsafe_code)]
#[used]
#[unsafe(link_section = ".init_array")]
static BEFORE_MAIN: extern "C" fn() = replace_closed_descriptors;
