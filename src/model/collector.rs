//! Collectors: the ways in which pidns can read the live kernel.

use clap::ValueEnum;

/// A way to read the live kernel. Every collector produces the same document.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Collector {
    /// Use BPF if it is available and faster, otherwise /proc
    #[default]
    Auto,
    /// Use only /proc
    Proc,
    /// Use only BPF; fail with the reason if BPF is not available
    Bpf,
}
