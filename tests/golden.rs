//! Tests that pidns can read the documents that each released version has written.
//!
//! Never edit a file in `tests/golden/` after the version that wrote it was released, because users
//! have saved documents in the same form. For a later version of the schema, add new files.

use std::collections::BTreeSet;
use std::num::NonZeroU32;

use pidns::document;
use pidns::graph::PidGraph;
use pidns::model::{
    BlockReason, Blocker, Container, Criterion, Detail, Diagnostic, Evidence, FilterOption, Holder,
    Host, Namespace, NamespaceId, NamespaceState, Owner, Pid, Pod, Process, ProcessDetails, Procfs,
    SearchScope, Severity, Snapshot,
};

const JSON: &[u8] = include_bytes!("golden/pidns-1.0.json");
const NDJSON: &[u8] = include_bytes!("golden/pidns-1.0.ndjson");
const YAML: &[u8] = include_bytes!("golden/pidns-1.0.yaml");

#[test]
fn reads_documents_of_version_1_0() {
    let expected = version_1_0();
    for golden in [JSON, NDJSON, YAML] {
        let (snapshot, unknown) = document::read(golden).unwrap();
        assert!(unknown.is_empty(), "{unknown}");
        // Compare graphs, which sort namespaces by ID. A document lists them in tree order.
        let graph = PidGraph::new(snapshot);
        assert_eq!(graph.snapshot(), PidGraph::new(expected.clone()).snapshot());
    }
}

const HOST: NamespaceId = NamespaceId::Inode(4_026_531_836);
const CONTAINER: NamespaceId = NamespaceId::Inode(4_026_532_179);
const DEAD: NamespaceId = NamespaceId::Inode(4_026_532_180);
const NASCENT: NamespaceId = NamespaceId::Inode(4_026_532_181);

fn pid(raw: u32) -> Pid {
    Pid::new(raw).unwrap()
}

/// Returns a live namespace that has only a parent and a state.
fn namespace(id: NamespaceId, parent: Option<NamespaceId>) -> Namespace {
    let (state, evidence) = (NamespaceState::Live, Evidence::Kernel);
    Namespace { parent, state, evidence, ..Namespace::unread(id) }
}

/// Returns a sleeping process that has only PIDs, a namespace and a name.
fn process(nspid: &[u32], namespace: Option<NamespaceId>) -> Process {
    Process {
        namespace,
        nspid: nspid.iter().map(|&raw| pid(raw)).collect(),
        comm: "sleep".into(),
        state: 'S',
        ..Process::unread(pid(nspid[0]))
    }
}

/// Returns a snapshot that sets every field of version 1.0. Some strings contain characters that
/// need escapes.
fn version_1_0() -> Snapshot {
    Snapshot {
        generator: ("pidns".to_owned(), "1.0.0".to_owned()),
        captured_at: "2026-11-23T14:28:00.123456Z".to_owned(),
        scan_duration: None,
        host: Host {
            hostname: Some("ci-7".to_owned()),
            kernel_release: Some("6.18.44".to_owned()),
            boot_id: Some("7d0f5a5e-4b43-4a0b-9f3c-1c5f4f1d2a3b".to_owned()),
        },
        procfs: Procfs { path: "/proc".to_owned(), own: true, namespace: Some(HOST) },
        observer: None,
        searched: SearchScope::OF_PROC.into(),
        details: Detail::OF_PROCESSES.into(),
        selected: vec![
            Criterion { by: FilterOption::Members, values: vec!["none".to_owned()] },
            Criterion { by: FilterOption::Comm, values: vec!["sl*".to_owned(), "no".to_owned()] },
        ],
        complete: false,
        namespaces: namespaces(),
        processes: processes(),
        limits: None,
        diagnostics: vec![
            Diagnostic {
                code: "fds-unreadable".to_owned(),
                severity: Severity::Warning,
                message: "cannot search the open files of 1 process".to_owned(),
                errno: Some("EACCES".to_owned()),
                pids: vec![pid(1)],
            },
            Diagnostic {
                code: "parents-inferred".to_owned(),
                severity: Severity::Warning,
                message: "worth knowing".to_owned(),
                errno: None,
                pids: Vec::new(),
            },
        ],
    }
}

