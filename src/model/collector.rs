//! The collectors, which read the live host through /proc or BPF.

use clap::ValueEnum;

/// A source of data about the live host.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Collector {
    /// Use BPF if it is available and saves at least 30 ms, otherwise /proc
    #[default]
    Auto,
    /// Use only /proc
    Proc,
    /// Use only BPF; fail with the reason if BPF is not available
    Bpf,
}
