//! Sections of the manual page that are not part of the help.

/// A list of terms with their meanings.
pub(super) type Terms = &'static [(&'static str, &'static str)];

/// Explains the notation of the text and picture formats. ASCII only, for troff(1).
pub(super) const READING: Terms = &[
    (
        "1219 -> 1 nginx",
        "A process and its PIDs, from the namespace of the procfs to the process's own. If there \
         are more than four PIDs, the PIDs in the middle are left out (-> ... ->).",
    ),
    (
        "6 x nginx: 1219 -> 1, 1223 -> 7",
        "More than three members with the same name and state share a line. So do kernel threads, \
         and sibling namespaces with the same members (nginx x 180 like this). An init, a process \
         named on the command line, a zombie among others, and a process that holds a namespace \
         keep their own lines. --no-fold gives every process its own.",
    ),
    (
        "DEAD: its init has exited",
        "No process can ever start in this namespace again: a fork into it fails with \"Cannot \
         allocate memory\" (ENOMEM). \"kept by\" names what keeps the namespace alive. \"stuck \
         until\" names the process that a terminated init waits for; the namespace disappears \
         after that process is gone.",
    ),
    (
        "not started yet (nascent)",
        "The namespace was created (unshare -p), but no process has been forked into it yet.",
    ),
    (
        "inferred",
        "The kernel did not report this fact, for example for other users' processes without root. \
         pidns inferred it from PIDs, parents, sessions and groups. Processes that could be in \
         more than one namespace are listed under \"unknown\".",
    ),
    (
        "parent unknown",
        "The kernel did not report the parent of the namespace, and pidns could not infer it. The \
         namespace is shown after the roots, without a level.",
    ),
    (
        "entered by 141 nsenter",
        "The process came from outside, for example by nsenter or docker exec. It is not the \
         init, and its parent is in another namespace. \"entered, reparented to 1 systemd\" means \
         that this parent has exited, and that an init outside has adopted the process.",
    ),
    (
        "leader thread exited",
        "The main thread of the process has exited, but other threads still run. /proc shows such \
         a process as a zombie, but it cannot be reaped yet.",
    ),
    (
        "child of 1220 containerd-shim",
        "With --tree: the parent of a process that is not drawn below it, because the parent is in \
         another namespace or hidden by a filter, or because the tree is too deep to indent further.",
    ),
    (
        "300 x worker like this: 12, 14",
        "With --tree: more than three siblings with the same processes below them. The lines that \
         follow show the processes below each sibling.",
    ),
    (
        "shares net, ipc with the host",
        "With --details namespaces: the init uses the network and IPC namespaces of the host, or of \
         another container, which is then named. The types net, ipc, uts and mnt are compared, \
         because most containers share the others with the host.",
    ),
    (
        "nsenter -t 1224 -a sh",
        "pidns PID ends with this command, which starts a shell in all namespaces of the process. It \
         needs root. In the findings of check -f json, it is the field enter.",
    ),
    (
        "zombie of 416 sleep",
        "A process that has exited, but has not been reaped by its parent, 416. Stopped, \
         frozen and uninterruptible processes are marked in the same way.",
    ),
    (
        "a_pid:[4026532179] in an SVG",
        "The element id of the box of a namespace. The box is a link: its target is the state, for \
         style sheets and scripts (a[target~=\"dead\"]), and its title contains the full ids and \
         all PIDs.",
    ),
];

/// Environment variables that pidns reads.
pub(super) const ENVIRONMENT: Terms = &[
    (
        "NO_COLOR, CLICOLOR, CLICOLOR_FORCE",
        "With --color auto, NO_COLOR or CLICOLOR=0 turns colours off. CLICOLOR_FORCE turns them \
         on even if standard output is not a terminal.",
    ),
    (
        "LC_ALL, LC_CTYPE, LANG",
        "The first of these that is set is the locale. If its character set is not UTF-8, text is \
         printed in ASCII, as with --ascii.",
    ),
    ("TERM", "If it is \"dumb\", colours are off."),
    (
        "PIDNS_DEBUG",
        "If set to anything but 0, one line on standard error says how the kernel was read: \
         through /proc or by BPF, and why.",
    ),
    (
        "PIDNS_COLLECTOR",
        "The default of --collector, also for pidns run, which does not have that option: auto, \
         proc or bpf. With proc, pidns loads no BPF program, except for --search kernel.",
    ),
    ("COMPLETE", "Set by the completion scripts to ask for candidates."),
];

/// Files that pidns reads.
pub(super) const FILES: Terms = &[
    ("/proc", "Processes and namespaces; see proc(5) and --procfs."),
    (
        "/etc/passwd, /etc/nsswitch.conf",
        "User names, through the name service. A user without a name is shown as a number.",
    ),
    (
        "/sys/kernel/btf/vmlinux",
        "Type information of the kernel, which the BPF programs need; see --collector.",
    ),
];

/// The section about the policy file of `pidns check`.
pub(super) const POLICY: &str = "\
The file that --policy names is YAML or JSON with three lists of rules: deny, \
warn and allow. Each list may be left out. A rule is a code, which matches all \
problems with that code, or CODE:KEY=VALUE, which matches only some of them:

  comm=GLOB: processes with this name, and namespaces whose init has this name
  ns=NS: this namespace and its members; NS is an inode, pid:[INODE], :NS_ID or @PID
  container=NAME: the container or pod with this name, or whose id or UID starts with it
  user=NAME|UID: processes of this user, and namespaces that the user owns
  cgroup=GLOB: processes with this cgroup path, and namespaces whose init has it
  env=NAME[=VALUE]: processes with this environment variable, and namespaces whose init has it

