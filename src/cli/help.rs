//! Defines the text of the help and the manual pages, except the descriptions of options.

use clap::Command;
use clap::builder::styling::{AnsiColor, Styles};

use crate::model::CheckCode;

pub(super) const STYLES: Styles = Styles::styled()
    .header(AnsiColor::Green.on_default().bold())
    .usage(AnsiColor::Green.on_default().bold())
    .literal(AnsiColor::Cyan.on_default().bold())
    .placeholder(AnsiColor::Cyan.on_default());

pub(super) const ABOUT: &str = "Show the PID namespace hierarchy of a Linux host";

pub(super) const USAGE: &str = "pidns [OPTIONS] [PID]...\n       pidns [OPTIONS] <COMMAND>";

pub(super) const RUN_USAGE: &str = "pidns run [OPTIONS] [--] <CMD> [ARG]...";

pub(super) const LONG_ABOUT: &str = "\
Show the PID namespace hierarchy of a Linux host: which namespaces exist, how \
they are nested, which processes each one contains, which PID a process has in \
each namespace, and what keeps an empty namespace alive.

Any user can run pidns. Without root, the kernel hides some facts about the \
processes of other users. pidns then infers a fact if only one value is \
possible, and marks the fact as inferred. A line on standard error lists the \
missing information. In JSON and YAML, \"complete\" is false if information is \
missing, and \"diagnostics\" lists the missing information.";

/// Examples for the end of the short help (`-h`).
pub(super) const SHORT_EXAMPLES: &str = "\
Examples:
  pidns 4242         the namespaces that process 4242 is in
  pidns limits       full limits and their main consumers (start here)
  pidns limits 4242  why process 4242 cannot fork, for example another shell
  exec pidns limits  why this shell cannot fork (pidns replaces the shell)";

/// Pairs of a term and its text, such as an exit status and its meaning.
type Terms = &'static [(&'static str, &'static str)];

/// The texts in the help and manual page of a verb, except the descriptions of its options.
pub(super) struct Texts {
    pub(super) description: &'static str,
    pub(super) exit_status: Terms,
    /// Example commands, each preceded by its purpose.
    pub(super) examples: Terms,
}

const TROUBLE: &str = "error: wrong arguments, invalid input, /proc unusable, output not written";

const ONLY_OUTPUT: Terms = &[("0", "success"), ("2", TROUBLE)];

/// The help text of each verb.
pub(super) const VERBS: [(&str, &Texts); 9] = [
    ("translate", &TRANSLATE),
    ("limits", &LIMITS),
    ("check", &CHECK),
    ("diff", &DIFF),
    ("watch", &WATCH),
    ("run", &RUN),
    ("schema", &SCHEMA),
    ("completions", &COMPLETIONS),
    ("man", &MAN),
];

/// Returns the help text of a verb.
pub(super) fn texts(verb: &str) -> Option<&'static Texts> {
    VERBS.into_iter().find(|(name, _)| *name == verb).map(|(_, texts)| texts)
}

/// The help text of pidns without a verb.
pub(super) const PROGRAM: Texts = Texts {
    description: LONG_ABOUT,
    exit_status: &[
        ("0", "success, even if the view is incomplete"),
        ("1", "no such process; snapshots differ; check failed; limit full"),
        ("2", TROUBLE),
        ("3", "with --strict: the view is incomplete"),
    ],
    examples: &[
        ("Show the whole hierarchy", "pidns"),
        ("Show the namespaces that process 4242 is in", "pidns 4242"),
        ("Draw a picture", "pidns -f dot | dot -Tsvg > pidns.svg"),
        ("Show one container, by name or id", "pidns --container web"),
        ("Show dead namespaces, in which no process can start", "pidns --state dead"),
        ("Print the ids of all namespaces", "pidns -f json | jq -r '.namespaces[].id'"),
        ("Show only namespaces that have processes, which is faster", "pidns --search processes"),
        ("Save a snapshot, and show it later", "pidns -f json > before.json; pidns -i before.json"),
        ("Show one host from a file of many hosts", "pidns -i fleet.ndjson --host web-2"),
    ],
};

