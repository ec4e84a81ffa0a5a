//! Tests that pidns recognizes containers by the cgroup paths of real processes.

mod common;

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::Need::*;
use common::*;
use rustix::process::Signal;

const ID: &str = "3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a";
const UID: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
const UNIT_UID: &str = "6ba7b810_9dad_11d1_80b4_00c04fd430c8";

/// A version 2 cgroup that becomes the root of the cgroup namespace in which pidns runs.
struct Top {
    mount: tempfile::TempDir,
    dir: PathBuf,
}

impl Top {
    fn new() -> Self {
        let mount = tempfile::tempdir().expect("is made");
        let mut command = Command::new("mount");
        let mounted = run(command.args(["-t", "cgroup2", "none"]).arg(mount.path()));
        assert!(mounted.status.success(), "{mounted:?}");
        let name = mount.path().file_name().expect("has a name").to_owned();
        let dir = mount.path().join("pidns-containers").join(name);
        fs::create_dir_all(&dir).expect("is made");
        Self { mount, dir }
    }

    /// Creates a cgroup below this one, moves a process into it, and returns its directory.
    fn place(&self, path: &[u8], pid: u32) -> PathBuf {
        let dir = self.dir.join(OsStr::from_bytes(path));
        fs::create_dir_all(&dir).expect("is made");
        fs::write(dir.join("cgroup.procs"), pid.to_string()).expect("is moved");
        dir
    }

    /// Runs pidns in a cgroup namespace with this cgroup as its root.
    fn document(&self) -> Document {
        let script = "echo $$ > \"$TOP/cgroup.procs\" && exec unshare -C \"$PIDNS\" -q -f json";
        let mut command = Command::new("bash");
        command.args(["-c", script]).env("TOP", &self.dir).env("PIDNS", PIDNS);
        Document::read(&stdout(&run(&mut command)))
    }
}

impl Drop for Top {
    fn drop(&mut self) {
        remove(&self.dir);
        // Ignore this error: the parent directory may still contain the cgroup of another test.
        let _ = self.dir.parent().map(fs::remove_dir);
        let _ = Command::new("umount").arg(self.mount.path()).status();
    }
}

/// Removes a cgroup and its descendants. Retries for a while, because the kernel removes an exited
/// process from its cgroup with a delay.
fn remove(dir: &Path) {
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    for _ in 0..200 {
        if fs::remove_dir(dir).is_ok() || !dir.exists() {
            return;
        }
        std::thread::sleep(std::time::Duration::from_millis(10));
    }
}

/// Starts a PID namespace, and returns the PID of its init on the host.
fn namespace() -> (Running, u32) {
    let running =
        Running::spawn(Command::new("unshare").args(["-pf", "--kill-child", "sleep", "600"]));
    until("there is an init", || !children(running.pid()).is_empty());
    let init = children(running.pid())[0];
    (running, init)
}

/// Starts a PID namespace, and returns the PID of its init, whose parent is called
/// `containerd-shim`.
fn namespace_of_shim() -> (Running, u32) {
    let shim = "echo containerd-shim > /proc/self/comm; sleep 600 & echo ready; wait";
    let (running, _) = start(&format!("exec unshare -p bash -c '{shim}'"));
    until("there is an init", || !children(running.pid()).is_empty());
    let init = children(running.pid())[0];
    (running, init)
}

/// Makes an init a zombie: stops its parent, which then cannot reap it, and kills the init.
fn make_zombie(parent: &Running, init: u32) {
    stop(parent.pid());
    kill(init, Signal::KILL);
    until("the init is a zombie", || {
        status(init, "State").first().is_some_and(|state| state == "Z")
    });
}

/// Returns the container of an init as `RUNTIME ID POD`, or `none`. The values of the constants
/// `ID` and `UID` are replaced by the words `ID` and `UID`.
fn container(document: &Document, init: u32) -> String {
    document.home(init).container.as_ref().map_or("none".to_owned(), |found| {
        let pod = found.pod.as_ref().map_or("-", |pod| &pod.uid);
        format!("{} {} {pod}", found.runtime, found.id).replace(ID, "ID").replace(UID, "UID")
    })
}

