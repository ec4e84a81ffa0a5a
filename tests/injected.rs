//! Processes injected by setns, seen by nobody: placed rightly or not at all.
//!
//! Every namespace that the test did not make would be one more to choose from,
//! so it runs in one where there are no others.

mod common;

use common::Need::*;
use common::*;

/// Numbers that only look random, the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: usize) -> usize {
        self.0 =
            self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        usize::try_from(self.0 >> 33).unwrap() % limit
    }
}

#[test]
fn in_twenty_random_forests_nothing_injected_is_placed_wrongly() {
    needs!(NamespaceOfItsOwn);
    let (mut injected_placed, mut injected_all) = (0, 0);
    for seed in 0..20 {
        // What PID 1 has not reaped of the forest before would be one to choose from.
        until("the last forest is gone", || truth().values().all(|(_, level)| *level == 0));
        let mut random = Random(seed);
        let forests: Vec<_> = (0..=random.below(3)).map(|_| nest(1 + random.below(4))).collect();
        let inits: Vec<u32> = forests.iter().flat_map(|(_, inits)| inits.clone()).collect();
        let injectors: Vec<_> = (0..=random.below(5))
            .map(|_| {
                let target = inits[random.below(inits.len())];
                // Some from the host, some from inside another namespace; some
                // whose parent goes, some that lead a session there.
                let (command, sleeps): (&[&str], _) = match random.below(3) {
                    0 => (&["sleep", "600"], 1),
                    1 => (&["setsid", "sleep", "600"], 1),
                    _ => (&["bash", "-c", "sleep 600 & sleep 600"], 2),
                };
                inject(target, command, sleeps)
            })
            .collect();
        let injected: Vec<u32> = injectors.iter().flat_map(injected_by).collect();
        let mut rest = inits.clone();
        rest.extend(inits.iter().flat_map(|&init| children(init)));
        rest.extend(injectors.iter().map(Running::pid));
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
