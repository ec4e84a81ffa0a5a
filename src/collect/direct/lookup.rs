//! Translates PIDs between namespaces with a few system calls, without a scan.
//!
//! The ioctls of nsfs (since Linux 6.11) take PIDs of the caller's namespace. Therefore, the procfs
//! must show the PID namespace of pidns. If the ioctls can't translate a PID, all processes must be
//! scanned.

use std::ffi::CString;
use std::path::Path;
use std::sync::Arc;

use rustix::fs::{self, CWD, Mode, OFlags};
use rustix::io::{Errno, Result as SysResult};

use crate::collect::error::Error;
use crate::collect::kernel::blocked::Reading;
use crate::collect::kernel::clock;
use crate::collect::kernel::nsfs::{NamespaceFd, open_namespace};
use crate::collect::kernel::sys::{namespace_link, open, read_record};
use crate::collect::parse;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::scan_mark;
use crate::collect::unblocked::unless_blocked;
use crate::model::{Level, NamespaceId, NamespaceRef, NotFound, Pid, Translation};

/// A namespace given by the user.
#[derive(Clone, Debug)]
pub struct NamespaceHandle {
    /// The namespace that the user named.
    pub namespace: NamespaceRef,
    /// The open file, which keeps the inode from being reused.
    file: Option<Arc<NamespaceFd>>,
}

impl NamespaceHandle {
    /// Creates a handle for a namespace given by its ID or by the PID of a member.
    #[must_use]
    pub fn by(namespace: NamespaceRef) -> Self {
        Self { namespace, file: None }
    }

    /// Opens the nsfs file at `path`, and fails if the file is not a PID namespace.
    pub fn file(path: &Path) -> Result<Self, Error> {
        let failed = |errno: Errno| Error::read(path, errno);
        scan_mark::renew();
        // Open the file with O_PATH first, because opening a device or a FIFO has side effects.
        let flags = OFlags::PATH | OFlags::CLOEXEC;
        let opened = fs::openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        let fd = match NamespaceFd::reopen(&opened) {
            Ok(fd) if fd.is_pid_namespace().map_err(failed)? => fd,
            Ok(_) | Err(Errno::NOTTY) => return Err(Error::NotNamespace(path.to_owned())),
            Err(errno) => return Err(failed(errno)),
        };
        let namespace = NamespaceRef::Id(NamespaceId::Inode(fd.inode()));
        Ok(Self { namespace, file: Some(Arc::new(fd)) })
    }
}

/// Translates PIDs between two namespaces, or returns `None` if a scan is needed.
pub fn translate(
    procfs: &Path,
    pids: &[Pid],
    from: Option<&NamespaceHandle>,
    to: Option<&NamespaceHandle>,
) -> Result<Option<Result<Vec<Translation>, NotFound>>, Error> {
    scan_mark::renew();
    let procfs = Procfs::open(procfs)?;
    let own = procfs.own.then(|| open_namespace(procfs.fd(), c"self/ns/pid").ok()).flatten();
    let Some(own) = own else { return Ok(None) };
    clock::make_exact(|| procfs.open_initial_time_namespace());
    let translator = Arc::new(Translator { procfs, own });
    let translated = unless_blocked(|| {
        let translator = Arc::clone(&translator);
        let (pids, from, to) = (pids.to_vec(), from.cloned(), to.cloned());
        Ok(move || translator.translate_all(&pids, from.as_ref(), to.as_ref()))
    });
    Ok(match translated? {
        Ok(translations) => Some(Ok(translations)),
        Err(Failure::NotFound(not_found)) => Some(Err(not_found)),
        Err(Failure::NeedsScan) => None,
    })
}

/// The reason why a PID could not be translated.
#[derive(Clone)]
enum Failure {
    /// The process or namespace doesn't exist, or the process has no PID in the target namespace.
    NotFound(NotFound),
    /// The ioctls can't translate the PID, but a scan may be able to.
    NeedsScan,
}

impl From<Errno> for Failure {
    fn from(_: Errno) -> Self {
        Self::NeedsScan
    }
}

/// Translates PIDs between pidns's own PID namespace and its descendants.
struct Translator {
    procfs: Procfs,
    own: NamespaceFd,
}

impl Translator {
    fn translate_all(
        &self,
        pids: &[Pid],
        from: Option<&NamespaceHandle>,
        to: Option<&NamespaceHandle>,
    ) -> Result<Vec<Translation>, Failure> {
        // Keep both namespaces open until the end, so that their inodes can't be reused.
        let (from, to) = (self.open(from)?, self.open(to));
        // Keep `to` as a `Result`, so that a missing process is reported before a failure to open
        // `to`.
        pids.iter().map(|&pid| self.translate(pid, from.as_ref(), &to)).collect()
    }

