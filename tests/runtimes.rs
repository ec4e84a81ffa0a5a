//! Tests that pidns names the containers of real runtimes: Docker, containerd (also through the CRI,
//! as the kubelet uses it) and podman.

mod common;

use common::Need::*;
use common::runtimes::Runtime;
use common::*;

/// Options of `docker run` and `podman run` for a container with the programs of the host.
const CONTAINER: [&str; 5] = ["-d", "--network", "none", "-v", "/usr:/usr:ro"];

/// Shows the namespaces of a runtime, with IDs, PIDs and inodes replaced by `ID`, `PID` and `NS`.
fn shown(runtime: &Runtime, arguments: &[&str]) -> String {
    let output = runtime.pidns(&[&["-q"], arguments].concat());
    stdout(&output)
}

/// Returns the container of the namespace whose init has this name, as `RUNTIME NAME POD`.
fn named(container: Option<&Container>) -> String {
    let Some(Container { runtime, name, pod, .. }) = container else { return "none".to_owned() };
    let or = |text: &Option<String>| text.clone().unwrap_or_else(|| "-".to_owned());
    match pod {
        Some(pod) => format!("{runtime} {} {}/{}", or(name), or(&pod.namespace), or(&pod.name)),
        None => format!("{runtime} {}", or(name)),
    }
}

/// Returns the init of each namespace below the runtime's, with its container.
fn inits(document: &Document) -> Vec<String> {
    let below = document.namespaces.iter().filter(|it| it.level != Some(0));
    let describe = |it: &Namespace| {
        let comm = it.init.map_or("-", |init| &document.process(init).comm);
        format!("{comm}: {}", named(it.container.as_ref()))
    };
    let mut inits: Vec<_> = below.map(describe).collect();
    inits.sort_unstable();
    inits
}

/// Returns the processes that belong to another container than the init of their namespace does.
fn guests(document: &Document) -> Vec<String> {
    let guests = document.processes.iter().filter_map(|process| {
        let container = process.container.as_ref()?;
        Some(format!("{}: {}", process.comm, named(Some(container))))
    });
    let mut guests: Vec<_> = guests.collect();
    guests.sort_unstable();
    guests
}

