//! What a reader of a snapshot must know beside what it shows, and the table
//! of everything that can be said so. Who finds such a thing, and when, is no
//! business of this file.

use super::{Pid, keywords};

/// Something that a reader of the snapshot must know, one for each code and errno.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What it is, for programs: lower case and hyphens. A document of a later
    /// version may hold codes that [`DiagnosticCode`] does not know.
    pub code: String,
    /// How much it matters.
    pub severity: Severity,
    /// What it is, for people.
    pub message: String,
    /// Name of the system's error, `EACCES`, where one is the cause.
    pub errno: Option<String>,
    /// The processes that it concerns.
    pub pids: Vec<Pid>,
}

impl Diagnostic {
    /// Whether something is missing, or not from the kernel, so that the view
    /// is incomplete. True of codes that only a later version knows.
    #[must_use]
    pub fn is_gap(&self) -> bool {
        DiagnosticCode::from_name(&self.code).is_none_or(DiagnosticCode::is_gap)
    }
}

keywords! {
    /// Severity of a diagnostic.
    pub enum Severity("severity", "severity", "severities") {
        /// Something may be missing or wrong.
        Warning = "warning",
    }
}

/// Which processes a diagnostic of some code says may be missing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Hides {
    /// None.
    Nothing,
    /// Every process is shown, but an init may not be known as one.
    Inits,
    /// Any process may be missing.
    Processes,
}

/// What a diagnostic of some code tells the user to do about it. A refusal
/// (`EACCES` or `EPERM`) is always followed by what would permit it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Advice {
    /// Nothing.
    None,
    /// What would permit the viewer to see more.
    Permission,
    /// This.
    Text(&'static str),
}

/// What the number in a message counts.
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

/// A row of the table: all that is the same for every diagnostic of one code.
struct Row {
    name: &'static str,
    severity: Severity,
    is_gap: bool,
    hides: Hides,
    counted: Counted,
    /// The message; `{}` stands for how many of `counted` it concerns.
    message: &'static str,
    advice: Advice,
}

/// The table of codes. A new code is one more entry here; the enum, its list
/// and all look-ups come from it. The order is the one in which diagnostics
/// are shown.
macro_rules! diagnostic_codes {
    ($($(#[$doc:meta])+ $code:ident { $($field:ident: $value:expr),+ $(,)? })+) => {
        /// What a scan may have to say beside what it shows.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum DiagnosticCode {
            $($(#[$doc])+ $code,)+
        }

        impl DiagnosticCode {
            /// All of them, in the order in which they are shown.
            pub const ALL: &[Self] = &[$(Self::$code),+];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$code => const { &Row { $($field: $value),+ } },)+
                }
            }
        }
    };
}

