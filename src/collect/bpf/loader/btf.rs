//! Reads type information of the kernel or of an object file in the BPF Type Format (BTF).
//!
//! pidns does not use the library aya, which searches the kernel's 150,000 types once per name (85
//! to 180 ms). This module finds all names in one pass.
//!
//! Type IDs count from 1. Every function returns `None` if the data is invalid.

use super::bytes::{offset_at, part, text_at, u16_at, u32_at};

const MAGIC: u16 = 0xeb9f;

/// Kinds of types (`BTF_KIND_...` in the kernel).
mod kind {
    pub const INT: u32 = 1;
    pub const PTR: u32 = 2;
    pub const ARRAY: u32 = 3;
    pub const STRUCT: u32 = 4;
    pub const UNION: u32 = 5;
    pub const ENUM: u32 = 6;
    pub const TYPEDEF: u32 = 8;
    pub const RESTRICT: u32 = 11;
    pub const FUNC: u32 = 12;
    pub const FUNC_PROTO: u32 = 13;
    pub const VAR: u32 = 14;
    pub const DATASEC: u32 = 15;
    pub const FLOAT: u32 = 16;
    pub const DECL_TAG: u32 = 17;
    pub const TYPE_TAG: u32 = 18;
    pub const ENUM64: u32 = 19;
}

/// Number of types between two offsets in `Btf::starts`.
const STRIDE: usize = 16;

/// Maximum number of typedefs and qualifiers (such as `const`) around a type.
const MAX_QUALIFIERS: usize = 32;

/// Maximum number of structs and unions to search for one member.
const MAX_ANONYMOUS: usize = 256;

/// Size of a pointer in bytes.
const POINTER: u32 = 8;

/// For each requested name, the ID of the type with this name, if any.
type TypeIds = Vec<Option<u32>>;

/// The type information (BTF) of the kernel or of an object file.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Offsets in `types` of every [`STRIDE`]-th type, beginning with type ID 1.
    starts: Vec<u32>,
}

/// A type in BTF.
#[derive(Clone, Copy)]
struct Type<'a> {
    name: u32,
    kind: u32,
    /// `true` if the upper 8 bits of each member's offset are the width of a bit field.
    has_widths: bool,
    /// Number of members, enumerators or parameters.
    count: usize,
    /// The size in bytes or the ID of the target type, depending on the kind.
    size_or_target: u32,
    /// The bytes after the common fields, such as the members of a struct.
    rest: &'a [u8],
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Offset from the start of the struct or union, in bytes.
    pub offset: u32,
    pub type_id: u32,
}

impl<'a> Btf<'a> {
    /// Reads all types, and finds structs, unions and functions by name.
    pub fn read(
        bytes: &'a [u8],
        structs: &[&[u8]],
        functions: &[&[u8]],
    ) -> Option<(Self, TypeIds, TypeIds)> {
        let (header, version) = (offset_at(bytes, 4)?, *bytes.get(2)?);
        if u16_at(bytes, 0)? != MAGIC || version != 1 {
            return None;
        }
        let section =
            |at| part(bytes, header.checked_add(offset_at(bytes, at)?)?, offset_at(bytes, at + 4)?);
        let (types, strings) = (section(8)?, section(16)?);
        let mut starts = Vec::with_capacity(types.len() / (24 * STRIDE));
        let (mut structs, mut functions) = (NameSearch::new(structs), NameSearch::new(functions));
        let (mut at, mut id) = (0, 1_u32);
        while at < types.len() {
            if id as usize % STRIDE == 1 {
                starts.push(u32::try_from(at).ok()?);
            }
            let (kind, name, length) = Type::header(types, at)?;
            match kind {
                kind::STRUCT | kind::UNION => structs.find(strings, name, id),
                kind::FUNC => functions.find(strings, name, id),
                _ => {}
            }
            at += length;
            id += 1;
        }
        if at > types.len() {
            return None;
        }
        let (found_structs, found_functions) = (structs.found, functions.found);
        Some((Self { types, strings, starts }, found_structs, found_functions))
    }

