//! Tests the exact text of help, error messages and schemas, the manual pages, and exit statuses.

mod common;

use std::fs::File;
use std::process::Command;

use clap::ValueEnum as _;
use common::Need::*;
use common::*;
use expect_test::{Expect, expect, expect_file};
use pidns::emit::Format;

/// Returns the names of all output formats.
fn formats() -> impl Iterator<Item = String> {
    Format::ALL.iter().filter_map(|it| Some(it.to_possible_value()?.get_name().to_owned()))
}

/// Asserts that pidns exits with `status`, prints the `expected` line on standard error, and prints
/// nothing else.
fn fails(arguments: &[&str], status: i32, expected: &Expect) {
    let output = pidns(arguments);
    assert_eq!(output.status.code(), Some(status), "{arguments:?}");
    assert_eq!(output.stdout, b"", "{arguments:?}");
    let line = String::from_utf8(output.stderr).unwrap();
    assert_eq!(line.lines().count(), 1, "{line}");
    expected.assert_eq(&line);
}

#[test]
fn help_matches_its_snapshot() {
    let help = |arguments: &[&str]| {
        let mut command = Command::new(PIDNS);
        stdout(&run(command.args(arguments).env("COLUMNS", "80")))
    };
    expect_file!["snapshots/help.txt"].assert_eq(&help(&["-h"]));
    expect_file!["snapshots/help-long.txt"].assert_eq(&help(&["--help"]));
    assert_eq!(help(&["help"]), help(&["--help"]));
    for command in
        ["translate", "limits", "check", "diff", "watch", "run", "schema", "completions", "man"]
    {
        let text = help(&["help", command]);
        assert_eq!(text, help(&[command, "--help"]));
        assert!(text.contains(&format!("\nUsage: pidns {command}")), "{text}");
        assert_eq!(text.lines().find(|line| line.chars().count() > 80), None, "{command}");
    }
    assert_eq!(help(&["--version"]), concat!("pidns ", env!("CARGO_PKG_VERSION"), "\n"));
}

#[test]
fn the_short_help_of_every_verb_fits_one_screen() {
    for verb in
        ["", "translate", "limits", "check", "diff", "watch", "run", "schema", "completions", "man"]
    {
        let mut command = Command::new(PIDNS);
        command.args(Some(verb).filter(|verb| !verb.is_empty())).arg("-h").env("COLUMNS", "80");
        let help = stdout(&run(&mut command));
        assert!(help.lines().count() <= 40, "{verb}: {help}");
        assert_eq!(help.lines().find(|line| line.chars().count() > 80), None, "{verb}");
        for expert in ["--collector", "--host"] {
            assert!(!help.contains(expert), "{verb} {expert}");
        }
    }
    let long = stdout(&pidns(&["--help"]));
    assert!(long.contains("--collector") && long.contains("--host"));
}

#[test]
fn format_options_of_other_programs_suggest_ours() {
    for (arguments, line) in [
        (&["--json"][..], "pidns: unexpected argument '--json'; did you mean '-f json'?\n"),
        (&["-J"], "pidns: unexpected argument '-J'; did you mean '-f json'?\n"),
        (&["check", "--json"], "pidns: unexpected argument '--json'; did you mean '-f json'?\n"),
        (&["--dot"], "pidns: unexpected argument '--dot'; did you mean '-f dot'?\n"),
        (&["man", "-J"], "pidns: unexpected argument '-J'; see 'pidns man --help'\n"),
    ] {
        let output = pidns(arguments);
        assert_eq!(output.status.code(), Some(2), "{arguments:?}");
        assert_eq!(String::from_utf8_lossy(&output.stderr), line);
    }
}