const TRANSLATE: Texts = Texts {
    description: "\
Translate PIDs to another PID namespace, up or down the hierarchy. The output has \
one line for each PID, in the order of the arguments.

By default, PIDs are translated from the namespace of the procfs to each \
process's own namespace. With --from only, PIDs are translated to the namespace \
of the procfs. With --to only, PIDs are translated from the namespace of the \
procfs.

If one of the processes does not exist or is not visible in the target namespace, \
pidns exits with status 1 and prints no PIDs.",
    exit_status: &[("0", "success"), ("1", "no such process or namespace"), ("2", TROUBLE)],
    examples: &[
        (
            "Print the PID on the host for PID 7 in the namespace of process 4242",
            "pidns translate 7 --from @4242",
        ),
        ("Print the PID of process 4242 in its own namespace", "pidns translate 4242"),
        ("Kill a process by its PID in a container", "kill \"$(pidns translate 7 --from @4242)\""),
    ],
};

const LIMITS: Texts = Texts {
    description: "\
Show why fork fails with \"Resource temporarily unavailable\" (EAGAIN) or \"Cannot \
allocate memory\" (ENOMEM), and why unshare fails with \"No space left on device\" \
(ENOSPC): the limits of processes, PID namespaces, cgroups, users and the host, and \
how much of each limit is in use. Full limits come first, each with the error and with \
commands that make room.

With PIDs, pidns shows all limits of these processes. Without PIDs, it shows the limits \
of the whole host that are at least 80 % used. A saved document has limits if it was \
written with --details limits.

If a shell cannot fork, run 'pidns limits' in another terminal. It shows the limits of \
the host that are full, and their main consumers. For one process, run 'pidns limits PID', \
with the PID that the process has there. (In a PID namespace, $$ shows another number.) \
Without another terminal, replace the shell with pidns: 'exec pidns limits'. This ends the \
shell and, if $$ is 1, all processes in its PID namespace. The numbers include pidns itself, \
which has two threads.

The PIDs and PID namespaces in use are known through BPF only, which needs root on the \
host. A limit that cannot be read is unknown, never guessed.",
    exit_status: &[
        ("0", "no limit is full"),
        ("1", "a limit is full, or no such process"),
        ("2", "error: as elsewhere, or none of the limits could be read"),
        ("3", "with --strict: no limit is full, but the view is incomplete"),
    ],
    examples: &[
        ("Show full and almost full limits, and their main consumers", "pidns limits"),
        ("Show all limits of process 4242", "pidns limits 4242"),
        ("Find out why this shell cannot fork, and end it", "exec pidns limits"),
    ],
};

