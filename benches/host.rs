//! Measures complete runs of pidns on hosts with many PID namespaces. Compares pidns with `lsns`, and
//! with a lower bound, the *floor*: a program that uses the same number of threads, and makes only
//! the system calls that every program of this kind needs.
//!
//! ```sh
//! cargo bench --bench host                       # the figures in docs/performance.md
//! cargo bench --bench host -- 2000 5 10 3 2      # PROCESSES DEPTH CHAINS FDS LOOSE
//! PIDNS_BESIDE=/tmp/pidns-old cargo bench --bench host   # also measures another build
//! ```
//!
//! Needs root, `dash`, and `unshare` and `setpriv` (util-linux). All processes that the benchmark
//! starts are killed when it ends, even if the benchmark itself is killed.

use std::env;
use std::ffi::OsStr;
use std::fmt::{Debug, Write as _};
use std::fs;
use std::mem::MaybeUninit;
use std::os::unix::process::CommandExt as _;
use std::process::{Child, Command, Stdio, exit};
use std::sync::atomic::{AtomicI32, Ordering};
use std::sync::{Mutex, OnceLock};
use std::thread;
use std::time::{Duration, Instant};

use rustix::fd::{AsFd as _, BorrowedFd};
use rustix::fs::{AtFlags, CWD, Mode, OFlags, RawDir, StatxFlags, openat, readlinkat_raw, statx};
use rustix::process::{Pid, Signal, kill_process_group};

const PIDNS: &str = env!("CARGO_BIN_EXE_pidns");
const PID_MAX: &str = "/proc/sys/kernel/pid_max";
/// Number of measured rounds. Must be even, because every second round runs the commands in reverse
/// order.
const RUNS: usize = 10;

/// The process group of all processes that [`grow`] started.
static FOREST: AtomicI32 = AtomicI32::new(0);
/// The original value of `pid_max`, if the benchmark has raised it.
static PID_MAX_BEFORE: OnceLock<String> = OnceLock::new();

fn main() {
    let arguments: Vec<String> = env::args().skip(1).filter(|it| it != "--bench").collect();
    let words: Vec<&str> = arguments.iter().map(String::as_str).collect();
    match words.as_slice() {
        ["floor", "processes"] => floor(false),
        ["floor", "default"] => floor(true),
        ["peak", command @ ..] => peak(command),
        [] => suite(),
        shape => match shape.iter().map(|it| it.parse()).collect::<Result<Vec<usize>, _>>() {
            Ok(numbers) if numbers.len() == 5 => {
                let [processes, depth, chains, fds, loose] = numbers[..] else { return };
                prepare();
                measure(&Shape { processes, depth, chains, fds, loose });
                take_down();
            }
            _ => eprintln!("usage: host [PROCESSES DEPTH CHAINS FDS LOOSE]"),
        },
    }
}

/// Measures the figures in docs/performance.md.
fn suite() {
    prepare();
    println!("\n## This host as it is, {} processes\n", listed());
    let mut commands = pidns(&["-f json"]);
    commands.push(lsns());
    table(&commands);
    for (processes, chains) in
        [(300, 2), (500, 2), (1_000, 4), (2_000, 8), (10_000, 40), (50_000, 200)]
    {
        measure(&Shape { processes, depth: 5, chains, fds: 3, loose: 0 });
    }
    measure(&Shape { processes: 10_000, depth: 5, chains: 40, fds: 5, loose: 0 });
    take_down();
}

/// Numbers of namespaces, processes and descriptors to create.
struct Shape {
    /// Total number of idle processes in all chains.
    processes: usize,
    /// Number of nested namespaces in each chain.
    depth: usize,
    chains: usize,
    /// Number of open descriptors of each process.
    fds: usize,
    /// Number of idle processes outside of the chains.
    loose: usize,
}

