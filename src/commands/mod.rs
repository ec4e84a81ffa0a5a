//! One file a command, and nothing that decides what a snapshot holds or how it
//! is shown. What they share is here: loading a snapshot, live or saved, and
//! opening a namespace that the user named.

mod check;
mod complete;
mod diff;
mod run;
mod schema;
mod show;
mod translate;

use std::collections::BTreeSet;
use std::env;
use std::fs::File;
use std::io::{self, BufRead, BufReader};
use std::path::Path;

use crate::cli::{NamespaceArg, Origin};
use crate::collect::{self, NamespaceHandle, Request};
use crate::document;
use crate::error::Error;
use crate::model::{Detail, SearchScope, Snapshot};
use crate::output;

pub use check::check;
pub use complete::complete;
pub use diff::diff;
pub use run::run;
pub use schema::schema;
pub use show::show;
pub use translate::translate;

/// The environment variable that has pidns say how it read the kernel.
const DEBUG: &str = "PIDNS_DEBUG";

/// The live kernel, searched in these places and with these details of
/// processes, or a saved document instead.
fn load(
    origin: &Origin,
    search: BTreeSet<SearchScope>,
    details: BTreeSet<Detail>,
    quiet: bool,
) -> Result<Snapshot, Error> {
    if let Some(path) = &origin.file {
        return replay(path, origin.host.as_deref(), quiet);
    }
    let (procfs, collector) = (origin.procfs.clone(), origin.collector);
    collect(&Request { procfs, search, details, collector })
}

/// Reads the live kernel; how, is said on standard error if [`DEBUG`] is set.
fn collect(request: &Request) -> Result<Snapshot, Error> {
    let collected = collect::collect(request)?;
    if env::var_os(DEBUG).is_some_and(|value| !value.is_empty() && value != "0") {
        output::warn(format_args!("collector: {}", collected.way));
    }
    Ok(collected.snapshot)
}

/// A saved document, from a file or standard input; `host` says which, where there
/// may be several. What this version does not
/// know of it is left out, and said to be.
fn replay(path: &Path, host: Option<&str>, quiet: bool) -> Result<Snapshot, Error> {
    let failed = |source| Error::Read { path: path.to_owned(), source };
    let input: Box<dyn BufRead> = if path == Path::new("-") {
        Box::new(io::stdin().lock())
    } else {
        Box::new(BufReader::new(File::open(path).map_err(failed)?))
    };
    let (snapshot, passed_over) = document::read_from(input, host)
        .map_err(failed)?
        .map_err(|source| Error::Invalid { path: path.to_owned(), source })?;
    if !passed_over.is_empty() && !quiet {
        output::warn(format_args!("{}: passed over {passed_over}", path.display()));
    }
    Ok(snapshot)
}

/// A namespace that the user named. A file names one of this host, and is held
/// open while the kernel is read.
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
                "cannot look for {} in {}: a path names a namespace of this host",
                path.display(),
                document.display()
            )));
        }
    })
}
