//! What a scan could not find out, gathered by code and errno: a few entries,
//! however many processes they concern.

use std::collections::BTreeMap;
use std::io;

use rustix::io::Errno;

use crate::model::{Diagnostic, Pid, Severity};

/// What there is to say about a scan, in the order in which it is said.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Code {
    /// A /proc that leaves processes out.
    ProcessesHidden,
    /// Processes that are listed, but closed.
    ProcessUnreadable,
    /// A kernel that does not tell the PIDs in inner namespaces.
    NspidUnavailable,
    /// `ns/pid` or `ns/pid_for_children` that may not be read.
    NamespaceUnreadable,
    /// A namespace that is known by its inode and could not be opened.
    NamespaceUnopened,
    /// A parent that the kernel did not name, for another reason than being
    /// out of sight.
    ParentUnreadable,
    /// Parents that were concluded.
    ParentsInferred,
    /// Parents that could not even be concluded.
    ParentsUnknown,
    /// Processes whose namespace could not be concluded.
    ProcessesAmbiguous,
    /// A namespace that a process may have made for its children and that
    /// this kernel, or this /proc, does not show.
    NascentUnreadable,
    /// File descriptor tables that may not be read.
    FdsUnreadable,
    /// Mount tables that may not be read.
    MountsUnreadable,
    /// A namespace of which it could not be proved whether its init is gone.
    StateUnproved,
    /// An init that has terminated and can't be gone because a process
    /// outside does not reap its child inside.
    InitBlocked,
}

impl Code {
    /// The code in the document.
    fn name(self) -> &'static str {
        match self {
            Self::ProcessesHidden => "processes-hidden",
            Self::ProcessUnreadable => "process-unreadable",
            Self::NspidUnavailable => "nspid-unavailable",
            Self::NamespaceUnreadable => "namespace-unreadable",
            Self::NamespaceUnopened => "namespace-unopened",
            Self::ParentUnreadable => "parent-unreadable",
            Self::ParentsInferred => "parents-inferred",
            Self::ParentsUnknown => "parents-unknown",
            Self::ProcessesAmbiguous => "processes-ambiguous",
            Self::NascentUnreadable => "nascent-unreadable",
            Self::FdsUnreadable => "fds-unreadable",
            Self::MountsUnreadable => "mounts-unreadable",
            Self::StateUnproved => "state-unproved",
            Self::InitBlocked => "init-blocked",
        }
    }

    /// Whether it makes the view incomplete, or not all from the kernel.
    fn is_gap(self) -> bool {
        self != Self::InitBlocked
    }

    /// What it is, for people; `of` counts what it concerns.
    fn message(self, count: usize) -> String {
        let plural = |one: &str, many: &str| {
            if count == 1 { format!("1 {one}") } else { format!("{count} {many}") }
        };
        let processes = || plural("process", "processes");
        let namespaces = || plural("namespace", "namespaces");
        match self {
            Self::ProcessesHidden => {
                "this /proc hides processes of other users (hidepid)".to_owned()
            }
            Self::ProcessUnreadable => {
                format!("cannot read {}, left out", processes())
            }
            Self::NspidUnavailable => format!(
                "the kernel does not tell the PIDs of {} in inner namespaces (NSpid, Linux 4.1)",
                processes()
            ),
            Self::NamespaceUnreadable => {
                format!("cannot read the namespace links of {}", processes())
            }
            Self::NamespaceUnopened => format!(
                "cannot open a namespace that {} told of, so its parent and owner are unknown",
                processes()
            ),
            Self::ParentUnreadable => {
                format!("cannot ask for the parents of {}", namespaces())
            }
            Self::ParentsInferred => format!(
                "the parents of {} are inferred, as the kernel names none outside the viewer's own",
                namespaces()
            ),
            Self::ParentsUnknown => {
                format!("the parents of {} are out of sight", namespaces())
            }
            Self::ProcessesAmbiguous => {
                format!("the namespaces of {} are ambiguous", processes())
            }
            Self::NascentUnreadable => format!(
                "cannot tell whether {} made a namespace without a first process yet",
                processes()
            ),
            Self::FdsUnreadable => {
                format!("cannot search the open files of {}", processes())
            }
            Self::MountsUnreadable => {
                format!("cannot search the mounts of {}", processes())
            }
            Self::StateUnproved => {
                format!("cannot prove whether the inits of {} are gone", namespaces())
            }
            Self::InitBlocked => {
                format!("{} cannot end", plural("terminated init", "terminated inits"))
            }
        }
    }
}

#[derive(Debug, Default)]
struct Entry {
    pids: Vec<Pid>,
    count: usize,
    message: Option<String>,
}

/// What a scan has to say so far.
#[derive(Debug, Default)]
pub struct DiagnosticLog {
    entries: BTreeMap<(Code, Option<i32>), Entry>,
}

impl DiagnosticLog {
    /// Notes one more case, of a process where one is concerned.
    pub fn note(&mut self, code: Code, errno: Option<Errno>, pid: Option<Pid>) {
        let entry = self.entries.entry((code, errno.map(Errno::raw_os_error))).or_default();
        entry.count += 1;
        entry.pids.extend(pid);
    }

    /// Notes a case in words of its own, which replace the general ones; where
    /// there are many, the first few.
    pub fn note_as(&mut self, code: Code, message: String, pids: impl IntoIterator<Item = Pid>) {
        let entry = self.entries.entry((code, None)).or_default();
        entry.count += 1;
        entry.pids.extend(pids);
        match &mut entry.message {
            None => entry.message = Some(message),
            Some(said) if entry.count <= 3 => said.extend(["; ", &message]),
            Some(said) if entry.count == 4 => said.push_str("; and more"),
            Some(_) => {}
        }
    }

