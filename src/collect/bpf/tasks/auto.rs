//! Decides whether `--collector auto` uses BPF on a host.

/// Number of processes from which BPF saves at least 30 ms in a single scan.
const MIN_PROCESSES: u64 = 2600;

/// Minimum number of processes for BPF in a single scan with a search for holders.
const MIN_PROCESSES_WITH_HOLDERS: u64 = 1100;

/// Number of processes from which scanning /proc every second takes 1 % of a CPU.
const MIN_PROCESSES_REPEATED: u64 = 800;

/// Minimum number of processes for BPF in repeated scans with a search for holders.
const MIN_PROCESSES_WITH_HOLDERS_REPEATED: u64 = 200;

/// Returns `true` if BPF makes a scan of this many processes noticeably faster.
pub fn saves_time(searches_holders: bool, is_repeated: bool, processes: Option<u64>) -> bool {
    let min = match (searches_holders, is_repeated) {
        (false, false) => MIN_PROCESSES,
        (true, false) => MIN_PROCESSES_WITH_HOLDERS,
        (false, true) => MIN_PROCESSES_REPEATED,
        (true, true) => MIN_PROCESSES_WITH_HOLDERS_REPEATED,
    };
    // Loading a BPF program can alarm a security monitor, so small hosts avoid BPF.
    processes.is_some_and(|processes| processes >= min)
}
