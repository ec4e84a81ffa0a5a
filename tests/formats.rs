//! Tests that each format escapes process names with special characters. Programs that read the
//! output check this: dot, a YAML parser and a JSON Schema validator.

mod common;

use std::ffi::OsStr;
use std::os::unix::ffi::OsStrExt as _;
use std::os::unix::fs::symlink;
use std::process::Command;

use common::Need::*;
use common::*;

/// Process names with special characters, and the same names as pidns writes them in documents.
const NAMES: [(&[u8], &str); 14] = [
    (b"a\nb", "a\nb"),
    (b"\x1b[31mred", "\u{1b}[31mred"),
    (b") S 1 (", ") S 1 ("),
    (b"\"q'\"", "\"q'\""),
    (b"back\\slash\\n", "back\\slash\\n"),
    (b"<b>&amp;<b>", "<b>&amp;<b>"),
    (b"{a|b}", "{a|b}"),
    (b"\xff\xfe", "\u{fffd}\u{fffd}"),
    (b"\xe2\x80\xaeabc", "\u{202e}abc"),
    (b"- y: [no", "- y: [no"),
    (b" ", " "),
    (b"##[error]x", "##[error]x"),
    (b"a##vso[x]", "a##vso[x]"),
    (b"::error::x", "::error::x"),
];

/// Starts a process for each name in [`NAMES`].
fn hostile() -> Vec<Running> {
    let dir = tempfile::tempdir().unwrap();
    let run = |name: &[u8]| {
        let program = dir.path().join(OsStr::from_bytes(name));
        symlink("/bin/sleep", &program).unwrap();
        Running::spawn(Command::new(program).arg("600"))
    };
    NAMES.map(|(name, _)| run(name)).into()
}

#[test]
fn hostile_names_are_escaped_in_every_format() {
    needs!(Program("jq"), Program("dot"));
    let running = hostile();
    let pids: Vec<u32> = running.iter().map(Running::pid).collect();
    let json = stdout(&pidns(&["-q", "-f", "json"]));
    let document = Document::read(&json);
    let names: Vec<_> = pids.iter().map(|&pid| document.process(pid).comm.as_str()).collect();
    assert_eq!(names, NAMES.map(|(_, name)| name));

    let yaml = stdout(&pidns(&["-q", "-f", "yaml"]));
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml).expect("is YAML");
    let read_back = Document::read(&yaml.to_string());
    let names: Vec<_> = pids.iter().map(|&pid| read_back.process(pid).comm.as_str()).collect();
    assert_eq!(names, NAMES.map(|(_, name)| name));

    for (&pid, (_, name)) in pids.iter().zip(NAMES) {
        let filter = format!(".processes[] | select(.pid == {pid}) | .comm");
        let printed = pipe(Command::new("jq").args(["-j", &filter]), json.as_bytes());
        assert_eq!(printed, name);
    }

    let text = stdout(&pidns(&["-q", "--color", "never"]));
    assert!(!text.chars().any(|c| (c.is_control() && c != '\n') || c == '\u{202e}'), "{text:?}");
    for shown in
        ["a\\nb\n", "\\x1b[31mred\n", "\\u{202e}abc\n", "\u{fffd}\u{fffd}\n", "<b>&amp;<b>\n"]
    {
        assert!(text.contains(shown), "{shown} in {text}");
    }

    let dot = stdout(&pidns(&["-q", "-f", "dot"]));
    let svg = pipe(Command::new("dot").arg("-Tsvg"), dot.as_bytes());
    for shown in [
        "a\\nb",
        "\\x1b[31mred",
        "&lt;b&gt;&amp;amp;&lt;b&gt;",
        "{a|b}",
        "\\u{202e}abc",
        "- y: [no",
    ] {
        assert!(
            svg.contains(&shown.replace("- y", "&#45; y")) || svg.contains(shown),
            "{shown} in {svg}"
        );
    }
}

