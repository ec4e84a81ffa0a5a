//! Tests the process trees of `--tree`, on the real kernel and on saved documents.

mod common;

use std::fs;
use std::time::{Duration, Instant};

use common::Need::*;
use common::*;
use serde_json::{Value, json};

#[test]
fn every_parent_agrees_with_ps() {
    needs!(Namespaces, Program("ps"));
    let (_nest, inits) = nest(3);
    let _injected = inject(inits[1], &["bash", "-c", "sleep 600 & sleep 600"], 2);
    let _injected_again = inject(inits[2], &["sleep", "600"], 1);
    let (parent, _) = start(
        "(until [ \"$(</proc/$$/comm)\" = sleep ]; do :; done; exec sleep 0) &
         echo ready; exec sleep 600",
    );
    until("there is a zombie", || {
        children(parent.pid()).iter().any(|&pid| status(pid, "State")[0] == "Z")
    });
    let (text, compared) = tree_that_agrees_with_ps();
    assert!(compared > 15, "{compared}");
    let namespaces = text.lines().filter(|line| line.contains("pid:[")).count();
    assert!(namespaces >= 4, "{text}");
}

#[test]
fn an_init_names_its_parent_and_its_children_stand_below_it() {
    needs!(NamespaceOfItsOwn);
    let (running, init) = container(&format!("{SLEEP} {SLEEP} {SLEEP} {SLEEP} echo ready; wait"));
    let text = tree(&[]);
    let numbers: Vec<_> = nspid(init).iter().map(u32::to_string).collect();
    let expected = format!("└─ {} bash, child of {} unshare", numbers.join(" → "), running.pid());
    let mut lines = text.lines().skip_while(|line| !line.ends_with(&expected));
    let (above, below) = (lines.next().expect("its line"), lines.next().expect("another line"));
    let column = |line: &str| line.chars().take_while(|it| !it.is_alphanumeric()).count();
    assert_eq!(column(below), column(above) + 3, "{text}");
    assert!(below.contains("└─ 4 × sleep: "), "{text}");
}

#[test]
fn a_process_that_entered_names_the_process_that_let_it_enter_or_adopted_it() {
    needs!(NamespaceOfItsOwn);
    let (_nest, inits) = nest(1);
    let mut injector = inject(inits[0], &["sleep", "600"], 1);
    let injected = injected_by(&injector)[0];
    let numbers: Vec<_> = nspid(injected).iter().map(u32::to_string).collect();
    let line = |text: &str| {
        let start = format!("{} sleep, ", numbers.join(" → "));
        let found = text.lines().find_map(|line| line.split_once(&start));
        found.unwrap_or_else(|| panic!("no {start} in {text}")).1.to_owned()
    };
    let entered = format!("entered by {} nsenter", injector.pid());
    assert_eq!(line(&tree(&[])), entered);
    assert_eq!(line(&stdout(&pidns(&["-q"]))), entered);
    injector.0.kill().unwrap();
    injector.0.wait().unwrap();
    until("the init adopts the process", || status(injected, "PPid") == ["1"]);
    assert_eq!(line(&tree(&[])), "entered, reparented to 1 bash");
    assert_eq!(line(&stdout(&pidns(&["-q"]))), "entered, reparented to 1 bash");
    let end = i32::try_from(injected).ok().and_then(rustix::process::Pid::from_raw).unwrap();
    rustix::process::kill_process(end, rustix::process::Signal::KILL).unwrap();
}

#[test]
fn a_process_stands_below_its_nearest_ancestor_that_a_filter_shows() {
    needs!(Namespaces);
    // The name of the outer shell and of the innermost process is the same.
    let inner = "bash -c 'exec -a x sleep 600 & wait' & wait";
    let script = format!("sh -c \"{inner}\" & echo ready; wait");
    let (outer, _) = start(&script);
    until("all processes wait", || {
        let found = children(outer.pid()).into_iter().flat_map(children).flat_map(children);
        found.filter(|&pid| comm(pid) == "sleep").count() == 1
    });
    let shell = children(outer.pid())[0];
    let bash = children(shell)[0];
    let text = tree(&["--comm", "bash"]);
    let line = format!("─ {bash} bash, child of {shell} sh\n");
    assert!(text.contains(&line), "{text}");
    let shown = parents(&text.replace(&format!(", child of {shell} sh"), ""));
    assert_eq!(shown.get(&bash), Some(&outer.pid()), "{text}");
    // If none of its ancestors is shown, a process is at the top.
    let sleep = children(bash)[0];
    let text = tree(&["--comm", "sleep"]);
    assert!(text.contains(&format!("─ {sleep} sleep, child of {bash} bash\n")), "{text}");
}

