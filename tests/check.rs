//! Tests that `pidns check` finds the processes and namespaces that real jobs leave behind, on the
//! live host and in saved documents.

mod common;

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;
use serde_json::Value;

/// Runs `pidns check`, and asserts its exit status and an empty standard error. Returns its
/// standard output.
fn check(arguments: &[&str], status: i32) -> String {
    let output = pidns(&[&["check", "-q"], arguments].concat());
    let stderr = String::from_utf8_lossy(&output.stderr);
    let stdout = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}{stdout}");
    assert_eq!(stderr, "");
    stdout
}

/// Runs `pidns check`, and validates the report against the published schema. Returns the code,
/// verdict and PID of each finding.
fn findings(arguments: &[&str], status: i32) -> Vec<(String, String, Option<u64>)> {
    let text = check(&[&["-f", "json"], arguments].concat(), status);
    let report: Value = serde_json::from_str(&text).unwrap();
    let schema: Value =
        serde_json::from_str(include_str!("../schemas/pidns-check-1.schema.json")).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&report).map(|it| it.to_string()).collect();
    assert_eq!(errors, Vec::<String>::new());
    let text = |finding: &Value, key: &str| finding[key].as_str().unwrap().to_owned();
    let findings = report["findings"].as_array().unwrap().iter();
    findings.map(|it| (text(it, "code"), text(it, "verdict"), it["pid"].as_u64())).collect()
}

fn codes(findings: &[(String, String, Option<u64>)], verdict: &str) -> Vec<String> {
    findings.iter().filter(|it| it.1 == verdict).map(|it| it.0.clone()).collect()
}

#[test]
fn denies_a_jobs_leftovers_live_and_from_saved_documents() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let save = |name: &str| {
        fs::write(path(name), stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
        path(name)
    };
    let before = save("before");
    assert_eq!(findings(&["--since", &before], 0), []);
    let left = leave(Path::new(&path("namespace")));
    let after = save("after");
    for source in [&[][..], &["-i", &after]] {
        let since = [source, &["--since", &before]].concat();
        let found = findings(&since, 1);
        let expected = [
            "dead-namespace",
            "leftover-process",
            "leftover-process",
            "leftover-process",
            "leftover-namespace",
        ];
        assert_eq!(codes(&found, "deny"), expected, "{found:?}");
        assert_eq!(codes(&found, "warn"), ["zombie"]);
        let pids: Vec<_> = found.iter().filter_map(|it| it.2).collect();
        for pid in left.all() {
            assert!(pids.contains(&u64::from(pid)), "{pid} in {found:?}");
        }
        let lines = check(&[&since[..], &["-f", "ndjson"]].concat(), 1);
        let records: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let of_records = records[1..].iter().map(|it| it["finding"]["pid"].as_u64());
        assert!(of_records.eq(found.iter().map(|it| it.2)), "{lines}");
        assert_eq!(records[0]["check"]["denied"], 5);
        let text = check(&since, 1);
        for said in [
            format!("{} sleep does not reap its child {} bash", left.parent, left.zombie),
            format!("\n  kill {}", left.daemon),
            format!("\n  kill -KILL {}", left.stopped),
            format!("\n  umount {}\n", path("namespace")),
            "\n5 denied, 1 warning.\n".to_owned(),
        ] {
            assert!(text.contains(&said), "{said} in {text}");
        }
        // Without `--since`, pidns reports no leftover processes and namespaces.
        assert_eq!(codes(&findings(source, 1), "deny"), ["dead-namespace"]);
        let allowed =
            [source, &["--allow", "dead-namespace", "--deny", "zombie:comm=ba*"]].concat();
        assert_eq!(codes(&findings(&allowed, 1), "deny"), ["zombie"]);
        check(&[source, &["--allow", "dead-namespace"]].concat(), 0);
        // Options override a policy file.
        fs::write(path("policy"), "deny: [zombie]\nallow:\n  - dead-namespace\n").unwrap();
        let file = path("policy");
        let policy = [source, &["--policy", &file]].concat();
        assert_eq!(codes(&findings(&policy, 1), "deny"), ["zombie"]);
        check(&[&policy[..], &["--warn", "zombie"]].concat(), 0);
        for (format, said) in [
            ("github", "::error title=pidns%3A dead-namespace::"),
            ("junit", "<failure message=\"dead-namespace: 1\" type=\"dead-namespace\">"),
            ("markdown", "| **denied** | dead-namespace | "),
            ("markdown", "\n```mermaid\n"),
        ] {
            let text = check(&[source, &["-f", format]].concat(), 1);
            assert!(text.contains(said), "{said} in {text}");
        }
    }
}