#[test]
fn names_docker_containers() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    let docker = Runtime::start("docker");
    let start = |arguments: &[&str]| docker.client(&[&["run"], &CONTAINER[..], arguments].concat());
    let web = start(&["--name", "web", "base", "sleep", "600"]);
    let both = "sleep 601 & exec sleep 602";
    let side = start(&["--name", "side", "--pid", "container:web", "base", "bash", "-c", both]);
    docker.client(&["exec", "-d", "web", "sleep", "603"]);
    start(&["--name", "host", "--pid", "host", "base", "sleep", "600"]);
    let tini_id = start(&["--name", "tini", "--init", "--pids-limit", "7", "base", "sleep", "600"]);
    start(&["--name", "frozen", "base", "sleep", "600"]);
    docker.client(&["pause", "frozen"]);
    start(&["--name", "killed", "base", "sleep", "600"]);
    docker.client(&["kill", "killed"]);

    let document = docker.document(&[]);
    let expected = ["docker-init: docker tini", "sleep: docker frozen", "sleep: docker web"];
    assert_eq!(inits(&document), expected);
    let expected = ["sleep: docker host", "sleep: docker side", "sleep: docker side"];
    assert_eq!(guests(&document), expected);
    // With cgroups, pidns finds the same processes.
    assert_eq!(guests(&docker.document(&["--details", "cgroup"])), expected);
    assert_eq!(guests(&docker.document(&["--collector", "proc"])), expected);

    let tini = document
        .namespaces
        .iter()
        .find(|it| it.container.as_ref().is_some_and(|it| it.id == tini_id));
    let tini = tini.and_then(|it| it.init).unwrap();
    let paused = shown(&docker, &["--container", "frozen"]);
    assert_eq!(paused.matches(" sleep, frozen\n").count(), 1, "{paused}");
    let (web_id, side_id) = (&web[..12], &side[..12]);
    let text = shown(&docker, &["--container", "web"]);
    let heading =
        format!("  sleep, docker web ({web_id}), 4 processes, 2 of docker side ({side_id})\n");
    assert!(text.contains(&heading), "{text}");
    assert_eq!(text.matches(&format!(" sleep, of docker side ({side_id})\n")).count(), 2, "{text}");
    assert_eq!(text.matches(" sleep, entered by ").count(), 1, "{text}");

    // A name, a prefix of an ID and a saved document lead to the same container.
    let path = docker.dir.path().join("saved");
    std::fs::write(&path, stdout(&docker.pidns(&["-q", "-f", "json"]))).unwrap();
    let path = path.to_str().unwrap();
    let members = |arguments: &[&str]| {
        let document = docker.document(arguments);
        document.processes.iter().map(|it| it.pid).collect::<Vec<_>>()
    };
    let of_side = members(&["--container", "side"]);
    assert_eq!(of_side.len(), 2);
    assert_eq!(members(&["--container", side_id]), of_side);
    assert_eq!(members(&["-i", path, "--container", "side"]), of_side);
    assert_eq!(members(&["--container", "web"]).len(), 4);
    let output = docker.pidns(&["--container", "sid"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
    let none = "pidns: nothing matches container sid\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), none);

    let limits = shown(&docker, &["limits", &tini.to_string()]);
    assert!(limits.contains(&format!("cgroup /docker/{tini_id} has 2 of 7 tasks")), "{limits}");
}

/// Returns the findings of `pidns check` about what is new since the saved document `path`.
fn findings_since(runtime: &Runtime, path: &str) -> Vec<serde_json::Value> {
    let output = runtime.pidns(&["check", "-q", "-f", "json", "--since", path]);
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    report["findings"].as_array().unwrap().clone()
}

/// Returns each different advice of `pidns check` about what is new since the saved document `path`.
fn advice_since(runtime: &Runtime, path: &str) -> Vec<String> {
    let findings = findings_since(runtime, path);
    let advice = findings.iter().flat_map(|it| it["advice"].as_array().unwrap());
    let mut advice: Vec<_> = advice.map(|it| it.as_str().unwrap().to_owned()).collect();
    advice.sort_unstable();
    advice.dedup();
    advice
}

/// Saves a document about a runtime, and returns its path.
fn save(runtime: &Runtime) -> String {
    let path = runtime.dir.path().join("before");
    std::fs::write(&path, stdout(&runtime.pidns(&["-q", "-f", "json"]))).unwrap();
    path.to_str().unwrap().to_owned()
}

/// Runs an advised command of the runtime's client. The tests use daemons and directories that are
/// not the default ones, so the client needs more options.
fn follow(runtime: &Runtime, command: &str) {
    let command = command.split_once(" # ").map_or(command, |(command, _)| command);
    if command.starts_with("kill ") {
        stdout(&run(runtime.command("sh").args(["-c", command])));
        return;
    }
    let arguments: Vec<_> = command.split(' ').skip(1).collect();
    runtime.client(&arguments);
}

#[test]
fn the_advice_stops_a_docker_container_that_restarts() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    let docker = Runtime::start("docker");
    let start = |name: &str| {
        let options = ["--restart", "always", "--init", "--name", name, "base", "sleep", "600"];
        docker.client(&[&["run"], &CONTAINER[..], &options].concat())
    };
    start("old");
    let before = save(&docker);
    let web = start("web");
    let paused = start("paused");
    docker.client(&["pause", "paused"]);
    let stop = format!("docker stop {} # web", &web[..12]);
    let both = ["stop", "unpause"].map(|it| format!("docker {it} {} # paused", &paused[..12]));
    let mut expected = [&both[..], &[stop]].concat();
    expected.sort_unstable();
    assert_eq!(advice_since(&docker, &before), expected);
    follow(&docker, &both[1]);
    let state = docker.client(&["inspect", "-f", "{{.State.Status}}", "paused"]);
    assert_eq!(state, "running");
    expected.retain(|it| *it != both[1]);
    assert_eq!(advice_since(&docker, &before), expected);
    for command in expected {
        follow(&docker, &command);
    }
    assert!(advice_since(&docker, &before).is_empty());

    // Only one process of a container that is older was left behind.
    docker.client(&["exec", "-d", "old", "sleep", "603"]);
    let advice = advice_since(&docker, &before);
    let [kill] = &advice[..] else { panic!("{advice:?}") };
    assert!(kill.starts_with("kill ") && kill.contains(" # part of 'docker old ("), "{kill}");
    stdout(&run(docker.command("bash").args(["-c", kill])));
    until("the leftover is gone", || advice_since(&docker, &before).is_empty());
}

