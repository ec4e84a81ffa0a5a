//! Parses `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`).

use std::io::Write as _;
use std::rc::Rc;

use super::link::namespace_link;
use super::number::number;

/// The types of namespaces whose bind mounts pidns collects.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MountedKind {
    /// A PID namespace.
    Pid,
    /// A mount namespace. A bind mount of the namespace keeps the namespace and all its mounts
    /// alive.
    Mount,
}

/// Maximum size of a path in a system call, including the terminating NUL byte.
pub const PATH_MAX: usize = 4096;

/// Placeholder for the path of a deeply nested mount point, which can exceed [`PATH_MAX`].
pub const PATH_TOO_LONG: &[u8] = b"(path too long)";

/// A bind mount of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceMount {
    /// ID of the mount, which is unique among all existing mounts.
    pub id: u64,
    /// Type of the namespace.
    pub kind: MountedKind,
    /// Inode of the namespace.
    pub inode: u64,
    /// Path of the mount point, unescaped, or [`PATH_TOO_LONG`].
    pub path: Rc<[u8]>,
}

impl NamespaceMount {
    /// Creates a `NamespaceMount` if `root` names a PID or mount namespace (`pid:[4026531836]`).
    #[must_use]
    pub fn on_nsfs(id: u64, root: &[u8], path: &[u8]) -> Option<Self> {
        let of = |kind, name| Some((kind, namespace_link(root, name)?));
        let (kind, inode) =
            of(MountedKind::Pid, "pid").or_else(|| of(MountedKind::Mount, "mnt"))?;
        let path = if path.len() < PATH_MAX { path } else { PATH_TOO_LONG };
        Some(Self { id, kind, inode, path: path.into() })
    }
}

/// Finds the bind mounts of PID and mount namespaces, and skips malformed lines.
pub fn namespace_mounts(mountinfo: &[u8]) -> impl Iterator<Item = NamespaceMount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let mount = Mount::parse(line).filter(|mount| mount.kind == b"nsfs")?;
        NamespaceMount::on_nsfs(number(mount.id)?, mount.root, &unescape_octal(mount.point))
    })
}

/// Returns the IDs of all mounts in a mountinfo file.
pub fn mount_ids(mountinfo: &[u8]) -> impl Iterator<Item = u64> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| number(Mount::parse(line)?.id))
}

/// Returns `true` if a mountinfo file lists a mount at `/`.
///
/// A file without this mount belongs to a process in a `chroot(2)`, and is incomplete.
#[must_use]
pub fn shows_root(mountinfo: &[u8]) -> bool {
    mountinfo.split(|&byte| byte == b'\n').filter_map(Mount::parse).any(|it| it.point == b"/")
}

/// How a procfs hides processes of other users (`hidepid=` and `gid=` of `proc(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HidePid {
    /// The procfs does not hide processes (`hidepid=0`).
    Off,
    /// Processes of other users are listed, but their files can't be read.
    NoAccess {
        /// GID of the group whose members can read all processes.
        exempt_gid: u32,
    },
    /// Processes of other users are not listed.
    Invisible {
        /// GID of the group whose members can see all processes.
        exempt_gid: u32,
    },
    /// Only processes that the reader may trace (`ptrace(2)`) are listed.
    Ptraceable,
}

/// Finds the procfs with this device number, and returns its `hidepid` option.
#[must_use]
pub fn hidepid(mountinfo: &[u8], major: u32, minor: u32) -> Option<HidePid> {
    let mut device = [0; 24];
    let mut rest = &mut device[..];
    write!(rest, "{major}:{minor}").ok()?;
    let length = 24 - rest.len();
    let mount = mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(Mount::parse)
        .find(|mount| mount.device == &device[..length] && mount.kind == b"proc")?;
    let mut mode = None;
    let mut exempt_gid = 0;
    for option in mount.super_options.split(|&byte| byte == b',') {
        if let Some(value) = option.strip_prefix(b"hidepid=") {
            mode = Some(value);
        } else if let Some(value) = option.strip_prefix(b"gid=") {
            exempt_gid = number(value).unwrap_or(exempt_gid);
        }
    }
    Some(match mode {
        None | Some(b"0" | b"off") => HidePid::Off,
        Some(b"1" | b"noaccess") => HidePid::NoAccess { exempt_gid },
        Some(b"4" | b"ptraceable") => HidePid::Ptraceable,
        Some(_) => HidePid::Invisible { exempt_gid },
    })
}