/// Parses workflow commands in a log, in the same way as the runner of GitHub Actions. Returns the
/// name and the unescaped message of each command.
fn read_as_github(log: &str) -> Vec<(&str, String)> {
    let annotation = |line| {
        let (command, message) = str::strip_prefix(line, "::")?.split_once("::")?;
        let message = message.replace("%0D", "\r").replace("%0A", "\n").replace("%25", "%");
        Some((command.split(' ').next()?, message))
    };
    log.lines().filter_map(annotation).collect()
}

#[test]
fn names_are_escaped_for_jenkins_and_github() {
    needs!(NamespaceOfItsOwn, Program("xmllint"));
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before");
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let mut running = Vec::new();
    // Process names with characters that are special for Jenkins, GitHub, XML or a terminal.
    for (index, name) in
        ["%0A::error::x,y", "a\n::error::b%", "]]>&<a b='\"'", "\u{1b}[31m\u{202e}\r"]
            .into_iter()
            .enumerate()
    {
        let place = dir.path().join(index.to_string());
        fs::create_dir(&place).unwrap();
        let program = place.join(name);
        run(Command::new("cp").arg("/bin/sleep").arg(&program));
        running.push((Running::spawn(Command::new(program).arg("600")), name));
    }
    let since = ["--since", before.to_str().unwrap(), "--details", "args"];
    let report = read_as_junit(&check(&[&since[..], &["-f", "junit"]].concat(), 1));
    let log = check(&[&since[..], &["-f", "github"]].concat(), 1);
    let annotations = read_as_github(&log);
    assert_eq!((annotations.len(), log.lines().count()), (running.len(), running.len()), "{log}");
    for ((process, _), said) in running.iter().zip([
        "%0A::error::x,y 600",
        "a\\n::error::b% 600",
        "]]>&<a b='\"' 600",
        "\\x1b[31m\\u{202e}\\r 600",
    ]) {
        let line = |text: &str| text.contains(&process.pid().to_string()) && text.contains(said);
        assert!(annotations.iter().any(|(name, it)| *name == "error" && line(it)), "{said} {log}");
        assert!(report.lines().any(line), "{said} in {report}");
    }
}

#[test]
fn wait_ends_as_soon_as_the_findings_are_gone() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before");
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let since = ["--since", before.to_str().unwrap()];
    let mut child = Command::new("sleep").arg("1").spawn().unwrap();
    check(&since, 1);
    let reaper = std::thread::spawn(move || child.wait().unwrap());
    let start = Instant::now();
    check(&[&since[..], &["--wait", "20"]].concat(), 0);
    assert!(start.elapsed() < Duration::from_secs(15));
    assert!(reaper.join().unwrap().success());
    let _stays = Running::spawn(Command::new("sleep").arg("600"));
    let start = Instant::now();
    check(&[&since[..], &["--wait", "0.5"]].concat(), 1);
    assert!(start.elapsed() >= Duration::from_millis(500));
}

#[test]
fn a_namespace_that_is_dead_for_a_moment_is_not_reported() {
    needs!(NamespaceOfItsOwn, Linux(6, 18), Program("python3"));
    // Every namespace is dead for 20 ms, and most of the time there is a dead namespace.
    let storm = "import ctypes, os, time\n\
         print('ready', flush=True)\n\
         os.fork(), os.fork()\n\
         while time.sleep(0.001) is None:\n    \
             maker = os.fork()\n    \
             if maker == 0:\n        \
                 ctypes.CDLL(None).unshare(0x20000000)\n        \
                 init = os.fork()\n        \
                 if init == 0: os._exit(0)\n        \
                 os.waitpid(init, 0); time.sleep(0.02); os._exit(0)\n    \
             os.waitpid(maker, 0)";
    let (_storm, _) = start_command(Command::new("python3").args(["-c", storm]));
    let shows_dead = || stdout(&pidns(&["-q"])).contains("  DEAD: ");
    until("pidns shows a dead namespace", shows_dead);
    let is_clean = || {
        let output = pidns(&["check", "-q"]);
        let text = String::from_utf8_lossy(&output.stdout);
        !text.contains("dead-namespace") && !text.contains("blocked-init")
    };
    // On a busy host, a process can sleep longer than it asked for.
    let mut clean = 0;
    until("three checks are clean", || {
        clean += usize::from(is_clean());
        clean == 3
    });
}

