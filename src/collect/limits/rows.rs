//! Reads the current usage and the maximum of each limit.

use std::collections::{BTreeMap, HashMap};
use std::io;
use std::rc::Rc;

use rustix::io::Errno;

use super::consumers::threads;
use super::host::{LimitedHost, LimitedProcess};
use super::read_limit::{ReadLimit, Tasks};
use crate::collect::bpf::memory::limits::{PidNumbers, UserCount};
use crate::collect::discovery::INITIAL_PID_NAMESPACE;
use crate::collect::kernel::user_name::user_name;
use crate::collect::parse::{self, LimitMax};
use crate::model::{
    Diagnostic, DiagnosticCode, Hides, INITIAL_USER_NAMESPACE, Limit, LimitKind, LimitScope,
    MAX_LEVEL, NamespaceId, NamespaceState, Pid, Process,
};

type Reader = for<'a> fn(&LimitedHost<'a>) -> Vec<ReadLimit<'a>>;

/// Returns one reader function for each kind of limit. Each function reads all limits of its kind.
pub fn readers() -> impl Iterator<Item = Reader> {
    LimitKind::ALL.iter().map(|kind| match kind {
        LimitKind::Nproc => nproc as Reader,
        LimitKind::ThreadsMax => threads_max,
        LimitKind::PidMax => pid_max,
        LimitKind::InitTerminated => init_terminated,
        LimitKind::PidsCgroup => pids_cgroup,
        LimitKind::Nesting => nesting,
        LimitKind::MaxPidNamespaces => max_pid_namespaces,
    })
}

/// Groups PIDs by key.
fn group<K: Ord>(pairs: impl Iterator<Item = (K, Pid)>) -> BTreeMap<K, Vec<Pid>> {
    let mut groups: BTreeMap<K, Vec<Pid>> = BTreeMap::new();
    for (key, pid) in pairs {
        groups.entry(key).or_default().push(pid);
    }
    groups
}

fn threads_max<'a>(host: &LimitedHost<'a>) -> Vec<ReadLimit<'a>> {
    let name = c"sys/kernel/threads-max";
    let used = host.file(c"loadavg").map_err(|errno| host.cannot_read(c"loadavg", errno));
    let used = used.and_then(|text| {
        parse::tasks_on_host(&text).ok_or_else(|| host.cannot_read(c"loadavg", Errno::INVAL))
    });
    let limit = Limit {
        pids: host.processes.iter().map(|it| it.process.pid).collect(),
        file: Some(host.path(name)),
        ..Limit::unread(LimitKind::ThreadsMax, LimitScope::default())
    };
    let max = host.sysctl(name).map(LimitMax::of_kernel);
    let tasks = Tasks::OfHost(host.snapshot.processes.iter().collect());
    vec![ReadLimit { tasks, ..ReadLimit::new(limit, used, max) }]
}

fn of_namespace(kind: LimitKind, id: NamespaceId, pids: Vec<Pid>) -> Limit {
    let scope = LimitScope { namespace: Some(id), ..LimitScope::default() };
    Limit { pids, ..Limit::unread(kind, scope) }
}

fn pid_max<'a>(host: &LimitedHost<'a>) -> Vec<ReadLimit<'a>> {
    let name = c"sys/kernel/pid_max";
    let mut members: HashMap<NamespaceId, Vec<&Process>> = HashMap::new();
    for process in &host.snapshot.processes {
        for id in process.namespace.into_iter().flat_map(|id| host.lineage.climb(id)) {
            members.entry(id).or_default().push(process);
        }
    }
    let own = host.own_pid_namespace();
    let own_max = host.sysctl(name).map(LimitMax::of_kernel);
    let bound = host.processes.iter().flat_map(|it| {
        let levels = it.children_start_in.into_iter().flat_map(|id| host.lineage.climb(id));
        levels.map(|id| (id, it.process.pid))
    });
    let read = |(id, pids): (NamespaceId, Vec<Pid>)| {
        let mut limit = of_namespace(LimitKind::PidMax, id, pids);
        limit.file = (own == Some(id)).then(|| host.path(name));
        let numbers = numbers(host, id);
        let max = match &numbers {
            Ok(PidNumbers { pid_max: Some(max), .. }) => Ok(LimitMax::At((*max).into())),
            Err(why) if own != Some(id) => Err(why.clone()),
            // `own_max` applies if this is pidns's own namespace, or if `kernel.pid_max` is global
            // (before Linux 6.14).
            _ => own_max.clone(),
        };
        let number = max.as_ref().ok().and_then(|max| u32::try_from(max.number()?).ok());
        let free = numbers.as_ref().ok().zip(number).and_then(|(it, max)| it.free(max));
        let mut read = ReadLimit::new(limit, numbers.map(|it| it.allocated.into()), max);
        (read.limit.free, read.limit.full) = (free.map(u64::from), free.map(|free| free == 0));
        if free.is_none() && read.unknown_because.is_empty() {
            "PIDs above the maximum are in use".clone_into(&mut read.unknown_because);
        }
        ReadLimit { tasks: Tasks::OfHost(members.remove(&id).unwrap_or_default()), ..read }
    };
    group(bound).into_iter().map(read).collect()
}

