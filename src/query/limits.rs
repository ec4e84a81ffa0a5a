//! Sorts limits by how full they are, and picks the limits to show.

use std::cmp::Reverse;
use std::collections::BTreeSet;

use crate::graph::PidGraph;
use crate::model::{Limit, LimitKind, LiveFacts, Pid};

/// For the whole host, `pidns limits` shows only limits that are at least this full, in percent.
const CLOSE_PERCENT: u64 = 80;

/// The limits that apply to some processes, or all full and nearly full limits on a host.
#[derive(Debug)]
pub struct LimitReport {
    /// The graph of the host.
    pub graph: PidGraph,
    /// The processes whose limits were requested; empty for the whole host.
    pub asked: BTreeSet<Pid>,
    /// The limits to show: full limits first, in the order in which the kernel checks them, then the
    /// others by percentage, highest first.
    pub limits: Vec<Limit>,
    /// Number of limits that could be read, including those that are not shown. The limits for
    /// terminated inits and for nesting count only if they are full: pidns always knows them,
    /// because it derives them from the hierarchy.
    pub known: usize,
    /// Number of limits whose `full` is unknown, including those that are not shown.
    pub unknown: usize,
    /// Facts about the processes that the advice mentions.
    pub live: LiveFacts,
}

impl LimitReport {
    /// Picks the limits that apply to the processes in `asked` or, if `asked` is empty, all full
    /// and nearly full limits on the host.
    #[must_use]
    pub fn new(graph: PidGraph, asked: BTreeSet<Pid>) -> Self {
        let all = graph.snapshot().limits.iter().flatten();
        let is_meant =
            |it: &&Limit| asked.is_empty() || it.pids.iter().any(|it| asked.contains(it));
        let mut limits: Vec<Limit> = all.filter(is_meant).cloned().collect();
        let unknown = limits.iter().filter(|it| it.full.is_none()).count();
        let is_in_hierarchy =
            |it: &Limit| matches!(it.kind, LimitKind::InitTerminated | LimitKind::Nesting);
        let is_known = |it: &Limit| it.full.is_some_and(|full| full || !is_in_hierarchy(it));
        let known = limits.iter().filter(|it| is_known(it)).count();
        if asked.is_empty() {
            limits.retain(|it| it.percent().is_some_and(|percent| percent >= CLOSE_PERCENT));
        }
        for limit in limits.iter_mut().filter(|_| !asked.is_empty()) {
            limit.pids.retain(|pid| asked.contains(pid));
        }
        sort(&mut limits);
        Self { graph, asked, limits, known, unknown, live: LiveFacts::default() }
    }

    /// Returns the number of full limits.
    #[must_use]
    pub fn full(&self) -> usize {
        self.limits.iter().filter(|it| it.full == Some(true)).count()
    }

    /// Returns the processes that the advice on full limits mentions.
    #[must_use]
    pub fn concerned(&self) -> BTreeSet<Pid> {
        let full = self.limits.iter().filter(|it| it.full == Some(true));
        full.flat_map(Limit::concerned).collect()
    }
}

/// Sorts limits into three groups: full limits, in the order in which the kernel checks them; then
/// limits that are not full, the highest percentage first; then limits that may be full.
fn sort(limits: &mut [Limit]) {
    limits.sort_by_key(|limit| {
        let is_full = limit.full == Some(true);
        let percent = limit.percent().filter(|_| !is_full);
        (!is_full, limit.full.is_none(), Reverse(percent), limit.kind)
    });
}