/// A mount of a cgroup version 1 or version 2 hierarchy.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CgroupMount {
    /// Name of the version 1 controller, such as `freezer`, or empty for cgroup version 2.
    pub controller: &'static str,
    /// Path of the cgroup at the root of the mount, as seen from the reader's cgroup namespace.
    pub root: Vec<u8>,
    /// Path of the mount point, unescaped.
    pub point: Vec<u8>,
}

impl CgroupMount {
    /// Returns `true` for cgroup version 2.
    #[must_use]
    pub fn is_v2(&self) -> bool {
        self.controller.is_empty()
    }
    /// Finds a process's cgroup in `/proc/PID/cgroup`, as a path relative to the mount point.
    #[must_use]
    pub fn cgroup<'a>(&self, cgroups: &'a [u8]) -> Option<&'a [u8]> {
        let path = cgroup_path(cgroups, self.controller)?;
        let root = self.root.strip_suffix(b"/").unwrap_or(&self.root);
        let below = path.strip_prefix(root)?;
        let is_outside = below.split(|&byte| byte == b'/').any(|name| name == b"..");
        below
            .strip_prefix(b"/")
            .or_else(|| below.is_empty().then_some(below))
            .filter(|_| !is_outside)
    }
}

/// Finds the cgroup path for a [`CgroupMount::controller`] in a `/proc/PID/cgroup` file.
#[must_use]
pub fn cgroup_path<'a>(cgroups: &'a [u8], controller: &str) -> Option<&'a [u8]> {
    cgroups.split(|&byte| byte == b'\n').find_map(|line| {
        let mut fields = line.splitn(3, |&byte| byte == b':').skip(1);
        let is_this =
            fields.next()?.split(|&byte| byte == b',').any(|it| it == controller.as_bytes());
        fields.next().filter(|_| is_this)
    })
}

/// Finds the mounts of cgroup version 2, and the mounts of version 1 with this controller.
pub fn cgroup_mounts<'a>(
    mountinfo: &'a [u8],
    controller: &'static str,
) -> impl Iterator<Item = CgroupMount> + use<'a> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(move |line| {
        let mount = Mount::parse(line)?;
        let is_v2 = mount.kind == b"cgroup2";
        let mut options = mount.super_options.split(|&byte| byte == b',');
        let is_v1 = mount.kind == b"cgroup" && options.any(|it| it == controller.as_bytes());
        (is_v2 || is_v1).then(|| CgroupMount {
            controller: if is_v2 { "" } else { controller },
            root: unescape_octal(mount.root),
            point: unescape_octal(mount.point),
        })
    })
}

/// The fields that this module uses from one line of a mountinfo file.
struct Mount<'a> {
    id: &'a [u8],
    device: &'a [u8],
    root: &'a [u8],
    point: &'a [u8],
    kind: &'a [u8],
    super_options: &'a [u8],
}

impl<'a> Mount<'a> {
    fn parse(line: &'a [u8]) -> Option<Self> {
        let mut fields = line.split(|&byte| byte == b' ');
        let id = fields.next()?;
        let device = fields.nth(1)?;
        let root = fields.next()?;
        let point = fields.next()?;
        // A hyphen marks the end of the optional fields in a mountinfo line.
        fields.find(|field| *field == b"-")?;
        let kind = fields.next()?;
        let super_options = fields.nth(1).unwrap_or_default();
        Some(Self { id, device, root, point, kind, super_options })
    }
}

