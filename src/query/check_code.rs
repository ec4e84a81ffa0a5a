//! The codes of what can be wrong, in one table.

use super::check::Verdict;

/// A row of the table: all that is the same for every finding of one code.
struct Row {
    name: &'static str,
    /// What is made of it on a host unless a policy says otherwise.
    default: Verdict,
    /// Whether it is also looked for in what a command leaves behind, where
    /// nothing is denied unless it is asked for.
    of_jobs: bool,
    meaning: &'static str,
}

/// In a row of the table.
const ALSO_OF_JOBS: bool = true;
const OF_HOSTS: bool = false;

/// The table of codes. A new code is one more entry here and the place that
/// finds it; the enum, its list and all look-ups come from it.
macro_rules! check_codes {
    ($($code:ident: $name:literal, $default:ident, $of_jobs:ident, $meaning:literal;)+) => {
        /// What can be wrong with a host, or with what a command leaves behind. An
        /// open list: it may grow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckCode {
            $(#[doc = $meaning] $code,)+
        }

        impl CheckCode {
            /// All of them, in the order in which they are shown.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            fn row(self) -> &'static Row {
                match self {
                    $(Self::$code => const {
                        &Row {
                            name: $name,
                            default: Verdict::$default,
                            of_jobs: $of_jobs,
                            meaning: $meaning,
                        }
                    },)+
                }
            }
        }
    };
}

check_codes! {
    DeadNamespace: "dead-namespace", Deny, ALSO_OF_JOBS,
        "A PID namespace whose init has terminated: nothing can be forked into it.";
    BlockedInit: "blocked-init", Deny, OF_HOSTS,
        "An init that has terminated and cannot go.";
    LeftoverProcess: "leftover-process", Deny, ALSO_OF_JOBS,
        "A process that was not there before (--since), or that a command left; no zombie.";
    LeftoverNamespace: "leftover-namespace", Deny, ALSO_OF_JOBS,
        "A PID namespace that was not there before (--since), or that a command made and left.";
    NascentNamespace: "nascent-namespace", Warn, ALSO_OF_JOBS,
        "A PID namespace that has had no process yet.";
    Zombie: "zombie", Warn, ALSO_OF_JOBS,
        "A process that has terminated, and that its parent does not reap.";
    InitDoesNotReap: "init-does-not-reap", Warn, OF_HOSTS,
        "An init that does not reap the children that it has or inherits.";
    StoppedInit: "stopped-init", Warn, OF_HOSTS,
        "An init that is stopped: it reaps nobody.";
    Uninterruptible: "uninterruptible", Warn, OF_HOSTS,
        "A process in uninterruptible sleep, in which no signal reaches it.";
    DeepNesting: "deep-nesting", Warn, OF_HOSTS,
        "A PID namespace with few of the 32 levels left below it.";
    UnknownState: "unknown-state", Warn, OF_HOSTS,
        "A PID namespace of which it cannot be proved whether its init is gone.";
    Incomplete: "incomplete", Warn, OF_HOSTS,
        "Something may be missing in the view.";
}

impl CheckCode {
    /// Its name in the output and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.row().name
    }

    /// What it says.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.row().meaning
    }

    /// What is made of it unless a policy says otherwise.
    #[must_use]
    pub fn default_verdict(self) -> Verdict {
        self.row().default
    }

    /// Those that a command may leave behind.
    pub fn of_jobs() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|code| code.row().of_jobs)
    }

    /// The code of that name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}