#[test]
fn an_init_that_reaps_once_a_second_is_not_reported() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let init = "import os, time\n\
         print('ready', flush=True)\n\
         while True:\n    \
             child = os.fork()\n    \
             if child == 0: os._exit(0)\n    \
             time.sleep(1)\n    \
             os.waitpid(child, 0)";
    let mut command = Command::new("unshare");
    let (unshare, _) = start_command(command.args(["-pf", "--kill-child", "python3", "-c", init]));
    let namespace = format!("@{}", children(unshare.pid())[0]);
    let options = ["--root", &namespace, "--deny", "zombie,init-does-not-reap"];
    // On a busy host, a process can sleep longer than it asked for.
    let is_clean = || pidns(&[&["check", "-q"], &options[..]].concat()).status.success();
    until("three checks in a row are clean", || (0..3).all(|_| is_clean()));
}

#[test]
fn a_process_belongs_to_the_container_of_its_own_cgroup() {
    const ID: &str = "ca5e1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a";
    needs!(Initial("cgroup"));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("before"), stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    run(Command::new("cp").arg("/bin/sleep").arg(path("of-a-container")));
    let running = Running::spawn(Command::new(path("of-a-container")).arg("600"));
    until("the process sleeps", || comm(running.pid()) == "of-a-container");
    let _cgroup = Cgroup::of("check", &format!("docker/{ID}"), running.pid());
    let before = path("before");
    let since = ["--since", &before, "--comm", "of-a-container"];
    let policy = path("policy");
    fs::write(&policy, "allow: ['leftover-process:container=CA5E1']").unwrap();
    assert_eq!(codes(&findings(&since, 1), "deny"), ["leftover-process"]);
    let advice = format!("  kill {} # part of docker ca5e1b9c04de\n", running.pid());
    assert!(check(&since, 1).contains(&advice));
    for (rule, status) in [
        (["--allow", "leftover-process:container=ca5e1"], 0),
        (["--allow", "leftover-process:container=a5e1"], 1),
        (["--policy", &policy], 0),
    ] {
        check(&[&since[..], &rule].concat(), status);
    }
}

#[test]
fn a_failed_check_has_status_2() {
    let dir = tempfile::tempdir().unwrap();
    let policy = |text: &str| {
        let path = dir.path().join("policy");
        fs::write(&path, text).unwrap();
        let output = pidns(&["check", "--policy", path.to_str().unwrap()]);
        (output.status.code(), String::from_utf8_lossy(&output.stderr).into_owned())
    };
    for (text, said) in [
        ("deny: [zombies]", "deny[0]: no code \"zombies\""),
        ("denied: [zombie]", "unknown field"),
        ("[", "policy: "),
        ("allow: [\"zombie:comm=[\"]", "allow[0]: comm=[: "),
        ("allow: [\"zombie:cmd=x\"]", "allow[0]: \"cmd=x\" is not comm=GLOB, ns=NS, "),
        ("[]", "policy: is not a policy with the lists deny, warn and allow"),
        ("- zombie", "policy: is not a policy with the lists deny, warn and allow"),
        ("deny: zombie", "deny: is not a list of rules at line 1"),
        (
            "{\"deny\": \"zombie\"}",
            "deny: invalid type: string \"zombie\", expected a list of rules",
        ),
        ("deny: [{zombie: x}]", "deny[0]: is not a rule at line 1"),
    ] {
        let (status, stderr) = policy(text);
        assert_eq!(status, Some(2), "{stderr}");
        assert!(stderr.contains(said) && stderr.lines().count() == 1, "{stderr}");
    }
    for arguments in [
        &["--procfs", "/nowhere"][..],
        &["--since", "/nowhere"],
        &["-i", "/nowhere"],
        &["--policy", "/nowhere"],
        &["--deny", "zombies"],
        &["-i", "-", "--since", "-"],
        &["-i", "x", "--wait", "1"],
    ] {
        let output = pidns(&[&["check"], arguments].concat());
        let stderr = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(2), "{arguments:?} {stderr}");
        assert_eq!(output.stdout, b"", "{arguments:?}");
        assert_eq!(stderr.lines().count(), 1, "{stderr}");
    }
}

