//! Problems that `pidns check` and `pidns run` report, and the table of check codes.

use super::{Keyword, NamespaceId, Pid, keywords};

/// A host problem, or a leftover: a process or namespace that a command left behind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Finding {
    /// The policy's verdict on the problem, and the first sort key of findings.
    pub verdict: Verdict,
    /// Code of the problem.
    pub code: CheckCode,
    /// The process, namespace or limit that has the problem, or the whole snapshot.
    pub subject: Subject,
}

impl Finding {
    /// Returns `true` if the finding reports a leftover process or namespace.
    #[must_use]
    pub fn reports_leftover(&self) -> bool {
        matches!(self.code, CheckCode::LeftoverProcess | CheckCode::LeftoverNamespace)
    }
}

/// The subject of a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Subject {
    /// A process.
    Process(Pid),
    /// A namespace.
    Namespace(NamespaceId),
    /// A limit, given by its index in the snapshot's list of limits.
    Limit(usize),
    /// The finding is about the snapshot itself: it may lack processes or namespaces.
    Snapshot,
}

keywords! {
    /// The verdict of a policy on a finding.
    pub enum Verdict("verdict", "verdict", "verdicts") {
        /// The finding makes the check fail with exit status 1.
        Deny = "deny",
        /// The finding is reported, but does not make the check fail.
        Warn = "warn",
        /// The finding is ignored and not listed.
        Allow = "allow",
    }
}

/// The properties that all findings with the same code share.
struct CheckCodeEntry {
    name: &'static str,
    /// The verdict of `pidns check` if the policy has no rule for the code.
    default: Verdict,
    /// `true` if `pidns run` also reports this code.
    in_run: bool,
    meaning: &'static str,
}

/// Value of `in_run` for codes that both `pidns check` and `pidns run` report.
const CHECK_AND_RUN: bool = true;
/// Value of `in_run` for codes that only `pidns check` reports.
const CHECK_ONLY: bool = false;

/// Defines the check codes from a table. Each code needs a function that finds its problem.
macro_rules! check_codes {
    ($($code:ident: $name:literal, $default:ident, $in_run:ident, $meaning:literal;)+) => {
        /// The code of a finding.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckCode {
            $(#[doc = $meaning] $code,)+
        }

        impl CheckCode {
            /// All codes, in the order in which findings are listed.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            fn entry(self) -> &'static CheckCodeEntry {
                match self {
                    $(Self::$code => const {
                        &CheckCodeEntry {
                            name: $name,
                            default: Verdict::$default,
                            in_run: $in_run,
                            meaning: $meaning,
                        }
                    },)+
                }
            }
        }
    };
}

check_codes! {
    DeadNamespace: "dead-namespace", Deny, CHECK_AND_RUN,
        "A PID namespace whose init has terminated: no process can be started in it.";
    BlockedInit: "blocked-init", Deny, CHECK_ONLY,
        "An init that has terminated, but cannot be removed before another process is gone.";
    LeftoverProcess: "leftover-process", Deny, CHECK_AND_RUN,
        "A process (not a zombie) that is new since the earlier snapshot (--since), or that a \
         command left behind.";
    LeftoverNamespace: "leftover-namespace", Deny, CHECK_AND_RUN,
        "A PID namespace that is new since the earlier snapshot (--since), or that a command \
         created and left behind.";
    NascentNamespace: "nascent-namespace", Warn, CHECK_AND_RUN,
        "A PID namespace in which no process has been started yet.";
    Zombie: "zombie", Warn, CHECK_AND_RUN,
        "A process that has terminated, but has not been reaped by its parent or, if it is traced, \
         by its tracer.";
    InitDoesNotReap: "init-does-not-reap", Warn, CHECK_ONLY,
        "An init that does not reap its children or the orphans it adopts, although it is not \
         stopped, frozen or in uninterruptible sleep.";
    StoppedInit: "stopped-init", Warn, CHECK_ONLY,
        "An init that is stopped, so it does not reap any process.";
    Uninterruptible: "uninterruptible", Warn, CHECK_ONLY,
        "A process with a thread in uninterruptible sleep, which not even SIGKILL interrupts.";
    DeepNesting: "deep-nesting", Warn, CHECK_ONLY,
        "A PID namespace near the limit of 32 nested levels.";
    TaskLimit: "task-limit", Deny, CHECK_ONLY,
        "A full limit: the kernel refuses every further task or PID namespace. A limit that is \
         nearly full (--warn-at) is a warning. A limit of one task is reported only for a cgroup \
         in which the kernel has refused a fork, as a service may be limited to one process.";
    UnknownState: "unknown-state", Warn, CHECK_ONLY,
        "A PID namespace whose state could not be determined.";
    Incomplete: "incomplete", Warn, CHECK_ONLY,
        "The snapshot may be incomplete.";
}

impl CheckCode {
    /// Returns the name of this check code in documents and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// Returns the description of this check code, for the help and the published schema.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.entry().meaning
    }

    /// Returns the verdict that applies if the policy has no rule for the code.
    #[must_use]
    pub fn default_verdict(self) -> Verdict {
        self.entry().default
    }

    /// Returns the codes that `pidns run` reports.
    pub fn of_runs() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|code| code.entry().in_run)
    }

    /// Returns the code with this name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}

impl Keyword for CheckCode {
    const VALUES: &'static [Self] = Self::ALL;
    const LIST: &'static str = "check_code";
    const NOUNS: [&'static str; 2] = ["code", "codes"];

    fn keyword(self) -> &'static str {
        self.name()
    }

    fn meaning(self) -> &'static str {
        self.entry().meaning
    }
}
