//! Reads the pids controller of cgroup versions 1 and 2.

use std::cmp::Reverse;
use std::collections::{HashMap, HashSet};
use std::iter;
use std::os::fd::{AsFd as _, BorrowedFd};
use std::path::Path;
use std::rc::Rc;

use rustix::fs::{CWD, Mode, OFlags, openat};
use rustix::io::{Errno, Result as SysResult};

use crate::collect::kernel::sys::{own_namespace, read, read_own};
use crate::collect::parse::{self, CgroupMount, LimitMax};

/// Inode of the initial cgroup namespace (`PROC_CGROUP_INIT_INO` in the kernel).
const INITIAL_CGROUP_NAMESPACE: u64 = 0xEFFF_FFFB;

/// Maximum number of nested cgroups to read per process, since any user can nest thousands.
const MAX_LEVELS: usize = 64;

/// The mounted cgroup hierarchies with the pids controller.
pub struct PidsController {
    v1: Vec<CgroupMount>,
    v2: Vec<CgroupMount>,
    is_initial_namespace: bool,
    cgroups: CgroupTree,
}

/// A cgroup.
#[derive(Clone, Debug)]
pub struct CgroupDir {
    /// Directory of the cgroup in the mounted hierarchy.
    pub dir: Rc<Path>,
    /// Path of the cgroup, relative to the root of pidns's cgroup namespace.
    pub path: String,
    /// `true` for cgroup version 2.
    pub is_v2: bool,
    /// `true` for the topmost visible cgroup.
    is_topmost: bool,
    /// Index of the parent cgroup in the [`CgroupTree`], if the tree contains the parent.
    parent: Option<usize>,
}

/// Stores the cgroups of all processes, and the ancestors of these cgroups. Each cgroup is stored
/// once to save memory.
#[derive(Default)]
struct CgroupTree {
    cgroups: Vec<CgroupDir>,
    by_dir: HashMap<Rc<Path>, usize>,
}

impl CgroupTree {
    /// Adds a cgroup and its ancestors, and returns the index of the cgroup.
    ///
    /// `below`: path of the cgroup, relative to the mount point `point`.
    fn add(&mut self, mount: &CgroupMount, point: &str, root: &str, below: &str) -> Option<usize> {
        let mut innermost = None;
        let mut child: Option<usize> = None;
        for below in Path::new(below).ancestors().take(MAX_LEVELS) {
            // Reuse a known parent, because building the path of a deeply nested cgroup is slow.
            let known = child.and_then(|child| self.cgroups.get(child)?.parent);
            let index = known.unwrap_or_else(|| self.index_of(mount, point, root, below));
            innermost = innermost.or(Some(index));
            if let Some(child) = child.and_then(|child| self.cgroups.get_mut(child)) {
                child.parent = Some(index);
            }
            child = Some(index);
        }
        innermost
    }

    /// Returns the index of a cgroup, and adds the cgroup if it is new.
    fn index_of(&mut self, mount: &CgroupMount, point: &str, root: &str, below: &Path) -> usize {
        let dir: Rc<Path> = Path::new(point).join(below).into();
        if let Some(&index) = self.by_dir.get(&dir) {
            return index;
        }
        let is_topmost = below.as_os_str().is_empty();
        let path = if is_topmost { root.to_owned() } else { format!("{root}/{}", below.display()) };
        let path = if path.is_empty() { "/".to_owned() } else { path };
        self.by_dir.insert(Rc::clone(&dir), self.cgroups.len());
        let is_v2 = mount.is_v2();
        self.cgroups.push(CgroupDir { dir, path, is_v2, is_topmost, parent: None });
        self.cgroups.len() - 1
    }
}

