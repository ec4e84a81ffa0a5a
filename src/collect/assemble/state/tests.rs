//! Tests the state of a namespace for combinations of known facts and kernel answers.

use std::cell::RefCell;
use std::fs::File;

use rustix::io::{Errno, Result as SysResult};

use super::*;
use crate::collect::discovery::{HeldThread, Sleeps};
use crate::collect::kernel::nsfs::NamespaceFd;

use crate::testing::{namespace, process};

const MOUNT: u64 = 1000;
const ASKED: u64 = 1001;

/// A [`FollowUp`] method that the tested code called.
#[derive(Clone, Copy, Debug, PartialEq)]
enum Question {
    HadInit,
    InitNow,
    ListInits,
}

/// A [`FollowUp`] that gives the same answers for every namespace.
struct Answers<'a> {
    had_init: Option<bool>,
    init_now: InitNow,
    listed: Option<&'a [ListedInit]>,
    is_there: bool,
    /// The methods that were called, in order.
    asked: RefCell<Vec<Question>>,
}

impl FollowUp for Answers<'_> {
    fn is_there(&self, _: &Process) -> bool {
        self.is_there
    }

    fn tracer(&self, _: &Process) -> Option<Pid> {
        None
    }

    fn held_thread(&self, _: &Process) -> Option<HeldThread> {
        None
    }

    fn uninterruptible_sleeps(&self, _: &Process) -> Sleeps {
        Sleeps::new()
    }

    fn is_stopped(&self, _: &Process) -> bool {
        false
    }

    fn is_uninterruptible(&self, _: &Process) -> bool {
        false
    }

    fn is_frozen(&self, _: &Process) -> bool {
        false
    }

    fn is_frozen_cgroup(&self, _: &[u8]) -> bool {
        false
    }

    fn is_zombie(&self, _: &Process) -> bool {
        unreachable!("a zombie is not evidence about its namespace")
    }

    fn init_of(&self, _: &NamespaceFd) -> SysResult<Pid> {
        unreachable!("inits are placed before states are determined")
    }

    fn had_init(&self, _: &NamespaceFd) -> Option<bool> {
        self.asked.borrow_mut().push(Question::HadInit);
        self.had_init
    }

    fn init_now(&self, _: &NamespaceFd) -> InitNow {
        self.asked.borrow_mut().push(Question::InitNow);
        self.init_now
    }

    fn list_inits(&self) -> SysResult<Vec<ListedInit>> {
        self.asked.borrow_mut().push(Question::ListInits);
        self.listed.map(<[_]>::to_vec).ok_or(Errno::ACCESS)
    }
}

/// A test case: facts about the tested namespace, and the answers that the fake source gives.
struct Case<'a> {
    init: Option<Pid>,
    is_terminated: bool,
    is_undecided: bool,
    init_history: InitHistory,
    is_pinned: bool,
    /// `true` if the tested namespace is known to be below the namespace that the procfs shows.
    is_below: bool,
    hides_inits: bool,
    processes: &'a [Process],
    had_init: Option<bool>,
    init_now: InitNow,
    /// The inits in the second listing of /proc, unless that listing fails.
    listed: Option<&'a [ListedInit]>,
    is_there: bool,
}

impl Default for Case<'_> {
    fn default() -> Self {
        Self {
            init: None,
            is_terminated: false,
            is_undecided: false,
            init_history: InitHistory::Existed,
            is_pinned: true,
            is_below: true,
            hides_inits: false,
            processes: &[],
            had_init: None,
            init_now: InitNow::Absent,
            listed: Some(&[]),
            is_there: false,
        }
    }
}

/// The result of a test case.
#[derive(Debug, PartialEq)]
struct Outcome {
    state: NamespaceState,
    asked: Vec<Question>,
    is_without_init: bool,
}

