//! Simulates kernels that cannot run the BPF programs of pidns. Tests that `--collector bpf` then
//! fails with the cause, and that `--collector auto` falls back to /proc.

mod common;

use std::fs::File;
use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use common::Need::*;
use common::*;

const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Runs the shell script `prepare`, which mounts `$file` over a file of the kernel, and then runs
/// pidns. Both run in a private mount namespace.
fn with_other(prepare: &str, file: &str, arguments: &[&str]) -> Output {
    let script = format!("file=$1; {prepare} || exit 99; shift; exec \"$@\"");
    let mut all = vec![file, PIDNS, "-q"];
    all.extend(arguments);
    run(in_mount_namespace(&script, &all).env("PIDNS_DEBUG", "1"))
}

/// Asserts that `--collector bpf` fails with the error `cause`, and that `--collector auto` falls
/// back to /proc.
fn is_refused(prepare: &str, file: &str, cause: &str) {
    for arguments in [["--collector", "bpf"], ["--search", "kernel"]] {
        let output = with_other(prepare, file, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, format!("pidns: cannot read the kernel through BPF: {cause}\n"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
    let output = with_other(prepare, file, &["-f", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, format!("pidns: collector: proc; not bpf: {cause}\n"));
    Document::read(&stdout(&output));
}

#[test]
fn falls_back_to_proc_if_the_kernel_types_are_missing_or_invalid() {
    needs!(Initial("pid"), Bpf, Program("python3"));
    // `auto` does not try BPF on a host with few processes.
    let _crowd = crowd(LARGE_HOST);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let strange = format!("{TYPES} is not valid BTF");
    let types = std::fs::read(TYPES).unwrap();
    let over = format!("mount --bind \"$file\" {TYPES}");
    is_refused(&over, &file("empty", b""), &strange);
    is_refused(&over, &file("text", b"no types at all\n"), &strange);
    is_refused(&over, &file("half", &types[..types.len() / 2]), &strange);
    let large = file("large", b"");
    File::options().write(true).open(&large).unwrap().set_len(1 << 30).unwrap();
    is_refused(&over, &large, &format!("cannot read {TYPES}: File too large (os error 27)"));
    let odd = format!("cannot read {TYPES}: not a regular file");
    is_refused(
        &format!("mkfifo \"$file.$$\" && mount --bind \"$file.$$\" {TYPES}"),
        &file("fifo", b""),
        &odd,
    );
    is_refused(&over, "/dev/zero", &odd);
    let hidden = "mount -t tmpfs none /sys/kernel/btf";
    let none = format!("cannot read {TYPES}: No such file or directory (os error 2)");
    is_refused(hidden, "", &none);
}

#[test]
fn an_error_names_the_missing_field() {
    needs!(Initial("pid"), Bpf);
    let dir = tempfile::tempdir().unwrap();
    let mut types = std::fs::read(TYPES).unwrap();
    // Rename a field in the type information, to simulate a kernel that lacks this field.
    let name = b"\0real_parent\0";
    let at = types.windows(name.len()).position(|it| it == name).expect("exists");
    types[at + 1] = b'?';
    let path = dir.path().join("types");
    std::fs::write(&path, types).unwrap();
    let over = format!("mount --bind \"$file\" {TYPES}");
    let output = with_other(&over, path.to_str().unwrap(), &["--collector", "bpf"]);
    let said = "pidns: cannot read the kernel through BPF: this kernel has no \
                task_struct.real_parent in the form that pidns expects\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}

#[test]
fn loads_nothing_in_kernel_lockdown() {
    needs!(Initial("pid"), Bpf, Program("python3"));
    let _crowd = crowd(LARGE_HOST);
    let lock = "mount -t tmpfs none /sys/kernel/security && \
                echo \"$file\" >/sys/kernel/security/lockdown";
    let cause = "the kernel is locked down (confidentiality, see kernel_lockdown(7))";
    is_refused(lock, "none integrity [confidentiality]", cause);
    // Lockdown in integrity mode, unlike confidentiality mode, lets BPF programs read kernel
    // memory.
    let output = with_other(lock, "none [integrity] confidentiality", &["-f", "json"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "pidns: collector: bpf\n");
    Document::read(&stdout(&output));
}

#[test]
fn the_error_ends_with_the_verifiers_last_message() {
    needs!(Initial("pid"), Bpf, Program("python3"));
    let _crowd = crowd(LARGE_HOST);
    let dir = tempfile::tempdir().unwrap();
    // In the type information, give a field of the iterator's argument a wrong offset. The verifier
    // knows the right offset, and rejects the program.
    let mut types = std::fs::read(TYPES).unwrap();
    swap_members(&mut types, b"bpf_iter__task");
    let path = dir.path().join("types");
    std::fs::write(&path, types).unwrap();
    let over = format!("mount --bind \"$file\" {TYPES}");
    let output = with_other(&over, path.to_str().unwrap(), &["--collector", "bpf"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let before =
        "pidns: cannot read the kernel through BPF: the kernel's verifier rejected the program: ";
    assert!(said.starts_with(before), "{said}");
    assert_eq!((said.lines().count(), output.status.code()), (1, Some(2)));
    assert!(output.stdout.is_empty());
    let output = with_other(&over, path.to_str().unwrap(), &["-f", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(
        said.starts_with("pidns: collector: proc; not bpf: the kernel's verifier rejected"),
        "{said}"
    );
    Document::read(&stdout(&output));
}

#[test]
fn a_wrong_record_of_pidns_costs_no_second_scan() {
    needs!(Initial("pid"), Bpf, Program("python3"), Program("strace"));
    let _crowd = crowd(LARGE_HOST);
    let dir = tempfile::tempdir().unwrap();
    let mut types = std::fs::read(TYPES).unwrap();
    swap_members(&mut types, b"upid");
    let path = dir.path().join("types");
    std::fs::write(&path, types).unwrap();
    let log = dir.path().join("log");
    let over = format!(
        "mount --bind \"$file\" {TYPES} && \
         set -- \"$1\" strace -f -qq -e trace=openat,openat2 -o {} \"${{@:2}}\"",
        log.display()
    );
    // Returns how many directories of processes pidns opens, and standard error.
    let opened = |collector: &[&str]| {
        let output =
            with_other(&over, path.to_str().unwrap(), &[&["-f", "json"], collector].concat());
        Document::read(&stdout(&output));
        let text = std::fs::read_to_string(&log).unwrap();
        let name = |line: &str| line.split('"').nth(1)?.strip_suffix('/')?.parse::<u32>().ok();
        (text.lines().filter_map(name).count(), String::from_utf8(output.stderr).unwrap())
    };
    let (by_proc, _) = opened(&["--collector", "proc"]);
    let (by_auto, said) = opened(&[]);
    // The PID that the program reads is a part of an address.
    assert!(said.starts_with("pidns: collector: proc; not bpf: the kernel returned "), "{said}");
    assert!(by_proc > LARGE_HOST && by_auto < by_proc + LARGE_HOST / 2, "{by_auto} {by_proc}");
}

#[test]
fn a_parent_that_ends_during_the_scan_is_no_error() {
    needs!(Initial("pid"), Bpf, Program("strace"));
    let dir = tempfile::tempdir().unwrap();
    // `strace -D` runs pidns in the process that calls it, so the shell is the parent of pidns. The
    // shell ends while pidns opens its own status to compare it with its record.
    let script = "strace -D -f -qq -o $0.log -e trace=openat2 -P status \
                  -e inject=openat2:delay_enter=2000000:when=1 \
                  $1 -q -f json --collector bpf >$0.out 2>$0.err & echo $!; sleep 600";
    let mut command = Command::new("bash");
    let path = dir.path().join("pidns");
    command.args(["-c", script]).arg(&path).arg(PIDNS).stdout(Stdio::piped());
    let mut parent = command.spawn().expect("starts");
    let mut line = String::new();
    BufReader::new(parent.stdout.take().expect("piped")).read_line(&mut line).expect("is text");
    let pid: u32 = line.trim().parse().unwrap();
    let file = |end: &str| std::fs::read_to_string(path.with_extension(end)).unwrap_or_default();
    // pidns opens this directory just before the file.
    let dir_of_pidns = std::path::PathBuf::from(format!("/proc/{pid}"));
    until("pidns has opened its own directory", || {
        let links = std::fs::read_dir(dir_of_pidns.join("fd")).into_iter().flatten().flatten();
        links.filter_map(|it| std::fs::read_link(it.path()).ok()).any(|it| it == dir_of_pidns)
    });
    assert_eq!(status(pid, "PPid")[0], parent.id().to_string());
    parent.kill().expect("is killed");
    parent.wait().expect("ends");
    until("pidns has ended", || !dir_of_pidns.exists());
    assert_eq!(file("err"), "");
    let document = Document::read(&file("out"));
    let adopter = document.process(pid).ppid.expect("has a parent");
    assert_ne!(adopter, parent.id());
}

/// Swaps the offsets of the two members of a struct in the kernel's type information (BTF).
fn swap_members(types: &mut [u8], name: &[u8]) {
    let word = |types: &[u8], at: usize| {
        usize::try_from(u32::from_le_bytes(*types[at..].first_chunk().unwrap())).unwrap()
    };
    let header = word(types, 4);
    let (start, end) = (header + word(types, 8), header + word(types, 8) + word(types, 12));
    let strings = header + word(types, 16);
    let text = [b"\0", name, b"\0"].concat();
    let at = types[strings..].windows(text.len()).position(|it| it == text).expect("exists");
    let number = u32::try_from(at + 1).unwrap().to_le_bytes();
    // The type information of a struct begins with the offset of its name, the number of members,
    // and BTF_KIND_STRUCT.
    let head = [&number[..], &[2, 0, 0, 4]].concat();
    let at = start + types[start..end].windows(8).position(|it| it == head).expect("exists");
    let (one, other) = (at + 12 + 8, at + 24 + 8);
    for byte in 0..4 {
        types.swap(one + byte, other + byte);
    }
}

#[test]
fn reads_proc_if_little_address_space_is_left() {
    needs!(Initial("pid"), Bpf, Program("python3"));
    let _crowd = crowd(LARGE_HOST);
    let limited = |megabytes: u32, collector: &str| {
        let script = "ulimit -v $(($0 * 1024)); exec \"$@\"";
        let mut command = Command::new("bash");
        command.args(["-c", script, &megabytes.to_string(), PIDNS, "-q", "-f", "json"]);
        run(command.args(["--collector", collector]).env("PIDNS_DEBUG", "1"))
    };
    let least = (4..200).find(|&megabytes| limited(megabytes, "proc").status.success()).unwrap();
    for more in (0..60).step_by(4) {
        let output = limited(least + more, "auto");
        let said = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{more} MB: {} {said}", output.status);
        let expected =
            "pidns: collector: proc; not bpf: little address space is left (ulimit -v)\n";
        assert_eq!(said, expected);
    }
    for more in (0..60).step_by(4) {
        let output = limited(least + more, "bpf");
        let said = String::from_utf8_lossy(&output.stderr);
        let expected =
            "pidns: cannot read the kernel through BPF: little address space is left (ulimit -v)\n";
        assert_eq!((said.as_ref(), output.status.code()), (expected, Some(2)), "{more} MB");
    }
}