#[test]
fn a_filter_that_selects_nothing_finds_nothing() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved").to_str().unwrap().to_owned();
    fs::write(&saved, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    for filter in [["--comm", "no such name"], ["--user", "4294967294"], ["--state", "dead"]] {
        for since in [&[][..], &["--since", &saved], &["-i", &saved]] {
            let filter = [&filter, since].concat();
            let text = "Nothing is wrong; nothing matches the filter.\n";
            assert_eq!(check(&filter, 0), text, "{filter:?}");
            let report = check(&[&filter[..], &["-f", "json"]].concat(), 0);
            assert!(report.contains("\"nothing_matches\":true"), "{report}");
        }
    }
    // The filter matches pidns itself, as in a job that leaves nothing behind.
    let filter = format!("PIDNS_TEST_JOB={}", std::process::id());
    for since in [&[][..], &["--since", &saved]] {
        let mut command = Command::new(PIDNS);
        let command = command.args(["check", "--env", &filter]).args(since);
        let (name, value) = filter.split_once('=').unwrap();
        assert_eq!(stdout(&run(command.env(name, value))), "Nothing is wrong.\n");
    }
    // The document lacks what the filter looks for.
    for (filter, said) in [
        (&["--container", "3f2a"][..], "without --details cgroup"),
        (&["--comm", "no such name"], "which was saved with filters"),
    ] {
        let part = dir.path().join("part").to_str().unwrap().to_owned();
        fs::write(&part, stdout(&pidns(&["-q", "-f", "json", "--depth", "0"]))).unwrap();
        let source = if filter[0] == "--comm" { &part } else { &saved };
        for (strict, status) in [(&[][..], 0), (&["--strict"], 3)] {
            let output = pidns(&[&["check", "-i", source], filter, strict].concat());
            let stderr = String::from_utf8_lossy(&output.stderr);
            assert_eq!(output.status.code(), Some(status), "{stderr}");
            assert!(stderr.starts_with("pidns: problems may be missing: nothing matches "));
            assert!(stderr.contains(said) && stderr.lines().count() == 1, "{stderr}");
        }
    }
    // A namespace that the user names must exist, so this is an error of its own.
    let none = pidns(&["check", "--root", "5"]);
    assert_eq!((none.status.code(), &none.stdout[..]), (Some(1), &b""[..]));
}

#[test]
fn a_namespace_is_a_leftover_of_its_init_and_not_of_a_process_that_has_entered_it() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    // A process of job 1 and one of user nobody have entered the namespace of job 2.
    let mut command = in_container("echo ready; sleep 600; exit");
    let (job, _) = start_command(command.env("PIDNS_TEST_JOB", "2"));
    let init = children(job.pid())[0];
    let entered = |words: &[&str]| {
        let mut command = Command::new("nsenter");
        command.args(["-t", &init.to_string(), "-p"]).args(words);
        Running::spawn(command.arg("600").env("PIDNS_TEST_JOB", "1"))
    };
    let guests =
        [entered(&["sleep"]), entered(&["setpriv", "--reuid", "65534", "--clear-groups", "sleep"])];
    until("the processes sleep", || {
        guests.iter().all(|it| children(it.pid()).iter().any(|&pid| comm(pid) == "sleep"))
    });
    let denied = |options: &[&str]| {
        let found = findings(&[&["--since", &before], options].concat(), 1);
        let mut codes = codes(&found, "deny");
        codes.dedup();
        codes
    };
    let (process, both) = (["leftover-process"], ["leftover-process", "leftover-namespace"]);
    assert_eq!(denied(&["--env", "PIDNS_TEST_JOB=1"]), process);
    assert_eq!(denied(&["--user", "65534"]), process);
    assert_eq!(denied(&["--comm", "sleep"]), process);
    assert_eq!(denied(&["--allow", "leftover-process:env=PIDNS_TEST_JOB=2"]), process);
    assert_eq!(denied(&["--env", "PIDNS_TEST_JOB=2"]), both);
    assert_eq!(denied(&["--comm", "bash"]), both);
    assert_eq!(denied(&["--allow", "leftover-process:env=PIDNS_TEST_JOB=1"]), both);
    assert_eq!(denied(&["--allow", "leftover-process"]), ["leftover-namespace"]);
    // A rule for this namespace wins over the rule for the process.
    let rule = format!("leftover-namespace:ns=@{init}");
    let allow = ["--allow", "leftover-process:env=PIDNS_TEST_JOB=2", "--deny", &rule];
    assert_eq!(denied(&allow), both);
}

