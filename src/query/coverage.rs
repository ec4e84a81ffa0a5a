//! How far a "no" can be trusted: what a view may miss.

use crate::model::{
    Criterion, Detail, Diagnostic, DiagnosticCode, FilterOption, Hides, NotFound, SearchScope,
    Snapshot,
};

/// Why what was not found may be there all the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caveat {
    /// Not everything was searched, or could be.
    Incomplete,
    /// The document is a selection.
    Part,
    /// A container was looked for, and of processes other than inits it was not
    /// read which they are in.
    NoCgroups,
}

/// How much of the host a snapshot shows.
#[derive(Clone, Copy, Debug)]
pub struct Coverage {
    /// What may hide processes.
    processes: Option<Caveat>,
    /// What may hide anything.
    all: Option<Caveat>,
    /// What may hide a process that is in some container.
    containers: Option<Caveat>,
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
        let all = part.or((!whole).then_some(Caveat::Incomplete));
        let has_cgroups = snapshot.details.contains(&Detail::Cgroup);
        Self {
            processes: part.or(hidden.then_some(Caveat::Incomplete)),
            all,
            containers: all.or((!has_cgroups).then_some(Caveat::NoCgroups)),
        }
    }

    /// Why what was not found may be there all the same; `None` where it is not.
    #[must_use]
    pub fn caveat(&self, no: &NotFound) -> Option<Caveat> {
        match no {
            NotFound::Process { namespace: None, .. } => self.processes,
            NotFound::Ambiguous(_) | NotFound::NotVisible { .. } | NotFound::NotTold { .. } => None,
            NotFound::Selection(criteria) if criteria.iter().any(is_container) => self.containers,
            NotFound::Process { .. } | NotFound::Namespace(_) | NotFound::Selection(_) => self.all,
        }
    }
}

fn is_container(criterion: &Criterion) -> bool {
    criterion.by == FilterOption::Container
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::farm;

    #[test]
    fn that_there_is_no_container_is_sure_only_where_cgroups_were_read() {
        let no = |by: FilterOption| {
            let values = vec!["3f2a".to_owned()];
            NotFound::Selection(vec![Criterion { by, values }])
        };
        let mut snapshot = farm();
        (snapshot.complete, snapshot.diagnostics) = (true, Vec::new());
        let coverage = Coverage::of(&snapshot);
        assert_eq!(coverage.caveat(&no(FilterOption::Container)), Some(Caveat::NoCgroups));
        assert_eq!(coverage.caveat(&no(FilterOption::Comm)), None);
        snapshot.details = [Detail::Cgroup].into();
        assert_eq!(Coverage::of(&snapshot).caveat(&no(FilterOption::Container)), None);
        (snapshot.complete, snapshot.details) = (false, [].into());
        assert_eq!(
            Coverage::of(&snapshot).caveat(&no(FilterOption::Container)),
            Some(Caveat::Incomplete)
        );
    }
}
