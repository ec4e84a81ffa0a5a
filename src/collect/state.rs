//! Whether a namespace is live, dead or nascent, by proof.
//!
//! A namespace is dead once its init has terminated: from then on the kernel
//! gives out no PID in it (`zap_pid_ns_processes`). Three cases look different
//! from outside:
//!
//! - The init is listed, and all of its threads have `PF_EXITING`: it is a
//!   zombie that nobody has reaped yet, or (not a zombie) still waits for the
//!   last of its members to be reaped. If that is a zombie itself, its parent
//!   is outside, where the kernel cannot reap it: that parent is to blame.
//! - The init is not listed, though everything in the namespace would be, and
//!   the namespace is known to have had one.
//! - Nobody says whether it ever had one: a thread of our own, put where its
//!   children would be born there, is shown a link only if it had.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::os::fd::AsFd as _;
use std::thread;

use rustix::io::Errno;
use rustix::thread::{LinkNameSpaceType, move_into_link_name_space};

use super::diagnose::{Code, DiagnosticLog};
use super::nsfs::NamespaceFd;
use super::procfs::{Procfs, namespace_link};
use super::registry::{InitHistory, Registered};
use crate::model::{Lineage, Namespace, NamespaceId, NamespaceState, Pid, Process};

/// Inode of the initial PID namespace (`PROC_PID_INIT_INO` of the kernel,
/// fixed since Linux 3.8): a /proc of it shows every process.
const INITIAL: NamespaceId = NamespaceId::Inode(0xEFFF_FFFC);

/// What the proofs go by.
pub struct StateInputs<'a> {
    /// The /proc that was read.
    pub procfs: &'a Procfs,
    /// The namespace that its numbers are of.
    pub mount: Option<NamespaceId>,
    /// The namespaces met, by inode.
    pub registered: &'a HashMap<u64, Registered>,
    /// Inits that have terminated.
    pub terminated: &'a [Pid],
    /// The processes, by PID.
    pub processes: &'a [Process],
}

/// Sets the state of every namespace; their inits are known.
pub fn determine_states(
    namespaces: &mut [Namespace],
    inputs: &StateInputs<'_>,
    log: &mut DiagnosticLog,
) {
    let lineage = Lineage::new(namespaces);
    let hides = log.hides_processes();
    let mut live = HashSet::new();
    for namespace in namespaces.iter_mut().filter(|it| it.init.is_some()) {
        let init = namespace.init.filter(|init| inputs.terminated.contains(init));
        if init.is_some() {
            namespace.state = NamespaceState::Dead;
        } else {
            // Whatever it is nested in lives: an init takes all below with it.
            live.extend(lineage.climb(namespace.id));
        }
    }
    live.extend(inputs.mount.into_iter().flat_map(|mount| lineage.climb(mount)));
    for namespace in namespaces.iter_mut() {
        if namespace.init.is_some() || live.contains(&namespace.id) {
            continue;
        }
        let registered = namespace.id.inode().and_then(|inode| inputs.registered.get(&inode));
        let shown = Some(INITIAL) == inputs.mount
            || inputs.mount.is_some_and(|mount| lineage.is_within(namespace.id, mount));
        match registered.map(|registered| prove(registered, shown, hides, inputs.procfs)) {
            Some(Some(state)) => namespace.state = state,
            Some(None) => {
                let said = format!("cannot prove whether the init of {} is gone", namespace.id);
                log.note_as(Code::StateUnproved, said, None);
            }
            // Not read, and told of as such; it has members.
            None => {}
        }
    }
    blockers(namespaces, &lineage, inputs.processes, log);
}

