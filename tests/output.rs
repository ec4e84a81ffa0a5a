//! What becomes of output that is not taken as usual: the exit status, the line
//! on standard error, and that nothing ends the program from outside.

mod common;

use std::fs::{File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream;
use std::os::unix::process::ExitStatusExt as _;
use std::process::{Child, Command, Output, Stdio};

use clap::ValueEnum;
use common::Need::*;
use common::*;
use pidns::emit::Format;
use rustix::fs::{OFlags, fcntl_setfl};
use rustix::pipe::fcntl_setpipe_size;

/// Arguments for all kinds of output that there are.
fn all_outputs() -> impl Iterator<Item = Vec<String>> {
    let formats = Format::ALL.iter().filter_map(ValueEnum::to_possible_value);
    let formats = formats.map(|format| format!("-q --search processes -f {}", format.get_name()));
    let others = [
        "-q --strict --search processes",
        "translate 1",
        "translate 1 -f json",
        "schema",
        "schema translation",
        "completions zsh",
        "man",
        "-h",
        "--help",
        "--version",
        "translate --help",
    ];
    let all = formats.chain(others.map(str::to_owned));
    all.map(|line| line.split(' ').map(str::to_owned).collect())
}

/// Runs a shell script for which `"$@"` is pidns with these arguments.
fn shell(script: &str, arguments: &[impl AsRef<str>]) -> Output {
    let arguments = arguments.iter().map(AsRef::as_ref);
    run(Command::new("bash").args(["-c", script, "bash", PIDNS]).args(arguments))
}

/// The exit status, which is not that of a signal, and what is on standard error.
fn result(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).expect("is text"))
}

/// What [`result`] is where the output could not be written.
fn not_written(cause: &str) -> (Option<i32>, String) {
    (Some(2), format!("pidns: cannot write the output: {cause}\n"))
}

fn succeeded() -> (Option<i32>, String) {
    (Some(0), String::new())
}

fn full() -> File {
    OpenOptions::new().write(true).open("/dev/full").unwrap()
}

#[test]
fn a_reader_that_is_gone_is_no_trouble() {
    for arguments in all_outputs() {
        let (reader, pipe) = std::io::pipe().unwrap();
        let (peer, socket) = UnixStream::pair().unwrap();
        drop((reader, peer));
        for stdout in [OwnedFd::from(pipe), socket.into()] {
            let mut command = Command::new(PIDNS);
            let output = command.args(&arguments).stdout(stdout).output().unwrap();
            assert_eq!(result(&output), succeeded(), "{arguments:?}");
        }
    }
}

#[test]
fn a_reader_that_wants_the_first_line_alone_is_no_trouble() {
    needs!(NamespaceOfItsOwn);
    for arguments in all_outputs() {
        let output = shell("\"$@\" | head -n 1; exit ${PIPESTATUS[0]}", &arguments);
        assert_eq!(result(&output), succeeded(), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "{arguments:?}");
    }
}

#[test]
fn a_full_disk_is_trouble() {
    for arguments in all_outputs() {
        let output = Command::new(PIDNS).args(&arguments).stdout(full()).output().unwrap();
        let expected = not_written("No space left on device (os error 28)");
        assert_eq!(result(&output), expected, "{arguments:?}");
    }
}

#[test]
fn a_disk_that_takes_a_part_is_trouble() {
    needs!(Namespaces);
    let dir = public_dir();
    let disk = dir.path().to_str().unwrap();
    let script = "mount -t tmpfs -o size=4k none \"$1\"; \"$2\" schema > \"$1\"/schema; \
                  status=$?; stat -c %s \"$1\"/schema; exit $status";
    let output = run(&mut in_mount_namespace(script, &[disk, PIDNS]));
    assert_eq!(result(&output), not_written("No space left on device (os error 28)"));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "4096\n");
}

