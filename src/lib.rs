//! The PID namespace hierarchy of a Linux host, for people and programs.
//!
//! This library exists for the program of the same name, and to be read: it
//! makes no promise of API stability (semver) of its own. What is promised is
//! the command line and the document (see the README and `schemas/`).
//!
//! Data walks one way:
//!
//! | stage | room |
//! |---|---|
//! | arguments | [`cli`] |
//! | snapshot of the kernel, or a saved one | [`collect`] or [`document`] into [`model`] |
//! | graph, and the part of it that is selected | [`graph`] |
//! | emitter to bytes | [`emit`], its wire types in [`document`] |
//! | exit status | [`error`] |

pub mod cli;
pub mod collect;
pub mod document;
pub mod emit;
pub mod error;
pub mod graph;
pub mod model;
#[cfg(test)]
mod testing;

use std::ffi::OsString;
use std::fs::File;
use std::io::{self, BufWriter, IsTerminal as _, Read, Write};
use std::os::fd::AsFd as _;
use std::path::Path;

use cli::{Cli, Command, NamespaceArg, Origin, Parsed, Translate};
use collect::{NamespaceHandle, Request};
use emit::Sanitized;
use error::{Coverage, Error, Exit};
use graph::PidGraph;
use model::{Pid, SearchScope, Snapshot};

/// Runs the program: arguments in, output on standard output, warnings on
/// standard error.
///
/// # Errors
/// Nothing could be shown, or not all of it.
pub fn run(arguments: impl IntoIterator<Item = OsString>) -> Result<Exit, Error> {
    let cli = match cli::parse(arguments)? {
        Parsed::Run(cli) => cli,
        Parsed::Print(text) => {
            let help = anstream::AutoStream::auto(io::stdout()).write_all(text.as_bytes());
            return written(help).map(|_| Exit::Success);
        }
    };
    match cli.command {
        None => show(&cli),
        Some(Command::Translate(ref arguments)) => translate(arguments),
        Some(Command::Schema { of }) => print(of.text().as_bytes()),
        Some(Command::Completions { shell }) => print(&shell.completions()),
        Some(Command::Man) => print(&cli::man().map_err(Error::Write)?),
    }
}

/// The hierarchy, from the kernel to standard output.
fn show(cli: &Cli) -> Result<Exit, Error> {
    let root = handle(cli.select.root.as_ref(), &cli.input.origin)?;
    let snapshot = read(&cli.input.origin, || cli.input.request())?;
    let coverage = Coverage::of(&snapshot);
    let selection = cli.select.selection(root.as_ref().map(|root| root.namespace));
    let graph = PidGraph::new(snapshot);
    let missing: Vec<Pid> =
        selection.pids.iter().copied().filter(|&pid| graph.process(pid).is_none()).collect();
    let graph = graph.select(&selection).map_err(|no| coverage.error(no))?;
    let stdout = io::stdout();
    let color = match anstream::ColorChoice::from(cli.output.color) {
        anstream::ColorChoice::Auto => anstream::AutoStream::choice(&stdout),
        choice => choice,
    };
    let style = cli.output.style(stdout.is_terminal(), color != anstream::ColorChoice::Never);
    let emitter = cli.output.format().emitter(style);
    let read = output(|out| emitter.emit(&graph, out))?;
    let snapshot = graph.snapshot();
    if !missing.is_empty() && !cli.output.quiet {
        warn_missing(&missing);
    }
    // A reader that closed the pipe has coverage enough, and need not be warned.
    if snapshot.complete || read == Output::Closed {
        return Ok(Exit::Success);
    }
    if !cli.output.quiet {
        warn_incomplete(snapshot);
    }
    Ok(if cli.output.strict { Exit::Incomplete } else { Exit::Success })
}

/// A PID in another namespace: by the kernel's word where that is enough,
/// else by a scan, or a saved one.
fn translate(arguments: &Translate) -> Result<Exit, Error> {
    let Translate { pid, from, to, origin, .. } = arguments;
    let from = handle(from.as_ref(), origin)?;
    let to = handle(to.as_ref(), origin)?;
    let at_once = match &origin.file {
        Some(_) => None,
        None => collect::translate(&origin.procfs, *pid, from.as_ref(), to.as_ref())?,
    };
    let translation = if let Some(answer) = at_once {
        answer.map_err(|no| Error::NotFound { no, caveat: None })?
    } else {
        // As the hierarchy is shown: a namespace may have no process, or be
        // known by a descriptor alone.
        let search = SearchScope::default_set();
        let snapshot = read(origin, || Request { procfs: origin.procfs.clone(), search })?;
        let coverage = Coverage::of(&snapshot);
        let namespace = |handle: Option<NamespaceHandle>| handle.map(|handle| handle.namespace);
        PidGraph::new(snapshot)
            .translate(*pid, namespace(from), namespace(to))
            .map_err(|no| coverage.error(no))?
    };
    let style = arguments.style(io::stdout().is_terminal());
    output(|out| arguments.format().emit(&translation, style, out)).map(|_| Exit::Success)
}

