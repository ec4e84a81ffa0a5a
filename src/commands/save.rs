//! Saves snapshots in a directory, for `pidns watch --save`.

use std::fs::File;
use std::io::{self, BufWriter, Write as _};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Access, AtFlags, CWD, Mode, OFlags, accessat, openat, unlinkat};
use rustix::io::Errno;

use crate::emit::{Format, Style};
use crate::error::Error;
use crate::graph::PidGraph;
use crate::model::Snapshot;

/// Maximum number of saved files whose names contain the same timestamp.
const MAX_SAME_TIME: u32 = 1000;

/// The directory for saved snapshots, kept open in case it is renamed.
#[derive(Debug)]
pub struct SaveDir {
    dir: OwnedFd,
    path: PathBuf,
}

impl SaveDir {
    /// Opens the directory, and checks that pidns can create files in it.
    pub fn open(path: &Path) -> Result<Self, Error> {
        let failed = |errno: Errno| Error::Report { path: path.to_owned(), source: errno.into() };
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let dir = openat(CWD, path, flags, Mode::empty()).map_err(failed)?;
        accessat(&dir, c".", Access::WRITE_OK | Access::EXEC_OK, AtFlags::EACCESS)
            .map_err(failed)?;
        Ok(Self { dir, path: path.to_owned() })
    }

    /// Saves a snapshot in a new JSON file with `word` in its name, and returns the path.
    pub fn save(&self, snapshot: &Snapshot, word: &str) -> Result<PathBuf, Error> {
        let (file, name) = self.create(&snapshot.captured_at, word)?;
        let path = self.path.join(&name);
        let graph = PidGraph::new(snapshot.clone());
        let mut out = BufWriter::new(file);
        let written = Format::Json.emit(&graph, Style::default(), &mut out);
        written.and_then(|()| out.flush()).map_err(|source| {
            let _ = unlinkat(&self.dir, name.as_str(), AtFlags::empty());
            Error::Report { path: path.clone(), source }
        })?;
        Ok(path)
    }

    /// Creates a file that does not exist yet, and returns the file and its name.
    fn create(&self, captured_at: &str, word: &str) -> Result<(File, String), Error> {
        // Use the compact form without `-` and `:`, because scp(1) parses the text before a colon
        // as a host name.
        let time = captured_at.replace(['-', ':'], "");
        let flags = OFlags::WRONLY | OFlags::CREATE | OFlags::EXCL | OFlags::CLOEXEC;
        let mode = Mode::from_raw_mode(0o666);
        let mut number = 1;
        loop {
            let name = match number {
                1 => format!("{time}-{word}.json"),
                _ => format!("{time}-{word}-{number}.json"),
            };
            match openat(&self.dir, name.as_str(), flags, mode) {
                Ok(file) => return Ok((File::from(file), name)),
                Err(Errno::EXIST) if number < MAX_SAME_TIME => number += 1,
                Err(errno) => {
                    let source = io::Error::from(errno);
                    return Err(Error::Report { path: self.path.join(name), source });
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::farm;

    #[test]
    fn a_file_is_never_overwritten() {
        let dir = tempfile::tempdir().unwrap();
        let save = SaveDir::open(dir.path()).unwrap();
        let time = "20261123T142800.123456Z";
        let taken = dir.path().join(format!("{time}-before.json"));
        std::fs::write(&taken, "taken").unwrap();
        std::os::unix::fs::symlink("taken", dir.path().join(format!("{time}-before-2.json")))
            .unwrap();
        let third = save.save(&farm(), "before").unwrap();
        assert_eq!(third, dir.path().join(format!("{time}-before-3.json")));
        assert_eq!(std::fs::read_to_string(taken).unwrap(), "taken");
        assert!(!dir.path().join("taken").exists());
        let text = std::fs::read_to_string(third).unwrap();
        assert!(crate::document::read(text.as_bytes()).is_ok());
    }
}
