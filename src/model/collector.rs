//! Ways to read the live kernel.

use clap::ValueEnum;

/// A way to read the live kernel. All of them produce the same document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Collector {
    /// By BPF if that is possible and faster, otherwise through /proc
    #[default]
    Auto,
    /// Through /proc only
    Proc,
    /// By BPF; if that is impossible, an error says why
    Bpf,
}
