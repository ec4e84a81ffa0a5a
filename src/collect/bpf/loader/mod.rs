//! Loads BPF iterator programs into the running kernel and reads their records.
//!
//! A BPF iterator is a program that the kernel runs once per object, such as a task or an open
//! file. Reading from the iterator's descriptor runs the program and returns the data that the
//! program writes.
//!
//! The programs are compiled once, but the offsets of struct fields differ between kernels. The
//! object file records which field each instruction accesses. The loader fills in the field's
//! offset in the running kernel (CO-RE, "compile once, run everywhere").
//!
//! - `object` reads an object file and adapts a program to the running kernel
//! - `btf` reads type information (BTF); `bytes` reads numbers and strings for `object` and `btf`
//! - `syscall` calls bpf(2) and maps memory; no other file here has `unsafe` code
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
    /// Opens an iterator. Reading from the iterator runs the program for each kernel object of its
    /// type, such as a task. The program can read `flags`, the status flags of the iterator's
    /// descriptor.
    ///
    /// If `tid` is given, the iterator visits only the task with this TID. Before Linux 6.1, the
    /// kernel ignores `tid`, and the iterator visits all tasks.
    pub fn open(&self, flags: OFlags, tid: Option<u32>) -> Result<RecordIterator, LoadError> {
        let iterator = syscall::open_iterator(&self.0, tid)?;
        fcntl_setfl(&iterator, flags)
            .map_err(|errno| LoadError::Call { call: "fcntl(F_SETFL)", errno })?;
        Ok(RecordIterator(iterator))
    }

    /// Runs the BPF program for all kernel objects of its type (such as tasks), and passes each
    /// record to `take`. Records are `size` bytes long.
    pub fn read_records<E: From<LoadError>>(
        &self,
        size: usize,
        take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        self.open(OFlags::empty(), None)?.read(size, RECORDS_AT_ONCE, take)
    }
}

/// An open BPF iterator. Its program writes records of a fixed size.
pub struct RecordIterator(OwnedFd);

impl RecordIterator {
    /// Reads all records and passes each record to `take`. Records are `size` bytes long.
    ///
    /// Each read returns at most `at_once` records, and at most 32 KiB. A slow program needs a
    /// small `at_once`, because signals are handled only between reads.
    pub fn read<E: From<LoadError>>(
        &self,
        size: usize,
        at_once: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut buffer = vec![0; size * at_once];
        loop {
            let length = match rustix::io::read(&self.0, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                // EAGAIN means that a million objects in a row had no record. EINTR means that a
                // signal arrived. The next read continues with the next object.
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