impl Case<'_> {
    fn run(&self) -> Outcome {
        let mut namespaces =
            [namespace(MOUNT, None), namespace(ASKED, self.is_below.then_some(MOUNT))];
        namespaces[0].init = Some(Pid::INIT);
        namespaces[1].init = self.init;
        // `Answers` ignores the namespace, so a descriptor of any namespace will do.
        let fd = NamespaceFd::new(File::open("/proc/self/ns/pid").unwrap().into()).unwrap();
        let fd = Some(fd).filter(|_| self.is_pinned);
        let registered = Registered { fd, init_history: self.init_history, closed_parent: None };
        let source = Answers {
            had_init: self.had_init,
            init_now: self.init_now,
            listed: self.listed,
            is_there: self.is_there,
            asked: RefCell::default(),
        };
        let inputs = StateInputs {
            source: &source,
            mount: Some(NamespaceId::Inode(MOUNT)),
            registered: &HashMap::from([(ASKED, registered)]),
            processes: self.processes,
            terminated: &self.init.filter(|_| self.is_terminated).into_iter().collect(),
            undecided: &self.init.filter(|_| self.is_undecided).into_iter().collect(),
        };
        let without_init = determine_states(&mut namespaces, &inputs, self.hides_inits);
        assert_eq!(namespaces[0].state, NamespaceState::Live);
        let mut log = DiagnosticLog::default();
        note_unproved(&namespaces, &mut log);
        let state = namespaces[1].state;
        assert_eq!(
            log.is_complete(),
            state != NamespaceState::Unknown,
            "an unknown state is reported"
        );
        Outcome {
            state,
            asked: source.asked.into_inner(),
            is_without_init: without_init.contains(&NamespaceId::Inode(ASKED)),
        }
    }

    fn state(&self) -> NamespaceState {
        self.run().state
    }
}

fn listed(nspid: &[u32], namespace: Option<u64>, now: InitNow) -> ListedInit {
    ListedInit { nspid: nspid.iter().filter_map(|&raw| Pid::new(raw)).collect(), namespace, now }
}

#[test]
fn the_state_follows_from_a_listed_init_without_questions() {
    let init = Pid::new(7);
    for init_now in [InitNow::Living, InitNow::Terminated, InitNow::Absent, InitNow::Unknown] {
        for had_init in [None, Some(false), Some(true)] {
            let state = |is_terminated, is_undecided| {
                let case = Case { init, is_terminated, is_undecided, ..Case::default() };
                let outcome = Case { had_init, init_now, ..case }.run();
                assert_eq!(outcome.asked, []);
                outcome.state
            };
            assert_eq!(state(false, false), NamespaceState::Live);
            assert_eq!(state(true, false), NamespaceState::Dead);
            assert_eq!(state(false, true), NamespaceState::Unknown);
        }
    }
}

#[test]
fn an_init_that_only_the_last_question_finds_determines_the_state() {
    for (now, expected) in
        [(InitNow::Living, NamespaceState::Live), (InitNow::Terminated, NamespaceState::Dead)]
    {
        for init_history in [InitHistory::Unknown, InitHistory::NoneYet, InitHistory::Existed] {
            for had_init in [None, Some(false), Some(true)] {
                for hides_inits in [false, true] {
                    // The kernel reports the init, or a second listing of /proc shows it.
                    let case = Case { init_history, hides_inits, had_init, ..Case::default() };
                    let named = Case { init_now: now, ..case };
                    assert_eq!(named.state(), expected);
                    let again = [listed(&[9, 1], Some(ASKED), now)];
                    let init_now = InitNow::Unknown;
                    let found = Case { init_now, listed: Some(&again), ..named };
                    assert_eq!(found.state(), expected);
                    // Even a terminated init exists until its parent reaps it.
                    assert!(!found.run().is_without_init);
                }
            }
        }
    }
}

#[test]
fn a_namespace_without_an_init_is_dead_if_it_had_one_and_otherwise_nascent() {
    use InitHistory::{Existed, NoneYet, Unknown};
    for (init_history, had_init, expected) in [
        (Existed, None, NamespaceState::Dead),
        (Existed, Some(true), NamespaceState::Dead),
        // An init has started and ended since the namespace was discovered.
        (NoneYet, Some(true), NamespaceState::Dead),
        (NoneYet, Some(false), NamespaceState::Nascent),
        (NoneYet, None, NamespaceState::Nascent),
        (Unknown, Some(true), NamespaceState::Dead),
        (Unknown, Some(false), NamespaceState::Nascent),
        (Unknown, None, NamespaceState::Unknown),
    ] {
        let case = Case { init_history, had_init, ..Case::default() };
        assert_eq!(case.state(), expected, "{init_history:?} {had_init:?}");
        let listed = Case { init_now: InitNow::Unknown, ..case };
        assert_eq!(listed.state(), expected, "{init_history:?} {had_init:?}");
    }
}

#[test]
fn asks_last_whether_an_init_exists_now() {
    use Question::*;
    let case = Case { init_history: InitHistory::Unknown, had_init: Some(true), ..Case::default() };
    assert_eq!(case.run().asked, [HadInit, InitNow]);
    let unable = Case { init_now: super::InitNow::Unknown, ..case };
    assert_eq!(unable.run().asked, [HadInit, InitNow, ListInits]);
    // `InitHistory::Existed` proves that the namespace had an init, so `had_init` is not called.
    let existed = Case { init_history: InitHistory::Existed, ..unable };
    assert_eq!(existed.run().asked, [InitNow, ListInits]);
    let unpinned = Case { is_pinned: false, ..existed };
    assert_eq!(unpinned.run().asked, [ListInits]);
    assert_eq!(unpinned.state(), NamespaceState::Dead);
}

