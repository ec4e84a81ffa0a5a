//! Texts of the help and the manual page that belong to no single option, and
//! nothing that parses.

use clap::builder::styling::{AnsiColor, Styles};

use crate::model::CheckCode;

pub(super) const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

pub(super) const ABOUT: &str = "Show the PID namespace hierarchy of a Linux host";

pub(super) const LONG_ABOUT: &str = "\
Show the PID namespace hierarchy of a Linux host: which namespaces exist, how \
they nest, which processes are in each, each process's PIDs in every namespace \
that it is visible in, and what keeps namespaces without processes alive.

Anyone may run it. Without root some of it is inferred or missing; pidns then \
says so in one line on standard error, and in the document (\"complete\", \
\"diagnostics\").";

pub(super) const TRANSLATE: &str = "\
Print the PIDs of processes in another PID namespace, up or down the hierarchy, \
a line each in the order in which they are given, such as for \
kill \"$(pidns translate 7 --from @4242)\".

Without --from and --to: from the namespace of /proc to the process's own; \
without one of them, the namespace of /proc stands for it. Exit status 1 says \
that one of them is no process, or is not visible there; nothing is printed then.";

/// What `pidns check` does, with all of its codes.
pub(super) fn check_about() -> String {
    let mut about = "\
Say what is wrong on this host, or in a saved document: who, and what to do about \
it. What is denied makes the exit status 1; what is warned of is only said. What \
may be over in a moment (zombies, uninterruptible sleep) counts where it is there \
at a second look. With --since what was not there before is left over; the shell \
that runs the check, its parents and the rest of its pipe are not.

Rules: one about somebody (zombie:comm=cron) goes before one that is not, an \
option before --policy, then allow before warn before deny. The codes, with what \
is made of them where no rule holds:
"
    .to_owned();
    for code in CheckCode::ALL {
        let (name, verdict) = (code.name(), code.default_verdict().name());
        about.extend(["\n  ", name, " (", verdict, "): ", code.meaning()]);
    }
    about
}

pub(super) const CHECK_EXIT_STATUS: &str = "\
Exit status:
  0  nothing is denied
  1  something is, or nothing is selected
  2  trouble: wrong arguments, invalid input, /proc unusable, output not written
  3  with --strict: nothing is denied, but the view is incomplete
";

pub(super) const DIFF: &str = "\
Say which processes and PID namespaces came, went or changed between two views: \
two saved documents, or one and the live kernel, which is then read as the \
document was (the same places searched, the same details).

A process is the same if its boot, PID and start time are; a namespace, if the \
kernel's number for it is (Linux 6.18) or its inode and its init are. Where a \
document does not have these, less has to do, and one line on standard error \
says so. Of another boot or host everything is new. A process changes with its \
parent, name, user, or when it stops, goes on or becomes a zombie; whether it \
runs or sleeps is no change. Threads of the kernel are left out unless asked \
for, and so is the process of pidns that took a view. A namespace that went, but \
that a live kernel still has (Linux 6.18 can tell, and since 6.19 of those alone \
that a descriptor of theirs keeps), is hidden: kept by something that /proc does \
not show, such as a descriptor in flight (--search kernel may).";

pub(super) const DIFF_EXIT_STATUS: &str = "\
Exit status:
  0  no difference
  1  there is one, or nothing in both is selected
  2  trouble: wrong arguments, invalid input, /proc unusable, output not written
  3  with --strict: no difference, but one of the views is incomplete
";

pub(super) const RUN_USAGE: &str = "pidns run [OPTIONS] [--] <CMD> [ARG]...";

pub(super) const RUN: &str = "\
Run a command and, when it has ended, say on standard error which processes and \
PID namespaces it has left behind: daemons, also those that forked twice or have \
a session of their own, zombies, stopped processes, namespaces with or without \
processes. Where nothing is left nothing is said.

Needs no privilege, and changes nothing for the command: standard input, output \
and error, process group, terminal and signals are those that pidns has. Its \
orphans become children of pidns (PR_SET_CHILD_SUBREAPER of prctl(2)), so that \
none is lost, and are reaped. Signals that pidns gets are passed on, unless the \
command has them already as those of the terminal's keys; a signal that is sent \
by kill(1) to the whole process group reaches the command twice. One that comes \
after the command has ended (INT, TERM, HUP, QUIT) ends the grace time.

If pidns itself is killed (KILL), the command and what it started stay as they \
are; with --kill the command, though not what it started, is killed then. \
Children that pidns had before it started the command do not count.";

pub(super) const RUN_EXIT_STATUS: &str = "\
Exit status:
  that of CMD; 128 and the number of the signal that ended it
  1    CMD succeeded, but left something that --deny names
  2    trouble: wrong arguments, /proc unusable, the report not written
  126  CMD cannot be executed
  127  CMD is not found
";

/// Commands to learn from, with what they are for.
pub(super) const EXAMPLES: &[(&str, &str)] = &[
    ("the tree of this host", "pidns"),
    ("a picture of it", "pidns -f dot | dot -Tsvg > pidns.svg"),
    (
        "namespaces that nothing can be forked into, and who holds them",
        "pidns -f json | jq '.namespaces[] | select(.state == \"dead\") | {id, holders}'",
    ),
    ("the tree of one container", "pidns --container 3f2a"),
    ("the host's PID of PID 7 in the namespace of process 4242", "pidns translate 7 --from @4242"),
    ("faster: look at processes alone", "pidns --search processes"),
    (
        "what does this job leave behind? Fail if it is a process; end what it is",
        "pidns run --deny leftover-process --kill -- make test",
    ),
    (
        "is anything left of a job? Give it five seconds to end",
        "pidns check --since before.json --wait 5",
    ),
    (
        "what has changed meanwhile?",
        "pidns -f json > before.json; make test; pidns diff before.json",
    ),
    (
        "one host of a file with those of many, made by -f ndjson and cat",
        "pidns -i fleet.ndjson --host web-2",
    ),
    ("save now, look later", "pidns -f json > before.json; pidns -i before.json"),
];

/// Signs in text and pictures, with what they mean; in ASCII, as troff(1) reads
/// nothing else.
pub(super) const READING: &[(&str, &str)] = &[
    (
        "1219 -> 1 nginx",
        "a process with its PIDs: that of the namespace whose /proc was read first, that of its \
         own namespace last. Of more than four the ones between are left out (-> ... ->).",
    ),
    (
        "6 x nginx: 1219 -> 1, 1223 -> 7",
        "members of one name and one state share a line where there are more than three, and so \
         do kernel threads, and sibling namespaces with the same members (nginx x 180 like this). \
         What was named on the command line, an init (it comes first), a zombie among others and \
         who keeps a namespace stay apart; --no-fold keeps all apart.",
    ),
    (
        "DEAD: its init has exited",
        "no process can ever start in this namespace again: a fork into it fails with \"Cannot \
         allocate memory\" (ENOMEM). \"kept by\" says why it is still there, and \"stuck until\" \
         what a terminated init waits for: end or fix that process, and the namespace goes.",
    ),
    (
        "not started yet (nascent)",
        "a namespace was made (unshare -p), but nobody has forked into it yet.",
    ),
    (
        "inferred",
        "the kernel would not say, as for other users' processes without root; it was concluded \
         from PIDs, parents, sessions and groups. What more than one answer fits is listed under \
         unknown.",
    ),
    (
        "parent unknown",
        "the kernel would not name the namespace's parent, and nothing else tells; it stands \
         after the roots, without a level.",
    ),
    (
        "entered by 141 nsenter",
        "the process came from outside, as by nsenter or docker exec: it is not the init, and its \
         parent is in another namespace.",
    ),
    (
        "zombie of 416 sleep",
        "a process that has exited and that its parent, 416, does not reap; stopped and \
         uninterruptible are said likewise.",
    ),
    (
        "a_pid:[4026532179] in an SVG",
        "the id of the box of a namespace, however it is drawn. The link in it has the state as \
         its target, for style sheets and scripts (a[target~=\"dead\"]), and as its title what a \
         box has no room for: whole ids, and all PIDs.",
    ),
];

/// Exit statuses, with what they mean.
pub(super) const EXIT_STATUS: &[(&str, &str)] = &[
    ("0", "done; also where the view is incomplete"),
    (
        "1",
        "a plain no: no such process or namespace, diff found a difference, or check something denied",
    ),
    ("2", "trouble: wrong arguments, invalid input, /proc unusable, output not written"),
    ("3", "with --strict: the view is incomplete"),
];

/// What pidns takes from its environment.
pub(super) const ENVIRONMENT: &[(&str, &str)] = &[
    (
        "NO_COLOR, CLICOLOR, CLICOLOR_FORCE",
        "with --color auto: NO_COLOR takes colours away, as CLICOLOR=0 does; CLICOLOR_FORCE gives \
         them also where standard output is no terminal.",
    ),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "the first that is set is the locale; where its character set is not UTF-8, text is drawn \
         in ASCII.",
    ),
    ("TERM", "no colours where it is dumb."),
];

