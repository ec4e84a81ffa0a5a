//! Tests that pidns finds the bind mounts that keep namespaces alive, even if no process can see
//! the mount, if the mount namespace has no process, or if another mount covers the mount. Also
//! tests pidns with mounts over files in /proc.

mod common;

use std::process::{Command, Output};

use common::Need::*;
use common::*;
use rustix::process::Signal;

/// Shell script that mounts a tmpfs at `$1`, creates a PID namespace, bind-mounts the namespace at
/// `$1/ns`, and kills its init. Prints the inode of the namespace.
const DEAD_MOUNT: &str = "PATH=$PATH:/usr/sbin:/sbin; mount -t tmpfs none $1; touch $1/ns; \
     unshare -pf --kill-child sleep 600 & u=$!; \
     until read -rd ' ' init </proc/$u/task/$u/children; do :; done; \
     mount --bind /proc/$init/ns/pid $1/ns; stat -c 'inode %i' $1/ns; \
     kill -9 $init; wait 2>/dev/null;";

/// Shell script that prepares `$1/root` as a root directory: it mounts the directories in it that
/// `sleep` needs. The script does not bind-mount `/`: in a user namespace, the kernel refuses a
/// bind mount that would uncover files below other mounts.
const OTHER_ROOT: &str = "mkdir $1/root; mount -t tmpfs none $1/root; \
     for d in bin lib lib64 usr; do if [ -e /$d ]; then \
     mkdir $1/root/$d; mount --rbind /$d $1/root/$d; fi; done;";

/// Runs [`DEAD_MOUNT`] and then `script` in a private mount namespace. Returns the ID of the dead
/// namespace.
fn start_with_dead_mount(dir: &tempfile::TempDir, script: &str) -> (Running, String) {
    let script = format!("{DEAD_MOUNT} {script}");
    let at = dir.path().to_str().unwrap();
    let (running, names) = start_command(&mut in_mount_namespace(&script, &[at]));
    (running, format!("pid:[{}]", names["inode"]))
}

/// Returns the mount namespaces in which a mount at `path` is a holder of the namespace.
fn mounted_at(document: &Document, id: &str, path: &str) -> Vec<u64> {
    let holders = document.find_namespace(id).map(|it| it.holders.clone()).unwrap_or_default();
    let at = |holder| match holder {
        Holder::Mount { path: at, mount_namespace } => (at == path).then_some(mount_namespace),
        _ => None,
    };
    holders.into_iter().filter_map(at).collect()
}

/// Returns the inode of the mount namespace of a process.
fn mount_namespace_of(pid: u32) -> u64 {
    let link = link(format!("/proc/{pid}/ns/mnt")).expect("exists");
    link.trim_start_matches("mnt:[").trim_end_matches(']').parse().expect("an inode")
}

/// Returns `true` if the mountinfo of this process contains a mount of the namespace.
fn sees(pid: u32, id: &str) -> bool {
    std::fs::read_to_string(format!("/proc/{pid}/mountinfo")).unwrap().contains(id)
}

/// Returns a command that runs as if the kernel did not have these system calls.
fn without(calls: &str, command: &[&str]) -> Command {
    with_seccomp(ENOSYS, calls, command)
}

/// Runs pidns as if the kernel were older than Linux 6.8, without `statmount` and `listmount`.
fn of_older_kernel() -> Document {
    let command = [PIDNS, "-q", "-f", "json"];
    Document::read(&stdout(&run(&mut without("457,458", &command))))
}

fn check_a_chroot_hides_nothing(of: impl Fn() -> Document) {
    let dir = tempfile::tempdir().unwrap();
    // The root directory of the process is a mount point, so its mountinfo has an entry for `/`
    // although it lacks all mounts outside of the chroot.
    let script = format!("{OTHER_ROOT} echo ready; exec chroot $1/root sleep 600");
    let (running, id) = start_with_dead_mount(&dir, &script);
    until("the process sleeps", || comm(running.pid()) == "sleep");
    assert!(!sees(running.pid(), &id), "the process sees the mount, so this test proves nothing");
    let path = format!("{}/ns", dir.path().display());
    let document = of();
    assert_eq!(mounted_at(&document, &id, &path), [mount_namespace_of(running.pid())]);
    assert_eq!(document.namespace(&id).state, "dead");
    assert_eq!(document.namespace(&id).parent, document.procfs.namespace);
    let gap = document.diagnostic("mounts-unsearched");
    assert!(gap.is_none_or(|it| !it.pids.contains(&running.pid())), "{gap:?}");
}

