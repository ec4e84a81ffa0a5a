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
    fn pidns(&self, arguments: &[&str]) -> String {
        let script = "echo $$ > \"$TOP/cgroup.procs\" && exec unshare -C \"$PIDNS\" -q \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", script, "bash"]).env("TOP", &self.dir).env("PIDNS", PIDNS);
        stdout(&run(command.args(arguments)))
    }

    fn document(&self) -> Document {
        Document::read(&self.pidns(&["-f", "json"]))
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

/// Starts a PID namespace, and returns the PID of its init. Its parent is called `containerd-shim`,
/// and has `bundle` as its working directory, like the shim of containerd.
fn namespace_of_shim(bundle: &Path) -> (Running, u32) {
    let shim = "echo containerd-shim > /proc/self/comm; sleep 600 & echo ready; wait";
    let mut command = Command::new("unshare");
    let (running, _) = start_command(command.args(["-p", "bash", "-c", shim]).current_dir(bundle));
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
    let cases: [(&[u8], &str); 23] = [
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
        // Two segments alone prove nothing.
        (b"prod/web", "none"),
        (b"podruntime/etcd", "none"),
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
    let (_shim, child) = namespace_of_shim(Path::new("/"));
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

#[test]
fn the_members_of_a_paused_container_are_frozen() {
    needs!(HostRoot);
    let top = Top::new();
    let (_container, init) = namespace();
    let scope = top.place(format!("docker/{ID}").as_bytes(), init);
    let entered = Running::spawn(Command::new("nsenter").args([
        "-t",
        &init.to_string(),
        "-p",
        "sleep",
        "600",
    ]));
    until("a process has entered", || children(entered.pid()).len() == 1);
    let member = children(entered.pid())[0];
    until("it sleeps", || comm(member) == "sleep");
    let frozen = || {
        let arguments = ["-q", "-f", "json", "--details", "cgroup"];
        let document = Document::read(&stdout(&pidns(&arguments)));
        [init, member].map(|pid| document.process(pid).frozen)
    };
    assert_eq!(frozen(), [false, false]);
    // Version 2 shows a frozen process in ordinary sleep.
    fs::write(scope.join("cgroup.freeze"), "1").unwrap();
    let events = || fs::read_to_string(scope.join("cgroup.events")).unwrap();
    until("the container is frozen", || events().contains("frozen 1"));
    assert_eq!(status(init, "State")[0], "S");
    // The other member is in the namespace, but not in the cgroup.
    assert_eq!(frozen(), [true, false]);
    let text = stdout(&pidns(&["-q", "--container", &ID[..12]]));
    assert!(text.contains(&format!(" {init} → 1 sleep, frozen\n")), "{text}");
    top.place(format!("docker/{ID}").as_bytes(), member);
    until("the other member is frozen", || frozen() == [true, true]);
    fs::write(scope.join("cgroup.freeze"), "0").unwrap();
}

#[test]
fn names_come_only_from_regular_files_of_root() {
    needs!(HostRoot);
    let bundles = tempfile::tempdir().unwrap();
    let bundle = bundles.path().join("web");
    let config = bundle.join("config.json");
    fs::create_dir(&bundle).unwrap();
    // Dropped last, since a cgroup with a process cannot be removed.
    let top = Top::new();
    let (_shim, init) = namespace_of_shim(&bundle);
    top.place(b"default/web", init);
    let name = || top.document().home(init).container.clone().expect("is a container").name;
    let good = r#"{"annotations": {"nerdctl/name": "shop"}}"#;
    assert_eq!(name(), None);
    fs::write(&config, good).unwrap();
    assert_eq!(name().as_deref(), Some("shop"));

    let other = bundles.path().join("other");
    fs::rename(&config, &other).unwrap();
    std::os::unix::fs::symlink(&other, &config).unwrap();
    assert_eq!(name(), None, "a link");
    fs::remove_file(&config).unwrap();
    stdout(&run(Command::new("mkfifo").arg(&config)));
    assert_eq!(name(), None, "a FIFO");
    fs::remove_file(&config).unwrap();
    fs::create_dir(&config).unwrap();
    assert_eq!(name(), None, "a directory");
    fs::remove_dir(&config).unwrap();
    for bad in ["", "{", "[]", "{\"annotations\": {\"nerdctl/name\": [", &"[".repeat(100_000)] {
        fs::write(&config, bad).unwrap();
        assert_eq!(name(), None, "{}", &bad[..bad.len().min(40)]);
    }
    fs::write(&config, format!("{good}{}", " ".repeat(1 << 20))).unwrap();
    assert_eq!(name(), None, "a long file");
    fs::write(&config, good).unwrap();
    std::os::unix::fs::chown(&config, Some(12345), None).unwrap();
    assert_eq!(name(), None, "a file of another user");

    fs::remove_dir_all(&bundle).unwrap();
    fs::create_dir(bundles.path().join("elsewhere")).unwrap();
    fs::write(bundles.path().join("elsewhere/config.json"), good).unwrap();
    std::os::unix::fs::symlink("elsewhere", &bundle).unwrap();
    assert_eq!(name(), None, "a link in place of the bundle");
}

#[test]
fn control_characters_in_a_name_never_reach_a_terminal() {
    needs!(HostRoot);
    let bundles = tempfile::tempdir().unwrap();
    let bundle = bundles.path().join("web");
    fs::create_dir(&bundle).unwrap();
    let json = r#"{"annotations": {"nerdctl/name": "\u001b[31m\u202e\"\\N"}}"#;
    fs::write(bundle.join("config.json"), json).unwrap();
    // Dropped last, since a cgroup with a process cannot be removed.
    let top = Top::new();
    let (_shim, init) = namespace_of_shim(&bundle);
    top.place(b"default/web", init);
    let container = top.document().home(init).container.clone().expect("is a container");
    assert_eq!(container.name.as_deref(), Some("\u{1b}[31m\u{202e}\"\\N"));
    for format in ["text", "dot", "mermaid", "openmetrics", "json", "yaml"] {
        let text = top.pidns(&["-f", format]);
        let is_harmful = |c: char| c == '\u{1b}' || c == '\u{202e}';
        assert!(!text.contains(is_harmful), "{format}: {text}");
    }
}

#[test]
fn names_of_another_root_are_those_below_it() {
    needs!(HostRoot);
    let root = tempfile::tempdir().unwrap();
    let path = |name: &str| root.path().join(name);
    let docker = path("var/lib/docker/containers").join(ID);
    fs::create_dir_all(&docker).unwrap();
    fs::write(docker.join("config.v2.json"), r#"{"Name": "/web", "Config": {}}"#).unwrap();
    fs::create_dir_all(path("var/log/pods").join(format!("shop_web-0_{UID}"))).unwrap();
    fs::create_dir(path("proc")).unwrap();
    let top = Top::new();
    let (_docker, docker_init) = namespace();
    top.place(format!("docker/{ID}").as_bytes(), docker_init);
    let (_pod, pod_init) = namespace();
    top.place(format!("kubepods/pod{UID}/{}", ID.replace('3', "4")).as_bytes(), pod_init);
    let script = "mount -t proc proc \"$ROOT/proc\" && echo $$ > \"$TOP/cgroup.procs\" && \
                  exec unshare -C \"$PIDNS\" -q -f json --procfs \"$ROOT/proc\"";
    let mut command = Command::new("unshare");
    command.args(["-m", "bash", "-c", script]).env("TOP", &top.dir).env("PIDNS", PIDNS);
    let document = Document::read(&stdout(&run(command.env("ROOT", root.path()))));
    let container = |init| document.home(init).container.clone().expect("is a container");
    assert_eq!(container(docker_init).name.as_deref(), Some("web"));
    let pod = container(pod_init).pod.expect("is in a pod");
    assert_eq!((pod.name.as_deref(), pod.namespace.as_deref()), (Some("web-0"), Some("shop")));
    // Without the files, nothing has a name.
    assert_eq!(top.document().home(docker_init).container.clone().expect("exists").name, None);
}
