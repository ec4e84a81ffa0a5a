//! Converts documents to the model.

use crate::document::open_list::UnknownWords;
use crate::document::parse::Invalid;
use crate::document::snapshot::{Blocker, Diagnostic, Document, Holder, HolderKind, Namespace};
use crate::model;

impl Document {
    /// Converts to the model. Unknown words are added to `unknown`.
    pub fn into_snapshot(
        self,
        mut unknown: UnknownWords,
    ) -> Result<(model::Snapshot, UnknownWords), Invalid> {
        self.check_lists()?;
        let depths = self.check_namespaces()?;
        self.check_processes(&depths)?;
        let Self { generator, host, procfs, .. } = self;
        let namespaces = self.namespaces.into_iter().enumerate();
        let snapshot = model::Snapshot {
            generator: (generator.name, generator.version),
            captured_at: self.captured_at.0,
            scan_duration: None,
            host: model::Host {
                hostname: host.hostname,
                kernel_release: host.kernel_release,
                boot_id: host.boot_id.map(|id| id.0),
            },
            procfs,
            searched: self
                .searched
                .into_iter()
                .filter_map(|scope| scope.known(&mut unknown))
                .collect(),
            details: self
                .details
                .into_iter()
                .filter_map(|detail| detail.known(&mut unknown))
                .collect(),
            selected: self.selected,
            complete: self.complete,
            namespaces: namespaces
                .map(|(index, namespace)| namespace.into_model(index, &mut unknown))
                .collect::<Result<_, _>>()?,
            processes: self
                .processes
                .into_iter()
                .map(|process| process.into_model(&mut unknown))
                .collect(),
            diagnostics: self
                .diagnostics
                .into_iter()
                .map(|diagnostic| diagnostic.into_model(&mut unknown))
                .collect(),
        };
        Ok((snapshot, unknown))
    }
}

impl Namespace {
    fn into_model(
        self,
        index: usize,
        unknown: &mut UnknownWords,
    ) -> Result<model::Namespace, Invalid> {
        let mut holders = Vec::with_capacity(self.holders.len());
        for (number, holder) in self.holders.into_iter().enumerate() {
            let place = || format!("namespaces[{index}].holders[{number}]");
            holders.extend(holder.into_model(place, unknown)?);
        }
        let blockers = self.blocked_by.into_iter();
        Ok(model::Namespace {
            id: self.id,
            device: self.device,
            ns_id: self.ns_id,
            parent: self.parent,
            parent_unknown: self.parent.is_none() && self.level.is_none(),
            state: self.state.known(unknown).unwrap_or(model::NamespaceState::Unknown),
            init: self.init,
            member_count: self.member_count.filter(|&count| count != self.members.len()),
            owner: self.owner.map(|owner| model::Owner {
                user_namespace: owner.user_namespace.0,
                uid: owner.uid,
                user: owner.user,
            }),
            holders,
            blocked_by: blockers.filter_map(|it| it.into_model(unknown)).collect(),
            container: self.container,
            evidence: self.evidence.certainty(unknown),
        })
    }
}

impl Holder {
    /// Converts to the model; `None` for an unknown kind. `place` is the path of the holder in
    /// the document.
    fn into_model(
        self,
        place: impl Fn() -> String,
        unknown: &mut UnknownWords,
    ) -> Result<Option<model::Holder>, Invalid> {
        let Some(kind) = self.kind.known(unknown) else { return Ok(None) };
        let is_null = |field: &str| {
            let problem = format!("is null, but a holder of kind {} requires it", kind.name());
            Invalid::at(format!("{}.{field}", place()), problem)
        };
        let pid = self.pid.ok_or_else(|| is_null("pid"));
        let fd = self.fd.ok_or_else(|| is_null("fd"));
        let file = |file, pid, comm, fd| model::Holder::File { file, pid, comm, fd };
        Ok(Some(match kind {
            HolderKind::Fd => model::Holder::Fd { pid: pid?, comm: self.comm, fd: fd? },
            HolderKind::Mount => model::Holder::Mount {
                path: self.path.ok_or_else(|| is_null("path"))?,
                mount_namespace: self.mount_namespace.ok_or_else(|| is_null("mount_namespace"))?.0,
            },
            HolderKind::PidForChildren => model::Holder::PidForChildren {
                pid: pid?,
                comm: self.comm,
                tid: self.tid.ok_or_else(|| is_null("tid"))?,
            },
            HolderKind::Pidfd => file(model::HoldingFile::Pidfd, pid?, self.comm, fd?),
            HolderKind::Socket => file(model::HoldingFile::Socket, pid?, self.comm, fd?),
            HolderKind::InFlight => file(model::HoldingFile::InFlight, pid?, self.comm, fd?),
            HolderKind::ProcfsFile => file(model::HoldingFile::Procfs, pid?, self.comm, fd?),
        }))
    }
}

impl Blocker {
    /// Converts to the model; `None` for an unknown reason.
    fn into_model(self, unknown: &mut UnknownWords) -> Option<model::Blocker> {
        Some(model::Blocker {
            pid: self.pid,
            comm: self.comm,
            reason: self.reason.known(unknown)?,
            reaper: self.reaper,
        })
    }
}

impl Diagnostic {
    /// Converts to the model. An unknown severity becomes a warning.
    fn into_model(self, unknown: &mut UnknownWords) -> model::Diagnostic {
        model::Diagnostic {
            code: self.code.0,
            severity: self.severity.known(unknown).unwrap_or(model::Severity::Warning),
            message: self.message,
            errno: self.errno.map(|errno| errno.0),
            pids: self.pids,
        }
    }
}
