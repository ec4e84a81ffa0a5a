//! Completion scripts, made from the command line and nothing else.

use clap::{CommandFactory as _, ValueEnum};

use super::Cli;

/// The shells that completions are made for.
#[derive(Clone, Copy, Debug, ValueEnum)]
pub enum Shell {
    /// GNU Bash
    Bash,
    /// Z shell
    Zsh,
    /// fish
    Fish,
    /// Elvish
    Elvish,
    /// Nushell
    Nushell,
}

impl Shell {
    /// The completion script. It is made in memory, as the library panics where
    /// a writer fails.
    #[must_use]
    pub fn completions(self) -> Vec<u8> {
        use clap_complete::Shell as Kind;
        let (mut command, mut script) = (Cli::command(), Vec::new());
        let mut make =
            |kind: Kind| clap_complete::generate(kind, &mut command, "pidns", &mut script);
        match self {
            Self::Bash => make(Kind::Bash),
            Self::Zsh => make(Kind::Zsh),
            Self::Fish => make(Kind::Fish),
            Self::Elvish => make(Kind::Elvish),
            Self::Nushell => {
                let kind = clap_complete_nushell::Nushell;
                clap_complete::generate(kind, &mut command, "pidns", &mut script);
            }
        }
        script
    }
}
