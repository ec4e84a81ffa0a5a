//! Opens namespaces as file descriptors, and calls the ioctls for namespaces (`ioctl_nsfs(2)`).
//!
//! An nsfs ioctl that the kernel does not know fails with `ENOTTY`.

#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::thread;

use rustix::io::{self, Errno};
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::sys::{self, FileId};
use crate::collect::parse;
use crate::model::Pid;

/// File system type of nsfs, as `statfs(2)` reports it.
pub const NSFS_MAGIC: u64 = 0x6e73_6673;

const NS_GET_USERNS: Opcode = opcode::none(0xb7, 0x1);
const NS_GET_PARENT: Opcode = opcode::none(0xb7, 0x2);
const NS_GET_NSTYPE: Opcode = opcode::none(0xb7, 0x3);
const NS_GET_OWNER_UID: Opcode = opcode::none(0xb7, 0x4);
const NS_GET_TGID_FROM_PIDNS: Opcode = opcode::read::<i32>(0xb7, 0x7);
const NS_GET_TGID_IN_PIDNS: Opcode = opcode::read::<i32>(0xb7, 0x9);
const NS_GET_ID: Opcode = opcode::read::<u64>(0xb7, 0xd);
const NS_GET_MNTNS_ID: Opcode = opcode::read::<u64>(0xb7, 0x5);
// The next two opcodes encode the size of struct mnt_ns_info, 16 bytes.
const NS_MNT_GET_NEXT: Opcode = opcode::read::<[u64; 2]>(0xb7, 0xb);
const NS_MNT_GET_PREV: Opcode = opcode::read::<[u64; 2]>(0xb7, 0xc);
const PIDFD_GET_PID_NAMESPACE: Opcode = opcode::none(0xff, 0x5);
const PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE: Opcode = opcode::none(0xff, 0x6);

/// Makes `kcmp(2)` compare descriptor tables.
const KCMP_FILES: i32 = 2;

// Types of namespaces, as NS_GET_NSTYPE returns them.
const CLONE_NEWNS: i32 = 0x2_0000;
const CLONE_NEWPID: i32 = 0x2000_0000;

// System call numbers. Their offsets from the number of pidfd_open(2) are the same on all
// architectures.
const STATMOUNT: libc::c_long = libc::SYS_pidfd_open + 23;
const LISTMOUNT: libc::c_long = libc::SYS_pidfd_open + 24;

/// An open namespace, which stays alive and keeps its inode number until `fd` is closed.
#[derive(Debug)]
pub struct NamespaceFd {
    fd: OwnedFd,
    device: u64,
    inode: u64,
}

impl NamespaceFd {
    /// Wraps an open descriptor, or fails with `ENOTTY` if it does not refer to a namespace.
    pub fn new(fd: OwnedFd) -> io::Result<Self> {
        let FileId { device, inode } = on_nsfs(fd.as_fd())?;
        Ok(Self { fd, device, inode })
    }

    /// Opens the namespace that an `O_PATH` descriptor refers to, or fails with `ENOTTY` if the
    /// descriptor refers to any other file.
    pub fn reopen(path: &OwnedFd) -> io::Result<Self> {
        // Check that the file is on nsfs before opening it, because opening any other kind of file
        // can have side effects.
        let FileId { device, inode } = on_nsfs(path.as_fd())?;
        Ok(Self { fd: sys::reopen(path, sys::READ)?, device, inode })
    }

    pub fn try_clone(&self) -> io::Result<Self> {
        let Self { ref fd, device, inode } = *self;
        Ok(Self { fd: io::fcntl_dupfd_cloexec(fd, 0)?, device, inode })
    }

    /// Returns the number of the file descriptor.
    pub fn number(&self) -> u64 {
        self.fd.as_raw_fd().unsigned_abs().into()
    }

    /// Returns the device number of nsfs.
    #[must_use]
    pub fn device(&self) -> u64 {
        self.device
    }

