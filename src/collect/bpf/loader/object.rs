//! The committed objects: ELF files with one program for each purpose, their
//! types, and what in them depends on the running kernel. Instructions are made
//! ready for that kernel here.

use std::os::fd::{AsRawFd as _, BorrowedFd};

use super::btf::{Btf, Member};
use super::bytes::{long_offset_at, offset_at, part, text_at, u16_at, u32_at};
use crate::collect::bpf::unusable::Unusable;

/// `task.bpf.c`, as tests/bpf/build makes it.
pub const TASK: &[u8] = include_bytes!("../tasks/task.bpf.o");

/// The same for kernels without [`CAST`].
pub const TASK_BY_HELPER: &[u8] = include_bytes!("../tasks/task-by-helper.bpf.o");

/// `namespaces.bpf.c`, likewise.
pub const NAMESPACES: &[u8] = include_bytes!("../memory/namespaces.bpf.o");

/// Size of an instruction.
const INSTRUCTION: usize = 8;

/// The operation of an instruction that loads a 64-bit number.
const LOAD_NUMBER: u8 = 0x18;

/// What such an instruction says if the number is a function's address,
/// `BPF_PSEUDO_FUNC`, or the descriptor of a map, `BPF_PSEUDO_MAP_FD`.
const IS_FUNCTION: u8 = 4;
const IS_MAP: u8 = 1;

/// Size of a symbol of the object.
const SYMBOL: usize = 24;

/// The function of the kernel that tells the verifier what a pointer leads to
/// (since Linux 6.2), and by what number objects call it.
pub const CAST: &str = "bpf_rdonly_cast";
const CAST_NUMBER: i32 = 0x7dcb_0001;

/// The operation of a call, and what it says if the number is that of a
/// function's type in the kernel, `BPF_PSEUDO_KFUNC_CALL`.
const CALL: u8 = 0x85;
const IS_KERNEL_FUNCTION: u8 = 2;

/// A call of a helper that does not exist. The verifier refuses it only where
/// it can be reached.
const UNREACHABLE: [u8; INSTRUCTION] = [CALL, 0, 0, 0, 0x10, 0x23, 0xad, 0x0b];

/// What depends on the kernel, `bpf_core_relo_kind`.
mod relocation {
    pub const OFFSET: u32 = 0;
    pub const EXISTS: u32 = 2;
    pub const TYPE: u32 = 7;
}

/// A program that is ready for the running kernel.
pub struct Program {
    /// Its instructions.
    pub instructions: Vec<u8>,
    /// Where its functions begin, and their types in [`Object::types`].
    pub functions: Vec<u8>,
    /// The kernel's number for the type of the function that it is called as.
    pub called_as: u32,
}

/// A program of an object.
#[derive(Clone, Copy)]
pub struct Section<'a> {
    /// The section that it is in.
    pub name: &'static str,
    /// The function of the kernel whose arguments it gets.
    pub called_as: &'static [u8],
    /// What stands for the map that it declares, if it does.
    pub map: Option<BorrowedFd<'a>>,
}

/// An object that pidns has with it.
pub struct Object {
    bytes: &'static [u8],
    /// The types of its functions, as the kernel takes them.
    pub types: &'static [u8],
    more: &'static [u8],
}

impl Object {
    /// Reads one; `None` where it makes no sense.
    pub fn read(bytes: &'static [u8]) -> Option<Self> {
        Some(Self { bytes, types: section(bytes, b".BTF")?, more: section(bytes, b".BTF.ext")? })
    }

