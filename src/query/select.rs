//! Filters a graph into a smaller graph, which all output formats can show.

use std::collections::{BTreeSet, HashMap, HashSet};

use clap::ValueEnum;

use super::container::{ChosenContainers, ContainerPattern};
use super::pattern::{Glob, User};
use super::resolve::resolve;
use crate::graph::PidGraph;
use crate::model::{
    Criterion, EnvPattern, FilterOption, Holder, Namespace, NamespaceId, NamespaceRef,
    NamespaceState, NotFound, Pid, Process,
};

/// A filter for the processes and namespaces that meet all its conditions.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// Select only these processes. If the set is empty, this condition does not apply. The result
    /// also contains their namespaces, and the dead or nascent namespaces that these processes keep
    /// alive.
    pub pids: BTreeSet<Pid>,
    /// `true` to include the descendants of `pids`, and the ancestors in the same namespace.
    pub with_family: bool,
    /// Select only this namespace and its descendants.
    pub root: Option<NamespaceRef>,
    /// Maximum depth of selected namespaces, in levels below a root.
    pub depth: Option<usize>,
    /// Show only these members of each namespace.
    pub members: Members,
    /// Select only processes with a matching name.
    pub comm: Option<Glob>,
    /// Select only processes of this user.
    pub user: Option<User>,
    /// Select only processes whose environment meets this condition. The scan must already have
    /// evaluated the condition.
    pub env: Option<EnvPattern>,
    /// Select only the matching containers: their processes, their namespaces, and the descendants
    /// of these namespaces.
    pub container: Option<ContainerPattern>,
    /// Select only namespaces in this state.
    pub state: Option<NamespaceState>,
}

/// Defines which members of each namespace to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Members {
    /// All members, except those that another option filters out.
    #[default]
    All,
    /// Only the init of each namespace.
    Init,
    /// No members.
    None,
}

impl Members {
    /// All values, in the order in which the help lists them.
    pub const ALL: [Self; 3] = [Self::All, Self::Init, Self::None];

    /// Returns the value as it is spelled on the command line.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::All => "all",
            Self::Init => "init",
            Self::None => "none",
        }
    }
}

impl Selection {
    /// Returns `true` if the filter has no condition.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.root.is_none() && self.criteria(None).is_empty()
    }

    /// Returns the criteria of the filter as they appear in documents.
    fn criteria(&self, root: Option<NamespaceId>) -> Vec<Criterion> {
        let root = root.map(|id| id.to_string());
        let members = (self.members != Members::All).then(|| self.members.name().to_owned());
        let one = |value: Option<String>| value.into_iter().collect();
        [
            (FilterOption::Pid, self.pids.iter().map(Pid::to_string).collect()),
            (FilterOption::Root, one(root)),
            (FilterOption::Depth, one(self.depth.map(|depth| depth.to_string()))),
            (FilterOption::Comm, one(self.comm.as_ref().map(Glob::to_string))),
            (FilterOption::User, one(self.user.as_ref().map(User::to_string))),
            // Leave out the value of the variable, because it may be a secret.
            (FilterOption::Env, one(self.env.as_ref().map(|it| it.name().to_owned()))),
            (
                FilterOption::Container,
                one(self.container.as_ref().map(ContainerPattern::to_string)),
            ),
            (FilterOption::State, one(self.state.map(|state| state.name().to_owned()))),
            (FilterOption::Members, one(members)),
        ]
        .into_iter()
        .filter(|(_, values): &(FilterOption, Vec<String>)| !values.is_empty())
        .map(|(by, values)| Criterion { by, values })
        .collect()
    }

    /// Returns `true` if the filter has a condition on processes, not only on namespaces.
    fn is_by_process(&self) -> bool {
        !self.pids.is_empty() || self.comm.is_some() || self.user.is_some() || self.env.is_some()
    }

    /// Returns `true` if the filter selects only processes with a known namespace.
    fn is_by_namespace(&self) -> bool {
        self.root.is_some() || self.depth.is_some() || self.state.is_some()
    }

    fn takes_process(&self, process: &Process) -> bool {
        (self.pids.is_empty() || self.pids.contains(&process.pid))
            && self.comm.as_ref().is_none_or(|glob| glob.matches(&process.comm))
            && self.user.as_ref().is_none_or(|user| user.owns(process))
            && self.env.as_ref().is_none_or(|pattern| process.has_environment(pattern))
    }

    /// Fails if `--container` is ambiguous. The error lists the matching containers and pods.
    pub fn check_container(&self, graph: &PidGraph) -> Result<(), NotFound> {
        self.container.as_ref().map_or(Ok(()), |pattern| pattern.check(graph))
    }

    /// Returns `true` if a process meets the conditions on its namespace and container.
    fn takes_position(
        &self,
        process: &Process,
        position: Option<&Position>,
        chosen: Option<&ChosenContainers<'_>>,
    ) -> bool {
        let in_reach = position
            .map_or(process.namespace.is_none() && !self.is_by_namespace(), |position| {
                position.in_reach
            });
        // Containers can share a PID namespace (`docker run --pid`), so also check whether the
        // process itself is in a selected container.
        let is_inside = |chosen: &ChosenContainers<'_>| {
            process.other_container().is_some_and(|it| chosen.contains(it))
        };
        in_reach
            && (position.is_some_and(|position| position.contained) || chosen.is_none_or(is_inside))
    }
}