    /// Returns the inode number of the namespace, which is unique among all existing namespaces.
    #[must_use]
    pub fn inode(&self) -> u64 {
        self.inode
    }

    /// Returns `true` if this is a PID namespace, and fails if its type is unknown.
    pub fn is_pid_namespace(&self) -> io::Result<bool> {
        match self.kind() {
            Ok(kind) => Ok(kind == CLONE_NEWPID),
            // The kernel is older than Linux 4.11, or a seccomp filter refuses the ioctl.
            Err(errno) => self.is_pid_namespace_by_link().ok_or(errno),
        }
    }

    /// Returns `true` if this is known to be a mount namespace.
    #[must_use]
    pub fn is_mount_namespace(&self) -> bool {
        self.kind() == Ok(CLONE_NEWNS)
    }

    /// Returns the type of the namespace (since Linux 4.11).
    fn kind(&self) -> io::Result<i32> {
        // SAFETY: on nsfs, NS_GET_NSTYPE takes no argument and returns a number.
        unsafe { ioctl(&self.fd, Call::<NS_GET_NSTYPE>(0)) }
    }

    /// Returns `true` if the link text of the descriptor is `pid:[INODE]` with the inode of `self`.
    fn is_pid_namespace_by_link(&self) -> Option<bool> {
        let mut link = [0; 64];
        let name = format!("{}\0", self.fd.as_raw_fd());
        let name = CStr::from_bytes_with_nul(name.as_bytes()).ok()?;
        let text = sys::read_link(sys::own_descriptors().ok()?, name, &mut link).ok()?;
        // The link text is a path if the descriptor was opened through a bind mount.
        if text.first() == Some(&b'/') {
            return None;
        }
        Some(parse::namespace_link(text, "pid") == Some(self.inode))
    }

    /// Opens the parent namespace (since Linux 4.9).
    ///
    /// Fails with `EPERM` if the namespace has no parent, or if the parent is outside the caller's
    /// PID namespace.
    pub fn parent(&self) -> io::Result<Self> {
        // SAFETY: on nsfs, NS_GET_PARENT takes no argument and returns a new descriptor.
        unsafe { open_by::<NS_GET_PARENT>(&self.fd) }
    }

    /// Opens the user namespace that owns this namespace (since Linux 4.9).
    ///
    /// Fails with `EPERM` unless the owner is the caller's user namespace or a descendant.
    pub fn user_namespace(&self) -> io::Result<Self> {
        // SAFETY: on nsfs, NS_GET_USERNS takes no argument and returns a new descriptor.
        unsafe { open_by::<NS_GET_USERNS>(&self.fd) }
    }

    /// Returns the UID of a user namespace's creator, as the caller sees it (since Linux 4.11).
    pub fn owner_uid(&self) -> io::Result<u32> {
        // SAFETY: on nsfs, NS_GET_OWNER_UID writes a uid_t, which is a u32 on all architectures.
        unsafe { ioctl(&self.fd, Getter::<NS_GET_OWNER_UID, u32>::new()) }
    }

    /// Returns the 64-bit ID of the namespace, which is never reused (since Linux 6.18).
    pub fn ns_id(&self) -> io::Result<u64> {
        // SAFETY: on nsfs, NS_GET_ID writes a u64.
        unsafe { ioctl(&self.fd, Getter::<NS_GET_ID, u64>::new()) }
    }

    /// Translates a PID in this PID namespace to a PID in the caller's PID namespace (since Linux
    /// 6.11).
    ///
    /// Fails with `ESRCH` if either namespace has no PID for the process.
    pub fn tgid_from_pidns(&self, inner: Pid) -> io::Result<Pid> {
        // SAFETY: on nsfs, NS_GET_TGID_FROM_PIDNS takes a PID by value and returns a PID.
        unsafe { translate_by::<NS_GET_TGID_FROM_PIDNS>(&self.fd, inner) }
    }