    /// Makes the program in a section ready for the kernel with these types.
    ///
    /// # Errors
    /// The kernel does not have what is read, or not as it is read.
    pub fn program(&self, it: Section<'_>, kernel: &[u8]) -> Result<Program, Unusable> {
        let missing = |what: &[u8]| Unusable::Missing(String::from_utf8_lossy(what).into_owned());
        let (own, ..) = Btf::read(self.types, &[], &[]).ok_or(Unusable::OwnObject)?;
        let fill_in = || {
            let mut instructions = section(self.bytes, it.name.as_bytes())?.to_vec();
            self.fill_in_addresses(it, &mut instructions)?;
            let mut functions = Vec::new();
            for entry in self.records(&own, 8, it.name)? {
                // The kernel counts instructions, the object bytes.
                let at = u32_at(entry, 0)? / u32::try_from(INSTRUCTION).ok()?;
                functions.extend(at.to_le_bytes());
                functions.extend(u32_at(entry, 4)?.to_le_bytes());
            }
            let records = self.records(&own, 24, it.name)?;
            let records: Vec<_> =
                records.map(|entry| Relocation::read(&own, entry)).collect::<Option<_>>()?;
            Some((instructions, functions, records))
        };
        let (mut instructions, functions, records) = fill_in().ok_or(Unusable::OwnObject)?;

        let mut structs: Vec<_> = records.iter().map(|it| it.name).collect();
        structs.sort_unstable();
        structs.dedup();
        let functions_of_kernel = [it.called_as, CAST.as_bytes()];
        let (kernel, numbers, found) =
            Btf::read(kernel, &structs, &functions_of_kernel).ok_or(Unusable::StrangeTypes)?;
        let [called_as, cast] = *found.first_chunk().ok_or(Unusable::StrangeTypes)?;
        for it in &records {
            let index = structs.binary_search(&it.name).ok();
            let number = index.and_then(|index| numbers.get(index).copied().flatten());
            let found = number.and_then(|number| it.find(&own, &kernel, number));
            // Where the program asks whether there is such a field, it does
            // without.
            let is_asked_for =
                || records.iter().any(|other| other.kind == relocation::EXISTS && other.is_of(it));
            let value = match (it.kind, found) {
                (relocation::EXISTS, found) => Some(found.is_some().into()),
                (relocation::OFFSET, Some(offset)) => Some(offset),
                (relocation::OFFSET, None) if is_asked_for() => None,
                (relocation::TYPE, Some(_)) => number,
                (relocation::TYPE, None) => return Err(missing(it.name)),
                (relocation::OFFSET, None) => return Err(missing(&it.path(&own))),
                _ => return Err(Unusable::OwnObject),
            };
            fill_in_number(&mut instructions, it.at, value).ok_or(Unusable::OwnObject)?;
        }
        // After the fields: where they are missing, a program without casts is of no use.
        fill_in_casts(&mut instructions, cast).ok_or_else(|| missing(CAST.as_bytes()))?;
        let called_as = called_as.ok_or_else(|| missing(it.called_as))?;
        Ok(Program { instructions, functions, called_as })
    }

    /// Fills in what stands for functions of the same program, and for its map.
    /// For a function the compiler leaves a relocation, and where it begins, in
    /// bytes; for the map, a relocation with a symbol that nothing defines.
    fn fill_in_addresses(&self, it: Section<'_>, instructions: &mut [u8]) -> Option<()> {
        let symbols = section(self.bytes, b".symtab")?;
        let relocations = section(self.bytes, format!(".rel{}", it.name).as_bytes());
        for relocation in relocations.unwrap_or_default().chunks_exact(16) {
            let at = long_offset_at(relocation, 0)?;
            let symbol = offset_at(relocation, 12)?.checked_mul(SYMBOL)?;
            let is_defined = u16_at(symbols, symbol.checked_add(6)?)? != 0;
            let (meaning, value) = if is_defined {
                let begins = i32::try_from(offset_at(instructions, at.checked_add(4)?)?).ok()?;
                // From the next instruction on; this one takes the place of two.
                let next = i32::try_from(at + INSTRUCTION).ok()?;
                (IS_FUNCTION, (begins - next) / i32::try_from(INSTRUCTION).ok()?)
            } else {
                (IS_MAP, it.map?.as_raw_fd())
            };
            let [operation, registers, _, _, number @ ..] =
                instructions.get_mut(at..)?.first_chunk_mut::<INSTRUCTION>()?;
            if *operation != LOAD_NUMBER {
                return None;
            }
            *registers |= meaning << 4;
            *number = value.to_le_bytes();
        }
        Some(())
    }

