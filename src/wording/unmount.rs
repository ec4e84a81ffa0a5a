//! Advice on how to remove a bind mount that keeps a PID namespace alive.

use super::line::{LISTED, Line};
use super::shell::{guarded, shell_word};
use crate::model::{BindMount, LiveFacts, MountNamespace, MountNamespaceKeeper, Namespace, Pid};

/// Maximum number of mount points that a report lists for one namespace.
pub const MOUNTS: usize = 3;

/// Advice about one bind mount.
pub enum Unmount {
    /// A shell command that unmounts a bind mount.
    Command(String),
    /// A note about a mount that no command can remove. The note is worded so that pasting it into
    /// a shell has no effect.
    Note(String),
}

impl Unmount {
    pub fn text(self) -> String {
        match self {
            Self::Command(text) | Self::Note(text) => text,
        }
    }
}

/// Appends to `line` the advice on how to unmount the bind mounts of a namespace.
pub fn add_umounts(namespace: &Namespace, facts: &LiveFacts, line: &mut Line) {
    let advice = namespace.mounts().filter_map(|it| unmount(&it, facts));
    for unmount in advice.take(MOUNTS) {
        match unmount {
            Unmount::Command(command) => line.command("; ", &command),
            Unmount::Note(note) => line.words("; ", &note),
        }
    }
}

/// Returns the command that unmounts a bind mount, or a note if no command can.
pub fn unmount(mount: &BindMount, facts: &LiveFacts) -> Option<Unmount> {
    // A path such as `(unreachable)` cannot be unmounted.
    if !mount.path.starts_with('/') {
        return None;
    }
    let inode = mount.mount_namespace;
    let namespace = facts.mount_namespaces.get(&inode);
    if let Some(why) = obstacle(mount, namespace, facts) {
        return Some(Unmount::Note(match namespace {
            Some(namespace) => end_keeper(inode, &namespace.kept_by, why),
            None => why,
        }));
    }
    let path = shell_word(&mount.path);
    // For a saved document, `own_mount_namespace` is `None`, because the mount namespace of the
    // user's shell is unknown. Suggest a plain `umount` then.
    if facts.own_mount_namespace.is_none_or(|own| own == inode) {
        return Some(Unmount::Command(format!("umount {path}")));
    }
    // The owner of the mount namespace controls the programs in it. So run the host's umount
    // instead of the umount of that namespace.
    let command = match &namespace?.kept_by {
        MountNamespaceKeeper::Processes(pids) => {
            let pid = *pids.first()?;
            // `-i` keeps umount from running helper programs of the mount namespace. `-n` keeps
            // umount from opening `/run/mount/utab.lock`. If that path were a symbolic link, umount
            // would make the target of the link world-readable.
            guarded(pid, "mnt", inode, &format!("umount -i -n -N {pid} {path}"))
        }
        MountNamespaceKeeper::Fd(pid, fd) => enter_file(&format!("/proc/{pid}/fd/{fd}"), mount),
        MountNamespaceKeeper::Mount(file) => enter_file(file, mount),
    };
    Some(Unmount::Command(command))
}

/// Returns the command that unmounts a path in the mount namespace that `file` refers to.
fn enter_file(file: &str, mount: &BindMount) -> String {
    let (file, path) = (shell_word(file), shell_word(&mount.path));
    let inode = mount.mount_namespace;
    // Compare the inode, because `readlink` on a descriptor may print a path instead of
    // `mnt:[INODE]`.
    format!("[ \"$(stat -Lc %i {file})\" = {inode} ] && umount -i -n -N {file} {path}")
}

/// Returns a sentence with the reason why umount(8) cannot remove a mount.
fn obstacle(
    mount: &BindMount,
    namespace: Option<&MountNamespace>,
    facts: &LiveFacts,
) -> Option<String> {
    let inode = mount.mount_namespace;
    let why = if let Some(is_certain) = facts.covered.get(mount) {
        let covers = if *is_certain { "covers" } else { "may cover" };
        format!("another mount {covers} it in mnt:[{inode}]")
    } else if namespace?.may_lock_mounts {
        format!("it may be locked in mnt:[{inode}], which another user namespace owns")
    } else if namespace?.lacks_proc {
        format!("umount finds no /proc/self in mnt:[{inode}]")
    } else {
        return None;
    };
    Some(format!("no command removes {}: {why}", shell_word(&mount.path)))
}

/// Returns the advice to end the processes that keep a mount namespace alive.
///
/// `why`: the reason why no command can unmount the bind mount.
fn end_keeper(inode: u64, kept_by: &MountNamespaceKeeper, why: String) -> String {
    let end = |pids: &str, it| format!("end {pids} only if nothing needs {it}: {why}");
    match kept_by {
        // Never advise the user to end PID 1, the init.
        MountNamespaceKeeper::Processes(pids) if pids.contains(&Pid::INIT) => why,
        MountNamespaceKeeper::Processes(pids) => match pids.as_slice() {
            [pid] => end(&pid.to_string(), "it"),
            pids => {
                let shown: Vec<_> = pids.iter().take(LISTED).map(Pid::to_string).collect();
                let more = match pids.len() - shown.len() {
                    0 => String::new(),
                    more => format!(" and {more} more"),
                };
                end(&format!("{}{more}", shown.join(", ")), "them")
            }
        },
        MountNamespaceKeeper::Fd(Pid::INIT, fd) => {
            format!("{why}; fd {fd} of process 1 keeps mnt:[{inode}]")
        }
        MountNamespaceKeeper::Fd(pid, fd) => {
            end(&pid.to_string(), "it") + &format!("; fd {fd} keeps mnt:[{inode}]")
        }
        MountNamespaceKeeper::Mount(file) => {
            format!("{why}; the mount {} keeps mnt:[{inode}]", shell_word(file))
        }
    }
}
