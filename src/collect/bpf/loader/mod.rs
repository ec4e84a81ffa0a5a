//! Loads BPF iterator programs into the running kernel and reads their records.
//!
//! A BPF iterator is a program that the kernel runs once per object of some kind, here per task or
//! per open file, while someone reads from the iterator's descriptor. Whatever the program writes
//! comes out of that descriptor.
//!
//! The programs are compiled once, before pidns is released. The fields of the kernel's structs
//! have other offsets in each kernel, so the object file says which field each instruction means,
//! and the loader fills in the running kernel's offset (CO-RE, "compile once, run everywhere").
//!
//! - `object` reads an object file and adapts a program to the running kernel
//! - `btf` reads type information; `bytes` reads single numbers of both formats
//! - `syscall` calls bpf(2) and maps memory: the only file here with `unsafe` code
//! - `error` why a program could not be loaded or run

mod btf;
mod bytes;
mod error;
mod object;
mod syscall;

use std::os::fd::{AsFd as _, OwnedFd};

use rustix::io::Errno;

pub use error::LoadError;
use object::Object;
pub use object::{ProgramSpec, RDONLY_CAST};
pub use syscall::{Array, KernelTypes};

/// Bytes to read from an iterator at a time. The kernel returns 32 KiB at most.
const BUFFER: usize = 32 * 1024;

/// An object file whose types the kernel has accepted.
pub struct LoadedObject {
    object: Object,
    types: OwnedFd,
}

impl LoadedObject {
    /// Hands the types of an object file to the kernel.
    pub fn load(object: &'static [u8]) -> Result<Self, LoadError> {
        let object = Object::read(object).ok_or(LoadError::InvalidObject)?;
        let types = syscall::load_types(object.types)?;
        Ok(Self { object, types })
    }

    /// Adapts one of the programs to the kernel and loads it.
    pub fn program(
        &self,
        spec: ProgramSpec<'_>,
        kernel: &KernelTypes,
    ) -> Result<IteratorProgram, LoadError> {
        let program = self.object.program(spec, kernel)?;
        syscall::load_program(&program, spec.name, self.types.as_fd()).map(IteratorProgram)
    }
}

/// An iterator program that the kernel has verified.
pub struct IteratorProgram(OwnedFd);

impl IteratorProgram {
    /// Runs the program over all objects and passes each record, of `size` bytes, to `take`.
    pub fn read_records<E: From<LoadError>>(
        &self,
        size: usize,
        mut take: impl FnMut(&[u8]) -> Result<(), E>,
    ) -> Result<(), E> {
        let iterator = syscall::open_iterator(&self.0)?;
        let mut buffer = vec![0; BUFFER];
        loop {
            let length = match rustix::io::read(&iterator, &mut buffer) {
                Ok(0) => return Ok(()),
                Ok(length) => length,
                // The kernel returns EAGAIN after a million objects without any output. The next
                // read continues from there.
                Err(Errno::AGAIN | Errno::INTR) => continue,
                Err(errno) => return Err(LoadError::Call { call: "BPF_ITER_CREATE", errno }.into()),
            };
            buffer.get(..length).unwrap_or_default().chunks(size).try_for_each(&mut take)?;
        }
    }
}
