//! Runs the commands in README.md and on the pages in docs/, and checks the pages themselves.

mod common;

use std::path::Path;
use std::process::Command;

use common::Need::*;
use common::*;

/// Runs a shell recipe in an empty directory, with `pidns` in PATH and `pid` as `$PID`. Returns
/// the output and the exit status.
fn cook(recipe: &str, pid: u32) -> (String, i32) {
    let dir = tempfile::tempdir().unwrap();
    let bin = std::path::Path::new(PIDNS).parent().unwrap().to_str().unwrap();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let script = format!("set -o pipefail\n{recipe}");
    let mut command = Command::new("bash");
    command.env("PATH", path).env("PID", pid.to_string());
    let output = run(command.args(["-c", &script]).current_dir(&dir));
    let stderr = String::from_utf8_lossy(&output.stderr);
    // The recipe may warn that the view is incomplete. No other message is allowed.
    assert!(
        stderr.lines().all(|line| line.starts_with("pidns: incomplete: ")),
        "{recipe}\n{stderr}"
    );
    (String::from_utf8(output.stdout).unwrap(), output.status.code().expect("exits"))
}

/// Starts a container with the cgroup of a Docker container. Returns the PIDs of its init and of
/// a `sleep`.
fn docker_container() -> (Running, Cgroup, Vec<u32>) {
    const ID: &str = "3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a1b9c04de3f2a";
    let (running, init) = container(&format!("{SLEEP} echo ready; wait"));
    let cgroup = Cgroup::of("readme", &format!("docker/{ID}"), init);
    (running, cgroup, vec![init, sleep_of(init)])
}

#[test]
fn every_recipe_runs_unchanged() {
    needs!(Initial("cgroup"), Program("dot"), Program("jq"), Program("yq"));
    let (_running, _cgroup, container) = docker_container();
    // A dead namespace for the recipe with `--state dead`.
    let _dead = unshared("/bin/true;");
    let recipes = blocks("```sh recipe");
    assert!(recipes.len() >= 17);
    for recipe in recipes {
        let (_, status) = cook(recipe, container[1]);
        assert_eq!(status, 0, "{recipe}");
    }
}

#[test]
fn recipes_print_what_the_readme_promises() {
    needs!(Initial("cgroup"), NoChroot, Program("dot"), Program("jq"), Program("yq"));
    let (_running, _cgroup, members) = docker_container();
    let shell = unshared("/bin/true;");
    let (init, sleep) = (members[0], members[1]);
    let id = namespace_of(init);
    let find = |part: &str| {
        let recipes = blocks("```sh recipe");
        let all = recipes.iter().find(|recipe| **recipe == part);
        let recipe = all.or_else(|| recipes.iter().find(|recipe| recipe.contains(part)));
        cook(recipe.unwrap_or_else(|| panic!("no recipe with {part}")), sleep)
    };
    let (named, _) = find("pidns \"$PID\"");
    assert!(named.contains("docker 3f2a1b9c04de, 2 processes (1 shown)\n"), "{named}");
    assert!(named.contains(&format!("─ {sleep} → {} sleep\n", nspid(sleep)[1])), "{named}");
    assert_eq!(find("translate 2").0, format!("{sleep}\n{}\n", nspid(sleep)[1]));
    assert_eq!(find("nsenter").0, "bash\n");
    let host = namespace_of(std::process::id());
    let own = nspid(sleep)[1];
    assert_eq!(find(".levels").0, format!("{host}\t{sleep}\n{id}\t{own}\n"));
    let tree = "  bash, docker 3f2a1b9c04de, 2 processes\n";
    let rows = format!("─ {init} → 1 bash\n");
    for (part, start) in [("pidns --root \"@$PID\"", ""), ("--container", &*format!("{host}  "))] {
        let (text, _) = find(part);
        assert!(text.starts_with(start), "{text}");
        assert!(text.contains(tree) && text.contains(&rows), "{text}");
    }
    assert_eq!(find("--depth 0").0, format!("{init}\tbash\n{sleep}\tsleep\n"));
    let (kept, _) = find("{id, state, members");
    assert!(kept.starts_with(&format!("{{\"id\":\"{id}\",\"state\":\"live\"")), "{kept}");
    assert!(find("pidns limits \"$PID\"").0.contains(&format!("\nNo limit of {sleep} sleep is ")));
    assert!(find("pidns --state dead").0.contains("  DEAD: its init has exited\n"));
    let (dead, _) = find("{id, holders}");
    assert!(
        dead.contains(&format!(
            "{{\"kind\":\"pid_for_children\",\"pid\":{0},\"tid\":{0},\"comm\":",
            shell.pid()
        )),
        "{dead}"
    );
    let (_many, _) = start("for i in {1..10}; do sleep 600 & done; echo ready; wait");
    assert!(find("> 10").0.starts_with(&format!("{host}\t")));
    assert!(find("'.namespaces[].id'").0.lines().any(|line| line == id));
    let (pids, _) = find(".nspid");
    assert!(pids.contains(&format!("[{sleep},{own}]\n")), "{pids}");
    assert!(find("yq").0.lines().any(|line| line == sleep.to_string()));
    let (later, _) = find("before.json");
    assert!(later.contains(&format!("{id}  init {init}, docker")), "{later}");
    let (said, _) = find(".complete");
    let mut lines = said.lines().skip_while(|line| line.starts_with("pid:["));
    let complete = lines.next() == Some("true");
    assert!(complete || lines.next().is_some_and(|line| line.starts_with("cannot ")), "{said}");
}