/// Returns the kernel's counters for the PIDs in a PID namespace.
fn numbers(host: &LimitedHost<'_>, id: NamespaceId) -> Result<PidNumbers, String> {
    let kernel = host.kernel.as_ref().map_err(|why| format!("only BPF shows it: {why}"))?;
    let numbers = id.inode().and_then(|inode| kernel.numbers.get(&inode));
    numbers.copied().ok_or_else(|| "it was created or removed meanwhile".to_owned())
}

/// Groups the processes by the PID namespace in which their children would start.
fn by_namespace_for_children(host: &LimitedHost<'_>) -> BTreeMap<NamespaceId, Vec<Pid>> {
    group(host.processes.iter().filter_map(|it| Some((it.children_start_in?, it.process.pid))))
}

fn init_terminated<'a>(host: &LimitedHost<'a>) -> Vec<ReadLimit<'a>> {
    let read = |(id, pids)| {
        let full = match host.states.get(&id) {
            Some(NamespaceState::Dead) => Some(true),
            Some(NamespaceState::Live | NamespaceState::Nascent) => Some(false),
            Some(NamespaceState::Unknown) | None => None,
        };
        ReadLimit {
            limit: Limit { full, ..of_namespace(LimitKind::InitTerminated, id, pids) },
            unknown_because: "the state of the init is unknown".to_owned(),
            tasks: Tasks::None,
        }
    };
    by_namespace_for_children(host).into_iter().map(read).collect()
}

fn nesting<'a>(host: &LimitedHost<'a>) -> Vec<ReadLimit<'a>> {
    let is_absolute =
        host.snapshot.procfs.namespace == Some(NamespaceId::Inode(INITIAL_PID_NAMESPACE));
    let level = |id| {
        let climbed = u64::try_from(host.lineage.climb(id).count() - 1).unwrap_or(u64::MAX);
        if is_absolute { Ok(climbed) } else { numbers(host, id).map(|it| it.level.into()) }
    };
    let most = u64::try_from(MAX_LEVEL).unwrap_or(u64::MAX);
    let read = |(id, pids)| {
        let limit = of_namespace(LimitKind::Nesting, id, pids);
        ReadLimit::new(limit, level(id), Ok(LimitMax::At(most)))
    };
    by_namespace_for_children(host).into_iter().map(read).collect()
}

fn pids_cgroup<'a>(host: &LimitedHost<'a>) -> Vec<ReadLimit<'a>> {
    let cgroups_of = |pid: Pid| host.controller.climb(host.cgroups.get(&pid).copied());
    let mut members: HashMap<usize, Vec<&Process>> = HashMap::new();
    for process in &host.snapshot.processes {
        for cgroup in cgroups_of(process.pid) {
            members.entry(cgroup).or_default().push(process);
        }
    }
    let bound = host.processes.iter().map(|it| it.process.pid);
    let bound = group(bound.flat_map(|pid| cgroups_of(pid).map(move |cgroup| (cgroup, pid))));
    let mut numbers = host.controller.read_all(bound.keys().copied());
    let read = |(index, pids): (usize, Vec<Pid>)| {
        let cgroup = host.controller.cgroup(index)?;
        let scope = LimitScope { cgroup: Some(cgroup.path.clone()), ..LimitScope::default() };
        let file = Some(cgroup.dir.join("pids.max").to_string_lossy().into_owned());
        let limit = Limit { file, pids, ..Limit::unread(LimitKind::PidsCgroup, scope) };
        let mut read = match numbers.remove(&index)? {
            Ok(numbers) => {
                let limit = Limit { refused: numbers.refused, ..limit };
                ReadLimit::new(limit, Ok(numbers.used), Ok(numbers.max))
            }
            Err(errno) => {
                let why = format!("cannot read it: {}", io::Error::from(errno));
                ReadLimit::new(limit, Err(why.clone()), Err(why))
            }
        };
        let members = members.remove(&index).unwrap_or_default();
        read.tasks =
            if cgroup.is_v2 { Tasks::OfGroup(members) } else { Tasks::WithoutZombies(members) };
        Some(read)
    };
    let mut read: Vec<_> = bound.into_iter().filter_map(read).collect();
    read.sort_by(|one, other| one.limit.scope.cmp(&other.limit.scope));
    read
}

