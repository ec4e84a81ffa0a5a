//! From a graph to the part of it that was asked for.
//!
//! What comes out is a graph like any other, so that every emitter honours
//! it. A selected namespace brings its ancestors along, without their members,
//! as the branch that it hangs on.

use std::collections::{BTreeSet, HashMap, HashSet};

use clap::ValueEnum;

use super::pattern::{ContainerPrefix, Glob, User};
use super::resolve::resolve;
use crate::graph::PidGraph;
use crate::model::{
    Criterion, FilterOption, Holder, Namespace, NamespaceId, NamespaceRef, NamespaceState,
    NotFound, Pid, Process,
};

/// What to show: whatever is shown meets all of these.
#[derive(Clone, Debug, Default)]
pub struct Selection {
    /// These processes, any of them; with them, of the namespaces that are not
    /// live those that they keep.
    pub pids: BTreeSet<Pid>,
    /// This namespace and what is below it, without ancestors.
    pub root: Option<NamespaceRef>,
    /// Namespaces at most so many levels below a root.
    pub depth: Option<usize>,
    /// Which members are shown of the namespaces that are.
    pub members: Members,
    /// Processes with such a name.
    pub comm: Option<Glob>,
    /// Processes of this user.
    pub user: Option<User>,
    /// The namespaces of this container, by their inits, and what is below
    /// them; of other namespaces the members that are in it.
    pub container: Option<ContainerPrefix>,
    /// Namespaces in this state.
    pub state: Option<NamespaceState>,
}

/// Which members of a namespace.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
pub enum Members {
    /// All that are selected.
    #[default]
    All,
    /// Its PID 1 alone.
    Init,
    /// None; only namespaces.
    None,
}

impl Members {
    /// All of these choices, in the order in which they are shown.
    pub const ALL: [Self; 3] = [Self::All, Self::Init, Self::None];

    /// Its name on the command line.
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
    /// Whether everything is selected.
    #[must_use]
    pub fn is_everything(&self) -> bool {
        self.root.is_none() && self.criteria(None).is_empty()
    }

    /// What it says of itself; `root` is the namespace that was named.
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
            (FilterOption::Container, one(self.container.as_ref().map(ContainerPrefix::to_string))),
            (FilterOption::State, one(self.state.map(|state| state.name().to_owned()))),
            (FilterOption::Members, one(members)),
        ]
        .into_iter()
        .filter(|(_, values): &(FilterOption, Vec<String>)| !values.is_empty())
        .map(|(by, values)| Criterion { by, values })
        .collect()
    }

    /// Whether processes are selected by what they are, not only by the namespace
    /// that they are in.
    fn is_by_process(&self) -> bool {
        !self.pids.is_empty() || self.comm.is_some() || self.user.is_some()
    }

    /// Whether namespaces are selected by what they are, their containers aside.
    /// A process whose namespace is unknown is then never meant.
    fn is_by_namespace(&self) -> bool {
        self.root.is_some() || self.depth.is_some() || self.state.is_some()
    }

    fn takes_process(&self, process: &Process) -> bool {
        (self.pids.is_empty() || self.pids.contains(&process.pid))
            && self.comm.as_ref().is_none_or(|glob| glob.matches(&process.comm))
            && self.user.as_ref().is_none_or(|user| user.owns(process))
    }

    /// Whether a namespace is of the container, by its init.
    fn takes_container(&self, namespace: &Namespace) -> bool {
        self.container.as_ref().is_none_or(|prefix| {
            namespace.container.as_ref().is_some_and(|container| prefix.matches(container))
        })
    }

    /// Whether a process is meant by where it is.
    fn takes_position(&self, process: &Process, position: Option<&Position>) -> bool {
        let in_reach = position
            .map_or(process.namespace.is_none() && !self.is_by_namespace(), |position| {
                position.in_reach
            });
        // Several containers may share one namespace (`shareProcessNamespace`
        // and `hostPID` of a Kubernetes pod, `docker run --pid`).
        in_reach
            && (position.is_some_and(|position| position.contained)
                || self.container.as_ref().is_none_or(|prefix| prefix.holds(process)))
    }
}

/// What a selection makes of a namespace.
struct Position {
    /// Levels below the root that was asked for; `None` outside of it.
    depth: Option<usize>,
    /// Whether it or an ancestor is of the container that was asked for.
    contained: bool,
    /// Whether it meets everything that is asked of namespaces, their
    /// containers aside.
    in_reach: bool,
}

