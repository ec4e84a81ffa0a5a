//! The files that `pidns run --report` writes.

use std::fs::{self, File, Metadata, OpenOptions};
use std::io::{self, Write};
use std::os::fd::{AsFd as _, BorrowedFd};
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;

use crate::error::Error;
use crate::output;

/// Maximum time to wait for a reader of a FIFO after the command has ended.
const READER_WAIT: Duration = Duration::from_secs(5);

/// Pause between two attempts to open a FIFO.
const RETRY_INTERVAL: Timespec = Timespec { tv_sec: 0, tv_nsec: 50_000_000 };

/// A report file, opened before the command starts and written after the command has ended.
#[derive(Debug)]
pub struct ReportFile {
    path: PathBuf,
    file: File,
    /// The metadata of the opened file, to identify it later.
    opened: Metadata,
    mode: WriteMode,
}

/// Decides what happens to the existing contents of a report file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WriteMode {
    /// The report replaces the existing contents.
    Replace,
    /// The report is appended to the existing contents.
    Append,
    /// The report is written at the current offset of a descriptor or special file.
    Stream,
    /// The report is written to a FIFO that has no reader yet. pidns opens the FIFO only after the
    /// command has ended, because the command may start the reader.
    Fifo,
}

impl ReportFile {
    /// Opens a report file, or standard error for `-`.
    ///
    /// `mode` is ignored if `path` refers to an open descriptor or to a special file.
    pub fn open(path: &Path, mode: WriteMode) -> Result<Self, Error> {
        let failed = |source| Error::Report { path: path.to_owned(), source };
        Self::try_open(path, mode).map_err(failed)
    }

    fn try_open(path: &Path, mode: WriteMode) -> io::Result<Self> {
        let standard =
            [io::stdout().as_fd().try_clone_to_owned(), io::stderr().as_fd().try_clone_to_owned()];
        let [stdout, stderr] = standard.map(|it| it.map(File::from));
        let opened_as = |file: File, mode| {
            let opened = file.metadata()?;
            let is_stream = !opened.is_file() && mode != WriteMode::Fifo;
            let mode = if is_stream { WriteMode::Stream } else { mode };
            Ok(Self { path: path.to_owned(), file, opened, mode })
        };
        if path == Path::new("-") {
            // Use standard error, because standard output belongs to the command.
            return opened_as(stderr?, WriteMode::Stream);
        }
        // A descriptor that is opened through a path such as /dev/fd/3 starts at offset 0. So
        // `Stream` opens the file for appending, and the report does not overwrite earlier output.
        let mode = if is_descriptor(path) { WriteMode::Stream } else { mode };
        let appends = mode != WriteMode::Replace;
        let mut options = OpenOptions::new();
        options.write(true).create(true).append(appends);
        let file = match options.custom_flags(libc::O_NONBLOCK).open(path) {
            Ok(file) => opened_as(file, mode)?,
            Err(error)
                if is_without_reader(&error) && fs::metadata(path)?.file_type().is_fifo() =>
            {
                let file = OpenOptions::new().read(true).custom_flags(libc::O_PATH).open(path)?;
                opened_as(file, WriteMode::Fifo)?
            }
            Err(error) => return Err(error),
        };
        if file.opened.is_file() {
            // If the report file is already open as standard output or standard error, use that
            // descriptor. A second one would have its own file offset, so the report and the
            // command's output would overwrite each other.
            for standard in [stdout, stderr].into_iter().flatten() {
                if is_same(&standard.metadata()?, &file.opened) {
                    return opened_as(standard, WriteMode::Stream);
                }
            }
        }
        Ok(file)
    }