#[test]
fn finds_a_mount_if_all_processes_are_in_a_chroot() {
    needs!(Namespaces, NoChroot);
    check_a_chroot_hides_nothing(|| Document::of(&[]));
}

#[test]
fn finds_a_mount_outside_a_chroot_inside_a_pid_namespace() {
    needs!(NamespaceOfItsOwn, NoChroot);
    check_a_chroot_hides_nothing(|| Document::of(&[]));
}

#[test]
fn finds_a_mount_outside_a_chroot_on_older_kernels() {
    needs!(Namespaces, NoChroot, Program("python3"));
    check_a_chroot_hides_nothing(of_older_kernel);
}

/// Tests a process whose root mount covers the previous root mount, as in a container that was
/// started without pivot_root(2).
fn check_without_pivot_root() {
    let dir = tempfile::tempdir().unwrap();
    let script = format!(
        "{OTHER_ROOT} cd $1/root; mount --move $1/root /; echo ready; exec chroot . sleep 600"
    );
    let (running, id) = start_with_dead_mount(&dir, &script);
    until("the process sleeps", || comm(running.pid()) == "sleep");
    assert!(!sees(running.pid(), &id), "the process sees the mount, so this test proves nothing");
    let path = format!("{}/ns", dir.path().display());
    let document = Document::of(&[]);
    assert_eq!(mounted_at(&document, &id, &path), [mount_namespace_of(running.pid())]);
    // pidns cannot open the mount, since no path leads to a covered mount.
    assert!(document.diagnostic("namespace-unopened").is_some() && !document.complete);
}

#[test]
fn a_container_made_without_pivot_root_hides_no_mount() {
    needs!(Namespaces);
    check_without_pivot_root();
}

#[test]
fn a_container_made_without_pivot_root_hides_no_mount_inside_a_pid_namespace() {
    needs!(NamespaceOfItsOwn);
    check_without_pivot_root();
}

fn check_a_mount_namespace_kept_by_a_descriptor(of: impl Fn() -> Document) {
    let dir = tempfile::tempdir().unwrap();
    // A descriptor keeps a copy of the mount namespace, which contains a copy of the mount. Then
    // the original mount is removed.
    let script = "unshare -m sleep 600 & until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done; \
         exec 9</proc/$!/ns/mnt; kill -9 $!; wait 2>/dev/null; umount -l $1/ns; \
         echo ready; exec sleep 600";
    let (running, id) = start_with_dead_mount(&dir, script);
    assert!(!sees(running.pid(), &id));
    let kept = link(format!("/proc/{}/fd/9", running.pid())).unwrap();
    let document = of();
    let path = format!("{}/ns", dir.path().display());
    let found = mounted_at(&document, &id, &path);
    assert_eq!(found.iter().map(|it| format!("mnt:[{it}]")).collect::<Vec<_>>(), [kept]);
    assert_eq!(document.namespace(&id).state, "dead");
}

#[test]
fn finds_mounts_in_a_mount_namespace_that_only_a_descriptor_keeps() {
    needs!(Namespaces);
    check_a_mount_namespace_kept_by_a_descriptor(|| Document::of(&[]));
}

#[test]
fn finds_mounts_that_a_descriptor_keeps_inside_a_pid_namespace() {
    needs!(NamespaceOfItsOwn);
    check_a_mount_namespace_kept_by_a_descriptor(|| Document::of(&[]));
}

#[test]
fn finds_mounts_that_a_descriptor_keeps_on_older_kernels() {
    needs!(Namespaces, NoChroot, Program("python3"));
    check_a_mount_namespace_kept_by_a_descriptor(of_older_kernel);
}

