//! Namespace file descriptors and the ioctls on them (`ioctl_nsfs(2)`): the
//! one module with `unsafe` code beside `bpf/kernel.rs`. Which namespace is asked
//! what, and when, is for the callers.
//!
//! An open descriptor keeps its namespace alive, and its inode number from
//! being given to another one.

#![allow(unsafe_code)]

use std::cmp::Ordering;
use std::ffi::CStr;
use std::os::fd::{AsFd, AsRawFd as _, BorrowedFd, FromRawFd, OwnedFd};
use std::ptr;
use std::sync::OnceLock;
use std::thread;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{self, Errno};
use rustix::ioctl::{Getter, Ioctl, IoctlOutput, Opcode, ioctl, opcode};
use rustix::process::{PidfdFlags, getpid, pidfd_open};
use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space, unshare_unsafe};

use super::sys::{self, FileId};
use crate::collect::parse;
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

/// Device number of nsfs, by a descriptor of the viewer's own namespace.
fn own_namespace_device() -> io::Result<u64> {
    made_namespace_device().or_else(|_| shown_namespace_device())
}

/// By one that the kernel makes without any path (since Linux 6.11).
fn made_namespace_device() -> io::Result<u64> {
    let pidfd = pidfd_open(getpid(), PidfdFlags::empty())?;
    // SAFETY: pidfds know this ioctl or refuse it; it takes no argument
    // and returns a new descriptor on nsfs.
    let raw = unsafe { ioctl(&pidfd, Call::<PIDFD_GET_PID_NAMESPACE>(0)) }?;
    // SAFETY: the ioctl succeeded, so this is the new descriptor.
    let own = unsafe { OwnedFd::from_raw_fd(raw) };
    Ok(FileId::of_descriptor(own.as_fd())?.device)
}