    fn translate(
        &self,
        pid: Pid,
        from: Option<&NamespaceFd>,
        to: &Result<Option<NamespaceFd>, Failure>,
    ) -> Result<Translation, Failure> {
        let _reading = Reading::of(pid);
        let namespace = from.map(id);
        let home = from.unwrap_or(&self.own);
        let (known, levels) = self.levels(pid, home, namespace)?;
        let to = to.as_ref().map_err(Clone::clone)?.as_ref().map(id);
        let wanted = match to {
            None if namespace.is_none() => levels.last(),
            None => levels.first(),
            Some(to) => {
                let level = levels.iter().find(|level| level.namespace == Some(to));
                let not_visible = NotFound::NotVisible { pid: known, namespace: to };
                Some(level.ok_or(Failure::NotFound(not_visible))?)
            }
        };
        let to = *wanted.ok_or(Failure::NeedsScan)?;
        let from = Some(namespace.unwrap_or(id(&self.own)));
        Ok(Translation { pid, from, to: to.namespace, translated: to.pid, levels })
    }

    /// Returns a process's PID in pidns's namespace, and its PIDs at all levels, outermost first.
    fn levels(
        &self,
        pid: Pid,
        home: &NamespaceFd,
        named: Option<NamespaceId>,
    ) -> Result<(Pid, Vec<Level>), Failure> {
        let missing = || Failure::NotFound(NotFound::Process { pid, namespace: named });
        let known = match home.tgid_from_pidns(pid) {
            Ok(known) => known,
            Err(Errno::SRCH) => return Err(missing()),
            Err(errno) => return Err(errno.into()),
        };
        // Open `status` now, and read it last. If that read succeeds, all data belongs to the same
        // process.
        let status = open(self.procfs.fd(), &process_file(known, "status")?)?;
        // The ioctls accept a TID and translate it to a PID, so check that `pid` is not a TID.
        match home.tgid_in_pidns(known) {
            Ok(again) if again == pid => {}
            Ok(_) | Err(Errno::SRCH) => return Err(missing()),
            Err(errno) => return Err(errno.into()),
        }
        let namespaces = self.lineage(known);
        let mut text = Vec::with_capacity(4096);
        // After any error, fall back to a scan. Even `ESRCH` does not prove that the process is
        // gone, because execve(2) in another thread can replace the leader thread.
        read_record(&status, &mut text)?;
        let nspid = parse::status(&text).nspid;
        // A process with only one PID is in pidns's own namespace, so an error in `namespaces` does
        // not matter.
        let namespaces = if nspid.len() == 1 { vec![id(&self.own)] } else { namespaces? };
        if nspid.len() != namespaces.len() {
            return Err(Failure::NeedsScan);
        }
        let levels = namespaces
            .into_iter()
            .zip(nspid)
            .map(|(namespace, pid)| Level { namespace: Some(namespace), pid })
            .collect();
        Ok((known, levels))
    }

    /// Returns the namespaces from pidns's own namespace to the process's own namespace.
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

    /// Opens a namespace given by the user.
    fn open(&self, handle: Option<&NamespaceHandle>) -> Result<Option<NamespaceFd>, Failure> {
        let Some(handle) = handle else { return Ok(None) };
        let opened = match (&handle.file, handle.namespace) {
            (Some(file), _) => file.try_clone()?,
            (None, NamespaceRef::Of(pid)) => self.namespace_of(pid)?,
            (None, NamespaceRef::Id(NamespaceId::Inode(inode))) => self.find_by_inode(inode)?,
            (None, NamespaceRef::Id(NamespaceId::Unread(_)) | NamespaceRef::NsId(_)) => {
                return Err(Failure::NeedsScan);
            }
        };
        // Accept only pidns's own namespace and its descendants, as a scan does.
        let mut ancestor = opened.try_clone()?;
        while ancestor.inode() != self.own.inode() {
            ancestor = ancestor.parent()?;
        }
        Ok(Some(opened))
    }

    /// Finds a namespace by inode in the namespace links of all processes, and opens it.
    fn find_by_inode(&self, inode: u64) -> Result<NamespaceFd, Failure> {
        if inode == self.own.inode() {
            return Ok(self.own.try_clone()?);
        }
        // No system call finds a namespace by inode, so try the namespace of each process. A scan
        // would take at least four times as long as this loop.
        for pid in self.procfs.pids()? {
            let name = process_file(pid?, "ns/pid")?;
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

/// Returns the path `PID/FILE`, relative to the root of the procfs.
pub fn process_file(pid: Pid, file: &str) -> SysResult<CString> {
    CString::new(format!("{pid}/{file}")).map_err(|_| Errno::INVAL)
}
