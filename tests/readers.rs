//! Tests that YAML parsers for version 1.1 and 1.2 read all names in the output of pidns unchanged:
//! PyYAML, ruamel.yaml, yq and the npm package yaml.

mod common;

use std::process::Command;

use common::Need::*;
use common::*;
use serde_json::{Value, json};

/// Path of Debian's Python, which can import the modules in Debian packages. PATH may contain
/// another Python.
const PYTHON: &str = "/usr/bin/python3";

/// Names that must be quoted: some YAML parser would otherwise reject them or not read them as
/// strings.
const WORDS: &[&str] = &[
    // Nulls, booleans, numbers, times and merge keys of YAML 1.1, of 1.2, or of one parser only.
    "~",
    "null",
    "Null",
    "NULL",
    "nil",
    "none",
    "None",
    "undefined",
    "y",
    "Y",
    "n",
    "N",
    "yes",
    "Yes",
    "YES",
    "no",
    "No",
    "NO",
    "on",
    "On",
    "ON",
    "off",
    "Off",
    "OFF",
    "true",
    "True",
    "TRUE",
    "false",
    "False",
    "FALSE",
    "t",
    "f",
    "nan",
    "NaN",
    ".nan",
    ".NaN",
    ".NAN",
    "inf",
    ".inf",
    "-.inf",
    "+.inf",
    ".Inf",
    "Infinity",
    "-Infinity",
    "0x1f",
    "0X1F",
    "0b101",
    "0o17",
    "017",
    "0o8",
    "089",
    "1_000",
    "1_000.5",
    "_1",
    "1_",
    "0x_",
    "0b_",
    "1e3",
    "1E3",
    "1e+3",
    "1.e3",
    ".5e1",
    "1e",
    "e1",
    "+1",
    "-1",
    "+.5",
    "1,000",
    "0.1.0",
    "6.18.44",
    "12:30:45",
    "1:00",
    "190:20:30.15",
    "0:0",
    "-1:30",
    "2026-11-25",
    "2026-1-5",
    "2026-11-23T14:28:00.123456Z",
    "2001-12-14t21:59:43.10-05:00",
    "2001-12-14 21:59:43.10 -5",
    "2026-13-45",
    "<<",
    "=",
    "!",
    // Characters of the YAML syntax.
    "!!x",
    "!x",
    "!!binary aGk=",
    "&a",
    "*a",
    "%",
    "%YAML 1.2",
    "%TAG ! b",
    "@",
    "@a",
    "`",
    "`a",
    "-",
    "--",
    "---",
    "--- a",
    "-a",
    "- a",
    "- y: [no",
    "...",
    "... a",
    "?",
    "? a",
    ":",
    ": a",
    "a:",
    "a: b",
    ":a",
    "a:b",
    "pid:[4026531836]",
    "#",
    "# a",
    "a #b",
    "a#b",
    "|",
    "|-",
    ">",
    ">+",
    "[",
    "]",
    "[]",
    "[a]",
    "{",
    "}",
    "{}",
    "{a: b}",
    "{a|b}",
    ",",
    ",a",
    "a,b",
    "'",
    "''",
    "'a'",
    "\"",
    "\"\"",
    "\"a\"",
    "it's",
    "\\",
    "\\n",
    "\\x41",
    "\\u0041",
    "\\",
    "a\\",
    "${HOME}",
    "$HOME",
    "{{ a }}",
    "<b>&amp;",
    "",
    // Spaces, and the line breaks of YAML 1.1 and 1.2.
    " ",
    "  ",
    " a",
    "a ",
    " a ",
    "\t",
    "\ta",
    "a\t",
    "a\tb",
    "\n",
    "a\nb",
    "\na",
    "a\n",
    "a\n\n",
    "\r",
    "a\rb",
    "a\r\nb",
    "\u{85}",
    "a\u{85}b",
    "\u{2028}",
    "a\u{2028}b",
    "\u{2029}",
    "a\u{2029}b",
    "\u{b}",
    "\u{c}",
    "\u{a0}",
    "\u{a0}a",
    "\u{3000}",
    "a\n b",
    "a\n\n\n b",
    "\n---\n",
    "a\n...\n",
    // Characters that YAML or a terminal requires to be escaped.
    "\u{1}",
    "\u{7}",
    "\u{8}",
    "\u{1b}[31mred",
    "\u{1f}",
    "\u{7f}",
    "\u{80}",
    "\u{9b}31m",
    "\u{9f}",
    "\u{ad}",
    "\u{200b}",
    "\u{200d}",
    "\u{200f}",
    "\u{202e}abc",
    "\u{2066}a",
    "\u{feff}",
    "\u{feff}a",
    "a\u{feff}",
    "\u{fffd}",
    "\u{fffd}\u{fffd}",
    "\u{fffe}",
    "\u{ffff}",
    "\u{d7ff}",
    "\u{e000}",
    "é",
    "e\u{301}",
    "日本",
    "\u{1f600}",
    "a\u{1f600}b",
    "\u{1f468}\u{200d}\u{1f469}",
    "\u{10000}",
    "\u{1fffe}",
    "\u{e0041}",
    "\u{10ffff}",
    // A line so long that a YAML emitter might break it.
    "a very long name of a mount point with blanks, longer than any line that a writer of YAML takes \
     for right, and  with  two  blanks",
];

/// The characters in the strings that [`short`] returns.
const LETTERS: &str = "017.:-+_ex~ =<";

/// Returns all strings of one to three characters from [`LETTERS`].
fn short() -> Vec<String> {
    let mut all = Vec::new();
    let mut longest = vec![String::new()];
    for _ in 0..3 {
        longest = longest
            .iter()
            .flat_map(|text| LETTERS.chars().map(move |letter| format!("{text}{letter}")))
            .collect();
        all.extend(longest.iter().cloned());
    }
    all
}