/// Facts about a namespace that determine whether the filter selects it.
struct Position {
    /// Number of levels below the root, or `None` for a namespace outside the selected root.
    depth: Option<usize>,
    /// `true` if no container is selected, or if the namespace is within the selected container.
    contained: bool,
    /// `true` if the namespace meets the conditions `root`, `depth` and `state` of the filter.
    in_reach: bool,
}

/// Returns the selected part of a graph.
///
/// # Errors
/// Fails if nothing is selected, or if the selected root does not exist.
pub fn select(graph: PidGraph, selection: &Selection) -> Result<PidGraph, NotFound> {
    if selection.is_everything() {
        return Ok(graph);
    }
    let root = selection.root.map(|root| resolve(&graph, root)).transpose()?;
    let chosen = selection.container.as_ref().map(|pattern| pattern.choose(&graph));
    let positions = positions(&graph, selection, root, chosen.as_ref());
    let family = family(&graph, selection);
    let mut processes = selected_processes(&graph, &family, &positions, chosen.as_ref());
    let mut namespaces = selected_namespaces(&graph, selection, &positions, &processes);
    if processes.is_empty() && namespaces.is_empty() {
        return Err(nothing_selected(&graph, selection, root));
    }
    // To explain why a dead namespace still exists, add the processes that keep it alive.
    if selection.state.is_some() && !selection.is_by_process() {
        let selected = namespaces.iter().filter_map(|&id| graph.namespace(id));
        processes.extend(selected.flat_map(keepers));
    }
    // To explain why a zombie still exists, add the process that must reap it.
    if !selection.pids.is_empty() {
        let zombies = processes.iter().filter_map(|&pid| graph.process(pid));
        let reapers = zombies.filter(|it| it.is_unreaped()).filter_map(Process::reaper);
        let in_reach = |pid: &Pid| {
            let namespace = graph.process(*pid).and_then(|it| it.namespace);
            let position = namespace.and_then(|id| positions.get(&id));
            position.is_some_and(|position| position.depth.is_some())
        };
        let reapers: Vec<_> = reapers.filter(in_reach).collect();
        namespaces.extend(reapers.iter().filter_map(|&pid| graph.process(pid)?.namespace));
        processes.extend(reapers);
    }
    // Also add the dead and nascent namespaces that the selected processes keep alive. Such
    // namespaces can explain errors of fork(2).
    if !selection.pids.is_empty() || selection.env.is_some() {
        namespaces.extend(kept_namespaces(&graph, &positions, &processes));
    }
    // The ancestors of selected namespaces are shown without their members.
    add_ancestors(&graph, &mut namespaces, |parent| {
        positions.get(&parent).is_some_and(|position| position.depth.is_some())
    });
    Ok(retain(graph, selection, root, &namespaces, &processes))
}

