//! Explains why a process or namespace may exist although it is not in a snapshot.

use crate::model::{
    Criterion, Detail, Diagnostic, DiagnosticCode, FilterOption, Hides, NotFound, SearchScope,
    Snapshot,
};

/// A reason why a process or namespace may exist although it was not found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Caveat {
    /// The scan did not or could not search some part of the host.
    Incomplete,
    /// The document was filtered, and the filter may have removed the process or namespace.
    Part,
    /// The snapshot contains no cgroups, so it lacks the containers that do not have their own PID
    /// namespace.
    NoCgroups,
}

/// The reasons why processes or namespaces may be missing from a snapshot.
#[derive(Clone, Copy, Debug)]
pub struct Coverage {
    /// The reason why processes may be missing, if any.
    processes: Option<Caveat>,
    /// The reason why processes or namespaces may be missing, if any.
    all: Option<Caveat>,
    /// The reason why a search for the processes of a container may miss some of them.
    containers: Option<Caveat>,
}

impl Coverage {
    /// Finds the gaps in a snapshot.
    #[must_use]
    pub fn of(snapshot: &Snapshot) -> Self {
        let hides = |it: &Diagnostic| {
            DiagnosticCode::from_name(&it.code).is_some_and(|code| code.hides() == Hides::Processes)
        };
        let part = (!snapshot.selected.is_empty()).then_some(Caveat::Part);
        let hidden = snapshot.diagnostics.iter().any(hides);
        let everywhere = SearchScope::default_set().is_subset(&snapshot.searched);
        let whole = snapshot.has_all_but_limits() && everywhere;
        let all = part.or((!whole).then_some(Caveat::Incomplete));
        let has_cgroups = snapshot.details.contains(&Detail::Cgroup);
        Self {
            processes: part.or(hidden.then_some(Caveat::Incomplete)),
            all,
            containers: all.or((!has_cgroups).then_some(Caveat::NoCgroups)),
        }
    }

    /// Returns `true` if the snapshot is known to contain all processes.
    #[must_use]
    pub fn has_all_processes(&self) -> bool {
        self.processes.is_none()
    }

    /// Returns `true` if the snapshot is known to contain all namespaces and processes.
    #[must_use]
    pub fn has_all_namespaces(&self) -> bool {
        self.all.is_none()
    }

    /// Returns the reason why a process or namespace may be missing from the snapshot although it
    /// exists, or `None` if there is no such reason.
    #[must_use]
    pub fn caveat(&self, no: &NotFound) -> Option<Caveat> {
        match no {
            NotFound::Process { namespace: None, .. } => self.processes,
            NotFound::Ambiguous(_)
            | NotFound::NotVisible { .. }
            | NotFound::NotTold { .. }
            | NotFound::NsId { all_unknown: true, .. }
            | NotFound::AmbiguousContainer { .. } => None,
            NotFound::Selection(criteria) if criteria.iter().any(is_container) => self.containers,
            NotFound::Process { .. }
            | NotFound::Namespace(_)
            | NotFound::NsId { .. }
            | NotFound::Selection(_) => self.all,
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
    fn a_container_is_certainly_absent_only_if_cgroups_were_read() {
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
