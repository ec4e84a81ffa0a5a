//! Advice: shell commands that solve a problem. A comment (`# ...`) may follow
//! a command, so that it can be copied as it stands.

use std::fmt::Write as _;

use super::line::{Emphasis, Line};
use super::sanitize::{Sanitized, is_harmful};
use super::subject::part_of;
use crate::graph::PidGraph;
use crate::model::{Holder, Namespace, Pid};

/// Commands about one namespace. If more holders keep it, the next check names them.
const COMMANDS: usize = 10;

/// Mount points of a namespace that a report names.
const MOUNTS: usize = 3;

/// The command that ends a process. The comment names its service or container,
/// since that should usually be stopped as a whole.
pub fn kill(graph: &PidGraph, pid: Pid, signal: &str) -> String {
    if pid == Pid::INIT {
        return format!("{pid} is the init here: killing it would end every process");
    }
    match graph.process(pid).and_then(part_of) {
        Some(whole) => format!("kill {signal}{pid} # part of {}", Sanitized(whole)),
        None => format!("kill {signal}{pid}"),
    }
}

/// The command that shows in which kernel function a process waits.
pub fn stack(pid: Pid) -> String {
    format!("cat /proc/{pid}/stack # the kernel function that it waits in")
}

/// The commands that end what keeps a namespace.
pub fn release(graph: &PidGraph, namespace: &Namespace) -> Vec<String> {
    let init = namespace.init.map(|init| kill(graph, init, "-KILL "));
    let holders = namespace.holders.iter().map(|holder| match holder {
        Holder::Fd { pid, .. } | Holder::PidForChildren { pid, .. } | Holder::File { pid, .. } => {
            kill(graph, *pid, "")
        }
        Holder::Mount { path, .. } => umount(path),
    });
    let mut commands: Vec<String> = init.into_iter().chain(holders).take(COMMANDS).collect();
    commands.dedup();
    commands
}

/// Adds the commands that unmount a namespace.
pub fn add_umounts(namespace: &Namespace, line: &mut Line) {
    let mounts = namespace.holders.iter().filter_map(|holder| match holder {
        Holder::Mount { path, .. } => Some(path),
        Holder::Fd { .. } | Holder::PidForChildren { .. } | Holder::File { .. } => None,
    });
    for path in mounts.take(MOUNTS) {
        line.part("; ", Emphasis::Command, format_args!("{}", umount(path)));
    }
}

fn umount(path: &str) -> String {
    format!("umount {}", shell_word(path))
}

/// Quotes a text as one word for a shell. Characters that a terminal might obey
/// become escapes of `$'...'` (POSIX.1-2024).
fn shell_word(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"/._-+:@%,".contains(&byte);
    if !text.is_empty() && text.bytes().all(plain) {
        return text.to_owned();
    }
    if !text.contains(is_harmful) {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    let mut word = "$'".to_owned();
    for character in text.chars() {
        match character {
            '\n' => word.push_str("\\n"),
            '\\' | '\'' => word.extend(['\\', character]),
            _ if is_harmful(character) => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // Always three digits, so that a digit after them is not part of the escape.
                    // Writing to a String does not fail.
                    let _ = write!(word, "\\{byte:03o}");
                }
            }
            _ => word.push(character),
        }
    }
    word.push('\'');
    word
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_one_word_for_a_shell() {
        assert_eq!(shell_word("/run/x-1"), "/run/x-1");
        assert_eq!(shell_word("/run/it's $x"), "'/run/it'\\''s $x'");
        assert_eq!(shell_word(""), "''");
        let hostile = "/run/a\nb\\n'\u{1b}1\u{202e}é";
        let word = shell_word(hostile);
        assert_eq!(word, "$'/run/a\\nb\\\\n\\'\\0331\\342\\200\\256é'");
        let script = format!("printf %s {word}");
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(output.stdout, hostile.as_bytes());
    }
}
