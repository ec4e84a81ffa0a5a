//! Quotes paths and other text for a shell, and guards commands against reused PIDs.

use std::fmt::Write as _;
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use super::sanitize::{CiCommand, is_harmful};
use crate::model::Pid;

/// Quotes a path as a single word for a shell, even if the path is not UTF-8.
pub fn shell_path(path: &Path) -> String {
    let escape = |&byte: &u8| match byte {
        _ if is_plain(byte) => char::from(byte).to_string(),
        _ => format!("\\{byte:03o}"),
    };
    match path.to_str() {
        Some(text) => shell_word(text),
        None => {
            format!("$'{}'", path.as_os_str().as_bytes().iter().map(escape).collect::<String>())
        }
    }
}

/// Returns a command that runs `command` only if `pid` is still in this namespace.
pub fn guarded(pid: Pid, kind: &str, inode: u64, command: &str) -> String {
    // A user can end the process and reuse its PID in another namespace.
    format!("[ \"$(readlink /proc/{pid}/ns/{kind})\" = '{kind}:[{inode}]' ] && {command}")
}

/// Returns `true` if a character has no special meaning in a shell.
fn is_plain(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || b"/._-+:@%,".contains(&byte)
}

/// Returns text for a comment after a command, quoted if it has special characters.
pub fn shell_comment(text: &str) -> String {
    if text.bytes().all(|byte| byte == b' ' || is_plain(byte)) {
        return text.to_owned();
    }
    // An interactive zsh does not treat `#` as the start of a comment by default.
    shell_word(text)
}

/// Quotes text as a single word for a shell, and escapes harmful characters and CI commands.
pub fn shell_word(text: &str) -> String {
    if !text.is_empty() && text.bytes().all(is_plain) {
        return text.to_owned();
    }
    let mut seen = CiCommand::Other;
    if !text.contains(|c| seen.is_completed_by(c) || is_harmful(c)) {
        return format!("'{}'", text.replace('\'', "'\\''"));
    }
    // The quotes `$'...'` (POSIX.1-2024) allow escape sequences.
    let mut word = "$'".to_owned();
    let mut seen = CiCommand::Other;
    for character in text.chars() {
        let is_command = seen.is_completed_by(character);
        match character {
            '\n' => word.push_str("\\n"),
            '\\' | '\'' => word.extend(['\\', character]),
            _ if is_command || is_harmful(character) => {
                for byte in character.encode_utf8(&mut [0; 4]).bytes() {
                    // With fewer digits, the shell would read a following digit as part of the
                    // escape.
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
        assert_eq!(shell_comment("docker web-1"), "docker web-1");
        assert_eq!(shell_comment("x;reboot"), "'x;reboot'");
        let script = format!("printf %s {word}");
        let output = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
        assert_eq!(output.stdout, hostile.as_bytes());
        assert_eq!(shell_word("/run/a ##[x]"), "$'/run/a #\\043[x]'");
        let path = Path::new(std::ffi::OsStr::from_bytes(b"/x\xff'1"));
        assert_eq!(shell_path(path), "$'/x\\377\\0471'");
    }
}