    /// Returns [`Error::Usage`] if two reports go to the same file.
    pub fn refuse_same(files: &[Self]) -> Result<(), Error> {
        // Several reports can go to standard error, or to a device such as /dev/null.
        let files: Vec<_> = files
            .iter()
            .filter(|it| it.path != Path::new("-") && !it.opened.file_type().is_char_device())
            .collect();
        for (index, file) in files.iter().enumerate() {
            let others = files.iter().take(index);
            if let Some(other) = others.into_iter().find(|it| is_same(&it.opened, &file.opened)) {
                let (one, other) = (other.path.display(), file.path.display());
                return Err(Error::Usage(format!(
                    "two reports cannot go to the same file: --report {one} and --report {other}"
                )));
            }
        }
        Ok(())
    }

    /// Writes the report, but stops waiting for a slow reader when `stop` is readable.
    ///
    /// # Errors
    /// Fails if the report cannot be written, or if the command has replaced the file.
    pub fn write(
        self,
        stop: BorrowedFd<'_>,
        emit: impl FnOnce(&mut dyn Write) -> io::Result<()>,
    ) -> Result<(), Error> {
        let written = self.current(stop).and_then(|file| {
            if self.mode == WriteMode::Replace {
                file.set_len(0)?;
            }
            let has_contents = self.mode == WriteMode::Append && file.metadata()?.len() > 0;
            output::write_file_until(file.as_fd(), stop, |out| {
                if has_contents {
                    // Add a newline, in case the contents end in the middle of a line.
                    out.write_all(b"\n")?;
                }
                emit(out)
            })
        });
        written.map_err(|source| Error::Report { path: self.path, source })
    }

    /// Returns the open report file, or creates it again if the command has removed it.
    fn current(&self, stop: BorrowedFd<'_>) -> io::Result<File> {
        if self.mode == WriteMode::Stream {
            return self.file.try_clone();
        }
        let replaced = || io::Error::other("the command has replaced the file");
        match fs::metadata(&self.path) {
            Ok(now) if is_same(&now, &self.opened) && self.mode == WriteMode::Fifo => {
                let file = open_for_reader(&self.path, stop)?;
                if is_same(&file.metadata()?, &self.opened) { Ok(file) } else { Err(replaced()) }
            }
            Ok(now) if is_same(&now, &self.opened) => self.file.try_clone(),
            // Fail. Otherwise, the command could use a symbolic link to make pidns overwrite a file
            // that the command itself is not allowed to write.
            Ok(_) => Err(replaced()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => File::create_new(&self.path)
                .map_err(|error| match error.kind() {
                    io::ErrorKind::AlreadyExists => replaced(),
                    _ => error,
                }),
            Err(error) => Err(error),
        }
    }
}

/// Waits for a reader of a FIFO, and opens the FIFO for writing.
fn open_for_reader(path: &Path, stop: BorrowedFd<'_>) -> io::Result<File> {
    let start = Instant::now();
    loop {
        match OpenOptions::new().write(true).custom_flags(libc::O_NONBLOCK).open(path) {
            Err(error) if is_without_reader(&error) => {}
            opened => return opened,
        }
        let mut polled = [PollFd::from_borrowed_fd(stop, PollFlags::IN)];
        let is_stopped = poll(&mut polled, Some(&RETRY_INTERVAL)).is_ok_and(|ready| ready > 0);
        if is_stopped || start.elapsed() >= READER_WAIT {
            return Err(io::Error::other("no process reads from this FIFO"));
        }
    }
}

/// Returns `true` for `ENXIO`, the error from opening a FIFO that has no reader.
///
/// Opening a socket fails with the same error.
fn is_without_reader(error: &io::Error) -> bool {
    Errno::from_io_error(error) == Some(Errno::NXIO)
}

fn is_same(one: &Metadata, other: &Metadata) -> bool {
    (one.dev(), one.ino()) == (other.dev(), other.ino())
}

/// Returns `true` for the path of one of pidns's own descriptors, such as /dev/fd/3.
fn is_descriptor(path: &Path) -> bool {
    let own = Path::new("/proc/self/fd").canonicalize();
    let parent = path.parent().map(Path::canonicalize);
    matches!((own, parent), (Ok(own), Some(Ok(parent))) if own == parent)
}
