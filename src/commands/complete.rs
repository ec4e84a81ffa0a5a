//! Prints completion candidates for the shell, without messages about unreadable processes.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::{OsStr, OsString};
use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use clap::{Arg, Command};
use clap_complete::engine::{
    ArgValueCompleter, CompletionCandidate, PathCompleter, ValueCompleter, complete as offers,
};

use crate::cli::{self, Shell};
use crate::collect::{self, Collected, ProcessList, Request};
use crate::emit::Sanitized;
use crate::error::Error;
use crate::exit::Exit;
use crate::model::{CheckCode, Collector, Container, Pid, Pod, Process, SearchScope};
use crate::output;

/// The environment variable that selects the shell, as in `COMPLETE=bash pidns -- WORD...`.
const VARIABLE: &str = "COMPLETE";

/// Prints the completion script or the candidates, if pidns was started for completion.
pub fn complete(arguments: &[OsString]) -> Result<Option<Exit>, Error> {
    let shell = std::env::var_os(VARIABLE).filter(|shell| !shell.is_empty() && shell != "0");
    let Some(shell) = shell else { return Ok(None) };
    let Some(shell) = Shell::by_path(Path::new(&shell)) else {
        return Err(Error::Usage(format!(
            "cannot complete for {VARIABLE}={}: 'pidns completions --help' lists the shells; \
             otherwise, unset {VARIABLE}",
            shell.display()
        )));
    };
    let words = arguments.iter().position(|word| word == "--").map(|at| arguments.split_at(at + 1));
    match words {
        None => output::print(shell.script().as_bytes()),
        Some((_, words)) => output::print(candidates(words.to_vec()).as_bytes()),
    }
    .map(Some)
}

/// Returns the completion candidates for the last of `words`, one per line. Each line contains the
/// value, a tab and the description.
fn candidates(words: Vec<OsString>) -> String {
    let Some((last, before)) = words.split_last() else { return String::new() };
    let is_empty = last.is_empty();
    // The user is waiting, so list the processes without a full scan.
    let listing = Arc::new(ProcessList::open(&procfs(before)));
    let mut command = with_values(cli::command(), &listing);
    let (last, directory) = (words.len() - 1, std::env::current_dir().ok());
    let mut offered = offers(&mut command, words, last, directory.as_deref()).unwrap_or_default();
    let is_option = |it: &CompletionCandidate| it.get_value().as_encoded_bytes().starts_with(b"-");
    // Offer options only after a hyphen, unless there are no other candidates.
    if is_empty && !offered.iter().all(is_option) {
        offered.retain(|candidate| !is_option(candidate));
    }
    let mut lines = String::new();
    for candidate in &offered {
        // A newline or another control character would break the list of candidates.
        let value = candidate.get_value().to_str();
        let Some(value) = value.filter(|it| !it.contains(char::is_control)) else { continue };
        let help = candidate.get_help().map(ToString::to_string).unwrap_or_default();
        let help = Sanitized(help.lines().next().unwrap_or_default()).to_string();
        lines.extend([value, "\t", &help, "\n"]);
    }
    lines
}

/// Returns the value of `--procfs` in a command line, by default `/proc`.
fn procfs(words: &[OsString]) -> PathBuf {
    let mut named = None;
    let mut words = words.iter().filter_map(|word| word.to_str());
    while let Some(word) = words.next() {
        named = match word.strip_prefix("--procfs") {
            Some("") => words.next(),
            Some(value) => value.strip_prefix('='),
            None => continue,
        };
    }
    named.unwrap_or("/proc").into()
}

/// Adds completers to the arguments whose values depend on the host.
fn with_values(command: Command, listing: &Arc<Option<ProcessList>>) -> Command {
    // Thousands of PIDs would hide the subcommands, so offer PIDs only if the user has typed a
    // digit.
    let needs_digit = command.has_subcommands();
    let one_of = |offer: fn(&ProcessList, &str) -> Vec<CompletionCandidate>| {
        let listing = Arc::clone(listing);
        ArgValueCompleter::new(move |typed: &OsStr| match (&*listing, typed.to_str()) {
            (Some(listing), Some(typed)) => offer(listing, typed),
            _ => Vec::new(),
        })
    };
    let values = |argument: Arg| -> Arg {
        let completer = match argument.get_id().as_str() {
            "pids" if needs_digit => one_of(pids_by_digit),
            "pids" => one_of(|listing, typed| pids(listing, "", typed)),
            "root" | "from" | "to" => one_of(namespaces),
            "comm" => one_of(names),
            "user" => one_of(users),
            "container" => one_of(containers),
            "command" => ArgValueCompleter::new(Executable),
            // clap itself completes the fixed list of values of `pidns run --deny`.
            "deny" | "warn" | "allow" | "until" if argument.get_possible_values().is_empty() => {
                ArgValueCompleter::new(codes)
            }
            _ => return argument,
        };
        argument.add(completer)
    };
    command.mut_args(values).mut_subcommands(|command| with_values(command, listing))
}

fn candidate(value: String, help: String) -> CompletionCandidate {
    CompletionCandidate::new(value).help(Some(help.into()))
}