The JSON Schema of the file is printed by \"pidns schema policy\". Example:";

/// An example of a policy file.
pub(super) const POLICY_EXAMPLE: &str = "\
# Fail on zombies and stopped inits, too.
deny: [zombie, stopped-init]
warn: [leftover-namespace]
allow:
  # cron reaps its children once a minute.
  - zombie:comm=cron
  # The build cache may keep its daemon.
  - leftover-process:comm=sccache
  - leftover-process:user=buildbot";

/// Paragraphs of the section SECURITY.
pub(super) const SECURITY: &[&str] = &[
    "pidns runs with the privileges of its user, and a scan changes nothing. It reads files of the \
     procfs and never leaves the mount of that procfs. Descriptors, links and bind mounts are \
     opened with O_PATH first, and for reading only if they are on nsfs, the file system of \
     namespaces. Namespaces are queried by ioctl_nsfs(2). Mounts are listed by listmount(2), or by \
     a thread that enters the mount namespace and ends afterwards. User names come from the name \
     service. Only pidns run starts a program, and sends signals to it.",
    "As root on a host with 1,100 processes or more (2,600 with --search processes), pidns loads a \
     BPF program: a task iterator that reads the data that /proc shows about each process. The \
     program is unloaded before pidns exits. pidns watch does so from 200 processes on (800 with \
     --search processes), and keeps the program loaded. If auditing is on, loading the program adds a BPF \
     record to the audit log. --collector proc and PIDNS_COLLECTOR=proc avoid BPF, and under a \
     seccomp filter pidns does not try it. --search kernel loads three more programs, which list the \
     PID namespaces in kernel memory and everything that keeps a namespace without a living init \
     alive. pidns opens these namespaces by their ids (open_by_handle_at(2)).",
    "Other users can cause gaps in a view; pidns reports such gaps (\"complete\", \"diagnostics\", \
     --strict). Other users also choose names; pidns escapes control characters in names. A container \
     is recognized by its cgroup path, and its name comes from files of container runtimes \
     (config.v2.json of Docker, config.json of a bundle, containers.json of podman, the directories \
     in /var/log/pods); do not base permissions on containers and their names. The \
     administrator of a container decides what its /proc shows to --procfs. Other users cannot \
     make pidns open a file, FIFO or device, or wait forever for a file system that does not respond. \
     But a process that itself waits for such a file system, for example in execve(2), or that shares \
     its memory with processes that fork all the time, can block reads of its /proc directory. \
     After 10 seconds without progress, pidns names the process, scans again, and reads only a few \
     files of the process until five minutes after it has last blocked a read, so the view is \
     incomplete.",
    "Documents for --input are not trusted, and are limited in size. Nothing in them is executed, \
     opened or looked up. Documents can contain secrets, such as process arguments.",
];

/// Paragraphs of the section LIMITS.
pub(super) const LIMITS: &[&str] = &[
    "If \"complete\" is true in the document, pidns found everything in the places that it \
     searched, and did not have to infer anything. A namespace without processes can also be kept \
     alive by something that /proc does not show: a descriptor in flight over a UNIX socket; an \
     unread message with the credentials of a member; a UNIX socket connection that is not yet \
     accepted; a pidfd of its terminated init; an open file, or a working directory, in the \
     /proc/PID of a member that has exited; a socket whose peer or listener was a member \
     (SO_PEERCRED), or that sends signals to a member (F_SETOWN); another mount of its procfs, or \
     an open file in it; a bind mount in a detached mount tree (open_tree(2)); fsopen(2); files registered with io_uring; perf events; FUSE mounts; \
     System V shared memory. Only --search kernel finds such a namespace.",
    "--search kernel needs Linux 6.18 or later, CAP_SYS_ADMIN and CAP_SYS_PTRACE over the host, \
     the /proc of the caller's own PID namespace, and a kernel that runs BPF programs; otherwise \
     pidns fails. --search kernel includes the default places, and shows every PID namespace in or \
     below the caller's own that has no living init. It also finds these holders: pidfds; UNIX \
     sockets whose peer or listener was a member; UNIX sockets with an unread message that \
     carries a descriptor of the namespace, or the credentials of a member; and open files of its \
     procfs. The search does not find these holders: UNIX socket connections that are not yet \
     accepted, descriptors sent over such a connection or over a socket that is itself in flight, \
     and processes whose working directory is in the /proc/PID of a member that has exited. If no \
     holder is found, the diagnostic held-unseen says so; the view still counts as complete.",
    "At most 10,000 holders of one kind are shown for a namespace, and 100,000 in all. The diagnostic holders-left-out \
     says how many are not, and the view is then incomplete.",
    "Since Linux 6.19, a namespace can be opened only if a descriptor of the namespace keeps it \
     alive. The parent and owner of any other namespace are unknown, and the view is incomplete \
     (namespace-unopened). The search does not report a namespace whose init exits during the \
     scan, or that only an exiting process keeps alive. If the search finds a namespace that /proc \
     does not show, pidns waits 0.2 seconds for the kernel to free namespaces that are about to go \
     away.",
    "Before Linux 6.12, inside a PID namespace, or without CAP_SYS_ADMIN, mounts are read through \
     the processes of a mount namespace. Mounts below a mount that covers their root directory \
     may then be missed.",
];

/// The SEE ALSO section of the manual page.
pub(super) const SEE_ALSO: &str =
    "lsns(8), nsenter(1), unshare(1), pid_namespaces(7), proc_pid_status(5), ioctl_nsfs(2)";