const CHECK: Texts = Texts {
    description: "\
Check this host, or a saved document, for problems with PID namespaces and \
processes. Each problem is printed with the processes concerned and advice. The \
exit status is 1 if a rule denies one of the problems. Warnings do not change the exit status.

A zombie or a dead namespace counts only if it is still in that state on a second \
check, and a process or thread in uninterruptible sleep only if it has not run in between.

With --since, a process or namespace that is new since the earlier document is a \
leftover, except for the shell that runs the check, its ancestors, the other \
commands of its pipeline, which a pipe must connect with standard input, output or error of \
the check or one of its ancestors, any process that reads the output of the check at its \
standard input (and the ancestors of that process), the client of the check's container (docker run, with the \
arguments of pidns at its end, or with a -c SCRIPT that contains the words pidns and check), any \
other pidns check that is already running, and the heartbeat that a CI agent such as Jenkins runs beside a step (touch, and sleep for at most ten seconds). \
Descendants of the commands count as part of the pipeline, except daemons (setsid) that have \
no terminal, and share no pipe with the pipeline. \
A process whose descriptors pidns may not read, such as sudo tee log, is not a leftover if it \
may have the other end of one of these pipes: its parent is, or was, the shell that could have \
created the pipe, it is still in the session of the check or of an ancestor, and pidns sees \
no other process at that end. Only root can tell such a process from a leftover. \
A PID namespace in which only these processes run is not a leftover. Nor is one without \
processes if it is held open only by these processes, and all of them are new. \
A process that has ended by the time of the verdict is not a leftover, unless its parent has a \
new child of the same name. \
A process causes only a warning if its parent is older than the document and had a child of \
the same name, which has ended: the parent may be a daemon that replaces its workers. \
So do the processes of a container that the document already contains and that its engine has \
restarted. \
If the shell that starts the pipeline is the init of its PID namespace, an earlier command of the \
pipeline can leave a daemon behind before the shell starts the next command. pidns cannot tell \
this daemon from the earlier command if it is not a session leader (setsid). \
Problems that the earlier document already has are left out (limits only if the \
document was saved with --details limits). A zombie, a namespace without processes, or a \
blocked init causes only a warning if everything that causes it may be older than the document. So does \
a limit that was reached, if all its processes may be older or are new workers. Anything \
that started before pidns had scanned the processes for the document is never a leftover. pidns \
searches the places that the scan of the document searched, and those that --search adds. If the \
document was filtered or is incomplete, or if its scan did not search an added place, only \
problems that are certainly new are denied, and one line on standard error says so. A \
document of another boot, host or PID namespace is an error.

With --wait, the check is repeated until it finds nothing to deny, or until the time \
is over. A problem is then denied only if the repetitions have found it for the whole time, \
counted from when it appeared. Other problems cause warnings: for example, a process that \
replaced another one of the same name and parent, and the descendants of that process, because a \
daemon may replace its workers. A filter that hides a worker does not change the verdict about its \
descendants.

Each problem has a code. A rule denies, warns about or allows the problems with a \
code. If several rules match the same problem, a rule for some processes \
(zombie:comm=cron) wins over a rule for all processes. Next, a rule on the \
command line wins over a rule in the --policy file. Last, allow wins over warn, \
and warn wins over deny.",
    exit_status: &[
        ("0", "nothing is denied"),
        ("1", "something is denied, or --root names no namespace"),
        ("2", TROUBLE),
        ("3", "with --strict: nothing is denied, but the view or BEFORE is incomplete"),
    ],
    examples: &[
        ("Check this host", "pidns check"),
        (
            "Report what a job left behind, after waiting for up to five seconds",
            "pidns -f json > before.json; make test; pidns check --since before.json --wait 5",
        ),
        (
            "Also fail on zombies, except those of cron",
            "pidns check --deny zombie --allow zombie:comm=cron",
        ),
        (
            "Read rules from a policy file; the manual page has a longer one",
            "echo 'deny: [zombie]' > rules.yaml; pidns check --policy rules.yaml",
        ),
    ],
};

const DIFF: Texts = Texts {
    description: "\
Show which processes and PID namespaces appeared, disappeared or changed between \
two snapshots: two saved documents, or one document and the live kernel. pidns \
searches the live kernel in the same places, and for the same details, as the \
scan that produced the document.

Two processes are the same if their boot id, PID and start time are equal. Two \
namespaces are the same if their 64-bit ids are equal (Linux 6.18 or later), or, \
without such ids, if their inodes and inits are equal. If a document lacks some \
of these values, pidns compares the other values, and says so in one line on \
standard error. Two snapshots of different boots, hosts \
or PID namespaces cannot be compared.

A process has changed if its parent, name or user has changed, or if it was \
stopped, was continued or became a zombie. Running and sleeping count as the same \
state. Kernel threads are left out unless --kernel-threads is given. The pidns processes that \
took the snapshots are always left out, and so are their ancestors and pipelines, \
unless they are in both snapshots, and PID namespaces that only these processes use.

A namespace that is no longer visible, but still exists in the live kernel, is \
hidden: something that /proc does not show keeps it alive, such as a descriptor \
in flight. pidns can detect hidden namespaces since Linux 6.18. Since Linux 6.19, \
pidns detects a hidden namespace only if a descriptor of that namespace itself \
keeps it alive.",
    exit_status: &[
        ("0", "no difference"),
        ("1", "a difference, or nothing in either snapshot matches the filters"),
        ("2", TROUBLE),
        ("3", "with --strict: no difference, but some may be missing"),
    ],
    examples: &[
        (
            "Show what has changed since a snapshot",
            "pidns -f json > before.json; make test; pidns diff before.json",
        ),
        ("Compare two saved snapshots", "pidns diff before.json after.json"),
    ],
};