fn check_a_mounted_mount_namespace(of: impl Fn() -> Document) {
    let dir = tempfile::tempdir().unwrap();
    // snapd also bind-mounts mount namespaces. The kernel allows this only if the mounted namespace
    // has a higher ID than the current mount namespace. Because IDs are not assigned in order, try
    // until a mount succeeds.
    let script = "touch $1/app.mnt; \
         until unshare -m sleep 600 & until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done; \
         mount --bind /proc/$!/ns/mnt $1/app.mnt 2>/dev/null; do kill -9 $!; wait 2>/dev/null; done; \
         kill -9 $!; wait 2>/dev/null; umount -l $1/ns; echo ready; exec sleep 600";
    let (running, id) = start_with_dead_mount(&dir, script);
    assert!(!sees(running.pid(), &id));
    let document = of();
    let path = format!("{}/ns", dir.path().display());
    let found = mounted_at(&document, &id, &path);
    assert_eq!(found.len(), 1, "{found:?}");
    assert_ne!(found[0], mount_namespace_of(running.pid()));
    assert_eq!(document.namespace(&id).state, "dead");
}

#[test]
fn finds_mounts_in_a_mount_namespace_that_is_itself_mounted() {
    needs!(Namespaces);
    check_a_mounted_mount_namespace(|| Document::of(&[]));
}

#[test]
fn finds_mounts_in_a_mounted_mount_namespace_inside_a_pid_namespace() {
    needs!(NamespaceOfItsOwn);
    check_a_mounted_mount_namespace(|| Document::of(&[]));
}

#[test]
fn finds_mounts_in_a_mounted_mount_namespace_on_older_kernels() {
    needs!(Namespaces, NoChroot, Program("python3"));
    check_a_mounted_mount_namespace(of_older_kernel);
}

/// Command prefix that runs a command as `nobody`, in new user and mount namespaces.
const AS_OWNER: &str = "setpriv --reuid=65534 --regid=65534 --clear-groups unshare -Urm";

/// Runs pidns as `nobody`, as if the kernel did not have `listmount`.
fn of_nobody(program: &str) -> Document {
    let setpriv = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"];
    let command = [&setpriv[..], &[program, "-q", "-f", "json"]].concat();
    Document::read(&stdout(&run(&mut without("457,458", &command))))
}

#[test]
fn without_privilege_finds_a_mount_through_a_process_outside_the_chroot() {
    needs!(HostRoot, UserNamespaces, NoChroot, Program("python3"));
    let dir = public_dir();
    let (_copy, program) = public_copy();
    let at = dir.path().to_str().unwrap();
    // Start the process in the chroot first, so that pidns reads it first.
    let script = format!(
        "{DEAD_MOUNT} mkdir $1/root; mount --rbind / $1/root; umount -l $1/root$1; \
         chroot $1/root sleep 600 & until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done; \
         echo confined $!; sleep 600 & until [ \"$(</proc/$!/comm)\" = sleep ]; do :; done; \
         echo free $!; echo ready; read -r < <(:); exec chroot $1/root sleep 600"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {AS_OWNER} bash -c \"$0\" bash $1"), &script, at]);
    let (running, names) = start_command(&mut command);
    let id = format!("pid:[{}]", names["inode"]);
    until("all processes sleep", || comm(running.pid()) == "sleep");
    assert!(sees(names["free"], &id) && !sees(names["confined"], &id));
    let path = format!("{at}/ns");
    let document = of_nobody(&program);
    assert_eq!(mounted_at(&document, &id, &path), [mount_namespace_of(running.pid())]);
    let gap = |document: &Document| {
        let gap = document.diagnostic("mounts-unsearched");
        gap.is_some_and(|it| it.pids.contains(&names["confined"]))
    };
    assert!(!gap(&document));
    // With `listmount`, pidns finds the mount even if all processes are in a chroot.
    kill(names["free"], Signal::KILL);
    let told = Document::read(&stdout(&as_nobody(&["-q", "-f", "json"])));
    assert_eq!(mounted_at(&told, &id, &path).len(), 1);
}