fn measure(shape: &Shape) {
    let forest = grow(shape);
    println!(
        "\n## {} processes in {} namespaces, {} deep, {} open descriptors each\n",
        listed(),
        shape.depth * shape.chains,
        shape.depth,
        shape.fds
    );
    let own = env::current_exe().unwrap_or_default();
    let own = own.to_str().unwrap_or_default();
    let nested = nested().expect("the forest exists");
    let translate = format!("translate 1 --from @{nested}");
    let mut commands = vec![floor_of(own, "processes")];
    commands.extend(pidns(&[
        "-f json --search processes",
        "-f json --search processes --collector proc",
        "-f json --search processes --collector bpf",
    ]));
    commands.push(floor_of(own, "default"));
    commands.extend(pidns(&[
        "-f json",
        "-f json --collector proc",
        "-f json --collector bpf",
        "-f text",
        "-f yaml",
        "-f dot",
        &translate,
    ]));
    commands.push(lsns());
    table(&commands);
    fell(forest);
}

/// A label for the printed table, and the command to measure.
type Measured = (String, Vec<String>);

fn words(line: &str) -> Vec<String> {
    line.split(' ').map(str::to_owned).collect()
}

/// Returns the commands to measure: pidns with each line of arguments, both from this build and
/// from the build that `PIDNS_BESIDE` names.
fn pidns(lines: &[&str]) -> Vec<Measured> {
    let beside = env::var("PIDNS_BESIDE").ok();
    let builds = [("pidns", Some(PIDNS.to_owned())), ("beside", beside)];
    let mut measured = Vec::new();
    for line in lines {
        for (name, program) in &builds {
            let Some(program) = program else { continue };
            if *name == "beside" && line.contains("--collector") {
                // The build in `PIDNS_BESIDE` may be too old to have this option.
                continue;
            }
            let mut command = vec![program.clone()];
            command.extend(words(line));
            if !line.starts_with("translate") {
                command.push("-q".to_owned());
            }
            let line = line.split(" --from").next().unwrap_or_default();
            measured.push((format!("{name} {line}"), command));
        }
    }
    measured
}

fn lsns() -> Measured {
    let line = "lsns -t pid --json";
    (line.to_owned(), words(line))
}

fn floor_of(own: &str, search: &str) -> Measured {
    (format!("floor of {search}"), vec![own.to_owned(), "floor".to_owned(), search.to_owned()])
}

/// Runs all commands in each of several rounds, so that other load on the machine affects all of
/// them equally. Every second round runs the commands in reverse order, since a command may profit
/// from caches that the previous command has filled. Prints a table of the medians.
fn table(commands: &[Measured]) {
    let mut times = vec![Vec::new(); commands.len()];
    for run in 0..=RUNS {
        for at in 0..commands.len() {
            let index = if run % 2 == 0 { at } else { commands.len() - 1 - at };
            let command = &commands[index].1;
            let start = Instant::now();
            if spawn(command).is_none() {
                continue;
            }
            // The first round only fills the caches, so its times are ignored.
            if run > 0 {
                times[index].push(start.elapsed());
            }
        }
    }
    let medians: Vec<Option<Duration>> = times
        .iter_mut()
        .map(|times| {
            times.sort_unstable();
            let middle = times.len().checked_sub(1)? / 2;
            Some((times[middle] + times[times.len() / 2]) / 2)
        })
        .collect();
    let lsns = medians[commands.len() - 1];
    let processes = listed();
    println!("| command | median ms | fastest ms | x floor | x lsns | peak MiB | us per process |");
    println!("|---|---|---|---|---|---|---|");
    let mut floor = None;
    for (index, (name, command)) in commands.iter().enumerate() {
        let Some(median) = medians[index] else {
            println!("| {name} | not installed | | | | | |");
            continue;
        };
        if name.starts_with("floor") {
            floor = Some(median);
        }
        let mut row = format!("| {name} | {:.1} | {:.1} |", ms(median), ms(times[index][0]));
        for other in [floor.filter(|_| !name.starts_with("lsns")), lsns] {
            let _ = match other {
                Some(other) => write!(row, " {:.2} |", median.as_secs_f64() / other.as_secs_f64()),
                None => write!(row, " |"),
            };
        }
        let count = u32::try_from(processes).map_or(f64::NAN, f64::from);
        let per_process = median.as_secs_f64() * 1e6 / count;
        println!("{row} {:.1} | {per_process:.1} |", peak_of(command));
    }
}

fn ms(time: Duration) -> f64 {
    time.as_secs_f64() * 1e3
}

