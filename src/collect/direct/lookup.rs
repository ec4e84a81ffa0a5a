//! Asks the kernel for a process's PID in another namespace, without a scan: a
//! few system calls, however many processes there are.
//!
//! The kernel takes and gives numbers of the caller's namespace, so this needs
//! a /proc of the viewer's own, and the ioctls of Linux 6.11. Whatever the
//! kernel does not answer so is left to a scan, which gives the same answer.

use std::ffi::CString;
use std::mem::MaybeUninit;
use std::path::Path;

use rustix::fs::{self, CWD, Mode, OFlags, RawDir};
use rustix::io::{Errno, Result as SysResult};

use crate::collect::error::Error;
use crate::collect::kernel::nsfs::{NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{namespace_link, open, open_dir, read_record};
use crate::collect::parse;
use crate::collect::proc::mount::Procfs;
use crate::model::{Level, NamespaceId, NamespaceRef, NotFound, Pid, Translation};

/// A namespace that the user named. Where that was by a file, it is kept open,
/// so that its inode number cannot be given to another namespace.
#[derive(Debug)]
pub struct NamespaceHandle {
    /// Which it is.
    pub namespace: NamespaceRef,
    file: Option<NamespaceFd>,
}

impl NamespaceHandle {
    /// By its ID or a process.
    #[must_use]
    pub fn by(namespace: NamespaceRef) -> Self {
        Self { namespace, file: None }
    }

    /// By a file on nsfs.
    ///
    /// # Errors
    /// It cannot be opened, or is no PID namespace.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let failed = |errno: Errno| Error::read(path, errno);
        // As a path alone: if the file is a device or a FIFO, it is not opened.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        let fd = match NamespaceFd::reopen(&opened) {
            Ok(fd) if fd.is_pid_namespace().map_err(failed)? => fd,
            Ok(_) | Err(Errno::NOTTY) => return Err(Error::NotNamespace(path.to_owned())),
            Err(errno) => return Err(failed(errno)),
        };
        let namespace = NamespaceRef::Id(NamespaceId::Inode(fd.inode()));
        Ok(Self { namespace, file: Some(fd) })
    }
}

/// What the processes that have `pids` in `from` are called in `to`, the same
/// answer as a scan gives; `None` where only a scan can tell it of all of them.
///
/// # Errors
/// /proc cannot be read.
pub fn translate(
    procfs: &Path,
    pids: &[Pid],
    from: Option<&NamespaceHandle>,
    to: Option<&NamespaceHandle>,
) -> Result<Option<Result<Vec<Translation>, NotFound>>, Error> {
    let procfs = Procfs::open(procfs)?;
    let own = procfs.own.then(|| open_namespace(procfs.fd(), c"self/ns/pid").ok()).flatten();
    let Some(own) = own else { return Ok(None) };
    let kernel = Kernel { procfs, own };
    Ok(match kernel.translate_all(pids, from, to) {
        Ok(translations) => Some(Ok(translations)),
        Err(Failure::NotFound(no)) => Some(Err(no)),
        Err(Failure::NeedsScan) => None,
    })
}

/// Why there is no translation.
#[derive(Clone)]
enum Failure {
    /// There is no such process or namespace, or it is not visible there.
    NotFound(NotFound),
    /// The kernel does not tell; a scan may.
    NeedsScan,
}

impl From<Errno> for Failure {
    fn from(_: Errno) -> Self {
        Self::NeedsScan
    }
}

/// The viewer's own /proc and namespace.
struct Kernel {
    procfs: Procfs,
    own: NamespaceFd,
}

impl Kernel {
    fn translate_all(
        &self,
        pids: &[Pid],
        from: Option<&NamespaceHandle>,
        to: Option<&NamespaceHandle>,
    ) -> Result<Vec<Translation>, Failure> {
        // Both stay open to the end, so that their inode numbers remain theirs.
        // An error of `to` is kept back: that there is no such process counts more.
        let (from, to) = (self.open(from)?, self.open(to));
        pids.iter().map(|&pid| self.translate(pid, from.as_ref(), &to)).collect()
    }