const WATCH: Texts = Texts {
    description: "\
Take snapshots of this host at regular intervals, and report what changed between one \
snapshot and the next: processes and PID namespaces that appeared, disappeared or \
changed. Each change is one line with the local time, or one record with -f ndjson, \
and means the same as in 'pidns diff'.

A process or namespace that comes and goes between two snapshots is not reported. If a \
round takes longer than the interval, the rounds that become due meanwhile are \
skipped, and a line says so, at most once a minute. A line also says if a snapshot is \
incomplete for a new reason. If a snapshot cannot be taken, one line says so, and pidns \
tries again in the next round. With an interval below 1 second, a namespace that is \
hidden is reported as gone.

With --until, the watch ends as soon as 'pidns check' would report a new problem with \
that code, and --save keeps the snapshots before and after the problem.

The watch ends on SIGINT, SIGTERM or SIGHUP, if the reader closes the pipe, or if the \
namespace of --root is gone. As root, pidns reads the processes through BPF on hosts \
with 200 processes or more, and loads the BPF program only once. With --details, it \
reads /proc, which takes about ten times as long.",
    exit_status: &[
        ("0", "the problem of --until has occurred; without --until, the watch has ended"),
        ("1", "the watch has ended, but the problem of --until has not occurred"),
        ("2", TROUBLE),
        ("3", "with --strict: as 0, but a snapshot was incomplete"),
    ],
    examples: &[
        ("Report changes until Ctrl-C is pressed", "pidns watch"),
        (
            "Wait until the init of a namespace dies, and save the snapshots around it",
            "pidns watch --until dead-namespace --save /var/tmp",
        ),
        ("Record the changes of ten minutes", "pidns watch --for 600 -f ndjson > changes.ndjson"),
    ],
};

const RUN: Texts = Texts {
    description: "\
Run a command. When the command has ended, report on standard error the processes \
and PID namespaces that it left behind: daemons (even after a double fork or in a \
session of their own), zombies, stopped processes, and namespaces with or without \
processes. pidns prints nothing if nothing is left.

No privileges are needed. pidns becomes the subreaper of the command's orphans \
(PR_SET_CHILD_SUBREAPER in prctl(2)), and reports the descendants of the command. \
Children of pidns that are older than the command are left alone, even if pidns \
adopts them while the command runs, and so are the orphans that they start. If pidns has \
such children, or is the init of a PID namespace, it runs the command in a second pidns process.

Some processes are not descendants of the command, so they are not reported: \
processes that a service such as dockerd or systemd starts for the command, and \
orphans in a PID namespace that the command entered (nsenter, docker exec). A \
namespace without processes is not reported if only processes outside the command \
keep it, because the kernel does not tell when a namespace was created. 'pidns \
check --since' reports both. With --cgroup, pidns run reports these orphans, too, \
unless they were moved to another cgroup.

A namespace without processes that is older than the command is reported if the \
command opened it, unless pidns has inherited a descriptor of it or it is bind-mounted \
where pidns runs.

The command has the same standard streams, process group, terminal and signal \
dispositions as without pidns, except signals 32 and 33, which are ignored because the C library uses \
them itself. If pidns is started with SIGCHLD ignored, it exits with status \
125, because it could not get the exit status of the command. All signals except SIGKILL, SIGSTOP and those for \
faults such as SIGSEGV are passed on to the command, unless the terminal has sent \
the signal to the command, too. A signal sent to the whole process group by \
kill(1) reaches the command twice. A signal that a descendant of the command sends to pidns \
is not passed on if the command is in the process group of pidns, because pidns cannot tell it \
from a signal to the whole group (kill 0). If the sender has already been reaped, pidns passes the \
signal on, so a signal to the whole group reaches the command twice. If the command makes pidns its tracer (PTRACE_TRACEME), pidns \
stops tracing it at its next signal. If another process traces the command (strace -p), pidns waits until \
the tracer has reaped the command. If SIGINT ends the command, pidns ends by \
SIGINT as well, so that a shell script stops. After the command has ended, \
SIGINT, SIGTERM, SIGHUP and SIGQUIT end the grace period, and the wait for a slow reader of a \
report, unless the signal was already ignored when pidns was started (nohup). A signal that \
arrives twice within half a second counts once, because timeout(1) sends it to pidns and to its \
process group.

If pidns itself is killed by SIGKILL, the command keeps running. With --kill, the \
kernel then kills the command, too, but not the processes that the command started, and not a \
command that is a set-user-ID or set-group-ID program or has file capabilities (execve(2)). With \
--cgroup, the cgroup pidns-run-PID stays below the cgroup of pidns: remove it with rmdir when \
it is empty.",
    exit_status: &[
        ("N", "the exit status of CMD, or 128 plus the number of the signal that terminated it"),
        ("123", "CMD succeeded, but left behind a problem that --deny lists"),
        ("125", "error of pidns itself: wrong arguments, /proc unusable, report not opened"),
        ("126", "CMD cannot be executed"),
        ("127", "CMD was not found"),
    ],
    examples: &[
        ("Report what a command leaves behind", "pidns run -- make test"),
        (
            "Fail if a process is left behind, and kill this process",
            "pidns run --deny leftover-process --kill -- make test",
        ),
    ],
};