/// By the file which /proc shows for it.
fn shown_namespace_device() -> io::Result<u64> {
    // Opened for itself, as the way to the link must not lead to another mount.
    let proc =
        openat(CWD, c"/proc", OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?;
    let own = sys::open_linked(proc.as_fd(), c"self/ns/pid")?;
    if sys::file_system(&own)? == NSFS_MAGIC {
        Ok(FileId::of_descriptor(own.as_fd())?.device)
    } else {
        Err(Errno::NOTTY)
    }
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
        _ => Err(last_error()),
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

/// A file handle of nsfs as `open_by_handle_at(2)` takes it, `struct file_handle`
/// with `struct nsfs_file_handle` in it.
#[repr(C)]
struct FileHandle {
    bytes: u32,
    kind: i32,
    ns_id: u64,
    ns_type: u32,
    inode: u32,
}

/// Size of the part after the head, `NSFS_FILE_HANDLE_SIZE_VER0`.
const NSFS_FILE_HANDLE_SIZE: u32 = 16;

/// Kind of the handles of nsfs, `FILEID_NSFS`.
const FILEID_NSFS: i32 = 0xf1;

/// Stands for the root of nsfs in place of a descriptor, `FD_NSFS_ROOT`.
const FD_NSFS_ROOT: libc::c_int = -10003;

/// Opens a PID namespace that is still in the kernel by its number and its inode
/// there, whatever keeps it (since Linux 6.18).
///
/// # Errors
/// `ESTALE` where it is gone; `EPERM` where it is not the caller's own, without
/// `CAP_SYS_ADMIN` in the user namespace that owns it; `EBADF` on older kernels;
/// `EINVAL` where the inode is none of nsfs.
pub fn open_by_handle(ns_id: u64, inode: u64) -> io::Result<NamespaceFd> {
    let mut handle = FileHandle {
        bytes: NSFS_FILE_HANDLE_SIZE,
        kind: FILEID_NSFS,
        ns_id,
        ns_type: CLONE_NEWPID.cast_unsigned(),
        inode: u32::try_from(inode).map_err(|_| Errno::INVAL)?,
    };
    // SAFETY: the kernel reads the head of the handle and as many bytes behind
    // it as that says, which is what stands there; it returns a new descriptor.
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
    // SAFETY: the call succeeded, so this is the new descriptor.
    NamespaceFd::new(unsafe { OwnedFd::from_raw_fd(raw) })
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

// Mount namespaces, and the mounts in them.

/// What `NS_GET_NSTYPE` says of a mount namespace, `CLONE_NEWNS`.
const CLONE_NEWNS: i32 = 0x2_0000;

const NS_GET_MNTNS_ID: Opcode = opcode::read::<u64>(0xb7, 0x5);
// The size of struct mnt_ns_info is part of these numbers.
const NS_MNT_GET_NEXT: Opcode = opcode::read::<[u64; 2]>(0xb7, 0xb);
const NS_MNT_GET_PREV: Opcode = opcode::read::<[u64; 2]>(0xb7, 0xc);

/// Numbers of the system calls, the same on all architectures that Linux was
/// ported to since 2019, and on those that Rust builds for but alpha and MIPS.
const STATMOUNT: libc::c_long = 457;
const LISTMOUNT: libc::c_long = 458;

/// Stands for the root of a mount namespace in `listmount(2)`, `LSMT_ROOT`.
pub const LSMT_ROOT: u64 = u64::MAX;

/// What [`stat_mount`] can be asked for; the values are `STATMOUNT_…`.
pub mod mount_fields {
    /// Type and device of the file system.
    pub const SB_BASIC: u64 = 0x1;
    /// The parent, among others.
    pub const MNT_BASIC: u64 = 0x2;
    /// The root within the file system: `pid:[4026531836]` of a bind mount on nsfs.
    pub const MNT_ROOT: u64 = 0x8;
    /// The mount point.
    pub const MNT_POINT: u64 = 0x10;
}

impl NamespaceFd {
    /// Whether it is a mount namespace, as far as the kernel says (since Linux 4.11).
    #[must_use]
    pub fn is_mount_namespace(&self) -> bool {
        // SAFETY: as for `is_pid_namespace`.
        let kind = unsafe { ioctl(&self.fd, Call::<NS_GET_NSTYPE>(0)) };
        kind == Ok(CLONE_NEWNS)
    }

    /// Of a mount namespace: the number by which `listmount(2)` knows it
    /// (since Linux 6.8, and by the other calls since 6.11).
    ///
    /// # Errors
    /// `EINVAL` for other kinds of namespaces; `ENOTTY` on older kernels.
    pub fn mount_namespace_id(&self) -> io::Result<u64> {
        // SAFETY: `self` is on nsfs, whose NS_GET_MNTNS_ID writes a u64.
        unsafe { ioctl(&self.fd, Getter::<NS_GET_MNTNS_ID, u64>::new()) }
    }

    /// Of a mount namespace: the next one of the host, or the one before it
    /// (`backward`), in an order of the kernel's own (since Linux 6.12).
    ///
    /// # Errors
    /// `ENOENT` at the end; `EPERM` outside of the initial PID namespace or
    /// without `CAP_SYS_ADMIN`; `ENOTTY` on older kernels.
    pub fn next_mount_namespace(&self, backward: bool) -> io::Result<Self> {
        // SAFETY: `self` is on nsfs, whose NS_MNT_GET_NEXT and NS_MNT_GET_PREV
        // return a new descriptor, and write nothing where the argument is null.
        unsafe {
            if backward {
                open_by::<NS_MNT_GET_PREV>(&self.fd)
            } else {
                open_by::<NS_MNT_GET_NEXT>(&self.fd)
            }
        }
    }
}

/// Calls `look` in a thread that has entered a mount namespace, at its root
/// directory, and ends with it; nothing of that is left to the caller.
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` in the user namespace of the mount namespace
/// and in the caller's own, and `CAP_SYS_CHROOT` there; `EAGAIN` where there is
/// no thread to be had; what `look` says.
pub fn in_mount_namespace<T: Send>(
    namespace: &NamespaceFd,
    look: impl FnOnce() -> io::Result<T> + Send,
) -> io::Result<T> {
    let enter = || {
        // SAFETY: this gives the thread a root and a working directory of its
        // own. No memory and no descriptor is concerned.
        unsafe { unshare_unsafe(UnshareFlags::FS) }?;
        move_into_link_name_space(namespace.as_fd(), Some(LinkNameSpaceType::Mount))?;
        look()
    };
    thread::scope(|scope| {
        let entered = thread::Builder::new().spawn_scoped(scope, enter);
        entered.map_err(|_| Errno::AGAIN)?.join().unwrap_or(Err(Errno::AGAIN))
    })
}

/// `struct mnt_id_req`.
#[repr(C)]
struct MountRequest {
    size: u32,
    spare: u32,
    mount: u64,
    param: u64,
    namespace: u64,
}

impl MountRequest {
    fn new(namespace: u64, mount: u64, param: u64) -> Self {
        // 32: the whole of it, as since Linux 6.11.
        Self { size: 32, spare: 0, mount, param, namespace }
    }
}

const _: () = assert!(size_of::<MountRequest>() == 32);

/// The numbers of the mounts below `mount` in a mount namespace, in ascending
/// order, from the one after `after` on, as many as fit; how many there were
/// (`listmount(2)`, in other mount namespaces than the caller's since Linux 6.11).
///
/// # Errors
/// `EPERM` without `CAP_SYS_ADMIN` in the user namespace of the mount namespace;
/// `ENOENT` where there is no such namespace or mount; `ENOSYS` on older kernels.
pub fn list_mounts(
    namespace: u64,
    mount: u64,
    after: u64,
    numbers: &mut [u64],
) -> io::Result<usize> {
    let request = MountRequest::new(namespace, mount, after);
    let (request, length) = (ptr::from_ref(&request), numbers.len());
    // SAFETY: the kernel reads as many bytes of the request as its first field
    // says, which is its size, and writes no more numbers than there is room for.
    let listed = unsafe { libc::syscall(LISTMOUNT, request, numbers.as_mut_ptr(), length, 0) };
    usize::try_from(listed).map(|listed| listed.min(length)).map_err(|_| last_error())
}

/// What `statmount(2)` says of a mount.
pub struct MountStat<'a>(&'a [u8]);

/// Where the texts begin in `struct statmount`.
const MOUNT_TEXTS: usize = 512;

/// Asks for some [`mount_fields`] of a mount (`statmount(2)`, since Linux 6.8,
/// in other mount namespaces than the caller's since 6.11). `buffer` is for the
/// answer.
///
/// # Errors
/// As of [`list_mounts`]; `EOVERFLOW` where the texts are longer than any path.
pub fn stat_mount(
    namespace: u64,
    mount: u64,
    fields: u64,
    buffer: &mut Vec<u8>,
) -> io::Result<MountStat<'_>> {
    const MOST: usize = 256 * 1024;
    let request = MountRequest::new(namespace, mount, fields);
    buffer.resize(buffer.len().max(MOUNT_TEXTS), 0);
    loop {
        let (request, length) = (ptr::from_ref(&request), buffer.len());
        // SAFETY: the kernel reads as many bytes of the request as its first
        // field says, and writes no more than `length` bytes into the buffer.
        let done = unsafe { libc::syscall(STATMOUNT, request, buffer.as_mut_ptr(), length, 0) };
        match if done < 0 { last_error() } else { return Ok(MountStat(buffer)) } {
            Errno::OVERFLOW if length < MOST => buffer.resize(length * 4, 0),
            errno => return Err(errno),
        }
    }
}

impl MountStat<'_> {
    /// The mount that it is mounted on; itself, at the top.
    pub fn parent(&self) -> Option<u64> {
        self.has(mount_fields::MNT_BASIC).then(|| self.number(48))?
    }

    /// Whether its file system is nsfs.
    pub fn is_on_nsfs(&self) -> bool {
        self.has(mount_fields::SB_BASIC) && self.number(24) == Some(NSFS_MAGIC)
    }

    /// The root within the file system.
    pub fn root(&self) -> Option<&[u8]> {
        self.has(mount_fields::MNT_ROOT).then(|| self.text(104))?
    }

    /// The mount point, below the root of the mount namespace; `None` where it
    /// cannot be reached from there.
    pub fn point(&self) -> Option<&[u8]> {
        self.has(mount_fields::MNT_POINT).then(|| self.text(108))?
    }

    /// Whether the kernel has filled in a field.
    fn has(&self, field: u64) -> bool {
        self.number(8).is_some_and(|fields| fields & field != 0)
    }

    fn number(&self, at: usize) -> Option<u64> {
        self.0.get(at..)?.first_chunk().map(|bytes| u64::from_ne_bytes(*bytes))
    }

    /// The text whose offset is at a place. What does not end within the
    /// buffer is none.
    fn text(&self, at: usize) -> Option<&[u8]> {
        let offset = u32::from_ne_bytes(*self.0.get(at..)?.first_chunk()?);
        let start = MOUNT_TEXTS.checked_add(usize::try_from(offset).ok()?)?;
        let text = self.0.get(start..)?;
        text.get(..text.iter().position(|&byte| byte == 0)?)
    }
}

/// Why the last system call by way of libc failed.
fn last_error() -> Errno {
    Errno::from_io_error(&std::io::Error::last_os_error()).unwrap_or(Errno::IO)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_device_of_namespaces_is_known_without_the_newest_kernel() {
        let shown = shown_namespace_device();
        assert_eq!(shown, device());
        if let Ok(made) = made_namespace_device() {
            assert_eq!(shown, Ok(made));
        }
    }
}
