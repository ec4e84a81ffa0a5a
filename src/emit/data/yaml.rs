//! The document as YAML 1.2: the same as in JSON, field by field.
//!
//! Readers of YAML differ in what an unquoted text is: `no`, `1_000`, `12:30`,
//! `2026-11-25`, `<<` and `=` are text to some and something else to others.
//! Here every text is in double quotes, in which YAML has all the escapes of
//! JSON, so that the serialiser of JSON writes it and no list of such words is
//! needed; this file adds the layout in lines.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use super::escape::{Escaping, Notation};
use crate::document::document;
use crate::emit::Emitter;
use crate::graph::PidGraph;

/// YAML in block style.
pub struct Yaml;

impl Emitter for Yaml {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        write(&document(graph), out)
    }
}

/// Writes an object, the only thing that has lines of its own at the top.
fn write(object: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut out = Escaping::new(out, Notation::Yaml);
    object.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Block::default()))?;
    out.write_all(b"\n")?;
    out.flush()
}

/// Lays out what the serialiser of JSON writes: a line for each entry of a
/// collection, begun with a line feed and indentation, as what precedes it does
/// not know whether it is the last.
#[derive(Default)]
struct Block {
    /// The collections that are open.
    open: Vec<Collection>,
    /// Whether the collection that ends is without entries.
    empty: bool,
    /// The key that is being written, to be quoted or not when it is whole.
    key: Option<String>,
}

#[derive(Clone, Copy)]
struct Collection {
    indent: usize,
    is_list: bool,
}

impl Block {
    fn begin(&mut self, is_list: bool) {
        let indent = match self.open.last() {
            None => 0,
            // The marks of a list stand below its key.
            Some(outer) if is_list && !outer.is_list => outer.indent,
            Some(outer) => outer.indent + 2,
        };
        self.open.push(Collection { indent, is_list });
        self.empty = true;
    }

    fn end<W: ?Sized + Write>(&mut self, writer: &mut W, empty: &[u8]) -> io::Result<()> {
        self.open.pop();
        if self.empty {
            writer.write_all(empty)?;
        }
        Ok(())
    }

    fn line<W: ?Sized + Write>(&self, writer: &mut W) -> io::Result<()> {
        let indent = self.open.last().map_or(0, |it| it.indent);
        writer.write_all(b"\n")?;
        (0..indent).try_for_each(|_| writer.write_all(b" "))
    }
}

/// Values that are one word: what is before them ends without a space.
macro_rules! one_word {
    ($($method:ident($type:ty);)+) => {
        $(
            fn $method<W: ?Sized + Write>(&mut self, writer: &mut W, value: $type) -> io::Result<()> {
                writer.write_all(b" ")?;
                CompactFormatter.$method(writer, value)
            }
        )+
    };
}

impl Formatter for Block {
    one_word! {
        write_bool(bool);
        write_i8(i8);
        write_i16(i16);
        write_i32(i32);
        write_i64(i64);
        write_i128(i128);
        write_u8(u8);
        write_u16(u16);
        write_u32(u32);
        write_u64(u64);
        write_u128(u128);
        write_f32(f32);
        write_f64(f64);
        write_number_str(&str);
    }

    fn write_null<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b" null")
    }

    fn begin_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        if self.key.is_some() { Ok(()) } else { writer.write_all(b" \"") }
    }

    fn end_string<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        match self.key.take() {
            None => writer.write_all(b"\""),
            Some(key) if is_plain(&key) => writer.write_all(key.as_bytes()),
            Some(key) => write!(writer, "\"{key}\""),
        }
    }

    fn write_string_fragment<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        fragment: &str,
    ) -> io::Result<()> {
        match &mut self.key {
            None => writer.write_all(fragment.as_bytes()),
            Some(key) => {
                key.push_str(fragment);
                Ok(())
            }
        }
    }

    fn write_char_escape<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        escape: CharEscape,
    ) -> io::Result<()> {
        let Some(key) = &mut self.key else {
            return CompactFormatter.write_char_escape(writer, escape);
        };
        let mut escaped = Vec::new();
        CompactFormatter.write_char_escape(&mut escaped, escape)?;
        key.extend(escaped.into_iter().map(char::from));
        Ok(())
    }

    fn begin_array<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.begin(true);
        Ok(())
    }

    fn end_array<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b" []")
    }

    fn begin_array_value<W: ?Sized + Write>(&mut self, writer: &mut W, _: bool) -> io::Result<()> {
        self.line(writer)?;
        writer.write_all(b"-")
    }

    fn end_array_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.empty = false;
        Ok(())
    }

    fn begin_object<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.begin(false);
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        self.end(writer, b" {}")
    }

    fn begin_object_key<W: ?Sized + Write>(
        &mut self,
        writer: &mut W,
        first: bool,
    ) -> io::Result<()> {
        self.key = Some(String::new());
        match self.open.as_slice() {
            [_] if first => Ok(()),
            // Beside the mark of the list.
            [.., Collection { is_list: true, .. }, _] if first => writer.write_all(b" "),
            _ => self.line(writer),
        }
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, writer: &mut W) -> io::Result<()> {
        writer.write_all(b":")
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _: &mut W) -> io::Result<()> {
        self.empty = false;
        Ok(())
    }
}

/// Whether every reader takes a key for text without quotes: small letters, and
/// not a word that stands for something else. The fields of the document are
/// such keys; keys of maps may be anything.
fn is_plain(key: &str) -> bool {
    const OTHER: [&str; 9] = ["y", "n", "yes", "no", "on", "off", "true", "false", "null"];
    !key.is_empty()
        && key.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
        && !key.starts_with('_')
        && !OTHER.contains(&key)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_line_is_an_entry_and_every_text_is_quoted() {
        let value = json!({
            "text": "no",
            "number": -7,
            "none": null,
            "list": [1, "a\n\u{2028}\u{e0041}\"\\", true, [], {}],
            "of_lists": [[1, [2]], []],
            "of_maps": [{"a": {"b": [1.5]}, "c": []}, {"d": {"e": "f"}}],
            "map": {"mnt": 1, "no": 2, "<<": 3, "": 4, "a\tb": 5, "_": 6},
            "empty": {},
            "nothing": [],
        });
        let mut out = Vec::new();
        write(&value, &mut out).unwrap();
        expect_test::expect![[r#"
            text: "no"
            number: -7
            none: null
            list:
            - 1
            - "a\n\u2028\U000e0041\"\\"
            - true
            - []
            - {}
            of_lists:
            -
              - 1
              -
                - 2
            - []
            of_maps:
            - a:
                b:
                - 1.5
              c: []
            - d:
                e: "f"
            map:
              mnt: 1
              "no": 2
              "<<": 3
              "": 4
              "a\tb": 5
              "_": 6
            empty: {}
            nothing: []
        "#]]
        .assert_eq(&String::from_utf8(out).unwrap());
    }
}
