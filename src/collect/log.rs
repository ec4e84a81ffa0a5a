//! Collects diagnostics during a scan, and merges those with the same code and errno.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

use crate::model::{Advice, Diagnostic, DiagnosticCode, Hides, Pid};

/// Maximum number of detailed messages for each diagnostic code.
const MAX_DETAILS: usize = 3;

/// The reason why pidns did not read some of the cgroups.
pub const NESTED_CGROUPS: &str = "cgroups are nested so deeply that reading them takes too long";

/// All problems with the same code and errno.
#[derive(Debug, Default)]
struct Entry {
    pids: Vec<Pid>,
    count: usize,
    /// Messages about individual occurrences, shown instead of the default message.
    details: Vec<String>,
}

impl Entry {
    fn message(&self, code: DiagnosticCode, count: usize) -> String {
        if self.details.is_empty() {
            return code.message(count);
        }
        let mut message = self.details.join("; ");
        if self.count > self.details.len() {
            message.push_str("; and more");
        }
        message
    }
}

/// The diagnostics that a scan has reported so far.
#[derive(Debug, Default)]
pub struct DiagnosticLog {
    entries: BTreeMap<(DiagnosticCode, Option<i32>), Entry>,
}

impl DiagnosticLog {
    /// Adds one occurrence of a problem, and the affected process if there is one.
    pub fn note(&mut self, code: DiagnosticCode, errno: Option<Errno>, pid: Option<Pid>) {
        self.note_of(code, errno, pid);
    }

    /// Adds one occurrence of a problem that concerns several processes.
    pub fn note_of(
        &mut self,
        code: DiagnosticCode,
        errno: Option<Errno>,
        pids: impl IntoIterator<Item = Pid>,
    ) {
        let entry = self.entries.entry((code, errno.map(Errno::raw_os_error))).or_default();
        entry.count += 1;
        entry.pids.extend(pids);
    }

    /// Adds one occurrence of a problem, with a message that replaces the default message.
    pub fn note_as(
        &mut self,
        code: DiagnosticCode,
        message: String,
        pids: impl IntoIterator<Item = Pid>,
    ) {
        let entry = self.entries.entry((code, None)).or_default();
        entry.count += 1;
        entry.pids.extend(pids);
        if entry.details.len() < MAX_DETAILS {
            entry.details.push(message);
        }
    }

    /// Removes all diagnostics with this code.
    pub fn forget(&mut self, code: DiagnosticCode) {
        self.entries.retain(|(noted, _), _| *noted != code);
    }

    /// Adds all diagnostics of another log.
    pub fn merge(&mut self, other: Self) {
        for (key, other) in other.entries {
            let entry = self.entries.entry(key).or_default();
            entry.count += other.count;
            entry.pids.extend(other.pids);
            let free = MAX_DETAILS - entry.details.len();
            entry.details.extend(other.details.into_iter().take(free));
        }
    }

    /// Returns `true` if a problem with this errno was noted.
    pub fn has(&self, errno: Errno) -> bool {
        self.entries.keys().any(|(_, noted)| *noted == Some(errno.raw_os_error()))
    }

    /// Returns the error of an unreadable process, if there is one.
    pub fn unreadable(&self) -> Option<Errno> {
        let unreadable = DiagnosticCode::ProcessUnreadable;
        let mut codes = self.entries.keys().filter(|(code, _)| *code == unreadable);
        codes.find_map(|(_, errno)| errno.map(Errno::from_raw_os_error))
    }

    /// Returns `true` if the scan may have missed the init of a namespace.
    pub fn hides_inits(&self) -> bool {
        self.entries.keys().any(|(code, _)| code.hides() != Hides::Nothing)
    }

    /// Returns `true` if no diagnostic reports missing or inferred data.
    pub fn is_complete(&self) -> bool {
        !self.entries.keys().any(|(code, _)| code.is_gap())
    }