    /// Translates a PID or TID in the caller's PID namespace to a PID in this PID namespace (since
    /// Linux 6.11).
    ///
    /// Fails with `ESRCH` if either namespace has no PID for the process.
    pub fn tgid_in_pidns(&self, pid: Pid) -> io::Result<Pid> {
        // SAFETY: on nsfs, NS_GET_TGID_IN_PIDNS takes a PID by value and returns a PID.
        unsafe { translate_by::<NS_GET_TGID_IN_PIDNS>(&self.fd, pid) }
    }

    /// Returns the ID of this mount namespace, for use with `listmount(2)` (since Linux 6.11).
    pub fn mount_namespace_id(&self) -> io::Result<u64> {
        // SAFETY: on nsfs, NS_GET_MNTNS_ID writes a u64.
        unsafe { ioctl(&self.fd, Getter::<NS_GET_MNTNS_ID, u64>::new()) }
    }

    /// Opens the next (or previous) mount namespace in the kernel's list (since Linux 6.12).
    ///
    /// Fails with `ENOENT` at the end of the list. Fails with `EPERM` outside the initial PID
    /// namespace or without `CAP_SYS_ADMIN`.
    pub fn next_mount_namespace(&self, backward: bool) -> io::Result<Self> {
        // SAFETY: on nsfs, both ioctls return a new descriptor, and ignore a null argument.
        unsafe {
            if backward {
                open_by::<NS_MNT_GET_PREV>(&self.fd)
            } else {
                open_by::<NS_MNT_GET_NEXT>(&self.fd)
            }
        }
    }
}

impl AsFd for NamespaceFd {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.fd.as_fd()
    }
}

/// Identifies a file by its descriptor, or fails with `ENOTTY` if it is not on nsfs.
fn on_nsfs(fd: BorrowedFd<'_>) -> io::Result<FileId> {
    let id = FileId::of_descriptor(fd)?;
    // Unlike statfs(2), this comparison cannot block on a FUSE file system.
    if id.device == device()? { Ok(id) } else { Err(Errno::NOTTY) }
}

/// Returns the device number of nsfs, the file system of all namespaces.
pub fn device() -> io::Result<u64> {
    static DEVICE: OnceLock<u64> = OnceLock::new();
    if let Some(&device) = DEVICE.get() {
        return Ok(device);
    }
    let device = device_by_pidfd().or_else(|_| device_by_procfs())?;
    Ok(*DEVICE.get_or_init(|| device))
}

/// Finds the device number of nsfs without opening a path (since Linux 6.11).
fn device_by_pidfd() -> io::Result<u64> {
    let pidfd = pidfd_open(getpid(), PidfdFlags::empty())?;
    // SAFETY: on a pidfd, this ioctl takes no argument and returns a new descriptor.
    let raw = unsafe { ioctl(&pidfd, Call::<PIDFD_GET_PID_NAMESPACE>(0)) }?;
    // SAFETY: `raw` is a new descriptor that nothing else owns.
    let own = unsafe { OwnedFd::from_raw_fd(raw) };
    Ok(FileId::of_descriptor(own.as_fd())?.device)
}

/// Finds the device number of nsfs through `/proc/self/ns/pid`.
fn device_by_procfs() -> io::Result<u64> {
    let own = sys::open_linked(sys::first_procfs()?, c"self/ns/pid")?;
    if sys::file_system(&own)? == NSFS_MAGIC {
        Ok(FileId::of_descriptor(own.as_fd())?.device)
    } else {
        Err(Errno::NOTTY)
    }
}