#[test]
fn a_listing_that_may_miss_the_init_proves_nothing() {
    let unable = || Case { init_now: InitNow::Unknown, ..Case::default() };
    assert_eq!(unable().state(), NamespaceState::Dead);
    assert_eq!(Case { listed: None, ..unable() }.state(), NamespaceState::Unknown);
    let hidden = Case { hides_inits: true, ..unable() };
    assert_eq!(hidden.state(), NamespaceState::Unknown);
    // The kernel's answer (`init_now`) is reliable even if /proc hides inits.
    assert_eq!(Case { init_now: InitNow::Absent, ..hidden }.state(), NamespaceState::Dead);
    // The tested namespace may be outside of the subtree that the procfs lists.
    let outside = Case { is_below: false, ..unable() };
    assert_eq!(outside.state(), NamespaceState::Unknown);
}

#[test]
fn an_init_with_an_unreadable_link_may_belong_to_any_namespace_at_its_level() {
    let unable = || Case { init_now: InitNow::Unknown, ..Case::default() };
    let state = |init: ListedInit, processes: &[Process]| {
        Case { listed: Some(&[init]), processes, ..unable() }.state()
    };
    let unread = |nspid: &[u32]| listed(nspid, None, InitNow::Living);
    assert_eq!(state(unread(&[9, 1]), &[]), NamespaceState::Unknown);
    // The level of this init differs from the level of the tested namespace.
    assert_eq!(state(unread(&[9, 2, 1]), &[]), NamespaceState::Dead);
    // This init is in another namespace.
    let other = listed(&[9, 1], Some(2000), InitNow::Living);
    assert_eq!(state(other, &[]), NamespaceState::Dead);
    // The scan found process 9 in another namespace.
    let placed = |nspid: &[u32]| [process(nspid, Some(2000))];
    assert_eq!(state(unread(&[9, 1]), &placed(&[9, 1])), NamespaceState::Dead);
    // Different inner PIDs show that another process has reused PID 9.
    assert_eq!(state(unread(&[9, 1]), &placed(&[9, 4])), NamespaceState::Unknown);
}

#[test]
fn a_living_member_contradicts_a_missing_init() {
    let members = [process(&[8, 2], Some(ASKED))];
    for init_now in [InitNow::Absent, InitNow::Unknown] {
        let case = Case { processes: &members, init_now, ..Case::default() };
        let gone = case.run();
        assert_eq!((gone.state, gone.is_without_init), (NamespaceState::Dead, true));
        let there = Case { is_there: true, ..case }.run();
        assert_eq!((there.state, there.is_without_init), (NamespaceState::Unknown, false));
    }
    // An exiting init waits until all other members of its namespace have ended.
    let waiting = Case { processes: &members, is_there: true, ..Case::default() };
    let waiting = Case { init_now: InitNow::Terminated, ..waiting };
    assert_eq!(waiting.state(), NamespaceState::Dead);
}

#[test]
fn a_live_child_does_not_make_a_namespace_live() {
    let mut namespaces = [namespace(MOUNT, None), namespace(1001, Some(MOUNT))];
    let mut below = namespace(1002, Some(1001));
    below.init = Pid::new(9);
    namespaces[0].init = Some(Pid::INIT);
    let [mount, dead] = namespaces;
    let mut namespaces = [mount, dead, below];
    let source = Answers {
        had_init: None,
        init_now: InitNow::Absent,
        listed: None,
        is_there: true,
        asked: RefCell::default(),
    };
    let fd = NamespaceFd::new(File::open("/proc/self/ns/pid").unwrap().into()).unwrap();
    let registered =
        Registered { fd: Some(fd), init_history: InitHistory::Existed, closed_parent: None };
    let inputs = StateInputs {
        source: &source,
        mount: Some(NamespaceId::Inode(MOUNT)),
        registered: &HashMap::from([(1001, registered)]),
        processes: &[process(&[9, 4, 1], Some(1002))],
        terminated: &HashSet::new(),
        undecided: &HashSet::new(),
    };
    determine_states(&mut namespaces, &inputs, false);
    let states = namespaces.map(|it| it.state);
    assert_eq!(states, [NamespaceState::Live, NamespaceState::Dead, NamespaceState::Live]);
}
