//! Reads /proc without using code of pidns, so that tests can compare the results with those of
//! pidns.

use std::collections::BTreeMap;
use std::path::Path;

/// Returns the words of a field in `/proc/PID/status`, or an empty list if the process is gone.
pub fn status(pid: u32, field: &str) -> Vec<String> {
    let status = std::fs::read(format!("/proc/{pid}/status")).unwrap_or_default();
    let status = String::from_utf8_lossy(&status).into_owned();
    let line = status.lines().find_map(|line| line.strip_prefix(field)?.strip_prefix(':'));
    line.unwrap_or_default().split_whitespace().map(str::to_owned).collect()
}

pub fn nspid(pid: u32) -> Vec<u32> {
    status(pid, "NSpid").iter().map(|number| number.parse().expect("a PID")).collect()
}

pub fn comm(pid: u32) -> String {
    let comm = std::fs::read(format!("/proc/{pid}/comm")).unwrap_or_default();
    String::from_utf8_lossy(&comm).trim_end_matches('\n').to_owned()
}

pub fn children(pid: u32) -> Vec<u32> {
    let text = std::fs::read_to_string(format!("/proc/{pid}/task/{pid}/children"));
    text.unwrap_or_default().split_whitespace().map(|pid| pid.parse().expect("a PID")).collect()
}

/// Returns the target of a symbolic link, or `None` if the link cannot be read.
pub fn link(path: impl AsRef<Path>) -> Option<String> {
    std::fs::read_link(path).ok()?.into_os_string().into_string().ok()
}

/// Returns the PID namespace of a process as `pid:[INODE]`.
pub fn namespace_of(pid: u32) -> String {
    link(format!("/proc/{pid}/ns/pid")).unwrap_or_else(|| panic!("no namespace of {pid}"))
}

/// Reads the namespace and level of each process that the current user may read.
pub fn truth() -> BTreeMap<u32, (String, usize)> {
    let pids = std::fs::read_dir("/proc").unwrap();
    pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|pid| {
            Some((pid, (link(format!("/proc/{pid}/ns/pid"))?, nspid(pid).len().checked_sub(1)?)))
        })
        .collect()
}