#[test]
fn no_format_writes_a_name_as_a_command_to_a_ci_system() {
    let dir = tempfile::tempdir().unwrap();
    let before = dir.path().join("before").to_str().unwrap().to_owned();
    std::fs::write(&before, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let _running = hostile();
    let is_command = |line: &str| line.contains("##") || line.trim_start().starts_with("::");
    for format in ["text", "json", "ndjson", "yaml", "dot", "mermaid", "openmetrics"] {
        for layout in ["--no-fold", "--pretty"] {
            let written = stdout(&pidns(&["-q", "-f", format, layout, "--details", "args"]));
            let command = written.lines().find(|line| is_command(line));
            assert_eq!(command, None, "{format}");
        }
    }
    let text = stdout(&pidns(&["-q", "--no-fold", "--color", "never"]));
    // GitHub obeys `::` only at the start of a line.
    for shown in ["#\\x23[error]x\n", "a#\\x23vso[x]\n", " ::error::x\n"] {
        assert!(text.contains(shown), "{shown} in {text}");
    }
    // pidns itself writes headings, and annotations for GitHub.
    let own = ["### ", "::error title=pidns", "::warning title=pidns"];
    let is_hostile = |line: &&str| match own.iter().find_map(|it| line.strip_prefix(it)) {
        Some(rest) => rest.contains("##"),
        None => is_command(line),
    };
    for format in ["text", "json", "github", "junit", "markdown"] {
        let since = ["check", "-q", "-f", format, "--details", "args", "--since", &before];
        let written = String::from_utf8(pidns(&since).stdout).unwrap();
        assert_eq!(written.lines().find(is_hostile), None, "{format}");
        // GitHub shows only ten annotations.
        assert!(format == "github" || written.contains("vso"), "{written}");
    }
}

#[test]
fn json_and_yaml_hold_the_same_document() {
    // Convert the JSON to YAML, since two live runs differ in the time and in the PID of pidns.
    let text = stdout(&pidns(&["-q", "-f", "json"]));
    let yaml = pipe(Command::new(PIDNS).args(["-q", "-i", "-", "-f", "yaml"]), text.as_bytes());
    let json: serde_json::Value = serde_json::from_str(&text).unwrap();
    let yaml: serde_json::Value = serde_yaml::from_str(&yaml).unwrap();
    assert_eq!(json, yaml);
    let order = |value: &serde_json::Value| -> Vec<String> {
        value.as_object().unwrap().keys().cloned().collect()
    };
    assert_eq!(order(&json), order(&yaml));
}

#[test]
fn json_is_compact_in_a_pipe_and_pretty_when_asked() {
    let compact = stdout(&pidns(&["-q", "-f", "json"]));
    assert_eq!(compact.matches('\n').count(), 1);
    let pretty = stdout(&pidns(&["-q", "-f", "json", "--pretty"]));
    assert!(
        pretty.starts_with("{\n  \"schema_version\": \"1.0\",\n  \"generator\": {\n"),
        "{pretty}"
    );
    Document::read(&pretty);
}

#[test]
fn a_terminal_gets_colours_and_indented_json() {
    needs!(Program("script"));
    // script(1) runs pidns on a pseudoterminal.
    let on_terminal = |command: &str, env: &[(&str, &str)]| {
        let mut script = Command::new("script");
        script.args(["-qec", &format!("{PIDNS} -q {command}"), "/dev/null"]);
        script.env("TERM", "xterm").env_remove("NO_COLOR").envs(env.iter().copied());
        stdout(&run(&mut script))
    };
    assert!(on_terminal(HOST, &[]).contains("\u{1b}[1mnginx\u{1b}[0m, docker "));
    assert!(!on_terminal(HOST, &[("NO_COLOR", "1")]).contains('\u{1b}'));
    assert!(!on_terminal(&format!("{HOST} --color never"), &[]).contains('\u{1b}'));
    assert!(on_terminal("-f json", &[]).starts_with("{\r\n  \"schema_version\""));
    let host = HOST.split_once(' ').unwrap().1;
    let piped = stdout(&pidns(&["-q", "-i", host]));
    assert!(!piped.contains('\u{1b}'));
    assert!(stdout(&pidns(&["-i", host, "--color", "always"])).contains('\u{1b}'));
}

/// The option that makes pidns read the sample document.
const HOST: &str = concat!("-i ", env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/host.json");

#[test]
fn text_wraps_at_the_terminals_width_and_not_in_a_pipe() {
    let at = |columns: usize| {
        let command = format!("stty cols {columns}; {PIDNS} --color never {HOST}");
        let text = stdout(&run(Command::new("script").args(["-qec", &command, "/dev/null"])));
        let lines = text.lines().map(|line| line.chars().count());
        (lines.clone().max().unwrap_or(0), lines.count())
    };
    let (narrow, wide) = (at(40), at(200));
    assert!(narrow.0 <= 40 && wide.0 > 80 && narrow.1 > wide.1, "{narrow:?} {wide:?}");
    // A terminal that reports a width of 0 columns counts as 80 columns wide.
    assert!(at(0).0 <= 80);
    let piped = stdout(&pidns(&["-i", HOST.split_once(' ').unwrap().1]));
    assert_eq!(piped.lines().count(), wide.1);
}

#[test]
fn text_is_ascii_if_the_locale_is_not_utf_8() {
    let host = HOST.split_once(' ').unwrap().1;
    let in_locale = |name: &str, locale: &str| {
        let mut command = Command::new(PIDNS);
        command.args(["-i", host]).env_remove("LC_CTYPE").env_remove("LANG").env("LC_ALL", "");
        stdout(&run(command.env(name, locale)))
    };
    for (name, locale, is_ascii) in [
        ("LC_ALL", "C", true),
        ("LANG", "", true),
        ("LANG", "de_DE.ISO-8859-1", true),
        ("LANG", "de_DE.UTF-8", false),
        ("LC_CTYPE", "C.utf8", false),
    ] {
        assert_eq!(in_locale(name, locale).is_ascii(), is_ascii, "{name}={locale}");
    }
}

#[test]
fn graphviz_draws_a_hundred_namespaces_in_seconds() {
    needs!(Namespaces, Program("dot"));
    let _farm = farm(100, 48);
    let dot = stdout(&pidns(&["-q", "-f", "dot"]));
    assert!(dot.contains("48 × sleep"));
    let svg = pipe(with_processor_seconds(10, "dot").arg("-Tsvg"), dot.as_bytes());
    assert!(svg.contains("48 × sleep"));
}

#[test]
fn the_schema_rejects_invalid_documents() {
    let good: serde_json::Value =
        serde_json::from_str(&stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    assert_eq!(schema_errors(&good), Vec::<String>::new());
    let spoil = |pointer: &str, value: serde_json::Value| {
        let mut bad = good.clone();
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        assert_ne!(schema_errors(&bad), Vec::<String>::new(), "{pointer}");
    };
    spoil("/schema_version", "2.0".into());
    spoil("/searched/0", "Every where".into());
    spoil("/captured_at", "yesterday".into());
    spoil("/roots/0", "4026531836".into());
    spoil("/namespaces/0/state", "un dead".into());
    spoil("/namespaces/0/parent", 5.into());
    spoil("/processes/0/pid", 0.into());
    spoil("/processes/0/nspid/0", (-1).into());
    spoil("/processes/0/evidence", 1.into());
    let mut later = good.clone();
    later["schema_version"] = "1.7".into();
    later["namespaces"][0]["colour"] = "green".into();
    later["namespaces"][0]["state"] = "undead".into();
    later["processes"][0]["evidence"] = "guessed".into();
    assert_eq!(
        schema_errors(&later),
        Vec::<String>::new(),
        "the schema accepts fields of a later 1.x"
    );
}

#[test]
fn the_schema_lists_every_diagnostic_code() {
    let schema = stdout(&pidns(&["schema"]));
    for code in pidns::model::DiagnosticCode::ALL {
        assert!(schema.contains(code.name()), "{}", code.name());
    }
}

#[test]
fn unknown_words_of_a_later_version_are_ignored_with_one_warning() {
    let mut later: serde_json::Value =
        serde_json::from_str(&stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    later["namespaces"][0]["state"] = "frozen".into();
    let holder = serde_json::json!({
        "kind": "io_uring", "pid": 1, "tid": null, "comm": null, "fd": null, "path": null,
        "mount_namespace": null,
    });
    later["namespaces"][0]["holders"] = serde_json::json!([holder, holder]);
    assert_eq!(schema_errors(&later), Vec::<String>::new());
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("later.json");
    std::fs::write(&file, later.to_string()).unwrap();
    let file = file.to_str().unwrap();
    let output = pidns(&["-i", file, "-f", "json"]);
    let document = Document::read(&stdout(&output));
    assert_eq!(document.namespaces[0].state, "unknown");
    assert_eq!(document.namespaces[0].holders, []);
    let stderr = String::from_utf8(output.stderr).unwrap();
    let line = format!(
        "pidns: {file}: ignored 2 holders of kind \"io_uring\", 1 namespace state \"frozen\""
    );
    assert!(stderr.lines().any(|it| it == line), "{stderr}");
    let quiet = pidns(&["-q", "-i", file, "-f", "json"]);
    assert_eq!(String::from_utf8(quiet.stderr).unwrap(), "");
}
