//! Runs `pidns --tree`, and reads its trees.

use std::collections::BTreeMap;
use std::process::Command;

use super::{pidns, run, stdout};

/// Runs `pidns --tree` with these arguments, and returns its output.
pub fn tree(arguments: &[&str]) -> String {
    stdout(&pidns(&[&["-q", "--tree"], arguments].concat()))
}

/// Returns the PID and the parent's PID of each process in the output of `--tree --no-fold`. The
/// parent is the process to which the branch leads, unless the line names another one. It is 0 if
/// there is neither.
pub fn parents(text: &str) -> BTreeMap<u32, u32> {
    let mut parents = BTreeMap::new();
    // The lines above the present one, each with the column of its text. The PID of a namespace
    // is 0.
    let mut above: Vec<(usize, u32)> = Vec::new();
    for line in text.lines().take_while(|line| !line.is_empty()) {
        let text = line.trim_start_matches(['│', '├', '└', '─', ' ']);
        let column = line.chars().count() - text.chars().count();
        above.retain(|(start, _)| *start < column);
        let pid = text.split(' ').next().unwrap_or_default().parse().unwrap_or(0);
        let named = ["child of ", "entered by ", "reparented to ", "zombie of "]
            .iter()
            .find_map(|word| line.split_once(word)?.1.split([' ', ',']).next()?.parse().ok());
        if pid != 0 {
            let directly_above = above.last().map_or(0, |(_, pid)| *pid);
            parents.insert(pid, named.unwrap_or(directly_above));
        }
        above.push((column, pid));
    }
    parents
}

/// Returns the PID and the parent's PID of each process, from ps(1).
fn parents_by_ps() -> BTreeMap<u32, u32> {
    let output = stdout(&run(Command::new("ps").args(["-e", "-o", "pid=,ppid="])));
    let pair = |line: &str| {
        let mut numbers = line.split_whitespace().map(|it| it.parse().expect("a PID"));
        Some((numbers.next()?, numbers.next()?))
    };
    output.lines().filter_map(pair).collect()
}

/// Checks that `pidns --tree` shows the same parent of each process as ps(1). Returns the output of
/// pidns and the number of these processes.
pub fn tree_that_agrees_with_ps() -> (String, usize) {
    // Other tests start and end processes in the meantime, so compare only the processes whose
    // parent stays the same.
    let before = parents_by_ps();
    let text = tree(&["--no-fold"]);
    let after = parents_by_ps();
    let shown = parents(&text);
    let stable: Vec<_> = before.iter().filter(|(pid, ppid)| after.get(pid) == Some(ppid)).collect();
    for (pid, ppid) in &stable {
        assert_eq!(shown.get(pid), Some(*ppid), "{pid} in {text}");
    }
    (text, stable.len())
}