    /// Takes over what another thread noted.
    pub fn merge(&mut self, other: Self) {
        for (key, other) in other.entries {
            let entry = self.entries.entry(key).or_default();
            entry.count += other.count;
            entry.pids.extend(other.pids);
        }
    }

    /// Why some process could not be read.
    pub fn unreadable(&self) -> Option<Errno> {
        let mut codes = self.entries.keys().filter(|(code, _)| *code == Code::ProcessUnreadable);
        codes.find_map(|(_, errno)| errno.map(Errno::from_raw_os_error))
    }

    /// Whether there may be processes that the scan does not show.
    pub fn hides_processes(&self) -> bool {
        // Without their PIDs in inner namespaces, inits are not known as such.
        let hides = [Code::ProcessesHidden, Code::ProcessUnreadable, Code::NspidUnavailable];
        self.entries.keys().any(|(code, _)| hides.contains(code))
    }

    /// Whether nothing is missing, and all is from the kernel.
    pub fn is_complete(&self) -> bool {
        !self.entries.keys().any(|(code, _)| code.is_gap())
    }

    /// One entry for each code and errno, with how to do better; `permission`
    /// is that where something was refused.
    pub fn into_diagnostics(self, permission: &str) -> Vec<Diagnostic> {
        let diagnostic = |((code, errno), mut entry): ((Code, Option<i32>), Entry)| {
            entry.pids.sort_unstable();
            entry.pids.dedup();
            // A process may be refused in more than one place.
            let count = if entry.pids.is_empty() { entry.count } else { entry.pids.len() };
            let mut message = entry.message.unwrap_or_else(|| code.message(count));
            if let Some(errno) = errno {
                message.push_str(": ");
                message.push_str(&io::Error::from_raw_os_error(errno).to_string());
            }
            let denied = [Errno::ACCESS, Errno::PERM].map(Errno::raw_os_error);
            let advice = match code {
                _ if errno.is_some_and(|errno| denied.contains(&errno)) => Some(permission),
                Code::ProcessesHidden | Code::ProcessesAmbiguous => Some(permission),
                Code::StateUnproved => Some(
                    "it is shown as live; run as root of the host, on the host's /proc, to be told",
                ),
                Code::ParentsInferred | Code::ParentsUnknown => {
                    Some("run in the namespace of that /proc, or above, to be told")
                }
                Code::NascentUnreadable => {
                    Some("this takes Linux 6.11 and a /proc of the viewer's own (--procfs)")
                }
                _ => None,
            };
            if let Some(advice) = advice {
                message.push_str("; ");
                message.push_str(advice);
            }
            Diagnostic {
                code: code.name().to_owned(),
                severity: Severity::Warning,
                message,
                errno: errno.map(errno_name),
                pids: entry.pids,
            }
        };
        self.entries.into_iter().map(diagnostic).collect()
    }
}

/// The name of an error (`errno(3)`) that reading /proc or an ioctl on nsfs
/// may give, or its number.
fn errno_name(raw: i32) -> String {
    let name = match Errno::from_raw_os_error(raw) {
        Errno::ACCESS => "EACCES",
        Errno::BADF => "EBADF",
        Errno::INVAL => "EINVAL",
        Errno::IO => "EIO",
        Errno::LOOP => "ELOOP",
        Errno::MFILE => "EMFILE",
        Errno::NFILE => "ENFILE",
        Errno::NOENT => "ENOENT",
        Errno::NOMEM => "ENOMEM",
        Errno::NOSYS => "ENOSYS",
        Errno::NOTDIR => "ENOTDIR",
        Errno::NOTTY => "ENOTTY",
        Errno::PERM => "EPERM",
        Errno::SRCH => "ESRCH",
        Errno::STALE => "ESTALE",
        Errno::XDEV => "EXDEV",
        _ => return raw.to_string(),
    };
    name.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_entry_for_each_code_and_errno_whatever_the_number_of_processes() {
        let mut log = DiagnosticLog::default();
        for raw in (1..=1000).rev() {
            log.note(Code::NamespaceUnreadable, Some(Errno::ACCESS), Pid::new(raw));
        }
        let mut other = DiagnosticLog::default();
        other.note(Code::NamespaceUnreadable, Some(Errno::MFILE), Pid::new(7));
        other.note(Code::NamespaceUnreadable, Some(Errno::ACCESS), Pid::new(7));
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
        log.note_as(Code::InitBlocked, "init 6 waits".to_owned(), Pid::new(9));
        assert!(log.is_complete());
        assert_eq!(log.into_diagnostics("")[0].message, "init 6 waits");
    }

    #[test]
    fn the_schema_names_every_code() {
        for code in [
            Code::ProcessesHidden,
            Code::ProcessUnreadable,
            Code::NspidUnavailable,
            Code::NamespaceUnreadable,
            Code::NamespaceUnopened,
            Code::ParentUnreadable,
            Code::ParentsInferred,
            Code::ParentsUnknown,
            Code::ProcessesAmbiguous,
            Code::NascentUnreadable,
            Code::FdsUnreadable,
            Code::MountsUnreadable,
            Code::StateUnproved,
            Code::InitBlocked,
        ] {
            let name = code.name();
            assert!(crate::document::SCHEMA.contains(name), "{name}");
        }
    }
}