/// What pidns reads beside what it is told to.
pub(super) const FILES: &[(&str, &str)] = &[
    ("/proc", "what is read of processes and namespaces; see proc(5) and --procfs."),
    (
        "/etc/passwd, /etc/nsswitch.conf",
        "names of users, by the name service; where there are none, users are numbers.",
    ),
];

/// What is related to pidns.
pub(super) const SEE_ALSO: &str =
    "lsns(8), nsenter(1), unshare(1), pid_namespaces(7), proc_pid_status(5), ioctl_nsfs(2)";

/// What the manual page says on security, a paragraph each.
pub(super) const SECURITY: &[&str] = &[
    "pidns acts as the user who runs it, and a scan changes nothing. It reads files of the \
     procfs alone, without leaving its mount. What descriptors, links and bind mounts lead to is \
     opened as a path (O_PATH), and for reading only when it is known to be on nsfs, the file \
     system of namespaces. Namespaces are asked by ioctl_nsfs(2), and mount namespaces listed by \
     listmount(2) or entered by a thread that then ends. User names come from the name service. \
     pidns run also starts the command that it is given, and signals it.",
    "As root, where there are some hundreds of processes, pidns has the kernel verify and run a BPF \
     program that reads what /proc shows of each (a task iterator), and that is unloaded before \
     pidns ends. Loading it leaves a BPF record where audit is on. --collector proc does without. \
     --search kernel loads three more, which read which PID namespaces are in memory and what \
     keeps those without a living init, and opens these namespaces by their numbers \
     (open_by_handle_at(2)).",
    "Other users can cause gaps in a view, which are said (\"complete\", \"diagnostics\", \
     --strict), and choose names, which are made safe for terminals. A container's name comes from \
     a cgroup path: it is for people, and nothing to base a permission on. What --procfs of a \
     container shows is up to who administers it. Other users cannot make pidns open a file, FIFO \
     or device, or wait for a file system that does not answer.",
    "Documents for --input are not trusted, and limited in size; nothing in them is executed, \
     opened or looked up. Documents may hold secrets, such as arguments of processes.",
];