/// Runs a command and discards its output. Returns `None` if the program is not installed.
fn spawn<S: AsRef<OsStr> + Debug>(command: &[S]) -> Option<()> {
    let mut child = Command::new(command.first()?);
    child.args(&command[1..]).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let status = child.status().ok()?;
    assert!(status.success(), "{command:?}: {status}");
    Some(())
}

/// Returns the peak memory of a command in MiB. The command runs as the only child of a helper
/// process, because the kernel reports a single peak for all children of a process.
fn peak_of(command: &[String]) -> f64 {
    let mut helper = Command::new(env::current_exe().unwrap_or_default());
    let output = helper.arg("peak").args(command).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned());
    text.unwrap_or_default().trim().parse::<f64>().unwrap_or(f64::NAN) / 1024.0
}

fn peak(command: &[&str]) {
    use nix::sys::resource::{UsageWho, getrusage};
    spawn(command);
    match getrusage(UsageWho::RUSAGE_CHILDREN) {
        Ok(usage) => println!("{}", usage.max_rss()),
        Err(error) => eprintln!("getrusage: {error}"),
    }
}

/// Counts the processes in /proc.
fn listed() -> usize {
    fs::read_dir("/proc").map_or(0, |entries| {
        let is_process = |name: &std::ffi::OsStr| name.as_encoded_bytes()[0].is_ascii_digit();
        entries.flatten().filter(|entry| is_process(&entry.file_name())).count()
    })
}

/// Returns the PID of a process that is in another PID namespace than this program.
fn nested() -> Option<String> {
    let host = fs::read_link("/proc/self/ns/pid").ok()?;
    fs::read_dir("/proc").ok()?.flatten().find_map(|entry| {
        let namespace = fs::read_link(entry.path().join("ns/pid")).ok()?;
        (namespace != host).then(|| entry.file_name().into_string().ok())?
    })
}

fn prepare() {
    let handled = ctrlc::set_handler(|| {
        take_down();
        exit(130);
    });
    if let Err(error) = handled {
        eprintln!("pid_max will not be restored after Ctrl-C: {error}");
    }
}

/// Starts the namespaces and processes, and raises `pid_max` if necessary.
fn grow(shape: &Shape) -> Child {
    let before = fs::read_to_string(PID_MAX).unwrap_or_default();
    let room = 2 * shape.processes + 20_000;
    if before.trim().parse::<usize>().is_ok_and(|max| max < room) {
        fs::write(PID_MAX, room.to_string()).expect("pid_max can be raised by root");
        let _ = PID_MAX_BEFORE.set(before);
    }
    // Each idle process is a fork of a small shell, and waits for input from a FIFO that nobody
    // writes to. The shells at all levels run the same script, which is passed in the environment.
    let script = "if [ $1 -gt 1 ]; then \
             unshare -pf --kill-child dash -c \"$SCRIPT\" dash $(($1 - 1)) $2 & fi; \
         i=1; while [ $i -lt $2 ]; do read x <&3 & i=$((i + 1)); done; wait";
    let mut open = String::new();
    for fd in 4..=shape.fds {
        let _ = write!(open, "exec {fd}</dev/null; ");
    }
    let per_namespace = shape.processes / (shape.depth * shape.chains);
    let start = format!(
        "exec 3<> \"$FIFO\"; {open} i=0; while [ $i -lt {} ]; do \
             unshare -pf --kill-child dash -c \"$SCRIPT\" dash {} {per_namespace} & i=$((i + 1)); done; \
         i=0; while [ $i -lt {} ]; do read x <&3 & i=$((i + 1)); done; wait",
        shape.chains, shape.depth, shape.loose
    );
    let fifo = env::temp_dir().join(format!("pidns-bench-{}", std::process::id()));
    let _ = fs::remove_file(&fifo);
    let made = Command::new("mkfifo").arg(&fifo).status();
    assert!(made.is_ok_and(|status| status.success()), "mkfifo");
    let before = listed();
    // When this program ends, the kernel kills `setpriv`, and with it all namespaces of the
    // benchmark.
    let mut command = Command::new("setpriv");
    command.args(["--pdeathsig", "KILL", "unshare", "-pf", "--kill-child", "dash", "-c", &start]);
    command.env("SCRIPT", script).env("FIFO", &fifo).stdin(Stdio::null()).process_group(0);
    let forest = command.spawn().expect("setpriv, unshare and dash are installed");
    FOREST.store(i32::try_from(forest.id()).unwrap_or(0), Ordering::SeqCst);
    // Each namespace also has an `unshare` process, which runs outside of that namespace.
    let expected = before + shape.processes + shape.loose + shape.depth * shape.chains;
    let end = Instant::now() + Duration::from_secs(600);
    while listed() < expected {
        assert!(Instant::now() < end, "the forest does not grow: {} of {expected}", listed());
        thread::sleep(Duration::from_millis(200));
    }
    let _ = fs::remove_file(fifo);
    thread::sleep(Duration::from_secs(1));
    forest
}

