//! Starts real container runtimes, in namespaces of their own.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use super::{Document, PIDNS, Running, children, run, start_command, stdout, until};

/// A running container runtime, which ends with all its containers when this is dropped.
pub struct Runtime {
    /// Scratch directory of the runtime. The runtime's cgroups have the same name.
    pub dir: tempfile::TempDir,
    kind: &'static str,
    /// The process `unshare`, whose child is the init of the runtime's namespaces.
    unshare: Option<Running>,
    init: u32,
}

impl Runtime {
    /// Starts a runtime: `docker`, `containerd` or `podman`.
    pub fn start(kind: &'static str) -> Self {
        let dir = tempfile::Builder::new().prefix("rt-").tempdir().expect("is made");
        let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/runtimes.sh");
        let mut command = Command::new("unshare");
        command.args(["-mpfn", "--kill-child", "bash", script]).arg(dir.path()).arg(kind);
        let log = fs::File::create(dir.path().join("setup.log")).expect("is made");
        let mut this = Self { dir, kind, unshare: None, init: 0 };
        let (unshare, _) = start_command(command.stderr(log));
        this.init = children(unshare.pid())[0];
        this.unshare = Some(unshare);
        this
    }

    /// Returns a command that runs a program inside the runtime's namespaces and cgroup.
    pub fn command(&self, program: &str) -> Command {
        let enter = "for file in /sys/fs/cgroup/{init,*}/cgroup.procs; do \
                     [[ ! -e $file ]] || echo 0 > $file; done; exec \"$@\"";
        let mut command = Command::new("nsenter");
        command.args(["-t", &self.init.to_string(), "-m", "-p", "-n", "-C"]);
        command.args(["bash", "-c", enter, "bash", program]);
        command
    }

    /// Runs the runtime's own client (`docker`, `ctr` or `podman`), and returns its output.
    pub fn client(&self, arguments: &[&str]) -> String {
        let path = |name: &str| self.dir.path().join(name).into_os_string();
        let mut command = match self.kind {
            "docker" => {
                let mut command = self.command("docker");
                command.arg("-H").arg(format!("unix://{}", self.dir.path().join("sock").display()));
                command
            }
            "containerd" => {
                let mut command = self.command("ctr");
                command.arg("-a").arg(path("sock"));
                command
            }
            _ => {
                let mut command = self.command("podman");
                for (option, directory) in
                    [("--root", "root"), ("--runroot", "run"), ("--tmpdir", "tmp")]
                {
                    command.arg(option).arg(path(directory));
                }
                command.args(["--storage-driver", "vfs", "--cgroup-manager", "cgroupfs"]);
                command.args(["--runtime", "runc", "--log-level", "error"]);
                command
            }
        };
        stdout(&run(command.args(arguments))).trim_end().to_owned()
    }

    /// Runs pidns inside the runtime's namespaces.
    pub fn pidns(&self, arguments: &[&str]) -> Output {
        run(self.command(PIDNS).args(arguments))
    }

    /// Runs pidns inside the runtime's namespaces, and returns its document.
    pub fn document(&self, arguments: &[&str]) -> Document {
        let arguments = [&["-q", "-f", "json"], arguments].concat();
        Document::read(&stdout(&self.pidns(&arguments)))
    }

    /// Returns the runtime's cgroups, one of each hierarchy.
    fn cgroups(&self) -> Vec<PathBuf> {
        let name = self.dir.path().file_name().expect("has a name");
        let top = Path::new("/sys/fs/cgroup");
        let hierarchies = fs::read_dir(top).into_iter().flatten().flatten();
        let dirs = hierarchies.map(|it| it.path()).chain([top.to_owned()]);
        dirs.map(|dir| dir.join(name)).filter(|dir| dir.exists()).collect()
    }
}

impl Drop for Runtime {
    fn drop(&mut self) {
        let cgroups = self.cgroups();
        for dir in &cgroups {
            thaw(dir);
        }
        self.unshare = None;
        let is_gone = || !Path::new(&format!("/proc/{}", self.init)).exists();
        until("the runtime has ended", is_gone);
        // The kernel removes a process from its cgroup with a delay.
        until("the cgroups of the runtime are removed", || {
            for dir in &cgroups {
                remove(dir);
            }
            cgroups.iter().all(|dir| !dir.exists())
        });
    }
}

/// Returns the directories in a directory.
fn directories(dir: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    let is_dir = |it: &fs::DirEntry| it.file_type().is_ok_and(|kind| kind.is_dir());
    entries.filter(is_dir).map(|it| it.path()).collect()
}

/// Thaws a cgroup and its descendants: a frozen process of version 1 does not even react to
/// SIGKILL.
fn thaw(dir: &Path) {
    let _ = fs::write(dir.join("freezer.state"), "THAWED");
    for child in directories(dir) {
        thaw(&child);
    }
}

/// Removes a cgroup and its descendants, as far as they have no processes.
fn remove(dir: &Path) {
    for child in directories(dir) {
        remove(&child);
    }
    let _ = fs::remove_dir(dir);
}
