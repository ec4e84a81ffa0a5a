//! The calls of `bpf(2)` that are needed, and the kernel's type information:
//! the one file of this folder with `unsafe` code. What is loaded, and what
//! follows from a refusal, is for the callers.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::{ptr, slice};

use rustix::io::{Errno, Result as SysResult};

use super::object::Program;
use crate::collect::bpf::unusable::{TYPES, Unusable};

/// More than the types of any kernel take, in bytes.
const MOST_TYPES: u64 = 64 << 20;

/// Room for what the verifier says of a program that it refuses.
const VERIFIER_LOG: usize = 64 * 1024;

// Commands of `bpf(2)`.
const BPF_MAP_CREATE: (libc::c_int, &str) = (0, "BPF_MAP_CREATE");
const BPF_PROG_LOAD: (libc::c_int, &str) = (5, "BPF_PROG_LOAD");
const BPF_BTF_LOAD: (libc::c_int, &str) = (18, "BPF_BTF_LOAD");
const BPF_LINK_CREATE: (libc::c_int, &str) = (28, "BPF_LINK_CREATE");
const BPF_ITER_CREATE: (libc::c_int, &str) = (33, "BPF_ITER_CREATE");

const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_F_MMAPABLE: u32 = 1 << 10;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_TRACE_ITER: u32 = 28;

/// Some helpers are for programs under the GPL alone, which those of pidns are
/// if one likes: see `task.bpf.c`.
const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";

/// The kernel's type information.
pub enum Types {
    /// Mapped (since Linux 6.16): nothing is copied.
    Mapped(Mapping),
    /// Read.
    Read(Vec<u8>),
}

impl Types {
    /// Those of the running kernel.
    ///
    /// # Errors
    /// The kernel has none, or they may not be read.
    pub fn open() -> io::Result<Self> {
        let mut file = File::open(TYPES)?;
        let length = file.metadata()?.len();
        if length > MOST_TYPES {
            return Err(Errno::FBIG.into());
        }
        let mapped = usize::try_from(length).map_err(|_| Errno::FBIG);
        let mapped = mapped.and_then(|it| Mapping::new(file.as_fd(), it, libc::MAP_PRIVATE));
        if let Ok(mapping) = mapped {
            return Ok(Self::Mapped(mapping));
        }
        let mut bytes = Vec::with_capacity(usize::try_from(length).unwrap_or(0) + 1);
        file.by_ref().take(MOST_TYPES).read_to_end(&mut bytes)?;
        Ok(Self::Read(bytes))
    }
}

impl Deref for Types {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(mapping) => mapping,
            Self::Read(bytes) => bytes,
        }
    }
}

/// A file in memory, to be read.
pub struct Mapping {
    address: *mut libc::c_void,
    length: usize,
}

