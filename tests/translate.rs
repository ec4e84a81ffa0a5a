//! Tests the translation of PIDs between namespaces. pidns translates PIDs either by asking the
//! kernel, or by a full scan.

mod common;

use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

use common::Need::*;
use common::*;
use pidns::collect::{self, NamespaceHandle, Request};
use pidns::graph::PidGraph;
use pidns::model::{Collector, NamespaceRef, Pid, SearchScope};
use pidns::query;

fn pid(raw: u32) -> Pid {
    Pid::new(raw).expect("is a PID")
}

/// Translates the PIDs of all processes in these nested namespaces: from each namespace in which a
/// process is visible, to every namespace. Asserts that the kernel, a scan and `NSpid` give the
/// same result. Returns the number of translations.
fn agree(nests: &[Vec<u32>]) -> usize {
    let request = Request {
        procfs: "/proc".into(),
        search: [SearchScope::Processes].into(),
        details: [].into(),
        environment: [].into(),
        collector: Collector::Auto,
    };
    let graph = PidGraph::new(collect::collect(&request).unwrap().snapshot);
    let host = std::process::id();
    let inits = [host].into_iter().chain(nests.iter().flatten().copied());
    let namespaces: Vec<_> =
        inits.map(|init| (NamespaceRef::Of(pid(init)), namespace_of(init))).collect();
    let mut count = 0;
    for nest in nests {
        let lineage = std::iter::once(&host).chain(nest).map(|&init| namespace_of(init));
        let lineage: Vec<_> = lineage.collect();
        for process in nest.iter().flat_map(|&init| [init, sleep_of(init)]) {
            let numbers: BTreeMap<_, _> = lineage.iter().zip(nspid(process)).collect();
            for (from, from_id) in &namespaces {
                let Some(&number) = numbers.get(from_id) else { continue };
                for (to, to_id) in &namespaces {
                    let scanned = query::translate(&graph, pid(number), Some(*from), Some(*to));
                    let named = [*from, *to].map(NamespaceHandle::by);
                    let [from, to] = named.each_ref().map(Some);
                    let proc = Path::new("/proc");
                    let asked = collect::translate(proc, &[pid(number)], from, to);
                    let asked = asked.unwrap().expect("the ioctls are supported");
                    assert_eq!(asked, scanned.clone().map(|one| vec![one]));
                    match numbers.get(to_id) {
                        Some(&there) => {
                            let translation = scanned.unwrap();
                            assert_eq!(translation.translated, pid(there));
                            let levels = translation.levels.iter().map(|it| it.pid.as_u32());
                            assert_eq!(levels.collect::<Vec<_>>(), nspid(process));
                        }
                        None => assert_eq!(
                            scanned.unwrap_err().to_string(),
                            format!("process {process} is not visible in {to_id}")
                        ),
                    }
                    count += 1;
                }
            }
        }
    }
    count
}

#[test]
fn kernel_scan_and_status_agree_between_33_levels() {
    needs!(Namespaces);
    // In a container, fewer levels can be nested.
    let depth = levels_left();
    let (_nest, inits) = nest(depth);
    let both = (depth + 1) * (depth + 2) - 2;
    assert_eq!(agree(&[inits]), both * (depth + 1));
}

#[test]
fn kernel_and_scan_agree_on_sibling_namespaces() {
    needs!(Namespaces);
    let nests = [2, 1, 4, 3].map(nest);
    let inits: Vec<_> = nests.iter().map(|(_, inits)| inits.clone()).collect();
    // Each of the ten namespaces has two processes. Each process is visible in its own namespace
    // and all ancestors, and is translated from each of these to all 11 namespaces.
    assert_eq!(agree(&inits), 2 * (2 + 3 + 2 + 2 + 3 + 4 + 5 + 2 + 3 + 4) * 11);
}

