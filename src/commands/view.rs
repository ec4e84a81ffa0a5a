//! Loads snapshots, finds namespaces and chooses styles for several verbs (subcommands).

use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::cli::{Formats, NamespaceArg, Origin, Output};
use crate::collect::{self, Collected, NamespaceHandle, Request};
use crate::document;
use crate::emit::Style;
use crate::error::Error;
use crate::exit::Exit;
use crate::model::{Detail, EnvPattern, SearchScope, Snapshot};
use crate::output;
use crate::query::Incomparable;

/// Environment variable that makes pidns print the name of its collector.
const DEBUG: &str = "PIDNS_DEBUG";

/// Takes a snapshot of the live host, or reads the saved document.
pub fn load(
    origin: &Origin,
    search: BTreeSet<SearchScope>,
    details: BTreeSet<Detail>,
    environment: BTreeSet<EnvPattern>,
    quiet: bool,
) -> Result<Snapshot, Error> {
    if let Some(path) = &origin.file {
        if !environment.is_empty() {
            let problem = "--env and rules with env= need the live host: documents contain no \
                 environments";
            return Err(Error::Usage(problem.to_owned()));
        }
        return load_document(path, origin.host.as_deref(), quiet);
    }
    let (procfs, collector) = (origin.procfs.clone(), origin.collector);
    collect(&Request { procfs, search, details, environment, collector })
}

/// Takes a snapshot of the live host.
pub fn collect(request: &Request) -> Result<Snapshot, Error> {
    collect::collect(request).map(snapshot).map_err(Error::from)
}

/// Returns the snapshot, and prints the collector's name in debug mode.
pub fn snapshot(collected: Collected) -> Snapshot {
    if env::var_os(DEBUG).is_some_and(|value| !value.is_empty() && value != "0") {
        output::warn(format_args!("collector: {}", collected.collector));
    }
    collected.snapshot
}

/// Reads the snapshot of `host` from a saved document, or from standard input (`-`).
pub fn load_document(path: &Path, host: Option<&str>, quiet: bool) -> Result<Snapshot, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let input: Box<dyn BufRead> = if is_stdin(path) {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(failed)?))
    };
    let (snapshot, ignored) = document::read_from(input, host)
        .map_err(failed)?
        .map_err(|source| Error::Invalid { path: path.to_owned(), source })?;
    // The document has values that this version of pidns does not know.
    if !ignored.is_empty() && !quiet {
        output::warn(format_args!("{}: ignored {ignored}", path.display()));
    }
    Ok(snapshot)
}

/// Returns an error if both documents are standard input.
pub fn check_stdin(before: Option<&Path>, after: Option<&Path>) -> Result<(), Error> {
    if before.is_some_and(is_stdin) && after.is_some_and(is_stdin) {
        return Err(Error::Usage("only one of two documents can be standard input".to_owned()));
    }
    Ok(())
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

/// Returns a handle for the namespace that an argument refers to.
pub fn handle(
    namespace: Option<&NamespaceArg>,
    origin: &Origin,
) -> Result<Option<NamespaceHandle>, Error> {
    Ok(match (namespace, &origin.file) {
        (None, _) => None,
        (Some(NamespaceArg::Ref(namespace)), _) => Some(NamespaceHandle::by(*namespace)),
        // The open file keeps the kernel from reusing the inode during the scan.
        (Some(NamespaceArg::File(path)), None) => Some(NamespaceHandle::file(path)?),
        (Some(NamespaceArg::File(path)), Some(document)) => {
            return Err(Error::Usage(format!(
                "cannot look for {} in {}: a path names a namespace of this host",
                path.display(),
                document.display()
            )));
        }
    })
}

/// Returns the error for snapshots that cannot be compared. `before` and `after` are the paths of
/// the snapshots, and `after` is `None` for the live host.
pub fn incomparable(why: Incomparable, before: &Path, after: Option<&Path>) -> Error {
    Error::Incomparable { before: before.to_owned(), after: after.map(Path::to_owned), why }
}

/// Returns the output style, which depends on the options, the terminal and the locale.
pub fn style<F: Formats>(output: &Output<F>, no_fold: bool) -> Style {
    let color = output::is_colored(output.color.into());
    Style {
        ascii: output.ascii || !output::is_utf8(),
        width: output::width(),
        unfolded: no_fold,
        ..output.style(output::is_terminal(), color)
    }
}

/// Returns the exit status of pidns. `is_negative` requests exit status 1, for example if the
/// snapshots differ.
pub fn exit_status(is_negative: bool, is_complete: bool, strict: bool) -> Exit {
    match is_negative {
        true => Exit::No,
        false if strict && !is_complete => Exit::Incomplete,
        false => Exit::Success,
    }
}
