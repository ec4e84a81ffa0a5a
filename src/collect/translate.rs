//! Asks the kernel what a PID is called elsewhere, without a scan: a few
//! system calls, however many processes there are.
//!
//! The kernel speaks of the caller's numbers, so this takes a /proc of the
//! viewer's own, and the ioctls of Linux 6.11. Whatever it does not serve is
//! left to a scan, which has the same answer.

use std::ffi::CString;
use std::path::Path;

use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::{Errno, Result as SysResult};

use super::nsfs::NamespaceFd;
use super::parse;
use super::procfs::{Procfs, is_gone, open, open_namespace, read_record};
use crate::error::Error;
use crate::model::{Level, NamespaceId, NamespaceRef, NotFound, Pid, Translation};

/// A namespace that the user named. Where that was by a file, it is held open:
/// its inode cannot come to mean another one.
#[derive(Debug)]
pub struct Named {
    /// Which it is.
    pub namespace: NamespaceRef,
    file: Option<NamespaceFd>,
}

impl Named {
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
        let failed = |source: Errno| Error::Read { path: path.to_owned(), source: source.into() };
        // A path alone, so that nothing else (a device, a FIFO) is opened.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        match NamespaceFd::reopen(&opened) {
            Ok(fd) if fd.is_pid_namespace() => {
                let namespace = NamespaceRef::Id(NamespaceId::Inode(fd.inode()));
                Ok(Self { namespace, file: Some(fd) })
            }
            Ok(_) | Err(Errno::NOTTY) => Err(Error::NotNamespace(path.to_owned())),
            Err(errno) => Err(failed(errno)),
        }
    }
}

/// What the process that has `pid` in `from` is called in `to`, as
/// [`PidGraph::translate`](crate::graph::PidGraph::translate) has it; `None`
/// where only a scan can tell.
///
/// # Errors
/// /proc cannot be read.
pub fn translate(
    procfs: &Path,
    pid: Pid,
    from: Option<&Named>,
    to: Option<&Named>,
) -> Result<Option<Result<Translation, NotFound>>, Error> {
    let procfs = Procfs::open(procfs)?;
    let own = procfs.own.then(|| open_namespace(procfs.fd(), c"self/ns/pid").ok()).flatten();
    let Some(own) = own else { return Ok(None) };
    let kernel = Kernel { procfs, own };
    Ok(match kernel.translate(pid, from, to) {
        Ok(translation) => Some(Ok(translation)),
        Err(Failure::No(no)) => Some(Err(no)),
        Err(Failure::Unserved) => None,
    })
}

/// Why the kernel did not give an answer at once.
enum Failure {
    /// That is the answer.
    No(NotFound),
    /// It takes a scan.
    Unserved,
}

impl From<Errno> for Failure {
    fn from(_: Errno) -> Self {
        Self::Unserved
    }
}

/// The viewer's own /proc and namespace.
struct Kernel {
    procfs: Procfs,
    own: NamespaceFd,
}

impl Kernel {
    fn translate(
        &self,
        pid: Pid,
        from: Option<&Named>,
        to: Option<&Named>,
    ) -> Result<Translation, Failure> {
        let inward = from.is_none() && to.is_none();
        let named = from.map(|from| self.id(from)).transpose()?;
        let namespace = named.as_ref().map(|(id, _)| *id);
        let home = match named {
            None => self.own.try_clone()?,
            Some((_, file)) => file.ok_or(Failure::Unserved)?,
        };
        if !self.sees(home.try_clone()?) {
            return Err(Failure::Unserved);
        }
        let missing = || Failure::No(NotFound::Process { pid, namespace });
        let known = match home.tgid_from_pidns(pid) {
            Ok(known) => known,
            Err(Errno::SRCH) => return Err(missing()),
            Err(errno) => return Err(errno.into()),
        };
        // Open from here on, it shows whether all that follows is of one
        // process. A thread's number would be taken as well, but means none.
        let status = self.process_file(known, "status")?;
        if home.tgid_in_pidns(known) != Ok(pid) {
            return Err(missing());
        }
        let namespaces = self.lineage(known)?;
        let mut text = Vec::with_capacity(4096);
        match read_record(&status, &mut text) {
            Ok(()) => {}
            Err(errno) if is_gone(errno) => return Err(missing()),
            Err(errno) => return Err(errno.into()),
        }
        let nspid = parse::status(&text).nspid;
        if nspid.len() != namespaces.len() {
            return Err(Failure::Unserved);
        }
        let levels: Vec<_> = namespaces
            .into_iter()
            .zip(nspid)
            .map(|(namespace, pid)| Level { namespace: Some(namespace), pid })
            .collect();
        let wanted = match to {
            None if inward => levels.last(),
            None => levels.first(),
            Some(to) => {
                let (id, file) = self.id(to)?;
                let level = levels.iter().find(|level| level.namespace == Some(id));
                let is_there = level.is_none() && file.is_some_and(|file| self.sees(file));
                if is_there {
                    let no = NotFound::NotVisible { pid: known, namespace: id };
                    return Err(Failure::No(no));
                }
                // Without, whether there is such a namespace takes a scan.
                level
            }
        };
        let to = *wanted.ok_or(Failure::Unserved)?;
        let from = namespace.or(Some(NamespaceId::Inode(self.own.inode())));
        Ok(Translation { pid, from, to: to.namespace, translated: to.pid, levels })
    }

    /// The namespaces that a process is visible in, from the viewer's own
    /// inward to its own.
    fn lineage(&self, pid: Pid) -> Result<Vec<NamespaceId>, Failure> {
        let mut fd = NamespaceFd::new(self.process_file(pid, "ns/pid")?)?;
        let mut lineage = vec![NamespaceId::Inode(fd.inode())];
        while fd.inode() != self.own.inode() {
            fd = fd.parent()?;
            lineage.push(NamespaceId::Inode(fd.inode()));
        }
        lineage.reverse();
        Ok(lineage)
    }

    /// The ID of a namespace that was named, and the namespace itself where
    /// that needs no search; the ID is good as long as that is open.
    fn id(&self, named: &Named) -> Result<(NamespaceId, Option<NamespaceFd>), Failure> {
        Ok(match (&named.file, named.namespace) {
            (Some(file), NamespaceRef::Id(id)) => (id, Some(file.try_clone()?)),
            (_, NamespaceRef::Of(pid)) => {
                let fd = self.namespace_of(pid)?;
                (NamespaceId::Inode(fd.inode()), Some(fd))
            }
            (None, NamespaceRef::Id(id)) if id == NamespaceId::Inode(self.own.inode()) => {
                (id, Some(self.own.try_clone()?))
            }
            (None, NamespaceRef::Id(id)) => (id, None),
        })
    }

    /// Whether a namespace is the viewer's own or below it: others a scan
    /// does not show either.
    fn sees(&self, mut fd: NamespaceFd) -> bool {
        while fd.inode() != self.own.inode() {
            match fd.parent() {
                Ok(parent) => fd = parent,
                Err(_) => return false,
            }
        }
        true
    }

    fn namespace_of(&self, pid: Pid) -> Result<NamespaceFd, Failure> {
        if self.own.tgid_in_pidns(pid)? != pid {
            return Err(Failure::No(NotFound::Process { pid, namespace: None }));
        }
        Ok(NamespaceFd::new(self.process_file(pid, "ns/pid")?)?)
    }

    fn process_file(&self, pid: Pid, file: &str) -> SysResult<std::os::fd::OwnedFd> {
        let name = CString::new(format!("{pid}/{file}")).map_err(|_| Errno::INVAL)?;
        open(self.procfs.fd(), &name)
    }
}