#[test]
fn kernel_and_scan_give_the_same_errors() {
    needs!(Namespaces);
    let (_nest, inits) = nest(2);
    let sleep = sleep_of(inits[1]);
    let request = Request {
        procfs: "/proc".into(),
        search: SearchScope::default_set(),
        details: [].into(),
        environment: [].into(),
        collector: Collector::Auto,
    };
    let graph = PidGraph::new(collect::collect(&request).unwrap().snapshot);
    let host = std::process::id();
    let of = |raw| Some(NamespaceRef::Of(pid(raw)));
    let id = |raw| Some(NamespaceRef::Id(namespace_of(raw).parse().unwrap()));
    let gone = Some(NamespaceRef::Id("pid:[5]".parse().unwrap()));
    let namespaces = [None, of(host), id(host), of(inits[0]), id(inits[1]), of(4_000_000), gone];
    let mut served = 0;
    for raw in [1, 2, host, inits[1], sleep, 4_000_000] {
        for from in namespaces {
            for to in namespaces {
                let (named_from, named_to) =
                    (from.map(NamespaceHandle::by), to.map(NamespaceHandle::by));
                let (named_from, named_to) = (named_from.as_ref(), named_to.as_ref());
                let proc = Path::new("/proc");
                let asked = collect::translate(proc, &[pid(raw)], named_from, named_to);
                if let Some(asked) = asked.unwrap() {
                    let scanned = query::translate(&graph, pid(raw), from, to).map(|one| vec![one]);
                    assert_eq!(asked, scanned, "{raw} from {from:?} to {to:?}");
                    served += 1;
                } else {
                    assert!(from == gone || to == gone, "{raw} from {from:?} to {to:?}");
                }
            }
        }
    }
    assert!(served > 200, "{served}");
}

/// Runs `pidns translate`. Returns the PID or the error message that it printed.
fn translate(arguments: &[&str]) -> Result<u32, String> {
    let output = pidns(&[&["translate"], arguments].concat());
    match output.status.code() {
        Some(0) => Ok(stdout(&output).trim_end().parse().expect("is a number")),
        Some(1) => {
            assert!(output.stdout.is_empty());
            Err(String::from_utf8(output.stderr).unwrap())
        }
        other => panic!("{arguments:?}: {other:?}"),
    }
}

#[test]
fn translate_gives_the_same_answer_live_and_replayed() {
    needs!(Namespaces);
    let (_nest, inits) = nest(3);
    let process = sleep_of(inits[2]);
    let levels = [std::process::id(), inits[0], inits[1], inits[2]];
    let numbers = nspid(process);
    let dir = tempfile::tempdir().unwrap();
    let saved = dir.path().join("saved.yaml");
    std::fs::write(&saved, stdout(&pidns(&["-q", "-f", "yaml"]))).unwrap();
    let saved = saved.to_str().unwrap();
    let number = |level: usize| numbers[level].to_string();
    let inode = |level: usize| {
        let id = namespace_of(levels[level]);
        id.trim_start_matches("pid:[").trim_end_matches(']').to_owned()
    };
    let of = |level: usize| format!("@{}", levels[level]);
    for (arguments, expected) in [
        (vec![number(0)], Ok(numbers[3])),
        (vec![number(2), "--from".into(), of(2)], Ok(numbers[0])),
        (vec![number(2), "--from".into(), inode(2)], Ok(numbers[0])),
        (vec![number(2), "--from".into(), namespace_of(inits[1])], Ok(numbers[0])),
        (vec![number(0), "--to".into(), inode(1)], Ok(numbers[1])),
        (vec![number(1), "--from".into(), of(1), "--to".into(), of(3)], Ok(numbers[3])),
        (vec![number(3), "--from".into(), inode(3), "--to".into(), inode(2)], Ok(numbers[2])),
        (vec![number(0), "--to".into(), "5".into()], Err("pidns: no namespace pid:[5]".to_owned())),
        (
            vec!["1".into(), "--to".into(), of(1)],
            Err(format!("pidns: process 1 is not visible in {}\n", namespace_of(inits[0]))),
        ),
        (
            vec!["4000000".into(), "--from".into(), of(1)],
            Err(format!("pidns: no process 4000000 in {}", namespace_of(inits[0]))),
        ),
    ] {
        let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
        for answer in [translate(&arguments), translate(&[&arguments, &["-i", saved][..]].concat())]
        {
            match (&answer, &expected) {
                (Ok(one), Ok(other)) => assert_eq!(one, other, "{arguments:?}"),
                (Err(one), Err(other)) => assert!(one.starts_with(other), "{one}"),
                _ => panic!("{arguments:?}: {answer:?}"),
            }
        }
    }
    let file = format!("/proc/{}/ns/pid", inits[1]);
    assert_eq!(translate(&[&number(2), "--from", &file]), Ok(numbers[0]));
}

