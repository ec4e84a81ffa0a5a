//! Builds snapshots of realistic hosts, to test how each output format shows them.

use std::collections::BTreeSet;

use pidns::model::{
    BlockReason, Blocker, Container, Diagnostic, Evidence, Holder, Host, Namespace, NamespaceId,
    NamespaceState, Owner, Pid, Pod, Process, Procfs, SearchScope, Severity, Snapshot,
};

const HOST: u64 = 4_026_531_836;

/// Programs that typically run in containers.
const PROGRAMS: [&str; 12] = [
    "nginx",
    "redis-server",
    "postgres",
    "java",
    "python3",
    "node",
    "envoy",
    "grafana",
    "mysqld",
    "dotnet",
    "php-fpm",
    "caddy",
];

pub fn pid(raw: u32) -> Pid {
    Pid::new(raw).expect("is a PID")
}

/// Builds the snapshot of a host step by step.
pub struct Builder {
    pub snapshot: Snapshot,
    next_inode: u64,
    next_pid: u32,
}

impl Builder {
    /// Starts with the host's PID namespace, its init and its kernel threads.
    pub fn new() -> Self {
        let snapshot = Snapshot {
            generator: ("pidns".to_owned(), "0.1.0".to_owned()),
            captured_at: "2026-11-23T14:28:00.123456Z".to_owned(),
            scan_duration: None,
            host: Host {
                hostname: Some("ci-7".to_owned()),
                kernel_release: Some("6.18.44".to_owned()),
                boot_id: Some("7d0f5a5e-4b43-4a0b-9f3c-1c5f4f1d2a3b".to_owned()),
            },
            procfs: Procfs {
                path: "/proc".to_owned(),
                own: true,
                namespace: Some(NamespaceId::Inode(HOST)),
            },
            observer: None,
            searched: SearchScope::default_set(),
            details: BTreeSet::new(),
            selected: Vec::new(),
            complete: true,
            namespaces: Vec::new(),
            processes: Vec::new(),
            limits: None,
            diagnostics: Vec::new(),
        };
        let mut host = Self { snapshot, next_inode: 4_026_532_179, next_pid: 1200 };
        host.snapshot.namespaces.push(namespace(HOST, None));
        host.process(HOST, &[1], None, "systemd");
        host.process(HOST, &[2], None, "kthreadd").kernel_thread = true;
        for raw in 3..62 {
            host.process(HOST, &[raw], Some(2), &format!("kworker/{raw}:0")).kernel_thread = true;
        }
        host.snapshot.namespaces[0].init = Some(pid(1));
        host
    }

    pub fn process(
        &mut self,
        namespace: u64,
        nspid: &[u32],
        ppid: Option<u32>,
        comm: &str,
    ) -> &mut Process {
        self.snapshot.processes.push(Process {
            ppid: ppid.map(pid),
            namespace: Some(NamespaceId::Inode(namespace)),
            nspid: nspid.iter().map(|&raw| pid(raw)).collect(),
            comm: comm.into(),
            state: 'S',
            user: Some("root".into()),
            ..Process::unread(pid(nspid[0]))
        });
        self.snapshot.processes.last_mut().expect("was pushed")
    }

    /// Adds a process to the host's namespace and returns its PID.
    pub fn daemon(&mut self, comm: &str) -> u32 {
        let raw = self.pid();
        self.process(HOST, &[raw], Some(1), comm);
        raw
    }

    /// Returns an unused PID.
    pub fn pid(&mut self) -> u32 {
        self.next_pid += 4;
        self.next_pid
    }

    /// Adds a namespace without processes and returns it.
    pub fn empty(&mut self, parent: u64) -> &mut Namespace {
        let inode = self.next_inode;
        self.next_inode += 1;
        self.snapshot.namespaces.push(namespace(inode, Some(parent)));
        self.snapshot.namespaces.last_mut().expect("was pushed")
    }

