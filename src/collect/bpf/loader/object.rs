//! Reads the BPF object files built into pidns and adapts their programs to the running kernel.
//!
//! pidns does not use a library, because a library would slow down startup. aya takes 85 to 180 ms.
//! libbpf-rs takes 34 ms, and needs a C compiler at build time. This module and `btf` together take
//! 2 to 3 ms.
//!
//! An object file is an ELF file from clang (64 bits, little-endian) with these sections:
//!
//! - one section per program, named after the program, with its instructions (8 bytes each)
//! - `.relNAME`, where NAME is the name of a program: a list of the instructions that refer to a
//!   function or to a map
//! - `.BTF`: the types that the source declares
//! - `.BTF.ext`: the functions and the CO-RE relocations of each program

use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::btf::{Btf, Member};
use super::bytes::{long_offset_at, offset_at, part, text_at, u16_at, u32_at};
use super::error::LoadError;

/// Size of an instruction in bytes.
const INSTRUCTION: usize = 8;

/// Opcode of the double-length instruction that loads a 64-bit constant.
const LOAD_CONSTANT: u8 = 0x18;

/// Source register value that marks the load of a function's address (`BPF_PSEUDO_FUNC`).
const PSEUDO_FUNCTION: u8 = 4;

/// Source register value that marks the load of a map's descriptor (`BPF_PSEUDO_MAP_FD`).
const PSEUDO_MAP: u8 = 1;

/// Size of an ELF symbol in bytes.
const SYMBOL: usize = 24;

/// The kernel function (kfunc) that tells the verifier the type of a pointer (since Linux 6.2).
pub const RDONLY_CAST: &str = "bpf_rdonly_cast";
/// Placeholder in the object files for the BTF ID of [`RDONLY_CAST`].
const RDONLY_CAST_PLACEHOLDER: i32 = 0x7dcb_0001;

/// Opcode of a call.
const CALL: u8 = 0x85;

/// Source register value that marks the call of a kernel function (`BPF_PSEUDO_KFUNC_CALL`).
const PSEUDO_KFUNC: u8 = 2;

/// An invalid call that replaces each access to an optional field that the kernel lacks.
///
/// The program tests for the field first, so the verifier never reaches the call.
const UNREACHABLE: [u8; INSTRUCTION] = [CALL, 0, 0, 0, 0x10, 0x23, 0xad, 0x0b];

/// Kinds of CO-RE relocations (`bpf_core_relo_kind` in the kernel).
mod relocation {
    pub const FIELD_OFFSET: u32 = 0;
    pub const FIELD_EXISTS: u32 = 2;
    pub const TYPE_ID: u32 = 7;
}

/// A program to load from an object file.
#[derive(Clone, Copy)]
pub struct ProgramSpec<'a> {
    /// The section of the object file that contains the program.
    pub section: &'static str,
    /// The program's name in `bpftool prog`, at most 15 bytes.
    pub name: &'static str,
    /// The kernel function that declares the iterator's arguments, such as `bpf_iter_task`.
    pub iterator: &'static str,
    /// The map that the program uses, if the object file declares a map.
    pub map: Option<BorrowedFd<'a>>,
}

/// A program that was adapted to the running kernel.
pub struct Program {
    pub instructions: Vec<u8>,
    /// For each function, the index of its first instruction and its type ID in [`Object::types`].
    pub functions: Vec<u8>,
    /// BTF ID of the kernel function that [`ProgramSpec::iterator`] names.
    pub iterator: u32,
}

/// A BPF object file built into pidns.
pub struct Object {
    bytes: &'static [u8],
    /// The `.BTF` section, which is loaded into the kernel unchanged.
    pub types: &'static [u8],
    extension: &'static [u8],
}

/// A program before its CO-RE relocations are applied.
struct RawProgram {
    instructions: Vec<u8>,
    functions: Vec<u8>,
    relocations: Vec<Relocation<'static>>,
}

impl Object {
    /// Finds the sections of a BPF object file.
    pub fn read(bytes: &'static [u8]) -> Option<Self> {
        Some(Self {
            bytes,
            types: section(bytes, b".BTF")?,
            extension: section(bytes, b".BTF.ext")?,
        })
    }