/// Compares the descriptor tables of two threads (`kcmp(2)`, since Linux 3.5).
///
/// The order of different tables is arbitrary, but stays the same until the next boot. Fails with
/// `ESRCH` if a thread is gone, and with `EPERM` without ptrace access.
pub fn compare_descriptor_tables(one: Pid, other: Pid) -> io::Result<Ordering> {
    // SAFETY: kcmp(2) takes five numbers and touches no memory.
    let order = unsafe {
        libc::syscall(libc::SYS_kcmp, one.as_u32(), other.as_u32(), KCMP_FILES, 0_usize, 0_usize)
    };
    match order {
        0 => Ok(Ordering::Equal),
        1 => Ok(Ordering::Less),
        2 => Ok(Ordering::Greater),
        _ => Err(last_error()),
    }
}

/// Opens the PID namespace in which a process creates its children (since Linux 6.11).
///
/// Works before the process has its first child. Fails with `ESRCH` if the process is gone or
/// exiting, and with `EACCES` without ptrace access.
pub fn pid_for_children(pidfd: &OwnedFd) -> io::Result<NamespaceFd> {
    // SAFETY: on a pidfd, this ioctl takes no argument and returns a new descriptor.
    unsafe { open_by::<PIDFD_GET_PID_FOR_CHILDREN_NAMESPACE>(pidfd) }
}

/// Opens the namespace that a link in /proc refers to, or fails with `ENOTTY` if it refers to any
/// other file.
pub fn open_namespace(dir: BorrowedFd<'_>, name: &CStr) -> io::Result<NamespaceFd> {
    NamespaceFd::reopen(&sys::open_linked(dir, name)?)
}

/// A `struct file_handle` that contains a `struct nsfs_file_handle` (`open_by_handle_at(2)`).
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    ns_id: u64,
    ns_type: u32,
    inode: u32,
}

/// Size of `struct nsfs_file_handle`.
const NSFS_FILE_HANDLE_SIZE_VER0: u32 = 16;

/// Type of file handles for nsfs.
const FILEID_NSFS: i32 = 0xf1;

/// Special descriptor number that refers to the root of nsfs (`open_by_handle_at(2)`).
const FD_NSFS_ROOT: libc::c_int = -10003;

