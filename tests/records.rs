//! Tests that every command can read one host from an NDJSON file with snapshots of many hosts,
//! and that this needs little memory.

mod common;

use std::io::Write as _;
use std::process::{Command, Stdio};

use common::Need::*;
use common::*;

/// Returns the NDJSON records of a sample host, with `name` as the host name.
fn host(name: &str) -> String {
    let document = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/host.json");
    let records = stdout(&pidns(&["-i", document, "-f", "ndjson"]));
    let hostname = "\"hostname\":\"ci-7\"";
    assert!(records.lines().all(|line| line.contains(hostname)));
    records.replace(hostname, &format!("\"hostname\":\"{name}\""))
}

/// Writes the records of the hosts web-1 and web-2 to a temporary file.
fn two_hosts() -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), host("web-1") + &host("web-2")).unwrap();
    file
}

/// Runs pidns, asserts that it fails with status 2, and returns its one line on standard error.
fn refused(arguments: &[&str]) -> String {
    let output = pidns(arguments);
    assert_eq!((output.status.code(), output.stdout), (Some(2), Vec::new()), "{arguments:?}");
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(said.lines().count(), 1, "{said}");
    said
}

#[test]
fn every_command_finds_a_host_in_a_file_of_many() {
    let (file, one) = (two_hosts(), tempfile::NamedTempFile::new().unwrap());
    std::fs::write(one.path(), host("web-2")).unwrap();
    let (many, one) = (file.path().to_str().unwrap(), one.path().to_str().unwrap());
    let inner = Document::of(&["-i", one]).processes.into_iter().find(|it| it.nspid.len() > 1);
    let pid = inner.unwrap().pid.to_string();
    for arguments in [
        &["-i", "FILE"][..],
        &["-i", "FILE", "-f", "json"],
        &["-i", "FILE", "-f", "ndjson"],
        &["translate", &pid, "-i", "FILE"],
        &["check", "-i", "FILE"],
        &["check", "-i", one, "--since", "FILE"],
        &["diff", "FILE", one],
        &["diff", one, "FILE"],
    ] {
        let of = |file: &str| {
            let with_file = arguments.iter().map(|&it| if it == "FILE" { file } else { it });
            let host = ["--host", "web-2"];
            let output = pidns(&with_file.chain(host).collect::<Vec<_>>());
            (output.status.code(), String::from_utf8(output.stdout).unwrap(), output.stderr)
        };
        let found = of(many);
        assert!(matches!(found.0, Some(0 | 1)), "{arguments:?}: {found:?}");
        assert_eq!(found, of(one), "{arguments:?}");
    }
}

#[test]
fn a_file_of_several_hosts_requires_a_host_name() {
    let file = two_hosts();
    let path = file.path().to_str().unwrap();
    assert_eq!(
        refused(&["-i", path]),
        format!(
            "pidns: cannot use {path}: contains snapshots of several hosts, such as web-1, web-2; \
             select one with --host NAME\n"
        )
    );
    assert_eq!(
        refused(&["-i", path, "--host", "web-3"]),
        format!("pidns: cannot use {path}: contains no snapshot of web-3, only of web-1, web-2\n")
    );
    for arguments in [&["--host", "web-1"][..], &["translate", "1", "--host", "web-1"]] {
        assert_eq!(
            refused(arguments),
            "pidns: --host picks a host from a saved document; name one with --input\n"
        );
    }
}

#[test]
fn every_record_is_a_line_that_names_its_host() {
    needs!(Program("jq"));
    let records = stdout(&pidns(&["-q", "-f", "jsonl", "--pretty"]));
    let read = |filter: &str| pipe(Command::new("jq").args(["-r", filter]), records.as_bytes());
    let kinds = read(".record");
    let kinds: Vec<_> = kinds.lines().collect();
    assert_eq!(kinds.len(), records.lines().count());
    assert!(kinds.is_sorted_by_key(|kind| {
        ["snapshot", "namespace", "process", "diagnostic"].iter().position(|it| it == kind)
    }));
    let hosts = read("[.captured_at, .host.hostname, .host.boot_id] | @tsv");
    assert!(hosts.lines().all(|host| host == hosts.lines().next().unwrap()), "{hosts}");
    let pids = read("select(.record == \"process\").process.pid");
    assert!(pids.lines().any(|pid| pid == std::process::id().to_string()));
    let counts = read("select(.record == \"snapshot\").snapshot.counts | add");
    assert_eq!(counts.trim_end(), (kinds.len() - 1).to_string());
}

#[test]
fn a_large_fleet_file_takes_the_memory_of_one_host() {
    let one = host("web-1");
    let fleet = (128 << 20) / one.len() + 1;
    let arguments = ["-q", "-i", "-", "--host", "db-1", "-f", "ndjson"];
    let mut child = Command::new(PIDNS)
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    for index in 0..=fleet {
        let name = if index == fleet / 2 { "db-1" } else { "web-2" };
        stdin.write_all(one.replace("web-1", name).as_bytes()).unwrap();
    }
    // By now, pidns has read the whole input, except for the bytes that are still in the pipe.
    let peak = &status(child.id(), "VmHWM")[0];
    assert!(peak.parse::<u32>().unwrap() < 32 * 1024, "{peak} KiB");
    drop(stdin);
    let read = stdout(&child.wait_with_output().unwrap());
    assert_eq!(read, one.replace("web-1", "db-1"));
}