/// The part of the graph that was asked for.
///
/// # Errors
/// Nothing in the graph meets the selection, or its root is not there.
pub fn select(graph: PidGraph, selection: &Selection) -> Result<PidGraph, NotFound> {
    if selection.is_everything() {
        return Ok(graph);
    }
    let root = selection.root.map(|root| resolve(&graph, root)).transpose()?;
    let positions = positions(&graph, selection, root);
    let position = |process: &Process| positions.get(&process.namespace?);
    let mut processes: HashSet<Pid> = graph
        .processes()
        .iter()
        .filter(|process| {
            selection.takes_process(process) && selection.takes_position(process, position(process))
        })
        .map(|process| process.pid)
        .collect();
    let members = processes.iter().filter_map(|&pid| graph.process(pid)?.namespace);
    let mut namespaces: HashSet<NamespaceId> = members.collect();
    if !selection.is_by_process() {
        let chosen =
            positions.iter().filter(|(_, position)| position.in_reach && position.contained);
        namespaces.extend(chosen.map(|(id, _)| *id));
    }
    if processes.is_empty() && namespaces.is_empty() {
        let one = selection.pids.first().filter(|_| selection.pids.len() == 1);
        return Err(match one {
            Some(&pid) if graph.process(pid).is_none() => {
                NotFound::Process { pid, namespace: None }
            }
            _ => NotFound::Selection(selection.criteria(root)),
        });
    }
    // Whoever asks for a state also asks who keeps the namespaces in it.
    if selection.state.is_some() && !selection.is_by_process() {
        let named = namespaces.iter().filter_map(|&id| graph.namespace(id));
        processes.extend(named.flat_map(keepers));
    }
    // Whoever names a process also asks what it keeps from going: a shell that
    // cannot fork any more shows why.
    if !selection.pids.is_empty() {
        let in_reach = |it: &Namespace| positions.get(&it.id).is_some_and(|it| it.in_reach);
        let is_kept = |it: &&Namespace| {
            it.state != NamespaceState::Live
                && in_reach(it)
                && keepers(it).any(|pid| processes.contains(&pid))
        };
        let all = graph.tree().into_iter().map(|(namespace, _)| namespace);
        namespaces.extend(all.filter(is_kept).map(|namespace| namespace.id));
    }
    // Ancestors, as far up as the root.
    for (namespace, _) in graph.tree().into_iter().rev() {
        if let Some(parent) = namespace.parent
            && namespaces.contains(&namespace.id)
            && positions.get(&parent).is_some_and(|position| position.depth.is_some())
        {
            namespaces.insert(parent);
        }
    }
    Ok(retain(graph, selection, root, &namespaces, &processes))
}

/// The part of a graph that holds these namespaces and processes: they, the
/// namespaces of these processes, and all ancestors.
pub fn branches(
    graph: PidGraph,
    mut namespaces: HashSet<NamespaceId>,
    processes: &HashSet<Pid>,
) -> PidGraph {
    namespaces.extend(processes.iter().filter_map(|&pid| graph.process(pid)?.namespace));
    for (namespace, _) in graph.tree().into_iter().rev() {
        if namespaces.contains(&namespace.id) {
            namespaces.extend(namespace.parent);
        }
    }
    retain(graph, &Selection::default(), None, &namespaces, processes)
}

/// The position of every namespace. A parent comes before its children in the
/// tree, so that its position is known when theirs is determined.
fn positions(
    graph: &PidGraph,
    selection: &Selection,
    root: Option<NamespaceId>,
) -> HashMap<NamespaceId, Position> {
    let mut positions: HashMap<NamespaceId, Position> = HashMap::new();
    for (namespace, level) in graph.tree() {
        let above = namespace.parent.and_then(|parent| positions.get(&parent));
        let depth = match root {
            None => Some(level),
            Some(root) if root == namespace.id => Some(0),
            Some(_) => above.and_then(|above| above.depth).map(|depth| depth + 1),
        };
        let contained =
            selection.takes_container(namespace) || above.is_some_and(|above| above.contained);
        let in_reach = depth.is_some_and(|depth| selection.depth.is_none_or(|most| depth <= most))
            && selection.state.is_none_or(|state| state == namespace.state);
        positions.insert(namespace.id, Position { depth, contained, in_reach });
    }
    positions
}