#[test]
fn reports_a_mount_namespace_that_no_process_sees_completely() {
    needs!(HostRoot, UserNamespaces, NoChroot, Program("python3"));
    let dir = public_dir();
    let (_copy, program) = public_copy();
    let at = dir.path().to_str().unwrap();
    // The root directory of the process is an ordinary directory, not a mount point.
    let script = format!(
        "{DEAD_MOUNT} mkdir $1/root $1/root/bin $1/root/lib $1/root/lib64 $1/root/usr; \
         for d in bin lib lib64 usr; do mount --rbind /$d $1/root/$d; done; echo ready; \
         exec chroot $1/root sleep 600"
    );
    let mut command = Command::new("sh");
    command.args(["-c", &format!("exec {AS_OWNER} bash -c \"$0\" bash $1"), &script, at]);
    let (running, names) = start_command(&mut command);
    let id = format!("pid:[{}]", names["inode"]);
    until("the process sleeps", || comm(running.pid()) == "sleep");
    assert!(!sees(running.pid(), &id));
    let document = of_nobody(&program);
    assert!(document.find_namespace(&id).is_none());
    let told = document.diagnostic("mounts-unsearched").expect("is reported");
    assert!(told.pids.contains(&running.pid()), "{told:?}");
    assert!(!document.complete);
}

#[test]
fn a_mount_namespace_that_is_gone_is_not_reported() {
    needs!(NamespaceOfItsOwn);
    let storm = "echo ready; while ((SECONDS < 20)); do unshare -m true; done";
    let start = || start_command(Command::new("bash").args(["-c", storm]));
    let storms = [start(), start(), start()];
    for collector in ["auto", "proc"].into_iter().cycle().take(40) {
        let document = Document::read(&stdout(&pidns(&["-qf", "json", "--collector", collector])));
        let unsearched = document.diagnostic("mounts-unsearched");
        assert!(unsearched.is_none(), "{unsearched:?}");
    }
    drop(storms);
}