    /// Adds a live namespace, `levels` below the host's, with one process for each name in
    /// `comms`. The first process is the init. Returns the namespace's inode and all PIDs.
    pub fn container(&mut self, parent: u64, levels: usize, comms: &[&str]) -> (u64, Vec<u32>) {
        let inode = self.empty(parent).id.inode().expect("exists");
        let mut pids = Vec::new();
        for (index, comm) in comms.iter().enumerate() {
            let raw = self.pid();
            let mut nspid = vec![raw];
            let inner = u32::try_from(index).expect("few") + 1;
            // The process also has a PID in each namespace between the host's and its own.
            nspid.extend((1..levels).map(|level| inner + 1 + u32::try_from(level).expect("few")));
            nspid.push(inner);
            let ppid = pids.first().copied().unwrap_or(1);
            self.process(inode, &nspid, Some(ppid), comm);
            pids.push(raw);
        }
        self.last().init = Some(pid(pids[0]));
        (inode, pids)
    }

    /// Returns the namespace that was added last.
    pub fn last(&mut self) -> &mut Namespace {
        self.snapshot.namespaces.last_mut().expect("exists")
    }

    /// Makes the last namespace a Docker container.
    pub fn docker(&mut self, number: u32, name: &str) {
        let id = format!("{:012x}{:052}", 0x5fec_eb66_ff00_u64 + u64::from(number) * 7919, 0);
        self.last().container =
            Some(Container { name: Some(name.to_owned()), ..Container::new("docker", &id) });
    }
}

fn namespace(inode: u64, parent: Option<u64>) -> Namespace {
    Namespace {
        device: Some(4),
        ns_id: Some(inode - 4_026_530_000),
        parent: parent.map(NamespaceId::Inode),
        state: NamespaceState::Live,
        owner: Some(Owner {
            user_namespace: 4_026_531_837,
            uid: Some(0),
            user: Some("root".into()),
        }),
        evidence: Evidence::Kernel,
        ..Namespace::unread(NamespaceId::Inode(inode))
    }
}

/// A host without containers.
pub fn idle() -> Snapshot {
    let mut host = Builder::new();
    for comm in ["systemd-journal", "systemd-udevd", "dbus-daemon", "cron", "sshd", "agetty"] {
        host.daemon(comm);
    }
    host.snapshot
}

/// The host in the README's example: a web site in containers, and a dead namespace.
pub fn readme() -> Snapshot {
    let mut host = Builder::new();
    for comm in ["systemd-journal", "sshd", "dockerd", "containerd"] {
        host.daemon(comm);
    }
    let containers = [
        ("web", &["nginx"; 6][..]),
        ("db", &["postgres"; 7]),
        ("cache", &["redis-server"]),
        ("app", &["tini", "node", "node"]),
    ];
    for (number, (name, comms)) in containers.into_iter().enumerate() {
        host.daemon("containerd-shim");
        host.container(HOST, 1, comms);
        host.docker(u32::try_from(number).expect("few"), name);
    }
    let nsenter = host.daemon("docker");
    let (inode, shell) = (host.last().id.inode().expect("exists"), host.pid());
    host.process(inode, &[shell, 41], Some(nsenter), "sh");
    forgotten(&mut host);
    host.snapshot
}

/// A host with twenty different Docker containers, and a dead namespace.
pub fn containers() -> Snapshot {
    let mut host = Builder::new();
    for comm in ["systemd-journal", "dockerd", "containerd", "sshd"] {
        host.daemon(comm);
    }
    for number in 0..20_u32 {
        host.daemon("containerd-shim");
        let program = PROGRAMS[number as usize % PROGRAMS.len()];
        let mut comms = vec![program; 1 + number as usize % 7];
        if number >= 12 {
            comms.push("sh");
        }
        host.container(HOST, 1, &comms);
        host.docker(number, &format!("{program}-{number}"));
    }
    forgotten(&mut host);
    host.snapshot
}

/// Adds a dead namespace that a `sleep` process keeps alive by an open descriptor.
fn forgotten(host: &mut Builder) {
    let holder = host.daemon("sleep");
    let dead = host.empty(HOST);
    dead.state = NamespaceState::Dead;
    dead.holders = vec![Holder::Fd { pid: pid(holder), comm: Some("sleep".into()), fd: 9 }];
}

