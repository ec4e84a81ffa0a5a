//! From a discovery to a snapshot. Nothing here reads a file: what a
//! discovery, the pinned namespaces and the questions of [`Source`] do not
//! tell is unknown here.
//!
//! - `describe` what the kernel says of each namespace
//! - `infer` places what may not be read
//! - `vanished` leaves out what went away meanwhile
//! - `state` live, dead or nascent, or unknown
//! - `blockers` what keeps a terminated init from going; `zombies` what living
//!   inits do not reap
//! - `unseen` of which namespaces it is not known what keeps them
//! - `users` names of users

mod blockers;
mod describe;
mod infer;
mod state;
mod unseen;
mod users;
mod vanished;
mod zombies;

use std::collections::{HashMap, HashSet};

use super::discovery::{Discovery, Source};
use super::registry::{self, NamespaceRegistry};
use crate::model::{Holder, Namespace, NamespaceId, Pid, Process, Procfs, Snapshot, container};

/// Makes a snapshot of what a source has discovered, beginning at `captured_at`.
pub fn assemble(
    source: &dyn Source,
    registry: NamespaceRegistry,
    discovery: Discovery,
    captured_at: String,
) -> Snapshot {
    let Discovery { mut processes, mut log, .. } = discovery;
    let mut registered = registry.into_registered();
    let parents = registry::climb(&mut registered);
    let viewer = describe::Viewer {
        namespace: discovery.viewer_namespace,
        is_in_own_proc: discovery.procfs.own,
        may_trace_all: discovery.viewer_may_trace_all,
    };
    let refused = describe::refused_parents(&parents, &viewer);
    let mut namespaces = describe::describe(&registered, &parents, &viewer, &mut log);
    describe::place_inits(source, &registered, &mut processes);

    let lone = || processes.iter().find(|it| it.nspid.len() == 1 && it.namespace.is_some());
    let known = infer::Known {
        mount: discovery.procfs.namespace.or_else(|| lone()?.namespace),
        leaders: &discovery.leaders,
        terminated: &discovery.terminated,
        all_seen: !log.hides_inits(),
        refused_parents: &refused,
        is_there: &|process| source.is_there(process),
    };
    let mount = infer::infer(&mut processes, &mut namespaces, &known, &mut log);

    namespaces.sort_unstable_by_key(|namespace| namespace.id);
    attach_inits(&mut namespaces, &processes, &discovery.cgroups, &discovery.terminated);
    attach_holders(&mut namespaces, discovery.holders);
    vanished::leave_out_vanished(&mut namespaces, &processes, &discovery.in_kernel);
    let inputs = state::StateInputs {
        source,
        mount,
        registered: &registered,
        processes: &processes,
        terminated: &discovery.terminated,
        undecided: &discovery.undecided,
    };
    let without_init = state::determine_states(&mut namespaces, &inputs, log.hides_inits());
    vanished::leave_out_members(
        &without_init,
        &mut namespaces,
        &mut processes,
        &discovery.in_kernel,
    );
    unseen::note_held_unseen(&namespaces, &processes, &discovery.in_kernel, &mut log);
    state::note_unproved(&namespaces, &mut log);
    blockers::find_blockers(&mut namespaces, &processes);
    blockers::note_blocked_inits(&namespaces, &processes, &mut log);
    zombies::note_inits_that_do_not_reap(source, &namespaces, &processes, &mut log);
    users::name_users(&mut processes, &mut namespaces);

    // How to see what was refused.
    let permission = if discovery.viewer_may_trace_all {
        "refused even to CAP_SYS_PTRACE, as a security module may do"
    } else {
        "run as root of the host, or with CAP_SYS_PTRACE, to see it"
    };
    Snapshot {
        generator: (env!("CARGO_PKG_NAME").to_owned(), env!("CARGO_PKG_VERSION").to_owned()),
        captured_at,
        scan_duration: None,
        host: discovery.host,
        procfs: Procfs { namespace: mount, ..discovery.procfs },
        searched: discovery.searched,
        details: discovery.details,
        selected: Vec::new(),
        complete: log.is_complete(),
        namespaces,
        processes,
        diagnostics: log.into_diagnostics(permission),
    }
}

/// The place of a namespace among those sorted by ID.
fn index(namespaces: &[Namespace], id: NamespaceId) -> Option<usize> {
    namespaces.binary_search_by_key(&id, |namespace| namespace.id).ok()
}

/// Tells every namespace its init, and the container that the init is in.
fn attach_inits(
    namespaces: &mut [Namespace],
    processes: &[Process],
    cgroups: &HashMap<Pid, Vec<u8>>,
    terminated: &HashSet<Pid>,
) {
    for init in processes.iter().filter(|it| it.nspid.last() == Some(&Pid::INIT)) {
        let Some(index) = init.namespace.and_then(|id| index(namespaces, id)) else { continue };
        let cgroup = cgroups.get(&init.pid);
        namespaces[index].init = Some(init.pid);
        // A leader that has exited is shown elsewhere even while other threads live on.
        let has_terminated = || init.is_zombie() || terminated.contains(&init.pid);
        namespaces[index].container =
            cgroup.and_then(|bytes| container::of_cgroups(bytes, has_terminated));
    }
}

/// Tells every namespace its holders, sorted and each once: threads share
/// descriptors, and a chroot shows some mounts again.
fn attach_holders(namespaces: &mut [Namespace], holders: Vec<(u64, Holder)>) {
    for (inode, holder) in holders {
        if let Some(index) = index(namespaces, NamespaceId::Inode(inode)) {
            namespaces[index].holders.push(holder);
        }
    }
    for namespace in namespaces {
        namespace.holders.sort_unstable();
        namespace.holders.dedup();
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeSet, HashSet};

    use rustix::io::{Errno, Result as SysResult};

    use super::*;
    use crate::collect::discovery::{InitNow, ListedInit};
    use crate::collect::error::Error;
    use crate::collect::kernel::nsfs::NamespaceFd;
    use crate::collect::log::DiagnosticLog;
    use crate::model::{Detail, Evidence, Host, NamespaceState, SearchScope};
    use crate::testing::process;

    /// A source that can tell nothing beyond what it has handed over.
    struct Silent;

    impl Source for Silent {
        fn discover(
            &self,
            _: &BTreeSet<SearchScope>,
            _: &BTreeSet<Detail>,
            _: &NamespaceRegistry,
        ) -> Result<Discovery, Error> {
            Err(Error::NotProcfs("/nowhere".into()))
        }

        fn is_there(&self, _: &Process) -> bool {
            true
        }

        fn init_of(&self, _: &NamespaceFd) -> SysResult<Pid> {
            Err(Errno::NOTTY)
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
    fn a_discovery_is_enough_to_assemble_a_snapshot() {
        let mut processes =
            vec![process(&[1], None), process(&[6, 1], None), process(&[7, 2], None)];
        for (child, parent) in [(1, 1), (2, 6)] {
            processes[child].ppid = Pid::new(parent);
        }
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
            holders: vec![(99, Holder::Mount { path: "/x".to_owned(), mount_namespace: 4 })],
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