/// What the manual page says of namespaces that no reading of /proc finds, a
/// paragraph each.
pub(super) const LIMITS: &[&str] = &[
    "\"complete\" speaks of the places that can be searched. A namespace without processes can \
     also be kept by what /proc shows nowhere: a descriptor in flight over a UNIX socket; a pidfd \
     of its terminated init; an open directory of /proc that belonged to a dead member; a socket \
     whose peer was a member (SO_PEERCRED) or that signals one (F_SETOWN); its procfs, mounted \
     elsewhere or with a file of it open; fsopen(2), files registered with io_uring, perf events, \
     FUSE mounts and System V shared memory. Such a namespace is not shown, unless --search kernel \
     finds it.",
    "--search kernel takes Linux 6.18, CAP_SYS_ADMIN and CAP_SYS_PTRACE over the host, the /proc of \
     one's own PID namespace and a kernel that runs BPF programs, with any --collector; where it \
     cannot be done it is an error. It searches what is searched by default, too, and shows every \
     PID namespace in or below one's own that has no living init, whatever keeps it. Holders are \
     then also pidfds, UNIX sockets whose peer was a member, UNIX sockets in which something that \
     keeps it waits to be received, and open files of its procfs. Where nothing of that keeps it, \
     it has no holders, and diagnostics says so (held-unseen); the view is complete all the same. \
     Since Linux 6.19 nobody can open one that no descriptor of its own keeps: its parent and owner \
     stay unknown then, and the view is incomplete (namespace-unopened). \
     A namespace that came to lose its init only during the scan is not among them, nor one that \
     somebody keeps who is just ending. Where there is one that /proc leads nowhere to, the \
     search waits 0.2 seconds for the kernel to free what is about to go.",
    "Before Linux 6.12, inside a PID namespace or without CAP_SYS_ADMIN, mounts are seen through \
     the processes that are in a mount namespace: what lies below a mount that covers their root \
     directory may then be missed.",
];

/// What stands below the options.
pub(super) fn after_help() -> String {
    let mut help = "Examples:\n".to_owned();
    for (what, command) in EXAMPLES {
        help.extend(["  # ", what, "\n  ", command, "\n"]);
    }
    help.push_str("\nExit status:\n");
    for (status, meaning) in EXIT_STATUS {
        help.extend(["  ", status, "  ", meaning, "\n"]);
    }
    help
}
