//! Turns a [`Discovery`], the raw results of a scan, into a snapshot.

mod blockers;
mod frozen;
mod holders;
mod infer;
mod inits;
mod namespaces;
mod parents;
mod state;
mod threads;
mod tracers;
mod users;
mod vanished;
mod zombies;

use std::collections::HashMap;

use super::discovery::{Discovery, FollowUp};
use super::log::permission_advice;
use super::registry::{self, NamespaceRegistry, Registered};
use crate::model::{Namespace, NamespaceId, Procfs, Snapshot};

/// Turns the results of a scan, which began at `captured_at`, into a snapshot.
pub fn assemble(
    source: &dyn FollowUp,
    registry: NamespaceRegistry,
    mut discovery: Discovery,
    captured_at: String,
) -> Snapshot {
    let mut registered = registry.into_registered();
    let parents = registry::climb(&mut registered);
    let (mut namespaces, mount) = place(source, &registered, &parents, &mut discovery);
    let Discovery { mut processes, mut log, in_kernel, .. } = discovery;

    inits::attach_inits(&mut namespaces, &processes, &discovery.cgroups, &discovery.terminated);
    holders::attach_holders(&mut namespaces, discovery.holders, &mut log);
    vanished::leave_out_vanished(&mut namespaces, &processes, &in_kernel);
    let inputs = state::StateInputs {
        source,
        mount,
        registered: &registered,
        processes: &processes,
        terminated: &discovery.terminated,
        undecided: &discovery.undecided,
    };
    let without_init = state::determine_states(&mut namespaces, &inputs, log.hides_inits());
    vanished::leave_out_members(&without_init, &mut namespaces, &mut processes, &in_kernel);
    holders::note_without_known_holder(&namespaces, &processes, &in_kernel, &mut log);
    state::note_unproved(&namespaces, &mut log);
    tracers::find_tracers(source, &mut processes);
    frozen::find_frozen(
        source,
        &discovery.details,
        &namespaces,
        &discovery.cgroups,
        &mut processes,
    );
    blockers::find_blockers(&mut namespaces, &processes, &|it| source.held_thread(it));
    blockers::note_blocked_inits(&namespaces, &processes, &mut log);
    zombies::note_inits_that_do_not_reap(source, &namespaces, &processes, &mut log);
    threads::note_stuck_threads(source, &discovery.searched, &processes, &mut log);
    parents::forget_missing(source, &mut processes, &mut log);
    users::name_users(&mut processes, &mut namespaces);

    Snapshot {
        generator: (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        captured_at,
        scan_duration: None,
        host: discovery.host,
        procfs: Procfs { namespace: mount, ..discovery.procfs },
        observer: None,
        searched: discovery.searched,
        details: discovery.details,
        selected: Vec::new(),
        complete: log.is_complete(),
        namespaces,
        processes,
        limits: None,
        diagnostics: log.into_diagnostics(permission_advice(discovery.viewer_may_trace_all)),
    }
}

/// Returns all namespaces, sorted by ID, and the namespace that the procfs shows.
fn place(
    source: &dyn FollowUp,
    registered: &HashMap<u64, Registered>,
    parents: &namespaces::Parents,
    discovery: &mut Discovery,
) -> (Vec<Namespace>, Option<NamespaceId>) {
    let Discovery { processes, log, .. } = discovery;
    let viewer = namespaces::Viewer {
        namespace: discovery.viewer_namespace,
        is_in_own_proc: discovery.procfs.own,
        may_trace_all: discovery.viewer_may_trace_all,
    };
    let refused = namespaces::refused_parents(parents, &viewer);
    let mut found = namespaces::describe(registered, parents, &viewer, log);
    namespaces::place_inits(source, registered, processes);
    // A process with only one PID is in the namespace that the procfs shows.
    let outermost = || processes.iter().find(|it| it.nspid.len() == 1 && it.namespace.is_some());
    let known = infer::Known {
        mount: discovery.procfs.namespace.or_else(|| outermost()?.namespace),
        leaders: &discovery.leaders,
        terminated: &discovery.terminated,
        all_seen: !log.hides_inits(),
        refused_parents: &refused,
        is_there: &|process| source.is_there(process),
    };
    let mount = infer::infer(processes, &mut found, &known, log);
    found.sort_unstable_by_key(|namespace| namespace.id);
    (found, mount)
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use rustix::io::{Errno, Result as SysResult};

    use super::*;
    use crate::collect::discovery::{HeldThread, InitNow, ListedInit, Sleeps};
    use crate::collect::holder_list::HolderList;
    use crate::collect::kernel::nsfs::NamespaceFd;
    use crate::collect::log::DiagnosticLog;
    use crate::model::{Evidence, Holder, Host, NamespaceState, Pid, Process, SearchScope};
    use crate::testing::process;

    /// A stub that reports only one fact: that every process still exists.
    struct Silent;

    impl FollowUp for Silent {
        fn is_there(&self, _: &Process) -> bool {
            true
        }

        fn init_of(&self, _: &NamespaceFd) -> SysResult<Pid> {
            Err(Errno::NOTTY)
        }

        fn tracer(&self, _: &Process) -> Option<Pid> {
            None
        }

        fn held_thread(&self, _: &Process) -> Option<HeldThread> {
            None
        }

        fn uninterruptible_sleeps(&self, _: &Process) -> Sleeps {
            Sleeps::new()
        }

        fn is_stopped(&self, _: &Process) -> bool {
            false
        }

        fn is_uninterruptible(&self, _: &Process) -> bool {
            false
        }

        fn is_frozen(&self, _: &Process) -> bool {
            false
        }

        fn is_frozen_cgroup(&self, _: &[u8]) -> bool {
            false
        }

        fn is_zombie(&self, _: &Process) -> bool {
            false
        }

        fn had_init(&self, _: &NamespaceFd) -> Option<bool> {
            None
        }

        fn init_now(&self, _: &NamespaceFd) -> InitNow {
            InitNow::Unknown
        }

        fn list_inits(&self) -> SysResult<Vec<ListedInit>> {
            Err(Errno::NOTSUP)
        }
    }

    fn pid(raw: u32) -> Pid {
        Pid::new(raw).unwrap()
    }

    #[test]
    fn assembles_a_snapshot_without_any_answer() {
        let mut processes =
            vec![process(&[1], None), process(&[6, 1], None), process(&[7, 2], None)];
        for (child, parent) in [(1, 1), (2, 6)] {
            processes[child].ppid = Pid::new(parent);
        }
        let mut holders = HolderList::default();
        holders.push(99, Holder::Mount { path: "/x".to_owned(), mount_namespace: 4 });
        let discovery = Discovery {
            procfs: Procfs { path: "/elsewhere".to_owned(), own: false, namespace: None },
            searched: BTreeSet::from([SearchScope::Processes]),
            details: BTreeSet::new(),
            host: Host::default(),
            viewer_namespace: None,
            viewer_may_trace_all: false,
            processes,
            leaders: HashMap::new(),
            cgroups: HashMap::from([(pid(6), b"0::/lxc.payload.web\n".to_vec())]),
            terminated: HashSet::from([pid(6)]),
            undecided: HashSet::new(),
            holders,
            in_kernel: HashSet::new(),
            log: DiagnosticLog::default(),
        };
        let registry = NamespaceRegistry::default();
        let snapshot = assemble(&Silent, registry, discovery, "now".to_owned());
        let [outer, inner] = snapshot.namespaces.as_slice() else {
            panic!("{:?}", snapshot.namespaces)
        };
        assert_eq!(snapshot.procfs.namespace, Some(outer.id));
        assert_eq!(outer.id, NamespaceId::Unread(pid(1)));
        assert_eq!((inner.id, inner.parent), (NamespaceId::Unread(pid(6)), Some(outer.id)));
        assert_eq!((inner.init, inner.state), (Some(pid(6)), NamespaceState::Dead));
        assert_eq!(inner.container.as_ref().map(|it| it.id.as_str()), Some("web"));
        assert_eq!((inner.evidence, inner.holders.len()), (Evidence::Inferred, 0));
        let placed: Vec<_> = snapshot.processes.iter().filter_map(|it| it.namespace).collect();
        assert_eq!(placed, [outer.id, inner.id, inner.id]);
    }
}
