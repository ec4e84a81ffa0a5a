//! Loads BPF programs into the kernel: the object file, the kernel's types (BTF) and
//! bpf(2).

pub mod btf;
pub mod bytes;
pub mod object;
pub mod syscall;