    /// Returns the string at offset `at` in the string table.
    pub fn text(&self, at: u32) -> Option<&'a [u8]> {
        text_at(self.strings, offset(at)?)
    }

    /// Returns the name of the underlying type, without typedefs and qualifiers (such as `const`).
    pub fn name(&self, id: u32) -> Option<&'a [u8]> {
        self.text(self.unqualified(id)?.name)
    }

    fn get(&self, id: u32) -> Option<Type<'a>> {
        let index = offset(id)?.checked_sub(1)?;
        let mut at = offset(*self.starts.get(index / STRIDE)?)?;
        for _ in 0..index % STRIDE {
            at += Type::at(self.types, at)?.1;
        }
        Type::at(self.types, at).map(|(it, _)| it)
    }

    /// Returns the underlying type, without typedefs and qualifiers (such as `const`).
    fn unqualified(&self, id: u32) -> Option<Type<'a>> {
        let mut it = self.get(id)?;
        // Invalid types can form a cycle.
        for _ in 0..MAX_QUALIFIERS {
            if !matches!(it.kind, kind::TYPEDEF..=kind::RESTRICT | kind::TYPE_TAG) {
                return Some(it);
            }
            it = self.get(it.size_or_target)?;
        }
        None
    }

    /// Returns the size in bytes of a number, enum, pointer, struct or union.
    pub fn size(&self, id: u32) -> Option<u32> {
        let it = self.unqualified(id)?;
        match it.kind {
            kind::INT | kind::ENUM | kind::ENUM64 | kind::FLOAT | kind::STRUCT | kind::UNION => {
                Some(it.size_or_target)
            }
            kind::PTR => Some(POINTER),
            _ => None,
        }
    }

    /// Returns the element type of an array, or `None` if the type is not an array.
    pub fn element(&self, array: u32) -> Option<u32> {
        let it = self.unqualified(array)?;
        (it.kind == kind::ARRAY).then(|| u32_at(it.rest, 0))?
    }

    /// Returns the name and the type ID of the member with this index in a struct or union.
    pub fn member_at(&self, id: u32, index: usize) -> Option<(&'a [u8], u32)> {
        let it = self.unqualified(id)?;
        let (name, member) = it.members()?.nth(index)?;
        Some((self.text(name)?, member?.type_id))
    }

    /// Finds a member by name, including members of nested anonymous structs and unions.
    pub fn member(&self, id: u32, name: &[u8]) -> Option<Member> {
        let mut left = MAX_ANONYMOUS;
        self.member_within(id, name, &mut left)
    }

    fn member_within(&self, id: u32, name: &[u8], left: &mut usize) -> Option<Member> {
        // Invalid types can form a cycle.
        *left = left.checked_sub(1)?;
        let mut anonymous = Vec::new();
        for (text, member) in self.unqualified(id)?.members()? {
            let text = self.strings.get(offset(text)?..)?;
            if is_named(text, name) {
                return member;
            }
            if text.first() == Some(&0) {
                anonymous.extend(member);
            }
        }
        anonymous.into_iter().find_map(|outer| {
            let inner = self.member_within(outer.type_id, name, left)?;
            Some(Member { offset: outer.offset.checked_add(inner.offset)?, ..inner })
        })
    }
}

/// A search by name for types of one kind.
struct NameSearch<'a> {
    wanted: &'a [&'a [u8]],
    found: TypeIds,
    /// For each byte value, `true` if a wanted name starts with this byte.
    first: [bool; 256],
}

impl<'a> NameSearch<'a> {
    fn new(wanted: &'a [&'a [u8]]) -> Self {
        let mut first = [false; 256];
        for letter in wanted.iter().filter_map(|name| name.first()) {
            first[usize::from(*letter)] = true;
        }
        Self { wanted, found: vec![None; wanted.len()], first }
    }

    /// Records the type `id` if its name, at offset `name` in `strings`, is wanted.
    fn find(&mut self, strings: &[u8], name: u32, id: u32) {
        let Some(name) = offset(name).and_then(|name| strings.get(name..)) else { return };
        // A comparison of the first byte rules out nearly all types.
        if !name.first().is_some_and(|&letter| self.first[usize::from(letter)]) {
            return;
        }
        for (wanted, found) in self.wanted.iter().zip(&mut self.found) {
            if is_named(name, wanted) {
                // If several types have the same name, keep the first.
                found.get_or_insert(id);
            }
        }
    }
}

impl<'a> Type<'a> {
    /// Returns the kind, the offset of the name, and the length in bytes of the type at `at`.
    fn header(types: &[u8], at: usize) -> Option<(u32, u32, usize)> {
        let [n0, n1, n2, n3, i0, i1, i2, i3] = *types.get(at..)?.first_chunk()?;
        let info = u32::from_le_bytes([i0, i1, i2, i3]);
        let (kind, count) = ((info >> 24) & 31, (info & 0xffff) as usize);
        let more = match kind {
            kind::INT | kind::VAR | kind::DECL_TAG => 4,
            kind::ARRAY => 12,
            kind::STRUCT | kind::UNION | kind::DATASEC | kind::ENUM64 => 12 * count,
            kind::ENUM | kind::FUNC_PROTO => 8 * count,
            1..=19 => 0,
            _ => return None,
        };
        Some((kind, u32::from_le_bytes([n0, n1, n2, n3]), 12 + more))
    }

