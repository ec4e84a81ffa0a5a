//! Processes injected by setns, seen by nobody: placed rightly or not at all.
//!
//! It runs itself in a namespace of its own, with an init that reaps at once:
//! every namespace that it did not make would be one more to choose from.

mod common;

use std::process::Command;

use common::*;

/// Set in the namespace of its own.
const INSIDE: &str = "PIDNS_TEST_INSIDE";

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
    if !is_root() {
        return;
    }
    if std::env::var_os(INSIDE).is_none() {
        let program = std::env::current_exe().unwrap();
        let mut command = Command::new("unshare");
        command.args([
            "-pf",
            "--mount-proc",
            "--kill-child",
            "bash",
            "-c",
            "\"$0\" --nocapture; exit $?",
        ]);
        let output = run(command.arg(program).env(INSIDE, "1"));
        eprint!("{}", String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success());
        return;
    }
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
                let inner: &[&str] = match random.below(3) {
                    0 => &["sleep", "600"],
                    1 => &["setsid", "sleep", "600"],
                    _ => &["bash", "-c", "sleep 600 & sleep 600"],
                };
                let target = target.to_string();
                let mut command = Command::new("nsenter");
                Running::spawn(command.args(["-t", &target, "-p"]).args(inner))
            })
            .collect();
        for injector in &injectors {
            until("it is in", || {
                children(injector.pid()).iter().any(|&pid| comm(pid) != "nsenter")
            });
        }
        std::thread::sleep(std::time::Duration::from_millis(30));
        let injected: Vec<u32> = injectors
            .iter()
            .flat_map(|it| children(it.pid()))
            .flat_map(|pid| [vec![pid], children(pid)].concat())
            .collect();
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