fn fell(mut forest: Child) {
    take_down();
    let _ = forest.wait();
    let end = Instant::now() + Duration::from_secs(60);
    while fs::metadata(format!("/proc/{}", forest.id())).is_ok() && Instant::now() < end {
        thread::sleep(Duration::from_millis(50));
    }
    thread::sleep(Duration::from_secs(3));
}

/// Kills all processes that [`grow`] started, and restores `pid_max`.
fn take_down() {
    if let Some(group) = Pid::from_raw(FOREST.swap(0, Ordering::SeqCst)) {
        let _ = kill_process_group(group, Signal::KILL);
    }
    if let Some(before) = PID_MAX_BEFORE.get() {
        let _ = fs::write(PID_MAX, before);
    }
}

/// Makes only the system calls that any program must make to read the same facts from /proc.
fn floor(whole: bool) {
    const BATCH: usize = 64;
    let proc = openat(CWD, c"/proc", OFlags::RDONLY | OFlags::DIRECTORY, Mode::empty());
    let proc = proc.expect("/proc opens");
    let mut buffer = vec![MaybeUninit::uninit(); 32 * 1024];
    let listing = Mutex::new(RawDir::new(&proc, &mut buffer));
    let next = |batch: &mut Vec<u32>| {
        batch.clear();
        let mut listing = listing.lock().expect("no thread panics");
        while batch.len() < BATCH {
            let Some(Ok(entry)) = listing.next() else { break };
            batch.extend(entry.file_name().to_str().ok().and_then(|name| name.parse::<u32>().ok()));
        }
    };
    let work = || {
        let mut batch = Vec::with_capacity(BATCH);
        next(&mut batch);
        while !batch.is_empty() {
            for &pid in &batch {
                read_one(proc.as_fd(), pid, whole);
            }
            next(&mut batch);
        }
    };
    let threads = thread::available_parallelism().map_or(1, |cores| cores.get().min(8));
    thread::scope(|scope| {
        for _ in 1..threads {
            scope.spawn(work);
        }
        work();
    });
}

fn read_one(proc: BorrowedFd<'_>, pid: u32, whole: bool) {
    let mut link = [0; 32];
    let mut status = [MaybeUninit::<u8>::uninit(); 4096];
    let flags = OFlags::RDONLY | OFlags::CLOEXEC;
    let Ok(file) = openat(proc, format!("{pid}/status"), flags, Mode::empty()) else { return };
    let _ = readlinkat_raw(proc, format!("{pid}/ns/pid"), &mut link);
    let _ = rustix::io::read(&file, &mut status);
    drop(file);
    if !whole {
        return;
    }
    let _ = readlinkat_raw(proc, format!("{pid}/ns/pid_for_children"), &mut link);
    let _ = readlinkat_raw(proc, format!("{pid}/ns/mnt"), &mut link);
    if let Ok(file) = openat(proc, format!("{pid}/stat"), flags, Mode::empty()) {
        let _ = rustix::io::read(&file, &mut status);
    }
    let Ok(table) = openat(proc, format!("{pid}/fd"), flags | OFlags::DIRECTORY, Mode::empty())
    else {
        return;
    };
    let mut buffer = [MaybeUninit::uninit(); 4096];
    let mut entries = RawDir::new(&table, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        if entry.file_name().to_bytes()[0] != b'.' {
            let (at, mask) = (AtFlags::STATX_DONT_SYNC, StatxFlags::TYPE | StatxFlags::INO);
            let _ = statx(&table, entry.file_name(), at, mask);
        }
    }
}
