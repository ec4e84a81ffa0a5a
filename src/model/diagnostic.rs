//! Problems encountered during a scan, and the table of diagnostic codes.

use super::{Pid, keywords};

/// A problem encountered during a scan. Problems with the same code and errno are usually combined
/// into one diagnostic.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// Name of the [`DiagnosticCode`], or a code from a later version of pidns.
    pub code: String,
    /// Severity of the problem.
    pub severity: Severity,
    /// Human-readable description.
    pub message: String,
    /// Name of the system error that caused the problem, such as `EACCES`.
    pub errno: Option<String>,
    /// The processes that the problem concerns.
    pub pids: Vec<Pid>,
}

impl Diagnostic {
    /// Returns `true` if the problem makes the snapshot incomplete, or if the code is unknown.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        DiagnosticCode::from_name(&self.code).is_none_or(DiagnosticCode::is_gap)
    }
}

keywords! {
    /// Severity of a diagnostic.
    pub enum Severity("severity", "severity", "severities") {
        /// Something in the snapshot may be missing or wrong.
        Warning = "warning",
    }
}

/// The processes that may be missing from a snapshot because of the problem that a diagnostic
/// describes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hides {
    /// No process is missing from the snapshot.
    Nothing,
    /// No process is missing, but pidns may fail to recognise an init.
    Inits,
    /// Any process may be missing from the snapshot.
    Processes,
}

/// The advice for a diagnostic, used unless the kernel refused access (`EACCES`, `EPERM`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// No advice.
    None,
    /// Advice to run pidns with the privileges that it lacks.
    Permission,
    /// A fixed text.
    Text(&'static str),
}

/// The kind of object that a diagnostic message counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Counted {
    Processes,
    Namespaces,
    MountNamespaces,
    TerminatedInits,
    Inits,
}

impl Counted {
    fn text(self, count: usize) -> String {
        let (one, many) = match self {
            Self::Processes => ("process", "processes"),
            Self::Namespaces => ("namespace", "namespaces"),
            Self::MountNamespaces => ("mount namespace", "mount namespaces"),
            Self::TerminatedInits => ("terminated init", "terminated inits"),
            Self::Inits => ("init", "inits"),
        };
        format!("{count} {}", if count == 1 { one } else { many })
    }
}

/// The properties that all diagnostics with the same code share.
struct DiagnosticEntry {
    name: &'static str,
    severity: Severity,
    is_gap: bool,
    hides: Hides,
    counted: Counted,
    /// The message, where `{}` stands for a count such as `3 processes`.
    message: &'static str,
    advice: Advice,
}