/// A host with two hundred Kubernetes pods, each with a pause container and a workload. If `alike`
/// is set, there are only three different workloads; otherwise each workload has a process with a
/// unique name.
pub fn pods(alike: bool) -> Snapshot {
    let mut host = Builder::new();
    for comm in ["containerd", "kubelet"] {
        host.daemon(comm);
    }
    for number in 0..200_usize {
        let pod = format!("6ba7b810-9dad-11d1-80b4-{number:012}");
        host.daemon("containerd-shim");
        let container = |number: usize, name: Option<&str>| Container {
            name: name.map(str::to_owned),
            pod: Some(Pod {
                name: Some(format!("web-{}", number / 2)),
                namespace: Some("shop".to_owned()),
                ..Pod::new(pod.clone())
            }),
            ..Container::new("containerd", &format!("{:064x}", number * 104_729 + 1))
        };
        host.container(HOST, 1, &["pause"]);
        host.last().container = Some(container(2 * number, None));
        let program = PROGRAMS[number % if alike { 3 } else { 12 }];
        let other = format!("worker-{number}");
        if alike {
            host.container(HOST, 1, &[program; 5]);
        } else {
            host.container(HOST, 1, &[program, program, &other]);
        }
        host.last().container = Some(container(2 * number + 1, Some("app")));
    }
    host.snapshot
}

/// A host with a thousand namespaces of ten processes each. If `alike` is set, the namespaces
/// contain processes with the same names. If `nested` is set, the namespaces form chains of five
/// levels; otherwise all are siblings.
pub fn thousand(alike: bool, nested: bool) -> Snapshot {
    let mut host = Builder::new();
    let (mut parent, mut level) = (HOST, 1);
    for number in 0..1000 {
        if nested && number % 5 != 0 {
            level += 1;
        } else {
            (parent, level) = (HOST, 1);
        }
        let names: Vec<String> = (0..9)
            .map(|other| if alike { "sleep".to_owned() } else { format!("job-{number}-{other}") })
            .collect();
        let mut comms = vec!["bash"];
        comms.extend(names.iter().map(String::as_str));
        let (inode, _) = host.container(parent, level, &comms);
        if nested {
            parent = inode;
        }
    }
    host.snapshot
}

/// A host with every kind of problem.
pub fn trouble() -> Snapshot {
    let mut host = Builder::new();
    let (shell, python) = (host.daemon("sh"), host.daemon("python3"));
    let nsenter = host.daemon("nsenter");
    forgotten(&mut host);
    // In the first namespace, the terminated init waits for an unreaped zombie. In the second
    // namespace, the init itself is a zombie.
    let (inode, pids) = host.container(HOST, 1, &["supervisord", "worker"]);
    let stuck = host.last();
    stuck.state = NamespaceState::Dead;
    stuck.blocked_by = vec![Blocker {
        pid: pid(pids[1]),
        comm: "worker".into(),
        reason: BlockReason::Zombie,
        reaper: Some(pid(python)),
    }];
    zombie(&mut host, pids[1], python);
    assert!(inode > HOST);
    let (_, pids) = host.container(HOST, 1, &["tini"]);
    let unreaped = host.last();
    unreaped.state = NamespaceState::Dead;
    unreaped.evidence = Evidence::Inferred;
    unreaped.blocked_by = vec![Blocker {
        pid: pid(pids[0]),
        comm: "tini".into(),
        reason: BlockReason::Zombie,
        reaper: Some(pid(python)),
    }];
    zombie(&mut host, pids[0], python);
    let (_, pids) = host.container(HOST, 1, &["postgres", "dd"]);
    let asleep = host.last();
    asleep.state = NamespaceState::Dead;
    asleep.blocked_by = vec![Blocker {
        pid: pid(pids[1]),
        comm: "dd".into(),
        reason: BlockReason::Uninterruptible,
        reaper: None,
    }];
    of(&mut host, pids[1]).state = 'D';
    let nascent = host.empty(HOST);
    nascent.state = NamespaceState::Nascent;
    nascent.holders = vec![Holder::PidForChildren { pid: pid(shell), comm: None, tid: pid(shell) }];
    let unknown = host.empty(HOST);
    unknown.state = NamespaceState::Unknown;
    unknown.id = NamespaceId::Unread(pid(python));
    unknown.holders = vec![
        Holder::Mount { path: "/run/user/1000/a\nb".to_owned(), mount_namespace: 4_026_531_832 },
        Holder::PidForChildren { pid: pid(shell), comm: None, tid: pid(shell + 1) },
    ];
    // A rootless container with members in several states. A process entered it by nsenter.
    let (inode, pids) =
        host.container(HOST, 1, &["nginx", "nginx", "nginx", "nginx", "sh", "cat", "vim"]);
    let rootless = host.last();
    rootless.owner =
        Some(Owner { user_namespace: 4_026_532_500, uid: Some(1000), user: Some("alice".into()) });
    rootless.container = Some(Container::new("podman", "web"));
    zombie(&mut host, pids[4], pids[0]);
    of(&mut host, pids[5]).state = 'D';
    of(&mut host, pids[6]).state = 'T';
    let entered = host.pid();
    host.process(inode, &[entered, 17], Some(nsenter), "bash");
    host.container(inode, 2, &["catatonit"]);
    let lost = host.pid();
    host.process(HOST, &[lost, 7], None, "lost").namespace = None;
    host.snapshot.complete = false;
    host.snapshot.diagnostics = vec![
        diagnostic("process-unreadable", "1 process could not be read", "EACCES"),
        diagnostic("mounts-unreadable", "the mounts of 2 processes could not be searched", "EPERM"),
    ];
    host.snapshot
}