impl Mapping {
    /// Maps so many bytes of [`TYPES`] or of an [`Array`].
    ///
    /// # Errors
    /// What `mmap(2)` says: `EINVAL` where there are none.
    fn new(file: BorrowedFd<'_>, length: usize, flags: libc::c_int) -> SysResult<Self> {
        let (protection, file) = (libc::PROT_READ, file.as_raw_fd());
        // SAFETY: the kernel chooses an address where nothing is.
        let address = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, file, 0) };
        if address == libc::MAP_FAILED { Err(last_error()) } else { Ok(Self { address, length }) }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: as many bytes are mapped as long as `self` is there, and all
        // of them are initialised. They are constant: nobody can write to the
        // kernel's types, whose file has always the same length; and of an array
        // `Array::copy` has one, while the program that writes to it does not run.
        unsafe { slice::from_raw_parts(self.address.cast(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: it was mapped so, and what `deref` gave out is gone by now.
        unsafe { libc::munmap(self.address, self.length) };
    }
}

/// The arguments of a command, as `union bpf_attr` has them. The rest of it
/// counts as zero.
///
/// # Safety
/// What its pointers lead to is initialised, as long as its lengths say, and
/// mutable where the command writes to it.
unsafe trait Arguments {}

#[repr(C)]
struct CreateMap {
    kind: u32,
    key_size: u32,
    value_size: u32,
    count: u32,
    flags: u32,
}

// SAFETY: there is no pointer in it.
unsafe impl Arguments for CreateMap {}

#[repr(C)]
struct LoadTypes {
    types: *const u8,
    log: *mut u8,
    size: u32,
    log_size: u32,
    log_level: u32,
    spare: u32,
}

// SAFETY: `load_types` alone makes one, without a log.
unsafe impl Arguments for LoadTypes {}

#[repr(C)]
struct LoadProgram {
    kind: u32,
    count: u32,
    instructions: *const u8,
    license: *const libc::c_char,
    log_level: u32,
    log_size: u32,
    log: *mut u8,
    kernel_version: u32,
    flags: u32,
    name: [u8; 16],
    interface: u32,
    attached_as: u32,
    types: RawFd,
    function_size: u32,
    functions: *const u8,
    function_count: u32,
    line_size: u32,
    lines: *const u8,
    line_count: u32,
    called_as: u32,
    called_in: u32,
    spare: u32,
}

const _: () = assert!(size_of::<LoadProgram>() == 120);

// SAFETY: `load_program` alone makes one, of slices that outlive the call.
unsafe impl Arguments for LoadProgram {}

#[repr(C)]
struct CreateLink {
    program: RawFd,
    target: u32,
    attached_as: u32,
    flags: u32,
}

// SAFETY: there is no pointer in it.
unsafe impl Arguments for CreateLink {}

#[repr(C)]
struct CreateIterator {
    link: RawFd,
    flags: u32,
}

// SAFETY: there is no pointer in it.
unsafe impl Arguments for CreateIterator {}

/// Calls `bpf(2)` with a command that returns a new descriptor, closed when
/// another program is executed.
fn bpf<A: Arguments>(command: libc::c_int, arguments: &A) -> SysResult<OwnedFd> {
    let size = size_of::<A>();
    // SAFETY: the kernel reads `size` bytes of the arguments, and of their
    // pointers what `Arguments` promises.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(arguments), size) };
    match RawFd::try_from(done) {
        // SAFETY: all five commands return a descriptor that they have made.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_error()),
    }
}

/// Why the last system call failed.
fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn named<T>(call: &'static str, result: SysResult<T>) -> Result<T, Unusable> {
    result.map_err(|errno| Unusable::Call { call, errno })
}

/// A length, as the kernel takes it.
fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// An array in the kernel, which a program writes to (since Linux 5.5 one that
/// can be mapped).
pub struct Array {
    map: OwnedFd,
    length: usize,
}

impl Array {
    /// Makes one of elements of 8 bytes or a multiple of that, all of them zero.
    ///
    /// # Errors
    /// As of [`load_types`]; `ENOMEM`, `E2BIG` where it is too large.
    pub fn new(element: usize, count: u32) -> Result<Self, Unusable> {
        let arguments = CreateMap {
            kind: BPF_MAP_TYPE_ARRAY,
            key_size: 4,
            value_size: u32::try_from(element).unwrap_or(u32::MAX),
            count,
            flags: BPF_F_MMAPABLE,
        };
        let map = named(BPF_MAP_CREATE.1, bpf(BPF_MAP_CREATE.0, &arguments))?;
        let count = usize::try_from(count).unwrap_or(usize::MAX);
        Ok(Self { map, length: element.saturating_mul(count) })
    }

    /// What stands in it. It takes `&mut self`, as its program must not run
    /// meanwhile, which it does while somebody reads from an iterator.
    ///
    /// # Errors
    /// It cannot be mapped.
    pub fn copy(&mut self) -> Result<Vec<u8>, Unusable> {
        let mapping = Mapping::new(self.map.as_fd(), self.length, libc::MAP_SHARED);
        named("BPF_MAP_CREATE, mmap", mapping).map(|mapping| mapping.to_vec())
    }
}

impl AsFd for Array {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// Hands the types of a program's functions to the kernel.
///
/// # Errors
/// `EPERM` without `CAP_BPF`, or where a seccomp filter forbids `bpf(2)`.
pub fn load_types(types: &[u8]) -> Result<OwnedFd, Unusable> {
    let arguments = LoadTypes {
        types: types.as_ptr(),
        log: ptr::null_mut(),
        size: length(types),
        log_size: 0,
        log_level: 0,
        spare: 0,
    };
    named(BPF_BTF_LOAD.1, bpf(BPF_BTF_LOAD.0, &arguments))
}

/// Has the kernel verify a program, and keep it as long as its descriptor is open.
///
/// # Errors
/// It was refused, with the last line of what the verifier said, if anything.
pub fn load_program(
    program: &Program,
    name: &str,
    types: BorrowedFd<'_>,
) -> Result<OwnedFd, Unusable> {
    let load = |log: &mut [u8]| {
        let mut short = [0; 16];
        for (to, from) in short.iter_mut().take(15).zip(name.bytes()) {
            *to = from;
        }
        let arguments = LoadProgram {
            kind: BPF_PROG_TYPE_TRACING,
            count: length(&program.instructions) / 8,
            instructions: program.instructions.as_ptr(),
            license: LICENSE.as_ptr(),
            log_level: (!log.is_empty()).into(),
            log_size: length(log),
            log: if log.is_empty() { ptr::null_mut() } else { log.as_mut_ptr() },
            kernel_version: 0,
            flags: 0,
            name: short,
            interface: 0,
            attached_as: BPF_TRACE_ITER,
            types: types.as_raw_fd(),
            function_size: 8,
            functions: program.functions.as_ptr(),
            function_count: length(&program.functions) / 8,
            line_size: 0,
            lines: ptr::null(),
            line_count: 0,
            called_as: program.called_as,
            called_in: 0,
            spare: 0,
        };
        bpf(BPF_PROG_LOAD.0, &arguments)
    };
    // To write all of it down takes the verifier longer than to verify.
    let errno = match load(&mut []) {
        Err(errno @ (Errno::ACCESS | Errno::INVAL | Errno::TOOBIG)) => errno,
        other => return named(BPF_PROG_LOAD.1, other),
    };
    let mut log = vec![0; VERIFIER_LOG];
    if let Ok(loaded) = load(&mut log) {
        return Ok(loaded);
    }
    let end = log.iter().position(|&byte| byte == 0).unwrap_or(log.len());
    let text = String::from_utf8_lossy(log.get(..end).unwrap_or_default());
    // The last line counts what the verifier did.
    let mut lines = text.lines().rev().filter(|line| !line.starts_with("processed "));
    let reason = lines.next().unwrap_or("the verifier said nothing").to_owned();
    Err(Unusable::Refused { errno, reason })
}

/// Opens an iterator: reading from it runs the program once for every task.
///
/// # Errors
/// What `bpf(2)` says.
pub fn open_iterator(program: &OwnedFd) -> Result<OwnedFd, Unusable> {
    let program = program.as_fd().as_raw_fd();
    let link = CreateLink { program, target: 0, attached_as: BPF_TRACE_ITER, flags: 0 };
    let link = named(BPF_LINK_CREATE.1, bpf(BPF_LINK_CREATE.0, &link))?;
    let iterator = CreateIterator { link: link.as_raw_fd(), flags: 0 };
    named(BPF_ITER_CREATE.1, bpf(BPF_ITER_CREATE.0, &iterator))
}
