//! Finds namespaces that the inits of PID namespaces share with the host or with each other.

use std::collections::{BTreeMap, HashMap};

use smol_str::SmolStr;

use super::{Container, Detail, Lineage, Namespace, NamespaceId, Pid, Process, Snapshot};

/// The types of namespaces to compare, in display order.
///
/// Excludes the cgroup, time and user namespaces, which most containers share with the host.
const TYPES: [&str; 4] = ["net", "ipc", "uts", "mnt"];

/// The lowest inode of a namespace that was created after boot (`PROC_DYNAMIC_FIRST`).
const FIRST_DYNAMIC: u64 = 0xF000_0000;

/// The initial PID namespace (`PROC_PID_INIT_INO`).
const INITIAL_PID_NAMESPACE: NamespaceId = NamespaceId::Inode(0xEFFF_FFFC);

/// PID of kthreadd, the first kernel thread, in the initial PID namespace.
const KTHREADD: u32 = 2;

/// Namespaces that the init of a PID namespace shares with the host or with other inits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shared {
    /// The types of the shared namespaces.
    pub types: Vec<&'static str>,
    /// The host or the other inits with which this init shares its namespaces of the listed
    /// `types`.
    pub with: SharedWith,
}

/// The host or the other inits that share namespaces with the init of a PID namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SharedWith {
    /// The init shares these namespaces with the host.
    Host,
    /// The init shares these namespaces with the inits of one or more other PID namespaces.
    /// Descendants of the init's own PID namespace do not count.
    Namespaces {
        /// The PID namespace to name in messages, preferably the nearest ancestor.
        first: NamespaceId,
        /// The container of the PID namespace `first`.
        container: Option<Container>,
        /// Number of PID namespaces besides `first`. The init of each shares namespaces of all
        /// [`Shared::types`] with this init.
        more: usize,
    },
}

/// The shared namespaces of each init, empty without `--details namespaces`.
#[derive(Clone, Debug, Default)]
pub struct Sharing(HashMap<NamespaceId, Vec<Shared>>);

impl Sharing {
    /// Compares the namespaces of all inits, in time linear in the number of inits.
    #[must_use]
    pub fn new(snapshot: &Snapshot) -> Self {
        if !snapshot.details.contains(&Detail::Namespaces) {
            return Self::default();
        }
        let inits: HashMap<Pid, &Namespace> =
            snapshot.namespaces.iter().filter_map(|it| Some((it.init?, it))).collect();
        let processes = snapshot.processes.iter();
        let mut known: Vec<_> = processes
            .filter_map(|it| Some((*inits.get(&it.pid)?, other_namespaces(it)?)))
            .collect();
        known.retain(|(namespace, _)| namespace.id != INITIAL_PID_NAMESPACE);
        known.sort_unstable_by_key(|(namespace, _)| namespace.id);
        // Read the host's namespaces from a process, because the initial net and mnt namespaces
        // have no fixed inode before Linux 6.18.
        let host = host_namespaces(snapshot);
        let is_host = |kind: &str, inode: u64| {
            inode < FIRST_DYNAMIC || host.and_then(|host| host.get(kind)) == Some(&inode)
        };
        let mut sharing: HashMap<NamespaceId, Vec<Shared>> = HashMap::new();
        for (namespace, others) in &known {
            let of_host = |kind: &&str| others.get(*kind).is_some_and(|&it| is_host(kind, it));
            let types: Vec<_> = TYPES.into_iter().filter(of_host).collect();
            if !types.is_empty() {
                let shared = Shared { types, with: SharedWith::Host };
                sharing.entry(namespace.id).or_default().push(shared);
            }
        }
        let mut groups: Vec<SharingGroup<'_>> = Vec::new();
        for kind in TYPES {
            let mut by_inode: BTreeMap<u64, Vec<&Namespace>> = BTreeMap::new();
            for (namespace, others) in &known {
                if let Some(&inode) = others.get(kind).filter(|&&inode| !is_host(kind, inode)) {
                    by_inode.entry(inode).or_default().push(namespace);
                }
            }
            groups.extend(by_inode.into_values().map(|members| SharingGroup { kind, members }));
        }
        let lineage = Lineage::new(&snapshot.namespaces);
        for (types, members) in merged(groups) {
            add_partners(&types, &members, &lineage, &mut sharing);
        }
        Self(sharing)
    }