/// Returns the selected part of a graph, or an empty graph and the error of [`select`].
#[must_use]
pub fn part(graph: PidGraph, selection: &Selection) -> (PidGraph, Option<NotFound>) {
    let mut empty = graph.snapshot().without_lists();
    match select(graph, selection) {
        Ok(graph) => (graph, None),
        Err(no) => {
            if let NotFound::Selection(criteria) = &no {
                add_criteria(&mut empty.selected, criteria.clone());
            }
            (PidGraph::new(empty), Some(no))
        }
    }
}

/// Returns `selection` with the relatives of its processes, if `with_family` is set.
fn family(graph: &PidGraph, selection: &Selection) -> Selection {
    if !selection.with_family {
        return selection.clone();
    }
    let mut pids = selection.pids.clone();
    pids.extend(graph.with_descendants(pids.iter().copied()));
    // Visit each process only once, because a saved document can contain parent cycles.
    let mut visited = HashSet::new();
    for process in selection.pids.iter().filter_map(|&pid| graph.process(pid)) {
        let parent = |it: &&Process| graph.process(it.ppid?);
        let in_namespace = |it: &&Process| it.namespace == process.namespace;
        let ancestors = std::iter::successors(Some(process), parent).take_while(in_namespace);
        pids.extend(ancestors.map(|it| it.pid).take_while(|&pid| visited.insert(pid)));
    }
    Selection { pids, ..selection.clone() }
}

/// Adds the criteria of a filter to the criteria of earlier filters, without duplicates.
fn add_criteria(selected: &mut Vec<Criterion>, criteria: Vec<Criterion>) {
    let new: Vec<_> = criteria.into_iter().filter(|it| !selected.contains(it)).collect();
    selected.extend(new);
}

fn selected_processes(
    graph: &PidGraph,
    selection: &Selection,
    positions: &HashMap<NamespaceId, Position>,
    chosen: Option<&ChosenContainers<'_>>,
) -> HashSet<Pid> {
    let is_selected = |process: &&Process| {
        let position = process.namespace.and_then(|id| positions.get(&id));
        selection.takes_process(process) && selection.takes_position(process, position, chosen)
    };
    graph.processes().iter().filter(is_selected).map(|process| process.pid).collect()
}

/// Returns the namespaces that are selected or contain a selected process.
fn selected_namespaces(
    graph: &PidGraph,
    selection: &Selection,
    positions: &HashMap<NamespaceId, Position>,
    processes: &HashSet<Pid>,
) -> HashSet<NamespaceId> {
    let mut namespaces: HashSet<NamespaceId> =
        processes.iter().filter_map(|&pid| graph.process(pid)?.namespace).collect();
    // If the filter has no conditions on processes, select a namespace even if none of its members
    // is selected.
    if !selection.is_by_process() {
        let selected =
            positions.iter().filter(|(_, position)| position.in_reach && position.contained);
        namespaces.extend(selected.map(|(id, _)| *id));
    }
    namespaces
}

/// Returns the error for a filter that selects nothing.
fn nothing_selected(
    graph: &PidGraph,
    selection: &Selection,
    root: Option<NamespaceId>,
) -> NotFound {
    // If only one process was selected and it does not exist, the error names it.
    let only_pid = selection.pids.first().filter(|_| selection.pids.len() == 1);
    match only_pid {
        Some(&pid) if graph.process(pid).is_none() => NotFound::Process { pid, namespace: None },
        _ => NotFound::Selection(selection.criteria(root)),
    }
}

