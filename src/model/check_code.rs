//! The table of check codes: each problem that `pidns check` and `pidns run` report.

/// How a finding counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// The check fails.
    Deny,
    /// It is reported, and the check does not fail.
    Warn,
    /// It is ignored.
    Allow,
}

impl Verdict {
    /// All verdicts, the most severe first.
    pub const ALL: [Self; 3] = [Self::Deny, Self::Warn, Self::Allow];

    /// The name in the output and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Deny => "deny",
            Self::Warn => "warn",
            Self::Allow => "allow",
        }
    }
}

/// One code's entry in the table.
struct CodeEntry {
    name: &'static str,
    /// The verdict of `pidns check`, unless a policy rule matches.
    default: Verdict,
    /// `true` if `pidns run` reports it too. `run` denies a code only on request.
    is_of_runs: bool,
    meaning: &'static str,
}

/// `is_of_runs` of a code that both `check` and `run` report.
const CHECK_AND_RUN: bool = true;
/// `is_of_runs` of a code that only `check` reports.
const CHECK_ONLY: bool = false;

/// Generates [`CheckCode`] and its look-ups from the table below. A new code needs one more
/// entry there and the code that finds it.
macro_rules! check_codes {
    ($($code:ident: $name:literal, $default:ident, $is_of_runs:ident, $meaning:literal;)+) => {
        /// A kind of problem on a host, or left behind by a command. An open list: it may grow.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum CheckCode {
            $(#[doc = $meaning] $code,)+
        }

        impl CheckCode {
            /// All codes in display order.
            pub const ALL: &'static [Self] = &[$(Self::$code),+];

            fn entry(self) -> &'static CodeEntry {
                match self {
                    $(Self::$code => const {
                        &CodeEntry {
                            name: $name,
                            default: Verdict::$default,
                            is_of_runs: $is_of_runs,
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
        "A PID namespace whose init has terminated: nothing can be forked into it.";
    BlockedInit: "blocked-init", Deny, CHECK_ONLY,
        "An init that has terminated and cannot go.";
    LeftoverProcess: "leftover-process", Deny, CHECK_AND_RUN,
        "A process that was not there before (--since), or that a command left; no zombie.";
    LeftoverNamespace: "leftover-namespace", Deny, CHECK_AND_RUN,
        "A PID namespace that was not there before (--since), or that a command made and left.";
    NascentNamespace: "nascent-namespace", Warn, CHECK_AND_RUN,
        "A PID namespace that has had no process yet.";
    Zombie: "zombie", Warn, CHECK_AND_RUN,
        "A process that has terminated, and that its parent does not reap.";
    InitDoesNotReap: "init-does-not-reap", Warn, CHECK_ONLY,
        "An init that does not reap the children that it has or inherits.";
    StoppedInit: "stopped-init", Warn, CHECK_ONLY,
        "An init that is stopped: it reaps nobody.";
    Uninterruptible: "uninterruptible", Warn, CHECK_ONLY,
        "A process in uninterruptible sleep, in which no signal reaches it.";
    DeepNesting: "deep-nesting", Warn, CHECK_ONLY,
        "A PID namespace with few of the 32 levels left below it.";
    UnknownState: "unknown-state", Warn, CHECK_ONLY,
        "A PID namespace of which it cannot be proved whether its init is gone.";
    Incomplete: "incomplete", Warn, CHECK_ONLY,
        "Something may be missing in the view.";
}

impl CheckCode {
    /// The name in the output and on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        self.entry().name
    }

    /// The description for help texts and schemas.
    #[must_use]
    pub fn meaning(self) -> &'static str {
        self.entry().meaning
    }

    /// The verdict of `pidns check`, unless a policy rule matches.
    #[must_use]
    pub fn default_verdict(self) -> Verdict {
        self.entry().default
    }

    /// The codes that `pidns run` reports.
    pub fn of_runs() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|code| code.entry().is_of_runs)
    }

    /// Finds a code by its name.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.name() == name)
    }
}
