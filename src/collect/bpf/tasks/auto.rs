//! Decides whether `--collector auto` uses BPF on a host.

/// With at least this many processes, BPF saves 30 ms or more in a single scan.
const MIN_PROCESSES: u64 = 2600;

/// A single scan that searches for holders uses BPF if there are at least this many processes.
const MIN_PROCESSES_WITH_HOLDERS: u64 = 1100;

/// With at least this many processes, scanning /proc every second takes 1 % of a CPU or more.
const MIN_PROCESSES_REPEATED: u64 = 800;

/// Repeated scans that search for holders use BPF if there are at least this many processes.
const MIN_PROCESSES_WITH_HOLDERS_REPEATED: u64 = 200;

/// Returns `true` if BPF makes a scan of this many processes noticeably faster.
pub fn saves_time(searches_holders: bool, is_repeated: bool, processes: Option<u64>) -> bool {
    let min = match (searches_holders, is_repeated) {
        (false, false) => MIN_PROCESSES,
        (true, false) => MIN_PROCESSES_WITH_HOLDERS,
        (false, true) => MIN_PROCESSES_REPEATED,
        (true, true) => MIN_PROCESSES_WITH_HOLDERS_REPEATED,
    };
    // Loading a BPF program can alarm a security monitor, so pidns avoids BPF on small hosts.
    processes.is_some_and(|processes| processes >= min)
}
