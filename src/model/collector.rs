//! Ways to read the live kernel.

use clap::ValueEnum;

/// A way to read the live kernel. All of them produce the same document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Collector {
    /// By BPF where that can be done and is faster, else through /proc
    #[default]
    Auto,
    /// Through /proc alone
    Proc,
    /// By BPF; an error says why where that cannot be done
    Bpf,
}
