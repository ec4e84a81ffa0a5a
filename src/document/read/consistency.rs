//! Checks that a document does not contradict itself.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use crate::document::parse::Invalid;
use crate::document::snapshot::Document;
use crate::model::{self, NamespaceId, Pid};

/// Checks that `searched`, `details` and the lists in `observer` contain no duplicates.
pub fn check_lists(document: &Document) -> Result<(), Invalid> {
    fn once<T: Eq + Hash>(field: &str, list: &[T]) -> Result<(), Invalid> {
        let mut seen = HashSet::new();
        match list.iter().position(|item| !seen.insert(item)) {
            Some(index) => Err(Invalid::at(format!("{field}[{index}]"), "is a duplicate")),
            None => Ok(()),
        }
    }
    once("searched", &document.searched)?;
    once("details", &document.details)?;
    let Some(observer) = &document.observer else { return Ok(()) };
    once("observer.companions", &observer.companions)?;
    once("observer.attendants", &observer.attendants)
}

/// Returns `true` if the document was not filtered.
fn is_whole(document: &Document) -> bool {
    document.selected.is_empty()
}

/// Checks the namespaces and returns their depths.
pub fn check_namespaces(document: &Document) -> Result<HashMap<NamespaceId, Depth>, Invalid> {
    let mut depths: HashMap<NamespaceId, Depth> = HashMap::with_capacity(document.namespaces.len());
    let mut children: HashMap<NamespaceId, Vec<NamespaceId>> = HashMap::new();
    let mut roots = Vec::new();
    for (index, namespace) in document.namespaces.iter().enumerate() {
        let at = |field: &str| format!("namespaces[{index}].{field}");
        // Each parent must precede its children, which rules out parent cycles.
        let depth = depth_of(document, index, &depths)?;
        if namespace.inode.map(|inode| inode.0) != namespace.id.inode() {
            return Err(Invalid::at(at("inode"), "does not match the id"));
        }
        if depths.insert(namespace.id, depth).is_some() {
            return Err(Invalid::at(at("id"), format!("{} is a duplicate", namespace.id)));
        }
        match namespace.parent {
            None if namespace.level.is_some() => roots.push(namespace.id),
            None => {}
            Some(parent) => children.entry(parent).or_default().push(namespace.id),
        }
    }
    if !is_same_set(&document.roots, &roots) {
        return Err(Invalid::at("roots", "does not list the namespaces of level 0"));
    }
    for (index, namespace) in document.namespaces.iter().enumerate() {
        let named = children.get(&namespace.id).map_or(&[][..], Vec::as_slice);
        if !is_same_set(&namespace.children, named) {
            let place = format!("namespaces[{index}].children");
            return Err(Invalid::at(place, "does not list the namespaces that have it as parent"));
        }
    }
    // A filter may have removed the PID namespace that the procfs shows.
    let absent = document.procfs.namespace.filter(|id| !depths.contains_key(id));
    if let Some(id) = absent.filter(|_| is_whole(document)) {
        return Err(Invalid::at("procfs.namespace", format!("no namespace {id}")));
    }
    Ok(depths)
}

/// Computes a namespace's depth from its parent's depth, and checks the field `level`.
fn depth_of(
    document: &Document,
    index: usize,
    depths: &HashMap<NamespaceId, Depth>,
) -> Result<Depth, Invalid> {
    let namespace = &document.namespaces[index];
    let at = |field: &str| format!("namespaces[{index}].{field}");
    let mut depth = match namespace.parent.map(|parent| (parent, depths.get(&parent))) {
        None => Depth {
            root: namespace.id,
            level: 0,
            is_level: namespace.level.is_some(),
            below_procfs: None,
        },
        Some((_, Some(above))) => Depth {
            root: above.root,
            level: above.level + 1,
            is_level: above.is_level,
            below_procfs: above.below_procfs.map(|below| below + 1),
        },
        Some((parent, None)) => {
            let problem = format!("{parent} is not an earlier namespace");
            return Err(Invalid::at(at("parent"), problem));
        }
    };
    if Some(namespace.id) == document.procfs.namespace {
        depth.below_procfs = Some(0);
    }
    let expected = depth.is_level.then_some(depth.level);
    if namespace.level != expected || depth.level > model::MAX_LEVEL {
        let name = |level: Option<usize>| level.map_or("null".into(), |it| it.to_string());
        let (level, expected) = (name(namespace.level), name(expected));
        let problem = format!("{level}, but {expected} is expected (at most 32)");
        return Err(Invalid::at(at("level"), problem));
    }
    Ok(depth)
}

