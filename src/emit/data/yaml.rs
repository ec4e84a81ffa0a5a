//! Writes the document as YAML 1.2, with the same fields as JSON.
//!
//! All strings are in double quotes, because some readers convert unquoted strings such as `no`,
//! `1_000` and `12:30` to another type. YAML libraries do not quote these strings, so this module
//! writes YAML itself.

use std::io::{self, Write};

use serde::Serialize;
use serde_json::ser::{CharEscape, CompactFormatter, Formatter};

use super::escape::{Escaping, Notation};
use crate::document::document;
use crate::graph::PidGraph;

/// Writes a graph as a YAML document.
pub fn write(graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
    write_object(&document(graph), out)
}

/// Writes a value, which must serialize as an object.
pub fn write_object(object: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
    let mut out = Escaping::new(out, Notation::Yaml);
    // The value must be an object, because `Block` writes white space before any other value at the
    // top level.
    object.serialize(&mut serde_json::Serializer::with_formatter(&mut out, Block::default()))?;
    out.write_all(b"\n")?;
    out.flush()
}

/// A `serde_json` formatter for YAML, with one line for each entry of a collection.
#[derive(Default)]
struct Block {
    /// The collections that enclose the current value, outermost first.
    open: Vec<Collection>,
    /// `true` if the current collection has no entries yet.
    empty: bool,
    /// The current key, buffered because only the complete key shows whether it needs quotes.
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
            // A list has the same indentation as its key.
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

/// Defines methods that write a single-word value, such as a number, after a space.
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
            // Double-quoted YAML strings support all escapes of JSON.
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
            // The first key of an object in a list follows the dash on the same line.
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

/// Returns `true` if the key needs no quotes in YAML.
fn is_plain(key: &str) -> bool {
    // Some YAML readers convert these words to booleans or null.
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
    fn writes_one_entry_per_line_and_quotes_every_text() {
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
        write_object(&value, &mut out).unwrap();
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