/// Returns the dead and nascent namespaces that the kernel cannot remove because of `processes`.
///
/// Includes namespaces in an unknown state. Leaves out namespaces that the filter excludes.
fn kept_namespaces(
    graph: &PidGraph,
    positions: &HashMap<NamespaceId, Position>,
    processes: &HashSet<Pid>,
) -> Vec<NamespaceId> {
    let is_kept = |it: &&Namespace| {
        it.state != NamespaceState::Live
            && positions.get(&it.id).is_some_and(|position| position.in_reach)
            && keepers(it).any(|pid| processes.contains(&pid))
    };
    graph.snapshot().namespaces.iter().filter(is_kept).map(|namespace| namespace.id).collect()
}

/// Adds the ancestors of each namespace while `is_in_reach` returns `true`.
fn add_ancestors(
    graph: &PidGraph,
    namespaces: &mut HashSet<NamespaceId>,
    is_in_reach: impl Fn(NamespaceId) -> bool,
) {
    // The reversed tree order lists children before their parents.
    for (namespace, _) in graph.tree().into_iter().rev() {
        if namespaces.contains(&namespace.id) {
            namespaces.extend(namespace.parent.filter(|&parent| is_in_reach(parent)));
        }
    }
}

/// Returns a graph with only the given namespaces and processes, the namespaces of these processes,
/// and the ancestors of all these namespaces.
pub fn branches(
    graph: PidGraph,
    mut namespaces: HashSet<NamespaceId>,
    processes: &HashSet<Pid>,
) -> PidGraph {
    namespaces.extend(processes.iter().filter_map(|&pid| graph.process(pid)?.namespace));
    add_ancestors(&graph, &mut namespaces, |_| true);
    retain(graph, &Selection::default(), None, &namespaces, processes)
}

/// Returns the [`Position`] of every namespace.
fn positions(
    graph: &PidGraph,
    selection: &Selection,
    root: Option<NamespaceId>,
    chosen: Option<&ChosenContainers<'_>>,
) -> HashMap<NamespaceId, Position> {
    let mut positions: HashMap<NamespaceId, Position> = HashMap::new();
    // The tree order lists parents before their children.
    for (namespace, level) in graph.tree() {
        let above = namespace.parent.and_then(|parent| positions.get(&parent));
        let depth = match root {
            None => Some(level),
            Some(root) if root == namespace.id => Some(0),
            Some(_) => above.and_then(|above| above.depth).map(|depth| depth + 1),
        };
        let is_chosen = chosen.is_none_or(|chosen| {
            namespace.container.as_ref().is_some_and(|it| chosen.contains(it))
        });
        let contained = is_chosen || above.is_some_and(|above| above.contained);
        let in_reach = depth.is_some_and(|depth| selection.depth.is_none_or(|most| depth <= most))
            && selection.state.is_none_or(|state| state == namespace.state);
        positions.insert(namespace.id, Position { depth, contained, in_reach });
    }
    positions
}

/// Returns the processes that keep a namespace alive, as holders or as blockers of its init.
pub fn keepers(namespace: &Namespace) -> impl Iterator<Item = Pid> {
    let live = namespace.state == NamespaceState::Live;
    let holders = namespace.holders.iter().filter_map(move |holder| match holder {
        Holder::Fd { pid, .. } | Holder::File { pid, .. } => Some(*pid),
        Holder::PidForChildren { pid, .. } => (!live).then_some(*pid),
        Holder::Mount { .. } => None,
    });
    let blockers = namespace.blocked_by.iter();
    // A blocking zombie stays until its parent or tracer reaps it.
    let blockers = blockers.flat_map(|blocker| blocker.reaper.into_iter().chain([blocker.pid]));
    holders.chain(blockers)
}

