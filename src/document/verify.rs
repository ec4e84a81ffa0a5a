//! Whether a document agrees with itself, as a scan of the kernel would.

use std::collections::{HashMap, HashSet};
use std::hash::Hash;

use super::parse::Invalid;
use super::scalars::{Id, Pid};
use super::wire::Document;
use super::words::Word;
use crate::model;

impl Document {
    /// Nothing is said twice in lists that are sets.
    pub fn check_lists(&self) -> Result<(), Invalid> {
        fn once<T: Eq + Hash>(field: &str, words: &[Word<T>]) -> Result<(), Invalid> {
            let mut seen = HashSet::new();
            match words.iter().position(|word| !seen.insert(word)) {
                Some(index) => Err(Invalid::at(format!("{field}[{index}]"), "comes twice")),
                None => Ok(()),
            }
        }
        once("searched", &self.searched)?;
        once("details", &self.details)
    }

    /// Whether nothing was cut away, that something else may refer to.
    fn is_whole(&self) -> bool {
        self.selected.is_empty()
    }

    /// How deep every namespace is. A parent comes before its children, which
    /// also rules out cycles.
    pub fn check_namespaces(&self) -> Result<HashMap<Id, Depth>, Invalid> {
        let mut depths: HashMap<Id, Depth> = HashMap::with_capacity(self.namespaces.len());
        let mut children: HashMap<Id, Vec<Id>> = HashMap::new();
        let mut roots = Vec::new();
        for (index, namespace) in self.namespaces.iter().enumerate() {
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
                    let problem = format!("{} is no namespace before this one", parent.0);
                    return Err(Invalid::at(at("parent"), problem));
                }
            };
            if Some(namespace.id) == self.procfs.namespace {
                depth.below_procfs = Some(0);
            }
            let expected = depth.is_level.then_some(depth.level);
            if namespace.level != expected || depth.level > model::MAX_LEVEL {
                let name = |level: Option<usize>| level.map_or("null".into(), |it| it.to_string());
                let (level, expected) = (name(namespace.level), name(expected));
                let problem = format!("{level} where {expected} is expected, at most 32");
                return Err(Invalid::at(at("level"), problem));
            }
            if namespace.inode.map(|inode| inode.0) != namespace.id.0.inode() {
                return Err(Invalid::at(at("inode"), "is not that of the id"));
            }
            if depths.insert(namespace.id, depth).is_some() {
                return Err(Invalid::at(at("id"), format!("{} comes twice", namespace.id.0)));
            }
            match namespace.parent {
                None if namespace.level.is_some() => roots.push(namespace.id),
                None => {}
                Some(parent) => children.entry(parent).or_default().push(namespace.id),
            }
        }
        if !is_same_set(&self.roots, &roots) {
            return Err(Invalid::at("roots", "are not the namespaces of level 0"));
        }
        for (index, namespace) in self.namespaces.iter().enumerate() {
            let named = children.get(&namespace.id).map_or(&[][..], Vec::as_slice);
            if !is_same_set(&namespace.children, named) {
                let place = format!("namespaces[{index}].children");
                return Err(Invalid::at(place, "are not the namespaces that name it as parent"));
            }
        }
        let absent = self.procfs.namespace.filter(|id| !depths.contains_key(id));
        if let Some(id) = absent.filter(|_| self.is_whole()) {
            return Err(Invalid::at("procfs.namespace", format!("no namespace {}", id.0)));
        }
        Ok(depths)
    }

    /// Every process is in one namespace, with as many PIDs as that is deep.
    pub fn check_processes(&self, depths: &HashMap<Id, Depth>) -> Result<(), Invalid> {
        let mut members: HashMap<Id, Vec<Pid>> = HashMap::new();
        // By root, PIDs that members of it have.
        let mut above: HashMap<Id, usize> = HashMap::new();
        let mut seen = HashSet::with_capacity(self.processes.len());
        for (index, process) in self.processes.iter().enumerate() {
            let at = |field: &str| format!("processes[{index}].{field}");
            let pid = process.pid.0;
            if !seen.insert(process.pid) {
                return Err(Invalid::at(at("pid"), format!("{pid} comes twice")));
            }
            let numbers = process.nspid.0.len();
            if process.nspid.0.first().is_some_and(|&first| first != pid) {
                return Err(Invalid::at(at("nspid"), format!("does not begin with {pid}")));
            }
            if numbers > model::MAX_LEVEL + 1 {
                return Err(Invalid::at(at("nspid"), "is longer than namespaces nest"));
            }
            let Some(id) = process.namespace else { continue };
            let Some(depth) = depths.get(&id) else {
                return Err(Invalid::at(at("namespace"), format!("no namespace {}", id.0)));
            };
            // Some kernels do not tell the numbers. Of parents that are out of
            // sight nobody knows how many there are, but all below have the same.
            let expected = match depth.below_procfs {
                Some(below) => below + 1,
                None if numbers <= depth.level => depth.level + 1,
                None => {
                    depth.level + *above.entry(depth.root).or_insert_with(|| numbers - depth.level)
                }
            };
            if numbers != 0 && numbers != expected {
                let problem = format!("{numbers} PIDs where {expected} are expected");
                return Err(Invalid::at(at("nspid"), problem));
            }
            members.entry(id).or_default().push(process.pid);
        }
        for (index, namespace) in self.namespaces.iter().enumerate() {
            let at = |field: &str| format!("namespaces[{index}].{field}");
            let named = members.get(&namespace.id).map_or(&[][..], Vec::as_slice);
            if !is_same_set(&namespace.members, named) {
                return Err(Invalid::at(at("members"), "are not the processes that name it"));
            }
            // A part may lack it, but not have it elsewhere.
            let elsewhere = |init| self.is_whole() || seen.contains(&init);
            if namespace.init.is_some_and(|init| !named.contains(&init) && elsewhere(init)) {
                return Err(Invalid::at(at("init"), "is not a member"));
            }
            let count = namespace.member_count.unwrap_or(named.len());
            if count < named.len() || (count > named.len() && self.is_whole()) {
                let problem = format!("{count} where {} are listed", named.len());
                return Err(Invalid::at(at("member_count"), problem));
            }
        }
        Ok(())
    }
}

/// How deep a namespace is: below the topmost one that is known, and below that
/// of the /proc that was read, where it is.
pub struct Depth {
    pub root: Id,
    pub level: usize,
    /// Whether that topmost one is a root, so that levels count from it.
    pub is_level: bool,
    pub below_procfs: Option<usize>,
}

/// Whether two lists name the same, each once, in whatever order.
fn is_same_set<T: Copy + Ord>(one: &[T], other: &[T]) -> bool {
    let sorted = |list: &[T]| {
        let mut list = list.to_vec();
        list.sort_unstable();
        list
    };
    one.len() == other.len() && sorted(one) == sorted(other)
}