    /// Adapts a program to the kernel whose type information (BTF) is `kernel`.
    pub fn program(&self, spec: ProgramSpec<'_>, kernel: &[u8]) -> Result<Program, LoadError> {
        let missing = |name: &[u8]| LoadError::Missing(String::from_utf8_lossy(name).into_owned());
        let (own, ..) = Btf::read(self.types, &[], &[]).ok_or(LoadError::InvalidObject)?;
        let RawProgram { mut instructions, functions, relocations } =
            self.raw_program(spec, &own).ok_or(LoadError::InvalidObject)?;

        let mut structs: Vec<_> = relocations.iter().map(|it| it.name).collect();
        structs.sort_unstable();
        structs.dedup();
        let kernel_functions = [spec.iterator.as_bytes(), RDONLY_CAST.as_bytes()];
        let (kernel, struct_ids, function_ids) =
            Btf::read(kernel, &structs, &kernel_functions).ok_or(LoadError::InvalidTypes)?;
        let [iterator, cast] = *function_ids.first_chunk().ok_or(LoadError::InvalidTypes)?;
        for it in &relocations {
            let index = structs.binary_search(&it.name).ok();
            let id = index.and_then(|index| struct_ids.get(index).copied().flatten());
            let found = id.and_then(|id| it.find(&own, &kernel, id));
            // A field is optional if the program tests whether the field exists.
            let is_optional = || {
                let is_test = |other: &Relocation<'_>| other.kind == relocation::FIELD_EXISTS;
                relocations.iter().any(|other| is_test(other) && other.is_same_field(it))
            };
            let value = match (it.kind, found) {
                (relocation::FIELD_EXISTS, found) => Some(found.is_some().into()),
                (relocation::FIELD_OFFSET, Some(offset)) => Some(offset),
                (relocation::FIELD_OFFSET, None) if is_optional() => None,
                (relocation::TYPE_ID, Some(_)) => id,
                (relocation::TYPE_ID, None) => return Err(missing(it.name)),
                (relocation::FIELD_OFFSET, None) => return Err(missing(&it.path(&own))),
                _ => return Err(LoadError::InvalidObject),
            };
            patch_value(&mut instructions, it.at, value).ok_or(LoadError::InvalidObject)?;
        }
        // Report a missing field before a missing `bpf_rdonly_cast`. The fallback program works
        // without this kernel function, but needs the same fields.
        patch_casts(&mut instructions, cast).ok_or_else(|| missing(RDONLY_CAST.as_bytes()))?;
        let iterator = iterator.ok_or_else(|| missing(spec.iterator.as_bytes()))?;
        Ok(Program { instructions, functions, iterator })
    }

    /// Reads a program, its functions and its relocations.
    fn raw_program(&self, spec: ProgramSpec<'_>, own: &Btf<'static>) -> Option<RawProgram> {
        let mut instructions = section(self.bytes, spec.section.as_bytes())?.to_vec();
        self.patch_addresses(spec, &mut instructions)?;
        let mut functions = Vec::new();
        for entry in self.extension_records(own, FUNCTION_TABLE, spec.section)? {
            // The kernel expects the index of an instruction in place of an offset in bytes.
            let first = u32_at(entry, 0)? / u32::try_from(INSTRUCTION).ok()?;
            functions.extend(first.to_le_bytes());
            functions.extend(u32_at(entry, 4)?.to_le_bytes());
        }
        let relocations = self.extension_records(own, RELOCATION_TABLE, spec.section)?;
        let relocations =
            relocations.map(|entry| Relocation::read(own, entry)).collect::<Option<_>>()?;
        Some(RawProgram { instructions, functions, relocations })
    }

    /// Fills in the distance to each referenced function, and the descriptor of the map.
    fn patch_addresses(&self, spec: ProgramSpec<'_>, instructions: &mut [u8]) -> Option<()> {
        let symbols = section(self.bytes, b".symtab")?;
        let relocations = section(self.bytes, format!(".rel{}", spec.section).as_bytes());
        for relocation in relocations.unwrap_or_default().chunks_exact(16) {
            let at = long_offset_at(relocation, 0)?;
            let symbol = offset_at(relocation, 12)?.checked_mul(SYMBOL)?;
            // Only the map's symbol is undefined (section 0). The other symbols are functions.
            let is_defined = u16_at(symbols, symbol.checked_add(6)?)? != 0;
            let (mark, value) = if is_defined {
                // In the object file, this field is the offset of the called function in bytes.
                let start = i32::try_from(offset_at(instructions, at.checked_add(4)?)?).ok()?;
                // The kernel expects the distance from the next instruction to the function,
                // counted in instructions.
                let next = i32::try_from(at + INSTRUCTION).ok()?;
                (PSEUDO_FUNCTION, (start - next) / i32::try_from(INSTRUCTION).ok()?)
            } else {
                (PSEUDO_MAP, spec.map?.as_raw_fd())
            };
            let [opcode, registers, _, _, constant @ ..] =
                instructions.get_mut(at..)?.first_chunk_mut::<INSTRUCTION>()?;
            if *opcode != LOAD_CONSTANT {
                return None;
            }
            // The source register is the upper half of this byte.
            *registers |= mark << 4;
            *constant = value.to_le_bytes();
        }
        Some(())
    }