/// Decodes the octal escapes in a path, such as `\040` for a space.
fn unescape_octal(field: &[u8]) -> Vec<u8> {
    let mut path = Vec::with_capacity(field.len());
    let mut rest = field;
    while let [byte, tail @ ..] = rest {
        if let [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', tail @ ..] = rest {
            path.push(((a - b'0') << 6) | ((b - b'0') << 3) | (c - b'0'));
            rest = tail;
        } else {
            path.push(*byte);
            rest = tail;
        }
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn finds_namespace_mounts_at_any_path() {
        let table = include_bytes!("../../../tests/fixtures/mountinfo-nsfs");
        let mounts: Vec<_> = namespace_mounts(table).collect();
        assert_eq!(
            mounts,
            [
                NamespaceMount {
                    id: 41,
                    kind: MountedKind::Pid,
                    inode: 4_026_532_177,
                    path: b"/run/pidns/a b\\c"[..].into()
                },
                NamespaceMount {
                    id: 42,
                    kind: MountedKind::Pid,
                    inode: 4_026_532_180,
                    path: b"/run/pidns/second"[..].into()
                },
            ]
        );
        assert_eq!(mount_ids(table).collect::<Vec<_>>(), [22, 40, 41, 42, 43]);
    }

    #[test]
    fn keeps_no_path_that_a_system_call_would_refuse() {
        for (length, is_kept) in [(PATH_MAX - 1, true), (PATH_MAX, false), (200_000, false)] {
            let path = "/x".repeat(length / 2) + &"y".repeat(length % 2);
            let line = format!("44 27 0:4 pid:[4026532300] {path} rw - nsfs nsfs rw\n");
            let mount = namespace_mounts(line.as_bytes()).next().unwrap();
            let expected = if is_kept { path.as_bytes() } else { PATH_TOO_LONG };
            assert_eq!(&*mount.path, expected);
        }
    }

    #[test]
    fn distinguishes_mount_namespaces_from_pid_namespaces() {
        let line = b"44 27 0:4 mnt:[4026532300] /run/snapd/ns/app.mnt rw - nsfs nsfs rw\n";
        let mounts: Vec<_> = namespace_mounts(line).collect();
        let path = b"/run/snapd/ns/app.mnt"[..].into();
        let kind = MountedKind::Mount;
        assert_eq!(mounts, [NamespaceMount { id: 44, kind, inode: 4_026_532_300, path }]);
    }

    #[test]
    fn finds_freezer_hierarchies_and_the_cgroup_of_a_process() {
        let table = b"30 24 0:26 / /sys/fs/cgroup/cpu rw - cgroup cgroup rw,cpu\n\
            31 24 0:27 /a /sys/fs/cgroup/freezer rw - cgroup cgroup rw,freezer\n\
            32 24 0:28 / /sys/fs/cgroup/uni\\040fied rw - cgroup2 cgroup2 rw\n";
        let mounts: Vec<_> = cgroup_mounts(table, "freezer").collect();
        let [v1, v2] = &mounts[..] else { panic!("{mounts:?}") };
        assert_eq!((v1.is_v2(), &v1.point[..]), (false, &b"/sys/fs/cgroup/freezer"[..]));
        assert_eq!((v2.is_v2(), &v2.point[..]), (true, &b"/sys/fs/cgroup/uni fied"[..]));
        let cgroups = b"5:cpu:/x\n4:freezer,net:/a/b\n0::/c:d\n";
        assert_eq!(v1.cgroup(cgroups), Some(&b"b"[..]));
        assert_eq!(v2.cgroup(cgroups), Some(&b"c:d"[..]));
        for (cgroups, expected) in [
            (&b"4:freezer:/a\n"[..], Some(&b""[..])),
            (b"4:freezer:/ab\n", None),
            (b"0::/../x\n", None),
        ] {
            assert_eq!(v1.cgroup(cgroups).or(v2.cgroup(cgroups)), expected);
        }
    }

    #[test]
    fn reads_hidepid_as_a_number_and_as_a_word() {
        let table = |options: &str| {
            format!("22 27 0:21 / /proc rw,relatime shared:5 - proc proc {options}\n")
        };
        let read = |options: &str| hidepid(table(options).as_bytes(), 0, 21).expect("is listed");
        assert_eq!(read("rw"), HidePid::Off);
        assert_eq!(read("rw,hidepid=off"), HidePid::Off);
        assert_eq!(read("rw,gid=4,hidepid=noaccess"), HidePid::NoAccess { exempt_gid: 4 });
        for word in ["2", "invisible"] {
            let hide = read(&format!("rw,hidepid={word}"));
            assert_eq!(hide, HidePid::Invisible { exempt_gid: 0 });
        }
        assert_eq!(read("rw,hidepid=ptraceable"), HidePid::Ptraceable);
        assert_eq!(hidepid(table("rw,hidepid=2").as_bytes(), 0, 22), None);
    }
}
