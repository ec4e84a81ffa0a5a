//! Tests that pidns needs at most 40 bytes of memory for each byte of an untrusted document, and
//! reads the document in bounded time.

mod common;

use std::process::Command;
use std::time::{Duration, Instant};

use common::*;
use nix::sys::resource::{UsageWho, getrusage};

/// Size of each test document in bytes. The kernel reports the peak memory of all child processes
/// together, which can only grow, so all documents have the same size and the same limit.
const SIZE: usize = 128 * 1024;

/// The first bytes of a JSON document, and of a YAML document.
const BEGIN: [&str; 2] = ["{\"schema_version\": \"1.0\", ", "schema_version: \"1.0\"\n"];

/// The first bytes of an NDJSON record.
const RECORD: &str = "{\"schema_version\": \"1.0\", \"captured_at\": \"2026-11-25T00:00:00Z\", \
    \"host\": {\"hostname\": null, \"kernel_release\": null, \"boot_id\": null}, \"record\": ";

/// The shortest possible diagnostic.
const DIAGNOSTIC: &str = "{\"code\": \"x\", \"severity\": \"warning\", \"message\": \"\", \
    \"errno\": null, \"pids\": []}";

/// Returns the peak memory of all child processes so far, in bytes.
fn peak() -> usize {
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).expect("RUSAGE_CHILDREN is supported");
    usize::try_from(usage.max_rss()).expect("is not negative") * 1024
}

/// Runs pidns with a document as input, and returns its standard error.
fn said_of(document: &str) -> String {
    let mut pidns = Command::new(PIDNS);
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("document");
    std::fs::write(&path, document).unwrap();
    let output = run(pidns.args(["-f", "json", "-i"]).arg(path));
    String::from_utf8(output.stderr).expect("is text")
}

/// Builds a document that consists of `begin` and repetitions of `again`. Its size is close to
/// [`SIZE`] bytes.
fn of(begin: &str, again: &str) -> String {
    let mut document = begin.to_owned();
    document.extend(std::iter::repeat_n(again, (SIZE - begin.len()) / again.len()));
    document
}

/// Builds a document that consists of `begin`, `word(0)`, `word(1)` and so on, of at most [`SIZE`]
/// bytes.
fn of_words(begin: &str, word: impl Fn(usize) -> String) -> String {
    let mut document = begin.to_owned();
    for index in 0.. {
        let word = word(index);
        if document.len() + word.len() > SIZE {
            break;
        }
        document.push_str(&word);
    }
    document
}

/// Returns the JSON of a valid process.
fn process(pid: usize) -> String {
    format!(
        "{{\"pid\": {pid}, \"ppid\": null, \"namespace\": null, \"nspid\": [], \"comm\": \
         \"sleep\", \"args\": null, \"state\": \"S\", \"uid\": 0, \"user\": null, \"threads\": 1, \
         \"start_time\": {pid}, \"kernel_thread\": false, \"namespaces\": null, \"cgroup\": \
         null, \"evidence\": \"kernel\"}}"
    )
}

/// Builds a valid NDJSON document of [`SIZE`] bytes.
fn sound_records() -> String {
    let record =
        |index: usize| format!("{RECORD}\"process\", \"process\": {}}}\n", process(index + 1));
    let processes = of_words("", record);
    let head = format!(
        "{RECORD}\"snapshot\", \"snapshot\": {{\"generator\": {{\"name\": \"pidns\", \"version\": \
         \"1\"}}, \"procfs\": {{\"path\": \"/proc\", \"own\": true, \"namespace\": null}}, \
         \"searched\": [], \"details\": [], \"selected\": [], \"complete\": true, \"roots\": [], \
         \"counts\": {{\"namespace\": 0, \"process\": {}, \"diagnostic\": 0}}}}}}\n",
        processes.lines().count()
    );
    head + &processes
}

/// Builds a valid JSON document of [`SIZE`] bytes.
fn sound() -> String {
    let begin = format!(
        "{}\"generator\": {{\"name\": \"pidns\", \"version\": \"1\"}}, \"captured_at\": \
         \"2026-11-25T00:00:00Z\", \"host\": {{\"hostname\": null, \"kernel_release\": null, \
         \"boot_id\": null}}, \"procfs\": {{\"path\": \"/proc\", \"own\": true, \"namespace\": \
         null}}, \"searched\": [\"processes\"], \"details\": [], \"selected\": [], \"complete\": \
         true, \"roots\": [], \"namespaces\": [], \"diagnostics\": [], \"processes\": [",
        BEGIN[0]
    );
    let separator = |index| if index == 0 { "" } else { ", " };
    of_words(&begin, |index| format!("{}{}", separator(index), process(index + 1))) + "]}"
}