#[test]
fn the_readmes_tree_and_picture_match_its_document() {
    needs!(Program("dot"));
    let tree = blocks("```text")[0];
    let host = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/snapshots/host.json");
    assert_eq!(stdout(&pidns(&["-i", host])).trim_end(), tree);
    let dot = stdout(&pidns(&["-i", host, "-f", "dot"]));
    let svg = pipe(Command::new("dot").arg("-Tsvg"), dot.as_bytes());
    let text = |svg: &str| -> Vec<String> {
        let cells = svg.lines().filter(|line| line.starts_with("<text"));
        cells.map(|line| line.split(['<', '>']).nth(2).unwrap_or_default().to_owned()).collect()
    };
    // Compare only the text of the SVG files, since coordinates depend on the installed fonts.
    assert_eq!(text(&svg), text(include_str!("snapshots/host.svg")));
    assert!(text(&svg).iter().any(|text| text.contains("docker db (5feceb671def)")));
}

#[test]
fn exit_statuses_and_commands_match_the_help() {
    let help = stdout(&pidns(&["--help"]));
    for row in README.lines().filter(|line| {
        line.starts_with("| ") && line.chars().nth(2).is_some_and(|c| c.is_ascii_digit())
    }) {
        let meaning = row.rsplit('|').nth(1).unwrap().trim().replace('`', "");
        assert!(help.contains(&meaning), "{meaning}");
    }
    assert_eq!(blocks("```sh"), ["cargo run --release", "tests/run"]);
}

#[test]
fn the_readme_is_short_and_the_policy_page_has_the_example_of_the_manual() {
    assert!(README.lines().count() <= 220);
    needs!(Repository("docs/policy.md"));
    let page = std::fs::read_to_string("docs/policy.md").unwrap();
    let (_, example) = page.split_once("```yaml policy\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let manual = stdout(&pidns(&["man", "check"])).replace("\\-", "-");
    assert!(manual.contains(example), "{example}\n{manual}");
}

/// Returns the relative link targets of a Markdown page, without their `#anchor` part.
fn links(page: &str) -> Vec<String> {
    let targets = page.split("](").skip(1).filter_map(|rest| rest.split(')').next());
    let relative = targets.filter(|it| !it.contains("://") && !it.starts_with('#'));
    relative.map(|it| it.split('#').next().unwrap_or(it).to_owned()).collect()
}

#[test]
fn every_link_leads_to_a_file_that_the_crate_and_the_packages_have() {
    needs!(Repository(".ci/packages"));
    let cargo = std::fs::read_to_string("Cargo.toml").unwrap();
    let packages = std::fs::read_to_string(".ci/packages").unwrap();
    let excluded = cargo.lines().find(|line| line.starts_with("exclude")).unwrap();
    let found = links(README);
    assert!(found.len() >= 10, "{found:?}");
    for link in found {
        let path = link.trim_end_matches('/');
        assert!(Path::new(path).exists(), "{link}");
        let top = path.split('/').next().unwrap();
        assert!(!excluded.contains(&format!("\"/{top}\"")), "{link}: not in the crate");
        let in_archive = |name: &str| packages.contains(&format!(" {name} "));
        assert!(in_archive(top) || in_archive(path), "{link}: not in the archives");
        // A Debian package contains the licenses in its file `copyright`.
        let in_package = |start: &str| cargo.contains(&format!("\n  [\"{start}"));
        let is_packaged = in_package(path) || in_package(&format!("{top}/*"));
        assert!(is_packaged || top.starts_with("LICENSE"), "{link}: not in the Debian package");
    }
    for page in ["recipes", "ci", "fleet", "comparison", "performance", "policy"] {
        let text = std::fs::read_to_string(format!("docs/{page}.md")).unwrap();
        for link in links(&text) {
            assert!(Path::new("docs").join(&link).exists(), "docs/{page}.md: {link}");
        }
    }
}

#[test]
fn the_command_in_the_bug_form_blanks_all_names() {
    const FORM: &str = ".github/ISSUE_TEMPLATE/bug.yml";
    needs!(Program("jq"), Repository(FORM));
    let form = std::fs::read_to_string(FORM).unwrap();
    let command = form.lines().map(str::trim).find(|line| line.starts_with("pidns -f json | jq"));
    let (blanked, status) = cook(command.expect("exists"), std::process::id());
    assert_eq!(status, 0);
    let before = Document::of(&[]);
    let after = Document::read(&blanked);
    let own = std::process::id();
    let (named, blank) = (before.process(own), after.process(own));
    assert_ne!((named.comm.as_str(), named.user.as_deref()), ("x", Some("x")));
    assert_eq!((blank.comm.as_str(), blank.user.as_deref()), ("x", Some("x")));
    assert_eq!(blank.nspid, named.nspid);
    assert!(after.processes.iter().all(|it| it.comm == "x"));
    assert_eq!(after.host.hostname.as_deref(), Some("x"));
    // pidns must be able to read the resulting document.
    pipe(Command::new(PIDNS).args(["-q", "-i", "-"]), blanked.as_bytes());
}

#[test]
fn a_test_whose_program_is_missing_is_skipped_and_fails_in_ci() {
    let without_programs = |ci: bool| {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", "the_readmes_tree_and_picture_match_its_document"])
            .env("PATH", "/nowhere");
        run(if ci { command.env("CI", "true") } else { command.env_remove("CI") })
    };
    let reason = "the_readmes_tree_and_picture_match_its_document: needs dot, which is in the Debian package graphviz";
    let output = without_programs(false);
    let stderr = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{output:?}");
    assert!(stderr.starts_with(&format!("skipped: {reason}\ntests skipped by readme")), "{stderr}");
    assert!(stderr.ends_with(": 1\n"), "{stderr}");
    let output = without_programs(true);
    assert!(!output.status.success(), "{output:?}");
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(said.contains(&format!("a skipped test fails in CI: {reason}")), "{said}");
}