/// Checks the members of each namespace, and the number of PIDs of each process.
pub fn check_processes(
    document: &Document,
    depths: &HashMap<NamespaceId, Depth>,
) -> Result<(), Invalid> {
    let mut members: HashMap<NamespaceId, Vec<Pid>> = HashMap::new();
    // Maps each root namespace to the `nspid` length that all its members must have.
    let mut pids: HashMap<NamespaceId, usize> = HashMap::new();
    let mut seen = HashSet::with_capacity(document.processes.len());
    for (index, process) in document.processes.iter().enumerate() {
        let at = |field: &str| format!("processes[{index}].{field}");
        let pid = process.pid;
        if !seen.insert(process.pid) {
            return Err(Invalid::at(at("pid"), format!("{pid} is a duplicate")));
        }
        let numbers = process.nspid.len();
        if process.nspid.first().is_some_and(|&first| first != pid) {
            return Err(Invalid::at(at("nspid"), format!("does not begin with {pid}")));
        }
        if numbers > model::MAX_LEVEL + 1 {
            return Err(Invalid::at(at("nspid"), "has more PIDs than namespaces can nest"));
        }
        let Some(id) = process.namespace else { continue };
        let Some(depth) = depths.get(&id) else {
            return Err(Invalid::at(at("namespace"), format!("no namespace {id}")));
        };
        // If the depth of the root namespace is unknown, derive the expected length of `nspid` from
        // the first process in that namespace or in one of its descendants.
        let expected = match depth.below_procfs {
            Some(below) => below + 1,
            None if numbers <= depth.level => depth.level + 1,
            None => depth.level + *pids.entry(depth.root).or_insert_with(|| numbers - depth.level),
        };
        // An empty `nspid` comes from a kernel before Linux 4.1.
        if numbers != 0 && numbers != expected {
            let problem = format!("has {numbers} PIDs, but {expected} are expected");
            return Err(Invalid::at(at("nspid"), problem));
        }
        members.entry(id).or_default().push(process.pid);
    }
    for (index, namespace) in document.namespaces.iter().enumerate() {
        let at = |field: &str| format!("namespaces[{index}].{field}");
        let named = members.get(&namespace.id).map_or(&[][..], Vec::as_slice);
        if !is_same_set(&namespace.members, named) {
            let problem = "does not list the processes that have it as namespace";
            return Err(Invalid::at(at("members"), problem));
        }
        // It is an error if the init is not a member of its namespace, unless a filter removed the
        // init from the document.
        let elsewhere = |init| is_whole(document) || seen.contains(&init);
        if namespace.init.is_some_and(|init| !named.contains(&init) && elsewhere(init)) {
            return Err(Invalid::at(at("init"), "is not a member"));
        }
        let count = namespace.member_count.unwrap_or(named.len());
        if count < named.len() || (count > named.len() && is_whole(document)) {
            let problem = format!("{count}, but {} are listed", named.len());
            return Err(Invalid::at(at("member_count"), problem));
        }
    }
    Ok(())
}

/// The depth of a namespace in the hierarchy.
pub struct Depth {
    /// The topmost known ancestor of the namespace.
    pub root: NamespaceId,
    /// Distance of the namespace from `root`, in levels.
    pub level: usize,
    /// `true` if `root` is known to have no parent, so that `level` counts from the top of the
    /// hierarchy.
    pub is_level: bool,
    /// Number of levels below the PID namespace that the procfs shows, or `None` outside the
    /// subtree of that namespace.
    pub below_procfs: Option<usize>,
}

/// Returns `true` if two lists have the same elements, in any order.
fn is_same_set<T: Copy + Ord>(one: &[T], other: &[T]) -> bool {
    let sorted = |list: &[T]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    one.len() == other.len() && sorted(one) == sorted(other)
}