/// The cgroup whose pids controller limits a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LimitingCgroup {
    /// The process is not limited by any cgroup.
    None,
    /// Index of the innermost cgroup that limits the process.
    Index(usize),
    /// The cgroup of the process is not visible.
    Hidden,
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
    /// Finds the hierarchies that are mounted in pidns's mount namespace.
    pub fn of_viewer() -> Self {
        let table = read_own(c"self/mountinfo").unwrap_or_default();
        let (v2, v1) = parse::cgroup_mounts(&table, "pids").partition(CgroupMount::is_v2);
        let namespace = own_namespace(c"self/ns/cgroup", "cgroup");
        let is_initial_namespace = namespace == Ok(Some(INITIAL_CGROUP_NAMESPACE));
        Self { v1, v2, is_initial_namespace, cgroups: CgroupTree::default() }
    }

    /// Returns `true` if pidns left out ancestors of a cgroup because of [`MAX_LEVELS`].
    pub fn is_truncated(&self, innermost: Option<usize>) -> bool {
        let outermost = self.climb(innermost).last();
        outermost.and_then(|index| self.cgroup(index)).is_some_and(|it| !it.is_topmost)
    }

    pub fn cgroup(&self, index: usize) -> Option<&CgroupDir> {
        self.cgroups.cgroups.get(index)
    }

    /// Returns the indices of a cgroup and its visible ancestors, innermost first.
    pub fn climb(&self, innermost: Option<usize>) -> impl Iterator<Item = usize> + '_ {
        iter::successors(innermost, |&index| self.cgroup(index)?.parent).take(MAX_LEVELS)
    }

    /// Reads the counters and limits of the cgroups at `indices` that have the pids controller.
    pub fn read_all(
        &self,
        indices: impl IntoIterator<Item = usize>,
    ) -> HashMap<usize, SysResult<CgroupNumbers>> {
        let mut left: HashSet<usize> = indices.into_iter().collect();
        let mut tips: Vec<usize> = left.iter().copied().collect();
        // Sort by descending path length, so that children come before their parents.
        tips.sort_by_key(|&it| Reverse(self.cgroup(it).map(|it| it.dir.as_os_str().len())));
        let mut numbers = HashMap::new();
        for tip in tips {
            let (mut next, mut child) = (Some(tip), None);
            while let Some(index) = next.filter(|it| left.remove(it)) {
                let Some(cgroup) = self.cgroup(index) else { break };
                let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
                let dir = match &child {
                    // Opening `..` is faster than looking up the path of a deeply nested cgroup.
                    Some(child) => openat(child, c"..", flags, Mode::empty()),
                    None => openat(CWD, &*cgroup.dir, flags, Mode::empty()),
                };
                let read = dir.as_ref().map_err(|&errno| errno);
                match read.and_then(|dir| read_cgroup(dir.as_fd())) {
                    // The cgroup is the root, was removed, or lacks the pids controller.
                    Err(Errno::NOENT | Errno::NODEV) => {}
                    read => drop(numbers.insert(index, read)),
                }
                (next, child) = (cgroup.parent, dir.ok());
            }
        }
        numbers
    }

    /// Returns `true` if the visible cgroups may have ancestors that pidns does not see.
    pub fn hides_ancestors(&self) -> bool {
        let mounts = if self.v1.is_empty() { &self.v2 } else { &self.v1 };
        !self.is_initial_namespace || !mounts.iter().any(|mount| mount.root == b"/")
    }

    /// Finds the cgroup that limits a process, and adds this cgroup to the tree of cgroups.
    ///
    /// `cgroups`: contents of `/proc/PID/cgroup`.
    pub fn cgroup_of(&mut self, cgroups: &[u8]) -> LimitingCgroup {
        let (mounts, controller) = match parse::cgroup_path(cgroups, "pids") {
            Some(_) => (&self.v1, "pids"),
            None => (&self.v2, ""),
        };
        let path = parse::cgroup_path(cgroups, controller);
        // The root cgroup has no limit.
        if path.is_none_or(|path| path == b"/" && self.is_initial_namespace) {
            return LimitingCgroup::None;
        }
        let found = mounts.iter().find_map(|mount| Some((mount, mount.cgroup(cgroups)?)));
        let Some((mount, below)) = found else { return LimitingCgroup::Hidden };
        let text = |bytes| str::from_utf8(bytes).ok();
        let texts = text(&mount.point).zip(text(&mount.root)).zip(text(below));
        let Some(((point, root), below)) = texts else { return LimitingCgroup::Hidden };
        match self.cgroups.add(mount, point, root.trim_end_matches('/'), below) {
            Some(index) => LimitingCgroup::Index(index),
            None => LimitingCgroup::None,
        }
    }
}