    /// Returns the type at offset `at` and its length in bytes.
    fn at(types: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let (kind, name, length) = Self::header(types, at)?;
        let it = part(types, at, length)?;
        let info = u32_at(it, 4)?;
        let found = Self {
            name,
            kind,
            has_widths: info >> 31 == 1,
            count: (info & 0xffff) as usize,
            size_or_target: u32_at(it, 8)?,
            rest: it.get(12..)?,
        };
        Some((found, length))
    }

    /// Returns the name offset of each member, and the [`Member`] unless it is a bit field.
    fn members(self) -> Option<impl Iterator<Item = (u32, Option<Member>)> + use<'a>> {
        if !matches!(self.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        let members = self.rest.chunks_exact(12).take(self.count);
        Some(members.filter_map(move |bytes| {
            let bits = u32_at(bytes, 8)?;
            let (width, bits) =
                if self.has_widths { (bits >> 24, bits & 0xff_ffff) } else { (0, bits) };
            let member = Member { offset: bits / 8, type_id: u32_at(bytes, 4)? };
            Some((u32_at(bytes, 0)?, (width == 0 && bits % 8 == 0).then_some(member)))
        }))
    }
}

/// Converts an offset or ID to an index.
fn offset(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

/// Returns `true` if the NUL-terminated string at the start of `text` is `name`.
fn is_named(text: &[u8], name: &[u8]) -> bool {
    text.first() == name.first() && text.starts_with(name) && text.get(name.len()) == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Builds BTF data from type information, given as 32-bit words, and a string table.
    fn types(words: &[u32], strings: &[u8]) -> Vec<u8> {
        let length = |bytes: usize| u32::try_from(bytes).unwrap();
        let header = [
            u32::from(MAGIC) | 1 << 16,
            24,
            0,
            length(words.len() * 4),
            length(words.len() * 4),
            length(strings.len()),
        ];
        let numbers = header.iter().chain(words).flat_map(|word| word.to_le_bytes());
        numbers.chain(strings.iter().copied()).collect()
    }

    const STRINGS: &[u8] = b"\0int\0outer\0a\0b\0list\0";
    const INT: [u32; 4] = [1, kind::INT << 24, 4, 32];

    #[test]
    fn finds_a_member_inside_an_anonymous_union() {
        // Type 4 is `struct outer { int a; union { int b; int list[3]; }; }`.
        let words = [
            &INT[..],
            &[0, kind::ARRAY << 24, 0, 1, 1, 3],
            &[0, kind::UNION << 24 | 2, 12, 13, 1, 0, 15, 2, 0],
            &[5, kind::STRUCT << 24 | 2, 16, 11, 1, 0, 0, 3, 32],
        ]
        .concat();
        let bytes = types(&words, STRINGS);
        let (btf, structs, functions) =
            Btf::read(&bytes, &[b"outer", b"oute"], &[b"outer"]).unwrap();
        assert_eq!((structs, functions), (vec![Some(4), None], vec![None]));
        assert_eq!(btf.member(4, b"a"), Some(Member { offset: 0, type_id: 1 }));
        assert_eq!(btf.member(4, b"b"), Some(Member { offset: 4, type_id: 1 }));
        assert_eq!(btf.member(4, b"list"), Some(Member { offset: 4, type_id: 2 }));
        assert_eq!(btf.member(4, b"lis"), None);
        assert_eq!((btf.element(2), btf.element(4)), (Some(1), None));
        assert_eq!((btf.size(1), btf.size(2), btf.size(4)), (Some(4), None, Some(16)));
        assert_eq!((btf.size(0), btf.size(5)), (None, None));
    }

    #[test]
    fn cyclic_types_end_the_search() {
        // Type 1 is a typedef of itself, and type 2 is a struct that contains itself twice.
        let words =
            [&[1, kind::TYPEDEF << 24, 1][..], &[5, kind::STRUCT << 24 | 2, 8, 0, 2, 0, 0, 2, 0]]
                .concat();
        let bytes = types(&words, STRINGS);
        let (btf, ..) = Btf::read(&bytes, &[], &[]).unwrap();
        assert_eq!(btf.size(1), None);
        assert_eq!(btf.member(2, b"a"), None);
    }

    #[test]
    fn a_bit_field_is_not_found() {
        let words =
            [&INT[..], &[5, 1 << 31 | kind::STRUCT << 24 | 2, 8, 11, 1, 3 << 24, 13, 1, 32]]
                .concat();
        let bytes = types(&words, STRINGS);
        let (btf, ..) = Btf::read(&bytes, &[], &[]).unwrap();
        assert_eq!(btf.member(2, b"a"), None);
        assert_eq!(btf.member(2, b"b"), Some(Member { offset: 4, type_id: 1 }));
    }
}