const SCHEMA: Texts = Texts {
    description: "Print the JSON Schema (draft 2020-12) of an output format.",
    exit_status: ONLY_OUTPUT,
    examples: &[("Print the schema of the output of diff -f json", "pidns schema diff")],
};

const COMPLETIONS: Texts = Texts {
    description: "\
Print a completion script. Besides options, the script completes PIDs, process \
names, users and containers of the running host.",
    exit_status: ONLY_OUTPUT,
    examples: &[
        ("Load the completions in a running Bash", "source <(pidns completions bash)"),
        (
            "Install the completions for fish",
            "pidns completions fish > ~/.config/fish/completions/pidns.fish",
        ),
    ],
};

const MAN: Texts = Texts {
    description: "Print the manual page of pidns, or of one of its commands, in roff.",
    exit_status: ONLY_OUTPUT,
    examples: &[("Read a manual page", "pidns man check | man -l -")],
};

/// Adds the help text of a verb to the verb's definition.
pub(super) fn with_texts(verb: Command) -> Command {
    let Some(texts) = texts(verb.get_name()) else { return verb };
    let mut after = String::new();
    if verb.get_name() == "check" {
        after.push_str("Codes, each with its verdict if no rule matches:\n");
        for (code, meaning) in codes() {
            after.extend(["  ", &code, ": ", meaning, "\n"]);
        }
        after.push('\n');
    }
    let after = after + &examples_and_status(texts);
    verb.long_about(texts.description).after_long_help(after)
}

/// Returns one pair per check code: the code with its default verdict, and the meaning of the code.
pub(super) fn codes() -> impl Iterator<Item = (String, &'static str)> {
    CheckCode::ALL.iter().map(|code| {
        let (name, verdict) = (code.name(), code.default_verdict().name());
        (format!("{name} ({verdict})"), code.meaning())
    })
}

/// Returns the examples and exit statuses for the end of `pidns --help`.
pub(super) fn after_long_help() -> String {
    examples_and_status(&PROGRAM)
}

fn examples_and_status(texts: &Texts) -> String {
    let mut help = "Examples:\n".to_owned();
    for (what, command) in texts.examples {
        help.extend(["  # ", what, "\n  ", command, "\n"]);
    }
    help.push_str("\nExit status:\n");
    for (status, meaning) in texts.exit_status {
        let padded = format!("  {status:<3}  ");
        help.extend([padded.as_str(), meaning, "\n"]);
    }
    help
}