/// The scope, the current count and the maximum of a per-user limit that applies to a process.
struct SubjectTo {
    scope: LimitScope,
    used: Result<u64, String>,
    max: Result<LimitMax, String>,
}

/// Merges equal limits of several processes.
fn merge_users<'a>(
    kind: LimitKind,
    limits: impl Iterator<Item = (SubjectTo, Pid)>,
) -> Vec<ReadLimit<'a>> {
    let mut merged: BTreeMap<_, ReadLimit<'_>> = BTreeMap::new();
    // Look up each name once, because the name service may ask a server.
    let mut names = HashMap::new();
    for (SubjectTo { scope, used, max }, pid) in limits {
        let read = merged.entry((scope.clone(), max.clone().ok())).or_insert_with(|| {
            let name = |uid| names.entry(uid).or_insert_with(|| user_name(uid)).clone();
            let user = scope.uid.and_then(name);
            ReadLimit::new(Limit::unread(kind, LimitScope { user, ..scope }), used, max)
        });
        read.limit.pids.push(pid);
    }
    merged.into_values().collect()
}

fn of_user(uid: u32, user_namespace: Option<u64>) -> LimitScope {
    LimitScope { uid: Some(uid), user_namespace, ..LimitScope::default() }
}

/// Returns the kernel's counts of tasks and of PID namespaces that apply to a process.
///
/// The first count is for the process's user. The others are for the users who created the user
/// namespaces that contain the process.
fn counts<'h>(host: &'h LimitedHost<'_>, it: &LimitedProcess<'_>) -> Option<&'h [UserCount]> {
    let users = &host.kernel.as_ref().ok()?.users;
    users.get(&(it.user_namespace.ok()??, it.process.uid)).map(Vec::as_slice)
}

/// Returns the processes of each user, by UID.
fn by_user<'a>(host: &LimitedHost<'a>) -> HashMap<u32, Rc<[&'a Process]>> {
    let mut users: HashMap<u32, Vec<&Process>> = HashMap::new();
    for process in &host.snapshot.processes {
        users.entry(process.uid).or_default().push(process);
    }
    users.into_iter().map(|(uid, processes)| (uid, processes.into())).collect()
}

