//! Kernels that run no BPF program of pidns, as far as one can be made of this
//! one: what is said by those who name BPF, and what stands in for others.

mod common;

use std::fs::File;
use std::process::Output;

use common::Need::*;
use common::*;

const TYPES: &str = "/sys/kernel/btf/vmlinux";

/// Runs pidns where a file of the kernel is another one; `prepare` puts it there,
/// in a mount namespace that nobody else sees, with `$file` for the other one.
fn with_other(prepare: &str, file: &str, arguments: &[&str]) -> Output {
    let script = format!("file=$1; {prepare} || exit 99; shift; exec \"$@\"");
    let mut all = vec![file, PIDNS, "-q"];
    all.extend(arguments);
    run(in_mount_namespace(&script, &all).env("PIDNS_DEBUG", "1"))
}

/// Those who name BPF are told why it cannot be had, and others do without.
fn is_refused(prepare: &str, file: &str, cause: &str) {
    for arguments in [["--collector", "bpf"], ["--search", "kernel"]] {
        let output = with_other(prepare, file, &arguments);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(said, format!("pidns: cannot ask the kernel by BPF: {cause}\n"));
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
    }
    let output = with_other(prepare, file, &["-f", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert_eq!(said, format!("pidns: collector: proc; not bpf: {cause}\n"));
    Document::read(&stdout(&output));
}

#[test]
fn without_the_types_of_the_kernel_or_with_strange_ones_proc_stands_in() {
    needs!(Initial("pid"), Bpf);
    // auto does not ask where there are few processes.
    let _farm = farm(30, 12);
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, bytes: &[u8]| {
        let path = dir.path().join(name);
        std::fs::write(&path, bytes).unwrap();
        path.into_os_string().into_string().unwrap()
    };
    let strange = format!("{TYPES} makes no sense");
    let types = std::fs::read(TYPES).unwrap();
    let over = format!("mount --bind \"$file\" {TYPES}");
    is_refused(&over, &file("empty", b""), &strange);
    is_refused(&over, &file("text", b"no types at all\n"), &strange);
    is_refused(&over, &file("half", &types[..types.len() / 2]), &strange);
    let large = file("large", b"");
    File::options().write(true).open(&large).unwrap().set_len(1 << 30).unwrap();
    is_refused(&over, &large, &format!("cannot read {TYPES}: File too large (os error 27)"));
    let hidden = "mount -t tmpfs none /sys/kernel/btf";
    let none = format!("cannot read {TYPES}: No such file or directory (os error 2)");
    is_refused(hidden, "", &none);
}

#[test]
fn types_without_what_is_read_are_named() {
    needs!(Initial("pid"), Bpf);
    let _farm = farm(30, 12);
    let dir = tempfile::tempdir().unwrap();
    let mut types = std::fs::read(TYPES).unwrap();
    // The name of one field, which the kernel has under another one then.
    let name = b"\0real_parent\0";
    let at = types.windows(name.len()).position(|it| it == name).expect("is there");
    types[at + 1] = b'?';
    let path = dir.path().join("types");
    std::fs::write(&path, types).unwrap();
    let over = format!("mount --bind \"$file\" {TYPES}");
    let output = with_other(&over, path.to_str().unwrap(), &["--collector", "bpf"]);
    let said = "pidns: cannot ask the kernel by BPF: this kernel has no task_struct.real_parent as \
                pidns knows it\n";
    assert_eq!(String::from_utf8_lossy(&output.stderr), said);
    assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
}

#[test]
fn where_the_kernel_is_locked_down_nothing_is_loaded() {
    needs!(Initial("pid"), Bpf);
    let _farm = farm(30, 12);
    let lock = "mount -t tmpfs none /sys/kernel/security && \
                echo \"$file\" >/sys/kernel/security/lockdown";
    let cause = "the kernel is locked down (confidentiality, see kernel_lockdown(7))";
    is_refused(lock, "none integrity [confidentiality]", cause);
    // Against changes alone, programs may still read.
    let output = with_other(lock, "none [integrity] confidentiality", &["-f", "json"]);
    assert_eq!(String::from_utf8_lossy(&output.stderr), "pidns: collector: bpf\n");
    Document::read(&stdout(&output));
}

#[test]
fn what_the_verifier_says_last_is_the_cause() {
    needs!(Initial("pid"), Bpf);
    let _farm = farm(30, 12);
    let dir = tempfile::tempdir().unwrap();
    // Types of which one is at another place than the kernel has it: the argument
    // of the iterator, which the verifier knows.
    let mut types = std::fs::read(TYPES).unwrap();
    swap_members(&mut types, b"bpf_iter__task");
    let path = dir.path().join("types");
    std::fs::write(&path, types).unwrap();
    let over = format!("mount --bind \"$file\" {TYPES}");
    let output = with_other(&over, path.to_str().unwrap(), &["--collector", "bpf"]);
    let said = String::from_utf8_lossy(&output.stderr);
    let before = "pidns: cannot ask the kernel by BPF: the kernel refused the program: ";
    assert!(said.starts_with(before), "{said}");
    assert_eq!((said.lines().count(), output.status.code()), (1, Some(2)));
    assert!(output.stdout.is_empty());
    let output = with_other(&over, path.to_str().unwrap(), &["-f", "json"]);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(said.starts_with("pidns: collector: proc; not bpf: the kernel refused"), "{said}");
    Document::read(&stdout(&output));
}

/// Exchanges the places of the two members of a struct in the kernel's types.
fn swap_members(types: &mut [u8], name: &[u8]) {
    let word = |types: &[u8], at: usize| {
        usize::try_from(u32::from_le_bytes(*types[at..].first_chunk().unwrap())).unwrap()
    };
    let header = word(types, 4);
    let (start, end) = (header + word(types, 8), header + word(types, 8) + word(types, 12));
    let strings = header + word(types, 16);
    let text = [b"\0", name, b"\0"].concat();
    let at = types[strings..].windows(text.len()).position(|it| it == text).expect("is there");
    let number = u32::try_from(at + 1).unwrap().to_le_bytes();
    // BTF_KIND_STRUCT with two members.
    let head = [&number[..], &[2, 0, 0, 4]].concat();
    let at = start + types[start..end].windows(8).position(|it| it == head).expect("is there");
    let (one, other) = (at + 12 + 8, at + 24 + 8);
    for byte in 0..4 {
        types.swap(one + byte, other + byte);
    }
}
