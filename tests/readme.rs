//! What the README shows works as it stands there.

mod common;

use std::process::Command;

use common::*;

const README: &str = include_str!("../README.md");

/// The fenced blocks that begin with this line, without the fences.
fn blocks(fence: &str) -> Vec<&'static str> {
    let mut blocks = Vec::new();
    let mut rest = README;
    while let Some((_, after)) = rest.split_once(&format!("\n{fence}\n")) {
        let (block, after) = after.split_once("\n```").expect("a fence ends");
        blocks.push(block);
        rest = after;
    }
    blocks
}

/// Runs a recipe in an empty directory, with `pidns` on the path.
fn cook(recipe: &str) -> (String, i32) {
    let dir = tempfile::tempdir().unwrap();
    let bin = std::path::Path::new(PIDNS).parent().unwrap().to_str().unwrap();
    let path = format!("{bin}:{}", std::env::var("PATH").unwrap());
    let script = format!("set -o pipefail\n{recipe}");
    let mut command = Command::new("bash");
    let output = run(command.args(["-c", &script]).env("PATH", path).current_dir(&dir));
    let stderr = String::from_utf8_lossy(&output.stderr);
    // The one warning that the view is incomplete is as it should be.
    assert!(
        stderr.lines().all(|line| line.starts_with("pidns: the view is incomplete")),
        "{recipe}\n{stderr}"
    );
    (String::from_utf8(output.stdout).unwrap(), output.status.code().expect("exits"))
}

#[test]
fn every_recipe_runs_as_it_stands() {
    let recipes = blocks("```sh recipe");
    assert!(recipes.len() >= 7);
    for recipe in recipes {
        let (_, status) = cook(recipe);
        // A recipe may say no.
        assert!(status == 0 || (status == 1 && recipe.contains("jq -e")), "{recipe}: {status}");
    }
}

#[test]
fn recipes_find_what_they_are_for() {
    if !is_root() {
        return;
    }
    let (_running, inits) = nest(2);
    let (shell, _) = start_command(Command::new("unshare").args([
        "-p",
        "bash",
        "-c",
        "/bin/true; echo ready; exec sleep 600",
    ]));
    let find = |part: &str| {
        let recipe = blocks("```sh recipe").into_iter().find(|recipe| recipe.contains(part));
        cook(recipe.unwrap_or_else(|| panic!("no recipe with {part}")))
    };
    let (ids, _) = find("'.namespaces[].id'");
    assert!(ids.lines().any(|line| line == namespace_of(inits[1])), "{ids}");
    let (rows, _) = find("@tsv");
    assert!(rows.contains(&format!("{}\t{}\tbash\n", inits[0], namespace_of(inits[0]))), "{rows}");
    let (dead, _) = find("{id, holders}");
    assert!(
        dead.contains(&format!(
            "{{\"kind\":\"pid_for_children\",\"pid\":{0},\"tid\":{0}}}",
            shell.pid()
        )),
        "{dead}"
    );
    let (_, status) = find("jq -e");
    assert_eq!(status, 1, "something was left behind");
    let (pids, _) = find("\"sleep\"");
    let sleep = *children(inits[1]).last().unwrap();
    let expected: Vec<_> = nspid(sleep).iter().map(u32::to_string).collect();
    assert!(pids.contains(&format!("[{}]\n", expected.join(","))), "{pids}");
    let (complete, _) = find(".complete");
    assert!(complete.starts_with("true") || complete.starts_with("false\ncannot "), "{complete}");
}

#[test]
fn the_tree_shown_is_the_one_drawn() {
    let tree = blocks("```text")[0];
    let dot = include_str!("snapshots/farm.dot");
    let names = tree.lines().filter_map(|line| line.rsplit_once(' ')).map(|(_, name)| name);
    for name in names.filter(|name| ["systemd", "[kthreadd]", "farm", "sleep"].contains(name)) {
        assert!(dot.contains(name), "{name}");
    }
    let svg = pipe(Command::new("dot").arg("-Tsvg"), dot.as_bytes());
    let text = |svg: &str| -> Vec<String> {
        let cells = svg.lines().filter(|line| line.starts_with("<text"));
        cells.map(|line| line.split(['<', '>']).nth(2).unwrap_or_default().to_owned()).collect()
    };
    // Coordinates depend on the fonts at hand; what is said does not.
    assert_eq!(text(&svg), text(include_str!("snapshots/farm.svg")));
    assert!(text(&svg).contains(&"docker 3f2a1b9c04de".to_owned()));
}

#[test]
fn exit_statuses_and_commands_are_those_of_the_help() {
    let help = stdout(&pidns(&["--help"]));
    for row in README.lines().filter(|line| {
        line.starts_with("| ") && line.chars().nth(2).is_some_and(|c| c.is_ascii_digit())
    }) {
        let meaning = row.rsplit('|').nth(1).unwrap().trim().replace('`', "");
        assert!(help.contains(&meaning), "{meaning}");
    }
    assert_eq!(blocks("```sh"), ["cargo run --release", "cargo test --locked"]);
}