/// Restarts a container that is older than the saved document, and checks that its processes are not
/// denied. A process that `exec` starts in the container is a leftover.
fn restart_an_older_container(runtime: &Runtime, options: &[&str], namespaces: usize) {
    let id = runtime.client(&[&["run"], &CONTAINER[..], options].concat());
    let before = save(runtime);
    let name = format!(" old ({})", &id[..12]);
    runtime.client(&["restart", "-t", "0", "old"]);
    let children = || {
        let document = runtime.document(&["--container", "old"]);
        document.processes.iter().filter(|it| it.comm == "sleep").count()
    };
    until("the container runs", || children() == 2);
    for options in [&[][..], &["--wait", "1"]] {
        let check = ["check", "-q", "--since", &before];
        let text = stdout(&runtime.pidns(&[&check[..], options].concat()));
        let lines = |code: &str| {
            let warning = format!("warning leftover-{code}: ");
            let lines = text.lines().filter(|it| it.starts_with(&warning) && it.contains(&name));
            lines.filter(|it| it.contains(" may have been restarted")).count()
        };
        // The new processes are the monitor of the container, `bash`, and the children of `bash`.
        assert_eq!((lines("process"), lines("namespace")), (4, namespaces), "{text}");
        assert!(text.ends_with(&format!("\n{} warnings.\n", 4 + namespaces)), "{text}");
        assert!(!text.contains(" stop ") && !text.contains("kill "), "{text}");
    }
    runtime.client(&["exec", "-d", "old", "sleep", "603"]);
    let findings = findings_since(runtime, &before);
    let mut denied = findings.iter().filter(|it| it["verdict"] == "deny");
    assert!(denied.any(|it| it["message"].as_str().unwrap().contains(" sleep ")), "{findings:?}");
    let advice = advice_since(runtime, &before);
    assert!(!advice.is_empty() && advice.iter().all(|it| it.starts_with("kill ")), "{advice:?}");
}

/// Allows one of two new containers, which includes its monitor.
fn allow_a_container(runtime: &Runtime) {
    let before = save(runtime);
    for name in ["allowed", "other"] {
        let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
        let command = ["--name", name, "base", "sleep", "600"];
        runtime.client(&[&["run"], &CONTAINER[..], &limits, &command].concat());
    }
    let check =
        ["check", "-q", "--since", &before, "--allow", "leftover-process:container=allowed"];
    let output = runtime.pidns(&[&check[..], &["-f", "json"]].concat());
    let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let findings = report["findings"].as_array().unwrap().iter();
    let denied = findings.filter(|it| it["verdict"] == "deny").map(|it| &it["message"]);
    let denied: Vec<_> = denied.map(ToString::to_string).collect();
    // The other container's monitor, process and namespace.
    assert_eq!(denied.len(), 3, "{denied:?}");
    assert!(!denied.iter().any(|it| it.contains("allowed")), "{denied:?}");
    // A rule for the processes in a container allows its monitor, too.
    let check = ["check", "-q", "--since", &before, "--allow", "leftover-process:comm=sleep"];
    assert_eq!(stdout(&runtime.pidns(&check)), "Nothing is wrong.\n");
    // A filter hides the containers that would end with their monitors.
    let output = runtime.pidns(&["check", "-q", "--since", &before, "--comm", "con*"]);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.starts_with("DENIED leftover-process: ") && !text.contains("kill"), "{text}");
}