#[test]
fn a_tree_of_a_process_has_its_ancestors_and_descendants() {
    needs!(NamespaceOfItsOwn);
    let inner = "for i in 1 2 3 4 5; do sleep 600 & done; unshare -pf sleep 602 & wait";
    let script = format!("bash -c '{inner}' & sleep 601 & echo ready; wait");
    let (running, init) = container(&script);
    let child = |pid: u32, name: &str| children(pid).into_iter().find(|&it| comm(it) == name);
    let found = || {
        let shell = child(init, "bash")?;
        let unshare = child(shell, "unshare")?;
        let sleeps: Vec<u32> =
            children(shell).into_iter().filter(|&it| comm(it) == "sleep").collect();
        Some((shell, sleeps, unshare, child(unshare, "sleep")?))
    };
    until("all processes run", || found().is_some_and(|(_, sleeps, ..)| sleeps.len() == 5));
    let (shell, mut sleeps, unshare, innermost) = found().unwrap();
    sleeps.sort_unstable();
    let pids = |pid: u32| nspid(pid).iter().map(u32::to_string).collect::<Vec<_>>().join(" → ");
    let sleeps: Vec<_> = sleeps.into_iter().map(pids).collect();
    let text = tree(&[&shell.to_string()]);
    let lines = text.lines().skip_while(|line| !line.contains(&pids(init)));
    let lines: Vec<_> = lines.take(5).map(|line| line.trim_start_matches([' ', '│'])).collect();
    let expected = [
        format!("├─ {} bash, child of {} unshare", pids(init), running.pid()),
        format!("└─ {} bash", pids(shell)),
        format!("├─ 5 × sleep: {}", sleeps.join(", ")),
        format!("└─ {} unshare", pids(unshare)),
    ];
    assert_eq!(lines[..4], expected, "{text}");
    assert!(lines[4].contains("  sleep, "), "{text}");
    let line = format!("─ {} sleep, child of {unshare} unshare\n", pids(innermost));
    assert!(text.contains(&line), "{text}");
    // A process that the user named has a line of its own.
    let (named, others) = sleeps.split_first().unwrap();
    let pid = named.split(' ').next().unwrap();
    let with_named = tree(&[&shell.to_string(), pid]);
    assert!(with_named.contains(&format!("├─ {named} sleep\n")), "{with_named}");
    assert!(with_named.contains(&format!("├─ 4 × sleep: {}\n", others.join(", "))), "{with_named}");
    // The other child of the init is not related to the shell.
    assert!(text.contains("  bash, 9 processes (8 shown)\n"), "{text}");
    // Another filter applies to all of these processes.
    let text = tree(&[&shell.to_string(), "--comm", "unshare"]);
    let line = format!("─ {} unshare, child of {shell} bash\n", pids(unshare));
    assert!(text.contains(&line) && text.contains(" (1 shown)\n"), "{text}");
}

#[test]
fn a_format_without_lines_cannot_nest_processes() {
    for format in ["json", "yaml", "ndjson", "dot", "mermaid", "openmetrics"] {
        let output = pidns(&["--tree", "-f", format]);
        assert_eq!((output.status.code(), output.stdout.len()), (Some(2), 0));
        assert_eq!(
            String::from_utf8_lossy(&output.stderr),
            format!(
                "pidns: the argument '--tree' cannot be used with '--format {format}'; \
                 see 'pidns --help'\n"
            )
        );
    }
    assert!(pidns(&["-q", "--tree", "-f", "tree"]).status.success());
}

/// Returns a document whose only namespace contains processes with these parents. Process 1 is the
/// init.
fn document(parents: &[(u32, Option<u32>)]) -> Value {
    let template = include_str!("golden/pidns-1.0.json");
    let mut document: Value = serde_json::from_str(template).expect("is JSON");
    let mut namespace = document["namespaces"][0].clone();
    let id = namespace["id"].clone();
    let mut process = document["processes"][0].clone();
    let member = |&(pid, ppid): &(u32, Option<u32>)| {
        for (field, value) in [
            ("pid", json!(pid)),
            ("ppid", json!(ppid)),
            ("nspid", json!([pid])),
            ("namespace", id.clone()),
            ("comm", json!(if pid == 1 { "init" } else { "worker" })),
            ("state", json!("S")),
            ("kernel_thread", json!(false)),
        ] {
            process[field] = value;
        }
        process.clone()
    };
    let processes: Vec<Value> = parents.iter().map(member).collect();
    namespace["members"] = parents.iter().map(|(pid, _)| json!(pid)).collect();
    namespace["member_count"] = json!(parents.len());
    (namespace["children"], namespace["holders"]) = (json!([]), json!([]));
    (namespace["blocked_by"], namespace["init"]) = (json!([]), json!(1));
    document["roots"] = json!([id]);
    document["procfs"]["namespace"] = id;
    document["namespaces"] = json!([namespace]);
    document["processes"] = json!(processes);
    (document["limits"], document["observer"]) = (Value::Null, Value::Null);
    document["selected"] = json!([]);
    document
}