fn nproc<'a>(host: &LimitedHost<'a>) -> Vec<ReadLimit<'a>> {
    let by_user = by_user(host);
    // Cache the number of tasks for each user in each user namespace.
    let mut counted = HashMap::new();
    let limits = host.processes.iter().filter(|it| !it.is_exempt).flat_map(|it| {
        let max =
            it.max_processes.ok_or_else(|| "cannot read the limits of the process".to_owned());
        let pid = it.process.pid;
        let subject = if let Some(counts) = counts(host, it) {
            let limit = |it: &UserCount, max, inherited_by| SubjectTo {
                scope: LimitScope { inherited_by, ..of_user(it.uid, Some(it.user_namespace)) },
                used: Ok(it.tasks),
                max,
            };
            // At each fork, the kernel also checks the limits of the users who created the
            // enclosing user namespaces.
            let above = counts.iter().zip(counts.iter().skip(1)).filter_map(|(below, it)| {
                let max = LimitMax::of_kernel(it.most_tasks);
                let is_limited = max != LimitMax::Unlimited;
                is_limited.then(|| limit(it, Ok(max), Some(below.user_namespace)))
            });
            let own = counts.first().map(|it| limit(it, max, None));
            own.into_iter().chain(above).collect()
        } else {
            let uid = it.process.uid;
            let used = counted.entry((uid, it.user_namespace)).or_insert_with(|| {
                let tasks = by_user.get(&uid).map(|it| &**it).unwrap_or_default();
                count_tasks(host, tasks, it.user_namespace)
            });
            let scope = of_user(uid, it.user_namespace.ok().flatten());
            vec![SubjectTo { scope, used: used.clone(), max }]
        };
        subject.into_iter().map(move |subject: SubjectTo| (subject, pid))
    });
    let mut read = merge_users(LimitKind::Nproc, limits);
    for ReadLimit { limit: Limit { scope, .. }, tasks, .. } in &mut read {
        // In the initial user namespace, every process of the user counts towards the limit. In any
        // other user namespace, /proc does not show which zombies count towards the limit.
        if scope.user_namespace == Some(INITIAL_USER_NAMESPACE)
            && let Some((uid, processes)) = scope.uid.and_then(|uid| by_user.get_key_value(&uid))
        {
            *tasks = Tasks::OfUser(*uid, Rc::clone(processes));
        }
    }
    read
}

/// Counts a user's tasks, if all `processes` of the user are in one user namespace.
fn count_tasks(
    host: &LimitedHost<'_>,
    processes: &[&Process],
    user_namespace: Result<Option<u64>, Errno>,
) -> Result<u64, String> {
    let inode = user_namespace.map_err(unreadable)?;
    if host.own_user_namespace != Some(INITIAL_USER_NAMESPACE) {
        return Err("the tasks can only be counted in the initial user namespace".to_owned());
    }
    let hides = |it: &Diagnostic| {
        DiagnosticCode::from_name(&it.code).is_some_and(|code| code.hides() == Hides::Processes)
    };
    if host.snapshot.diagnostics.iter().any(hides) {
        return Err("the tasks cannot be counted, because processes are hidden".to_owned());
    }
    let mut count = 0;
    for process in processes {
        match host.user_namespaces.get(&process.pid) {
            Some(other) if Some(*other) == inode => count += threads(process),
            Some(_) => return Err("only BPF counts tasks in several user namespaces".to_owned()),
            None => return Err("cannot read the user namespaces of all its processes".to_owned()),
        }
    }
    Ok(count)
}

fn unreadable(errno: Errno) -> String {
    format!("cannot read the user namespace: {}", io::Error::from(errno))
}

fn max_pid_namespaces<'a>(host: &LimitedHost<'a>) -> Vec<ReadLimit<'a>> {
    let name = c"sys/user/max_pid_namespaces";
    let own_max = host.sysctl(name).map(LimitMax::of_kernel);
    // Skip setuid processes, because the kernel charges a namespace to the effective UID, but
    // `counts` uses the real UID.
    let limits = host.processes.iter().filter(|it| !it.is_setuid).flat_map(|it| {
        let subject = if let Some(counts) = counts(host, it) {
            let limit = |it: &UserCount| SubjectTo {
                scope: of_user(it.uid, Some(it.user_namespace)),
                used: Ok(it.namespaces),
                max: Ok(LimitMax::of_kernel(it.most_namespaces)),
            };
            counts.iter().map(limit).collect()
        } else {
            let inode = it.user_namespace.ok().flatten();
            let why = match (&it.user_namespace, &host.kernel) {
                (Err(errno), _) => unreadable(*errno),
                (Ok(_), Ok(_)) => "this kernel does not show it".to_owned(),
                (Ok(_), Err(why)) => format!("only BPF shows it: {why}"),
            };
            let is_own = inode.is_some() && inode == host.own_user_namespace;
            let max = if is_own { own_max.clone() } else { Err(why.clone()) };
            vec![SubjectTo { scope: of_user(it.process.uid, inode), used: Err(why), max }]
        };
        subject.into_iter().map(|subject| (subject, it.process.pid))
    });
    let mut read = merge_users(LimitKind::MaxPidNamespaces, limits);
    for it in &mut read {
        let is_own = it.limit.scope.user_namespace == host.own_user_namespace;
        it.limit.file = is_own.then(|| host.path(name));
    }
    read
}
