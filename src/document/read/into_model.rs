//! Converts documents to the model.

use super::consistency::{check_lists, check_namespaces, check_processes};
use crate::document::open_list::UnknownWords;
use crate::document::parse::Invalid;
use crate::document::snapshot::{Blocker, Diagnostic, Document, Holder, HolderKind, Namespace};
use crate::model;

/// Checks that a document is consistent, and converts it to the model.
pub fn snapshot(
    document: Document,
    mut unknown: UnknownWords,
) -> Result<(model::Snapshot, UnknownWords), Invalid> {
    check_lists(&document)?;
    let depths = check_namespaces(&document)?;
    check_processes(&document, &depths)?;
    let Document { generator, host, procfs, .. } = document;
    let namespaces = document.namespaces.into_iter().enumerate();
    let snapshot = model::Snapshot {
        generator: (generator.name, generator.version),
        captured_at: document.captured_at.0,
        scan_duration: None,
        host: model::Host {
            hostname: host.hostname,
            kernel_release: host.kernel_release,
            boot_id: host.boot_id.map(|id| id.0),
        },
        procfs,
        observer: document.observer,
        searched: document
            .searched
            .into_iter()
            .filter_map(|scope| scope.known(&mut unknown))
            .collect(),
        details: document
            .details
            .into_iter()
            .filter_map(|detail| detail.known(&mut unknown))
            .collect(),
        selected: document.selected,
        complete: document.complete,
        namespaces: namespaces
            .map(|(index, namespace)| self::namespace(namespace, index, &mut unknown))
            .collect::<Result<_, _>>()?,
        processes: document
            .processes
            .into_iter()
            .map(|process| process.into_model(&mut unknown))
            .collect(),
        limits: document.limits.map(|limits| {
            limits.into_iter().filter_map(|limit| limit.into_model(&mut unknown)).collect()
        }),
        diagnostics: document
            .diagnostics
            .into_iter()
            .map(|diagnostic| self::diagnostic(diagnostic, &mut unknown))
            .collect(),
    };
    Ok((snapshot, unknown))
}

fn namespace(
    namespace: Namespace,
    index: usize,
    unknown: &mut UnknownWords,
) -> Result<model::Namespace, Invalid> {
    let mut holders = Vec::with_capacity(namespace.holders.len());
    for (number, holder) in namespace.holders.into_iter().enumerate() {
        let place = || format!("namespaces[{index}].holders[{number}]");
        holders.extend(self::holder(holder, place, unknown)?);
    }
    let blockers = namespace.blocked_by.into_iter();
    Ok(model::Namespace {
        id: namespace.id,
        device: namespace.device,
        ns_id: namespace.ns_id,
        parent: namespace.parent,
        parent_unknown: namespace.parent.is_none() && namespace.level.is_none(),
        state: namespace.state.known(unknown).unwrap_or(model::NamespaceState::Unknown),
        init: namespace.init,
        member_count: namespace.member_count.filter(|&count| count != namespace.members.len()),
        owner: namespace.owner.map(|owner| model::Owner {
            user_namespace: owner.user_namespace.0,
            uid: owner.uid,
            user: owner.user,
        }),
        holders,
        blocked_by: blockers.filter_map(|it| blocker(it, unknown)).collect(),
        container: namespace.container,
        evidence: namespace.evidence.certainty(unknown),
    })
}

/// Converts a holder to the model, or returns `None` if the value of its field `kind` is unknown.
fn holder(
    holder: Holder,
    place: impl Fn() -> String,
    unknown: &mut UnknownWords,
) -> Result<Option<model::Holder>, Invalid> {
    let Some(kind) = holder.kind.known(unknown) else { return Ok(None) };
    let is_null = |field: &str| {
        let problem = format!("is null, but a holder of kind {} requires it", kind.name());
        Invalid::at(format!("{}.{field}", place()), problem)
    };
    let pid = holder.pid.ok_or_else(|| is_null("pid"));
    let fd = holder.fd.ok_or_else(|| is_null("fd"));
    let file = |file, pid, comm, fd| model::Holder::File { file, pid, comm, fd };
    Ok(Some(match kind {
        HolderKind::Fd => model::Holder::Fd { pid: pid?, comm: holder.comm, fd: fd? },
        HolderKind::Mount => model::Holder::Mount {
            path: holder.path.ok_or_else(|| is_null("path"))?,
            mount_namespace: holder.mount_namespace.ok_or_else(|| is_null("mount_namespace"))?.0,
        },
        HolderKind::PidForChildren => model::Holder::PidForChildren {
            pid: pid?,
            comm: holder.comm,
            tid: holder.tid.ok_or_else(|| is_null("tid"))?,
        },
        HolderKind::Pidfd => file(model::HoldingFile::Pidfd, pid?, holder.comm, fd?),
        HolderKind::Socket => file(model::HoldingFile::Socket, pid?, holder.comm, fd?),
        HolderKind::Listener => file(model::HoldingFile::Listener, pid?, holder.comm, fd?),
        HolderKind::Message => file(model::HoldingFile::Message, pid?, holder.comm, fd?),
        HolderKind::InFlight => file(model::HoldingFile::InFlight, pid?, holder.comm, fd?),
        HolderKind::ProcfsFile => file(model::HoldingFile::Procfs, pid?, holder.comm, fd?),
    }))
}

/// Converts a blocker to the model, or returns `None` if the value of its field `reason` is
/// unknown.
fn blocker(blocker: Blocker, unknown: &mut UnknownWords) -> Option<model::Blocker> {
    Some(model::Blocker {
        pid: blocker.pid,
        comm: blocker.comm,
        reason: blocker.reason.known(unknown)?,
        reaper: blocker.reaper,
    })
}

/// Converts a diagnostic to the model, as a warning if its severity is unknown.
fn diagnostic(diagnostic: Diagnostic, unknown: &mut UnknownWords) -> model::Diagnostic {
    model::Diagnostic {
        code: diagnostic.code.0,
        severity: diagnostic.severity.known(unknown).unwrap_or(model::Severity::Warning),
        message: diagnostic.message,
        errno: diagnostic.errno.map(|errno| errno.0),
        pids: diagnostic.pids,
    }
}