#[test]
fn with_wait_a_worker_that_is_replaced_again_and_again_is_only_warned_about() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    // Each daemon replaces its worker after 0.3 s.
    let daemon = "(while :; do sleep 0.3; done) &";
    let (daemons, _) = start(&format!("{daemon} {daemon} {daemon} echo ready; wait"));
    let workers = || -> Vec<_> { children(daemons.pid()).into_iter().map(children).collect() };
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let earlier = workers();
    until("each daemon has another worker", || {
        workers().iter().zip(&earlier).all(|(now, earlier)| !now.is_empty() && now != earlier)
    });
    let since = ["--since", &before, "--wait", "3"];
    let warned = findings(&since, 0);
    assert!(warned.iter().all(|it| it.0 == "leftover-process" && it.1 == "warn"), "{warned:?}");
    assert_ne!(warned, []);
    // Another daemon is a leftover, but none of the workers is.
    let (daemon, _) = start(&format!("{daemon} echo ready; wait"));
    let mut expected = vec![daemon.pid(), children(daemon.pid())[0]].into_iter();
    let mut denied = findings(&["--since", &before, "--wait", "1.5"], 1);
    denied.retain(|it| it.1 == "deny");
    let mut pids: Vec<_> = denied.iter().map(|it| it.2).collect();
    pids.sort_unstable();
    assert!(pids.into_iter().eq(expected.by_ref().map(|pid| Some(u64::from(pid)))), "{denied:?}");
}

#[test]
fn with_wait_the_child_of_a_replaced_worker_is_only_warned_about() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    // Each worker of the daemon has a child, and both are replaced after 0.4 s.
    let (daemon, _) = start("(while :; do sh -c 'sleep 0.4; true'; done) & echo ready; wait");
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let grandchildren = || {
        let workers = children(daemon.pid()).into_iter().flat_map(children);
        workers.flat_map(children).collect::<Vec<_>>()
    };
    let earlier = grandchildren();
    until("the worker has another child", || {
        let now = grandchildren();
        !now.is_empty() && now.iter().all(|it| !earlier.contains(it))
    });
    // The filter hides the workers, but not their children.
    let filter = ["--comm", "sleep"];
    for (wait, filter) in [("2.9", &[][..]), ("3", &filter), ("3.1", &[]), ("3.2", &filter)] {
        let warned = findings(&[&["--since", &before, "--wait", wait], filter].concat(), 0);
        let is_warning = |it: &(String, String, _)| it.0 == "leftover-process" && it.1 == "warn";
        assert!(warned.iter().all(is_warning), "{wait}: {warned:?}");
    }
}

#[test]
fn with_wait_a_problem_of_a_replaced_workers_child_is_only_warned_about() {
    needs!(NamespaceOfItsOwn);
    // Each worker of the daemon starts an init, stops it, and kills it after 0.6 s. The workers have
    // no problem themselves, so no finding is about them.
    let worker = "unshare -pf sleep 600 2> /dev/null & u=$!; \
         until read -rd ' ' init < /proc/$u/task/$u/children; do :; done; \
         kill -STOP $init; sleep 0.6; kill -KILL $init; wait";
    let script = "(while :; do bash -c \"$0\"; done) & echo ready; wait";
    let (_daemon, _) = start_command(Command::new("bash").args(["-c", script, worker]));
    let deny = ["--deny", "stopped-init"];
    until("an init is stopped", || {
        pidns(&["check", "-q", "--deny", "stopped-init"]).status.code() == Some(1)
    });
    for wait in ["2.9", "3.1"] {
        let warned = findings(&[&deny[..], &["--wait", wait]].concat(), 0);
        assert!(warned.iter().all(|it| it.1 == "warn"), "{wait}: {warned:?}");
    }
}