#[test]
fn a_file_that_may_not_grow_is_trouble_and_no_signal() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for arguments in all_outputs() {
        let script = format!("ulimit -f 0; exec \"$@\" > {path}");
        let output = shell(&script, &arguments);
        let expected = not_written("File too large (os error 27)");
        assert_eq!(result(&output), expected, "{arguments:?}");
    }
    // In blocks of 1024 bytes.
    let output = shell(&format!("ulimit -f 3; exec \"$@\" > {path}"), &["schema"]);
    assert_eq!(result(&output), not_written("File too large (os error 27)"));
    let taken = std::fs::read(path).unwrap();
    assert_eq!(taken, &pidns(&["schema"]).stdout[..3 * 1024]);
    // Standard error is such a file, too.
    let output = shell(&format!("ulimit -f 0; exec \"$@\" 2> {path}"), &["--frobnicate"]);
    assert_eq!(result(&output), (Some(2), String::new()));
}

#[test]
fn a_closed_standard_output_is_trouble() {
    for arguments in all_outputs() {
        let output = shell("exec \"$@\" >&-", &arguments);
        let expected = not_written("Bad file descriptor (os error 9)");
        assert_eq!(result(&output), expected, "{arguments:?}");
    }
}

#[test]
fn a_standard_output_that_was_opened_for_reading_is_trouble() {
    let output = shell("exec \"$@\" > /dev/null 1< /dev/null", &["schema"]);
    assert_eq!(result(&output), not_written("Bad file descriptor (os error 9)"));
}

#[test]
fn output_that_is_thrown_away_is_no_trouble() {
    needs!(NamespaceOfItsOwn);
    // daemon(3) and Python open /dev/null for reading and writing.
    for redirection in ["> /dev/null", "1<> /dev/null", "<> /dev/null 1>&0 2>&0"] {
        for arguments in all_outputs() {
            let output = shell(&format!("exec \"$@\" {redirection}"), &arguments);
            assert_eq!(result(&output), succeeded(), "{redirection} {arguments:?}");
        }
    }
}

#[test]
fn any_standard_descriptors_may_be_closed() {
    let live = &["-q", "--search", "processes"][..];
    let (version, wrong) = (&["--version"][..], &["--frobnicate"][..]);
    for closed in ["<&-", ">&-", "2>&-", "<&- >&-", "<&- 2>&-", ">&- 2>&-", "<&- >&- 2>&-"] {
        for arguments in [live, version, wrong] {
            let output = shell(&format!("exec \"$@\" {closed}"), arguments);
            let stdout_closed = closed.split(' ').any(|it| it == ">&-");
            let fails = stdout_closed || arguments == wrong;
            let (status, stderr) = result(&output);
            assert_eq!(status, Some(if fails { 2 } else { 0 }), "{arguments:?} {closed}");
            assert_eq!(output.stdout.is_empty(), fails, "{arguments:?} {closed}");
            let lines = usize::from(fails && !closed.contains("2>&-"));
            assert_eq!(stderr.lines().count(), lines, "{arguments:?} {closed}: {stderr}");
        }
    }
    let output = shell("exec \"$@\" <&-", &["-i", "-"]);
    assert_eq!(output.status.code(), Some(2));
}

#[test]
fn descriptors_closed_without_a_dev_null_are_no_abort() {
    needs!(Namespaces);
    for (closed, status) in
        [("", 0), ("<&-", 0), ("2>&-", 0), (">&-", 2), ("<&- 2>&-", 0), ("<&- >&- 2>&-", 2)]
    {
        for arguments in ["--version", "-q --search processes"] {
            let script = format!("mount -t tmpfs none /dev && exec \"$1\" {arguments} {closed}");
            let output = run(&mut in_mount_namespace(&script, &[PIDNS]));
            assert_eq!(output.status.code(), Some(status), "{arguments} {closed}: {output:?}");
            assert_eq!(output.stdout.is_empty(), status != 0, "{arguments} {closed}");
        }
    }
}