/// A namespace that the user named. A file tells of this host, and is held
/// open while that is read.
fn handle(
    namespace: Option<&NamespaceArg>,
    origin: &Origin,
) -> Result<Option<NamespaceHandle>, Error> {
    Ok(match (namespace, &origin.file) {
        (None, _) => None,
        (Some(NamespaceArg::Ref(namespace)), _) => Some(NamespaceHandle::by(*namespace)),
        (Some(NamespaceArg::File(path)), None) => Some(NamespaceHandle::file(path)?),
        (Some(NamespaceArg::File(path)), Some(document)) => {
            return Err(Error::Usage(format!(
                "cannot style for {} in {}: a path names a namespace of this host",
                path.display(),
                document.display()
            )));
        }
    })
}

/// The live kernel, or a saved document in its place.
fn read(origin: &Origin, request: impl FnOnce() -> Request) -> Result<Snapshot, Error> {
    match &origin.file {
        Some(path) => replay(path),
        None => Ok(collect::collect(&request())?),
    }
}

/// A saved document, in place of the kernel.
fn replay(path: &Path) -> Result<Snapshot, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let input: Box<dyn Read> = if path == Path::new("-") {
        Box::new(io::stdin())
    } else {
        Box::new(File::open(path).map_err(failed)?)
    };
    let mut text = Vec::new();
    // One byte more tells that there are too many.
    input.take(document::MAX_SIZE + 1).read_to_end(&mut text).map_err(failed)?;
    if text.len() as u64 > document::MAX_SIZE {
        return Err(Error::TooLarge(path.to_owned()));
    }
    document::read(&text).map_err(|source| Error::Invalid { path: path.to_owned(), source })
}

/// Some of the processes that were asked for are not there; others are.
fn warn_missing(missing: &[Pid]) {
    let missing: Vec<_> = missing.iter().map(Pid::to_string).collect();
    // Nothing is left to do where standard error is gone.
    let _ = writeln!(io::stderr(), "pidns: no process {}", missing.join(" "));
}

/// One line, whatever the number of reasons.
fn warn_incomplete(snapshot: &Snapshot) {
    let reasons: Vec<_> = snapshot.diagnostics.iter().map(|it| it.message.as_str()).collect();
    // Nothing is left to do where standard error is gone.
    let _ = match reasons.as_slice() {
        [] => writeln!(io::stderr(), "pidns: the view is incomplete"),
        [first] => writeln!(io::stderr(), "pidns: the view is incomplete: {}", Sanitized(first)),
        [first, rest @ ..] => writeln!(
            io::stderr(),
            "pidns: the view is incomplete: {}; and {} more, see diagnostics in -f json",
            Sanitized(first),
            rest.len()
        ),
    };
}

fn print(text: &[u8]) -> Result<Exit, Error> {
    output(|out| out.write_all(text)).map(|_| Exit::Success)
}

/// What became of the output.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Output {
    /// All of it was taken.
    Taken,
    /// Its reader closed the pipe.
    Closed,
}

/// Standard output through one buffer that is flushed once, not line by line.
fn output(emit: impl FnOnce(&mut dyn Write) -> io::Result<()>) -> Result<Output, Error> {
    written(io::stdout().as_fd().try_clone_to_owned().and_then(|stdout| {
        let mut out = BufWriter::with_capacity(64 * 1024, File::from(stdout));
        emit(&mut out)?;
        out.flush()
    }))
}

/// A closed pipe is no trouble.
fn written(result: io::Result<()>) -> Result<Output, Error> {
    match result {
        Ok(()) => Ok(Output::Taken),
        Err(error) if error.kind() == io::ErrorKind::BrokenPipe => Ok(Output::Closed),
        Err(error) => Err(Error::Write(error)),
    }
}