    /// What `.BTF.ext` says of the program in a section: the records of the
    /// table whose place stands at `at`.
    fn records(
        &self,
        own: &Btf<'static>,
        at: usize,
        section: &str,
    ) -> Option<std::slice::ChunksExact<'static, u8>> {
        let start = offset_at(self.more, 4)?.checked_add(offset_at(self.more, at)?)?;
        let table = part(self.more, start, offset_at(self.more, at + 4)?)?;
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

/// A number in an instruction that depends on the kernel.
struct Relocation<'a> {
    /// Where the instruction is.
    at: usize,
    /// The object's number for the struct.
    of: u32,
    /// That struct's name.
    name: &'a [u8],
    /// The path to the field: numbers of members and indices, after that of
    /// the struct itself, which is 0.
    access: &'a str,
    kind: u32,
}

impl<'a> Relocation<'a> {
    fn read(own: &Btf<'a>, entry: &[u8]) -> Option<Self> {
        let of = u32_at(entry, 4)?;
        let access = std::str::from_utf8(own.text(u32_at(entry, 8)?)?).ok()?;
        Some(Self {
            at: offset_at(entry, 0)?,
            of,
            name: own.name(of)?,
            access: access.strip_prefix('0')?,
            kind: u32_at(entry, 12)?,
        })
    }

    fn is_of(&self, other: &Self) -> bool {
        (self.of, self.access) == (other.of, other.access)
    }

    fn steps(&self) -> impl Iterator<Item = Option<usize>> + use<'a> {
        self.access.split(':').skip(1).map(|step| step.parse().ok())
    }

    /// Where the kernel has the field, in its struct of this number; `None`
    /// where it has none, or one of another size.
    fn find(&self, own: &Btf<'_>, kernel: &Btf<'_>, number: u32) -> Option<u32> {
        let (mut here, mut there) = (self.of, Member { offset: 0, kind: number });
        for step in self.steps() {
            let step = step?;
            if let Some(element) = own.element(here) {
                here = element;
                let element = kernel.element(there.kind)?;
                let skipped = kernel.size(element)?.checked_mul(u32::try_from(step).ok()?)?;
                there = Member { offset: there.offset.checked_add(skipped)?, kind: element };
            } else {
                let (name, kind) = own.member_at(here, step)?;
                here = kind;
                let inner = kernel.member(there.kind, name)?;
                there = Member { offset: there.offset.checked_add(inner.offset)?, ..inner };
            }
        }
        // Of structs only some fields are known here, and of arrays the first.
        let is_whole = own.member_at(here, 0).is_some() || own.element(here).is_some();
        (is_whole || own.size(here) == kernel.size(there.kind)).then_some(there.offset)
    }

    /// The field by its names, for people.
    fn path(&self, own: &Btf<'_>) -> Vec<u8> {
        let (mut path, mut here) = (self.name.to_vec(), self.of);
        for step in self.steps().flatten() {
            if let Some(element) = own.element(here) {
                here = element;
            } else if let Some((name, kind)) = own.member_at(here, step) {
                path.push(b'.');
                path.extend(name);
                here = kind;
            }
        }
        path
    }
}

/// Has the calls of [`CAST`] call the function that has this number; `None`
/// where there are such calls but no such function.
fn fill_in_casts(instructions: &mut [u8], number: Option<u32>) -> Option<()> {
    let mut at = 0;
    while let Some([operation, registers, _, _, value @ ..]) =
        instructions.get_mut(at..).and_then(<[u8]>::first_chunk_mut::<INSTRUCTION>)
    {
        if *operation == CALL && *value == CAST_NUMBER.to_le_bytes() {
            *registers |= IS_KERNEL_FUNCTION << 4;
            *value = number?.to_le_bytes();
        }
        // What follows a long number is the rest of that.
        at += if *operation == LOAD_NUMBER { 2 * INSTRUCTION } else { INSTRUCTION };
    }
    Some(())
}