/// Reads the counters and the limit of a cgroup from its directory.
fn read_cgroup(dir: BorrowedFd<'_>) -> SysResult<CgroupNumbers> {
    let mut text = Vec::new();
    read(dir, c"pids.max", &mut text)?;
    let max = parse::cgroup_limit(&text).ok_or(Errno::INVAL)?;
    read(dir, c"pids.current", &mut text)?;
    let used = parse::counter(&text).ok_or(Errno::INVAL)?;
    // Before Linux 4.7, the kernel does not count refused forks.
    let events = read(dir, c"pids.events", &mut text).map(|()| &*text).unwrap_or_default();
    let refused = events.split(|&byte| byte == b'\n').find_map(|line| line.strip_prefix(b"max "));
    Ok(CgroupNumbers { used, max, refused: refused.and_then(parse::counter) })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;
    use std::fs;

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
            cgroups: CgroupTree::default(),
        }
    }

    fn paths(cgroups: &[u8], is_initial: bool) -> Option<Vec<(String, String)>> {
        let mut controller = controller(is_initial);
        let innermost = match controller.cgroup_of(cgroups) {
            LimitingCgroup::None => None,
            LimitingCgroup::Index(index) => Some(index),
            LimitingCgroup::Hidden => return None,
        };
        let found = controller.climb(innermost).map(|it| controller.cgroup(it).unwrap());
        Some(found.map(|it| (it.dir.display().to_string(), it.path.clone())).collect())
    }

    #[test]
    fn the_cgroups_of_many_processes_take_little_memory() {
        let levels = |controller: &mut PidsController, cgroups: &[u8]| {
            let LimitingCgroup::Index(index) = controller.cgroup_of(cgroups) else { return 0 };
            controller.climb(Some(index)).count()
        };
        let mut controller = controller(true);
        let nested = format!("0::{}", "/x".repeat(2000));
        for number in 0..100 {
            let nested = format!("{nested}/{number}\n");
            assert_eq!(levels(&mut controller, nested.as_bytes()), MAX_LEVELS);
        }
        assert_eq!(controller.cgroups.cgroups.len(), 100 + MAX_LEVELS - 1);
        let above = format!("0::{}\n", "/x".repeat(1950));
        assert_eq!(levels(&mut controller, above.as_bytes()), MAX_LEVELS);
    }

    #[test]
    fn only_a_deeply_nested_cgroup_is_truncated() {
        let mut controller = controller(true);
        // The ancestor list of the first cgroup is truncated after `MAX_LEVELS` levels. It stays
        // truncated when the missing ancestors are added with the second cgroup.
        let indices = [MAX_LEVELS + 1, MAX_LEVELS - 1, 1].map(|levels| {
            let cgroup = controller.cgroup_of(format!("0::{}\n", "/x".repeat(levels)).as_bytes());
            let LimitingCgroup::Index(index) = cgroup else { panic!("is visible") };
            index
        });
        let is_truncated = indices.map(|it| controller.is_truncated(Some(it)));
        assert_eq!(is_truncated, [true, false, false]);
        assert!(!controller.is_truncated(None));
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

    #[test]
    fn the_limit_of_a_hierarchy_that_is_not_mounted_is_unknown() {
        for is_initial_namespace in [true, false] {
            let (v1, v2, cgroups) = (Vec::new(), Vec::new(), CgroupTree::default());
            let mut controller = PidsController { v1, v2, is_initial_namespace, cgroups };
            for cgroups in [&b"8:pids:/a\n0::/a\n"[..], b"0::/a\n"] {
                assert_eq!(controller.cgroup_of(cgroups), LimitingCgroup::Hidden);
            }
            assert!(controller.hides_ancestors());
        }
    }

    #[test]
    fn a_removed_cgroup_has_no_limit_and_an_unreadable_one_is_an_error() {
        let dir = tempfile::tempdir().unwrap();
        let read = || read_cgroup(std::fs::File::open(dir.path()).unwrap().as_fd());
        assert_eq!(read(), Err(Errno::NOENT));
        fs::write(dir.path().join("pids.max"), "4\n").unwrap();
        assert_eq!(read(), Err(Errno::NOENT));
        fs::write(dir.path().join("pids.current"), "3\n").unwrap();
        let numbers = CgroupNumbers { used: 3, max: LimitMax::At(4), refused: None };
        assert_eq!(read(), Ok(numbers));
        fs::write(dir.path().join("pids.max"), "").unwrap();
        assert_eq!(read(), Err(Errno::INVAL));
        fs::remove_file(dir.path().join("pids.max")).unwrap();
        // Root can read any file, so use a directory to make reading fail.
        fs::create_dir(dir.path().join("pids.max")).unwrap();
        assert_eq!(read(), Err(Errno::ISDIR));
    }

    #[test]
    fn reads_cgroups_through_their_children() {
        let dir = tempfile::tempdir().unwrap();
        let mount = CgroupMount {
            controller: "",
            root: b"/".to_vec(),
            point: dir.path().as_os_str().as_encoded_bytes().to_vec(),
        };
        // Create no directory for `/a/gone` (a removed cgroup), and no files for `/` (which lacks
        // the pids controller).
        for (path, used) in [("a", 1), ("a/b", 2), ("a/b/c", 3), ("a/d", 4)] {
            let at = dir.path().join(path);
            fs::create_dir(&at).unwrap();
            fs::write(at.join("pids.max"), "max\n").unwrap();
            fs::write(at.join("pids.current"), format!("{used}\n")).unwrap();
        }
        let (v1, cgroups) = (Vec::new(), CgroupTree::default());
        let mut controller =
            PidsController { v1, v2: vec![mount], is_initial_namespace: true, cgroups };
        for path in ["/a/b/c", "/a/gone/x", "/a/d"] {
            let found = controller.cgroup_of(format!("0::{path}\n").as_bytes());
            assert!(matches!(found, LimitingCgroup::Index(_)), "{path}");
        }
        let numbers = controller.read_all(0..controller.cgroups.cgroups.len());
        let read = numbers.iter().map(|(&index, numbers)| {
            (controller.cgroup(index).unwrap().path.as_str(), numbers.unwrap().used)
        });
        let read: BTreeMap<_, _> = read.collect();
        assert_eq!(read, [("/a", 1), ("/a/b", 2), ("/a/b/c", 3), ("/a/d", 4)].into());
    }
}