#[test]
fn a_stack_of_16_kib_is_enough() {
    for arguments in all_outputs().chain([vec!["--frobnicate".to_owned()]]) {
        let mut command = Command::new("bash");
        // The environment is on the stack, too.
        command.env_clear().args(["-c", "ulimit -s 16; exec \"$@\"", "bash", PIDNS]);
        let output = run(command.args(&arguments));
        assert_eq!(output.status.signal(), None, "{arguments:?}: {output:?}");
        let expected = pidns(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(output.status, expected.status, "{arguments:?}: {output:?}");
    }
}

#[test]
fn a_command_gets_its_signals_where_the_stack_is_small() {
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let mut command = Command::new("bash");
    command.env_clear().args(["-c", "ulimit -s 16; exec \"$@\"", "bash", PIDNS]);
    let (mut running, _) = start_command(command.args(["run", "--", "bash", "-c", script]));
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(7));
}

/// A program whose standard output (`to` is 1) or standard error (2) is a
/// non-blocking pipe with room for 4 KiB, which is full; the end to read from,
/// and how much is in it.
fn start_with_full_pipe(to: i32, arguments: &[&str]) -> (Child, std::io::PipeReader) {
    let (reader, mut writer) = std::io::pipe().unwrap();
    fcntl_setpipe_size(&writer, 4096).unwrap();
    writer.write_all(&[b' '; 4096]).unwrap();
    fcntl_setfl(&writer, OFlags::NONBLOCK).unwrap();
    let mut command = Command::new(PIDNS);
    command.args(arguments).stdout(Stdio::piped()).stderr(Stdio::piped());
    if to == 1 {
        command.stdout(writer)
    } else {
        command.stderr(writer)
    };
    let child = command.spawn().unwrap();
    // It has nothing to wait for but room in the pipe.
    until("it waits", || status(child.id(), "State").first().is_some_and(|it| it == "S"));
    (child, reader)
}

#[test]
fn a_non_blocking_standard_output_is_waited_for() {
    let (child, mut reader) = start_with_full_pipe(1, &["schema"]);
    let mut taken = Vec::new();
    reader.read_to_end(&mut taken).unwrap();
    assert_eq!(result(&child.wait_with_output().unwrap()), succeeded());
    assert_eq!(&taken[4096..], pidns(&["schema"]).stdout);
    // The wait ends where the reader goes away.
    let (child, reader) = start_with_full_pipe(1, &["schema"]);
    drop(reader);
    assert_eq!(result(&child.wait_with_output().unwrap()), succeeded());
}

#[test]
fn a_non_blocking_standard_error_is_waited_for() {
    let (child, mut reader) = start_with_full_pipe(2, &["--frobnicate"]);
    let mut taken = Vec::new();
    reader.read_to_end(&mut taken).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(2));
    assert_eq!(&taken[4096..], pidns(&["--frobnicate"]).stderr);
}

#[test]
fn a_standard_error_that_takes_nothing_changes_nothing() {
    let (reader, broken) = std::io::pipe().unwrap();
    drop(reader);
    for stderr in [OwnedFd::from(full()), broken.into()] {
        for (arguments, status) in
            [(&["--search", "processes"][..], 0), (&["--frobnicate"], 2), (&["translate", "0"], 2)]
        {
            let mut command = Command::new(PIDNS);
            let output = command.args(arguments).stderr(stderr.try_clone().unwrap()).output();
            assert_eq!(output.unwrap().status.code(), Some(status), "{arguments:?}");
        }
    }
}

#[test]
fn a_fifo_a_socket_and_a_terminal_take_it_all() {
    needs!(Program("script"));
    let schema = stdout(&pidns(&["schema"]));

    let dir = public_dir();
    let fifo = dir.path().join("fifo");
    let script = format!("mkfifo {0}; cat {0} & \"$@\" > {0} && wait", fifo.display());
    assert_eq!(stdout(&shell(&script, &["schema"])), schema);

    let (mut peer, socket) = UnixStream::pair().unwrap();
    let mut child =
        Command::new(PIDNS).arg("schema").stdout(OwnedFd::from(socket)).spawn().unwrap();
    let mut taken = String::new();
    peer.read_to_string(&mut taken).unwrap();
    assert!(child.wait().unwrap().success());
    assert_eq!(taken, schema);

    let mut script = Command::new("script");
    script.args(["-qec", &format!("{PIDNS} schema"), "/dev/null"]);
    assert_eq!(stdout(&run(&mut script)).replace("\r\n", "\n"), schema);
}
