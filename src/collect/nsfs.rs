//! Namespace file descriptors and the ioctls on them (`ioctl_nsfs(2)`): the
//! one module with `unsafe` code. Which namespace is asked what, and when, is
//! for the callers.
//!
//! An open descriptor keeps its namespace alive, and its inode number from
//! being given to another one.

#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;

use rustix::fs::CWD;
use rustix::io::{self, Errno};
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::process::{PidfdFlags, getpid, pidfd_open};

use super::parse;
use super::sys::{self, FileId};
use crate::model::Pid;

/// File system type of nsfs, `NSFS_MAGIC` of `statfs(2)`.
const NSFS_MAGIC: u64 = 0x6e73_6673;

const NS_GET_USERNS: Opcode = opcode::none(0xb7, 0x1);
const NS_GET_PARENT: Opcode = opcode::none(0xb7, 0x2);
const NS_GET_NSTYPE: Opcode = opcode::none(0xb7, 0x3);
const NS_GET_OWNER_UID: Opcode = opcode::none(0xb7, 0x4);
const NS_GET_TGID_FROM_PIDNS: Opcode = opcode::read::<i32>(0xb7, 0x7);
const NS_GET_TGID_IN_PIDNS: Opcode = opcode::read::<i32>(0xb7, 0x9);
const NS_GET_ID: Opcode = opcode::read::<u64>(0xb7, 0xd);
const PIDFD_GET_PID_NAMESPACE: Opcode = opcode::none(0xff, 0x5);
const PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE: Opcode = opcode::none(0xff, 0x6);

/// `KCMP_FILES` of `kcmp(2)`.
const KCMP_FILES: i32 = 2;

/// What `NS_GET_NSTYPE` says of a PID namespace, `CLONE_NEWPID`.
const CLONE_NEWPID: i32 = 0x2000_0000;

/// An open namespace, which stays alive as long as it is open.
#[derive(Debug)]
pub struct NamespaceFd {
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

impl NamespaceFd {
    /// Takes an open descriptor for a namespace.
    ///
    /// # Errors
    /// `ENOTTY` where it is none, as the ioctls would say; what `statx(2)` says.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let FileId { device, inode } = on_nsfs(fd.as_fd())?;
        Ok(Self { fd, device, inode })
    }

    /// Opens what a descriptor of a path alone (`O_PATH`) leads to.
    ///
    /// # Errors
    /// `ENOTTY` where that is no namespace, which is then neither opened nor
    /// asked for anything; what opening it through /proc says.
    pub fn reopen(path: &OwnedFd) -> io::Result<Self> {
        let FileId { device, inode } = on_nsfs(path.as_fd())?;
        Ok(Self { fd: sys::reopen(path, sys::READ)?, device, inode })
    }

    /// Another descriptor of the same namespace.
    ///
    /// # Errors
    /// There are too many.
    pub fn try_clone(&self) -> io::Result<Self> {
        let Self { ref fd, device, inode } = *self;
        Ok(Self { fd: io::fcntl_dupfd_cloexec(fd, 0)?, device, inode })
    }

    /// Number of the descriptor.
    pub fn number(&self) -> u64 {
        self.fd.as_raw_fd().unsigned_abs().into()
    }

    /// Device number of nsfs.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Inode number, which tells namespaces apart as long as they live.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Whether it is a PID namespace (since Linux 4.11; before, and under a
    /// seccomp filter, where something else proves it).
    ///
    /// # Errors
    /// That cannot be told.
    pub fn is_pid_namespace(&self) -> io::Result<bool> {
        // SAFETY: `self` is on nsfs, whose NS_GET_NSTYPE takes no argument
        // and returns a number.
        match unsafe { ioctl(&self.fd, Call::<NS_GET_NSTYPE>(0)) } {
            Ok(kind) => Ok(kind == CLONE_NEWPID),
            Err(errno) => self.is_called_pid_namespace().ok_or(errno),
        }
    }

    /// Whether the kernel shows it as `pid:[INODE]`. It does not show its kind
    /// where it was opened by a path, through a bind mount. Such a text begins
    /// with a slash, whatever the path.
    fn is_called_pid_namespace(&self) -> Option<bool> {
        let mut link = [0; 64];
        let name = format!("{}\0", self.fd.as_raw_fd());
        let name = CStr::from_bytes_with_nul(name.as_bytes()).ok()?;
        let text = sys::read_link(sys::own_descriptors().ok()?, name, &mut link).ok()?;
        if text.first() == Some(&b'/') {
            return None;
        }
        Some(parse::namespace_link(text, "pid") == Some(self.inode))
    }