/// Removes all namespaces and processes that are not in these sets.
fn retain(
    graph: PidGraph,
    selection: &Selection,
    root: Option<NamespaceId>,
    namespaces: &HashSet<NamespaceId>,
    processes: &HashSet<Pid>,
) -> PidGraph {
    let is_shown = |process: &Process| {
        let member = match selection.members {
            Members::All => true,
            Members::Init => process.is_init(),
            Members::None => false,
        };
        member
            && processes.contains(&process.pid)
            && process.namespace.is_none_or(|id| namespaces.contains(&id))
    };
    let count = |namespace: &Namespace| {
        let count = namespace.member_count.unwrap_or_else(|| graph.members(namespace).len());
        (namespace.id, count)
    };
    let counts: HashMap<NamespaceId, usize> =
        graph.snapshot().namespaces.iter().map(count).collect();
    let left_out = relatives(&graph, is_shown);
    let sharing = graph.sharing().clone();
    let mut part = graph.into_snapshot();
    add_criteria(&mut part.selected, selection.criteria(root));
    part.processes.retain(is_shown);
    part.namespaces.retain(|namespace| namespaces.contains(&namespace.id));
    let mut shown: HashMap<NamespaceId, usize> = HashMap::new();
    for id in part.processes.iter().filter_map(|process| process.namespace) {
        *shown.entry(id).or_default() += 1;
    }
    let kept: HashSet<Pid> = part.processes.iter().map(|process| process.pid).collect();
    for limit in part.limits.iter_mut().flatten() {
        limit.pids.retain(|pid| kept.contains(pid));
    }
    if let Some(limits) = &mut part.limits {
        limits.retain(|limit| !limit.pids.is_empty());
    }
    for namespace in &mut part.namespaces {
        let shown = shown.get(&namespace.id).copied().unwrap_or_default();
        namespace.member_count = counts.get(&namespace.id).copied().filter(|&it| it != shown);
        if Some(namespace.id) == root {
            (namespace.parent, namespace.parent_unknown) = (None, false);
        }
    }
    let mut part = PidGraph::new(part);
    part.add_left_out(left_out);
    part.set_sharing(sharing);
    part
}

