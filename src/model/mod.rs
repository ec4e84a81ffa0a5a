//! Plain values for what a scan of the kernel found, and nothing that reads,
//! prints or serialises.
//!
//! A test may build any of it literally. Collections of a [`Snapshot`] are unordered on entry and sorted
//! by whoever shows them.

pub mod container;
pub mod run;

mod collector;
mod criterion;
mod diagnostic;
mod finding;
mod id;
mod keyword;
mod lineage;
mod namespace;
mod not_found;
mod process;
mod snapshot;
mod translation;

pub use collector::Collector;
pub use criterion::{Criterion, FilterOption};
pub use diagnostic::{Advice, Diagnostic, DiagnosticCode, Hides, Severity};
pub use finding::{CheckCode, Finding, Subject, Verdict};
pub use id::{
    MAX_LEVEL, NamespaceId, NamespaceRef, Nspid, ParseNamespaceIdError, ParseNamespaceRefError,
    ParsePidError, Pid,
};
pub use keyword::Keyword;
pub(crate) use keyword::keywords;
pub use lineage::Lineage;
pub use namespace::{
    BlockReason, Blocker, Container, Evidence, Holder, HoldingFile, Namespace, NamespaceState,
    Owner,
};
pub use not_found::NotFound;
pub use process::{Detail, Process, ProcessDetails};
pub use run::{Ended, Killed, MountedNamespaces};
pub use snapshot::{Host, Procfs, SearchScope, Snapshot};
pub use translation::{Level, Translation};