#[test]
fn a_rule_that_allows_a_docker_container_allows_its_monitor() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    allow_a_container(&Runtime::start("docker"));
}

#[test]
fn a_rule_that_allows_a_podman_container_allows_its_monitor() {
    needs!(Initial("cgroup"), Program("podman"), Program("runc"));
    allow_a_container(&Runtime::start("podman"));
}

/// The command of an older container: an init with two children.
const OLD: [&str; 6] =
    ["--name", "old", "base", "bash", "-c", "sleep 600 & sleep 600 & trap exit TERM; wait"];

#[test]
fn an_older_docker_container_that_was_restarted_is_only_warned_about() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    let docker = Runtime::start("docker");
    restart_an_older_container(&docker, &OLD, 1);
    docker.client(&["rm", "-f", "old"]);
    restart_an_older_container(&docker, &[&["--pid=host"], &OLD[..]].concat(), 0);
}

#[test]
fn a_restarted_container_is_recognized_in_snapshots_of_root_and_nobody() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    let docker = Runtime::start("docker");
    let (copy, program) = public_copy();
    let as_nobody = |arguments: &[&str]| {
        let command = format!("exec {} {program} -q \"$@\"", nobody());
        run(docker.command("bash").args(["-c", &command, "bash"]).args(arguments))
    };
    let start = |name: &str, option: &str| {
        let options = [option, "--name", name, "base", "bash", "-c", "sleep 600 & wait"];
        docker.client(&[&["run"], &CONTAINER[..], &options].concat());
    };
    docker.client(&[&["run"], &CONTAINER[..], &["--name", "web", "base", "sleep", "600"]].concat());
    // The init of `web` does not reap the earlier processes of `guest`.
    start("guest", "--pid=container:web");
    start("placed", "--cgroup-parent=/ci");
    let before = [save(&docker), copy.path().join("before").display().to_string()];
    std::fs::write(&before[1], as_nobody(&["-f", "json"]).stdout).unwrap();
    docker.client(&["restart", "-t", "0", "guest", "placed"]);
    let children = || {
        let processes = docker.document(&[]).processes;
        processes.iter().filter(|it| it.comm == "sleep" && it.state != "Z").count()
    };
    // Two are those of `web` and of the runtime.
    until("the containers run", || children() == 4);
    for path in &before {
        let check = ["check", "--comm", "[bs]*", "--since", path];
        for output in [docker.pidns(&check), as_nobody(&check)] {
            let text = String::from_utf8(output.stdout).unwrap();
            let restarted = text.lines().filter(|it| it.contains(" may have been restarted"));
            assert!(!text.contains("DENIED") && restarted.count() >= 4, "{path} {text}");
        }
    }
}

#[test]
fn an_older_podman_container_that_was_restarted_is_only_warned_about() {
    needs!(Initial("cgroup"), Program("podman"), Program("runc"));
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
    restart_an_older_container(&Runtime::start("podman"), &[&limits, &OLD[..]].concat(), 1);
}

#[test]
fn the_advice_stops_a_docker_container_that_shares_a_pid_namespace() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    let docker = Runtime::start("docker");
    let start = |name: &str, pid: &str| {
        let options = [pid, "--restart", "always", "--name", name, "base", "sleep", "600"];
        docker.client(&[&["run"], &CONTAINER[..], &options].concat())
    };
    docker.client(&[&["run"], &CONTAINER[..], &["--name", "old", "base", "sleep", "600"]].concat());
    start("shared", "--pid=host");
    let before = save(&docker);
    let mut expected = [("host", "--pid=host"), ("guest", "--pid=container:old")].map(|it| {
        let id = start(it.0, it.1);
        format!("docker stop {} # {}", &id[..12], it.0)
    });
    expected.sort_unstable();
    assert_eq!(advice_since(&docker, &before), expected);
    // A filter may hide other processes of the container.
    let filter = ["check", "-q", "--comm", "sleep", "--since", &before];
    let text = String::from_utf8(docker.pidns(&filter).stdout).unwrap();
    assert!(text.contains("  kill ") && !text.contains("docker stop"), "{text}");
    for command in &expected {
        follow(&docker, command);
    }
    assert!(advice_since(&docker, &before).is_empty());
    // Only one process of an older container was left behind.
    docker.client(&["exec", "-d", "shared", "sleep", "603"]);
    let advice = advice_since(&docker, &before);
    let [kill] = &advice[..] else { panic!("{advice:?}") };
    assert!(kill.starts_with("kill ") && kill.contains(" # part of 'docker shared ("), "{kill}");
}