#[test]
fn real_cgroup_paths_name_their_containers() {
    needs!(HostRoot);
    let cases: [(&[u8], &str); 21] = [
        (b"docker/ID", "docker ID -"),
        (b"system.slice/docker-ID.scope/init.scope", "docker ID -"),
        (b"ecs/0123456789abcdef0123456789abcdef/ID", "docker ID -"),
        (b"kubepods.slice/kubepods-podUNIT_UID.slice/cri-containerd-ID.scope", "containerd ID UID"),
        (b"kubepods/burstable/podUID/ID", "kubernetes ID UID"),
        (b"system.slice/web.service/libpod-payload-ID", "podman ID -"),
        (b"my-parent/ID", "unknown ID -"),
        (
            b"system.slice/docker-k2wt6rm0sz4xxr9bh1yo5yvpq.scope",
            "buildkit k2wt6rm0sz4xxr9bh1yo5yvpq -",
        ),
        (b"system.slice/runc-web.scope", "runc web -"),
        (b"system.slice/crun-web.scope/container", "crun web -"),
        (b"default/web", "containerd web -"),
        (b"default/kata_web", "containerd web -"),
        (b"system.slice/_memory.service", "systemd memory.service -"),
        (b"firecracker/551e7604-e35c-42b3-b825-416853441234", "none"),
        (b"production.partition/web.libvirt-lxc", "lxc web -"),
        (b"system.slice/garden.service/garden/70eb4ce5-a065", "garden 70eb4ce5-a065 -"),
        (b"machine.slice/machine-lxc\\x2d1234\\x2dweb.scope", "lxc web -"),
        (b"system.slice/a\\x2db.scope", "systemd a\\x2db.scope -"),
        (b"system.slice/a-b.scope", "systemd a-b.scope -"),
        (b"not\xfe utf-8/lxc.payload.w\xff:b", "lxc w\u{fffd}:b -"),
        (b"user.slice", "none"),
    ];
    let top = Top::new();
    let placed: Vec<_> = cases
        .iter()
        .map(|(path, expected)| {
            let (running, init) = namespace();
            // Replace the placeholders in the path with real IDs.
            let mut path = path.to_vec();
            for (stand_in, value) in [("UNIT_UID", UNIT_UID), ("UID", UID), ("ID", ID)] {
                path = replace(&path, stand_in.as_bytes(), value.as_bytes());
            }
            top.place(&path, init);
            (running, init, path, expected)
        })
        .collect();
    let document = top.document();
    for (_, init, path, expected) in &placed {
        let path = String::from_utf8_lossy(path);
        assert_eq!(&container(&document, *init), *expected, "{path}");
    }
    drop(placed);
}

/// Returns `bytes` with every `from` replaced by `to`.
fn replace(bytes: &[u8], from: &[u8], to: &[u8]) -> Vec<u8> {
    let Some(at) = bytes.windows(from.len()).position(|window| window == from) else {
        return bytes.to_vec();
    };
    [&bytes[..at], to, &replace(&bytes[at + from.len()..], from, to)].concat()
}

#[test]
fn the_deepest_cgroup_of_several_hierarchies_decides() {
    needs!(Initial("cgroup"));
    let outer = "docker/aaaabbbbccccddddeeeeffff0000111122223333444455556666777788889999";
    let top = Top::new();
    let (_kind, kind) = namespace();
    let _node = Cgroup::of("node", outer, kind);
    let _pod =
        Cgroup::of("pod", &format!("{outer}/kubelet/kubepods/burstable/pod{UID}/{ID}"), kind);
    top.place(outer.as_bytes(), kind);
    // Two segments alone do not show that containerd started the process.
    let (_alone, alone) = namespace();
    let _cpu = Cgroup::of("cpu", "prod/web", alone);
    let _memory = Cgroup::of("memory", "prod/web", alone);
    top.place(b"", alone);
    // A parent called `containerd-shim` does.
    let (_shim, child) = namespace_of_shim();
    let _child = Cgroup::of("cpu", "prod/db", child);
    top.place(b"", child);
    let document = top.document();
    assert_eq!(container(&document, kind), "kubernetes ID UID");
    assert_eq!(container(&document, alone), "none");
    assert_eq!(container(&document, child), "containerd db -");
}

#[test]
fn a_terminated_init_keeps_its_container_but_not_its_unit() {
    needs!(HostRoot);
    let top = Top::new();
    let (docker, docker_init) = namespace();
    let scope = top.place(format!("system.slice/docker-{ID}.scope").as_bytes(), docker_init);
    let (service, service_init) = namespace();
    let unit = top.place(b"system.slice/containerd.service", service_init);
    let document = top.document();
    assert_eq!(container(&document, docker_init), "docker ID -");
    assert_eq!(container(&document, service_init), "systemd containerd.service -");

    make_zombie(&docker, docker_init);
    make_zombie(&service, service_init);
    remove(&scope);
    let line = fs::read_to_string(format!("/proc/{docker_init}/cgroup")).unwrap();
    assert!(line.contains(".scope (deleted)\n"), "{line}");
    assert!(unit.exists());
    let document = top.document();
    assert_eq!(document.home(docker_init).state, "dead");
    assert_eq!(container(&document, docker_init), "docker ID -");
    assert_eq!(document.home(service_init).state, "dead");
    assert_eq!(container(&document, service_init), "none");
}
