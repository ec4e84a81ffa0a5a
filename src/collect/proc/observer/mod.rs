//! Finds pidns itself in a scan, and the other processes that belong to this run of pidns.
//!
//! - `client`: finds the clients that run pidns in a container, such as `docker run`, other checks,
//!   and the `timeout` process of BusyBox
//! - `pipeline`: finds the other commands in the pipelines of pidns and of its ancestors
//! - `readers`: finds the processes that read the output of a pipeline
//! - `detached`: finds daemons among the descendants of the commands in the pipeline
//! - `unreadable`: guesses the pipes of processes with unreadable descriptors
//! - `pipes`: reads the pipes that a process has open
//! - `heartbeat`: finds the background loop of a CI step

mod client;
mod detached;
mod heartbeat;
mod pipeline;
mod pipes;
mod readers;
mod unreadable;

use std::collections::BTreeSet;

use crate::collect::kernel::clock;
use crate::collect::kernel::wait_limit::WaitLimit;
use crate::collect::proc::procfs::Procfs;
use crate::collect::proc::relatives::{ancestry, has_ended, is_shell, restarted};
use crate::collect::proc::status::start_time_now;
use crate::collect::proc::waiting;
use crate::model::{Observer, Pid, Process};

use client::{clients, other_checks, timers};
use detached::add_attached_descendants;
use pipeline::{Pipeline, pipeline};

/// Finds pidns itself in `processes`, which must be sorted by PID.
pub fn observer(procfs: &Procfs, processes: &[Process]) -> Option<Observer> {
    let pid = procfs.viewer?;
    let waits = WaitLimit::of_memory();
    let own = ancestry(processes, pid);
    let start_time = own.first().and_then(|it| it.start_time);
    // Each chain of ancestors starts at pidns, at another check, or at a client such as `docker` that
    // runs one of these.
    let others = other_checks(procfs, processes, &own, &waits);
    let mut chains = vec![own];
    chains.extend(others);
    let clients: Vec<_> =
        chains.iter().flat_map(|it| clients(procfs, processes, it, &waits)).collect();
    chains.extend(clients);
    let mut pipelines = Pipeline::default();
    for chain in &chains {
        let Pipeline { commands, written } = pipeline(procfs, processes, chain, &waits);
        pipelines.commands.extend(commands);
        pipelines.written.extend(written);
    }
    // `pipeline` can return an ancestor of pidns that is a sibling of a client such as `docker`.
    // Remove such ancestors. Otherwise, the code below adds their descendants to the pipeline,
    // including leftovers of earlier commands.
    let is_ancestor = |pid: Pid| chains.iter().flatten().any(|it| it.pid == pid);
    pipelines.commands.retain(|&pid| !is_ancestor(pid));
    let Pipeline { commands: mut attendants, written } = pipelines;
    // Also include the ancestors of the pipeline's commands. In `pidns check | strace -o log cat`,
    // `strace` does not have the pipe open, but it waits for `cat`.
    let above = attendants.iter().flat_map(|&it| ancestry(processes, it)).map(|it| it.pid);
    let above: Vec<Pid> = above.collect();
    add_attached_descendants(procfs, processes, &written, &mut attendants);
    for chain in &chains {
        attendants.extend(ended_children(procfs, processes, chain, &waits));
        attendants.extend(chain.iter().flat_map(|it| [Some(it.pid), it.ppid]).flatten());
        attendants.extend(chain.iter().filter_map(|it| waiting::tracer(procfs, it)));
    }
    attendants.extend(above);
    attendants.extend(timers(procfs, processes, &attendants, &waits));
    attendants.extend(heartbeat::of_jenkins(procfs, processes, &waits));
    attendants.remove(&pid);
    let step = chains.iter().find_map(|chain| heartbeat::step(procfs, processes, chain, &waits));
    Some(Observer {
        pid,
        start_time: start_time.or_else(|| start_time_now(procfs, pid)),
        scan_end: clock::ticks(),
        step: step.as_ref().map(|it| it.shell),
        companions: step.into_iter().flat_map(|it| it.heartbeat).collect(),
        attendants: attendants.into_iter().collect(),
    })
}

/// Returns the terminated children of pidns and of the shells in `ancestry`.
fn ended_children(
    procfs: &Procfs,
    processes: &[Process],
    ancestry: &[&Process],
    waits: &WaitLimit,
) -> Vec<Pid> {
    let parents = ancestry.iter().enumerate();
    // A shell can run `< <(command)` and then exec pidns, so pidns can have children that the shell
    // started.
    let parents = parents.filter(|(index, it)| *index == 0 || is_shell(procfs, it, waits));
    let parents: BTreeSet<Pid> = parents.map(|(_, it)| it.pid).collect();
    let is_child = |it: &&Process| it.reaper().is_some_and(|it| parents.contains(&it));
    let ended = processes.iter().filter(is_child).filter(|it| has_ended(procfs, it.pid));
    let ended: Vec<&Process> = ended.collect();
    // A terminated child that has a new sibling with the same name may be a daemon that restarted
    // itself.
    let restarted = restarted(procfs, processes, &ended);
    ended.iter().map(|it| it.pid).filter(|it| !restarted.contains(it)).collect()
}