    fn translate(
        &self,
        pid: Pid,
        from: Option<&NamespaceFd>,
        to: &Result<Option<NamespaceFd>, Failure>,
    ) -> Result<Translation, Failure> {
        let namespace = from.map(id);
        let home = from.unwrap_or(&self.own);
        let missing = || Failure::NotFound(NotFound::Process { pid, namespace });
        let known = match home.tgid_from_pidns(pid) {
            Ok(known) => known,
            Err(Errno::SRCH) => return Err(missing()),
            Err(errno) => return Err(errno.into()),
        };
        // If this file can still be read at the end, all that was asked in
        // between was of one process. The ioctls take a thread's number as
        // well, but such a number stands for no process.
        let status = open(self.procfs.fd(), &process_file(known, "status")?)?;
        match home.tgid_in_pidns(known) {
            Ok(again) if again == pid => {}
            Ok(_) | Err(Errno::SRCH) => return Err(missing()),
            Err(errno) => return Err(errno.into()),
        }
        let namespaces = self.lineage(known);
        let mut text = Vec::with_capacity(4096);
        // Even `ESRCH` does not say that it is gone: the file may be that of a leader
        // whose place another thread takes (`execve(2)`).
        read_record(&status, &mut text)?;
        let nspid = parse::status(&text).nspid;
        // A member of the viewer's own namespace is placed without its link,
        // which may be refused.
        let namespaces = if nspid.len() == 1 { vec![id(&self.own)] } else { namespaces? };
        if nspid.len() != namespaces.len() {
            return Err(Failure::NeedsScan);
        }
        let levels: Vec<_> = namespaces
            .into_iter()
            .zip(nspid)
            .map(|(namespace, pid)| Level { namespace: Some(namespace), pid })
            .collect();
        let to = to.as_ref().map_err(Clone::clone)?.as_ref().map(id);
        let wanted =
            match to {
                None if namespace.is_none() => levels.last(),
                None => levels.first(),
                Some(to) => {
                    let level = levels.iter().find(|level| level.namespace == Some(to));
                    Some(level.ok_or(Failure::NotFound(NotFound::NotVisible {
                        pid: known,
                        namespace: to,
                    }))?)
                }
            };
        let to = *wanted.ok_or(Failure::NeedsScan)?;
        let from = Some(namespace.unwrap_or(id(&self.own)));
        Ok(Translation { pid, from, to: to.namespace, translated: to.pid, levels })
    }

    /// The namespaces that a process is visible in, from the viewer's own
    /// inward to its own.
    fn lineage(&self, pid: Pid) -> Result<Vec<NamespaceId>, Failure> {
        let mut fd = open_namespace(self.procfs.fd(), &process_file(pid, "ns/pid")?)?;
        let mut lineage = vec![id(&fd)];
        while fd.inode() != self.own.inode() {
            fd = fd.parent()?;
            lineage.push(id(&fd));
        }
        lineage.reverse();
        Ok(lineage)
    }

    /// Opens a namespace that was named.
    fn open(&self, handle: Option<&NamespaceHandle>) -> Result<Option<NamespaceFd>, Failure> {
        let Some(handle) = handle else { return Ok(None) };
        let opened = match (&handle.file, handle.namespace) {
            (Some(file), _) => file.try_clone()?,
            (None, NamespaceRef::Of(pid)) => self.namespace_of(pid)?,
            (None, NamespaceRef::Id(NamespaceId::Inode(inode))) => self.search(inode)?,
            (None, NamespaceRef::Id(NamespaceId::Unread(_))) => return Err(Failure::NeedsScan),
        };
        // It must be the viewer's own or below it, as a scan shows no others.
        let mut above = opened.try_clone()?;
        while above.inode() != self.own.inode() {
            above = above.parent()?;
        }
        Ok(Some(opened))
    }

    /// Opens a namespace by its inode. There is no other way than to read the
    /// links of processes until one leads there, which costs at worst a quarter
    /// of a scan.
    fn search(&self, inode: u64) -> Result<NamespaceFd, Failure> {
        if inode == self.own.inode() {
            return Ok(self.own.try_clone()?);
        }
        let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
        // A descriptor of its own, as it has a position of its own.
        let mut entries = RawDir::new(open_dir(self.procfs.fd(), c".")?, &mut buffer);
        while let Some(entry) = entries.next() {
            let entry = entry?;
            let pid = parse::entry(entry.file_name().to_bytes()).and_then(Pid::new);
            let Some(pid) = pid else { continue };
            let name = process_file(pid, "ns/pid")?;
            if namespace_link(self.procfs.fd(), &name, "pid") == Ok(Some(inode))
                && let Ok(found) = open_namespace(self.procfs.fd(), &name)
                && found.inode() == inode
            {
                return Ok(found);
            }
        }
        Err(Failure::NeedsScan)
    }

    fn namespace_of(&self, pid: Pid) -> Result<NamespaceFd, Failure> {
        match self.own.tgid_in_pidns(pid) {
            Ok(leader) if leader == pid => {}
            Ok(_) | Err(Errno::SRCH) => {
                return Err(Failure::NotFound(NotFound::Process { pid, namespace: None }));
            }
            Err(errno) => return Err(errno.into()),
        }
        Ok(open_namespace(self.procfs.fd(), &process_file(pid, "ns/pid")?)?)
    }
}

fn id(namespace: &NamespaceFd) -> NamespaceId {
    NamespaceId::Inode(namespace.inode())
}

pub fn process_file(pid: Pid, file: &str) -> SysResult<CString> {
    CString::new(format!("{pid}/{file}")).map_err(|_| Errno::INVAL)
}