/// Puts a number into an instruction: the offset of one that loads or stores,
/// else the constant; `None` if it must not be reached.
fn fill_in_number(instructions: &mut [u8], at: usize, value: Option<u32>) -> Option<()> {
    let instruction = instructions.get_mut(at..)?.first_chunk_mut::<INSTRUCTION>()?;
    let Some(value) = value else {
        *instruction = UNREACHABLE;
        return Some(());
    };
    let [operation, _, offset @ .., _, _, _, _] = instruction;
    if matches!(*operation & 7, 1..=3) {
        *offset = i16::try_from(value).ok()?.to_le_bytes();
    } else {
        let [_, _, _, _, number @ ..] = instruction;
        *number = value.to_le_bytes();
    }
    Some(())
}

/// The section of an ELF file (64 bits, little-endian) that has a name.
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
        let is_it = text_at(names, offset_at(header, 0)?)? == name;
        is_it.then(|| content(header))?
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd as _;
    use std::ptr;

    use proptest::prelude::*;

    use super::*;

    /// Every program, with the object that it is in.
    fn all() -> Vec<(Object, Section<'static>)> {
        let of_tasks = |object, name| (object, name, &b"bpf_iter_task"[..]);
        let all = [
            of_tasks(TASK_BY_HELPER, "processes"),
            of_tasks(TASK_BY_HELPER, "holders"),
            of_tasks(TASK, "processes"),
            of_tasks(TASK, "holders"),
            (NAMESPACES, "namespaces", b"bpf_iter_task"),
            (NAMESPACES, "tasks", b"bpf_iter_task"),
            (NAMESPACES, "descriptors", b"bpf_iter_task_file"),
        ];
        // Any descriptor will do, as nothing is loaded.
        let map: &'static std::fs::File =
            Box::leak(Box::new(std::fs::File::open("/dev/null").unwrap()));
        let map = Some(map.as_fd());
        let program = |(bytes, name, called_as)| {
            (Object::read(bytes).unwrap(), Section { name, called_as, map })
        };
        all.map(program).into()
    }

    #[test]
    fn every_field_is_found_among_the_types_that_the_object_was_made_with() {
        for (object, section) in all() {
            // Only the kernel's functions are not there.
            let error = object.program(section, object.types).err().map(|error| error.to_string());
            let casts = ptr::eq(object.bytes, TASK).then_some(CAST.into());
            let called_as = casts.unwrap_or(String::from_utf8_lossy(section.called_as));
            let expected = format!("this kernel has no {called_as} as pidns knows it");
            assert_eq!(error, Some(expected), "{}", section.name);
        }
    }

    /// What is said of a program for a kernel whose types do not have that name.
    fn without(section: &str, name: &[u8]) -> String {
        let (object, section) = all().into_iter().find(|(_, it)| it.name == section).unwrap();
        let mut types = object.types.to_vec();
        let places = 0..types.len() - name.len();
        for at in places.filter(|&at| object.types[at..].starts_with(name)) {
            types[at + 1] = b'?';
        }
        object.program(section, &types).err().map(|error| error.to_string()).unwrap()
    }

    #[test]
    fn a_field_that_the_kernel_does_not_have_is_named() {
        let of_processes = |name: &[u8]| without("processes", name);
        assert!(of_processes(b"\0start_boottime\0").contains("task_struct.start_boottime"));
        assert!(of_processes(b"\0signal_struct\0").contains("signal_struct.nr_threads"));
        // This one is asked for.
        assert!(of_processes(b"\0ns_id\0").contains("bpf_iter_task"));
    }

    #[test]
    fn namespaces_are_listed_by_either_field_and_not_without_their_numbers() {
        let of_list = |name: &[u8]| without("namespaces", name);
        assert!(of_list(b"\0ns_list_node\0").contains("bpf_iter_task"));
        assert!(of_list(b"\0ns_list_entry\0").contains("bpf_iter_task"));
        // Before Linux 6.18 there is none of them.
        let said = "this kernel has no pid_namespace.ns.ns_id as pidns knows it";
        assert_eq!(of_list(b"\0ns_id\0"), said);
    }

    #[test]
    fn a_program_without_its_map_is_not_made() {
        let (object, section) =
            all().into_iter().find(|(_, section)| section.name == "namespaces").unwrap();
        let made = object.program(Section { map: None, ..section }, object.types);
        assert!(matches!(made.err(), Some(Unusable::OwnObject)));
    }

    #[test]
    fn numbers_go_where_an_instruction_has_them() {
        // r1 = *(u32 *)(r2 + 0); r1 += 0
        let code = [[0x61, 0x21, 0, 0, 0, 0, 0, 0], [0x07, 1, 0, 0, 0, 0, 0, 0]].concat();
        let mut filled = code.clone();
        assert_eq!(fill_in_number(&mut filled, 0, Some(0x1234)), Some(()));
        assert_eq!(fill_in_number(&mut filled, 8, Some(0x12345)), Some(()));
        assert_eq!(filled[..8], [0x61, 0x21, 0x34, 0x12, 0, 0, 0, 0]);
        assert_eq!(filled[8..], [0x07, 1, 0, 0, 0x45, 0x23, 1, 0]);
        assert_eq!(fill_in_number(&mut filled, 0, Some(0x8000)), None);
        assert_eq!(fill_in_number(&mut filled, 16, Some(1)), None);
        assert_eq!(fill_in_number(&mut filled, 8, None), Some(()));
        assert_eq!(filled[8..], UNREACHABLE);
    }

    #[test]
    fn casts_call_the_function_of_the_kernel() {
        let number = CAST_NUMBER.to_le_bytes();
        let call = |registers, [a, b, c, d]: [u8; 4]| [CALL, registers, 0, 0, a, b, c, d];
        // A long number whose second half looks like a call, a call of a helper, a cast.
        let long = [[LOAD_NUMBER, 1, 0, 0, 0, 0, 0, 0], call(0, number)].concat();
        let code = |last: [u8; 8]| [&long[..], &call(0, [14, 0, 0, 0]), &last].concat();
        let (mut filled, mut none) = (code(call(0, number)), code(call(0, [35, 0, 0, 0])));
        assert_eq!(fill_in_casts(&mut filled, None), None);
        assert_eq!(fill_in_casts(&mut filled, Some(0x1234)), Some(()));
        assert_eq!(filled, code(call(2 << 4, [0x34, 0x12, 0, 0])));
        let before = none.clone();
        assert_eq!(fill_in_casts(&mut none, None), Some(()));
        assert_eq!(none, before);
    }

    proptest! {
        #[test]
        fn strange_types_are_survived(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
            length in any::<prop::sample::Index>(),
        ) {
            for (object, section) in all() {
                let mut types = object.types.to_vec();
                for (at, byte) in &changes {
                    let at = at.index(types.len());
                    types[at] = *byte;
                }
                prop_assert!(object.program(section, &types).is_err());
                types.truncate(length.index(types.len()));
                prop_assert!(object.program(section, &types).is_err());
            }
        }

        #[test]
        fn strange_objects_are_survived(
            changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..8),
        ) {
            for (object, section) in all() {
                let mut bytes = object.bytes.to_vec();
                for (at, byte) in &changes {
                    let at = at.index(bytes.len());
                    bytes[at] = *byte;
                }
                let bytes: &'static [u8] = bytes.leak();
                if let Some(object) = Object::read(bytes) {
                    let _ = object.program(section, object.types);
                }
            }
        }
    }
}