#[test]
fn a_thread_is_not_a_process() {
    needs!(Program("python3"));
    // The kernel also translates thread IDs, but pidns must only accept PIDs of processes.
    let (running, names) = start_command(Command::new("python3").args([
        "-c",
        "import threading, time\n\
         t = threading.Thread(target=time.sleep, args=(600,)); t.start()\n\
         print('thread', t.native_id); print('ready', flush=True)",
    ]));
    let tid = names["thread"].to_string();
    assert_ne!(names["thread"], running.pid());
    assert_eq!(translate(&[&tid]), Err(format!("pidns: no process {tid}\n")));
    assert_eq!(translate(&[&running.pid().to_string()]), Ok(running.pid()));
}

#[test]
fn the_json_has_every_level_and_matches_its_schema() {
    needs!(Namespaces);
    let (_nest, inits) = nest(2);
    let output = pidns(&["translate", &inits[1].to_string(), "-f", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let schema = stdout(&pidns(&["schema", "translation"]));
    let schema: serde_json::Value = serde_json::from_str(&schema).unwrap();
    let validator = jsonschema::validator_for(&schema).unwrap();
    let errors: Vec<_> = validator.iter_errors(&json).map(|error| error.to_string()).collect();
    assert!(errors.is_empty(), "{errors:?}");
    let levels = json["levels"].as_array().unwrap();
    let pids: Vec<_> = levels.iter().map(|level| level["pid"].as_u64().unwrap()).collect();
    assert_eq!(pids, nspid(inits[1]).into_iter().map(u64::from).collect::<Vec<_>>());
    assert_eq!(json["to"], namespace_of(inits[1]).as_str());
    assert_eq!(json["from"], namespace_of(std::process::id()).as_str());
    assert_eq!(json["translated"], 1);
    // The schema must describe all keys of the output.
    let named: Vec<_> = schema["properties"].as_object().unwrap().keys().collect();
    assert_eq!(json.as_object().unwrap().keys().collect::<Vec<_>>(), named);
}

#[test]
fn several_pids_are_translated_in_order_or_not_at_all() {
    needs!(Namespaces);
    let (_nest, inits) = nest(2);
    let saved = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(saved.path(), stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let replay = ["-i", saved.path().to_str().unwrap()];
    let (outer, inner) = (inits[0].to_string(), sleep_of(inits[1]).to_string());
    let to = format!("@{}", inits[0]);
    let numbers = [nspid(sleep_of(inits[1]))[1], 1];
    for origin in [&replay[..], &[]] {
        let arguments = [&["translate", &inner, &outer, "--to", &to], origin].concat();
        let text = stdout(&pidns(&arguments));
        assert_eq!(text, format!("{}\n{}\n", numbers[0], numbers[1]));
        // The JSON output has one line for each PID.
        let json = stdout(&pidns(&[&arguments[..], &["-f", "json"]].concat()));
        let values: Vec<serde_json::Value> =
            json.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        let translated: Vec<_> = values.iter().map(|value| &value["translated"]).collect();
        assert_eq!(translated, [numbers[0], numbers[1]]);
        assert_eq!(values[0]["pid"].to_string(), inner);
        let missing = [&["translate", &inner, "4000000", &outer], origin].concat();
        let output = pidns(&missing);
        assert_eq!((output.status.code(), &*output.stdout), (Some(1), &b""[..]));
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(said.starts_with("pidns: no process 4000000"), "{said}");
    }
}

#[test]
fn a_foreign_proc_is_translated_by_a_scan() {
    needs!(Namespaces);
    let (_nest, inits) = nest(2);
    // Run pidns in a new PID namespace, with the host's /proc at /mnt.
    let inner = inits[1].to_string();
    let script = "mount --bind /proc /mnt && \
         exec unshare -pf --mount-proc $1 translate $2 --procfs /mnt";
    let output = run(&mut in_mount_namespace(script, &[PIDNS, &inner]));
    assert_eq!(stdout(&output), "1\n");
}
