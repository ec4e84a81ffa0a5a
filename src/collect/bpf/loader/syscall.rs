//! Calls bpf(2) and maps memory. This file contains all `unsafe` code of the module `bpf`.

#![allow(unsafe_code)]

use std::fs::File;
use std::io::{self, Read as _};
use std::ops::Deref;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd as _, OwnedFd, RawFd};
use std::os::unix::fs::OpenOptionsExt as _;
use std::{ptr, slice};

use rustix::io::{Errno, Result as SysResult};

use super::error::{KERNEL_TYPES, LoadError};
use super::object::Program;

/// Maximum size of the kernel's type information, in bytes. The usual size is 5 to 10 MB.
const MAX_TYPES: u64 = 64 << 20;

/// Size of the buffer for the verifier's log, in bytes.
const VERIFIER_LOG: usize = 64 * 1024;

// The numbers of bpf(2) commands, and their names in error messages.
const BPF_MAP_CREATE: (libc::c_int, &str) = (0, "bpf(BPF_MAP_CREATE)");
const BPF_PROG_LOAD: (libc::c_int, &str) = (5, "bpf(BPF_PROG_LOAD)");
const BPF_BTF_LOAD: (libc::c_int, &str) = (18, "bpf(BPF_BTF_LOAD)");
const BPF_LINK_CREATE: (libc::c_int, &str) = (28, "bpf(BPF_LINK_CREATE)");
const BPF_ITER_CREATE: (libc::c_int, &str) = (33, "bpf(BPF_ITER_CREATE)");

const BPF_MAP_TYPE_HASH: u32 = 1;
const BPF_MAP_TYPE_ARRAY: u32 = 2;
const BPF_F_NO_PREALLOC: u32 = 1;
const BPF_F_MMAPABLE: u32 = 1 << 10;
const BPF_PROG_TYPE_TRACING: u32 = 26;
const BPF_TRACE_ITER: u32 = 28;

/// License of the BPF programs. Some helper functions require the GPL.
const LICENSE: &std::ffi::CStr = c"Dual MIT/GPL";

/// The type information (BTF) of the running kernel.
pub enum KernelTypes {
    /// The BTF file, mapped into memory instead of copied (possible since Linux 6.16).
    Mapped(Mapping),
    /// A copy of the BTF file.
    Read(Vec<u8>),
}

impl KernelTypes {
    /// Opens the type information (BTF) of the running kernel.
    pub fn open() -> Result<Self, LoadError> {
        Self::open_file().map_err(LoadError::UnreadableTypes)
    }

    fn open_file() -> io::Result<Self> {
        // O_NONBLOCK keeps open(2) from waiting if a FIFO is mounted over the BTF file.
        let mut file =
            File::options().read(true).custom_flags(libc::O_NONBLOCK).open(KERNEL_TYPES)?;
        let metadata = file.metadata()?;
        if !metadata.is_file() {
            return Err(io::Error::other("not a regular file"));
        }
        if metadata.len() > MAX_TYPES {
            return Err(Errno::FBIG.into());
        }
        let length = usize::try_from(metadata.len()).map_err(|_| Errno::FBIG)?;
        if let Ok(mapping) = Mapping::new(file.as_fd(), length, libc::MAP_PRIVATE) {
            return Ok(Self::Mapped(mapping));
        }
        let mut bytes = Vec::new();
        // With little address space (RLIMIT_AS), an ordinary allocation would abort pidns.
        bytes.try_reserve_exact(length).map_err(|_| Errno::NOMEM)?;
        file.by_ref().take(metadata.len()).read_to_end(&mut bytes)?;
        Ok(Self::Read(bytes))
    }
}

impl Deref for KernelTypes {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        match self {
            Self::Mapped(mapping) => mapping,
            Self::Read(bytes) => bytes,
        }
    }
}

/// A file or BPF map that is mapped into memory, read-only.
pub struct Mapping {
    address: *mut libc::c_void,
    length: usize,
}