#[test]
fn a_service_that_starts_during_the_wait_is_denied() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("before"), stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    // The launcher starts the service while the check is running, and exits.
    let script = "(sleep 1; setsid sleep 600 & exit) > /dev/null 2>&1 &";
    stdout(&run(Command::new("bash").args(["-c", script])));
    let denied = findings(&["--since", &path("before"), "--wait", "4"], 1);
    let denied: Vec<_> = denied.iter().filter(|it| it.1 == "deny").collect();
    let [(code, _, Some(service))] = denied[..] else { panic!("{denied:?}") };
    assert_eq!(code, "leftover-process");
    let service = u32::try_from(*service).unwrap();
    assert_eq!(comm(service), "sleep");
    kill(service, rustix::process::Signal::KILL);
}

#[test]
fn a_process_that_appears_during_the_wait_gets_the_same_time_to_end() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    // A daemon that is older than the snapshot starts a command, and then ends another process.
    let script = "(while read -r seconds other; do sleep $seconds & kill $other; wait; done < $0) & \
                  echo ready; wait";
    let fifo = path("fifo");
    stdout(&run(Command::new("mkfifo").arg(&fifo)));
    let (_daemon, _) = start_command(Command::new("bash").args(["-c", script, &fifo]));
    let commands = fs::File::options().write(true).open(&fifo).unwrap();
    fs::write(path("before"), stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    // Runs a command of this length during a check, and returns the findings.
    let during = |seconds: &str, wait: &str, status| {
        let other = Running::spawn(Command::new("sleep").arg("600"));
        until("the other process runs", || comm(other.pid()) == "sleep");
        let line = format!("{seconds} {}\n", other.pid());
        let mut commands = commands.try_clone().unwrap();
        let writer = std::thread::spawn(move || {
            std::thread::sleep(Duration::from_millis(600));
            commands.write_all(line.as_bytes()).unwrap();
        });
        let since = ["--since", &path("before"), "--comm", "sleep", "--allow", "zombie"];
        let found = findings(&[&since[..], &["--wait", wait]].concat(), status);
        writer.join().unwrap();
        found
    };
    assert_eq!(during("1.5", "2", 0), []);
    let denied = during("600", "1.5", 1);
    assert!(matches!(&denied[..], [(_, verdict, _)] if verdict == "deny"), "{denied:?}");
}

#[test]
fn many_findings_read_the_mount_table_a_few_times_only() {
    needs!(NamespaceOfItsOwn, Program("strace"));
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    fs::write(path("before"), stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let (_job, _) = start("for i in {1..200}; do sleep 600 & done; echo ready; wait");
    let mut command = Command::new("strace");
    command.args(["-f", "-qq", "-e", "trace=openat,openat2", "-o", &path("log"), PIDNS]);
    let output = run(command.args(["check", "-q", "--since", &path("before")]));
    assert_eq!(output.status.code(), Some(1));
    let log = fs::read_to_string(path("log")).unwrap();
    let opened = log.lines().filter(|line| line.contains("mountinfo\"")).count();
    assert!(opened < 50, "{opened}");
}

#[test]
fn problems_that_the_earlier_snapshot_had_are_left_out() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let dead = |name: &str| {
        fs::write(path(name), "").unwrap();
        let file = format!("--pid={}", path(name));
        stdout(&run(Command::new("unshare").args([&file, "--fork", "true"])));
    };
    dead("old");
    let before = path("before");
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let since = ["--since", &before];
    assert_eq!(check(&since, 0), "Nothing is new; 1 older problem left out (--all).\n");
    let all = findings(&[&since[..], &["--all"]].concat(), 1);
    assert_eq!(codes(&all, "deny"), ["dead-namespace"]);
    // The namespace that the job leaves behind has both problems.
    dead("new");
    let new = findings(&since, 1);
    assert_eq!(codes(&new, "deny"), ["dead-namespace", "leftover-namespace"]);
    // The namespace and its mount are older, but the namespace died after the snapshot.
    let (running, inits) = nest(1);
    fs::write(path("dying"), "").unwrap();
    let file = format!("/proc/{}/ns/pid", inits[0]);
    stdout(&run(Command::new("mount").args(["--bind", &file, &path("dying")])));
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    check(&since, 0);
    drop(running);
    until("the init is gone", || status(inits[0], "State").is_empty());
    assert_eq!(codes(&findings(&since, 0), "warn"), ["dead-namespace"]);
    let options = pidns(&["check", "--all"]);
    assert_eq!(options.status.code(), Some(2), "--all needs --since");
}

