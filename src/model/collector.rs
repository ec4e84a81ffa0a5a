//! Ways to read the live kernel.

use clap::ValueEnum;

/// A way to read the live kernel. Every collector produces the same document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Collector {
    /// By BPF if it is available and faster, otherwise through /proc
    #[default]
    Auto,
    /// Through /proc only
    Proc,
    /// By BPF only; fails with the reason if BPF is not available
    Bpf,
}