#[test]
fn lists_two_thousand_mounts_quickly() {
    needs!(Namespaces, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let script = "import ctypes, os, sys, time\n\
         libc = ctypes.CDLL(None)\n\
         at = os.fsencode(sys.argv[1])\n\
         libc.mount(b'none', at, b'tmpfs', 0, None)\n\
         for number in range(2000):\n    \
             path = at + b'/%d' % number\n    \
             os.close(os.open(path, os.O_CREAT))\n    \
             assert libc.mount(b'/proc/self/ns/pid', path, None, 4096, None) == 0\n\
         print('ready', flush=True)\n\
         time.sleep(600)";
    let mut command = Command::new("unshare");
    command.args(["-m", "python3", "-c", script]).arg(dir.path());
    let (running, _) = start_command(&mut command);
    let inode = mount_namespace_of(running.pid());
    let program = [PIDNS, "-q", "-f", "json"];
    for command in [Command::new(PIDNS), without("457,458", &program[..1])] {
        // Measure CPU time, which hardly depends on the load of the machine.
        let measure = "TIMEFORMAT='%U %S'; { time \"$@\" 2>&3; } 3>&2 2>\"$0\"";
        let times = dir.path().with_extension("times");
        let mut bash = Command::new("bash");
        bash.args(["-c", measure]).arg(&times).arg(command.get_program());
        let output = run(bash.args(command.get_args()).args(&program[1..]));
        let text = std::fs::read_to_string(&times).unwrap();
        std::fs::remove_file(&times).unwrap();
        let seconds: f64 = text.split_whitespace().map(|it| it.parse::<f64>().unwrap()).sum();
        // An algorithm with quadratic time took 15 s here.
        assert!(seconds < 2.0, "{text}");
        let document = Document::read(&stdout(&output));
        let held = document.home(running.pid());
        let ours = |it: &&Holder| matches!(it, Holder::Mount { mount_namespace, .. } if *mount_namespace == inode);
        assert_eq!(held.holders.iter().filter(ours).count(), 2000);
    }
}

/// Python program that mounts a FUSE file system over a path, and answers only the first request,
/// FUSE_INIT. Any other access to the path hangs.
const SILENT_FUSE: &str = "import ctypes, os, stat, struct, sys, time\n\
     libc = ctypes.CDLL(None, use_errno=True)\n\
     path = sys.argv[1]\n\
     fd = os.open('/dev/fuse', os.O_RDWR)\n\
     mode = stat.S_IFMT(os.stat(path).st_mode)\n\
     options = 'fd=%d,rootmode=%o,user_id=0,group_id=0,allow_other' % (fd, mode)\n\
     if libc.mount(b'silent', os.fsencode(path), b'fuse', 0, options.encode()) != 0:\n    \
         sys.exit(os.strerror(ctypes.get_errno()))\n\
     unique = struct.unpack_from('Q', os.read(fd, 65536), 8)[0]\n\
     answer = struct.pack('IIIIHHIIHHI28x', 7, 31, 0, 0, 0, 0, 4096, 0, 0, 0, 0)\n\
     os.write(fd, struct.pack('IiQ', 16 + len(answer), 0, unique) + answer)\n\
     print('ready', flush=True)\n\
     time.sleep(600)";

/// Runs pidns, and panics if it has not exited after 10 seconds.
fn pidns_in_time(arguments: &[&str]) -> Output {
    let output = run(Command::new("timeout").args(["-sKILL", "10", PIDNS]).args(arguments));
    assert!(output.status.code().is_some(), "it hung: {output:?}");
    output
}

#[test]
fn never_asks_a_hanging_file_system_over_a_mount() {
    needs!(HostRoot, Program("python3"));
    let dir = tempfile::tempdir().unwrap();
    let script = format!("{DEAD_MOUNT} exec python3 -c \"$2\" $1/ns");
    let at = dir.path().to_str().unwrap();
    let (running, names) = start_command(&mut in_mount_namespace(&script, &[at, SILENT_FUSE]));
    let id = format!("pid:[{}]", names["inode"]);
    let path = format!("{at}/ns");
    // Another test's pidns may have opened the mount before it was covered. Wait until that pidns
    // is no longer a holder of the namespace.
    until("nobody has the mount open", || {
        let document = Document::read(&stdout(&pidns_in_time(&["-q", "-f", "json"])));
        assert_eq!(mounted_at(&document, &id, &path), [mount_namespace_of(running.pid())]);
        document.diagnostic("namespace-unopened").is_some_and(|told| {
            assert!(told.message.starts_with("cannot open "), "{}", told.message);
            assert!(!document.complete);
            true
        })
    });
}

/// Starts a container with its own /proc and two processes. Its init (PID 1 inside) runs a script,
/// and then `sleep`. The other process (PID 2 inside) is a `sleep`, too.
fn hostile(script: &str) -> (Running, u32) {
    container(&format!("sleep 600 & {script} echo ready; exec sleep 600"))
}

#[test]
fn refuses_endless_files_mounted_over_a_containers_proc() {
    needs!(Namespaces, Program("python3"));
    for calls in ["", "437"] {
        for file in ["status", "cgroup", "mountinfo", "stat"] {
            let (_running, init) = hostile(&format!("mount --bind /dev/zero /proc/1/{file};"));
            let procfs = format!("/proc/{init}/root/proc");
            // Limit the memory to 1 GB: if pidns tries to read all of /dev/zero, it must fail
            // before the machine runs out of memory.
            let limited = "ulimit -v 1000000; exec \"$@\"";
            let command =
                ["bash", "-c", limited, "bash", PIDNS, "-q", "-f", "json", "--procfs", &procfs];
            let mut command = match calls {
                "" => {
                    let mut plain = Command::new(command[0]);
                    plain.args(&command[1..]);
                    plain
                }
                // Simulate a kernel before Linux 5.6, without openat2(2).
                calls => without(calls, &command),
            };
            let document = Document::read(&stdout(&run(&mut command)));
            let said = |code| {
                let told = document.diagnostic(code).unwrap_or_else(|| panic!("{code}: {file}"));
                assert_eq!((told.errno.as_deref(), &told.pids[..]), (Some("EXDEV"), &[1][..]));
                assert!(told.message.ends_with("something else is mounted there"));
                assert!(!document.complete);
            };
            match file {
                "status" => {
                    said("process-unreadable");
                    assert!(document.find_process(1).is_none());
                }
                "cgroup" => said("cgroup-unreadable"),
                // pidns can determine the namespace of process 2 without the other files.
                _ => assert_eq!(document.home(2).init, Some(1)),
            }
            assert!(document.find_process(2).is_some());
        }
    }
}

#[test]
fn refuses_the_status_of_another_process() {
    needs!(Namespaces, Program("python3"));
    // pidns must not read a file that is mounted over a file in /proc. openat2(2) refuses to open
    // such a file. Without openat2(2), pidns notices the wrong PID in it.
    let script = "mount --bind /proc/1/status /proc/2/status;";
    let (_running, init) = hostile(script);
    let procfs = format!("/proc/{init}/root/proc");
    let command = [PIDNS, "-q", "-f", "json", "--procfs", &procfs];
    for output in [pidns(&command[1..]), run(&mut without("437", &command))] {
        let document = Document::read(&stdout(&output));
        assert!(document.find_process(2).is_none());
        assert_eq!(document.process(1).nspid, [1]);
        let told = document.diagnostic("process-unreadable").expect("is reported");
        assert_eq!((told.errno.as_deref(), &told.pids[..]), (Some("EXDEV"), &[2][..]));
    }
}

#[test]
fn does_not_trust_a_link_that_a_container_made() {
    needs!(Namespaces);
    let other = nest(1);
    let script = "mount -t tmpfs none /proc/2/ns; ln -s 'pid:[INODE]' /proc/2/ns/pid;";
    let claimed = namespace_of(other.1[0]);
    let (_running, init) = hostile(&script.replace("pid:[INODE]", &claimed));
    for scope in ["processes", "processes,children,fds,mounts"] {
        let procfs = format!("/proc/{init}/root/proc");
        let document = Document::of(&["--search", scope, "--procfs", &procfs]);
        let told = document.diagnostic("process-unreadable").expect("is reported");
        assert_eq!((told.errno.as_deref(), &told.pids[..]), (Some("EXDEV"), &[2][..]));
        assert!(document.find_process(2).is_none());
        assert_eq!(document.home(1).id, namespace_of(init));
    }
}

/// Shell script that covers the process `$1` by a mount, and the status of the process `$2`, and then
/// executes the other arguments.
const COVER: &str = "mount -t tmpfs none /proc/$1; mount --bind /proc/self/status /proc/$2/status; \
     shift 2; exec \"$@\"";

#[test]
fn a_process_covered_by_a_mount_is_shown_all_the_same() {
    needs!(Namespaces);
    let (running, inits) = nest(1);
    let pids = [running.pid(), inits[0]];
    let [one, two] = pids.map(|pid| pid.to_string());
    let works = pidns(&["--collector", "bpf", "--search", "processes"]).status.success();
    let collectors: &[&str] = if works { &["proc", "bpf"] } else { &["proc"] };
    for collector in collectors {
        for search in ["processes", "processes,children,fds,mounts"] {
            let command = [PIDNS, "-q", "-f", "json", "--collector", collector, "--search", search];
            let arguments = [&[&*one, &two], &command[..]].concat();
            let output = run(&mut in_mount_namespace(COVER, &arguments));
            let document = Document::read(&stdout(&output));
            assert_eq!(document.process(pids[0]).comm, "unshare");
            assert_eq!(document.process(pids[1]).nspid, nspid(pids[1]));
            let namespace = document.home(pids[1]);
            assert_eq!(namespace.id, namespace_of(pids[1]));
            assert_eq!((namespace.state.as_str(), namespace.init), ("live", Some(pids[1])));
            assert!(document.diagnostic("process-unreadable").is_none());
        }
    }
}

#[test]
fn a_process_covered_by_a_mount_is_reported_if_no_other_procfs_can_be_made() {
    needs!(Namespaces);
    let (running, inits) = nest(1);
    let (one, two) = (running.pid().to_string(), inits[0].to_string());
    for scope in ["processes", "processes,children,fds,mounts"] {
        let arguments = [
            &*one,
            &two,
            "setpriv",
            "--bounding-set=-sys_admin",
            "--inh-caps=-all",
            PIDNS,
            "-q",
            "-f",
            "json",
            "--collector",
            "proc",
            "--search",
            scope,
        ];
        let document = Document::read(&stdout(&run(&mut in_mount_namespace(COVER, &arguments))));
        let told = document.diagnostic("process-unreadable").expect("is reported");
        assert_eq!(told.errno.as_deref(), Some("EXDEV"));
        for pid in [running.pid(), inits[0]] {
            assert!(told.pids.contains(&pid) && document.find_process(pid).is_none(), "{pid}");
        }
        assert!(!document.complete);
    }
}

#[test]
fn recognizes_its_own_proc_under_another_path() {
    needs!(Namespaces);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("proc");
    std::os::unix::fs::symlink("/proc", &path).unwrap();
    let document = Document::of(&["--procfs", path.to_str().unwrap()]);
    assert!(document.procfs.own);
    assert_eq!(document.procfs.namespace, Some(namespace_of(std::process::id())));
}