    /// Returns the shared namespaces of an init, starting with those shared with the host.
    #[must_use]
    pub fn of(&self, namespace: NamespaceId) -> &[Shared] {
        self.0.get(&namespace).map_or(&[], Vec::as_slice)
    }
}

/// PID namespaces whose inits share one namespace of the type `kind`.
struct SharingGroup<'a> {
    kind: &'static str,
    members: Vec<&'a Namespace>,
}

/// Merges groups with the same members into one group with several types.
fn merged(groups: Vec<SharingGroup<'_>>) -> Vec<(Vec<&'static str>, Vec<&Namespace>)> {
    let mut places: HashMap<Vec<NamespaceId>, usize> = HashMap::new();
    let mut merged: Vec<(Vec<&'static str>, Vec<&Namespace>)> = Vec::new();
    for SharingGroup { kind, members } in groups {
        let ids = members.iter().map(|member| member.id).collect();
        let place = *places.entry(ids).or_insert(merged.len());
        match merged.get_mut(place) {
            Some((types, _)) => types.push(kind),
            None => merged.push((vec![kind], members)),
        }
    }
    merged
}

/// For each member of a group, adds an entry to `sharing` with the types of the shared namespaces,
/// one other member, and the number of further members. A member's own descendants are left out. A
/// member gets no entry if this leaves no other members.
fn add_partners(
    types: &[&'static str],
    members: &[&Namespace],
    lineage: &Lineage,
    sharing: &mut HashMap<NamespaceId, Vec<Shared>>,
) {
    let ids: HashMap<NamespaceId, &Namespace> = members.iter().map(|it| (it.id, *it)).collect();
    let mut descendants: HashMap<NamespaceId, usize> = HashMap::new();
    for member in members {
        for ancestor in lineage.climb(member.id).skip(1) {
            *descendants.entry(ancestor).or_default() += 1;
        }
    }
    for member in members {
        let below = descendants.get(&member.id).copied().unwrap_or_default();
        let Some(more) = members.len().checked_sub(below + 2) else { continue };
        let nearest = lineage.climb(member.id).skip(1).find_map(|id| ids.get(&id));
        let is_apart = |it: &&&Namespace| !lineage.is_within(it.id, member.id);
        let Some(first) = nearest.or_else(|| members.iter().find(is_apart)) else { continue };
        let with =
            SharedWith::Namespaces { first: first.id, container: first.container.clone(), more };
        sharing.entry(member.id).or_default().push(Shared { types: types.to_vec(), with });
    }
}

fn other_namespaces(process: &Process) -> Option<&BTreeMap<SmolStr, u64>> {
    process.details.as_ref()?.namespaces.as_ref()
}

/// Returns the initial namespaces (of kthreadd or of the host's init), if known.
fn host_namespaces(snapshot: &Snapshot) -> Option<&BTreeMap<SmolStr, u64>> {
    if snapshot.procfs.namespace != Some(INITIAL_PID_NAMESPACE) {
        return None;
    }
    let of = |is_it: fn(&Process) -> bool| {
        snapshot.processes.iter().find(|process| is_it(process)).and_then(other_namespaces)
    };
    of(|it| it.pid.as_u32() == KTHREADD && it.kernel_thread)
        .or_else(|| of(|it| it.pid == Pid::INIT))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process, snapshot};

    const HOST: u64 = 0xEFFF_FFFC;

    /// Returns a snapshot of a host with the PID namespaces in `inner`.
    ///
    /// Each tuple holds four inodes: those of the PID namespace, its parent, and its init's net and
    /// IPC namespaces.
    fn host(inner: &[(u64, u64, u64, u64)]) -> Snapshot {
        let mut namespaces = vec![namespace(HOST, None)];
        let mut processes = vec![process(&[1], Some(HOST)), process(&[2], Some(HOST))];
        processes[1].kernel_thread = true;
        set(&mut processes[1], &[("net", 0xF000_0099), ("ipc", 0xEFFF_FFFF)]);
        for (pid, &(inode, parent, net, ipc)) in (100..).zip(inner) {
            namespaces.push(namespace(inode, Some(parent)));
            let mut init = process(&[pid, 1], Some(inode));
            set(&mut init, &[("net", net), ("ipc", ipc)]);
            processes.push(init);
        }
        let mut snapshot = snapshot(namespaces, processes);
        snapshot.procfs.namespace = Some(INITIAL_PID_NAMESPACE);
        snapshot.details.insert(Detail::Namespaces);
        snapshot
    }

    fn set(process: &mut Process, others: &[(&'static str, u64)]) {
        let others = others.iter().map(|&(kind, inode)| (SmolStr::new_static(kind), inode));
        process.details.get_or_insert_default().namespaces = Some(others.collect());
    }

    fn shared(sharing: &Sharing, inode: u64) -> Vec<String> {
        let text = |shared: &Shared| match &shared.with {
            SharedWith::Host => format!("{} host", shared.types.join(",")),
            SharedWith::Namespaces { first, more, .. } => {
                format!("{} {first} {more}", shared.types.join(","))
            }
        };
        sharing.of(NamespaceId::Inode(inode)).iter().map(text).collect()
    }

    const NET: u64 = 0xF000_1000;
    const IPC: u64 = 0xF000_2000;

    #[test]
    fn fixed_inodes_and_those_of_kthreadd_are_the_hosts() {
        let snapshot = host(&[
            (0xF000_0010, HOST, 0xF000_0099, 0xEFFF_FFFF),
            (0xF000_0011, HOST, 0xF000_0099, IPC),
            (0xF000_0012, HOST, NET, IPC + 1),
        ]);
        let sharing = Sharing::new(&snapshot);
        assert_eq!(shared(&sharing, 0xF000_0010), ["net,ipc host"]);
        assert_eq!(shared(&sharing, 0xF000_0011), ["net host"]);
        assert!(sharing.of(NamespaceId::Inode(0xF000_0012)).is_empty());
        assert!(sharing.of(INITIAL_PID_NAMESPACE).is_empty());
        // In a container's /proc, process 2 is not kthreadd.
        let mut inside = snapshot.clone();
        inside.procfs.namespace = Some(NamespaceId::Inode(0xF000_0010));
        let sharing = Sharing::new(&inside);
        assert_eq!(shared(&sharing, 0xF000_0011), ["net pid:[4026531856] 0"]);
        let mut without = snapshot;
        without.details.clear();
        assert!(shared(&Sharing::new(&without), 0xF000_0010).is_empty());
    }

    #[test]
    fn a_partner_is_the_nearest_ancestor_or_the_first_that_is_no_descendant() {
        let sharing = Sharing::new(&host(&[
            (0xF000_0010, HOST, NET, IPC),
            (0xF000_0011, HOST, NET, IPC + 1),
            (0xF000_0012, HOST, NET, IPC + 2),
            (0xF000_0013, 0xF000_0012, NET, IPC + 2),
        ]));
        assert_eq!(shared(&sharing, 0xF000_0010), ["net pid:[4026531857] 2"]);
        assert_eq!(shared(&sharing, 0xF000_0011), ["net pid:[4026531856] 2"]);
        assert_eq!(shared(&sharing, 0xF000_0012), ["net pid:[4026531856] 1"]);
        assert_eq!(
            shared(&sharing, 0xF000_0013),
            ["net pid:[4026531858] 2", "ipc pid:[4026531858] 0"]
        );
    }

    #[test]
    fn types_with_the_same_partners_are_named_together() {
        let sharing = Sharing::new(&host(&[
            (0xF000_0010, HOST, NET, IPC),
            (0xF000_0011, HOST, NET, IPC),
            (0xF000_0012, HOST, NET + 1, IPC + 1),
        ]));
        assert_eq!(shared(&sharing, 0xF000_0010), ["net,ipc pid:[4026531857] 0"]);
        assert!(shared(&sharing, 0xF000_0012).is_empty());
    }
}