/// The processes that keep a namespace in its state: the holders that outlast
/// its members, what its terminated init waits for, and who should reap that.
pub fn keepers(namespace: &Namespace) -> impl Iterator<Item = Pid> {
    let live = namespace.state == NamespaceState::Live;
    let holders = namespace.holders.iter().filter_map(move |holder| match holder {
        Holder::Fd { pid, .. } | Holder::File { pid, .. } => Some(*pid),
        Holder::PidForChildren { pid, .. } => (!live).then_some(*pid),
        Holder::Mount { .. } => None,
    });
    let blockers = namespace.blocked_by.iter();
    let blockers = blockers.flat_map(|blocker| blocker.reaper.into_iter().chain([blocker.pid]));
    holders.chain(blockers)
}

/// The graph of these namespaces alone and of those of these processes that are
/// in them, or whose namespace is unknown.
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
            Members::Init => process.nspid.last() == Some(&Pid::INIT),
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
    let mut part = graph.into_snapshot();
    part.selected.extend(selection.criteria(root));
    part.processes.retain(is_shown);
    part.namespaces.retain(|namespace| namespaces.contains(&namespace.id));
    let mut shown: HashMap<NamespaceId, usize> = HashMap::new();
    for id in part.processes.iter().filter_map(|process| process.namespace) {
        *shown.entry(id).or_default() += 1;
    }
    for namespace in &mut part.namespaces {
        let shown = shown.get(&namespace.id).copied().unwrap_or_default();
        namespace.member_count = counts.get(&namespace.id).copied().filter(|&it| it != shown);
        if Some(namespace.id) == root {
            (namespace.parent, namespace.parent_unknown) = (None, false);
        }
    }
    PidGraph::new(part)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::{BlockReason, Blocker, ProcessDetails};
    use crate::testing::{farm, process};

    const CONTAINER: NamespaceId = NamespaceId::Inode(4_026_532_179);

    /// What is left of the farm: PIDs by namespace, outermost first.
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
    fn processes_bring_their_namespaces_and_the_ancestors_alone() {
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
    fn a_process_brings_the_namespaces_that_it_keeps_from_going() {
        let holder = Selection { pids: pids(&[4]), ..all() };
        assert_eq!(left(&holder), [(836, vec![4]), (179, vec![]), (180, vec![])]);
        let only_live = Selection { state: Some(NamespaceState::Live), ..holder.clone() };
        assert_eq!(left(&only_live), [(836, vec![4])]);
        assert_eq!(left(&Selection { depth: Some(1), ..holder }), [(836, vec![4])]);
    }

    #[test]
    fn a_namespace_brings_its_ancestors_and_those_who_keep_it() {
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
    fn a_container_in_a_shared_namespace_is_its_own_members_alone() {
        let mut shared = farm();
        let mut placed = |pid, path: &str| {
            let process = shared.processes.iter_mut().find(|it| it.pid.as_u32() == pid).unwrap();
            let cgroup = Some(path.to_owned());
            process.details =
                Some(Box::new(ProcessDetails { cgroup, ..ProcessDetails::default() }));
        };
        placed(4, "/lxc.payload.web/init.scope");
        placed(7, "/lxc.payload.web");
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
            "9 may be anywhere"
        );
        let comm = "containerd-*".parse().ok();
        assert_eq!(shown(&Selection { comm, ..all() }), Ok((vec![836], vec![4])));
        let state = Some(NamespaceState::Dead);
        assert_eq!(
            shown(&Selection { state, ..all() }),
            Err("nothing matches container WEB and state dead".to_owned())
        );
        // The container of an init is the whole of its namespace.
        let container = "3f2a".parse().ok();
        let inits = Selection { container, ..Selection::default() };
        assert_eq!(shown(&inits), Ok((vec![836, 179, 180], vec![6, 7])));
    }

    #[test]
    fn whoever_does_not_reap_what_an_init_waits_for_keeps_its_namespace() {
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
        assert_eq!(shown, [reaper.unwrap()], "the zombie itself is not in this view");
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
    fn a_root_has_nothing_above_it_and_depth_counts_from_there() {
        let root = Some(NamespaceRef::Of(Pid::new(7).unwrap()));
        assert_eq!(left(&Selection { root, ..all() }), [(179, vec![6, 7]), (180, vec![])]);
        assert_eq!(left(&Selection { root, depth: Some(0), ..all() }), [(179, vec![6, 7])]);
        assert_eq!(
            left(&Selection { depth: Some(1), members: Members::Init, ..all() }),
            [(836, vec![1]), (179, vec![6])]
        );
    }

    #[test]
    fn a_selection_says_what_it_is_and_how_many_members_there_were() {
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
    fn a_plain_no_says_what_was_looked_for() {
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
    fn what_was_selected_reads_back_as_it_was() {
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