#[test]
fn the_schemas_of_checks_and_policies_are_printed() {
    for (name, committed) in [
        ("check", include_str!("../schemas/pidns-check-1.schema.json")),
        ("check-record", include_str!("../schemas/pidns-check-record-1.schema.json")),
        ("policy", include_str!("../schemas/pidns-policy-1.schema.json")),
    ] {
        assert_eq!(stdout(&pidns(&["schema", name])), committed);
    }
}

#[test]
fn arguments_are_shown_only_on_request() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let script = "exec -a 'curl --user=me:s3cret' sleep 600";
    let running = Running::spawn(Command::new("bash").args(["-c", script]));
    until("the process sleeps", || comm(running.pid()) == "sleep");
    for verb in [&["check", "-q", "--since", &before][..], &["diff", "-q", &before]] {
        let formats: &[&str] = if verb[0] == "check" {
            &["text", "json", "ndjson", "github", "junit", "markdown"]
        } else {
            &["text", "json", "ndjson", "mermaid"]
        };
        for format in formats {
            for (details, is_shown) in [(&[][..], false), (&["--details", "args"], true)] {
                let output = pidns(&[verb, &["-f", format], details].concat());
                assert_eq!(output.status.code(), Some(1), "{output:?}");
                let text = String::from_utf8(output.stdout).unwrap();
                assert_eq!(text.contains("s3cret"), is_shown, "{format}: {text}");
                assert!(is_shown || text.contains("sleep"), "{format}: {text}");
            }
        }
    }
}

#[test]
fn github_shows_every_annotation() {
    needs!(NamespaceOfItsOwn);
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let sleeps = "for i in $(seq 14); do sleep 600 & done;";
    let (_job, _) = start(&format!("{sleeps} {sleeps} echo ready; wait"));
    let (_namespace, _) = nest(1);
    let log = check(&["--since", &before, "-f", "github"], 1);
    let annotations = read_as_github(&log);
    assert_eq!(annotations.len(), 10, "{log}");
    assert!(log.contains("::error title=pidns%3A leftover-namespace::"), "{log}");
    let last = &annotations[9].1;
    assert!(last.starts_with("and ") && last.ends_with(" leftover-process"), "{last}");
}

#[test]
fn the_policy_in_the_help_and_its_schema_are_valid() {
    let help = stdout(&pidns(&["check", "--help"]));
    let example = help.lines().find(|line| line.contains("--policy rules.yaml")).unwrap();
    let dir = tempfile::tempdir().unwrap();
    let bin = Path::new(PIDNS).parent().unwrap().display();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let mut command = Command::new("bash");
    let output = run(command.args(["-c", example]).env("PATH", path).current_dir(&dir));
    assert_ne!(output.status.code(), Some(2), "{output:?}");
    assert_eq!(fs::read_to_string(dir.path().join("rules.yaml")).unwrap(), "deny: [zombie]\n");
    // The schema accepts what the program accepts: each list may be left out.
    let schema: Value = serde_json::from_str(&stdout(&pidns(&["schema", "policy"]))).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    for (policy, is_valid) in [
        ("{}", true),
        ("{\"deny\": [\"zombie\"]}", true),
        ("{\"allow\": []}", true),
        ("{\"deny\": \"zombie\"}", false),
        ("{\"denied\": []}", false),
    ] {
        let file = dir.path().join("policy");
        fs::write(&file, policy).unwrap();
        let output = pidns(&["check", "-q", "--policy", file.to_str().unwrap()]);
        assert_eq!(output.status.code() != Some(2), is_valid, "{policy}: {output:?}");
        let value = serde_json::from_str(policy).unwrap();
        assert_eq!(validator.is_valid(&value), is_valid, "{policy}");
    }
}