/// The state of a namespace whose init is not listed; `None` without a proof.
fn prove(
    registered: &Registered,
    shown: bool,
    hides: bool,
    procfs: &Procfs,
) -> Option<NamespaceState> {
    let asked =
        registered.fd.as_ref().filter(|_| procfs.own).map(|fd| fd.tgid_from_pidns(Pid::INIT));
    if matches!(asked, Some(Ok(_))) {
        return Some(NamespaceState::Live);
    }
    let absent = shown && (!hides || asked == Some(Err(Errno::SRCH)));
    if !absent {
        return None;
    }
    match registered.init_history {
        InitHistory::Existed => Some(NamespaceState::Dead),
        // It may have come and gone since.
        InitHistory::NoneYet | InitHistory::Unknown => {
            match had_init(registered.fd.as_ref()?, procfs) {
                Some(true) => Some(NamespaceState::Dead),
                Some(false) => Some(NamespaceState::Nascent),
                None => (registered.init_history == InitHistory::NoneYet)
                    .then_some(NamespaceState::Nascent),
            }
        }
    }
}

/// Whether a namespace ever had an init. The kernel shows `pid_for_children`
/// only if it had; so a thread that is about to end enters it, without any
/// child, and looks. `None` where it may not enter (it takes `CAP_SYS_ADMIN`).
fn had_init(fd: &NamespaceFd, procfs: &Procfs) -> Option<bool> {
    // The own thread is to be looked at, which this /proc must show.
    procfs.viewer?;
    let look = || {
        let kind = Some(LinkNameSpaceType::ProcessID);
        move_into_link_name_space(fd.as_fd(), kind).ok()?;
        match namespace_link(procfs.fd(), c"thread-self/ns/pid_for_children", "pid") {
            Ok(shown) => shown.map(|inode| inode == fd.inode()),
            Err(Errno::NOENT) => Some(false),
            Err(_) => None,
        }
    };
    thread::scope(|scope| {
        let looker = thread::Builder::new().spawn_scoped(scope, look).ok()?;
        looker.join().ok().flatten()
    })
}

/// Names whom a terminated init waits for.
fn blockers(
    namespaces: &[Namespace],
    lineage: &Lineage,
    processes: &[Process],
    log: &mut DiagnosticLog,
) {
    let find = |pid: Pid| {
        let index = processes.binary_search_by_key(&pid, |process| process.pid).ok()?;
        Some(&processes[index])
    };
    // Those whose init waits, with what is left in and below them: found in one
    // walk over the processes, as a host that goes down has thousands of both.
    let mut waiting: BTreeMap<NamespaceId, (&Process, Vec<&Process>)> = namespaces
        .iter()
        .filter(|it| it.state == NamespaceState::Dead)
        .filter_map(|it| Some((it.id, (find(it.init?)?, Vec::new()))))
        .filter(|(_, (init, _))| !init.is_zombie())
        .collect();
    if waiting.is_empty() {
        return;
    }
    for process in processes {
        for id in process.namespace.into_iter().flat_map(|id| lineage.climb(id)) {
            if let Some((init, rest)) = waiting.get_mut(&id)
                && init.pid != process.pid
            {
                rest.push(process);
            }
        }
    }
    for (namespace, (init, rest)) in waiting {
        let is_inside = |process: &Process| {
            process.namespace.is_some_and(|id| lineage.is_within(id, namespace))
        };
        let mut message = format!(
            "init {} ({}) of {} has terminated, but waits for ",
            init.pid, init.comm, namespace
        );
        let mut to_blame = Vec::new();
        // What was only just killed will be gone in a moment: blocked is what a
        // parent outside does not reap, or the kernel cannot interrupt.
        for process in rest {
            let outside = process.ppid.and_then(find).filter(|parent| !is_inside(parent));
            let (pid, comm) = (process.pid, &process.comm);
            let (culprit, said) = match (outside, process.state) {
                (Some(parent), 'Z') => {
                    let (to_reap, name) = (parent.pid, &parent.comm);
                    let said = format!(
                        "{pid} ({comm}), a zombie that its parent {to_reap} ({name}) does not reap"
                    );
                    (to_reap, said)
                }
                (_, 'D') => (pid, format!("{pid} ({comm}), in uninterruptible sleep")),
                _ => continue,
            };
            match to_blame.len() {
                0 => message.push_str(&said),
                1 | 2 => message.extend([", ", &said]),
                3 => message.push_str(" and more"),
                _ => {}
            }
            to_blame.push(culprit);
        }
        if !to_blame.is_empty() {
            log.note_as(Code::InitBlocked, message, to_blame);
        }
    }
}