/// Returns a document with [`WORDS`] as process names, as keys, and in each other field with text
/// that users can choose. The strings of [`short`] are arguments of a process, because parsers read
/// arguments fastest.
fn document() -> Value {
    let process = |(index, &name): (usize, &&str)| {
        json!({
            "pid": index + 1, "ppid": null, "namespace": null, "nspid": [], "comm": name,
            "args": null, "state": "S", "uid": 0, "user": null, "threads": 1, "start_time": null,
            "kernel_thread": false, "namespaces": null, "cgroup": name, "container": null,
            "tracer": null, "frozen": false, "evidence": "kernel",
        })
    };
    let mut processes: Vec<Value> = WORDS.iter().enumerate().map(process).collect();
    let keys = WORDS.iter().map(|&word| (word.to_owned(), json!(7)));
    processes[0]["namespaces"] = keys.collect::<serde_json::Map<_, _>>().into();
    processes[0]["args"] = short().into();
    processes[0]["user"] = json!("no");
    json!({
        "schema_version": "1.0",
        "generator": {"name": "pidns", "version": "1.0"},
        "captured_at": "2026-11-23T14:28:00Z",
        "host": {"hostname": "1e3", "kernel_release": "6.18", "boot_id": null},
        "procfs": {"path": "<<", "own": true, "namespace": null},
        "observer": null,
        "searched": ["processes"],
        "details": ["args", "namespaces", "cgroup"],
        "selected": [{"by": "comm", "values": WORDS}],
        "complete": true,
        "roots": [],
        "namespaces": [],
        "processes": processes,
        "limits": null,
        "diagnostics": [],
    })
}

/// Returns the [`document`], and the output of pidns for it in this format.
fn written(format: &str) -> (Value, String) {
    let document = document();
    let replay = &mut Command::new(PIDNS);
    (
        document.clone(),
        pipe(replay.args(["-i", "-", "-f", format]), document.to_string().as_bytes()),
    )
}

/// Runs a program that converts YAML to JSON, and asserts that it reads the [`document`] unchanged.
fn reads_the_same(reader: &mut Command) {
    let (document, yaml) = written("yaml");
    let read = pipe(reader, yaml.as_bytes());
    let read: Value = serde_json::from_str(&read).expect("is JSON");
    if read != document {
        let both = document["processes"]
            .as_array()
            .unwrap()
            .iter()
            .zip(read["processes"].as_array().unwrap());
        let other: Vec<_> = both.filter(|(one, other)| one != other).take(5).collect();
        panic!("{other:#?} of {:#}", read["generator"]);
    }
}

#[test]
fn pidns_reads_back_every_format_that_it_writes() {
    let document = document();
    for text in ["json", "ndjson", "yaml"].map(|format| written(format).1) {
        let json = pipe(Command::new(PIDNS).args(["-i", "-", "-f", "json"]), text.as_bytes());
        assert!(serde_json::from_str::<Value>(&json).unwrap() == document);
    }
}

#[test]
fn yaml_on_a_terminal_contains_no_control_characters() {
    let (_, yaml) = written("yaml");
    let harmful =
        |c: char| c != '\n' && (c.is_control() || "\u{2028}\u{2029}\u{202e}\u{feff}".contains(c));
    assert_eq!(yaml.chars().find(|&c| harmful(c)), None);
    assert!(yaml.starts_with("schema_version: \"1.0\"\n"), "{yaml:.100}");
    assert!(yaml.contains("\ncaptured_at: \"2026-11-23T14:28:00Z\"\n"), "{yaml:.300}");
}

#[test]
fn pyyaml_reads_every_name_unchanged() {
    needs!(Program("python3"));
    let script = "import json, sys, yaml\njson.dump(yaml.safe_load(sys.stdin.buffer), sys.stdout)";
    reads_the_same(Command::new(PYTHON).args(["-c", script]));
}

#[test]
fn pyyaml_with_libyaml_reads_every_name_unchanged() {
    needs!(Program("python3"));
    let script = "import json, sys, yaml\n\
        json.dump(yaml.load(sys.stdin.buffer, yaml.CSafeLoader), sys.stdout)";
    reads_the_same(Command::new(PYTHON).args(["-c", script]));
}

#[test]
fn ruamel_reads_every_name_unchanged() {
    needs!(Program("python3"));
    for version in ["1, 1", "1, 2"] {
        let script = format!(
            "import json, sys, ruamel.yaml\n\
             yaml = ruamel.yaml.YAML(typ='safe', pure=True)\n\
             yaml.version = ({version})\n\
             json.dump(yaml.load(sys.stdin.buffer), sys.stdout)"
        );
        reads_the_same(Command::new(PYTHON).args(["-c", &script]));
    }
}

#[test]
fn npm_yaml_reads_every_name_unchanged() {
    needs!(Program("node"));
    for version in ["1.1", "1.2"] {
        let script = format!(
            "const text = require('fs').readFileSync(0, 'utf8');\n\
             const options = {{version: '{version}', merge: true, strict: true}};\n\
             process.stdout.write(JSON.stringify(require('yaml').parse(text, options)));"
        );
        // Search the directory of Debian's Node.js packages, even if node is not from Debian.
        let node = &mut Command::new("node");
        reads_the_same(node.env("NODE_PATH", "/usr/share/nodejs").args(["-e", &script]));
    }
}

#[test]
fn yq_reads_every_name_unchanged() {
    needs!(Program("yq"));
    reads_the_same(Command::new("yq").arg("."));
}