/// Returns the removed processes that the output still needs, because they are ancestors or tracers
/// of shown processes.
fn relatives(graph: &PidGraph, is_shown: impl Fn(&Process) -> bool) -> Vec<Process> {
    let shown = graph.processes().iter().filter(|it| is_shown(it));
    let mut todo: Vec<Pid> = shown.flat_map(|it| [it.ppid, it.tracer()]).flatten().collect();
    let mut found = HashSet::new();
    let mut relatives = Vec::new();
    while let Some(pid) = todo.pop() {
        let is_kept = graph.process(pid).is_some_and(&is_shown);
        let Some(process) = graph.known_process(pid).filter(|_| !is_kept) else { continue };
        if found.insert(pid) {
            todo.extend(process.ppid);
            relatives.push(process.clone());
        }
    }
    relatives
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BlockReason, Blocker, Container, ProcessDetails};
    use crate::testing::{farm, process};

    const CONTAINER: NamespaceId = NamespaceId::Inode(4_026_532_179);

    /// Applies a selection to `farm()`, and returns the PIDs in each namespace.
    fn left(selection: &Selection) -> Vec<(u64, Vec<u32>)> {
        let graph = select(PidGraph::new(farm()), selection).unwrap();
        let tree = graph.tree();
        let row = |(namespace, _): &(&Namespace, usize)| {
            let pids = graph.members(namespace).iter().map(|it| it.pid.as_u32()).collect();
            (namespace.id.inode().unwrap() % 1000, pids)
        };
        tree.iter().map(row).collect()
    }

    fn refusal(selection: &Selection) -> String {
        select(PidGraph::new(farm()), selection).unwrap_err().to_string()
    }

    fn pids(raw: &[u32]) -> BTreeSet<Pid> {
        raw.iter().filter_map(|&raw| Pid::new(raw)).collect()
    }

    fn all() -> Selection {
        Selection::default()
    }

    #[test]
    fn a_selected_process_includes_its_namespace_and_its_ancestors() {
        assert_eq!(left(&Selection { pids: pids(&[7]), ..all() }), [(836, vec![]), (179, vec![7])]);
        assert_eq!(
            left(&Selection { pids: pids(&[7, 1, 99]), ..all() }),
            [(836, vec![1]), (179, vec![7])]
        );
        let comm = "[fs]?*".parse().ok();
        let named = [(836, vec![1]), (179, vec![6, 7])];
        assert_eq!(left(&Selection { comm, ..all() }), named);
        let user = Some(User::Name("root".to_owned()));
        assert_eq!(left(&Selection { user, pids: pids(&[1]), ..all() }), [(836, vec![1])]);
    }

    #[test]
    fn a_selected_process_includes_the_namespaces_that_it_keeps() {
        let holder = Selection { pids: pids(&[4]), ..all() };
        assert_eq!(left(&holder), [(836, vec![4]), (179, vec![]), (180, vec![])]);
        let only_live = Selection { state: Some(NamespaceState::Live), ..holder.clone() };
        assert_eq!(left(&only_live), [(836, vec![4])]);
        assert_eq!(left(&Selection { depth: Some(1), ..holder }), [(836, vec![4])]);
    }

    #[test]
    fn a_selected_namespace_includes_its_ancestors_and_keepers() {
        let state = Some(NamespaceState::Dead);
        assert_eq!(
            left(&Selection { state, ..all() }),
            [(836, vec![4]), (179, vec![]), (180, vec![])]
        );
        let container = "3f2a".parse().ok();
        assert_eq!(
            left(&Selection { container, ..all() }),
            [(836, vec![]), (179, vec![6, 7]), (180, vec![])]
        );
    }

    #[test]
    fn a_container_in_a_shared_namespace_has_only_its_own_processes() {
        let mut shared = farm();
        for pid in [4, 7] {
            let process = shared.processes.iter_mut().find(|it| it.pid.as_u32() == pid).unwrap();
            let container = Some(Container::new("lxc", "web"));
            process.details =
                Some(Box::new(ProcessDetails { container, ..ProcessDetails::default() }));
        }
        shared.processes.push({
            let mut ambiguous = process(&[9, 3], None);
            ambiguous.details.clone_from(&shared.processes[4].details);
            ambiguous
        });
        let shown = |selection: &Selection| {
            let part =
                select(PidGraph::new(shared.clone()), selection).map_err(|it| it.to_string())?;
            let ids = part.tree().iter().map(|(it, _)| it.id.inode().unwrap() % 1000).collect();
            let pids = part.processes().iter().map(|it| it.pid.as_u32()).collect();
            Ok::<(Vec<u64>, Vec<u32>), String>((ids, pids))
        };
        let container = || "WEB".parse().ok();
        let all = || Selection { container: container(), ..all() };
        assert_eq!(shown(&all()), Ok((vec![836, 179], vec![4, 7, 9])));
        let root = Some(NamespaceRef::Id(CONTAINER));
        assert_eq!(shown(&Selection { root, ..all() }), Ok((vec![179], vec![7])));
        assert_eq!(
            shown(&Selection { depth: Some(0), ..all() }),
            Ok((vec![836], vec![4])),
            "the namespace of 9 is unknown"
        );
        let comm = "containerd-*".parse().ok();
        assert_eq!(shown(&Selection { comm, ..all() }), Ok((vec![836], vec![4])));
        let state = Some(NamespaceState::Dead);
        assert_eq!(
            shown(&Selection { state, ..all() }),
            Err("nothing matches container WEB and state dead".to_owned())
        );
        // A namespace and all its members belong to the container of the init.
        let container = "3f2a".parse().ok();
        let inits = Selection { container, ..Selection::default() };
        assert_eq!(shown(&inits), Ok((vec![836, 179, 180], vec![6, 7])));
    }

    #[test]
    fn the_reaper_of_a_blocker_keeps_the_namespace() {
        let mut snapshot = farm();
        let dead = snapshot.namespaces.iter_mut().find(|it| it.state == NamespaceState::Dead);
        let dead = dead.unwrap();
        dead.holders.clear();
        let reaper = Pid::new(7);
        let blocker = Blocker {
            pid: Pid::new(9).unwrap(),
            comm: "x".into(),
            reason: BlockReason::Zombie,
            reaper,
        };
        dead.blocked_by.push(blocker);
        let selection = Selection { state: Some(NamespaceState::Dead), ..all() };
        let part = select(PidGraph::new(snapshot), &selection).unwrap();
        let shown: Vec<_> = part.processes().iter().map(|it| it.pid).collect();
        assert_eq!(shown, [reaper.unwrap()], "the snapshot does not have the zombie");
    }

    #[test]
    fn an_unknown_state_is_selected_like_any_other() {
        let mut unproved = farm();
        unproved.namespaces[2].state = NamespaceState::Unknown;
        let state = Some(NamespaceState::Unknown);
        let part = select(PidGraph::new(unproved), &Selection { state, ..all() }).unwrap();
        let ids: Vec<_> =
            part.snapshot().namespaces.iter().map(|it| it.id.inode().unwrap() % 1000).collect();
        assert_eq!(ids, [836, 179, 180]);
        assert_eq!(part.snapshot().selected[0].values, ["unknown"]);
    }

    #[test]
    fn a_root_has_no_ancestors_and_depth_counts_from_it() {
        let root = Some(NamespaceRef::Of(Pid::new(7).unwrap()));
        assert_eq!(left(&Selection { root, ..all() }), [(179, vec![6, 7]), (180, vec![])]);
        assert_eq!(left(&Selection { root, depth: Some(0), ..all() }), [(179, vec![6, 7])]);
        assert_eq!(
            left(&Selection { depth: Some(1), members: Members::Init, ..all() }),
            [(836, vec![1]), (179, vec![6])]
        );
    }

    #[test]
    fn a_selection_records_its_conditions_and_the_member_counts() {
        let root = Some(NamespaceRef::Id(CONTAINER));
        let selection = Selection { root, members: Members::None, ..all() };
        let graph = select(PidGraph::new(farm()), &selection).unwrap();
        let said: Vec<_> = graph
            .snapshot()
            .selected
            .iter()
            .map(|it| (it.by.name(), it.values.join(",")))
            .collect();
        assert_eq!(said, [("root", "pid:[4026532179]".to_owned()), ("members", "none".to_owned())]);
        let counts: Vec<_> = graph.tree().iter().map(|(it, _)| it.member_count).collect();
        assert_eq!(counts, [Some(2), None]);
        let again = select(graph, &Selection { depth: Some(0), ..all() }).unwrap();
        assert_eq!(again.snapshot().selected.len(), 3);
        assert_eq!(again.namespace(CONTAINER).unwrap().member_count, Some(2));
    }

    #[test]
    fn an_error_names_the_conditions() {
        assert_eq!(refusal(&Selection { pids: pids(&[99]), ..all() }), "no process 99");
        assert_eq!(
            refusal(&Selection { pids: pids(&[98, 99]), ..all() }),
            "nothing matches pid 98 99"
        );
        let root = Some(NamespaceRef::Id(NamespaceId::Inode(5)));
        assert_eq!(refusal(&Selection { root, ..all() }), "no namespace pid:[5]");
        let root = Some(NamespaceRef::Of(Pid::new(99).unwrap()));
        assert_eq!(refusal(&Selection { root, ..all() }), "no process 99");
        let selection =
            Selection { comm: "sl*".parse().ok(), state: Some(NamespaceState::Dead), ..all() };
        assert_eq!(refusal(&selection), "nothing matches comm sl* and state dead");
    }

    #[test]
    fn a_filtered_snapshot_reads_back_to_the_same_value() {
        let root = Some(NamespaceRef::Id(CONTAINER));
        for selection in [
            Selection { root, ..all() },
            Selection { depth: Some(0), ..all() },
            Selection { members: Members::None, ..all() },
            Selection { pids: pids(&[7]), ..all() },
        ] {
            let graph = select(PidGraph::new(farm()), &selection).unwrap();
            let json = serde_json::to_string(&crate::document::document(&graph)).unwrap();
            let (read, _) = crate::document::read(json.as_bytes()).unwrap();
            assert_eq!(&read, graph.snapshot(), "{selection:?}");
        }
    }
}