/// Returns the PIDs that start with `typed`, with `prefix` in front of each PID.
fn pids(listing: &ProcessList, prefix: &str, typed: &str) -> Vec<CompletionCandidate> {
    let all = listing.pids().into_iter().map(|pid| (pid, pid.to_string()));
    let meant = all.filter(|(_, text)| text.starts_with(typed));
    let named = meant.filter_map(|(pid, text)| Some((text, listing.comm(pid)?)));
    named.map(|(text, comm)| candidate(format!("{prefix}{text}"), comm)).collect()
}

fn pids_by_digit(listing: &ProcessList, typed: &str) -> Vec<CompletionCandidate> {
    if typed.is_empty() { Vec::new() } else { pids(listing, "", typed) }
}

/// Returns candidates for a namespace, either processes (`@PID`) or nsfs files.
fn namespaces(listing: &ProcessList, typed: &str) -> Vec<CompletionCandidate> {
    match typed.strip_prefix('@') {
        Some(digits) => pids(listing, "@", digits),
        None if typed.is_empty() => pids(listing, "@", ""),
        None => PathCompleter::any().complete(typed.as_ref()),
    }
}

/// Calls `word` for each process, and returns the distinct words that start with `typed`.
fn words_of<'a>(
    listing: &'a ProcessList,
    typed: &str,
    word: impl Fn(Pid) -> Option<(String, String)> + 'a,
) -> Vec<CompletionCandidate> {
    offer(typed, listing.pids().into_iter().filter_map(word))
}

/// Returns the distinct words that start with `typed` and have no special characters.
fn offer(typed: &str, offered: impl Iterator<Item = (String, String)>) -> Vec<CompletionCandidate> {
    let is_plain = |byte| matches!(byte, b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'_' | b'-' | b'+' | b'/');
    let mut words = BTreeMap::new();
    for (text, help) in offered {
        if text.starts_with(typed) && text.bytes().all(is_plain) {
            words.entry(text).or_insert(help);
        }
    }
    words.into_iter().map(|(text, help)| candidate(text, help)).collect()
}

fn names(listing: &ProcessList, typed: &str) -> Vec<CompletionCandidate> {
    words_of(listing, typed, |pid| Some((listing.comm(pid)?, format!("process {pid}"))))
}

fn users(listing: &ProcessList, typed: &str) -> Vec<CompletionCandidate> {
    words_of(listing, typed, |pid| {
        listing.owner(pid).map(|(uid, user)| (user, format!("UID {uid}")))
    })
}

fn containers(listing: &ProcessList, typed: &str) -> Vec<CompletionCandidate> {
    let request = Request {
        procfs: listing.path().to_owned(),
        search: [SearchScope::Processes].into(),
        details: BTreeSet::new(),
        environment: BTreeSet::new(),
        collector: Collector::Proc,
    };
    let Ok(Collected { snapshot, .. }) = collect::collect(&request) else { return Vec::new() };
    let names = |(container, process): (&Container, Option<&Process>)| {
        let pod = container.pod.as_ref().and_then(Pod::full_name);
        let comm = process.map_or("", |it| &it.comm);
        let help = format!("{comm}, {container}");
        let name = container.name.clone().filter(|_| pod.is_none());
        let length = container.short_id().len().max(typed.len());
        let id = container.id.get(..length).unwrap_or(&container.id).to_owned();
        // If the container or its pod has a name, offer the ID only if the user has typed a
        // character.
        let is_id = |_: &String| !typed.is_empty() || (name.is_none() && pod.is_none());
        let id = Some(id).filter(is_id);
        [name, pod, id].into_iter().flatten().map(move |word| (word, help.clone()))
    };
    let process = |pid: Pid| snapshot.processes.iter().find(|it| it.pid == pid);
    let own = snapshot.namespaces.iter();
    let own = own.filter_map(|it| Some((it.container.as_ref()?, it.init.and_then(process))));
    let others = snapshot.processes.iter();
    let others = others.filter_map(|it| Some((it.other_container()?, Some(it))));
    offer(typed, own.chain(others).flat_map(names))
}

/// Returns the codes of `pidns check` that start with `typed`.
fn codes(typed: &OsStr) -> Vec<CompletionCandidate> {
    let typed = typed.to_string_lossy();
    let meant = CheckCode::ALL.iter().filter(|code| code.name().starts_with(&*typed));
    meant.map(|code| candidate(code.name().to_owned(), code.meaning().to_owned())).collect()
}

/// Completer for the executable and the files in the command of `pidns run`.
struct Executable;

impl ValueCompleter for Executable {
    fn complete(&self, typed: &OsStr) -> Vec<CompletionCandidate> {
        let Some(typed) = typed.to_str().filter(|typed| !typed.contains('/')) else {
            return PathCompleter::any().complete(typed);
        };
        let path = std::env::var_os("PATH").unwrap_or_default();
        let mut found = BTreeMap::new();
        let entries =
            std::env::split_paths(&path).filter_map(|dir| fs::read_dir(dir).ok()).flatten();
        for entry in entries.flatten() {
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_meant = name.starts_with(typed) && !found.contains_key(&name);
            let runs = |it: &fs::Metadata| it.is_file() && it.permissions().mode() & 0o111 != 0;
            if is_meant && fs::metadata(entry.path()).is_ok_and(|it| runs(&it)) {
                found.insert(name, ());
            }
        }
        found.into_keys().map(CompletionCandidate::new).collect()
    }

    fn complete_at(&self, index: usize, typed: &OsStr) -> Vec<CompletionCandidate> {
        if index == 0 { self.complete(typed) } else { PathCompleter::any().complete(typed) }
    }
}
