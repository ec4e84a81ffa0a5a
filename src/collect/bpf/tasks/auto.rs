//! Decides whether `--collector auto` uses BPF on a host.

/// Minimum numbers of processes for which a single scan uses BPF. With this many processes, BPF
/// saves at least 30 ms compared with /proc, enough for a user to notice. With fewer processes, BPF
/// is not used, because loading a BPF program can raise an alarm in a security monitor. The first
/// constant is for searches of processes only; the second is for searches of processes and holders.
const MIN_PROCESSES: u64 = 2600;
const MIN_PROCESSES_WITH_HOLDERS: u64 = 1100;

/// Minimum numbers of processes for which repeated scans, such as those of `pidns watch`, use BPF:
/// without and with a search for holders. The numbers are lower than for a single scan, because the
/// BPF program is loaded only once. With this many processes, one scan of /proc takes about 10 ms
/// of CPU time, so a scan every second uses 1 % of one CPU.
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
