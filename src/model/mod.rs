//! The data model: plain values without access to the host.
//!
//! The model imports no other module. The lists in a [`Snapshot`] are in no particular order, so
//! code that displays one of these lists must sort it first.

pub mod cgroup;
mod container;
pub mod run;
pub mod runtime;

mod collector;
mod criterion;
mod diagnostic;
mod environment;
mod finding;
mod id;
mod keyword;
mod limit;
mod lineage;
mod live;
mod namespace;
mod not_found;
mod observer;
mod process;
mod sharing;
mod snapshot;
mod translation;
mod watch;

pub use collector::Collector;
pub use container::{Container, Pod};
pub use criterion::{Criterion, FilterOption};
pub use diagnostic::{Advice, Diagnostic, DiagnosticCode, Hides, Severity};
pub use environment::EnvPattern;
pub use finding::{CheckCode, Finding, Subject, Verdict};
pub use id::{
    InvalidPid, MAX_LEVEL, NamespaceId, NamespaceRef, Nspid, ParseNamespaceIdError,
    ParseNamespaceRefError, ParsePidError, Pid,
};
pub use keyword::Keyword;
pub(crate) use keyword::keywords;
pub use limit::{Consumer, Limit, LimitKind, LimitScope};
pub use lineage::Lineage;
pub use live::{FrozenCgroup, LiveFacts, MountNamespace, MountNamespaceKeeper, StoppedBy};
pub use namespace::{
    BindMount, BlockReason, Blocker, Evidence, Holder, HoldingFile, INITIAL_USER_NAMESPACE,
    Namespace, NamespaceState, Owner,
};
pub use not_found::NotFound;
pub use observer::Observer;
pub use process::{Detail, Process, ProcessDetails};
pub use run::{Ended, Killed, MountedNamespaces, ProcessStart};
pub use sharing::{Shared, SharedWith, Sharing};
pub use snapshot::{Host, Procfs, SearchScope, Snapshot};
pub use translation::{Level, Translation};
pub use watch::{Notice, NoticeCode, WatchCaveat};
