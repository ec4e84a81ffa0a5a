//! Shell completion scripts, which run `COMPLETE=SHELL pidns -- WORD...` to get candidates.

use std::path::Path;

use clap::ValueEnum;

/// The shells that have a completion script.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Shell {
    /// GNU Bash: save the script as ~/.local/share/bash-completion/completions/pidns
    Bash,
    /// Z shell: save the script as _pidns in a directory listed in $fpath
    Zsh,
    /// fish: save the script as ~/.config/fish/completions/pidns.fish
    Fish,
    /// Elvish: add `eval (pidns completions elvish | slurp)` to rc.elv
    Elvish,
    /// Nushell: save the script as pidns.nu, and add `use pidns.nu` to config.nu
    Nushell,
}

impl Shell {
    /// Finds a shell by its name, or by a path such as the value of `$SHELL`.
    #[must_use]
    pub fn by_path(path: &Path) -> Option<Self> {
        Self::from_str(path.file_name()?.to_str()?, false).ok()
    }

    /// Returns the completion script of the shell.
    #[must_use]
    pub fn script(self) -> &'static str {
        match self {
            Self::Bash => include_str!("../../completions/pidns.bash"),
            Self::Zsh => include_str!("../../completions/_pidns"),
            Self::Fish => include_str!("../../completions/pidns.fish"),
            Self::Elvish => include_str!("../../completions/pidns.elv"),
            Self::Nushell => include_str!("../../completions/pidns.nu"),
        }
    }
}