diagnostic_codes! {
    /// A /proc that leaves processes out.
    ProcessesHidden {
        name: "processes-hidden",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Processes,
        counted: Counted::Processes,
        message: "this /proc hides processes of other users (hidepid)",
        advice: Advice::Permission,
    }
    /// Processes that are listed, but closed.
    ProcessUnreadable {
        name: "process-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Processes,
        counted: Counted::Processes,
        message: "{} could not be read",
        advice: Advice::None,
    }
    /// A kernel that does not tell the PIDs in inner namespaces.
    NspidUnavailable {
        name: "nspid-unavailable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Inits,
        counted: Counted::Processes,
        message: "the kernel does not tell the PIDs of {} in inner namespaces (NSpid, Linux 4.1)",
        advice: Advice::None,
    }
    /// `ns/pid` or `ns/pid_for_children` that may not be read.
    NamespaceUnreadable {
        name: "namespace-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the namespace links of {}",
        advice: Advice::None,
    }
    /// A namespace that is known by its inode and could not be opened.
    NamespaceUnopened {
        name: "namespace-unopened",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot open {}, so parent and owner are unknown",
        advice: Advice::None,
    }
    /// A parent that the kernel did not name, for another reason than that
    /// there is none in the viewer's own namespace.
    ParentUnreadable {
        name: "parent-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot ask for the parents of {}",
        advice: Advice::None,
    }
    /// An owner that the kernel did not name, for another reason than being
    /// out of reach.
    OwnerUnreadable {
        name: "owner-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot ask for the owners of {}",
        advice: Advice::None,
    }
    /// An owner whose UID the kernel did not tell.
    OwnerUidUnreadable {
        name: "owner-uid-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot ask for the UIDs of the owners of {}",
        advice: Advice::None,
    }
    /// The 64-bit number of a namespace that the kernel did not tell.
    NsIdUnreadable {
        name: "ns-id-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot ask for the 64-bit numbers (ns_id) of {}",
        advice: Advice::None,
    }
    /// Parents that were concluded.
    ParentsInferred {
        name: "parents-inferred",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "the parents of {} are inferred, as the kernel did not name them here",
        advice: Advice::Text("run on the host, or in the namespace of that /proc, to be told"),
    }
    /// Parents that could not even be concluded.
    ParentsUnknown {
        name: "parents-unknown",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "the parents of {} are out of sight",
        advice: Advice::Text("run in the namespace of that /proc, or above, to be told"),
    }
    /// Processes whose namespace could not be concluded.
    ProcessesAmbiguous {
        name: "processes-ambiguous",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "the namespaces of {} are ambiguous",
        advice: Advice::Permission,
    }
    /// A namespace that a process may have made for its children and that
    /// this kernel, or this /proc, does not show.
    NascentUnreadable {
        name: "nascent-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot tell whether {} made a namespace without a first process yet",
        advice: Advice::Text("this takes Linux 6.11 and a /proc of the viewer's own (--procfs)"),
    }
    /// File descriptor tables that may not be read.
    FdsUnreadable {
        name: "fds-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot search the open files of {}",
        advice: Advice::None,
    }
    /// Mount tables that may not be read.
    MountsUnreadable {
        name: "mounts-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot search the mounts of {}",
        advice: Advice::None,
    }
    /// Mount namespaces of which not all mounts could be seen.
    MountsUnsearched {
        name: "mounts-unsearched",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::MountNamespaces,
        message: "cannot search all mounts of {}",
        advice: Advice::Text(
            "run as root of the host, with CAP_SYS_ADMIN, on Linux 6.12, to see all of them",
        ),
    }
    /// `stat` that may not be read.
    StartTimeUnreadable {
        name: "start-time-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read when {} started",
        advice: Advice::None,
    }
    /// Command lines that were asked for and may not be read.
    ArgsUnreadable {
        name: "args-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the command lines of {}",
        advice: Advice::None,
    }
    /// Command lines that were asked for and are longer than what is read.
    ArgsCut {
        name: "args-cut",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "the command lines of {} are cut after 32 KiB",
        advice: Advice::None,
    }
    /// Links to the namespaces of other types that were asked for and may not
    /// be read.
    OtherNamespacesUnreadable {
        name: "other-namespaces-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the other namespaces of {}",
        advice: Advice::None,
    }
    /// Cgroups that may not be read: of inits, whose containers they tell, and
    /// where they were asked for.
    CgroupUnreadable {
        name: "cgroup-unreadable",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Processes,
        message: "cannot read the cgroups of {}",
        advice: Advice::None,
    }
    /// A namespace whose state is unknown: of its init it could neither be
    /// proved that it lives, nor that it has terminated, nor that there was none.
    StateUnproved {
        name: "state-unproved",
        severity: Severity::Warning,
        is_gap: true,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "cannot prove whether the inits of {} live",
        advice: Advice::Text("run as root of the host, on the host's /proc, to be told"),
    }
    /// An init that has terminated and cannot go, as a process in its
    /// namespace is not reaped by its parent outside or sleeps uninterruptibly.
    InitBlocked {
        name: "init-blocked",
        severity: Severity::Warning,
        is_gap: false,
        hides: Hides::Nothing,
        counted: Counted::TerminatedInits,
        message: "{} cannot end",
        advice: Advice::None,
    }
    /// A living init whose children stay zombies, as it does not wait for them.
    InitDoesNotReap {
        name: "init-does-not-reap",
        severity: Severity::Warning,
        is_gap: false,
        hides: Hides::Nothing,
        counted: Counted::Inits,
        message: "{} do not reap their children",
        advice: Advice::Text("run it under an init that does, such as tini or docker run --init"),
    }
    /// A namespace that is in the kernel's memory, and of which nothing that was
    /// searched shows who keeps it there. It is shown, so that the view is complete.
    HeldUnseen {
        name: "held-unseen",
        severity: Severity::Warning,
        is_gap: false,
        hides: Hides::Nothing,
        counted: Counted::Namespaces,
        message: "{} are kept by something that no search shows",
        advice: Advice::Text("it may be a mount of its /proc, for one"),
    }
}

impl DiagnosticCode {
    /// Its name in the document.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// The code with that name in the document.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }

    /// How much it matters.
    #[must_use]
    pub fn severity(self) -> Severity {
        self.row().severity
    }

    /// Whether it makes the view incomplete, or not all from the kernel.
    #[must_use]
    pub fn is_gap(self) -> bool {
        self.row().is_gap
    }

    /// Which processes may be missing.
    #[must_use]
    pub fn hides(self) -> Hides {
        self.row().hides
    }

    /// Whether the number in its message is that of the processes it concerns.
    #[must_use]
    pub fn counts_processes(self) -> bool {
        self.row().counted == Counted::Processes
    }

    /// What it is, for people; `count` is the number of what it concerns.
    #[must_use]
    pub fn message(self, count: usize) -> String {
        let row = self.row();
        row.message.replacen("{}", &row.counted.text(count), 1)
    }

    /// What to do about it.
    #[must_use]
    pub fn advice(self) -> Advice {
        self.row().advice
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_is_found_by_its_name_and_no_other_is() {
        for &code in DiagnosticCode::ALL {
            assert_eq!(DiagnosticCode::from_name(code.name()), Some(code));
            assert!(code.name().bytes().all(|byte| byte == b'-' || byte.is_ascii_lowercase()));
        }
        assert_eq!(DiagnosticCode::from_name("no-such-code"), None);
    }

    #[test]
    fn a_message_counts_in_words() {
        let code = DiagnosticCode::ProcessUnreadable;
        assert_eq!(code.message(1), "1 process could not be read");
        assert_eq!(code.message(2), "2 processes could not be read");
        assert_eq!(DiagnosticCode::InitBlocked.message(2), "2 terminated inits cannot end");
    }

    #[test]
    fn what_hides_a_process_leaves_a_gap() {
        for &code in DiagnosticCode::ALL {
            assert!(code.is_gap() || code.hides() == Hides::Nothing, "{}", code.name());
        }
    }
}