    /// Returns the records about one section from a table in `.BTF.ext`.
    fn extension_records(
        &self,
        own: &Btf<'static>,
        table_at: usize,
        section: &str,
    ) -> Option<std::slice::ChunksExact<'static, u8>> {
        let header_length = offset_at(self.extension, 4)?;
        let start = header_length.checked_add(offset_at(self.extension, table_at)?)?;
        let table = part(self.extension, start, offset_at(self.extension, table_at + 4)?)?;
        let size = offset_at(table, 0).filter(|&size| size > 0)?;
        let mut at = 4;
        while at < table.len() {
            let length = size.checked_mul(offset_at(table, at + 4)?)?;
            let records = part(table, at + 8, length)?;
            if own.text(u32_at(table, at)?)? == section.as_bytes() {
                return Some(records.chunks_exact(size));
            }
            at += 8 + length;
        }
        Some([].chunks_exact(size))
    }
}

/// Position of the function table's offset (`func_info_off`) in the `.BTF.ext` header.
const FUNCTION_TABLE: usize = 8;
/// Position of the CO-RE relocation table's offset (`core_relo_off`) in the `.BTF.ext` header.
const RELOCATION_TABLE: usize = 24;

/// An instruction with a value that depends on the running kernel (CO-RE relocation).
struct Relocation<'a> {
    /// Offset of the instruction, in bytes.
    at: usize,
    /// BTF ID of the struct in the object file.
    id: u32,
    /// The name of the struct.
    name: &'a [u8],
    /// The path from the struct to the field, as member numbers and array indices, such as `:1:0`.
    access: &'a str,
    /// One of the constants in [`relocation`].
    kind: u32,
}

impl<'a> Relocation<'a> {
    fn read(own: &Btf<'a>, entry: &[u8]) -> Option<Self> {
        let id = u32_at(entry, 4)?;
        let access = std::str::from_utf8(own.text(u32_at(entry, 8)?)?).ok()?;
        Some(Self {
            at: offset_at(entry, 0)?,
            id,
            name: own.name(id)?,
            // The first number is an index into an array of structs, and must be 0.
            access: access.strip_prefix('0')?,
            kind: u32_at(entry, 12)?,
        })
    }

    fn is_same_field(&self, other: &Self) -> bool {
        (self.id, self.access) == (other.id, other.access)
    }

    fn steps(&self) -> impl Iterator<Item = Option<usize>> + use<'a> {
        self.access.split(':').skip(1).map(|step| step.parse().ok())
    }

    /// Returns the field's offset in the kernel's struct, if the field has the same size there.
    fn find(&self, own: &Btf<'_>, kernel: &Btf<'_>, kernel_id: u32) -> Option<u32> {
        let (mut here, mut there) = (self.id, Member { offset: 0, type_id: kernel_id });
        for step in self.steps() {
            let step = step?;
            if let Some(element) = own.element(here) {
                here = element;
                let element = kernel.element(there.type_id)?;
                let skipped = kernel.size(element)?.checked_mul(u32::try_from(step).ok()?)?;
                there = Member { offset: there.offset.checked_add(skipped)?, type_id: element };
            } else {
                let (name, type_id) = own.member_at(here, step)?;
                here = type_id;
                let inner = kernel.member(there.type_id, name)?;
                there = Member { offset: there.offset.checked_add(inner.offset)?, ..inner };
            }
        }
        // Do not compare the sizes of structs and arrays, because the C sources declare only parts
        // of them.
        let is_partial = own.member_at(here, 0).is_some() || own.element(here).is_some();
        (is_partial || own.size(here) == kernel.size(there.type_id)).then_some(there.offset)
    }

    /// Returns the full name of the field, such as `task_struct.comm`, for use in messages.
    fn path(&self, own: &Btf<'_>) -> Vec<u8> {
        let (mut path, mut here) = (self.name.to_vec(), self.id);
        for step in self.steps().flatten() {
            if let Some(element) = own.element(here) {
                here = element;
            } else if let Some((name, type_id)) = own.member_at(here, step) {
                path.push(b'.');
                path.extend(name);
                here = type_id;
            }
        }
        path
    }
}