/// Generates [`DiagnosticCode`] and its lookup functions from the table of codes.
macro_rules! diagnostic_codes {
    ($($(#[$doc:meta])+ $code:ident { $($field:ident: $value:expr),+ $(,)? })+) => {
        /// The code of a diagnostic.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DiagnosticCode {
            $($(#[$doc])+ $code,)+
        }

        impl DiagnosticCode {
            /// All codes, in the order in which diagnostics are displayed.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            fn entry(self) -> &'static DiagnosticEntry {
                match self {
                    $(Self::$code => const { &DiagnosticEntry { $($field: $value),+ } },)+
                }
            }
        }
    };
}

diagnostic_codes! {
    /// The procfs hides processes (hidepid).
    ProcessesHidden {
        name: "processes-hidden",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Processes,
        counted: Counted::Processes,
        message: "this /proc hides processes of other users (hidepid)",
        advice: Advice::Permission,
    }
    /// Processes are listed in /proc, but cannot be read.
    ProcessUnreadable {
        name: "process-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Processes,
        counted: Counted::Processes,
        message: "{} could not be read",
        advice: Advice::None,
    }
    /// The kernel does not report the PIDs that processes have in inner namespaces.
    NspidUnavailable {
        name: "nspid-unavailable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Inits,
        counted: Counted::Processes,
        message: "the kernel does not report the PIDs of {} in inner namespaces (NSpid, Linux 4.1)",
        advice: Advice::None,
    }
    /// `ns/pid` or `ns/pid_for_children` cannot be read.
    NamespaceUnreadable {
        name: "namespace-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the namespace links of {}",
        advice: Advice::None,
    }
    /// The inode of a namespace is known, but the namespace cannot be opened.
    NamespaceUnopened {
        name: "namespace-unopened",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot open {}, so parent and owner are unknown",
        advice: Advice::None,
    }
    /// The kernel refused to report the parent of a namespace, although the parent is pidns's own
    /// PID namespace or a descendant of it.
    ParentUnreadable {
        name: "parent-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot get the parents of {}",
        advice: Advice::None,
    }
    /// The kernel refused to report the user namespace that owns a PID namespace, although this
    /// user namespace is pidns's own or a descendant of it.
    OwnerUnreadable {
        name: "owner-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot get the owners of {}",
        advice: Advice::None,
    }
    /// The kernel did not report the UID of a namespace's owner.
    OwnerUidUnreadable {
        name: "owner-uid-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot get the UIDs of the owners of {}",
        advice: Advice::None,
    }
    /// The kernel did not report the 64-bit ID of a namespace.
    NsIdUnreadable {
        name: "ns-id-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot get the 64-bit IDs (ns_id) of {}",
        advice: Advice::None,
    }
    /// Parents of namespaces were inferred.
    ParentsInferred {
        name: "parents-inferred",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "the parents of {} are inferred, because the kernel does not report them here",
        advice: Advice::Text("run pidns on the host, or in the PID namespace of that /proc, for certainty"),
    }
    /// Parents of namespaces could not be inferred.
    ParentsUnknown {
        name: "parents-unknown",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "the parents of {} are unknown",
        advice: Advice::Text("run pidns in the PID namespace of that /proc, or in an ancestor of it"),
    }
    /// The namespace of a process could not be inferred.
    ProcessesAmbiguous {
        name: "processes-ambiguous",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "the namespaces of {} are ambiguous",
        advice: Advice::Permission,
    }
    /// pidns cannot tell if a process has created a namespace for its children.
    NascentUnreadable {
        name: "nascent-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot tell if {} created a namespace that has no process yet",
        advice: Advice::Text("use Linux 6.11 or later, and the /proc of pidns's own PID namespace (--procfs)"),
    }
    /// File descriptor tables cannot be read.
    FdsUnreadable {
        name: "fds-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot search the open files of {}",
        advice: Advice::None,
    }
    /// Mount tables cannot be read.
    MountsUnreadable {
        name: "mounts-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot search the mounts of {}",
        advice: Advice::None,
    }
    /// Some mounts of a mount namespace could not be searched.
    MountsUnsearched {
        name: "mounts-unsearched",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::MountNamespaces,
        message: "cannot search all mounts of {}",
        advice: Advice::Text(
            "to see all of them, run pidns as root on the host with Linux 6.12 or later",
        ),
    }
    /// Mounts were not searched, because the mounts or mount namespaces kept changing.
    MountsBusy {
        name: "mounts-busy",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::MountNamespaces,
        message: "cannot search all mounts, because processes create mount namespaces or change \
                  mounts all the time",
        advice: Advice::None,
    }
    /// The parents of some processes are hidden, or changed repeatedly during the scan.
    ParentProcessUnread {
        name: "parent-process-unread",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "the parents of {} could not be read (ppid is null)",
        advice: Advice::None,
    }
    /// The start times of processes cannot be read or converted to the initial time namespace.
    StartTimeUnreadable {
        name: "start-time-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read when {} started",
        advice: Advice::None,
    }
    /// The requested command lines of some processes cannot be read.
    ArgsUnreadable {
        name: "args-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the command lines of {}",
        advice: Advice::None,
    }
    /// The requested command lines of some processes are truncated.
    ArgsCut {
        name: "args-cut",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "the command lines of {} are truncated to 32 KiB or 2,048 arguments",
        advice: Advice::None,
    }
    /// The requested links to mount, network and other namespaces cannot be read.
    OtherNamespacesUnreadable {
        name: "other-namespaces-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the mount, network and other namespaces of {}",
        advice: Advice::None,
    }
    /// The cgroups of some processes cannot be read.
    CgroupUnreadable {
        name: "cgroup-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the cgroups of {}",
        advice: Advice::None,
    }
    /// The environments of some processes cannot be read.
    EnvironmentUnreadable {
        name: "environment-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the environments of {}",
        advice: Advice::None,
    }
    /// Some requested limits cannot be read.
    LimitsUnknown {
        name: "limits-unknown",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the limits of {}",
        advice: Advice::None,
    }
    /// The init of a namespace may be running, may have terminated, or may never have started.
    StateUnproved {
        name: "state-unproved",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot tell if the inits of {} are running",
        advice: Advice::Text("run pidns as root on the host, with the host's /proc"),
    }
    /// Another process in the namespace keeps a terminated init from being removed.
    InitBlocked {
        name: "init-blocked",
        severity: Severity::Warning,
        is_gap: false,
        hides: Hides::Nothing,
        counted: Counted::TerminatedInits,
        message: "{} cannot be removed",
        advice: Advice::None,
    }
    /// A living init does not reap its children, which stay zombies.
    InitDoesNotReap {
        name: "init-does-not-reap",
        severity: Severity::Warning,
        is_gap: false,
        hides: Hides::Nothing,
        counted: Counted::Inits,
        message: "{} do not reap their children",
        advice: Advice::Text("use an init that does, such as tini or docker run --init"),
    }
    /// A thread that is not the leader is in uninterruptible sleep.
    ThreadUninterruptible {
        name: "thread-uninterruptible",
        severity: Severity::Warning,
        is_gap: false,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "{} with a thread in uninterruptible sleep",
        advice: Advice::None,
    }
    /// Holders of a namespace are left out, because there are too many.
    HoldersLeftOut {
        name: "holders-left-out",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "holders of {} are left out",
        advice: Advice::None,
    }
    /// A namespace was found in kernel memory, but no holder of it was found.
    HeldUnseen {
        name: "held-unseen",
        severity: Severity::Warning,
        // The snapshot contains the namespace, so nothing is missing.
        is_gap: false,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "no holder was found for {}",
        advice: Advice::Text("it may be a detached mount, or a mount of its procfs, which no search shows"),
    }
}

impl DiagnosticCode {
    /// Returns the name that JSON and YAML documents use for this code.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Returns the code with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// Returns the severity of diagnostics with this code.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.entry().severity
    }

    /// Returns `true` if a diagnostic with this code makes the snapshot incomplete.
    #[must_use]
    pub fn is_gap(self) -> bool {
        self.entry().is_gap
    }

    /// Returns the processes that may be missing from a snapshot with this diagnostic.
    #[must_use]
    pub fn hides(self) -> Hides {
        self.entry().hides
    }

    /// Returns `true` if the message for this code says how many processes are affected.
    #[must_use]
    pub fn counts_processes(self) -> bool {
        self.entry().counted == Counted::Processes
    }

    /// Returns the human-readable message for `count` affected objects, such as processes.
    #[must_use]
    pub fn message(self, count: usize) -> String {
        let entry = self.entry();
        entry.message.replacen("{}", &entry.counted.text(count), 1)
    }

    /// Returns the human-readable advice.
    #[must_use]
    pub fn advice(self) -> Advice {
        self.entry().advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_each_code_by_its_name() {
        for &code in DiagnosticCode::ALL {
            assert_eq!(DiagnosticCode::from_name(code.name()), Some(code));
            assert!(code.name().bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()));
        }
        assert_eq!(DiagnosticCode::from_name("no-such-code"), None);
    }

    #[test]
    fn a_message_counts_in_singular_and_plural() {
        let code = DiagnosticCode::ProcessUnreadable;
        assert_eq!(code.message(1), "1 process could not be read");
        assert_eq!(code.message(2), "2 processes could not be read");
        assert_eq!(DiagnosticCode::InitBlocked.message(2), "2 terminated inits cannot be removed");
    }

    #[test]
    fn a_code_that_hides_processes_makes_a_snapshot_incomplete() {
        for &code in DiagnosticCode::ALL {
            assert!(code.is_gap() || code.hides() == Hides::Nothing, "{}", code.name());
        }
    }
}
