//! Decides whether `--collector auto` uses BPF on a host.

/// Minimum number of processes at which a single scan uses BPF. BPF is then at least 30 ms faster
/// than /proc. With fewer processes, pidns avoids BPF, because loading a BPF program can raise an
/// alarm in a security monitor.
const MIN_PROCESSES: u64 = 2600;

/// Minimum number of processes at which a single scan that also searches for holders uses BPF.
const MIN_PROCESSES_WITH_HOLDERS: u64 = 1100;

/// Minimum number of processes at which repeated scans (such as those of `pidns watch`) use BPF.
/// With this number, a scan of /proc every second uses 1 % of one CPU.
const MIN_PROCESSES_REPEATED: u64 = 800;

/// Minimum number of processes at which repeated scans that also search for holders use BPF.
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
