//! Tests that pidns, without permission to read namespaces, infers the namespace of an injected
//! process correctly or not at all. An injected process was started from outside of its namespace
//! by a process that called setns(2).
//!
//! The test runs in its own PID namespace, so that no namespace of another test is visible: the
//! more namespaces pidns sees, the more often it cannot decide which one a process is in.

mod common;

use common::Need::*;
use common::*;

#[test]
fn no_injected_process_is_shown_in_a_wrong_namespace() {
    needs!(NamespaceOfItsOwn);
    let (mut injected_placed, mut injected_all) = (0, 0);
    for seed in 0..20 {
        // Wait until all processes of the last forest are reaped, since their namespaces would
        // make inference harder.
        until("the last forest is gone", || truth().values().all(|(_, level)| *level == 0));
        let forest = Forest::grow(seed);
        let injected = forest.injected();
        let mut rest = forest.inits.clone();
        rest.extend(forest.inits.iter().flat_map(|&init| children(init)));
        rest.extend(forest.injectors.iter().map(Running::pid));
        let truth = truth();
        let document = Document::read(&stdout(&as_nobody(&["-q", "-f", "json"])));
        injected_placed += compare(&document, &truth, &injected);
        injected_all += injected.len();
        compare(&document, &truth, &rest);
        let ambiguous = document.processes.iter().filter(|it| it.namespace.is_none()).count();
        let told = document.diagnostic("processes-ambiguous").map_or(0, |it| it.pids.len());
        assert_eq!(ambiguous, told);
        if ambiguous > 0 {
            let text = String::from_utf8(as_nobody(&["-q"]).stdout).unwrap();
            assert!(text.contains("\nunknown  "), "{text}");
        }
    }
    eprintln!("{injected_placed} of {injected_all} injected processes were placed");
    assert!(injected_placed * 4 > injected_all, "{injected_placed} of {injected_all}");
}
