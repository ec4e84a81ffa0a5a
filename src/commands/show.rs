//! The hierarchy, or the part of it that was asked for.

use super::{handle, load};
use crate::cli::Cli;
use crate::emit::Style;
use crate::error::Error;
use crate::exit::Exit;
use crate::graph::PidGraph;
use crate::model::{Detail, Diagnostic, Pid, Snapshot};
use crate::output::{self, Outcome};
use crate::query::{self, Coverage};

/// Shows the hierarchy.
///
/// # Errors
/// There is no snapshot, nothing in it that was asked for, or the output could
/// not be written.
pub fn show(cli: &Cli) -> Result<Exit, Error> {
    let root = handle(cli.select.filter.root.as_ref(), &cli.input.origin)?;
    let mut details = cli.input.details();
    // Which container a process is in is told by its cgroup.
    details.extend(cli.select.filter.container.as_ref().map(|_| Detail::Cgroup));
    let snapshot = load(&cli.input.origin, cli.input.search(), details, cli.output.quiet)?;
    let coverage = Coverage::of(&snapshot);
    let only_inits =
        cli.select.filter.container.is_some() && !snapshot.details.contains(&Detail::Cgroup);
    let selection = cli.select.selection(root.as_ref().map(|root| root.namespace));
    let graph = PidGraph::new(snapshot);
    let missing: Vec<Pid> =
        selection.pids.iter().copied().filter(|&pid| graph.process(pid).is_none()).collect();
    let graph = query::select(graph, &selection).map_err(|no| Error::not_found(no, &coverage))?;
    let color = output::is_colored(cli.output.color.into());
    let style = Style {
        ascii: cli.output.ascii || !output::is_utf8(),
        width: output::width(),
        unfolded: cli.folding.no_fold,
        ..cli.output.style(output::is_terminal(), color)
    };
    let emitter = cli.output.format.emitter(style);
    let outcome = output::write(|out| emitter.emit(&graph, out))?;
    let snapshot = graph.snapshot();
    if !missing.is_empty() && !cli.output.quiet {
        warn_missing(&missing);
    }
    if only_inits && !cli.output.quiet {
        output::warn("the document has no cgroups of processes, so only those of inits count");
    }
    // A reader that closed the pipe has seen enough, and need not be warned.
    if snapshot.complete || outcome == Outcome::Closed {
        return Ok(Exit::Success);
    }
    if !cli.output.quiet {
        warn_incomplete(snapshot);
    }
    Ok(if cli.output.strict { Exit::Incomplete } else { Exit::Success })
}

/// Says which of the processes that were asked for are not there, where others are.
fn warn_missing(missing: &[Pid]) {
    let missing: Vec<_> = missing.iter().map(Pid::to_string).collect();
    output::warn(format_args!("no process {}", missing.join(" ")));
}

/// Says that the view is incomplete, in one short line however many reasons
/// there are: what is missing in the first place, and where all of it is told.
fn warn_incomplete(snapshot: &Snapshot) {
    let mut reasons = snapshot.diagnostics.iter().filter(|diagnostic| diagnostic.is_gap());
    let first = reasons.next().map(short).unwrap_or_default();
    let more = match reasons.count() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let colon = if first.is_empty() { "" } else { ": " };
    output::warn(format_args!("incomplete{colon}{first}{more}; see .diagnostics in -f json"));
}

/// A diagnostic without its advice: what could not be found out, and why.
fn short(diagnostic: &Diagnostic) -> String {
    let (message, advice) =
        diagnostic.message.split_once("; ").unwrap_or((&diagnostic.message, ""));
    let (Some(_), Some((what, why))) = (&diagnostic.errno, message.rsplit_once(": ")) else {
        return message.to_owned();
    };
    // The number of the error is for those who read the document.
    let why = why.split(" (os error ").next().unwrap_or(why);
    let even = if advice.starts_with("refused even") { ", even as root" } else { "" };
    format!("{what} ({why}{even})")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::Severity;

    #[test]
    fn a_warning_is_short_and_says_why() {
        for (message, errno, expected) in [
            (
                "1 process could not be read: Permission denied (os error 13); refused even to \
                 CAP_SYS_PTRACE, as a security module may do",
                Some("EACCES"),
                "1 process could not be read (Permission denied, even as root)",
            ),
            (
                "cannot search the mounts of 2 processes: Permission denied (os error 13); \
                 run as root to be told",
                Some("EACCES"),
                "cannot search the mounts of 2 processes (Permission denied)",
            ),
            (
                "the namespaces of 3 processes are ambiguous; x",
                None,
                "the namespaces of 3 processes are ambiguous",
            ),
        ] {
            let diagnostic = Diagnostic {
                code: "process-unreadable".to_owned(),
                severity: Severity::Warning,
                message: message.to_owned(),
                errno: errno.map(str::to_owned),
                pids: Vec::new(),
            };
            assert_eq!(short(&diagnostic), expected);
        }
    }
}