/// Opens a PID namespace by its 64-bit ID and inode (since Linux 6.18).
///
/// Fails with `ESTALE` if the namespace is gone. Since Linux 6.19, also fails with `ESTALE` if the
/// namespace still exists but no task, descriptor or mount refers to it.
///
/// Fails with `EPERM` without `CAP_SYS_ADMIN` in the user namespace that owns the PID namespace.
/// Opening the caller's own PID namespace needs no capability.
pub fn open_by_handle(ns_id: u64, inode: u64) -> io::Result<NamespaceFd> {
    let mut handle = FileHandle {
        bytes: NSFS_FILE_HANDLE_SIZE_VER0,
        kind: FILEID_NSFS,
        ns_id,
        ns_type: CLONE_NEWPID.cast_unsigned(),
        inode: u32::try_from(inode).map_err(|_| Errno::INVAL)?,
    };
    // SAFETY: the kernel reads only `bytes` bytes after the header, all within `handle`.
    let raw = unsafe {
        libc::syscall(
            libc::SYS_open_by_handle_at,
            FD_NSFS_ROOT,
            ptr::from_mut(&mut handle),
            libc::O_RDONLY | libc::O_CLOEXEC,
        )
    };
    let Some(raw) = i32::try_from(raw).ok().filter(|&raw| raw >= 0) else {
        return Err(last_error());
    };
    // SAFETY: `raw` is a new descriptor that nothing else owns.
    NamespaceFd::new(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// An ioctl that takes a number by value (or no argument) and returns a number.
struct Call<const OPCODE: Opcode>(u32);

// SAFETY: the argument is a number, which the kernel does not use as a pointer.
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
/// `fd` must be a file on which the ioctl takes no argument, and returns a new descriptor or fails.
unsafe fn open_by<const OPCODE: Opcode>(fd: impl AsFd) -> io::Result<NamespaceFd> {
    // SAFETY: the caller guarantees that the ioctl takes no argument.
    let raw = unsafe { ioctl(fd, Call::<OPCODE>(0)) }?;
    // SAFETY: the caller guarantees that `raw` is a new descriptor.
    NamespaceFd::new(unsafe { OwnedFd::from_raw_fd(raw) })
}

/// Calls an ioctl that takes a PID and returns a PID.
///
/// # Safety
/// `fd` must be a file on which the ioctl takes a PID by value, and returns a PID or fails.
unsafe fn translate_by<const OPCODE: Opcode>(fd: impl AsFd, pid: Pid) -> io::Result<Pid> {
    // SAFETY: the caller guarantees that the ioctl takes a PID by value.
    let raw = unsafe { ioctl(fd, Call::<OPCODE>(pid.as_u32())) }?;
    u32::try_from(raw).ok().and_then(Pid::new).ok_or(Errno::SRCH)
}

/// Runs `call` in a new thread that has entered a mount namespace.
///
/// Fails with `EPERM` without `CAP_SYS_ADMIN` in the user namespace that owns the mount namespace.
/// Fails with `EAGAIN` if no thread can be started.
pub fn in_mount_namespace<T: Send>(
    namespace: &NamespaceFd,
    call: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let enter_and_call = || {
        // SAFETY: `unshare(2)` with `CLONE_FS` changes neither memory nor descriptors.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        // setns(2) also needs `CAP_SYS_ADMIN` and `CAP_SYS_CHROOT` in the caller's own user
        // namespace.
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        call()
    };
    thread::scope(|scope| {
        let entered = thread::Builder::new().spawn_scoped(scope, enter_and_call);
        entered.map_err(|_| Errno::AGAIN)?.join().unwrap_or(Err(Errno::AGAIN))
    })
}

/// The kernel's `struct mnt_id_req` as of Linux 6.11 (with the ID of the mount namespace).
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
    namespace: u64,
}

const _: () = assert!(size_of::<MountRequest>() == 32);

impl MountRequest {
    fn new(namespace: u64, mount: u64, param: u64) -> Self {
        Self { size: 32, spare: 0, mount, param, namespace }
    }
}

/// Writes the IDs of the mounts below `mount` to `ids` in ascending order, and returns the number
/// of IDs.
///
/// Every ID is greater than `after`. Fails with `EPERM` without `CAP_SYS_ADMIN` in the user
/// namespace that owns the mount namespace. Fails with `ENOENT` if the mount is gone.
pub fn list_mounts(namespace: u64, mount: u64, after: u64, ids: &mut [u64]) -> io::Result<usize> {
    let request = MountRequest::new(namespace, mount, after);
    let (request, length) = (ptr::from_ref(&request), ids.len());
    // SAFETY: the request begins with its size, and the kernel writes at most `length` IDs.
    let listed = unsafe { libc::syscall(LISTMOUNT, request, ids.as_mut_ptr(), length, 0) };
    usize::try_from(listed).map(|listed| listed.min(length)).map_err(|_| last_error())
}

/// Writes a `struct statmount` to `buffer`, or fails with `EOVERFLOW` if it does not fit.
pub fn stat_mount(namespace: u64, mount: u64, fields: u64, buffer: &mut [u8]) -> io::Result<()> {
    let request = MountRequest::new(namespace, mount, fields);
    let (request, length) = (ptr::from_ref(&request), buffer.len());
    // SAFETY: the request begins with its size, and the kernel writes at most `length` bytes.
    let done = unsafe { libc::syscall(STATMOUNT, request, buffer.as_mut_ptr(), length, 0) };
    if done < 0 { Err(last_error()) } else { Ok(()) }
}

/// Returns the error of the last system call that was made through libc.
fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_the_device_of_nsfs_through_a_pidfd_and_through_procfs() {
        let by_procfs = device_by_procfs();
        assert_eq!(by_procfs, device());
        if let Ok(by_pidfd) = device_by_pidfd() {
            assert_eq!(by_procfs, Ok(by_pidfd));
        }
    }
}