#[test]
fn wrong_arguments_get_one_line_and_status_2() {
    fails(
        &["--frobnicate"],
        2,
        &expect![[r#"
            pidns: unexpected argument '--frobnicate'; did you mean '--format'?
        "#]],
    );
    fails(
        &["-f", "xml"],
        2,
        &expect![[r#"
            pidns: invalid value 'xml' for '--format <FORMAT>' [possible values: text, json, ndjson, yaml, dot, mermaid, openmetrics]; did you mean 'yaml'?
        "#]],
    );
    fails(
        &["--search", "fds,sockets"],
        2,
        &expect![[r#"
            pidns: invalid value 'sockets' for '--search <LIST>' [possible values: processes, children, threads, fds, mounts, proc, kernel]; see 'pidns --help'
        "#]],
    );
    fails(
        &["completions"],
        2,
        &expect![[r#"
            pidns: the following required arguments were not provided: <SHELL>; see 'pidns completions --help'
        "#]],
    );
    fails(
        &["--color", "a\nb\u{1b}[31m"],
        2,
        &expect![[r#"
        pidns: invalid value 'a b' for '--color <WHEN>' [possible values: auto, always, never]; see 'pidns --help'
    "#]],
    );
    fails(
        &["check", "--no-fold"],
        2,
        &expect![[r#"
        pidns: check has no option '--no-fold'; see 'pidns check --help'
    "#]],
    );
    fails(
        &["help", "-x"],
        2,
        &expect![[r#"
        pidns: unrecognized subcommand '-x'; see 'pidns --help'
    "#]],
    );
}

#[test]
fn errors_suggest_similar_names() {
    fails(
        &["--fromat", "json"],
        2,
        &expect![[r#"
        pidns: unexpected argument '--fromat'; did you mean '--format'?
    "#]],
    );
    fails(
        &["check", "--fromat", "json"],
        2,
        &expect![[r#"
        pidns: unexpected argument '--fromat'; did you mean '--format'?
    "#]],
    );
    fails(
        &["-f", "jsno"],
        2,
        &expect![[r#"
            pidns: invalid value 'jsno' for '--format <FORMAT>' [possible values: text, json, ndjson, yaml, dot, mermaid, openmetrics]; did you mean 'json'?
        "#]],
    );
    fails(
        &["tranlate", "7"],
        2,
        &expect![[r#"
        pidns: 'tranlate' is not a PID; did you mean the command 'translate'?
    "#]],
    );
    fails(
        &["help", "tranlate"],
        2,
        &expect![[r#"
        pidns: unrecognized subcommand 'tranlate'; did you mean 'translate'?
    "#]],
    );
    fails(
        &["nginx"],
        2,
        &expect![[r#"
        pidns: 'nginx' is not a PID; 'pidns --comm nginx' shows the processes with that name
    "#]],
    );
    fails(
        &["translate", "nginx"],
        2,
        &expect![[r#"
        pidns: 'nginx' is not a PID; 'pidns --comm nginx' shows the processes with that name
    "#]],
    );
    fails(
        &["5", "translate", "7"],
        2,
        &expect![[r#"
        pidns: PIDs cannot precede translate; see 'pidns translate --help'
    "#]],
    );
}

#[test]
fn an_error_states_the_range_of_a_number() {
    fails(
        &["0"],
        2,
        &expect![[r#"
        pidns: invalid value '0' for '[PID]...': not a PID (1 to 2147483647); see 'pidns --help'
    "#]],
    );
    fails(
        &["translate", "2147483648"],
        2,
        &expect![[r#"
        pidns: invalid value '2147483648' for '<PID>...': not a PID (1 to 2147483647); see 'pidns translate --help'
    "#]],
    );
    fails(
        &["--root", "@0"],
        2,
        &expect![[r#"
        pidns: invalid value '@0' for '--root <NS>': out of range: an inode or NS_ID is 1 to 18446744073709551615, a PID 1 to 2147483647; see 'pidns --help'
    "#]],
    );
    fails(
        &["--depth", "-1"],
        2,
        &expect![[r#"
        pidns: invalid value '-1' for '--depth <N>': not a number of levels (0 to 4294967295); see 'pidns --help'
    "#]],
    );
    fails(
        &["check", "--wait", "-0.5"],
        2,
        &expect![[r#"
        pidns: invalid value '-0.5' for '--wait <SECONDS>': not a number of seconds (0 to 18446744073709551615); see 'pidns check --help'
    "#]],
    );
}

#[test]
fn global_options_may_precede_the_command() {
    let saved = file(stdout(&pidns(&["-q", "-f", "json"])).as_bytes());
    let path = saved.path().to_str().unwrap();
    let own = std::process::id().to_string();
    for (before, behind) in [
        (vec!["-q", "-i", path, "translate", &own], vec!["translate", "-q", "-i", path, &own]),
        (vec!["-fjson", "--input", path, "check"], vec!["check", "-fjson", "--input", path]),
        (vec!["-f", "junit", "-i", path, "check"], vec!["check", "-f", "junit", "-i", path]),
        (vec!["--no-fold", "diff", path, path], vec!["diff", "--no-fold", path, path]),
    ] {
        let (one, other) = (pidns(&before), pidns(&behind));
        assert_ne!(one.status.code(), Some(2), "{one:?}");
        assert_eq!((one.status, one.stdout), (other.status, other.stdout), "{before:?}");
    }
    fails(
        &["--procfs", "/nowhere", "translate", "7"],
        2,
        &expect![[r#"
        pidns: cannot read /nowhere: No such file or directory (os error 2)
    "#]],
    );
    fails(
        &["--search", "proc", "translate", "7"],
        2,
        &expect![[r#"
        pidns: translate has no option '--search'; see 'pidns translate --help'
    "#]],
    );
    fails(
        &["-q", "run", "true"],
        125,
        &expect![[r#"
        pidns: options of run must follow its name; see 'pidns run --help'
    "#]],
    );
}

#[test]
fn an_invalid_procfs_gets_one_line_and_status_2() {
    fails(
        &["--procfs", "/tmp"],
        2,
        &expect![[r#"
        pidns: cannot read /tmp: not a procfs mount
    "#]],
    );
    fails(
        &["--procfs", "/nowhere"],
        2,
        &expect![[r#"
        pidns: cannot read /nowhere: No such file or directory (os error 2)
    "#]],
    );
    fails(
        &["--procfs", "/etc/passwd"],
        2,
        &expect![[r#"
        pidns: cannot read /etc/passwd: Not a directory (os error 20)
    "#]],
    );
}

#[test]
fn warnings_are_one_line_and_quiet_hides_them() {
    let output = pidns(&[]);
    assert_eq!(output.status.code(), Some(0));
    assert!(String::from_utf8_lossy(&output.stderr).lines().count() <= 1);
    assert_eq!(pidns(&["-q"]).stderr, b"");
}

#[test]
fn works_or_fails_cleanly_with_few_descriptors() {
    let script = format!("ulimit -n 4; exec {PIDNS} -f json");
    let output = run(Command::new("bash").args(["-c", &script]));
    let stderr = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(!stderr.contains("panicked"), "{stderr}");
    match output.status.code() {
        Some(0) => assert!(!Document::read(&stdout(&output)).complete || stderr.is_empty()),
        Some(2) => assert!(output.stdout.is_empty() && stderr.lines().count() == 1, "{stderr}"),
        other => panic!("{other:?}: {stderr}"),
    }
}

/// Asserts that the output of pidns equals a committed file. `UPDATE_EXPECT=1` rewrites the file.
fn is_committed(file: &str, arguments: &[&str]) {
    expect_file![format!("{}/{file}", env!("CARGO_MANIFEST_DIR"))]
        .assert_eq(&stdout(&pidns(arguments)));
}

#[test]
fn prints_the_published_schemas() {
    is_committed("schemas/pidns-1.schema.json", &["schema"]);
    is_committed("schemas/pidns-record-1.schema.json", &["schema", "record"]);
}

/// Formats the manual page of a verb as text. Asserts that the formatters print no warnings.
fn manual(verb: &str) -> String {
    let arguments: Vec<_> = ["man", verb].into_iter().filter(|it| !it.is_empty()).collect();
    let page = stdout(&pidns(&arguments));
    assert_eq!(pipe(Command::new("mandoc").args(["-Tlint", "-Wall"]), page.as_bytes()), "");
    let man = ["--warnings", "-E", "UTF-8", "-Tutf8", "-Z", "-l", "-"];
    assert!(!pipe(Command::new("man").args(man), page.as_bytes()).is_empty());
    pipe(Command::new("groff").args(["-man", "-ww", "-Tascii", "-P-cbou"]), page.as_bytes())
}

#[test]
fn the_manual_pages_name_every_option_and_exit_status() {
    needs!(Program("groff"), Program("man"), Program("mandoc"));
    let mut program = pidns::cli::command();
    program.build();
    let pages = program.get_subcommands().filter(|verb| verb.get_name() != "help");
    for command in std::iter::once(&program).chain(pages) {
        let verb = if command.get_name() == "pidns" { "" } else { command.get_name() };
        let text = manual(verb);
        let options = command.get_arguments().filter(|option| !option.is_hide_set());
        for name in options.filter_map(|option| option.get_long()) {
            assert!(text.contains(&format!("--{name}")), "{verb} --{name} in {text}");
        }
        for section in
            ["NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "EXIT STATUS", "EXAMPLES", "SEE ALSO"]
        {
            assert!(text.lines().any(|line| line == section), "{section} in {text}");
        }
        if !verb.is_empty() {
            // man(1) justifies a long line by extra spaces between words.
            let words: Vec<_> = text.split_whitespace().collect();
            assert!(words.join(" ").contains(&format!("pidns-{verb} - ")), "{text}");
            assert!(manual("").contains(&format!("pidns-{verb}(1)")));
        }
    }
    let text = manual("");
    for section in ["COMMANDS", "OUTPUT", "ENVIRONMENT", "FILES", "LIMITS", "SECURITY"] {
        assert!(text.lines().any(|line| line == section), "{section} in {text}");
    }
    for variable in ["NO_COLOR", "CLICOLOR_FORCE", "LC_ALL", "PIDNS_DEBUG", "TERM"] {
        assert!(text.contains(variable), "{variable}");
    }
    assert!(manual("check").lines().any(|line| line == "POLICY FILE"));
    for status in ["126", "127", "128"] {
        assert!(manual("run").contains(status), "{status}");
    }
}

#[test]
fn does_not_read_standard_input() {
    let output =
        Command::new(PIDNS).arg("-q").stdin(File::open("/dev/zero").unwrap()).output().unwrap();
    assert_eq!(output.status.code(), Some(0));
}

/// Creates a temporary file with this content.
fn file(text: &[u8]) -> tempfile::NamedTempFile {
    let file = tempfile::NamedTempFile::new().unwrap();
    std::fs::write(file.path(), text).unwrap();
    file
}

#[test]
fn a_saved_document_gives_the_same_output_as_the_live_run() {
    let json = stdout(&pidns(&["-q", "-f", "json"]));
    let saved = file(json.as_bytes());
    let path = saved.path().to_str().unwrap();
    assert_eq!(stdout(&pidns(&["-q", "-i", path, "-f", "json"])), json);
    let yaml = stdout(&pidns(&["-q", "-i", path, "-f", "yaml"]));
    let from_yaml =
        pipe(Command::new(PIDNS).args(["-q", "-i", "-", "-f", "json"]), yaml.as_bytes());
    assert_eq!(from_yaml, json);
    for format in formats() {
        let output = stdout(&pidns(&["-q", "-i", path, "-f", &format]));
        let again =
            pipe(Command::new(PIDNS).args(["-q", "-i", "-", "-f", &format]), yaml.as_bytes());
        assert_eq!(output, again, "{format}");
    }
    // The expected exit status with `--strict` depends on `complete` in the saved document.
    let complete = Document::read(&json).complete;
    assert_eq!(pidns(&["-q", "--strict", "-i", path]).status.success(), complete);
}

#[test]
fn invalid_input_gets_one_line_and_status_2() {
    let refused = |text: &[u8]| {
        let saved = file(text);
        let path = saved.path().to_str().unwrap();
        let output = pidns(&["-i", path]);
        assert_eq!(output.status.code(), Some(2));
        assert_eq!(output.stdout, b"");
        let line = String::from_utf8(output.stderr).unwrap();
        assert_eq!(line.lines().count(), 1, "{line}");
        line.strip_prefix(&format!("pidns: cannot use {path}: "))
            .expect("names the file")
            .to_owned()
    };
    assert_eq!(
        refused(b"{\"schema_version\": \"2.1\"}"),
        "schema_version: 2.1 is not supported (only 1.x is)\n"
    );
    assert_eq!(refused(b"{"), "EOF while parsing an object at line 1 column 1\n");
    assert_eq!(
        refused(&b"[".repeat(1_000_000)),
        "recursion limit exceeded at line 1, column 129\n"
    );
    assert!(refused(b"\xff").starts_with("invalid utf-8 sequence"));
    let document = stdout(&pidns(&["-q", "-f", "json"]));
    let dangling = document.replacen("\"namespace\":\"pid:[", "\"namespace\":\"pid:[9", 2);
    assert!(refused(dangling.as_bytes()).contains("amespace: no namespace pid:[9"), "{dangling}");
    fails(
        &["-i", "/nowhere"],
        2,
        &expect![[r#"
        pidns: cannot read /nowhere: No such file or directory (os error 2)
    "#]],
    );
    fails(
        &["-i", "/"],
        2,
        &expect![[r#"
        pidns: cannot read /: Is a directory (os error 21)
    "#]],
    );
    fails(
        &["-i", "/dev/zero"],
        2,
        &expect![[r#"
        pidns: cannot use /dev/zero: larger than 128 MiB
    "#]],
    );
    fails(
        &["-i", "x", "--search", "proc"],
        2,
        &expect![[r#"
        pidns: the argument '--input <FILE>' cannot be used with '--search <LIST>'; see 'pidns --help'
    "#]],
    );
    fails(
        &["-i", "x", "--details", "cgroup"],
        2,
        &expect![[r#"
        pidns: the argument '--input <FILE>' cannot be used with '--details <LIST>'; see 'pidns --help'
    "#]],
    );
}

/// Runs pidns with this value of `PIDNS_COLLECTOR`, and returns its standard error.
fn with_collector(value: &str, arguments: &[&str]) -> (Option<i32>, String) {
    let mut command = Command::new(PIDNS);
    let output = run(command.args(arguments).env("PIDNS_COLLECTOR", value).env("PIDNS_DEBUG", "1"));
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[test]
fn a_variable_sets_the_default_collector() {
    needs!(Namespaces);
    let forbidden = "pidns: collector: proc; not bpf: not requested\n";
    let document = tempfile::NamedTempFile::new().unwrap();
    let path = document.path().to_str().unwrap();
    std::fs::write(path, stdout(&pidns(&["-q", "-f", "json"]))).unwrap();
    let said = |value: &str, arguments: &[&str]| with_collector(value, arguments).1;
    let diff = ["diff", "-q", path];
    let left = ["run", "-q", "--kill", "--grace", "0", "--", "sh", "-c", "sleep 600 &"];
    for arguments in [&["-q"][..], &["check", "-q"], &diff, &left] {
        // `check` reads the kernel twice.
        let said_by_each = said("proc", arguments);
        assert!(said_by_each.starts_with(forbidden), "{arguments:?}: {said_by_each}");
        assert!(!said("", arguments).contains("not requested"), "{arguments:?}");
    }
    // An option takes precedence.
    for arguments in [["-q", "--collector", "auto"], ["check", "--collector", "auto"]] {
        let said = said("proc", &arguments);
        assert!(
            said.starts_with("pidns: collector: ") && !said.contains("not requested"),
            "{said}"
        );
    }
    assert_eq!(said("bpf", &["-q", "--collector", "proc"]), forbidden);
    assert!(said("bpf", &["--collector", "proc", "check", "-q"]).starts_with(forbidden));
    // A saved document needs no collector.
    for arguments in
        [&["-q", "-i", path][..], &["check", "-q", "-i", path], &["diff", "-q", path, path]]
    {
        let (status, said) = with_collector("proc", arguments);
        assert_eq!(said, "", "{arguments:?}");
        assert_ne!(status, Some(2), "{arguments:?}");
    }
}

#[test]
fn an_error_names_the_variable_with_the_wrong_value() {
    let wrong = "pidns: PIDNS_COLLECTOR: invalid value 'ebpf' for '--collector <HOW>' \
                 [possible values: auto, proc, bpf]; did you mean 'bpf'?\n";
    assert_eq!(with_collector("ebpf", &[]), (Some(2), wrong.to_owned()));
    let (status, said) = with_collector("auto", &["--collector", "ebpf"]);
    assert_eq!((status, said), (Some(2), wrong.replace("PIDNS_COLLECTOR: ", "")));
}
