//! Reads the pids controller of cgroup versions 1 and 2.

use std::fs;
use std::io::{self, ErrorKind};
use std::path::{Path, PathBuf};

use rustix::fs::CWD;
use rustix::io::Errno;

use crate::collect::kernel::sys::namespace_link;
use crate::collect::parse::{self, CgroupMount, LimitMax};

/// Inode of the initial cgroup namespace (`PROC_CGROUP_INIT_INO` in the kernel).
const INITIAL_CGROUP_NAMESPACE: u64 = 0xEFFF_FFFB;

/// The mounted cgroup hierarchies with the pids controller.
pub struct PidsController {
    v1: Vec<CgroupMount>,
    v2: Vec<CgroupMount>,
    is_initial_namespace: bool,
}

/// A cgroup.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct CgroupDir {
    /// Its directory.
    pub dir: PathBuf,
    /// The cgroup's path, as the cgroup namespace of pidns shows it.
    pub path: String,
    /// `true` for cgroup version 2.
    pub is_v2: bool,
}

/// The counters and the limit of the pids controller for one cgroup.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CgroupNumbers {
    /// Number of tasks (`pids.current`).
    pub used: u64,
    /// Maximum (`pids.max`).
    pub max: LimitMax,
    /// Number of refused forks (`pids.events`).
    pub refused: Option<u64>,
}

impl PidsController {
    /// Finds the hierarchies that the viewer sees.
    pub fn of_viewer() -> Self {
        let table = fs::read("/proc/self/mountinfo").unwrap_or_default();
        let (v2, v1) = parse::cgroup_mounts(&table, "pids").partition(CgroupMount::is_v2);
        let namespace = namespace_link(CWD, c"/proc/self/ns/cgroup", "cgroup");
        Self { v1, v2, is_initial_namespace: namespace == Ok(Some(INITIAL_CGROUP_NAMESPACE)) }
    }

    /// Returns `true` if the visible hierarchies may have ancestors that the viewer does not see.
    pub fn hides_ancestors(&self) -> bool {
        let mounts = if self.v1.is_empty() { &self.v2 } else { &self.v1 };
        !self.is_initial_namespace || !mounts.iter().any(|mount| mount.root == b"/")
    }

    /// Returns the cgroup of a process, followed by the cgroup's visible ancestors, innermost
    /// first. `cgroups` is the text of `/proc/PID/cgroup`. Returns `None` if the cgroup is not
    /// visible.
    pub fn cgroups_of(&self, cgroups: &[u8]) -> Option<Vec<CgroupDir>> {
        let (mounts, controller) = match parse::cgroup_path(cgroups, "pids") {
            Some(_) => (&self.v1, "pids"),
            None => (&self.v2, ""),
        };
        let Some(path) = parse::cgroup_path(cgroups, controller) else { return Some(Vec::new()) };
        if path == b"/" && self.is_initial_namespace {
            // The root cgroup has no limit.
            return Some(Vec::new());
        }
        let (mount, below) =
            mounts.iter().find_map(|mount| Some((mount, mount.cgroup(cgroups)?)))?;
        let (point, below) = (str::from_utf8(&mount.point).ok()?, str::from_utf8(below).ok()?);
        let root = str::from_utf8(&mount.root).ok()?.trim_end_matches('/');
        let of = |below: &Path| {
            let path = format!("{root}/{}", below.display());
            let path = if below.as_os_str().is_empty() { root.to_owned() } else { path };
            CgroupDir {
                dir: Path::new(point).join(below),
                path: if path.is_empty() { "/".to_owned() } else { path },
                is_v2: mount.is_v2(),
            }
        };
        Some(Path::new(below).ancestors().map(of).collect())
    }
}

/// Reads the counters and the limit of a cgroup. Returns `None` if the cgroup is the root of the
/// hierarchy, if the controller is off, or if the cgroup was removed.
pub fn read_cgroup(dir: &Path) -> Result<Option<CgroupNumbers>, Errno> {
    let read = |name: &str| match fs::read(dir.join(name)) {
        Ok(text) => Ok(Some(text)),
        Err(error) if is_gone(&error) => Ok(None),
        Err(error) => Err(Errno::from_io_error(&error).unwrap_or(Errno::IO)),
    };
    let (Some(max), Some(used)) = (read("pids.max")?, read("pids.current")?) else {
        return Ok(None);
    };
    let max = parse::cgroup_limit(&max).ok_or(Errno::INVAL)?;
    let used = parse::counter(&used).ok_or(Errno::INVAL)?;
    // Before Linux 4.7, the kernel does not count refused forks.
    let events = read("pids.events").unwrap_or_default().unwrap_or_default();
    let refused = events.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"max "));
    Ok(Some(CgroupNumbers { used, max, refused: refused.and_then(parse::counter) }))
}

/// Returns `true` if a file does not exist, or if its cgroup was removed while it was open.
fn is_gone(error: &io::Error) -> bool {
    let removed = Some(Errno::NODEV.raw_os_error());
    error.kind() == ErrorKind::NotFound || error.raw_os_error() == removed
}

#[cfg(test)]
mod tests {
    use super::*;

    fn controller(is_initial_namespace: bool) -> PidsController {
        let mount = |controller, root: &str, point: &str| CgroupMount {
            controller,
            root: root.as_bytes().to_vec(),
            point: point.as_bytes().to_vec(),
        };
        PidsController {
            v1: vec![mount("pids", "/ci", "/mnt"), mount("pids", "/", "/pids")],
            v2: vec![mount("", "/", "/unified")],
            is_initial_namespace,
        }
    }

    fn paths(cgroups: &[u8], is_initial: bool) -> Option<Vec<(String, String)>> {
        let found = controller(is_initial).cgroups_of(cgroups)?;
        Some(found.into_iter().map(|it| (it.dir.display().to_string(), it.path)).collect())
    }

    #[test]
    fn finds_a_cgroup_and_its_ancestors() {
        let pair = |dir: &str, path: &str| (dir.to_owned(), path.to_owned());
        assert_eq!(
            paths(b"8:pids:/ci/job:7\n0::/x\n", true),
            Some(vec![pair("/mnt/job:7", "/ci/job:7"), pair("/mnt/", "/ci")])
        );
        assert_eq!(
            paths(b"8:cpu,pids:/a\n", true),
            Some(vec![pair("/pids/a", "/a"), pair("/pids/", "/")])
        );
        assert_eq!(
            paths(b"7:cpu:/a\n0::/x/y\n", true),
            Some(vec![
                pair("/unified/x/y", "/x/y"),
                pair("/unified/x", "/x"),
                pair("/unified/", "/")
            ])
        );
        assert_eq!(paths(b"8:pids:/\n", true), Some(Vec::new()));
        assert_eq!(paths(b"8:pids:/\n", false), Some(vec![pair("/pids/", "/")]));
        assert_eq!(paths(b"8:pids:/../x\n", false), None);
        assert_eq!(paths(b"", true), Some(Vec::new()));
    }
}
