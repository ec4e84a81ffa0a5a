//! Questions to a graph, and nothing that reads the kernel, parses arguments or
//! writes output: which part of the graph is meant, what a PID is called in
//! another namespace, and how far a "no" can be trusted.

mod check;
mod coverage;
mod diff;
pub(crate) mod fold;
mod observer;
mod pattern;
mod resolve;
mod run;
mod select;
mod translate;

pub use check::{Check, ParseRuleError, Policy, Rule};
pub use coverage::{Caveat, Coverage};
pub use diff::{
    Diff, DiffCaveat, Happened, NamespaceChange, NamespaceField, ProcessChange, ProcessField,
    Relation, Weak,
};
pub use observer::leave_out;
pub use pattern::{ContainerPrefix, Glob, User};
pub use resolve::resolve;
pub use run::{Leftovers, RunReport, RunScope};
pub use select::{Members, Selection, select};
pub use translate::translate;
