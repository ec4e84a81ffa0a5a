//! Decides whether `--collector auto` uses BPF on a host.

/// Minimum number of processes for a single scan through BPF. With this many, BPF is faster than
/// /proc by at least 30 ms, enough for a user to notice. With fewer processes, BPF is not used,
/// because loading a BPF program can raise an alarm in a security monitor.
const MIN_PROCESSES: u64 = 2600;

/// Like [`MIN_PROCESSES`], for a scan that also searches for holders.
const MIN_PROCESSES_WITH_HOLDERS: u64 = 1100;

/// Minimum number of processes for repeated scans through BPF, such as those of `pidns watch`. With
/// this many, a scan of /proc takes about 10 ms of CPU time, so a scan every second uses 1 % of one
/// CPU.
const MIN_PROCESSES_REPEATED: u64 = 800;

/// Like [`MIN_PROCESSES_REPEATED`], for scans that also search for holders.
const MIN_PROCESSES_WITH_HOLDERS_REPEATED: u64 = 200;

/// Returns `true` if BPF makes a scan of this many processes noticeably faster. Returns `false` if
/// the number of processes is unknown.
pub fn saves_time(searches_holders: bool, is_repeated: bool, processes: Option<u64>) -> bool {
    let min = match (searches_holders, is_repeated) {
        (false, false) => MIN_PROCESSES,
        (true, false) => MIN_PROCESSES_WITH_HOLDERS,
        (false, true) => MIN_PROCESSES_REPEATED,
        (true, true) => MIN_PROCESSES_WITH_HOLDERS_REPEATED,
    };
    processes.is_some_and(|processes| processes >= min)
}
