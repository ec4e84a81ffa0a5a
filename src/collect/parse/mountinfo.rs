//! `/proc/PID/mountinfo` (`proc_pid_mountinfo(5)`). Other files do not enter.

use std::io::Write as _;

use super::link::namespace_link;
use super::number::number;

/// Kinds of namespaces whose bind mounts are of interest.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MountedKind {
    /// A PID namespace.
    Pid,
    /// A mount namespace, which the mount keeps alive with all that is mounted in it.
    Mount,
}

/// A bind mount of a namespace.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct NamespaceMount {
    /// Number of the mount, which no other has as long as it lasts.
    pub id: u64,
    /// What kind of namespace it is.
    pub kind: MountedKind,
    /// Inode of the namespace.
    pub inode: u64,
    /// Mount point, unescaped.
    pub path: Vec<u8>,
}

impl NamespaceMount {
    /// A mount on nsfs, of which `root` is what the kernel shows as the root
    /// within that file system: `pid:[4026531836]`. `None` for other kinds of
    /// namespaces.
    #[must_use]
    pub fn on_nsfs(id: u64, root: &[u8], path: Vec<u8>) -> Option<Self> {
        let of = |kind, name| Some((kind, namespace_link(root, name)?));
        let (kind, inode) =
            of(MountedKind::Pid, "pid").or_else(|| of(MountedKind::Mount, "mnt"))?;
        Some(Self { id, kind, inode, path })
    }
}

/// The bind mounts of PID and mount namespaces in `/proc/PID/mountinfo`
/// (`proc_pid_mountinfo(5)`). Lines that make no sense are passed over.
pub fn namespace_mounts(mountinfo: &[u8]) -> impl Iterator<Item = NamespaceMount> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| {
        let mount = Mount::parse(line).filter(|mount| mount.kind == b"nsfs")?;
        NamespaceMount::on_nsfs(number(mount.id)?, mount.root, unescape_octal(mount.point))
    })
}

/// The numbers of all mounts in a mountinfo.
pub fn mount_ids(mountinfo: &[u8]) -> impl Iterator<Item = u64> {
    mountinfo.split(|&byte| byte == b'\n').filter_map(|line| number(Mount::parse(line)?.id))
}

/// Whether a mountinfo has a mount at `/`. One without it is of a process in a
/// `chroot(2)`, which sees a part of the mounts.
#[must_use]
pub fn shows_root(mountinfo: &[u8]) -> bool {
    mountinfo.split(|&byte| byte == b'\n').filter_map(Mount::parse).any(|it| it.point == b"/")
}

/// How a procfs hides processes (`hidepid=` and `gid=` of `proc(5)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HidePid {
    /// Whether processes are left out of the listing, not only closed.
    pub unlisted: bool,
    /// The group that sees all nevertheless; `None` where no group does.
    pub exempt_gid: Option<u32>,
}

/// The `hidepid` of the procfs with that device number in a mountinfo; `None`
/// where it is not listed, `Some(None)` where it hides nothing.
#[must_use]
pub fn hidepid(mountinfo: &[u8], major: u32, minor: u32) -> Option<Option<HidePid>> {
    let mut device = [0; 24];
    let mut rest = &mut device[..];
    write!(rest, "{major}:{minor}").ok()?;
    let length = 24 - rest.len();
    let mount = mountinfo
        .split(|&byte| byte == b'\n')
        .filter_map(Mount::parse)
        .find(|mount| mount.device == &device[..length] && mount.kind == b"proc")?;
    let mut mode = None;
    let mut gid = 0;
    for option in mount.super_options.split(|&byte| byte == b',') {
        if let Some(value) = option.strip_prefix(b"hidepid=") {
            mode = Some(value);
        } else if let Some(value) = option.strip_prefix(b"gid=") {
            gid = number(value).unwrap_or(gid);
        }
    }
    Some(match mode {
        None | Some(b"0" | b"off") => None,
        Some(b"1" | b"noaccess") => Some(HidePid { unlisted: false, exempt_gid: Some(gid) }),
        Some(b"4" | b"ptraceable") => Some(HidePid { unlisted: true, exempt_gid: None }),
        Some(_) => Some(HidePid { unlisted: true, exempt_gid: Some(gid) }),
    })
}

/// The fields of one line of mountinfo that are used here.
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
        // Options and any number of optional fields, ended by a hyphen.
        fields.find(|field| *field == b"-")?;
        let kind = fields.next()?;
        let super_options = fields.nth(1).unwrap_or_default();
        Some(Self { id, device, root, point, kind, super_options })
    }
}

/// Space, tab, newline and backslash are `\040` and the like in mountinfo.
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
    fn namespace_mounts_are_found_under_any_path() {
        let table = include_bytes!("../../../tests/fixtures/mountinfo-nsfs");
        let mounts: Vec<_> = namespace_mounts(table).collect();
        assert_eq!(
            mounts,
            [
                NamespaceMount {
                    id: 41,
                    kind: MountedKind::Pid,
                    inode: 4_026_532_177,
                    path: b"/run/pidns/a b\\c".to_vec()
                },
                NamespaceMount {
                    id: 42,
                    kind: MountedKind::Pid,
                    inode: 4_026_532_180,
                    path: b"/run/pidns/second".to_vec()
                },
            ]
        );
        assert_eq!(mount_ids(table).collect::<Vec<_>>(), [22, 40, 41, 42, 43]);
    }

    #[test]
    fn a_mounted_mount_namespace_is_told_from_a_pid_namespace() {
        let line = b"44 27 0:4 mnt:[4026532300] /run/snapd/ns/app.mnt rw - nsfs nsfs rw\n";
        let mounts: Vec<_> = namespace_mounts(line).collect();
        let path = b"/run/snapd/ns/app.mnt".to_vec();
        let kind = MountedKind::Mount;
        assert_eq!(mounts, [NamespaceMount { id: 44, kind, inode: 4_026_532_300, path }]);
    }

    #[test]
    fn hidepid_is_read_in_both_spellings() {
        let table = |options: &str| {
            format!("22 27 0:21 / /proc rw,relatime shared:5 - proc proc {options}\n")
        };
        let read = |options: &str| hidepid(table(options).as_bytes(), 0, 21).expect("is listed");
        assert_eq!(read("rw"), None);
        assert_eq!(read("rw,hidepid=off"), None);
        assert_eq!(
            read("rw,gid=4,hidepid=noaccess"),
            Some(HidePid { unlisted: false, exempt_gid: Some(4) })
        );
        for word in ["2", "invisible"] {
            let hide = read(&format!("rw,hidepid={word}"));
            assert_eq!(hide, Some(HidePid { unlisted: true, exempt_gid: Some(0) }));
        }
        assert_eq!(
            read("rw,hidepid=ptraceable"),
            Some(HidePid { unlisted: true, exempt_gid: None })
        );
        assert_eq!(hidepid(table("rw,hidepid=2").as_bytes(), 0, 22), None);
    }
}
