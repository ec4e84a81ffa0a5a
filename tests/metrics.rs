//! Tests that Prometheus can read the output of `-f openmetrics`, and that the systemd units in
//! docs/fleet.md write this output to a file.

mod common;

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use common::Need::*;
use common::*;

/// The page that shows the systemd units.
const FLEET: &str = "docs/fleet.md";

#[test]
fn promtool_accepts_the_metrics_of_every_host() {
    needs!(Program("promtool"));
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/host.json");
    for input in [&["-q"][..], &["-i", document], &["-q", "--members", "none"]] {
        let metrics = stdout(&pidns(&[input, &["-f", "openmetrics"]].concat()));
        let said = pipe(Command::new("promtool").args(["check", "metrics"]), metrics.as_bytes());
        assert_eq!(said, "", "{metrics}");
    }
}

#[test]
fn metrics_match_the_document() {
    let json = stdout(&pidns(&["-q", "-f", "json"]));
    let document = Document::read(&json);
    let saved = &mut Command::new(PIDNS);
    let metrics = pipe(saved.args(["-q", "-i", "-", "-f", "openmetrics"]), json.as_bytes());
    let sum = |name: &str, label: &str| -> usize {
        let samples = metrics.lines().filter(|line| {
            line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        let samples = samples.filter(|line| line.contains(label));
        samples.map(|line| line.rsplit(' ').next().unwrap().parse::<usize>().unwrap()).sum()
    };
    assert_eq!(sum("pidns_namespaces", ""), document.namespaces.len());
    for state in ["live", "dead", "nascent", "unknown"] {
        let of_state = document.namespaces.iter().filter(|it| it.state == state).count();
        assert_eq!(sum("pidns_namespaces", &format!("state=\"{state}\"")), of_state);
    }
    assert_eq!(sum("pidns_processes", ""), document.processes.len());
    let members = document.namespaces.iter().map(|it| it.members.len()).sum::<usize>();
    assert_eq!(sum("pidns_namespace_members", ""), members);
    assert_eq!(sum("pidns_complete", ""), usize::from(document.complete));
    // A saved document does not contain the duration of its scan.
    assert!(!metrics.contains("scan_duration"));
    let live = stdout(&pidns(&["-q", "-f", "openmetrics"]));
    let duration = live.lines().find_map(|it| it.strip_prefix("pidns_scan_duration_seconds "));
    assert!((0.0..60.0).contains(&duration.unwrap().parse::<f64>().unwrap()), "{live}");
}

#[test]
fn a_process_whose_leader_thread_has_exited_is_no_zombie() {
    needs!(NamespaceOfItsOwn, Program("python3"));
    let (running, _) = start_command(Command::new("python3").args(["-c", LEADER_EXITS]));
    until("the leader has exited", || status(running.pid(), "State")[0] == "Z");
    let zombies = || {
        let metrics = stdout(&pidns(&["-q", "-f", "openmetrics"]));
        metrics.lines().find_map(|it| Some(it.strip_prefix("pidns_zombies ")?.to_owned()))
    };
    assert_eq!(zombies().as_deref(), Some("0"));
    // The child ends when its parent no longer runs bash, which would reap it.
    let script = "(until [ \"$(</proc/$$/comm)\" = sleep ]; do :; done; exec sleep 0) &
         echo ready; exec sleep 600";
    let (parent, _) = start_command(Command::new("bash").args(["-c", script]));
    until("there is a zombie", || {
        children(parent.pid()).iter().any(|&child| status(child, "State")[0] == "Z")
    });
    assert_eq!(zombies().as_deref(), Some("1"));
}

#[test]
fn a_dead_namespace_is_counted_by_its_holder() {
    needs!(Namespaces);
    let kept = |metrics: &str| -> usize {
        let line = "pidns_dead_namespaces{keeper=\"pid_for_children\"} ";
        metrics.lines().find_map(|it| it.strip_prefix(line)).unwrap().parse().unwrap()
    };
    let shell = unshared("/bin/true;");
    let holder = Holder::PidForChildren { pid: shell.pid(), tid: shell.pid() };
    let dead = Document::of(&["--state", "dead"]).namespaces;
    let held = dead.into_iter().find(|it| it.holders.contains(&holder)).expect("is held");
    assert_eq!(kept(&stdout(&pidns(&["-q", "-f", "openmetrics", "--root", &held.id]))), 1);
}

/// Returns the content of the code block that begins with the comment `# NAME`.
fn shown(page: &str, name: &str) -> String {
    let begin = format!("\n```ini\n# {name}\n");
    let (_, rest) = page.split_once(&begin).unwrap_or_else(|| panic!("{name} is not on the page"));
    let (file, _) = rest.split_once("\n```").expect("a fence ends");
    format!("{file}\n")
}

fn page() -> String {
    std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join(FLEET)).unwrap()
}

/// Asserts that systemd accepts these units on the page.
fn verify(page: &str, names: &[&str]) {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        std::fs::write(dir.path().join(name), shown(page, name)).unwrap();
    }
    let mut verify = Command::new("systemd-analyze");
    let output = run(verify.arg("verify").args(names.iter().map(|name| dir.path().join(name))));
    // systemd-analyze may also print warnings about other units of this host.
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(!said.lines().any(|line| line.contains("pidns")), "{said}");
}

#[test]
fn the_unit_of_the_flight_recorder_is_valid_and_records() {
    needs!(Program("systemd-analyze"), Repository(FLEET));
    let (page, name) = (page(), "pidns-watch.service");
    verify(&page, &[name]);
    let service = shown(&page, name);
    let script =
        service.split_once("ExecStart=/bin/sh -c '").unwrap().1.split_once("'\n").unwrap().0;
    let path = format!("{}:/usr/bin:/bin", Path::new(PIDNS).parent().unwrap().display());
    let mut shell = Command::new("/bin/sh");
    shell.args(["-c", script]).env("PATH", path).stdout(Stdio::piped());
    let mut running = Running::spawn(&mut shell);
    let mut first = String::new();
    BufReader::new(running.0.stdout.take().unwrap()).read_line(&mut first).unwrap();
    assert!(first.contains("\"record\":\"watch\""), "{first}");
}

#[test]
fn the_units_are_valid_and_write_complete_files() {
    needs!(Program("systemd-analyze"), Repository(FLEET));
    let page = page();
    let names = ["pidns-metrics.service", "pidns-metrics.timer"];
    verify(&page, &names);
    // Run the command of the service in the directory where it should write the file.
    let service = shown(&page, names[0]);
    let script = service.split_once("ExecStart=/bin/sh -c '").unwrap().1;
    let script = script.split_once("'\n").unwrap().0;
    let textfiles = tempfile::tempdir().unwrap();
    let run_in_path = |path: &str| {
        let mut sh = Command::new("/bin/sh");
        run(sh.args(["-c", script]).env("PATH", path).current_dir(&textfiles))
    };
    let bin = Path::new(PIDNS).parent().unwrap().display();
    assert!(run_in_path(&format!("{bin}:/usr/bin:/bin")).status.success());
    let file = textfiles.path().join("pidns.prom");
    let metrics = std::fs::read_to_string(&file).unwrap();
    assert!(metrics.ends_with("\n# EOF\n"), "{metrics}");
    // If pidns cannot run, the previous complete file must remain.
    let _ = std::fs::remove_file(textfiles.path().join("pidns.prom.tmp"));
    assert!(!run_in_path("/bin-without-pidns:/bin").status.success());
    assert_eq!(std::fs::read_to_string(&file).unwrap(), metrics);
}
