//! What is said of one process or namespace that a reader should look into, the
//! same in every report: what a job left, what differs, what is wrong.

use std::fmt::Write as _;
use std::time::Duration;

use super::namespace::kept_by;
use super::sanitize::is_harmful;
use crate::graph::PidGraph;
use crate::model::{Container, Holder, Namespace, NamespaceState, Pid, Process, container};

/// PIDs named one by one on a line; the rest are counted.
const PIDS: usize = 10;

/// Holders named one by one; the rest are counted.
const HOLDERS: usize = 3;

/// Characters of a container's ID.
const SHORT_ID: usize = 12;

/// Characters of a command line; the rest is left out.
const COMMAND: usize = 60;

/// A namespace: its state, who keeps it, and what would let go of its mounts.
pub fn namespace_text(graph: &PidGraph, namespace: &Namespace) -> String {
    let mut text = state_text(graph, namespace);
    let mounts = namespace.holders.iter().filter_map(|holder| match holder {
        Holder::Mount { path, .. } => Some(path),
        Holder::Fd { .. } | Holder::PidForChildren { .. } | Holder::File { .. } => None,
    });
    for path in mounts.take(HOLDERS) {
        // Writing to a String does not fail.
        let _ = write!(text, "; umount {}", shell_word(path));
    }
    text
}

/// A namespace: its state, and who keeps it.
pub fn state_text(graph: &PidGraph, namespace: &Namespace) -> String {
    let state = match namespace.state {
        NamespaceState::Live => "live",
        NamespaceState::Dead => "DEAD: its init has exited",
        NamespaceState::Nascent => "nascent: no first process yet",
        NamespaceState::Unknown => "state unknown",
    };
    let mut text = format!("{}  {state}", namespace.id);
    let holders = kept_by(graph, namespace);
    for holder in holders.iter().take(HOLDERS) {
        // Writing to a String does not fail.
        let _ = write!(text, "; {holder}");
    }
    if let Some(more @ 1..) = holders.len().checked_sub(HOLDERS) {
        let _ = write!(text, "; and by {more} more");
    }
    text
}

/// The command line, or the name where there is none, as of zombies.
pub fn command(process: &Process, ascii: bool) -> String {
    let args = process.details.as_ref().and_then(|details| details.args.as_ref());
    let Some(args) = args.filter(|args| !args.is_empty()) else {
        let Process { comm, kernel_thread, .. } = process;
        return if *kernel_thread { format!("[{comm}]") } else { comm.to_string() };
    };
    let text = args.join(" ");
    match text.char_indices().nth(COMMAND) {
        Some((end, _)) => format!("{}{}", &text[..end], if ascii { "..." } else { "…" }),
        None => text,
    }
}

/// The service or container that a process is a part of, as far as its cgroup
/// was read. Whoever ends such a process should rather stop that.
pub fn part_of(process: &Process) -> Option<String> {
    let cgroup = process.details.as_ref()?.cgroup.as_deref()?;
    let Container { runtime, id, .. } = container::of_path(cgroup)?;
    if runtime == "systemd" {
        // A scope is what somebody has started: a session, an app.
        return id.ends_with(".service").then_some(id);
    }
    let short: String = id.chars().take(SHORT_ID).collect();
    Some(format!("{runtime} {short}"))
}

/// PIDs by number, as many as a reader wants to see.
pub fn pids(pids: impl Iterator<Item = Pid>) -> String {
    let pids: Vec<_> = pids.map(|pid| pid.to_string()).collect();
    match pids.get(..PIDS) {
        Some(named) if pids.len() > PIDS => {
            format!("{} and {} more", named.join(", "), pids.len() - PIDS)
        }
        _ => pids.join(", "),
    }
}

/// In the largest unit that is over.
pub fn age_text(age: Duration) -> String {
    let seconds = age.as_secs();
    match seconds {
        0..10 => format!("{:.1} s", age.as_secs_f64()),
        10..60 => format!("{seconds} s"),
        60..3600 => format!("{} min", seconds / 60),
        3600..86400 => format!("{} h", seconds / 3600),
        _ => format!("{} d", seconds / 86400),
    }
}

/// A text as one word of a shell, whatever is in it: where a terminal would
/// obey a part of that, as the escapes that `$'...'` takes (POSIX.1-2024).
pub fn shell_word(text: &str) -> String {
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
                    // Three digits, so that no digit behind them is taken for one.
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
    fn a_process_is_part_of_its_service_or_container() {
        let part = |cgroup: &str| {
            let mut process = crate::testing::process(&[7], None);
            process.details.get_or_insert_default().cgroup = Some(cgroup.to_owned());
            part_of(&process)
        };
        assert_eq!(part("/system.slice/cron.service").as_deref(), Some("cron.service"));
        let docker = format!("/docker/3f2a1b9c04de{}", "0".repeat(52));
        assert_eq!(part(&docker).as_deref(), Some("docker 3f2a1b9c04de"));
        assert_eq!(part("/user.slice/user-0.slice/session-3.scope"), None);
        assert_eq!(part("/"), None);
    }

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