#[test]
fn the_advice_does_not_stop_an_older_docker_container() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    let docker = Runtime::start("docker");
    // An init that SIGTERM ends.
    let script = "trap exit TERM; sleep 600 & wait";
    let old = ["--name", "old", "base", "bash", "-c", script];
    docker.client(&[&["run"], &CONTAINER[..], &old].concat());
    let before = save(&docker);
    let socket = docker.dir.path().join("sock").display().to_string();
    let attach =
        format!("timeout 600 docker -H unix://{socket} attach --no-stdin old > /dev/null 2>&1 &");
    stdout(&run(docker.command("bash").args(["-c", &attach])));
    let advice = || advice_since(&docker, &before);
    until("the client is attached", || advice().len() == 2);
    for kill in advice() {
        assert!(kill.starts_with("kill -KILL "), "{kill}");
        follow(&docker, &kill);
    }
    until("the client has ended", || advice().is_empty());
    let document = docker.document(&["--container", "old"]);
    assert!(document.processes.iter().any(|it| it.comm == "sleep"), "{:?}", document.processes);
    docker.client(&["exec", "-d", "old", "sleep", "603"]);
    docker.client(&["pause", "old"]);
    let paused = advice();
    assert!(paused.iter().any(|it| it.starts_with("unpause docker old (")), "{paused:?}");
    assert!(!paused.iter().any(|it| it.starts_with("docker ")), "{paused:?}");
    docker.client(&["unpause", "old"]);
    follow(&docker, &advice()[0]);
    until("the leftover has ended", || advice().is_empty());
}

#[test]
fn the_advice_unpauses_a_docker_container() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    let docker = Runtime::start("docker");
    // The init does not reap its child.
    let command = ["--name", "web", "base", "bash", "-c", "sleep 0 & exec sleep 600"];
    let web = docker.client(&[&["run"], &CONTAINER[..], &command].concat());
    let frozen = || shown(&docker, &["check"]);
    until("there is a zombie", || frozen().contains(" zombie: "));
    docker.client(&["pause", "web"]);
    let text = frozen();
    let unpause = format!("docker unpause {} # web", &web[..12]);
    assert!(text.contains(" is frozen and does not reap its child "), "{text}");
    let advised = text.lines().filter(|it| it.starts_with("  ")).collect::<Vec<_>>();
    assert!(advised.iter().all(|it| it.trim_start() == unpause), "{text}");
    follow(&docker, &unpause);
    until("the container is not frozen", || !frozen().contains("frozen"));
    docker.client(&["exec", "web", "true"]);
}

#[test]
fn names_containers_in_a_docker_container() {
    needs!(
        Initial("cgroup"),
        Program("dockerd"),
        Program("docker"),
        Program("runc"),
        Program("ps")
    );
    let docker = Runtime::start("docker");
    let dir = docker.dir.path().to_str().unwrap();
    let volume = format!("{dir}:{dir}");
    // The kernel may lack the capability SYS_RESOURCE, which `--privileged` requires.
    let daemon = format!(
        "for dir in /sys/fs/cgroup /sys/fs/cgroup/*/; do mount -o remount,rw,bind $dir; done; \
         exec dockerd --data-root {dir}/inner --storage-driver vfs --iptables=false --bridge none"
    );
    let options = ["--cap-add", "ALL", "--cap-drop", "SYS_RESOURCE", "--name", "outer"];
    let unconfined =
        ["--security-opt", "seccomp=unconfined", "--security-opt", "systempaths=unconfined"];
    let apparmor = ["--security-opt", "apparmor=unconfined", "-v", &volume, "base"];
    let command = ["bash", "-c", &daemon];
    docker.client(&[&["run"], &CONTAINER[..], &options, &unconfined, &apparmor, &command].concat());
    let inner = |arguments: &[&str]| {
        run(docker
            .command("docker")
            .args(["-H", &format!("unix://{dir}/sock"), "exec", "outer", "docker"])
            .args(arguments))
    };
    until("the inner daemon works", || inner(&["version"]).status.success());
    stdout(&inner(&["import", &format!("{dir}/image.tar"), "base"]));
    stdout(&inner(
        &[&["run"], &CONTAINER[..], &["--name", "inner", "base", "sleep", "600"]].concat(),
    ));
    assert_eq!(inits(&docker.document(&[])), ["dockerd: docker outer", "sleep: docker inner"]);
    let (tree, _) = tree_that_agrees_with_ps();
    for container in ["docker outer", "docker inner"] {
        assert!(tree.contains(container), "{tree}");
    }
}

