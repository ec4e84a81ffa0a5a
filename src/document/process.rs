//! The serde type of a process, and its conversion from and to the model.

use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

use super::open_list::{UnknownWords, Word};
use super::scalars::{Inode, StateLetter, nspid};
use crate::model::{self, Container, NamespaceId, Nspid, Pid};

/// A process (a thread group, identified by the PID of its leader).
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "process"))]
pub struct Process<'a> {
    /// PID of the process in the PID namespace that the procfs shows.
    pub pid: Pid,
    /// PID of the parent process. Null if there is no parent, if the procfs does not show the
    /// parent, or if pidns could not read the parent (diagnostic parent-process-unread). If the PID
    /// is not null, an unfiltered document contains the parent.
    pub ppid: Option<Pid>,
    /// The process's own (innermost) PID namespace, or null if unknown.
    pub namespace: Option<NamespaceId>,
    /// PIDs of the process, one for each level (NSpid in proc_pid_status(5)). The first PID is in
    /// the namespace that the procfs shows. The last PID is in the process's own namespace. Empty
    /// before Linux 4.1.
    #[serde(serialize_with = "nspid::serialize", deserialize_with = "nspid::deserialize")]
    #[cfg_attr(test, schemars(with = "Vec<Pid>", length(max = 33)))]
    pub nspid: Nspid,
    /// Command name, at most 15 bytes except for kernel threads, with U+FFFD for invalid UTF-8.
    pub comm: SmolStr,
    /// Command line, one string for each argument (/proc/PID/cmdline). U+FFFD replaces invalid
    /// UTF-8. Empty for kernel threads and terminated processes. Truncated to 32 KiB and 2,048
    /// arguments (diagnostic args-cut). Null if not requested (see `details`) or unreadable.
    pub args: Option<Cow<'a, [SmolStr]>>,
    /// State letter as in ps(1): R running, S sleeping, D uninterruptible sleep, Z zombie, T
    /// stopped, t stopped by a tracer, I idle, X dead, ? unknown.
    pub state: StateLetter,
    /// Real user ID, as seen in pidns's own user namespace.
    pub uid: u32,
    /// Name of the user with this UID, or null if unknown.
    pub user: Option<SmolStr>,
    /// Number of threads (Threads in proc_pid_status(5)). Null if unknown, for example for a
    /// terminated process.
    pub threads: Option<std::num::NonZeroU32>,
    /// Start time in clock ticks (1/100 s) since boot, independent of time namespaces. The value is
    /// field 22 of proc_pid_stat(5) minus the offset of pidns's time namespace. `host.boot_id`,
    /// `pid` and `start_time` together identify a process uniquely. Null if the start time was not
    /// read, for example with --search processes. Null if the start time is unknown (diagnostic
    /// start-time-unreadable).
    pub start_time: Option<u64>,
    /// `true` for a kernel thread.
    pub kernel_thread: bool,
    /// Inodes of the process's mount, network, user and other namespaces. The keys are the names of
    /// the links in /proc/PID/ns, such as mnt and net. Types that the kernel does not support are
    /// missing. For a terminated process, most types are missing. Null if not requested (see
    /// `details`) or unreadable.
    #[serde(default, deserialize_with = "inodes")]
    #[cfg_attr(test, schemars(with = "Option<BTreeMap<String, Inode>>"))]
    pub namespaces: Option<Cow<'a, BTreeMap<SmolStr, u64>>>,
    /// Path of the process's cgroup. If there are several hierarchies, pidns prefers a path that
    /// names a container or unit. The second choice is the path in the version 2 hierarchy. The
    /// last choice is the deepest path in a version 1 hierarchy. Null if not requested (see
    /// `details`) or unreadable.
    pub cgroup: Option<Cow<'a, str>>,
    /// The container of the process. Null if the process is not in a container, or if the field
    /// `container` of its PID namespace names the same container. Several containers can share a
    /// PID namespace, for example in a pod or with `docker run --pid`. Without `--details cgroup`,
    /// pidns finds the container only if a container runtime started the process or one of its
    /// ancestors, or if one of these processes entered the PID namespace from outside.
    pub container: Option<Cow<'a, Container>>,
    /// PID of the process's tracer (TracerPid in proc_pid_status(5)). A traced zombie can be reaped
    /// only by its tracer. pidns reads this field for zombies, and for processes that are stopped
    /// by a tracer. Null for other processes, or if there is no tracer.
    #[serde(default)]
    pub tracer: Option<Pid>,
    /// `true` if the process is in a frozen cgroup, such as that of a paused container. pidns
    /// checks all processes in state D, because cgroup version 1 puts frozen processes into this
    /// state. With `--details cgroup` or `--container`, pidns also checks the sleeping processes
    /// (state S) in each PID namespace whose init is in a frozen version 2 cgroup. For all other
    /// processes, the value is `false`.
    pub frozen: bool,
    /// Source of the field `namespace` (reported by the kernel, or inferred by pidns).
    pub evidence: Word<model::Evidence>,
}

impl<'a> From<&'a model::Process> for Process<'a> {
    fn from(process: &'a model::Process) -> Self {
        let details = process.details.as_deref();
        Self {
            pid: process.pid,
            ppid: process.ppid,
            namespace: process.namespace,
            nspid: process.nspid.clone(),
            comm: process.comm.clone(),
            args: details.and_then(|it| it.args.as_deref()).map(Cow::Borrowed),
            state: StateLetter(process.state),
            uid: process.uid,
            user: process.user.clone(),
            threads: process.threads,
            start_time: process.start_time,
            kernel_thread: process.kernel_thread,
            namespaces: details.and_then(|it| it.namespaces.as_ref()).map(Cow::Borrowed),
            cgroup: details.and_then(|it| it.cgroup.as_deref()).map(Cow::Borrowed),
            container: process.other_container().map(Cow::Borrowed),
            tracer: process.tracer(),
            frozen: process.is_frozen(),
            evidence: process.evidence.into(),
        }
    }
}

impl Process<'_> {
    /// Converts the process to the model, and counts unknown values in `unknown`.
    pub fn into_model(self, unknown: &mut UnknownWords) -> model::Process {
        let details = model::ProcessDetails {
            args: self.args.map(Cow::into_owned),
            namespaces: self.namespaces.map(Cow::into_owned),
            cgroup: self.cgroup.map(Cow::into_owned),
            container: self.container.map(Cow::into_owned),
            tracer: self.tracer,
            frozen: self.frozen,
            environment: BTreeSet::new(),
        };
        model::Process {
            pid: self.pid,
            ppid: self.ppid,
            namespace: self.namespace,
            nspid: self.nspid,
            comm: self.comm,
            state: self.state.0,
            uid: self.uid,
            user: self.user,
            threads: self.threads,
            start_time: self.start_time,
            kernel_thread: self.kernel_thread,
            evidence: self.evidence.certainty(unknown),
            details: (details != model::ProcessDetails::default()).then(|| Box::new(details)),
        }
    }
}

/// Deserializes a map from namespace types to inodes, and rejects invalid inodes.
fn inodes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'static, BTreeMap<SmolStr, u64>>>, D::Error> {
    let inodes = Option::<BTreeMap<SmolStr, Inode>>::deserialize(deserializer)?;
    Ok(inodes.map(|it| Cow::Owned(it.into_iter().map(|(name, inode)| (name, inode.0)).collect())))
}