    /// The namespace that this one was made in (since Linux 4.9).
    ///
    /// # Errors
    /// `EPERM` where it has no parent or that lies outside the caller's own
    /// PID namespace, which can't be told apart; `ENOTTY` on older kernels.
    pub fn parent(&self) -> io::Result<Self> {
        // SAFETY: `self` is on nsfs, whose NS_GET_PARENT takes no argument
        // and returns a new descriptor.
        unsafe { open_by::<NS_GET_PARENT>(&self.fd) }
    }

    /// The user namespace that owns this one (since Linux 4.9).
    ///
    /// # Errors
    /// `EPERM` where it is not the caller's or one below; `ENOTTY` on older kernels.
    pub fn user_namespace(&self) -> io::Result<Self> {
        // SAFETY: as for `parent`.
        unsafe { open_by::<NS_GET_USERNS>(&self.fd) }
    }

    /// Of a user namespace: the user that made it, as the caller's user
    /// namespace maps it (since Linux 4.11).
    ///
    /// # Errors
    /// `EINVAL` for other kinds of namespaces; `ENOTTY` on older kernels.
    pub fn owner_uid(&self) -> io::Result<u32> {
        // SAFETY: `self` is on nsfs, whose NS_GET_OWNER_UID writes a uid_t,
        // which is u32 on every architecture of Linux.
        unsafe { ioctl(&self.fd, Getter::<NS_GET_OWNER_UID, u32>::new()) }
    }

    /// The kernel's 64-bit number for the namespace, never reused (since Linux 6.18).
    ///
    /// # Errors
    /// `ENOTTY` on older kernels.
    pub fn ns_id(&self) -> io::Result<u64> {
        // SAFETY: `self` is on nsfs, whose NS_GET_ID writes a u64.
        unsafe { ioctl(&self.fd, Getter::<NS_GET_ID, u64>::new()) }
    }

    /// The caller's number for the process that has the PID `inner` in this
    /// namespace (since Linux 6.11).
    ///
    /// # Errors
    /// `ESRCH` where there is none, or the caller's namespace does not see
    /// it; `ENOTTY` on older kernels.
    pub fn tgid_from_pidns(&self, inner: Pid) -> io::Result<Pid> {
        // SAFETY: `self` is on nsfs, whose NS_GET_TGID_FROM_PIDNS takes a PID
        // by value and returns one.
        unsafe { translate_by::<NS_GET_TGID_FROM_PIDNS>(&self.fd, inner) }
    }

    /// This namespace's number for the process that the caller knows as `pid`,
    /// or that has a thread so known. Takes no permission on the process
    /// (since Linux 6.11).
    ///
    /// # Errors
    /// `ESRCH` where there is none, or this namespace does not see it;
    /// `ENOTTY` on older kernels.
    pub fn tgid_in_pidns(&self, pid: Pid) -> io::Result<Pid> {
        // SAFETY: `self` is on nsfs, whose NS_GET_TGID_IN_PIDNS takes a PID
        // by value and returns one.
        unsafe { translate_by::<NS_GET_TGID_IN_PIDNS>(&self.fd, pid) }
    }
}

impl AsFd for NamespaceFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Which file a descriptor, be it of a path alone, is of; `ENOTTY` where that
/// is not on nsfs.
fn on_nsfs(fd: BorrowedFd<'_>) -> io::Result<FileId> {
    let id = FileId::of_descriptor(fd)?;
    if id.device == device()? { Ok(id) } else { Err(Errno::NOTTY) }
}

/// Device number of nsfs. There is one nsfs, so it tells whether a file is a
/// namespace, without a question to the file system that the file is on.
///
/// # Errors
/// Not even the viewer's own namespace can be had.
pub fn device() -> io::Result<u64> {
    static DEVICE: OnceLock<u64> = OnceLock::new();
    if let Some(&device) = DEVICE.get() {
        return Ok(device);
    }
    let device = own_namespace_device()?;
    Ok(*DEVICE.get_or_init(|| device))
}