#[test]
fn names_containers_and_pods_of_containerd() {
    const SHARED: &str = "6ba7b810-9dad-11d1-80b4-00c04fd430c8";
    const APART: &str = "7a2c0b6e-1f7b-4a43-8f3f-0c4f2b1f9d55";

    needs!(
        Initial("cgroup"),
        Program("containerd"),
        Program("ctr"),
        Program("runc"),
        Program("cc")
    );
    let containerd = Runtime::start("containerd");
    let before = save(&containerd);
    let start = |namespace: &str, id: &str| {
        let usr = "type=bind,src=/usr,dst=/usr,options=rbind:ro";
        let run = ["-n", namespace, "run", "-d", "--snapshotter", "native", "--mount", usr];
        containerd.client(&[&run[..], &["localhost/base:latest", id, "sleep", "600"]].concat());
    };
    start("default", "web");
    start("prod", "db");
    let pod = |name: &str, uid: &str, pid_mode: &str, containers: &[&str]| {
        let mut command = containerd.command("/usr/bin/python3");
        command.arg(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/cri.py"));
        command.arg(containerd.dir.path().join("sock"));
        let cgroup = format!("/kubepods/burstable/pod{uid}");
        command.args(["shop", name, uid, &cgroup, pid_mode]).args(containers);
        stdout(&run(&mut command));
    };
    pod("web-0", SHARED, "0", &["app", "proxy"]);
    pod("web-1", APART, "1", &["app"]);

    let document = containerd.document(&[]);
    let expected = [
        "pause: containerd - shop/web-0",
        "pause: containerd - shop/web-1",
        "sleep: containerd -",
        "sleep: containerd -",
        "sleep: containerd app shop/web-1",
    ];
    assert_eq!(inits(&document), expected);
    let expected = ["sleep: containerd app shop/web-0", "sleep: containerd proxy shop/web-0"];
    assert_eq!(guests(&document), expected);
    let ids: Vec<_> = document.namespaces.iter().filter_map(|it| it.container.as_ref()).collect();
    assert!(["web", "db"].iter().all(|id| ids.iter().any(|it| it.id == *id)), "{ids:?}");

    // No advice kills the shim of a pod, which all containers of the pod share.
    let mut shims: Vec<_> = findings_since(&containerd, &before)
        .iter()
        .filter(|it| it["message"].as_str().is_some_and(|it| it.contains(" containerd-shim (")))
        .map(|it| it["advice"].as_array().unwrap().len())
        .collect();
    shims.sort_unstable();
    assert_eq!(shims, [0, 0, 1, 1]);

    let text = shown(&containerd, &["--container", "shop/web-0"]);
    assert!(text.contains("  pause, pod shop/web-0 (containerd "), "{text}");
    assert!(text.contains("), 3 processes, 2 of other containers\n"), "{text}");
    assert!(text.contains(" sleep, of app (containerd "), "{text}");
    assert_eq!(shown(&containerd, &["--container", "web-0"]), text);
    assert_eq!(shown(&containerd, &["--container", &SHARED[..8]]), text);
    let output = containerd.pidns(&["--container", "app"]);
    assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(stderr.starts_with("pidns: container app could mean pod shop/web-"), "{stderr}");
    assert_eq!(stderr.lines().count(), 1, "{stderr}");
}

#[test]
fn names_podman_containers() {
    needs!(Initial("cgroup"), Program("podman"), Program("runc"));
    let podman = Runtime::start("podman");
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
    let start = |arguments: &[&str]| {
        podman.client(&[&["run"], &CONTAINER[..], &limits, arguments].concat())
    };
    start(&["--name", "web", "base", "sleep", "600"]);
    start(&["--name", "side", "--pid", "container:web", "base", "sleep", "600"]);
    start(&["--name", "short", "--rm", "base", "sleep", "600"]);
    podman.client(&["exec", "-d", "web", "sleep", "601"]);
    let document = podman.document(&[]);
    assert_eq!(inits(&document), ["sleep: podman short", "sleep: podman web"]);
    assert_eq!(guests(&document), ["sleep: podman side"]);
    assert_eq!(
        document.processes.iter().filter(|it| it.comm == "sleep" && it.nspid.len() > 1).count(),
        4
    );
}

/// Runs checks in containers, which must not report their own clients.
fn check_in_containers(runtime: &Runtime) {
    let before = save(runtime);
    let dir = runtime.dir.path().display();
    let files =
        ["-v", &format!("{dir}:{dir}"), "-v", &format!("{PIDNS}:/pidns:ro")].map(str::to_owned);
    let files = files.each_ref().map(String::as_str);
    let limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"];
    let options = [&CONTAINER[1..], &files, &limits, &["--cap-add", "SYS_PTRACE"]].concat();
    let host = ["-v", "/proc:/host/proc:ro"];
    let check = ["/pidns", "check", "-q", "--deny", "leftover-process", "--since", &before];
    let procfs = ["--procfs", "/host/proc"];
    // The client succeeds only if the check denies nothing.
    let run = |options: &[&str]| runtime.client(&[&["run", "--rm"], options].concat());
    run(&[&options[..], &host, &["base"], &check, &procfs].concat());
    run(&[&options[..], &["--pid=host", "base"], &check].concat());
    let server = ["run", "-d", "--name", "server"];
    runtime.client(&[&server, &options[..], &host, &["base", "sleep", "600"]].concat());
    save(runtime);
    let exec = ["exec", "server"];
    runtime.client(&[&exec, &check[..], &procfs].concat());
}

#[test]
fn the_docker_client_of_a_check_is_no_leftover() {
    needs!(Initial("cgroup"), Program("dockerd"), Program("docker"), Program("runc"));
    check_in_containers(&Runtime::start("docker"));
}

#[test]
fn the_podman_client_of_a_check_is_no_leftover() {
    needs!(Initial("cgroup"), Program("podman"), Program("runc"));
    check_in_containers(&Runtime::start("podman"));
}

#[test]
fn the_advice_stops_a_podman_container_that_restarts() {
    needs!(Initial("cgroup"), Program("podman"), Program("runc"));
    let podman = Runtime::start("podman");
    let limits =
        ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000", "--stop-signal", "KILL"];
    let start = |name: &str| {
        let options = ["--restart", "always", "--name", name, "base", "sleep", "600"];
        podman.client(&[&["run"], &CONTAINER[..], &limits, &options].concat())
    };
    start("old");
    let before = save(&podman);
    let web = start("web");
    let stop = format!("podman stop {} # web", &web[..12]);
    assert_eq!(advice_since(&podman, &before), std::slice::from_ref(&stop));
    follow(&podman, &stop);
    until("the container is stopped", || advice_since(&podman, &before).is_empty());
    // `conmon` and its child are new, and the container is not. `conmon` ends with its child.
    podman.client(&["exec", "-d", "old", "sleep", "603"]);
    let advice = advice_since(&podman, &before);
    let [kill] = &advice[..] else { panic!("{advice:?}") };
    assert!(kill.starts_with("kill ") && kill.contains(" # part of 'podman old ("), "{kill}");
    follow(&podman, kill);
    until("the leftovers are gone", || advice_since(&podman, &before).is_empty());
}