fn diagnostic(code: &str, message: &str, errno: &str) -> Diagnostic {
    Diagnostic {
        code: code.to_owned(),
        severity: Severity::Warning,
        message: message.to_owned(),
        errno: Some(errno.to_owned()),
        pids: vec![Pid::INIT],
    }
}

fn of(host: &mut Builder, raw: u32) -> &mut Process {
    host.snapshot.processes.iter_mut().find(|it| it.pid == pid(raw)).expect("exists")
}

fn zombie(host: &mut Builder, raw: u32, parent: u32) {
    let process = of(host, raw);
    process.state = 'Z';
    process.ppid = Some(pid(parent));
}

/// The host of [`containers`], as a user without root privileges sees it.
pub fn nobody() -> Snapshot {
    let mut snapshot = containers();
    snapshot.complete = false;
    for namespace in &mut snapshot.namespaces {
        namespace.evidence = Evidence::Inferred;
        namespace.owner = None;
        namespace.device = None;
        namespace.ns_id = None;
        namespace.container = None;
    }
    // Without root privileges, pidns cannot see namespaces that have no processes.
    snapshot.namespaces.retain(|it| it.state == NamespaceState::Live);
    for process in &mut snapshot.processes {
        process.evidence = Evidence::Inferred;
    }
    for namespace in snapshot.namespaces.iter_mut().skip(1) {
        let unread = NamespaceId::Unread(namespace.init.expect("is live"));
        for process in snapshot.processes.iter_mut().filter(|it| it.namespace == Some(namespace.id))
        {
            process.namespace = Some(unread);
        }
        namespace.id = unread;
    }
    snapshot.diagnostics = vec![diagnostic(
        "namespace-unreadable",
        "the namespace links of 186 processes could not be read",
        "EACCES",
    )];
    snapshot
}

/// A host with 32 nested namespaces, the maximum that the kernel allows.
pub fn levels() -> Snapshot {
    let mut host = Builder::new();
    let mut parent = HOST;
    for level in 1..=32 {
        (parent, _) = host.container(parent, level, &["bash", "sleep"]);
    }
    host.snapshot
}

/// A host with a namespace of five thousand processes, all with different names.
pub fn names() -> Snapshot {
    let mut host = Builder::new();
    let names: Vec<String> = (0..5000).map(|number| format!("job-{number}")).collect();
    let mut comms = vec!["bash"];
    comms.extend(names[1..].iter().map(String::as_str));
    host.container(HOST, 1, &comms);
    host.snapshot
}

/// Returns each host except [`readme`], with its name.
pub fn all() -> Vec<(&'static str, Snapshot)> {
    vec![
        ("idle", idle()),
        ("containers", containers()),
        ("pods-alike", pods(true)),
        ("pods-different", pods(false)),
        ("thousand-alike", thousand(true, false)),
        ("thousand-different", thousand(false, false)),
        ("thousand-nested-alike", thousand(true, true)),
        ("thousand-nested-different", thousand(false, true)),
        ("trouble", trouble()),
        ("nobody", nobody()),
        ("levels", levels()),
        ("names", names()),
    ]
}
