//! Plain values for what a scan of the kernel found, and nothing that reads,
//! prints or serialises.
//!
//! A test may build any of it literally. Collections of a [`Snapshot`] are unordered on entry and sorted
//! by whoever shows them.

mod collector;
pub mod containers;
mod diagnostic;
mod id;
mod job;
mod lineage;
mod namespace;
mod not_found;
mod process;
mod snapshot;
mod translation;

pub use collector::Collector;
pub use diagnostic::{Advice, Diagnostic, DiagnosticCode, Hides, Severity};
pub use id::{
    MAX_LEVEL, NamespaceId, NamespaceRef, Nspid, ParseNamespaceIdError, ParseNamespaceRefError,
    ParsePidError, Pid,
};
pub use job::{Ended, Killed, MountedNamespaces};
pub use lineage::Lineage;
pub use namespace::{
    BlockReason, Blocker, Container, Evidence, Holder, HoldingFile, Namespace, NamespaceState,
    Owner,
};
pub use not_found::NotFound;
pub use process::{Detail, Process, ProcessDetails};
pub use snapshot::{Criterion, Host, Procfs, SearchScope, Snapshot};
pub use translation::{Level, Translation};