/// Runs `pidns --tree` on a document with these parents. Returns the output, and how much longer
/// that took than without `--tree`, as a factor.
fn replayed(parents: &[(u32, Option<u32>)], arguments: &[&str]) -> (String, f64) {
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    fs::write(&saved, document(parents).to_string()).unwrap();
    let saved = ["-i", saved.to_str().unwrap()];
    let timed = |options: &[&str]| {
        let start = Instant::now();
        let text = stdout(&pidns(&[&["-q"], options, &saved, arguments].concat()));
        (text, start.elapsed() + Duration::from_millis(50))
    };
    let (_, without) = timed(&[]);
    let (text, with) = timed(&["--tree"]);
    (text, with.as_secs_f64() / without.as_secs_f64())
}

#[test]
fn parent_cycles_and_missing_parents_do_no_harm() {
    let parents = [
        (1, None),
        (2, Some(3)),
        (3, Some(4)),
        (4, Some(2)),
        (5, Some(5)),
        (6, Some(5)),
        (7, Some(99)),
    ];
    let mut hostile = document(&parents);
    // Only a filtered document may lack a parent.
    hostile["selected"] = json!([{"by": "user", "values": ["root"]}]);
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved");
    fs::write(&saved, hostile.to_string()).unwrap();
    let saved = saved.to_str().unwrap();
    let text = tree(&["-i", saved, "3", "6"]);
    assert!(text.starts_with("pid:[4026531836]  7 processes (5 shown)\n"), "{text}");
    let text = tree(&["-i", saved]);
    let (_, lines) = text.split_once('\n').unwrap();
    assert_eq!(
        lines.split("\n\n").next().unwrap().trim_end(),
        "├─ 1 init\n\
         ├─ 4 worker, child of 2 worker\n\
         │  └─ 3 worker\n\
         │     └─ 2 worker\n\
         ├─ 5 worker, child of 5 worker\n\
         │  └─ 6 worker\n\
         └─ 7 worker, child of 99"
    );
}

#[test]
fn deep_and_wide_trees_take_linear_time() {
    const COUNT: u32 = 30_000;
    let deep: Vec<_> = (1..=COUNT).map(|pid| (pid, (pid > 1).then(|| pid - 1))).collect();
    let wide: Vec<_> = (1..=COUNT).map(|pid| (pid, (pid > 1).then_some(1))).collect();
    let pairs: Vec<_> = (1..=COUNT)
        .map(|pid| (pid, (pid > 1).then(|| if pid % 2 == 0 { 1 } else { pid - 1 })))
        .collect();
    for (parents, arguments) in [
        (&deep, &[][..]),
        (&deep, &["--no-fold"]),
        (&wide, &[]),
        (&wide, &["--no-fold"]),
        (&pairs, &[]),
    ] {
        let (text, factor) = replayed(parents, arguments);
        assert!(factor < 8.0, "{factor}");
        assert!(text.len() < 120 * COUNT as usize, "{}", text.len());
    }
    let (text, _) = replayed(&deep[..60], &[]);
    assert!(text.contains("\n└─ 1 init\n └─ 2 worker\n"), "{text}");
    let indentation = |pid: u32| {
        let line = text.lines().find(|line| line.contains(&format!(" {pid} worker"))).unwrap();
        line.chars().take_while(|it| !it.is_ascii_digit()).count()
    };
    assert!(indentation(37) > indentation(36) && indentation(60) == indentation(38), "{text}");
    assert!(text.contains("└─ 60 worker, child of 59 worker\n\n"), "{text}");
    let (text, _) = replayed(&pairs[..9], &[]);
    assert!(text.contains("4 × worker like this: 2, 4, 6, 8\n      └─ worker\n"), "{text}");
}
