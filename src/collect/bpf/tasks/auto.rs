//! Decides whether `--collector auto` uses BPF on a host.

/// A single scan uses BPF if the host has at least this many processes. BPF is then faster than
/// /proc by at least 30 ms, enough for a user to notice. With fewer processes, BPF is not used,
/// because loading a BPF program can raise an alarm in a security monitor. The second constant
/// applies if the scan also searches for holders.
const MIN_PROCESSES: u64 = 2600;
const MIN_PROCESSES_WITH_HOLDERS: u64 = 1100;

/// Repeated scans, such as those of `pidns watch`, use BPF if the host has at least this many
/// processes. With this many, a scan of /proc takes about 10 ms of CPU time, so a scan every second
/// uses 1 % of one CPU. The second constant applies if the scan also searches for holders.
const MIN_PROCESSES_REPEATED: u64 = 800;
const MIN_PROCESSES_WITH_HOLDERS_REPEATED: u64 = 200;

/// Returns `true` if BPF makes a scan noticeably faster on a host with this number of processes.
/// Returns `false` if the number is unknown.
pub fn saves_time(searches_holders: bool, is_repeated: bool, processes: Option<u64>) -> bool {
    let min = match (searches_holders, is_repeated) {
        (false, false) => MIN_PROCESSES,
        (true, false) => MIN_PROCESSES_WITH_HOLDERS,
        (false, true) => MIN_PROCESSES_REPEATED,
        (true, true) => MIN_PROCESSES_WITH_HOLDERS_REPEATED,
    };
    processes.is_some_and(|processes| processes >= min)
}