impl Mapping {
    /// Maps the first `length` bytes of [`KERNEL_TYPES`] or of an [`Array`].
    fn new(file: BorrowedFd<'_>, length: usize, flags: libc::c_int) -> SysResult<Self> {
        let (protection, file) = (libc::PROT_READ, file.as_raw_fd());
        // SAFETY: the kernel chooses the address, so no existing mapping is replaced.
        let address = unsafe { libc::mmap(ptr::null_mut(), length, protection, flags, file, 0) };
        if address == libc::MAP_FAILED { Err(last_error()) } else { Ok(Self { address, length }) }
    }
}

impl Deref for Mapping {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        // SAFETY: `length` bytes are mapped for the lifetime of `self`, and all are initialized.
        // The kernel's BTF file does not change. No program writes to an array during
        // `Array::copy`.
        unsafe { slice::from_raw_parts(self.address.cast(), self.length) }
    }
}

impl Drop for Mapping {
    fn drop(&mut self) {
        // SAFETY: `address` and `length` come from mmap, and the borrows from `deref` have ended.
        unsafe { libc::munmap(self.address, self.length) };
    }
}

/// The arguments of a bpf(2) command, as the first fields of `union bpf_attr`.
///
/// # Safety
/// Each pointer must point to initialized memory of the given length. Memory that the command
/// writes to must be writable.
unsafe trait Arguments {}

#[repr(C)]
struct CreateMap {
    kind: u32,
    key_size: u32,
    value_size: u32,
    count: u32,
    flags: u32,
}

// SAFETY: the struct contains no pointer.
unsafe impl Arguments for CreateMap {}

#[repr(C)]
struct LoadTypes {
    types: *const u8,
    log: *mut u8,
    size: u32,
    log_size: u32,
    log_level: u32,
    padding: u32,
}

// SAFETY: only `load_types` creates `LoadTypes`, from a slice that outlives the call.
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
    interface_index: u32,
    attach_type: u32,
    types: RawFd,
    function_size: u32,
    functions: *const u8,
    function_count: u32,
    line_size: u32,
    lines: *const u8,
    line_count: u32,
    iterator: u32,
    attach_program: u32,
    padding: u32,
}

const _: () = assert!(size_of::<LoadProgram>() == 120);

// SAFETY: only `load_program` creates `LoadProgram`, from slices that outlive the call.
unsafe impl Arguments for LoadProgram {}

#[repr(C)]
struct CreateLink {
    program: RawFd,
    target: u32,
    attach_type: u32,
    flags: u32,
    /// The TID of the only task to visit (the first field of `union bpf_iter_link_info`).
    tid: *const u32,
    tid_size: u32,
    padding: u32,
}

// SAFETY: only `open_iterator` creates `CreateLink`, and `tid` is null or outlives the call.
unsafe impl Arguments for CreateLink {}

#[repr(C)]
struct CreateIterator {
    link: RawFd,
    flags: u32,
}

// SAFETY: the struct contains no pointer.
unsafe impl Arguments for CreateIterator {}

/// Calls bpf(2) and returns the new descriptor, which has the close-on-exec flag.
fn bpf<A: Arguments>(command: libc::c_int, arguments: &A) -> SysResult<OwnedFd> {
    // The kernel treats the fields of `union bpf_attr` beyond `size` as zero.
    let size = size_of::<A>();
    // SAFETY: `arguments` has `size` bytes, and `Arguments` guarantees valid pointers.
    let done = unsafe { libc::syscall(libc::SYS_bpf, command, ptr::from_ref(arguments), size) };
    match RawFd::try_from(done) {
        // SAFETY: each bpf(2) command in this file returns a new descriptor that nothing else owns.
        Ok(fd) if fd >= 0 => Ok(unsafe { OwnedFd::from_raw_fd(fd) }),
        _ => Err(last_error()),
    }
}

fn last_error() -> Errno {
    Errno::from_io_error(&io::Error::last_os_error()).unwrap_or(Errno::IO)
}

fn named<T>(call: &'static str, result: SysResult<T>) -> Result<T, LoadError> {
    result.map_err(|errno| LoadError::Call { call, errno })
}

fn length(bytes: &[u8]) -> u32 {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX)
}

