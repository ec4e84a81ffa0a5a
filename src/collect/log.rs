//! What a scan could not find out, gathered by code and errno: a few entries,
//! however many processes they concern. What a code means and says is in the
//! model's table; what is noted, and when, is up to whoever reads or concludes.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

use crate::model::{Advice, Diagnostic, DiagnosticCode, Hides, Pid};

/// Accounts of single cases that are shown of one code; the rest are counted.
const ACCOUNTS: usize = 3;

/// All cases of one code and errno.
#[derive(Debug, Default)]
struct Entry {
    pids: Vec<Pid>,
    count: usize,
    /// The first few accounts of single cases, which replace the general message.
    accounts: Vec<String>,
}

impl Entry {
    fn message(&self, code: DiagnosticCode, count: usize) -> String {
        if self.accounts.is_empty() {
            return code.message(count);
        }
        let mut message = self.accounts.join("; ");
        if self.count > self.accounts.len() {
            message.push_str("; and more");
        }
        message
    }
}

/// What a scan has to say so far.
#[derive(Debug, Default)]
pub struct DiagnosticLog {
    entries: BTreeMap<(DiagnosticCode, Option<i32>), Entry>,
}

impl DiagnosticLog {
    /// Notes one more case, of a process where one is concerned.
    pub fn note(&mut self, code: DiagnosticCode, errno: Option<Errno>, pid: Option<Pid>) {
        self.note_of(code, errno, pid);
    }

    /// Notes one more case, which concerns these processes.
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

    /// Notes a case with an account of it, which is shown in place of the
    /// code's general message; where there are many, the first few are.
    pub fn note_as(
        &mut self,
        code: DiagnosticCode,
        account: String,
        pids: impl IntoIterator<Item = Pid>,
    ) {
        let entry = self.entries.entry((code, None)).or_default();
        entry.count += 1;
        entry.pids.extend(pids);
        if entry.accounts.len() < ACCOUNTS {
            entry.accounts.push(account);
        }
    }

    /// Leaves out what was noted of a code and has turned out not to matter.
    pub fn forget(&mut self, code: DiagnosticCode) {
        self.entries.retain(|(noted, _), _| *noted != code);
    }

    /// Takes over what another thread noted.
    pub fn merge(&mut self, other: Self) {
        for (key, other) in other.entries {
            let entry = self.entries.entry(key).or_default();
            entry.count += other.count;
            entry.pids.extend(other.pids);
            let room = ACCOUNTS - entry.accounts.len();
            entry.accounts.extend(other.accounts.into_iter().take(room));
        }
    }

    /// Why some process could not be read.
    pub fn unreadable(&self) -> Option<Errno> {
        let unreadable = DiagnosticCode::ProcessUnreadable;
        let mut codes = self.entries.keys().filter(|(code, _)| *code == unreadable);
        codes.find_map(|(_, errno)| errno.map(Errno::from_raw_os_error))
    }

    /// Whether an init may exist that the scan does not show as one: because
    /// its process is hidden, or its PIDs in inner namespaces are.
    pub fn hides_inits(&self) -> bool {
        self.entries.keys().any(|(code, _)| code.hides() != Hides::Nothing)
    }

    /// Whether nothing is missing, and all is from the kernel.
    pub fn is_complete(&self) -> bool {
        !self.entries.keys().any(|(code, _)| code.is_gap())
    }

    /// One entry for each code and errno, with how to do better; `permission`
    /// is that where something was refused.
    pub fn into_diagnostics(self, permission: &str) -> Vec<Diagnostic> {
        let diagnostic = |((code, errno), mut entry): ((DiagnosticCode, Option<i32>), Entry)| {
            entry.pids.sort_unstable();
            entry.pids.dedup();
            // A process may be refused in more than one place.
            let by_process = code.counts_processes() && !entry.pids.is_empty();
            let count = if by_process { entry.pids.len() } else { entry.count };
            let mut message = entry.message(code, count);
            if let Some(errno) = errno {
                message.push_str(": ");
                message.push_str(&io::Error::from_raw_os_error(errno).to_string());
            }
            let denied = [Errno::ACCESS, Errno::PERM].map(Errno::raw_os_error);
            let covered = Some(Errno::XDEV.raw_os_error());
            let advice = match code.advice() {
                _ if errno == covered => Some("something else is mounted there"),
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

/// The name of an error (`errno(3)`), or its number where it has none.
fn errno_name(raw: i32) -> String {
    match nix::errno::Errno::from_raw(raw) {
        nix::errno::Errno::UnknownErrno => raw.to_string(),
        errno => format!("{errno:?}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_for_each_code_and_errno_whatever_the_number_of_processes() {
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
    fn a_blocked_init_is_worth_a_warning_but_leaves_the_view_complete() {
        let mut log = DiagnosticLog::default();
        log.note_as(DiagnosticCode::InitBlocked, "init 6 waits".to_owned(), Pid::new(9));
        assert!(log.is_complete());
        assert_eq!(log.into_diagnostics("")[0].message, "init 6 waits");
    }

    #[test]
    fn an_error_has_its_name_or_else_its_number() {
        assert_eq!(errno_name(Errno::SRCH.raw_os_error()), "ESRCH");
        assert_eq!(errno_name(Errno::TIMEDOUT.raw_os_error()), "ETIMEDOUT");
        assert_eq!(errno_name(4000), "4000");
    }

    #[test]
    fn merging_loses_no_account() {
        let mut log = DiagnosticLog::default();
        log.note_as(DiagnosticCode::InitBlocked, "one".to_owned(), Pid::new(1));
        let mut other = DiagnosticLog::default();
        for (account, pid) in [("two", 2), ("three", 3), ("four", 4)] {
            other.note_as(DiagnosticCode::InitBlocked, account.to_owned(), Pid::new(pid));
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
