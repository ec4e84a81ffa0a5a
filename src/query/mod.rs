//! Filters, compares and checks snapshots and graphs, and translates PIDs.

mod check;
mod container;
mod coverage;
mod diff;
pub(crate) mod fold;
mod limits;
mod observer;
mod outsiders;
mod pattern;
mod policy;
mod resolve;
mod run;
mod select;
mod settle;
mod translate;
mod wait;
mod watch;

pub use check::{Check, Origin, ThreadProblems};
pub use container::{ChosenContainers, ContainerPattern};
pub use coverage::{Caveat, Coverage};
pub use diff::{
    Diff, DiffCaveat, DiffScope, Happened, Incomparable, NamespaceChange, NamespaceField,
    ProcessChange, ProcessField, Relation, WeakMatches,
};
pub use limits::{LimitReport, main_process, namesakes};
pub use observer::{leave_out_observer, without_attendants};
pub use outsiders::Outsiders;
pub use pattern::{Glob, User};
pub use policy::{ParseRuleError, Policy, Rule};
pub use resolve::resolve;
pub use run::{Leftovers, RunReport, RunScope};
pub use select::{Members, Selection, keepers, part, select};
pub use settle::{Transients, Unsettled};
pub use translate::translate;
pub use wait::{LastingFindings, RETRY};
pub use watch::{Round, WatchEvent, WatchStart};
