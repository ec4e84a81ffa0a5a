//! Loads BPF iterator programs into the running kernel and reads their records.
//!
//! The kernel runs a BPF iterator program once per object, such as a task or an open file. Reading
//! from the iterator's descriptor runs the program and returns its records.
//!
//! The offsets of struct fields differ between kernels. The object file names the field that each
//! instruction accesses, and the loader fills in the offset (CO-RE, "compile once, run
//! everywhere").
//!
//! - `object` reads an object file and adapts a program to the running kernel
//! - `btf` reads type information (BTF)
//! - `bytes` reads numbers and strings for `object` and `btf`
//! - `syscall` contains all `unsafe` code, which calls bpf(2) and maps memory
//! - `error` defines the reasons why a program could not be loaded or run

mod btf;
mod bytes;
mod error;
mod object;
mod syscall;

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::fs::{OFlags, fcntl_setfl};
use rustix::io::Errno;

pub use error::LoadError;
use object::Object;
pub use object::{ProgramSpec, RDONLY_CAST};
pub use syscall::{Array, KernelTypes, create_hash};

/// Number of records per read, for programs that take little time per record.
const RECORDS_AT_ONCE: usize = 256;

/// A BPF object file whose type information has been loaded into the kernel.
pub struct LoadedObject {
    object: Object,
    types: OwnedFd,
}

impl LoadedObject {
    /// Reads a BPF object file, and loads its type information into the kernel.
    pub fn load(object: &'static [u8]) -> Result<Self, LoadError> {
        let object = Object::read(object).ok_or(LoadError::InvalidObject)?;
        let types = syscall::load_types(object.types)?;
        Ok(Self { object, types })
    }

    /// Adapts one program of the object file to the running kernel, and loads it.
    pub fn program(
        &self,
        spec: ProgramSpec<'_>,
        kernel: &KernelTypes,
    ) -> Result<IteratorProgram, LoadError> {
        let program = self.object.program(spec, kernel)?;
        syscall::load_program(&program, spec.name, self.types.as_fd()).map(IteratorProgram)
    }
}

/// A BPF iterator program that the kernel has verified and loaded.
#[derive(Debug)]
pub struct IteratorProgram(OwnedFd);

impl IteratorProgram {
    /// Opens an iterator over all tasks, or over the task with the TID `tid`.
    ///
    /// `flags` become the status flags of the iterator's descriptor, so the BPF program can read
    /// them. Before Linux 6.1, the kernel ignores `tid`.
    pub fn open(&self, flags: OFlags, tid: Option<u32>) -> Result<RecordIterator, LoadError> {
        let iterator = syscall::open_iterator(&self.0, tid)?;
        fcntl_setfl(&iterator, flags)
            .map_err(|errno| LoadError::Call { call: "fcntl(F_SETFL)", errno })?;
        Ok(RecordIterator(iterator))
    }

    /// Runs the program, and passes each record of `size` bytes to `take`.
    pub fn read_records<E: From<LoadError>>(
        &self,
        size: usize,
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(OFlags::empty(), None)?.read(size, RECORDS_AT_ONCE, take)
    }
}

/// An open BPF iterator that returns records of a fixed size.
pub struct RecordIterator(OwnedFd);

impl RecordIterator {
    /// Reads all records of `size` bytes, and passes each record to `take`.
    ///
    /// A slow program needs a small `at_once`, because signals are handled only between reads.
    pub fn read<E: From<LoadError>>(
        &self,
        size: usize,
        at_once: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        // The kernel returns at most 32 KiB per read.
        let mut buffer = vec![0; size * at_once];
        loop {
            let length = match rustix::io::read(&self.0, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                // The program wrote no record for a million objects in a row (EAGAIN), or a signal
                // arrived (EINTR).
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(errno) => {
                    return Err(LoadError::Call { call: "read(BPF iterator)", errno }.into());
                }
            };
            buffer.get(..length).unwrap_or_default().chunks(size).try_for_each(&mut take)?;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::File;

    use super::*;

    #[test]
    fn an_error_names_the_system_call_that_failed() {
        let unreadable = File::options().write(true).open("/dev/null").unwrap();
        let read = RecordIterator(unreadable.into()).read(8, 1, |_| Ok::<_, LoadError>(()));
        let expected = "read(BPF iterator): Bad file descriptor (os error 9)";
        assert_eq!(read.unwrap_err().to_string(), expected);
    }
}