fn namespaces() -> Vec<Namespace> {
    vec![
        Namespace {
            device: Some(4),
            ns_id: Some(u64::MAX),
            init: Some(pid(1)),
            member_count: Some(63),
            owner: Some(Owner {
                user_namespace: 4_026_531_837,
                uid: Some(0),
                user: Some("root".into()),
            }),
            ..namespace(HOST, None)
        },
        Namespace {
            init: Some(pid(6)),
            owner: Some(Owner { user_namespace: 4_026_532_200, uid: None, user: None }),
            container: Some(Container {
                name: Some("app".to_owned()),
                pod: Some(Pod {
                    uid: "7a2c0b6e-1f7b-4a43-8f3f-0c4f2b1f9d55".to_owned(),
                    name: Some("web-0".to_owned()),
                    namespace: Some("shop".to_owned()),
                }),
                ..Container::new("containerd", &"3f2a1b9c04de".repeat(5))
            }),
            ..namespace(CONTAINER, Some(HOST))
        },
        Namespace {
            state: NamespaceState::Dead,
            init: Some(pid(8)),
            holders: vec![
                Holder::Fd { pid: pid(4), comm: Some("runc:[2:INIT]".into()), fd: 9 },
                Holder::Fd { pid: pid(5), comm: None, fd: 0 },
                Holder::Mount {
                    path: "/run/a b\n\u{202e}".to_owned(),
                    mount_namespace: 4_026_531_832,
                },
                Holder::PidForChildren { pid: pid(4), comm: Some("~".into()), tid: pid(5) },
            ],
            blocked_by: vec![
                Blocker {
                    pid: pid(8),
                    comm: "farm".into(),
                    reason: BlockReason::Zombie,
                    reaper: Some(pid(4)),
                },
                Blocker {
                    pid: pid(10),
                    comm: "dd".into(),
                    reason: BlockReason::Uninterruptible,
                    reaper: None,
                },
            ],
            ..namespace(DEAD, Some(CONTAINER))
        },
        Namespace { state: NamespaceState::Nascent, ..namespace(NASCENT, Some(HOST)) },
        Namespace {
            state: NamespaceState::Unknown,
            evidence: Evidence::Inferred,
            ..namespace(NamespaceId::Unread(pid(9)), None)
        },
    ]
}

fn processes() -> Vec<Process> {
    vec![
        Process {
            comm: "kthreadd".into(),
            state: 'I',
            kernel_thread: true,
            ..process(&[2], Some(HOST))
        },
        Process {
            ppid: Some(pid(6)),
            comm: "\u{1b}[31m: - #\"'\\\n\u{fffd}\u{1f600}".into(),
            uid: 1000,
            user: Some("0x1f".into()),
            threads: NonZeroU32::new(3),
            start_time: Some(81_233),
            details: Some(Box::new(ProcessDetails {
                args: Some(["", "no", "--port=80", "a\nb", "1e3"].map(Into::into).into()),
                namespaces: Some(
                    [("mnt".into(), 4_026_531_832), ("net".into(), 4_026_531_833)].into(),
                ),
                cgroup: Some("/system.slice/docker.service".to_owned()),
                container: Some(Container::new("docker", "82eea4c3f8f9")),
                tracer: None,
                frozen: true,
                environment: BTreeSet::new(),
            })),
            ..process(&[7, 2], Some(CONTAINER))
        },
        Process { state: 'Z', evidence: Evidence::Inferred, ..process(&[8, 3, 1], Some(DEAD)) },
        Process { evidence: Evidence::Inferred, ..process(&[11, 4], None) },
    ]
}
