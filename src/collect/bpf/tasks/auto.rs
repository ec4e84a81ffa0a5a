//! Decides on which hosts `--collector auto` uses BPF.

/// With at least this many processes, BPF saves 30 ms or more compared with /proc, which a user may
/// notice. For fewer processes, BPF is not worth an alarm from a security monitor. The first
/// constant is for searches of processes only; the second is for searches of processes and holders.
const MIN_PROCESSES: u64 = 2600;
const MIN_PROCESSES_WITH_HOLDERS: u64 = 1100;

/// Returns `true` if BPF saves noticeable time on a host with this number of processes. Returns
/// `false` if the number is unknown.
pub fn saves_time(searches_holders: bool, processes: Option<u64>) -> bool {
    let min = if searches_holders { MIN_PROCESSES_WITH_HOLDERS } else { MIN_PROCESSES };
    processes.is_some_and(|processes| processes >= min)
}
