//! Sample snapshots, and a simulated host, for unit tests.

pub mod forest;

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use crate::model::{
    BlockReason, Blocker, Consumer, Container, Criterion, Detail, Diagnostic, Evidence,
    FilterOption, Holder, Host, Limit, LimitKind, LimitScope, Namespace, NamespaceId,
    NamespaceState, Nspid, Observer, Owner, Pid, Pod, Process, ProcessDetails, Procfs, SearchScope,
    Severity, Snapshot,
};

/// Returns a live namespace that root owns.
pub fn namespace(inode: u64, parent: Option<u64>) -> Namespace {
    Namespace {
        device: Some(4),
        ns_id: Some(inode + 1000),
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

/// Returns a sleeping process with these PIDs.
pub fn process(nspid: &[u32], namespace: Option<u64>) -> Process {
    let nspid: Nspid = nspid.iter().filter_map(|&raw| Pid::new(raw)).collect();
    Process {
        namespace: namespace.map(NamespaceId::Inode),
        comm: "sleep".into(),
        state: 'S',
        user: Some("root".into()),
        nspid: nspid.clone(),
        ..Process::unread(nspid[0])
    }
}

/// Builds a complete snapshot from these namespaces and processes, and sets the init of each
/// namespace.
pub fn snapshot(mut namespaces: Vec<Namespace>, processes: Vec<Process>) -> Snapshot {
    for init in processes.iter().filter(|it| it.nspid.last() == Some(&Pid::INIT)) {
        for namespace in namespaces.iter_mut().filter(|it| Some(it.id) == init.namespace) {
            namespace.init = Some(init.pid);
        }
    }
    Snapshot {
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
            namespace: namespaces.iter().map(|it| it.id).min(),
        },
        observer: None,
        searched: SearchScope::ALL.into_iter().collect::<BTreeSet<_>>(),
        details: BTreeSet::new(),
        selected: Vec::new(),
        complete: true,
        namespaces,
        processes,
        limits: None,
        diagnostics: Vec::new(),
    }
}

/// Returns a snapshot of a host with a container and a dead namespace in the container.
pub fn farm() -> Snapshot {
    const ID: &str = "3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a";
    let (host, container, dead) = (4_026_531_836, 4_026_532_179, 4_026_532_180);
    let pid = |raw| Pid::new(raw).unwrap();
    let mut processes = vec![
        process(&[1], Some(host)),
        process(&[2], Some(host)),
        process(&[4], Some(host)),
        process(&[6, 1], Some(container)),
        process(&[7, 2], Some(container)),
    ];
    for (process, comm) in
        processes.iter_mut().zip(["systemd", "kthreadd", "containerd-shim", "farm"])
    {
        process.comm = comm.into();
    }
    processes[1].kernel_thread = true;
    for (child, parent) in [(2, 1), (3, 4), (4, 6)] {
        processes[child].ppid = Pid::new(parent);
    }
    let mut namespaces = vec![
        namespace(host, None),
        namespace(container, Some(host)),
        namespace(dead, Some(container)),
    ];
    namespaces[1].container = Some(Container::new("docker", ID));
    namespaces[2].state = NamespaceState::Dead;
    namespaces[2].holders = vec![Holder::Fd { pid: pid(4), comm: None, fd: 9 }];
    let mut farm = snapshot(namespaces, processes);
    farm.complete = false;
    farm.diagnostics = vec![Diagnostic {
        code: "fds-unreadable".to_owned(),
        severity: Severity::Warning,
        message: "cannot search the open files of 1 process: Permission denied (os error 13)"
            .to_owned(),
        errno: Some("EACCES".to_owned()),
        pids: vec![Pid::INIT],
    }];
    farm
}

/// Returns the snapshot of [`farm`], but with an unknown parent for the container's namespace.
pub fn detached_farm() -> Snapshot {
    let mut farm = farm();
    (farm.namespaces[1].parent, farm.namespaces[1].parent_unknown) = (None, true);
    farm
}

/// Returns sample limits for the host of [`farm`].
///
/// Each field has a value in at least one of the limits.
pub fn limits() -> Vec<Limit> {
    let pids = [6, 7].into_iter().filter_map(Pid::new).collect();
    let largest = Consumer {
        pid: Pid::new(6),
        comm: Some("farm".into()),
        container: Some(Container::new("docker", "3f2a1b9c04de")),
        uid: Some(1000),
        user: Some("alice".into()),
        tasks: 3,
    };
    let scope = LimitScope {
        namespace: Some(NamespaceId::Inode(4_026_532_179)),
        cgroup: Some("/ci/job-7".to_owned()),
        uid: Some(1000),
        user: Some("alice".into()),
        user_namespace: Some(4_026_531_837),
        inherited_by: Some(4_026_532_300),
    };
    let cgroup = Limit {
        refused: Some(12),
        zombies: Some(1),
        reaper: Some(Consumer { tasks: 1, ..largest.clone() }),
        largest: Some(largest),
        file: Some("/sys/fs/cgroup/ci/job-7/pids.max".to_owned()),
        pids,
        ..Limit::unread(LimitKind::PidsCgroup, scope).with_numbers(Some(4), Some(4))
    };
    let unknown = Limit::unread(LimitKind::ThreadsMax, LimitScope::default());
    vec![cgroup, unknown]
}

/// Returns a snapshot with a value for every field of the document.
pub fn everything() -> Snapshot {
    let mut snapshot = farm();
    let pid = |raw| Pid::new(raw).unwrap();
    snapshot.namespaces[2].holders.extend([
        Holder::Mount { path: "/run/x".to_owned(), mount_namespace: 4_026_531_832 },
        Holder::PidForChildren { pid: pid(4), comm: None, tid: pid(5) },
    ]);
    if let Holder::Fd { comm, .. } = &mut snapshot.namespaces[2].holders[0] {
        *comm = Some("containerd-shim".into());
    }
    snapshot.namespaces[2].blocked_by = vec![
        Blocker {
            pid: pid(7),
            comm: "sleep".into(),
            reason: BlockReason::Zombie,
            reaper: Some(pid(4)),
        },
        Blocker {
            pid: pid(6),
            comm: "farm".into(),
            reason: BlockReason::Uninterruptible,
            reaper: None,
        },
    ];
    if let Some(container) = &mut snapshot.namespaces[1].container {
        container.name = Some("web".to_owned());
        container.pod = Some(Pod {
            name: Some("web-0".to_owned()),
            namespace: Some("shop".to_owned()),
            ..Pod::new("7a2c0b6e-1f7b-4a43-8f3f-0c4f2b1f9d55".to_owned())
        });
    }
    snapshot.details = Detail::ALL.into();
    snapshot.limits = Some(limits());
    snapshot.observer = Some(Observer {
        pid: pid(8),
        start_time: Some(81_240),
        scan_end: Some(81_241),
        step: Some(pid(4)),
        companions: vec![pid(3)],
        attendants: vec![pid(1), pid(4)],
    });
    let farm = &mut snapshot.processes[3];
    farm.threads = NonZeroU32::new(3);
    farm.start_time = Some(81_233);
    farm.details = Some(Box::new(ProcessDetails {
        args: Some(vec!["/usr/bin/farm".into(), "".into(), "--port=80".into()]),
        namespaces: Some([("mnt".into(), 4_026_531_832), ("net".into(), 4_026_531_833)].into()),
        cgroup: Some("/system.slice/docker.service".to_owned()),
        container: Some(Container {
            name: Some("side".to_owned()),
            ..Container::new("docker", "82eea4c3f8f9")
        }),
        tracer: Pid::new(1),
        frozen: true,
        environment: BTreeSet::new(),
    }));
    snapshot.selected =
        vec![Criterion { by: FilterOption::State, values: vec!["live".to_owned()] }];
    snapshot.namespaces[0].member_count = Some(63);
    let mut inferred = process(&[9, 3], None);
    inferred.evidence = Evidence::Inferred;
    snapshot.processes.push(inferred);
    snapshot.namespaces.push(Namespace {
        state: NamespaceState::Nascent,
        ..Namespace::unread(NamespaceId::Unread(pid(9)))
    });
    snapshot
}
