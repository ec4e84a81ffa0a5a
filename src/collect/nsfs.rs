//! Namespace file descriptors and the ioctls on them (`ioctl_nsfs(2)`): the
//! one module with `unsafe` code. Which namespace is asked what, and when, is
//! for the callers.
//!
//! An open descriptor keeps its namespace alive, and its inode number from
//! being given to another one.

#![allow(unsafe_code)]

use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;

use rustix::fs;
use rustix::io::{self, Errno};
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode};

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
const PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE: Opcode = opcode::none(0xff, 0x6);

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
    /// `ENOTTY` where it is none, as the ioctls would say; what `fstat(2)` says.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        if !is_on_nsfs(&fd)? {
            return Err(Errno::NOTTY);
        }
        Self::on_nsfs(fd)
    }

    /// Opens what a descriptor of a path alone (`O_PATH`) leads to.
    ///
    /// # Errors
    /// `ENOTTY` where that is no namespace, which is then not opened; what
    /// opening it through /proc says.
    pub fn reopen(path: &OwnedFd) -> io::Result<Self> {
        if !is_on_nsfs(path)? {
            return Err(Errno::NOTTY);
        }
        let link = format!("/proc/self/fd/{}", path.as_raw_fd());
        let flags = fs::OFlags::RDONLY | fs::OFlags::CLOEXEC;
        Self::on_nsfs(fs::openat(fs::CWD, link, flags, fs::Mode::empty())?)
    }

    fn on_nsfs(fd: OwnedFd) -> io::Result<Self> {
        let stat = fs::fstat(&fd)?;
        Ok(Self { fd, device: stat.st_dev, inode: stat.st_ino })
    }

    /// Another descriptor of the same namespace.
    ///
    /// # Errors
    /// There are too many.
    pub fn try_clone(&self) -> io::Result<Self> {
        let Self { ref fd, device, inode } = *self;
        Ok(Self { fd: io::fcntl_dupfd_cloexec(fd, 0)?, device, inode })
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

    /// Whether it is a PID namespace; where the kernel does not say (before
    /// Linux 4.11, or under a seccomp filter), it may well be.
    #[must_use]
    pub fn is_pid_namespace(&self) -> bool {
        // SAFETY: `self` is on nsfs, whose NS_GET_NSTYPE takes no argument
        // and returns a number.
        let kind = unsafe { ioctl(&self.fd, Call::<NS_GET_NSTYPE>(0)) };
        kind.map_or(true, |kind| kind == CLONE_NEWPID)
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

/// Whether a descriptor, be it of a path alone, is on nsfs.
fn is_on_nsfs(fd: &OwnedFd) -> io::Result<bool> {
    Ok(super::sys::file_system(fd)? == NSFS_MAGIC)
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
pub fn open_namespace(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<NamespaceFd> {
    NamespaceFd::new(super::sys::open(dir, name)?)
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
    NamespaceFd::on_nsfs(unsafe { OwnedFd::from_raw_fd(raw) })
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
