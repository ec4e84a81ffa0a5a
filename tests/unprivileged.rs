//! What may not be read: as nobody, behind hidepid, in a container's view of
//! the host; placed rightly or not at all.

mod common;

use std::collections::BTreeMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt as _;
use std::process::{Command, Output};

use common::*;

/// Runs pidns as nobody.
fn as_nobody(arguments: &[&str]) -> Output {
    let (_dir, program) = public_copy();
    let mut command = Command::new("setpriv");
    run(command
        .args(["--reuid=65534", "--regid=65534", "--clear-groups", &program])
        .args(arguments))
}

/// The program where anyone may execute it; its own directory may be closed.
fn public_copy() -> (tempfile::TempDir, String) {
    let dir = tempfile::tempdir().unwrap();
    std::fs::set_permissions(dir.path(), Permissions::from_mode(0o755)).unwrap();
    let program = dir.path().join("pidns");
    std::fs::copy(PIDNS, &program).unwrap();
    (dir, program.into_os_string().into_string().unwrap())
}

/// Where every process really is, as root reads it: namespace and level.
fn truth() -> BTreeMap<u32, (String, usize)> {
    let pids = std::fs::read_dir("/proc").unwrap();
    pids.filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok())
        .filter_map(|pid| Some((pid, (link(format!("/proc/{pid}/ns/pid"))?, nspid(pid).len() - 1))))
        .collect()
}

/// Compares the places of `pids` with the truth; returns how many were placed.
fn compare(document: &Document, truth: &BTreeMap<u32, (String, usize)>, pids: &[u32]) -> usize {
    // A namespace that was not read goes by its init: which one is that?
    let real = |id: &str| match id.strip_prefix("pid:[?") {
        None => id.to_owned(),
        Some(pid) => truth[&pid.trim_end_matches(']').parse().unwrap()].0.clone(),
    };
    let mut placed = 0;
    for pid in pids {
        let process = document.process(*pid);
        let Some(id) = &process.namespace else { continue };
        placed += 1;
        let (expected, level) = &truth[pid];
        assert_eq!(&real(id), expected, "{pid} is in the wrong place");
        let namespace = document.namespace(id);
        if namespace.parent.is_some() || *level == 0 {
            assert_eq!(namespace.level, *level, "{pid}");
        }
        if let Some(parent) = &namespace.parent {
            // Some process of the parent tells whether that is right.
            let above = truth.iter().find(|(_, (id, _))| *id == real(parent));
            let (_, (_, above)) = above.expect("a parent with processes");
            assert_eq!(above + 1, *level, "the parent of {id}");
        }
    }
    placed
}

#[test]
fn nobody_sees_every_process_placed_where_nothing_was_injected() {
    if !is_root() {
        return;
    }
    let forests: Vec<_> = (1..=4).map(nest).collect();
    let truth = truth();
    let output = as_nobody(&["-f", "json"]);
    let document = Document::read(&stdout(&output));
    assert!(!document.complete);
    let mut pids = Vec::new();
    for (_, inits) in &forests {
        for (depth, &init) in inits.iter().enumerate() {
            pids.push(init);
            pids.extend(children(init));
            let namespace = document.home(init);
            assert_eq!(namespace.id, format!("pid:[?{init}]"));
            assert_eq!((namespace.inode, namespace.evidence.as_str()), (None, "inferred"));
            assert_eq!(namespace.init, Some(init));
            let parent = match depth {
                0 => document.procfs.namespace.clone(),
                _ => Some(format!("pid:[?{}]", inits[depth - 1])),
            };
            assert_eq!(namespace.parent, parent);
            assert_eq!(document.process(init).evidence, "inferred");
        }
    }
    assert_eq!(compare(&document, &truth, &pids), pids.len());
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert!(
        stderr.starts_with("pidns: the view is incomplete: cannot read the namespace links of ")
            && stderr
                .contains("; run as root of the host, or with CAP_SYS_PTRACE, to see it; and "),
        "{stderr}"
    );
    assert_eq!(stderr.lines().count(), 1);
    assert_eq!(as_nobody(&["-q", "--strict"]).status.code(), Some(3));
}

