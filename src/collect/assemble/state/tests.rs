//! States of literal namespaces, by what a source answers.

use std::collections::BTreeSet;
use std::fs::File;

use rustix::io::Result as SysResult;

use super::*;
use crate::collect::discovery::Discovery;
use crate::collect::error::Error;
use crate::collect::nsfs::NamespaceFd;
use crate::collect::registry::NamespaceRegistry;
use crate::model::{Process, SearchScope};
use crate::testing::namespace;

const MOUNT: u64 = 1000;
const ASKED: u64 = 1001;

/// Answers the same whatever namespace is asked for.
#[derive(Clone, Copy)]
struct Answers {
    init_of: SysResult<Pid>,
    had_init: Option<bool>,
}

impl Source for Answers {
    fn discover(
        &self,
        _: &BTreeSet<SearchScope>,
        _: &NamespaceRegistry,
    ) -> Result<Discovery, Error> {
        unreachable!("a state is determined after all was read")
    }

    fn is_there(&self, _: &Process) -> bool {
        unreachable!("no process is looked for to determine a state")
    }

    fn init_of(&self, _: &NamespaceFd) -> SysResult<Pid> {
        self.init_of
    }

    fn had_init(&self, _: &NamespaceFd) -> Option<bool> {
        self.had_init
    }
}

/// The kernel is not able to tell.
const SILENT: Answers = Answers { init_of: Err(Errno::NOTTY), had_init: None };
/// The kernel says that no process has PID 1 there.
const ABSENT: Answers = Answers { init_of: Err(Errno::SRCH), had_init: None };

/// A view of the namespace of /proc and one in it, by default without an init
/// that was listed.
struct Case {
    init: Option<Pid>,
    is_terminated: bool,
    init_history: InitHistory,
    /// Whether the namespace is known to be in that of /proc.
    is_below: bool,
    hides_inits: bool,
    answers: Answers,
}

impl Default for Case {
    fn default() -> Self {
        Self {
            init: None,
            is_terminated: false,
            init_history: InitHistory::Existed,
            is_below: true,
            hides_inits: false,
            answers: ABSENT,
        }
    }
}

impl Case {
    /// The state of the inner namespace; `None` where it is not proved.
    fn state(&self) -> Option<NamespaceState> {
        let mut namespaces =
            [namespace(MOUNT, None), namespace(ASKED, self.is_below.then_some(MOUNT))];
        namespaces[0].init = Some(Pid::INIT);
        namespaces[1].init = self.init;
        // Which namespace it is does not matter: the answers are given.
        let fd = NamespaceFd::new(File::open("/proc/self/ns/pid").unwrap().into()).unwrap();
        let registered =
            Registered { fd: Some(fd), init_history: self.init_history, closed_parent: None };
        let inputs = StateInputs {
            source: &self.answers,
            mount: Some(NamespaceId::Inode(MOUNT)),
            registered: &HashMap::from([(ASKED, registered)]),
            terminated: &self.init.filter(|_| self.is_terminated).into_iter().collect(),
        };
        let mut log = DiagnosticLog::default();
        if self.hides_inits {
            log.note(DiagnosticCode::ProcessesHidden, None, None);
        }
        determine_states(&mut namespaces, &inputs, &mut log);
        assert_eq!(namespaces[0].state, NamespaceState::Live);
        let unproved = DiagnosticCode::StateUnproved.name();
        let is_proved = log.into_diagnostics("").iter().all(|it| it.code != unproved);
        is_proved.then_some(namespaces[1].state)
    }
}

#[test]
fn a_listed_init_decides() {
    let init = Pid::new(7);
    // Whatever else is answered.
    for init_of in [Ok(Pid::INIT), Err(Errno::SRCH), Err(Errno::NOTTY)] {
        for had_init in [None, Some(false), Some(true)] {
            let answers = Answers { init_of, had_init };
            let live = Case { init, answers, ..Case::default() };
            assert_eq!(live.state(), Some(NamespaceState::Live));
            let dead = Case { is_terminated: true, ..live };
            assert_eq!(dead.state(), Some(NamespaceState::Dead));
        }
    }
}

#[test]
fn an_init_that_the_kernel_tells_of_proves_life_though_it_was_not_listed() {
    for init_history in [InitHistory::Unknown, InitHistory::NoneYet, InitHistory::Existed] {
        for had_init in [None, Some(false), Some(true)] {
            for hides_inits in [false, true] {
                let answers = Answers { init_of: Ok(Pid::INIT), had_init };
                let case = Case { init_history, hides_inits, answers, ..Case::default() };
                assert_eq!(case.state(), Some(NamespaceState::Live));
            }
        }
    }
}

#[test]
fn without_an_init_it_is_dead_if_it_had_one_and_else_nascent() {
    use InitHistory::{Existed, NoneYet, Unknown};
    use NamespaceState::{Dead, Nascent};
    for (init_history, had_init, expected) in [
        (Existed, None, Some(Dead)),
        (Existed, Some(true), Some(Dead)),
        // It may have come and gone since.
        (NoneYet, Some(true), Some(Dead)),
        (NoneYet, Some(false), Some(Nascent)),
        (NoneYet, None, Some(Nascent)),
        (Unknown, Some(true), Some(Dead)),
        (Unknown, Some(false), Some(Nascent)),
        (Unknown, None, None),
    ] {
        let answers = Answers { had_init, ..ABSENT };
        let case = Case { init_history, answers, ..Case::default() };
        assert_eq!(case.state(), expected, "{init_history:?} {had_init:?}");
    }
}

#[test]
fn an_init_that_may_only_be_hidden_proves_nothing() {
    let hidden = Case { hides_inits: true, answers: SILENT, ..Case::default() };
    assert_eq!(hidden.state(), None);
    // Asked for by its number, it cannot hide.
    assert_eq!(Case { answers: ABSENT, ..hidden }.state(), Some(NamespaceState::Dead));
    // A /proc shows nothing of namespaces outside of its own.
    for answers in [SILENT, ABSENT] {
        let outside = Case { is_below: false, answers, ..Case::default() };
        assert_eq!(outside.state(), None);
    }
}
