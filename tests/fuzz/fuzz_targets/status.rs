//! Parses arbitrary bytes as `/proc/PID/status` and `/proc/PID/stat`. Checks that all PIDs are
//! valid, and that `NSpid` has at most as many PIDs as namespaces can be nested. Each result is
//! written in the kernel's notation, and must be parsed again with the same result.

#![no_main]

use libfuzzer_sys::fuzz_target;
use pidns::collect::parse::{Leaders, Status, leaders, stat, status};
use pidns::model::{MAX_LEVEL, Pid};

fuzz_target!(|bytes: &[u8]| {
    let found = status(bytes);
    assert!(found.nspid.len() <= MAX_LEVEL + 1);
    assert!(found.nspid.iter().copied().chain(found.ppid).all(is_pid));
    assert!(found.state == '?' || found.state.is_ascii_alphabetic());

    let Leaders { session, group } = leaders(bytes);
    assert!(session.into_iter().chain(group).all(is_pid));
    let is_there = |name: &[u8]| bytes.windows(name.len()).any(|part| part == name);
    assert!(session.is_none() || is_there(b"NSsid:"));
    assert!(group.is_none() || is_there(b"NSpgid:"));

    assert!(stat(bytes).is_none_or(|it| it.comm.is_empty() || is_there(it.comm)));

    let again = status(as_the_kernel_writes(&found).as_bytes());
    assert_eq!(again, found);
});

fn is_pid(pid: Pid) -> bool {
    i32::try_from(pid.as_u32()).is_ok_and(|pid| pid > 0)
}

fn as_the_kernel_writes(status: &Status) -> String {
    let Status {
        comm,
        state,
        ppid,
        uid,
        nspid,
        kernel_thread,
        has_memory,
        threads,
        descriptor_capacity,
    } = status;
    let name = comm.replace('\\', "\\\\").replace('\n', "\\n");
    let ppid = ppid.map_or(0, Pid::as_u32);
    let uid = uid.map_or(String::new(), |uid| format!("Uid:\t{uid}\t0\t0\t0\n"));
    let capacity = descriptor_capacity.map_or(String::new(), |count| format!("FDSize:\t{count}\n"));
    let nspid: Vec<_> = nspid.iter().map(Pid::to_string).collect();
    let nspid = nspid.join("\t");
    let kernel_thread =
        kernel_thread.map_or("", |is| ["Kthread:\t0\n", "Kthread:\t1\n"][usize::from(is)]);
    let memory = if *has_memory { "VmPeak:\t    2920 kB\n" } else { "" };
    let threads = threads.map_or(String::new(), |count| format!("Threads:\t{count}\n"));
    format!(
        "Name:\t{name}\nState:\t{state} (sleeping)\nPPid:\t{ppid}\n{uid}{capacity}NSpid:\t{nspid}\n\
         {kernel_thread}{memory}{threads}"
    )
}