/// Writes the BTF ID `id` into every call to [`RDONLY_CAST`].
fn patch_casts(instructions: &mut [u8], id: Option<u32>) -> Option<()> {
    let mut at = 0;
    while let Some([opcode, registers, _, _, value @ ..]) =
        instructions.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<INSTRUCTION>)
    {
        if *opcode == CALL && *value == RDONLY_CAST_PLACEHOLDER.to_le_bytes() {
            *registers |= PSEUDO_KFUNC << 4;
            *value = id?.to_le_bytes();
        }
        at += if *opcode == LOAD_CONSTANT { 2 * INSTRUCTION } else { INSTRUCTION };
    }
    Some(())
}

/// Writes `value` into an instruction. If `value` is `None`, replaces the instruction with
/// [`UNREACHABLE`].
fn patch_value(instructions: &mut [u8], at: usize, value: Option<u32>) -> Option<()> {
    let instruction = instructions.get_mut(at..)?.first_chunk_mut::<INSTRUCTION>()?;
    let Some(value) = value else {
        *instruction = UNREACHABLE;
        return Some(());
    };
    let [opcode, _, offset @ .., _, _, _, _] = instruction;
    // In a load or store instruction, the value belongs in the offset field.
    if matches!(*opcode & 7, 1..=3) {
        *offset = i16::try_from(value).ok()?.to_le_bytes();
    } else {
        let [_, _, _, _, immediate @ ..] = instruction;
        *immediate = value.to_le_bytes();
    }
    Some(())
}