    /// Returns one diagnostic per code and errno, with `permission` as advice for denied access.
    pub fn into_diagnostics(self, permission: &str) -> Vec<Diagnostic> {
        let diagnostic = |((code, errno), mut entry): ((DiagnosticCode, Option<i32>), Entry)| {
            entry.pids.sort_unstable();
            entry.pids.dedup();
            // A problem can occur several times in a process, so count each process once.
            let by_process = code.counts_processes() && !entry.pids.is_empty();
            let count = if by_process { entry.pids.len() } else { entry.count };
            let mut message = entry.message(code, count);
            if let Some(errno) = errno {
                message.push_str(": ");
                message.push_str(&io::Error::from_raw_os_error(errno).to_string());
            }
            let denied = [Errno::ACCESS, Errno::PERM].map(Errno::raw_os_error);
            let covered = Some(Errno::XDEV.raw_os_error());
            let busy = Some(Errno::BUSY.raw_os_error());
            let advice = match code.advice() {
                _ if errno == covered => Some("something else is mounted there"),
                _ if errno == busy && code == DiagnosticCode::CgroupUnreadable => {
                    Some(NESTED_CGROUPS)
                }
                _ if errno == busy => Some("locked for too long"),
                _ if errno.is_some_and(|errno| denied.contains(&errno)) => Some(permission),
                Advice::Permission => Some(permission),
                Advice::Text(text) => Some(text),
                Advice::None => None,
            };
            if let Some(advice) = advice {
                message.push_str("; ");
                message.push_str(advice);
            }
            Diagnostic {
                code: code.name().to_owned(),
                severity: code.severity(),
                message,
                errno: errno.map(errno_name),
                pids: entry.pids,
            }
        };
        self.entries.into_iter().map(diagnostic).collect()
    }
}

/// Returns the symbolic name of an error, as in errno(3), or its number if it has no name.
fn errno_name(raw: i32) -> String {
    match nix::errno::Errno::from_raw(raw) {
        nix::errno::Errno::UnknownErrno => raw.to_string(),
        errno => format!("{errno:?}"),
    }
}

/// Returns the advice for errors caused by a missing permission.
pub fn permission_advice(viewer_may_trace_all: bool) -> &'static str {
    if viewer_may_trace_all {
        "refused even to CAP_SYS_PTRACE, as a security module may do"
    } else {
        "run as root on the host, or with CAP_SYS_PTRACE, to see it"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn groups_occurrences_by_code_and_errno() {
        let mut log = DiagnosticLog::default();
        for raw in (1..=1000).rev() {
            log.note(DiagnosticCode::NamespaceUnreadable, Some(Errno::ACCESS), Pid::new(raw));
        }
        let mut other = DiagnosticLog::default();
        other.note(DiagnosticCode::NamespaceUnreadable, Some(Errno::MFILE), Pid::new(7));
        other.note(DiagnosticCode::NamespaceUnreadable, Some(Errno::ACCESS), Pid::new(7));
        log.merge(other);
        assert!(!log.is_complete());
        let diagnostics = log.into_diagnostics("be root");
        assert_eq!(diagnostics.len(), 2);
        assert_eq!(
            diagnostics[0].message,
            "cannot read the namespace links of 1000 processes: \
             Permission denied (os error 13); be root"
        );
        assert_eq!(diagnostics[0].errno.as_deref(), Some("EACCES"));
        assert_eq!(diagnostics[0].pids.len(), 1000);
        assert_eq!(diagnostics[0].pids[0], Pid::INIT);
        assert_eq!(diagnostics[1].errno.as_deref(), Some("EMFILE"));
    }

    #[test]
    fn a_blocked_init_does_not_make_the_snapshot_incomplete() {
        let mut log = DiagnosticLog::default();
        log.note_as(DiagnosticCode::InitBlocked, "init 6 waits".to_owned(), Pid::new(9));
        assert!(log.is_complete());
        assert_eq!(log.into_diagnostics("")[0].message, "init 6 waits");
    }

    #[test]
    fn an_errno_without_a_name_becomes_its_number() {
        assert_eq!(errno_name(Errno::SRCH.raw_os_error()), "ESRCH");
        assert_eq!(errno_name(Errno::TIMEDOUT.raw_os_error()), "ETIMEDOUT");
        assert_eq!(errno_name(4000), "4000");
    }

    #[test]
    fn merging_keeps_all_messages() {
        let mut log = DiagnosticLog::default();
        log.note_as(DiagnosticCode::InitBlocked, "one".to_owned(), Pid::new(1));
        let mut other = DiagnosticLog::default();
        for (message, pid) in [("two", 2), ("three", 3), ("four", 4)] {
            other.note_as(DiagnosticCode::InitBlocked, message.to_owned(), Pid::new(pid));
        }
        log.merge(other);
        let diagnostics = log.into_diagnostics("");
        assert_eq!(diagnostics[0].message, "one; two; three; and more");
        assert_eq!(diagnostics[0].pids.len(), 4);

        let mut log = DiagnosticLog::default();
        let mut other = DiagnosticLog::default();
        other.note_as(DiagnosticCode::ProcessesHidden, "cannot tell".to_owned(), None);
        log.merge(other);
        assert_eq!(log.into_diagnostics("be root")[0].message, "cannot tell; be root");
    }
}
