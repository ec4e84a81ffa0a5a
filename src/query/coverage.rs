//! How far a "no" can be trusted: what a view may miss.

use crate::model::{Diagnostic, DiagnosticCode, Hides, NotFound, SearchScope, Snapshot};

/// Why what was not found may be there all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caveat {
    /// Not everything was searched, or could be.
    Incomplete,
    /// The document is a selection.
    Part,
}

/// How much of the host a snapshot shows.
#[derive(Clone, Copy, Debug)]
pub struct Coverage {
    /// What may hide processes.
    processes: Option<Caveat>,
    /// What may hide anything.
    all: Option<Caveat>,
}

impl Coverage {
    /// What a snapshot says of itself.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let hides = |it: &Diagnostic| {
            DiagnosticCode::from_name(&it.code).is_some_and(|code| code.hides() == Hides::Processes)
        };
        let part = (!snapshot.selected.is_empty()).then_some(Caveat::Part);
        let hidden = snapshot.diagnostics.iter().any(hides);
        let everywhere = SearchScope::default_set().is_subset(&snapshot.searched);
        let whole = snapshot.complete && everywhere;
        Self {
            processes: part.or(hidden.then_some(Caveat::Incomplete)),
            all: part.or((!whole).then_some(Caveat::Incomplete)),
        }
    }

    /// Why what was not found may be there all the same; `None` where it is not.
    #[must_use]
    pub fn caveat(&self, no: &NotFound) -> Option<Caveat> {
        match no {
            NotFound::Process { namespace: None, .. } => self.processes,
            NotFound::Ambiguous(_) | NotFound::NotVisible { .. } | NotFound::NotTold { .. } => None,
            NotFound::Process { .. } | NotFound::Namespace(_) | NotFound::Selection(_) => self.all,
        }
    }
}