/// Numbers that only look random, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[test]
fn in_twenty_random_forests_nothing_injected_is_placed_wrongly() {
    if !is_root() {
        return;
    }
    let (mut injected_placed, mut injected_all) = (0, 0);
    for seed in 0..20 {
        let mut random = Random(seed);
        let forests: Vec<_> = (0..=random.below(3)).map(|_| nest(1 + random.below(4))).collect();
        let inits: Vec<u32> = forests.iter().flat_map(|(_, inits)| inits.clone()).collect();
        let injectors: Vec<_> = (0..=random.below(5))
            .map(|_| {
                let target = inits[random.below(inits.len())];
                // Some from the host, some from inside another namespace; some
                // whose parent goes, some that lead a session there.
                let inner: &[&str] = match random.below(3) {
                    0 => &["sleep", "600"],
                    1 => &["setsid", "sleep", "600"],
                    _ => &["bash", "-c", "sleep 600 & sleep 600"],
                };
                let target = target.to_string();
                let mut command = Command::new("nsenter");
                Running::spawn(command.args(["-t", &target, "-p"]).args(inner))
            })
            .collect();
        for injector in &injectors {
            until("it is in", || {
                children(injector.pid()).iter().any(|&pid| comm(pid) != "nsenter")
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        let injected: Vec<u32> = injectors
            .iter()
            .flat_map(|it| children(it.pid()))
            .flat_map(|pid| [vec![pid], children(pid)].concat())
            .collect();
        let mut rest = inits.clone();
        rest.extend(inits.iter().flat_map(|&init| children(init)));
        rest.extend(injectors.iter().map(Running::pid));
        let truth = truth();
        let document = Document::read(&stdout(&as_nobody(&["-q", "-f", "json"])));
        injected_placed += compare(&document, &truth, &injected);
        injected_all += injected.len();
        compare(&document, &truth, &rest);
        let ambiguous = document.processes.iter().filter(|it| it.namespace.is_none()).count();
        let told = document.diagnostic("processes-ambiguous").map_or(0, |it| it.pids.len());
        assert_eq!(ambiguous, told);
        if ambiguous > 0 {
            let text = String::from_utf8(as_nobody(&["-q"]).stdout).unwrap();
            assert!(text.contains("\nunknown  "), "{text}");
        }
    }
    eprintln!("{injected_placed} of {injected_all} injected processes were placed");
    assert!(injected_placed > 0);
}

/// A procfs mounted with options in a mount namespace of its own, where nobody runs.
fn with_hidepid(option: &str, arguments: &str) -> Output {
    let (dir, program) = public_copy();
    let at = dir.path().join("proc");
    std::fs::create_dir(&at).unwrap();
    let script = "mount --make-rprivate /; mount -t proc -o $0 proc $1 && \
         exec setpriv --reuid=65534 --regid=65534 --clear-groups $2 --procfs $1 $3";
    let at = at.to_str().unwrap();
    run(Command::new("unshare").args(["-m", "bash", "-c", script, option, at, &program, arguments]))
}

#[test]
fn behind_hidepid_what_is_hidden_is_said_to_be() {
    if !is_root() {
        return;
    }
    let (_running, inits) = nest(2);
    let document = Document::read(&stdout(&with_hidepid("hidepid=1", "-q -f json")));
    assert!(!document.complete);
    assert!(document.find_process(inits[0]).is_none());
    let told = document.diagnostic("process-unreadable").expect("is told");
    assert!(told.pids.contains(&inits[0]) && told.pids.contains(&inits[1]));
    assert_eq!(told.errno.as_deref(), Some("EPERM"));
    for option in ["hidepid=2", "hidepid=4"] {
        let document = Document::read(&stdout(&with_hidepid(option, "-q -f json")));
        assert!(!document.complete, "{option}");
        assert!(document.find_process(inits[0]).is_none());
        assert!(document.diagnostic("processes-hidden").is_some());
    }
    let output = with_hidepid("hidepid=2", "--strict");
    assert_eq!(output.status.code(), Some(3));
    assert!(String::from_utf8_lossy(&output.stderr).contains("hidepid"));
}

#[test]
fn root_is_not_hindered_by_hidepid() {
    if !is_root() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    let script = "mount --make-rprivate /; mount -t proc -o hidepid=2 proc $0 && exec $1 --search processes --strict -f json --procfs $0";
    let output = run(Command::new("unshare").args(["-m", "bash", "-c", script, at, PIDNS]));
    assert!(Document::read(&stdout(&output)).complete);
}

#[test]
fn a_container_with_the_host_s_proc_sees_one_tree() {
    if !is_root() {
        return;
    }
    let (_running, inits) = nest(3);
    let dir = tempfile::tempdir().unwrap();
    let at = dir.path().to_str().unwrap();
    // Its own /proc in place, the host's elsewhere.
    let script = "mount --make-rprivate /; mount --rbind /proc \"$0\"; \
         exec unshare -pf --mount-proc --kill-child $1 -q -f json --procfs \"$0\"";
    let output = run(Command::new("unshare").args(["-m", "bash", "-c", script, at, PIDNS]));
    let document = Document::read(&stdout(&output));
    assert!(!document.procfs.own && !document.complete);
    assert_eq!(document.procfs.path, at);
    let host = namespace_of(std::process::id());
    assert_eq!(document.procfs.namespace.as_ref(), Some(&host));
    assert_eq!(document.roots, [host], "{:?}", document.namespaces);
    for (depth, &init) in inits.iter().enumerate() {
        let namespace = document.home(init);
        assert_eq!(namespace.id, namespace_of(init));
        assert_eq!((namespace.level, namespace.evidence.as_str()), (depth + 1, "inferred"));
        assert_eq!(document.process(init).nspid, nspid(init));
    }
    assert!(document.diagnostic("parents-inferred").is_some());
}

#[test]
fn a_container_s_proc_seen_from_the_host_climbs_to_the_host() {
    if !is_root() {
        return;
    }
    let script = "sleep 600 & unshare -pf --kill-child sleep 600 & echo ready; wait";
    let (running, _) = start_command(Command::new("unshare").args([
        "-pf",
        "--mount-proc",
        "--kill-child",
        "bash",
        "-c",
        script,
    ]));
    let init = children(running.pid())[0];
    until("three levels", || children(init).iter().any(|&pid| !children(pid).is_empty()));
    let document = Document::of(&["--procfs", &format!("/proc/{init}/root/proc")]);
    assert!(!document.procfs.own);
    let host = namespace_of(std::process::id());
    let container = namespace_of(init);
    assert_eq!(document.roots, std::slice::from_ref(&host));
    assert_eq!(document.procfs.namespace.as_ref(), Some(&container));
    assert_eq!(document.namespace(&container).parent.as_ref(), Some(&host));
    assert_eq!(document.namespace(&host).state, "live");
    assert!(document.namespace(&host).members.is_empty());
    assert_eq!(document.process(1).nspid, [1]);
    assert_eq!(document.home(1).id, container);
    assert_eq!(document.home(1).init, Some(1));
    let deepest = document.processes.iter().find(|it| it.nspid.len() == 2).expect("is nested");
    let deepest = document.home(deepest.pid);
    assert_eq!((deepest.level, deepest.parent.as_ref()), (2, Some(&container)));
}

#[test]
fn root_of_an_unprivileged_user_namespace_gets_the_truth_on_the_host_s_proc() {
    if !is_root() {
        return;
    }
    let (_running, inits) = nest(2);
    let (_dir, program) = public_copy();
    let mut command = Command::new("setpriv");
    command.args([
        "--reuid=65534",
        "--regid=65534",
        "--clear-groups",
        "unshare",
        "-Upf",
        "--map-root-user",
    ]);
    let output = run(command.arg(program).args(["-f", "json"]));
    let document = Document::read(&stdout(&output));
    assert!(!document.complete && !document.procfs.own);
    for (depth, &init) in inits.iter().enumerate() {
        assert_eq!(document.home(init).level, depth + 1);
        assert_eq!(document.home(init).id, format!("pid:[?{init}]"));
    }
    let viewer =
        document.processes.iter().find(|it| it.comm.starts_with("pidns") && it.nspid.len() == 2);
    assert_eq!(document.home(viewer.expect("sees itself").pid).level, 1);
    assert!(String::from_utf8_lossy(&output.stderr).contains("run as root of the host"));
}

#[test]
fn thirty_two_levels_are_all_that_the_kernel_has_and_all_are_placed() {
    if !is_root() {
        return;
    }
    let (_running, inits) = nest(32);
    for document in [Document::of(&[]), Document::read(&stdout(&as_nobody(&["-q", "-f", "json"])))]
    {
        let deepest = document.process(inits[31]);
        assert_eq!(deepest.nspid.len(), 33);
        assert_eq!(document.home(inits[31]).level, 32);
    }
}
