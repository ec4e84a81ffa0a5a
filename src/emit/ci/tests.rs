use expect_test::{Expect, expect};

use crate::emit::{CheckFormat, Style};
use crate::graph::PidGraph;
use crate::model::{Holder, NamespaceState, Pid, Snapshot};
use crate::query::{Check, Policy, Unsettled};
use crate::testing::{farm, process};

/// Returns `farm()` with a stopped init and twelve zombies with hostile names.
fn troubled() -> Snapshot {
    let mut snapshot = farm();
    let namespace = snapshot.processes[3].namespace;
    snapshot.processes[3].state = 'T';
    for raw in 20..32 {
        let mut zombie = process(&[raw, raw], None);
        zombie.namespace = namespace;
        zombie.state = 'Z';
        zombie.ppid = Pid::new(7);
        zombie.comm = "a%|`::,<b>\n\u{1b}[31m".into();
        snapshot.processes.push(zombie);
    }
    snapshot.namespaces[2]
        .holders
        .push(Holder::Mount { path: "/run/it's $x".to_owned(), mount_namespace: 9 });
    snapshot.namespaces[2].state = NamespaceState::Dead;
    snapshot
}

fn written(format: CheckFormat, snapshot: Snapshot) -> String {
    let check = Check::new(PidGraph::new(snapshot), Unsettled::default(), &Policy::default());
    let mut out = Vec::new();
    format.emit(&check, Style::default(), &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn shows(format: CheckFormat, expected: &Expect) {
    let text = written(format, troubled());
    let some: Vec<_> = text.lines().take(12).chain(text.lines().rev().take(4)).collect();
    expected.assert_eq(&(some.join("\n") + "\n"));
}

#[test]
fn every_format_has_message_and_advice_for_hostile_names() {
    shows(
        CheckFormat::Text,
        &expect![[r#"
            DENIED dead-namespace: pid:[4026532180]  DEAD: its init has exited; kept by 4 containerd-shim: open fd 9; kept by mount /run/it's $x (in mnt:[9])
              end 4 only if user root does not need it: fd 9 may come from a process in the namespace; umount '/run/it'\''s $x'
            warning zombie: 7 sleep does not reap its child 20 → 20 a%|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de)
              end 7 only if user root does not need it: another user may have started 20
            warning zombie: 7 sleep does not reap its child 21 → 21 a%|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de)
              end 7 only if user root does not need it: another user may have started 21
            warning zombie: 7 sleep does not reap its child 22 → 22 a%|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de)
              end 7 only if user root does not need it: another user may have started 22
            warning zombie: 7 sleep does not reap its child 23 → 23 a%|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de)
              end 7 only if user root does not need it: another user may have started 23
            warning zombie: 7 sleep does not reap its child 24 → 24 a%|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de)
              end 7 only if user root does not need it: another user may have started 24
            1 denied, 14 warnings.

            warning incomplete: the view is incomplete: cannot search the open files of 1 process: Permission denied (os error 13)
              kill -CONT 6
        "#]],
    );
    shows(
        CheckFormat::Github,
        &expect![[r#"
            ::error title=pidns%3A dead-namespace::pid:[4026532180]  DEAD: its init has exited; kept by 4 containerd-shim: open fd 9; kept by mount /run/it's $x (in mnt:[9]); end 4 only if user root does not need it: fd 9 may come from a process in the namespace; umount '/run/it'\''s $x'
            ::warning title=pidns%3A zombie::7 sleep does not reap its child 20 → 20 a%25|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 20
            ::warning title=pidns%3A zombie::7 sleep does not reap its child 21 → 21 a%25|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 21
            ::warning title=pidns%3A zombie::7 sleep does not reap its child 22 → 22 a%25|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 22
            ::warning title=pidns%3A zombie::7 sleep does not reap its child 23 → 23 a%25|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 23
            ::warning title=pidns%3A zombie::7 sleep does not reap its child 24 → 24 a%25|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 24
            ::warning title=pidns%3A zombie::7 sleep does not reap its child 25 → 25 a%25|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 25
            ::warning title=pidns%3A zombie::7 sleep does not reap its child 26 → 26 a%25|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 26
            ::warning title=pidns%3A stopped-init::6 → 1 farm (child of 4 containerd-shim, in pid:[4026532179], of docker 3f2a1b9c04de) is an init and is stopped; kill -CONT 6
            ::warning title=pidns%3A incomplete::the view is incomplete: cannot search the open files of 1 process: Permission denied (os error 13)
            ::warning title=pidns::and 5 zombie
            ::warning title=pidns::and 5 zombie
            ::warning title=pidns%3A incomplete::the view is incomplete: cannot search the open files of 1 process: Permission denied (os error 13)
            ::warning title=pidns%3A stopped-init::6 → 1 farm (child of 4 containerd-shim, in pid:[4026532179], of docker 3f2a1b9c04de) is an init and is stopped; kill -CONT 6
            ::warning title=pidns%3A zombie::7 sleep does not reap its child 26 → 26 a%25|`::,<b>\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 26
        "#]],
    );
    shows(
        CheckFormat::Junit,
        &expect![[r#"
            <?xml version="1.0" encoding="UTF-8"?>
            <testsuites name="pidns" tests="13" failures="1" errors="0">
                <testsuite name="pidns check" tests="13" skipped="0" errors="0" failures="1">
                    <testcase name="dead-namespace" classname="pidns.check">
                        <failure message="dead-namespace: 1" type="dead-namespace">pid:[4026532180]  DEAD: its init has exited; kept by 4 containerd-shim: open fd 9; kept by mount /run/it&apos;s $x (in mnt:[9]); end 4 only if user root does not need it: fd 9 may come from a process in the namespace; umount &apos;/run/it&apos;\&apos;&apos;s $x&apos;</failure>
                    </testcase>
                    <testcase name="blocked-init" classname="pidns.check"/>
                    <testcase name="leftover-process" classname="pidns.check"/>
                    <testcase name="leftover-namespace" classname="pidns.check"/>
                    <testcase name="nascent-namespace" classname="pidns.check"/>
                    <testcase name="zombie" classname="pidns.check">
                        <system-out>7 sleep does not reap its child 20 → 20 a%|`::,&lt;b&gt;\n\x1b[31m (child of 7 sleep, in pid:[4026532179], of docker 3f2a1b9c04de); end 7 only if user root does not need it: another user may have started 20
            </testsuites>
                </testsuite>
                    </testcase>
                        <system-out>the view is incomplete: cannot search the open files of 1 process: Permission denied (os error 13)</system-out>
        "#]],
    );
    shows(
        CheckFormat::Markdown,
        &expect![[r#"
            ### pidns check: 1 denied, 14 warnings

            | | code | what | what to do |
            |---|---|---|---|
            | **denied** | dead-namespace | pid&#58;&#91;4026532180&#93;  DEAD&#58; its init has exited; kept by 4 containerd-shim&#58; open fd 9; kept by mount /run/it&#39;s &#36;x (in mnt&#58;&#91;9&#93;) | end 4 only if user root does not need it&#58; fd 9 may come from a process in the namespace<br>umount &#39;/run/it&#39;&#92;&#39;&#39;s &#36;x&#39; |
            | warning | zombie | 7 sleep does not reap its child 20 → 20 a&#37;&#124;&#96;&#58;&#58;,&#60;b&#62;&#92;n&#92;x1b&#91;31m (child of 7 sleep, in pid&#58;&#91;4026532179&#93;, of docker 3f2a1b9c04de) | end 7 only if user root does not need it&#58; another user may have started 20 |
            | warning | zombie | 7 sleep does not reap its child 21 → 21 a&#37;&#124;&#96;&#58;&#58;,&#60;b&#62;&#92;n&#92;x1b&#91;31m (child of 7 sleep, in pid&#58;&#91;4026532179&#93;, of docker 3f2a1b9c04de) | end 7 only if user root does not need it&#58; another user may have started 21 |
            | warning | zombie | 7 sleep does not reap its child 22 → 22 a&#37;&#124;&#96;&#58;&#58;,&#60;b&#62;&#92;n&#92;x1b&#91;31m (child of 7 sleep, in pid&#58;&#91;4026532179&#93;, of docker 3f2a1b9c04de) | end 7 only if user root does not need it&#58; another user may have started 22 |
            | warning | zombie | 7 sleep does not reap its child 23 → 23 a&#37;&#124;&#96;&#58;&#58;,&#60;b&#62;&#92;n&#92;x1b&#91;31m (child of 7 sleep, in pid&#58;&#91;4026532179&#93;, of docker 3f2a1b9c04de) | end 7 only if user root does not need it&#58; another user may have started 23 |
            | warning | zombie | 7 sleep does not reap its child 24 → 24 a&#37;&#124;&#96;&#58;&#58;,&#60;b&#62;&#92;n&#92;x1b&#91;31m (child of 7 sleep, in pid&#58;&#91;4026532179&#93;, of docker 3f2a1b9c04de) | end 7 only if user root does not need it&#58; another user may have started 24 |
            | warning | zombie | 7 sleep does not reap its child 25 → 25 a&#37;&#124;&#96;&#58;&#58;,&#60;b&#62;&#92;n&#92;x1b&#91;31m (child of 7 sleep, in pid&#58;&#91;4026532179&#93;, of docker 3f2a1b9c04de) | end 7 only if user root does not need it&#58; another user may have started 25 |
            | warning | zombie | 7 sleep does not reap its child 26 → 26 a&#37;&#124;&#96;&#58;&#58;,&#60;b&#62;&#92;n&#92;x1b&#91;31m (child of 7 sleep, in pid&#58;&#91;4026532179&#93;, of docker 3f2a1b9c04de) | end 7 only if user root does not need it&#58; another user may have started 26 |
            ```
              classDef dead fill:#f6c9c6,stroke:#b3261e,stroke-width:4px,color:#000,text-align:left
              classDef live fill:#d6e6f5,stroke:#4a6785,color:#000,text-align:left
              n1 --> n2
        "#]],
    );
}

#[test]
fn reports_that_nothing_was_found() {
    let mut sound = farm();
    sound.complete = true;
    sound.namespaces.pop();
    assert_eq!(written(CheckFormat::Text, sound.clone()), "Nothing is wrong.\n");
    assert_eq!(written(CheckFormat::Github, sound.clone()), "");
    assert_eq!(
        written(CheckFormat::Markdown, sound.clone()),
        "### pidns check: nothing is wrong\n"
    );
    assert!(!written(CheckFormat::Junit, sound).contains("<failure"));
}

#[test]
fn annotates_ten_findings_of_a_verdict_and_counts_the_others() {
    let text = written(CheckFormat::Github, troubled());
    let warnings: Vec<_> = text.lines().filter(|line| line.starts_with("::warning")).collect();
    assert_eq!(warnings.len(), 10);
    // There are more zombies than the limit of ten annotations, but each of the other codes must
    // still get an annotation.
    for code in ["stopped-init", "incomplete"] {
        assert!(text.contains(&format!("::warning title=pidns%3A {code}::")), "{text}");
    }
    assert_eq!(warnings[9], "::warning title=pidns::and 5 zombie");
    assert_eq!(text.lines().filter(|line| line.starts_with("::error")).count(), 1);
    assert!(text.lines().all(|line| line.starts_with("::")), "{text}");
}

#[test]
fn a_summary_has_at_most_one_mebibyte() {
    let mut snapshot = troubled();
    // Each character takes three bytes, so this string takes 120,000 bytes.
    let long = "\u{4e00}".repeat(40_000);
    for process in snapshot.processes.iter_mut().filter(|it| it.state == 'Z') {
        process.comm = long.as_str().into();
    }
    let text = written(CheckFormat::Markdown, snapshot);
    assert!((900_000..=1 << 20).contains(&text.len()), "{}", text.len());
    let rows = text.lines().filter(|line| line.starts_with("| **") || line.starts_with("| w"));
    let more = format!("\nand {} more\n", 15 - rows.count());
    assert!(text.contains(&more) && text.ends_with("```\n"), "{more}");
}

#[test]
fn never_advises_to_kill_a_kernel_thread_or_an_ended_process() {
    let mut snapshot = farm();
    let mut zombie = process(&[20], None);
    zombie.namespace = snapshot.processes[0].namespace;
    (zombie.state, zombie.ppid) = ('Z', Pid::new(2));
    snapshot.processes.push(zombie);
    let policy = Policy::default();
    let mut check = Check::new(PidGraph::new(snapshot), Unsettled::default(), &policy);
    let written = |check: &Check| {
        let mut out = Vec::new();
        CheckFormat::Text.emit(check, Style::default(), &mut out).unwrap();
        String::from_utf8(out).unwrap()
    };
    let text = written(&check);
    assert!(text.contains("warning zombie: 2 kthreadd does not reap its child 20 sleep"), "{text}");
    assert!(!text.contains("kill 2\n") && text.contains("  end 4 only if user"), "{text}");
    check.live.ended = Pid::new(4).into_iter().collect();
    let text = written(&check);
    assert!(!text.contains("kill") && !text.contains("end 4"), "{text}");
}

#[test]
fn never_advises_to_kill_pid_1() {
    let mut snapshot = farm();
    let mut zombie = process(&[20], None);
    zombie.namespace = snapshot.processes[0].namespace;
    (zombie.state, zombie.ppid) = ('Z', Pid::new(1));
    snapshot.processes.push(zombie);
    let text = written(CheckFormat::Text, snapshot);
    let expected = "warning zombie: 1 systemd does not reap its child 20 sleep (child of 1 systemd)\n  \
        1 is the init here: killing it would end every process\n";
    assert!(text.contains(expected), "{text}");
}
