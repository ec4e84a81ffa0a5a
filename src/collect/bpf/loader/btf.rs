//! Type information in the BPF type format ("BTF"), as the kernel tells it of
//! its own types and clang of an object's. Kernels have some 150,000 types, so
//! they are gone through once, and only what is asked for is looked at.
//!
//! What contradicts itself is `None`, whatever the bytes are.

use super::bytes::{offset_at, part, text_at, u16_at, u32_at};

const MAGIC: u16 = 0xeb9f;

/// Kinds of types, `BTF_KIND_…`.
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

/// Every so many types the place of one is kept, from which the others are near.
const STRIDE: usize = 16;

/// The most qualifiers of a type that are followed. Real ones have a few.
const MOST_QUALIFIERS: usize = 32;

/// The most structs and unions without a name that are looked into for one
/// member. Those of struct task_struct are some ten.
const MOST_UNNAMED: usize = 256;

/// Size of a pointer.
const POINTER: u32 = 8;

/// The numbers of types that were looked for by name, `None` for those that
/// there are not.
type Numbers = Vec<Option<u32>>;

/// Types, by their numbers.
pub struct Btf<'a> {
    types: &'a [u8],
    strings: &'a [u8],
    /// Where in `types` every [`STRIDE`]th of them begins, from number 1 on.
    starts: Vec<u32>,
}

/// The beginning of a type, which all kinds have in common.
#[derive(Clone, Copy)]
struct Type<'a> {
    name: u32,
    kind: u32,
    /// Whether offsets of members have the widths of bit fields in them.
    has_widths: bool,
    /// Number of members, enumerators or parameters.
    count: usize,
    /// Its size, or the type that it refers to.
    size_or_target: u32,
    /// What is particular to the kind.
    rest: &'a [u8],
}

/// A member of a struct or union.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Member {
    /// Where it is, in bytes.
    pub offset: u32,
    /// Its type.
    pub kind: u32,
}

impl<'a> Btf<'a> {
    /// Reads the types, and finds those with certain names on the way: structs
    /// and unions for `structs`, functions for `functions`. Of two with one
    /// name the first one counts.
    pub fn read(
        bytes: &'a [u8],
        structs: &[&[u8]],
        functions: &[&[u8]],
    ) -> Option<(Self, Numbers, Numbers)> {
        let (header, version) = (offset_at(bytes, 4)?, *bytes.get(2)?);
        if u16_at(bytes, 0)? != MAGIC || version != 1 {
            return None;
        }
        let section =
            |at| part(bytes, header.checked_add(offset_at(bytes, at)?)?, offset_at(bytes, at + 4)?);
        let (types, strings) = (section(8)?, section(16)?);
        let mut starts = Vec::with_capacity(types.len() / (24 * STRIDE));
        let (mut structs, mut functions) = (Names::new(structs), Names::new(functions));
        let (mut at, mut number) = (0, 1_u32);
        while at < types.len() {
            if number as usize % STRIDE == 1 {
                starts.push(u32::try_from(at).ok()?);
            }
            let (kind, name, length) = Type::glance(types, at)?;
            match kind {
                kind::STRUCT | kind::UNION => structs.find(strings, name, number),
                kind::FUNC => functions.find(strings, name, number),
                _ => {}
            }
            at += length;
            number += 1;
        }
        if at > types.len() {
            return None;
        }
        let (found_structs, found_functions) = (structs.found, functions.found);
        Some((Self { types, strings, starts }, found_structs, found_functions))
    }

    /// A text of these types.
    pub fn text(&self, at: u32) -> Option<&'a [u8]> {
        text_at(self.strings, offset(at)?)
    }

    /// The name of a type, without qualifiers.
    pub fn name(&self, number: u32) -> Option<&'a [u8]> {
        self.text(self.unqualified(number)?.name)
    }

    fn get(&self, number: u32) -> Option<Type<'a>> {
        let index = offset(number)?.checked_sub(1)?;
        let mut at = offset(*self.starts.get(index / STRIDE)?)?;
        for _ in 0..index % STRIDE {
            at += Type::at(self.types, at)?.1;
        }
        Type::at(self.types, at).map(|(it, _)| it)
    }

    /// A type without its qualifiers and other names (`const`, `typedef`).
    fn unqualified(&self, number: u32) -> Option<Type<'a>> {
        let mut it = self.get(number)?;
        for _ in 0..MOST_QUALIFIERS {
            if !matches!(it.kind, kind::TYPEDEF..=kind::RESTRICT | kind::TYPE_TAG) {
                return Some(it);
            }
            it = self.get(it.size_or_target)?;
        }
        None
    }

    /// The size of a number, enumeration, pointer, struct or union, in bytes.
    pub fn size(&self, number: u32) -> Option<u32> {
        let it = self.unqualified(number)?;
        match it.kind {
            kind::INT | kind::ENUM | kind::ENUM64 | kind::FLOAT | kind::STRUCT | kind::UNION => {
                Some(it.size_or_target)
            }
            kind::PTR => Some(POINTER),
            _ => None,
        }
    }

    /// The type of an array's elements; `None` where it is no array.
    pub fn element(&self, array: u32) -> Option<u32> {
        let it = self.unqualified(array)?;
        (it.kind == kind::ARRAY).then(|| u32_at(it.rest, 0))?
    }

    /// The name and the type of a struct's member of that number.
    pub fn member_at(&self, number: u32, index: usize) -> Option<(&'a [u8], u32)> {
        let it = self.unqualified(number)?;
        let (name, member) = it.members()?.nth(index)?;
        Some((self.text(name)?, member?.kind))
    }

    /// The member of a struct or union that has a name, also within members
    /// that have none.
    pub fn member(&self, number: u32, name: &[u8]) -> Option<Member> {
        let mut left = MOST_UNNAMED;
        self.member_within(number, name, &mut left)
    }

    fn member_within(&self, number: u32, name: &[u8], left: &mut usize) -> Option<Member> {
        *left = left.checked_sub(1)?;
        let mut unnamed = Vec::new();
        for (text, member) in self.unqualified(number)?.members()? {
            let text = self.strings.get(offset(text)?..)?;
            if begins_with(text, name) {
                return member;
            }
            if text.first() == Some(&0) {
                unnamed.extend(member);
            }
        }
        unnamed.into_iter().find_map(|outer| {
            let inner = self.member_within(outer.kind, name, left)?;
            Some(Member { offset: outer.offset.checked_add(inner.offset)?, ..inner })
        })
    }
}

