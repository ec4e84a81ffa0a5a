//! A process in the document: its fields, and how they come of the model and
//! become it again. The wire types of everything else are in `wire.rs`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use serde::{Deserialize, Deserializer, Serialize};
use smol_str::SmolStr;

use super::scalars::{Id, Inode, Letter, Nspid, Pid};
use super::words::{PassedOver, Word};
use crate::model;

/// A process: a thread group, known by the PID of its leader.
#[derive(Debug, Serialize, Deserialize)]
#[serde(remote = "Self")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "process"))]
pub struct Process<'a> {
    /// Its PID in the namespace of the /proc that was read.
    pub pid: Pid,
    /// Its parent's PID; null where it has no parent that this /proc shows, for
    /// which status shows 0.
    pub ppid: Option<Pid>,
    /// Its own (innermost) namespace; null where that is ambiguous.
    pub namespace: Option<Id>,
    /// Its PIDs, from the namespace of the /proc that was read inward to its own
    /// (NSpid of proc_pid_status(5)). Empty where the kernel does not tell
    /// (before Linux 4.1).
    #[cfg_attr(test, schemars(with = "Vec<Pid>", length(max = 33)))]
    pub nspid: Nspid,
    /// Command name, at most 15 bytes unless it is a kernel thread. Bytes that
    /// are not UTF-8 are U+FFFD.
    pub comm: SmolStr,
    /// Its command line, one string an argument (/proc/PID/cmdline); bytes that
    /// are not UTF-8 are U+FFFD. Empty of a kernel thread and of a process that
    /// has terminated; cut after 32 KiB, which diagnostics says (args-cut). Null
    /// unless it was asked for (see details) and could be read.
    pub args: Option<Cow<'a, [SmolStr]>>,
    /// One letter as in ps(1): R running, S sleeping, D in uninterruptible
    /// sleep, Z zombie, T stopped, t traced, I idle, X dead; ? unknown.
    pub state: Letter,
    /// Real user ID, as the viewer's user namespace maps it.
    pub uid: u32,
    /// That user's name; null where the host has none.
    pub user: Option<SmolStr>,
    /// How many threads it has (Threads of proc_pid_status(5)); null where that
    /// is not known, as of a process that has terminated.
    pub threads: Option<std::num::NonZeroU32>,
    /// When it started, in clock ticks (1/100 s) after boot: field 22 of
    /// proc_pid_stat(5). With host.boot_id and pid it is one process for ever.
    /// Null where it was not read, as of a search of processes alone.
    pub start_time: Option<u64>,
    /// Whether it is a thread of the kernel's own.
    pub kernel_thread: bool,
    /// Inodes of its other namespaces by the names of their links in
    /// /proc/PID/ns: mnt, net and so on. Null unless it was asked for (see
    /// details) and could be read. A link is missing where the kernel has no such
    /// type; a process that has terminated has lost most of them.
    #[serde(default, deserialize_with = "inodes")]
    #[cfg_attr(test, schemars(with = "Option<BTreeMap<String, Inode>>"))]
    pub namespaces: Option<Cow<'a, BTreeMap<SmolStr, u64>>>,
    /// Path of its cgroup: of several hierarchies that which tells its container
    /// or unit, else that of version 2, else the deepest of version 1. Null unless
    /// it was asked for (see details) and could be read.
    pub cgroup: Option<Cow<'a, str>>,
    /// How its namespace is known.
    pub evidence: Word<model::Evidence>,
}

impl<'a> From<&'a model::Process> for Process<'a> {
    fn from(process: &'a model::Process) -> Self {
        let details = process.details.as_deref();
        Self {
            pid: Pid(process.pid),
            ppid: process.ppid.map(Pid),
            namespace: process.namespace.map(Id),
            nspid: Nspid(process.nspid.clone()),
            comm: process.comm.clone(),
            args: details.and_then(|it| it.args.as_deref()).map(Cow::Borrowed),
            state: Letter(process.state),
            uid: process.uid,
            user: process.user.clone(),
            threads: process.threads,
            start_time: process.start_time,
            kernel_thread: process.kernel_thread,
            namespaces: details.and_then(|it| it.namespaces.as_ref()).map(Cow::Borrowed),
            cgroup: details.and_then(|it| it.cgroup.as_deref()).map(Cow::Borrowed),
            evidence: process.evidence.into(),
        }
    }
}

impl Process<'_> {
    /// As the model has it; what this version does not know is passed over.
    pub fn into_model(self, passed_over: &mut PassedOver) -> model::Process {
        let details = model::ProcessDetails {
            args: self.args.map(Cow::into_owned),
            namespaces: self.namespaces.map(Cow::into_owned),
            cgroup: self.cgroup.map(Cow::into_owned),
        };
        model::Process {
            pid: self.pid.0,
            ppid: self.ppid.map(|pid| pid.0),
            namespace: self.namespace.map(|id| id.0),
            nspid: self.nspid.0,
            comm: self.comm,
            state: self.state.0,
            uid: self.uid,
            user: self.user,
            threads: self.threads,
            start_time: self.start_time,
            kernel_thread: self.kernel_thread,
            evidence: self.evidence.certainty(passed_over),
            details: (details != model::ProcessDetails::default()).then(|| Box::new(details)),
        }
    }
}

/// Inodes by name, each checked as any other inode is.
fn inodes<'de, D: Deserializer<'de>>(
    deserializer: D,
) -> Result<Option<Cow<'static, BTreeMap<SmolStr, u64>>>, D::Error> {
    let inodes = Option::<BTreeMap<SmolStr, Inode>>::deserialize(deserializer)?;
    Ok(inodes.map(|it| Cow::Owned(it.into_iter().map(|(name, inode)| (name, inode.0)).collect())))
}