/// Finds a section of an ELF file by its name.
fn section<'a>(file: &'a [u8], name: &[u8]) -> Option<&'a [u8]> {
    let (table, size) = (long_offset_at(file, 40)?, usize::from(u16_at(file, 58)?));
    let header = |index: u16| {
        let at = table.checked_add(size.checked_mul(index.into())?)?;
        file.get(at..)
    };
    let content =
        |header: &[u8]| part(file, long_offset_at(header, 24)?, long_offset_at(header, 32)?);
    let names = content(header(u16_at(file, 62)?)?)?;
    (0..u16_at(file, 60)?).filter_map(header).find_map(|header| {
        let has_name = text_at(names, offset_at(header, 0)?)? == name;
        has_name.then(|| content(header))?
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::ptr;

    use proptest::prelude::*;

    use super::*;

    const TASK: &[u8] = include_bytes!("../tasks/task.bpf.o");
    const TASK_BY_HELPER: &[u8] = include_bytes!("../tasks/task-by-helper.bpf.o");
    const NAMESPACES: &[u8] = include_bytes!("../memory/namespaces.bpf.o");
    const LIMITS: &[u8] = include_bytes!("../memory/limits.bpf.o");

    /// Returns every program of the BPF object files, each with its object file.
    fn all() -> Vec<(Object, ProgramSpec<'static>)> {
        let all = [
            (TASK_BY_HELPER, "processes", "bpf_iter_task"),
            (TASK_BY_HELPER, "holders", "bpf_iter_task"),
            (TASK, "processes", "bpf_iter_task"),
            (TASK, "holders", "bpf_iter_task"),
            (NAMESPACES, "namespaces", "bpf_iter_task"),
            (NAMESPACES, "tasks", "bpf_iter_task"),
            (NAMESPACES, "descriptors", "bpf_iter_task_file"),
            (LIMITS, "numbers", "bpf_iter_task"),
            (LIMITS, "users", "bpf_iter_task"),
        ];
        // No test loads a program, so the map can be any descriptor.
        let map: &'static std::fs::File =
            Box::leak(Box::new(std::fs::File::open("/dev/null").unwrap()));
        let map = Some(map.as_fd());
        let program = |(bytes, section, iterator)| {
            (Object::read(bytes).unwrap(), ProgramSpec { section, name: "test", iterator, map })
        };
        all.map(program).into()
    }

    #[test]
    fn finds_every_field_in_the_types_of_the_object_itself() {
        for (object, spec) in all() {
            // The object file's own BTF contains all structs but no kernel functions, so only a
            // kernel function is reported as missing.
            let error = object.program(spec, object.types).err().map(|error| error.to_string());
            let missing = if ptr::eq(object.bytes, TASK) { RDONLY_CAST } else { spec.iterator };
            let expected = format!("this kernel has no {missing} in the form that pidns expects");
            assert_eq!(error, Some(expected), "{}", spec.section);
        }
    }

    /// Returns the error for a kernel without the type or field `name`.
    fn error_without(section: &str, name: &[u8]) -> String {
        let (object, spec) = all().into_iter().find(|(_, it)| it.section == section).unwrap();
        let mut types = object.types.to_vec();
        let places = 0..types.len() - name.len();
        for at in places.filter(|&at| object.types[at..].starts_with(name)) {
            types[at + 1] = b'?';
        }
        object.program(spec, &types).err().map(|error| error.to_string()).unwrap()
    }

    #[test]
    fn names_a_field_that_the_kernel_lacks() {
        let of_processes = |name: &[u8]| error_without("processes", name);
        assert!(of_processes(b"\0start_boottime\0").contains("task_struct.start_boottime"));
        assert!(of_processes(b"\0signal_struct\0").contains("signal_struct."));
        // `ns_id` is optional, so its absence is not an error. The only error expected here is that
        // `bpf_iter_task` is missing, because this test's type information contains no kernel
        // functions.
        assert!(of_processes(b"\0ns_id\0").contains("bpf_iter_task"));
    }

    #[test]
    fn the_namespace_list_needs_one_of_two_list_fields_and_the_namespace_id() {
        let of_list = |name: &[u8]| error_without("namespaces", name);
        assert!(of_list(b"\0ns_list_node\0").contains("bpf_iter_task"));
        assert!(of_list(b"\0ns_list_entry\0").contains("bpf_iter_task"));
        // Before Linux 6.18, the kernel has no `ns_id`.
        let message = "this kernel has no pid_namespace.ns.ns_id in the form that pidns expects";
        assert_eq!(of_list(b"\0ns_id\0"), message);
    }

    #[test]
    fn a_program_that_declares_a_map_needs_one() {
        let (object, spec) =
            all().into_iter().find(|(_, spec)| spec.section == "namespaces").unwrap();
        let program = object.program(ProgramSpec { map: None, ..spec }, object.types);
        assert!(matches!(program.err(), Some(LoadError::InvalidObject)));
    }

    #[test]
    fn patches_the_offset_of_a_load_and_the_immediate_of_an_addition() {
        // The two instructions are `r1 = *(u32 *)(r2 + 0)` and `r1 += 0` in BPF assembly.
        let code = [[0x61, 0x21, 0, 0, 0, 0, 0, 0], [0x07, 1, 0, 0, 0, 0, 0, 0]].concat();
        let mut patched = code.clone();
        assert_eq!(patch_value(&mut patched, 0, Some(0x1234)), Some(()));
        assert_eq!(patch_value(&mut patched, 8, Some(0x12345)), Some(()));
        assert_eq!(patched[..8], [0x61, 0x21, 0x34, 0x12, 0, 0, 0, 0]);
        assert_eq!(patched[8..], [0x07, 1, 0, 0, 0x45, 0x23, 1, 0]);
        assert_eq!(patch_value(&mut patched, 0, Some(0x8000)), None);
        assert_eq!(patch_value(&mut patched, 16, Some(1)), None);
        assert_eq!(patch_value(&mut patched, 8, None), Some(()));
        assert_eq!(patched[8..], UNREACHABLE);
    }

    #[test]
    fn patches_the_calls_of_the_cast_function_only() {
        let placeholder = RDONLY_CAST_PLACEHOLDER.to_le_bytes();
        let call = |registers, [a, b, c, d]: [u8; 4]| [CALL, registers, 0, 0, a, b, c, d];
        // The second half of the 64-bit constant looks like a call of `bpf_rdonly_cast`.
        let long = [[LOAD_CONSTANT, 1, 0, 0, 0, 0, 0, 0], call(0, placeholder)].concat();
        let code = |last: [u8; 8]| [&long[..], &call(0, [14, 0, 0, 0]), &last].concat();
        let (mut patched, mut none) = (code(call(0, placeholder)), code(call(0, [35, 0, 0, 0])));
        assert_eq!(patch_casts(&mut patched, None), None);
        assert_eq!(patch_casts(&mut patched, Some(0x1234)), Some(()));
        assert_eq!(patched, code(call(2 << 4, [0x34, 0x12, 0, 0])));
        let before = none.clone();
        assert_eq!(patch_casts(&mut none, None), Some(()));
        assert_eq!(none, before);
    }

    proptest! {
        #[test]
        fn rejects_invalid_types_without_a_panic(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            length in any::<prop::sample::Index>(),
        ) {
            for (object, spec) in all() {
                let mut types = object.types.to_vec();
                for (at, byte) in &changes {
                    let at = at.index(types.len());
                    types[at] = *byte;
                }
                prop_assert!(object.program(spec, &types).is_err());
                types.truncate(length.index(types.len()));
                prop_assert!(object.program(spec, &types).is_err());
            }
        }

        #[test]
        fn survives_invalid_object_files(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            for (object, spec) in all() {
                let mut bytes = object.bytes.to_vec();
                for (at, byte) in &changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                let bytes: &'static [u8] = bytes.leak();
                if let Some(object) = Object::read(bytes) {
                    let _ = object.program(spec, object.types);
                }
            }
        }
    }
}