/// Names that are looked for among those of one kind of types.
struct Names<'a> {
    wanted: &'a [&'a [u8]],
    found: Numbers,
    /// The letters that they begin with: nearly all others are passed over by these.
    first: [bool; 256],
}

impl<'a> Names<'a> {
    fn new(wanted: &'a [&'a [u8]]) -> Self {
        let mut first = [false; 256];
        for letter in wanted.iter().filter_map(|name| name.first()) {
            first[usize::from(*letter)] = true;
        }
        Self { wanted, found: vec![None; wanted.len()], first }
    }

    /// Notes the type of that number if its name, the text at a place, is one
    /// of them that was not found before.
    fn find(&mut self, strings: &[u8], name: u32, number: u32) {
        let Some(name) = offset(name).and_then(|name| strings.get(name..)) else { return };
        if !name.first().is_some_and(|&letter| self.first[usize::from(letter)]) {
            return;
        }
        for (wanted, found) in self.wanted.iter().zip(&mut self.found) {
            if begins_with(name, wanted) {
                found.get_or_insert(number);
            }
        }
    }
}

impl<'a> Type<'a> {
    /// The kind and the name of the type that begins at a place, and how many
    /// bytes it takes, if they are there.
    fn glance(types: &[u8], at: usize) -> Option<(u32, u32, usize)> {
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

    /// The type that begins at a place, and how many bytes it takes.
    fn at(types: &'a [u8], at: usize) -> Option<(Self, usize)> {
        let (kind, name, length) = Self::glance(types, at)?;
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

    /// The names and places of its members; `None` for one that does not begin
    /// at a byte or is a bit field.
    fn members(self) -> Option<impl Iterator<Item = (u32, Option<Member>)> + use<'a>> {
        if !matches!(self.kind, kind::STRUCT | kind::UNION) {
            return None;
        }
        let members = self.rest.chunks_exact(12).take(self.count);
        Some(members.filter_map(move |bytes| {
            let bits = u32_at(bytes, 8)?;
            let (width, bits) =
                if self.has_widths { (bits >> 24, bits & 0xff_ffff) } else { (0, bits) };
            let member = Member { offset: bits / 8, kind: u32_at(bytes, 4)? };
            Some((u32_at(bytes, 0)?, (width == 0 && bits % 8 == 0).then_some(member)))
        }))
    }
}

fn offset(number: u32) -> Option<usize> {
    usize::try_from(number).ok()
}

/// Whether a text that a NUL ends is this one.
fn begins_with(text: &[u8], name: &[u8]) -> bool {
    text.first() == name.first() && text.starts_with(name) && text.get(name.len()) == Some(&0)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Types in the kernel's form: records of 32-bit words, and their texts.
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
    fn a_member_is_found_within_one_without_a_name() {
        // struct outer { int a; union { int b; int list[3]; }; }, which follows its parts.
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
        assert_eq!(btf.member(4, b"a"), Some(Member { offset: 0, kind: 1 }));
        assert_eq!(btf.member(4, b"b"), Some(Member { offset: 4, kind: 1 }));
        assert_eq!(btf.member(4, b"list"), Some(Member { offset: 4, kind: 2 }));
        assert_eq!(btf.member(4, b"lis"), None);
        assert_eq!((btf.element(2), btf.element(4)), (Some(1), None));
        assert_eq!((btf.size(1), btf.size(2), btf.size(4)), (Some(4), None, Some(16)));
        assert_eq!((btf.size(0), btf.size(5)), (None, None));
    }

    #[test]
    fn types_without_end_are_left() {
        // A typedef of itself, and a struct with two of itself without a name.
        let words =
            [&[1, kind::TYPEDEF << 24, 1][..], &[5, kind::STRUCT << 24 | 2, 8, 0, 2, 0, 0, 2, 0]]
                .concat();
        let bytes = types(&words, STRINGS);
        let (btf, ..) = Btf::read(&bytes, &[], &[]).unwrap();
        assert_eq!(btf.size(1), None);
        assert_eq!(btf.member(2, b"a"), None);
    }

    #[test]
    fn a_bit_field_is_no_member() {
        let words =
            [&INT[..], &[5, 1 << 31 | kind::STRUCT << 24 | 2, 8, 11, 1, 3 << 24, 13, 1, 32]]
                .concat();
        let bytes = types(&words, STRINGS);
        let (btf, ..) = Btf::read(&bytes, &[], &[]).unwrap();
        assert_eq!(btf.member(2, b"a"), None);
        assert_eq!(btf.member(2, b"b"), Some(Member { offset: 4, kind: 1 }));
    }
}