#[test]
fn memory_is_proportional_to_the_size_of_any_document() {
    let [json, yaml] = BEGIN;
    let nested = |open: &str, depth: usize| format!("{yaml}x: {}", open.repeat(depth));
    let documents = [
        sound(),
        format!("--- {}", sound()),
        sound_records(),
        // Many small values of fields that pidns knows, and therefore keeps in memory.
        of(&format!("{json}\"processes\": [{{\"args\": ["), "\"\","),
        of(&format!("{yaml}processes: [{{args: ["), "a,"),
        of(&format!("{json}\"diagnostics\": [{{\"pids\": ["), "1,"),
        of(&format!("{json}\"roots\": ["), "\"pid:[1]\","),
        of(&format!("{json}\"selected\": ["), "{\"by\":\"\",\"values\":[]},"),
        of(&format!("{json}\"namespaces\": [{{\"holders\": ["), "{\"kind\":\"x\"},"),
        of_words(&format!("{json}\"searched\": ["), |index| format!("\"w{index:x}\",")),
        of_words(&format!("{json}\"processes\": [{{\"namespaces\": {{"), |index| {
            format!("\"{index:x}\":1,")
        }),
        of("", &format!("{RECORD}\"diagnostic\", \"diagnostic\": {DIAGNOSTIC}}}\n")),
        of(&format!("{RECORD}\"diagnostic\", \"diagnostic\": {{\"pids\": ["), "1,"),
        of_words("", |index| format!("{RECORD}\"k{index:x}\"}}\n")),
        // Many snapshots with a single record each.
        of_words("", |index| RECORD.replacen("null", &format!("\"h{index:x}\""), 1) + "\"x\"}\n"),
        // A single large value.
        of(&format!("{json}\"captured_at\": \""), "x"),
        of(&format!("{yaml}captured_at: \""), "\\u0041"),
        of(&format!("{yaml}captured_at: |\n"), "  x\n"),
        of(&format!("{yaml}captured_at: x"), "\n\n x"),
        of(yaml, "k"),
        of(&format!("{yaml}? "), "k"),
        of(&format!("{yaml}complete: "), "1"),
        of(&format!("{RECORD}\""), "x"),
        of(&format!("{RECORD}\"x\"}}\n"), " "),
        // Values of fields that pidns does not know, and therefore ignores.
        of(&format!("{RECORD}\"x\", \"y\": ["), "[],"),
        of(&format!("{RECORD}\"x\"}}\n"), "\n"),
        of(&format!("{json}\"x\": ["), "[],"),
        of(&format!("{json}\"x\": ["), "{\"a\":1},"),
        of(&format!("{json}\"x\": "), "["),
        of(&format!("{yaml}x: ["), "a,"),
        of(&format!("{yaml}x: {{"), ":,"),
        of(&format!("{yaml}x: ["), "!a b,"),
        of(&format!("{yaml}x:\n"), "- a\n"),
        of(&format!("{yaml}x:\n"), "  - - - - a\n"),
        of(&format!("{yaml}x:\n"), " ?\n"),
        of_words(&format!("{yaml}x:\n"), |index| format!(" {index:x}: 1\n")),
        of(yaml, "# a\n"),
        of(yaml, "\n"),
        of(yaml, "\r"),
        // Line breaks, and characters that are line breaks in YAML 1.1 only.
        of("", "a:\n"),
        of("", "a:\r"),
        of("", "a:\u{85}"),
        of("", "a:\u{2028}"),
        of("", "x: 1\r"),
        // YAML with anchors, with several documents, or with directives.
        of(&format!("{yaml}x: &a a\ny:\n"), "- *a\n"),
        of(&format!("{yaml}x:\n"), "- &a a\n"),
        of("", "---\n"),
        of(yaml, "---\nx: 1\n"),
        of("", "%TAG !a! b\n"),
    ];
    said_of("");
    assert_memory(documents);

    // The parser also needs stack memory for nested collections, up to a fixed limit. Parse the
    // deepest nesting first, so that this memory is not counted for the documents below.
    said_of(&nested("[", 200));
    assert_memory([
        of(&nested("[", 120), "a,"),
        of(&nested("[", 5_000), "a,"),
        of(&nested("- ", 1), "- "),
        of(&nested("{a: ", 120), "a, b: "),
        of(&nested("", 0), "["),
        of_words(&format!("{yaml}x:\n"), |index| format!("{}a:\n", " ".repeat(index + 1))),
    ]);
}

/// Asserts that pidns needs at most 40 bytes of memory for each byte of a document, in addition to
/// the peak memory of earlier child processes.
fn assert_memory(documents: impl IntoIterator<Item = String>) {
    let base = peak();
    for document in documents {
        let begin: String = document.chars().take(60).collect();
        let start = Instant::now();
        let said = said_of(&document);
        assert!(said.lines().count() <= 1 && said.chars().count() < 400, "{begin}: {said}");
        assert!(start.elapsed() < Duration::from_secs(60), "{begin}: {:?}", start.elapsed());
        let cost = peak() - base;
        assert!(cost <= 40 * SIZE, "{begin}: {} bytes for each", cost / SIZE);
    }
}

#[test]
fn an_error_names_yaml_aliases() {
    let bomb = "a: &a [x, x]\nb: &b [*a, *a]\nschema_version: *b\n";
    assert!(said_of(bomb).contains("anchors and aliases are not supported at line 1"));
}

#[test]
fn an_error_names_a_second_input() {
    let twice = pidns(&["-i", "a.json", "-i", "b.json"]);
    assert_eq!(twice.status.code(), Some(2));
    let expected = "pidns: --input is given more than once; pidns reads one document at a time\n";
    assert_eq!(String::from_utf8_lossy(&twice.stderr), expected);
    let translate = pidns(&["translate", "1", "-i", "a.json", "--input=b.json"]);
    assert_eq!(String::from_utf8_lossy(&translate.stderr), expected);
}