/// A BPF array that can be mapped into memory (since Linux 5.5).
pub struct Array {
    map: OwnedFd,
    length: usize,
}

impl Array {
    /// Creates an array of `count` zeroed elements. `element` is the size of each element in bytes,
    /// and must be a multiple of 8.
    pub fn new(element: usize, count: u32) -> Result<Self, LoadError> {
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

    /// Returns a copy of the array.
    pub fn copy(&mut self) -> Result<Vec<u8>, LoadError> {
        // `&mut self` keeps the array's owner from running the program during the copy.
        let mapping = Mapping::new(self.map.as_fd(), self.length, libc::MAP_SHARED);
        named("mmap(BPF array)", mapping).map(|mapping| mapping.to_vec())
    }
}

/// Creates a BPF hash map for `count` entries, with keys of `key` bytes and 8-byte values.
pub fn create_hash(key: u32, count: u32) -> Result<OwnedFd, LoadError> {
    let arguments = CreateMap {
        kind: BPF_MAP_TYPE_HASH,
        key_size: key,
        value_size: 8,
        count,
        flags: BPF_F_NO_PREALLOC,
    };
    named(BPF_MAP_CREATE.1, bpf(BPF_MAP_CREATE.0, &arguments))
}

impl AsFd for Array {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.map.as_fd()
    }
}

/// Loads the type information (BTF) of an object file into the kernel.
///
/// Fails with `EPERM` if `CAP_BPF` is missing or a seccomp filter forbids bpf(2).
pub fn load_types(types: &[u8]) -> Result<OwnedFd, LoadError> {
    let arguments = LoadTypes {
        types: types.as_ptr(),
        log: ptr::null_mut(),
        size: length(types),
        log_size: 0,
        log_level: 0,
        padding: 0,
    };
    named(BPF_BTF_LOAD.1, bpf(BPF_BTF_LOAD.0, &arguments))
}

/// Loads a BPF program, which stays loaded while the returned descriptor is open.
pub fn load_program(
    program: &Program,
    name: &str,
    types: BorrowedFd<'_>,
) -> Result<OwnedFd, LoadError> {
    let mut name_field = [0; 16];
    for (to, from) in name_field.iter_mut().take(15).zip(name.bytes()) {
        *to = from;
    }
    let load = |log: &mut [u8]| {
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
            name: name_field,
            interface_index: 0,
            attach_type: BPF_TRACE_ITER,
            types: types.as_raw_fd(),
            function_size: 8,
            functions: program.functions.as_ptr(),
            function_count: length(&program.functions) / 8,
            line_size: 0,
            lines: ptr::null(),
            line_count: 0,
            iterator: program.iterator,
            attach_program: 0,
            padding: 0,
        };
        bpf(BPF_PROG_LOAD.0, &arguments)
    };
    // Try without a log first, because writing the log takes longer than the verification.
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
    // The verifier's log ends with the reason for the rejection, followed by statistics.
    let mut lines = text.lines().rev().filter(|line| !line.starts_with("processed "));
    let reason = lines.next().unwrap_or("the verifier gave no reason").to_owned();
    Err(LoadError::Rejected { errno, reason })
}

/// Opens an iterator for all tasks, or for the one task that has the TID `tid` in pidns's PID
/// namespace.
pub fn open_iterator(program: &OwnedFd, tid: Option<u32>) -> Result<OwnedFd, LoadError> {
    // Before Linux 6.1, the kernel ignores the TID.
    let (tid, tid_size) = match &tid {
        Some(tid) => (ptr::from_ref(tid), 4),
        None => (ptr::null(), 0),
    };
    let link = CreateLink {
        program: program.as_fd().as_raw_fd(),
        target: 0,
        attach_type: BPF_TRACE_ITER,
        flags: 0,
        tid,
        tid_size,
        padding: 0,
    };
    let link = named(BPF_LINK_CREATE.1, bpf(BPF_LINK_CREATE.0, &link))?;
    let iterator = CreateIterator { link: link.as_raw_fd(), flags: 0 };
    named(BPF_ITER_CREATE.1, bpf(BPF_ITER_CREATE.0, &iterator))
}
