//! Tests the exit status and the error message of pidns if standard output is full, closed or
//! slow. Also tests that no signal or abort ends pidns.

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

/// Returns argument lists that together cover each output format and each kind of output of pidns.
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

/// Runs a shell script in which `"$@"` expands to pidns with these arguments.
fn shell(script: &str, arguments: &[impl AsRef<str>]) -> Output {
    let arguments = arguments.iter().map(AsRef::as_ref);
    run(Command::new("bash").args(["-c", script, "bash", PIDNS]).args(arguments))
}

/// Returns the exit status and the standard error of a program. The exit status is `None` if a
/// signal ended the program.
fn result(output: &Output) -> (Option<i32>, String) {
    (output.status.code(), String::from_utf8(output.stderr.clone()).expect("is text"))
}

/// Returns the expected [`result`] if pidns could not write its output.
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
fn a_closed_pipe_is_not_an_error() {
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
fn a_reader_may_stop_after_the_first_line() {
    needs!(NamespaceOfItsOwn);
    for arguments in all_outputs() {
        let output = shell("\"$@\" | head -n 1; exit ${PIPESTATUS[0]}", &arguments);
        assert_eq!(result(&output), succeeded(), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stdout).lines().count(), 1, "{arguments:?}");
    }
}

#[test]
fn a_full_disk_fails_with_status_2() {
    for arguments in all_outputs() {
        let output = Command::new(PIDNS).args(&arguments).stdout(full()).output().unwrap();
        let expected = not_written("No space left on device (os error 28)");
        assert_eq!(result(&output), expected, "{arguments:?}");
    }
}

#[test]
fn a_partial_write_to_a_full_disk_fails() {
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
fn the_file_size_limit_causes_an_error_and_no_signal() {
    let file = tempfile::NamedTempFile::new().unwrap();
    let path = file.path().to_str().unwrap();
    for arguments in all_outputs() {
        let script = format!("ulimit -f 0; exec \"$@\" > {path}");
        let output = shell(&script, &arguments);
        let expected = not_written("File too large (os error 27)");
        assert_eq!(result(&output), expected, "{arguments:?}");
    }
    // The unit of `ulimit -f` is 1024 bytes, so this limits files to 3 * 1024 bytes.
    let output = shell(&format!("ulimit -f 3; exec \"$@\" > {path}"), &["schema"]);
    assert_eq!(result(&output), not_written("File too large (os error 27)"));
    let taken = std::fs::read(path).unwrap();
    assert_eq!(taken, &pidns(&["schema"]).stdout[..3 * 1024]);
    // The file size limit also applies to standard error if standard error is a file.
    let output = shell(&format!("ulimit -f 0; exec \"$@\" 2> {path}"), &["--frobnicate"]);
    assert_eq!(result(&output), (Some(2), String::new()));
}

#[test]
fn a_closed_standard_output_fails_with_status_2() {
    for arguments in all_outputs() {
        let output = shell("exec \"$@\" >&-", &arguments);
        let expected = not_written("Bad file descriptor (os error 9)");
        assert_eq!(result(&output), expected, "{arguments:?}");
    }
}

#[test]
fn a_read_only_standard_output_fails_with_status_2() {
    let output = shell("exec \"$@\" > /dev/null 1< /dev/null", &["schema"]);
    assert_eq!(result(&output), not_written("Bad file descriptor (os error 9)"));
}

#[test]
fn dev_null_accepts_all_output() {
    needs!(NamespaceOfItsOwn);
    // Also open /dev/null for reading and writing, as daemon(3) and Python do.
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
fn closed_descriptors_without_dev_null_cause_no_abort() {
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
        // Clear the environment, because environment variables also take space on the stack.
        command.env_clear().args(["-c", "ulimit -s 16; exec \"$@\"", "bash", PIDNS]);
        let output = run(command.args(&arguments));
        assert_eq!(output.status.signal(), None, "{arguments:?}: {output:?}");
        let expected = pidns(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
        assert_eq!(output.status, expected.status, "{arguments:?}: {output:?}");
    }
}

#[test]
fn run_passes_signals_on_with_a_small_stack() {
    let script = "trap 'exit 7' TERM; echo ready; while :; do sleep 0.01; done";
    let mut command = Command::new("bash");
    command.env_clear().args(["-c", "ulimit -s 16; exec \"$@\"", "bash", PIDNS]);
    let (mut running, _) = start_command(command.args(["run", "--", "bash", "-c", script]));
    let pid = rustix::process::Pid::from_child(&running.0);
    rustix::process::kill_process(pid, rustix::process::Signal::TERM).unwrap();
    assert_eq!(running.0.wait().unwrap().code(), Some(7));
}

/// Starts pidns with a full, non-blocking pipe of 4096 bytes as standard output (if `to` is 1) or
/// as standard error (if `to` is 2). Returns pidns and the read end of the pipe.
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
    // If pidns sleeps, it is waiting for space in the pipe, since it waits for nothing else.
    until("the process waits", || status(child.id(), "State").first().is_some_and(|it| it == "S"));
    (child, reader)
}

#[test]
fn waits_for_a_non_blocking_standard_output() {
    let (child, mut reader) = start_with_full_pipe(1, &["schema"]);
    let mut taken = Vec::new();
    reader.read_to_end(&mut taken).unwrap();
    assert_eq!(result(&child.wait_with_output().unwrap()), succeeded());
    assert_eq!(&taken[4096..], pidns(&["schema"]).stdout);
    // pidns must stop waiting when the reader closes the pipe.
    let (child, reader) = start_with_full_pipe(1, &["schema"]);
    drop(reader);
    assert_eq!(result(&child.wait_with_output().unwrap()), succeeded());
}

#[test]
fn waits_for_a_non_blocking_standard_error() {
    let (child, mut reader) = start_with_full_pipe(2, &["--frobnicate"]);
    let mut taken = Vec::new();
    reader.read_to_end(&mut taken).unwrap();
    assert_eq!(child.wait_with_output().unwrap().status.code(), Some(2));
    assert_eq!(&taken[4096..], pidns(&["--frobnicate"]).stderr);
}

#[test]
fn an_unwritable_standard_error_does_not_change_the_status() {
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
fn writes_everything_to_a_fifo_a_socket_and_a_terminal() {
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