/// Device number of nsfs, by a descriptor of the viewer's own namespace: one
/// that the kernel makes without any path (since Linux 6.11), else that of the
/// file which /proc shows for it.
fn own_namespace_device() -> io::Result<u64> {
    let made = || {
        let pidfd = pidfd_open(getpid(), PidfdFlags::empty())?;
        // SAFETY: pidfds know this ioctl or refuse it; it takes no argument
        // and returns a new descriptor on nsfs.
        let raw = unsafe { ioctl(&pidfd, Call::<PIDFD_GET_PID_NAMESPACE>(0)) }?;
        // SAFETY: the ioctl succeeded, so this is the new descriptor.
        FileId::of_descriptor(unsafe { OwnedFd::from_raw_fd(raw) }.as_fd())
    };
    let shown = || {
        let own = sys::open_linked(CWD, c"/proc/self/ns/pid")?;
        if sys::file_system(&own)? == NSFS_MAGIC {
            FileId::of_descriptor(own.as_fd())
        } else {
            Err(Errno::NOTTY)
        }
    };
    made().or_else(|_: Errno| shown()).map(|id| id.device)
}

/// Compares the tables of open descriptors of two threads, by their PIDs in
/// the viewer's own namespace (`kcmp(2)`, since Linux 3.5): equal where they
/// share one table, else in an order that stays the same until the next boot.
///
/// # Errors
/// `ESRCH` where one is gone; `EPERM` without ptrace access; `ENOSYS` where
/// the kernel was built without it.
pub fn compare_descriptor_tables(one: Pid, other: Pid) -> io::Result<Ordering> {
    // SAFETY: kcmp(2) takes five numbers and touches no memory.
    let order = unsafe {
        libc::syscall(libc::SYS_kcmp, one.as_u32(), other.as_u32(), KCMP_FILES, 0_usize, 0_usize)
    };
    match order {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        _ => Err(Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::INVAL)),
    }
}

/// The namespace that the children of a pidfd's process (or thread) will be
/// born in, also before the first of them (since Linux 6.11).
///
/// # Errors
/// `ESRCH` where the process is gone or going; `EACCES` without ptrace access;
/// `ENOTTY` or `EINVAL` on older kernels.
pub fn pid_for_children(pidfd: &OwnedFd) -> io::Result<NamespaceFd> {
    // SAFETY: pidfds know this ioctl or refuse it; it takes no argument and
    // returns a new descriptor on nsfs.
    unsafe { open_by::<PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE>(pidfd) }
}

/// Opens the namespace that a link leads to.
///
/// # Errors
/// `ENOTTY` where it leads elsewhere; as of [`sys::open_linked`] and
/// [`sys::reopen`].
pub fn open_namespace(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<NamespaceFd> {
    NamespaceFd::reopen(&sys::open_linked(dir, name)?)
}

/// An ioctl that takes a number by value, or nothing, and returns a number.
struct Call<const OPCODE: Opcode>(u32);

// SAFETY: no memory is passed: the argument is a number in the place of a
// pointer, which the kernel does not follow.
unsafe impl<const OPCODE: Opcode> Ioctl for Call<OPCODE> {
    type Output = IoctlOutput;

    const IS_MUTATING: bool = false;

    fn opcode(&self) -> Opcode {
        OPCODE
    }

    fn as_ptr(&mut self) -> *mut rustix::ffi::c_void {
        ptr::without_provenance_mut(self.0 as usize)
    }

    unsafe fn output_from_ptr(
        number: IoctlOutput,
        _: *mut rustix::ffi::c_void,
    ) -> io::Result<Self::Output> {
        Ok(number)
    }
}

/// Calls an ioctl that opens a namespace.
///
/// # Safety
/// The descriptor must know the ioctl or refuse it, and what that returns be
/// a descriptor which the kernel made for this call alone.
unsafe fn open_by<const OPCODE: Opcode>(fd: impl AsFd) -> io::Result<NamespaceFd> {
    // SAFETY: as the caller says; it takes no argument.
    let raw = unsafe { ioctl(fd, Call::<OPCODE>(0)) }?;
    // SAFETY: the ioctl succeeded, so this is the new descriptor.
    NamespaceFd::new(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Calls an ioctl that takes a PID and returns one.
///
/// # Safety
/// The descriptor must know the ioctl or refuse it, and that return a PID.
unsafe fn translate_by<const OPCODE: Opcode>(fd: impl AsFd, pid: Pid) -> io::Result<Pid> {
    // SAFETY: as the caller says.
    let raw = unsafe { ioctl(fd, Call::<OPCODE>(pid.as_u32())) }?;
    u32::try_from(raw).ok().and_then(Pid::new).ok_or(Errno::SRCH)
}
