//! Writes values as JSON (RFC 8259), each with a newline at the end.

use std::io::{self, Write};

use serde::Serialize;

use super::escape::{Escaping, Notation};

/// Writes JSON values.
pub struct Json {
    /// `true` if the output is indented, and `false` if it is a single line.
    pub pretty: bool,
}

impl Json {
    /// Writes one value and a newline.
    pub fn write(&self, value: &impl Serialize, out: &mut dyn Write) -> io::Result<()> {
        let mut out = Escaping::new(out, Notation::Json);
        if self.pretty {
            value.serialize(&mut serde_json::Serializer::pretty(&mut out))?;
        } else {
            value.serialize(&mut serde_json::Serializer::new(&mut out))?;
        }
        out.write_all(b"\n")?;
        out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::document::document;
    use crate::graph::PidGraph;
    use crate::testing::{process, snapshot};

    /// A writer that accepts this many bytes and then fails with a broken pipe.
    struct Closing(usize);

    impl Write for Closing {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            let taken = bytes.len().min(self.0);
            self.0 -= taken;
            if taken == 0 { Err(io::ErrorKind::BrokenPipe.into()) } else { Ok(taken) }
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn returns_the_error_of_a_closed_pipe() {
        let processes = (1..=8000).map(|pid| process(&[pid], None)).collect();
        let graph = PidGraph::new(snapshot(Vec::new(), processes));
        for taken in [0, 100, 100_000, 1_000_000] {
            let json = Json { pretty: false };
            let error = json.write(&document(&graph), &mut Closing(taken)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{taken}");
        }
    }

    #[test]
    fn escapes_control_characters_and_reads_back_to_the_same_value() {
        let name = "a\u{7f}\u{9b}31m\u{202e}\u{feff}é\n\u{1f600}\u{e0041}";
        let mut out = Vec::new();
        let mut json = Escaping::new(&mut out, Notation::Json);
        serde_json::to_writer(&mut json, name).unwrap();
        json.flush().unwrap();
        let text = String::from_utf8(out).unwrap();
        assert_eq!(text, "\"a\\u007f\\u009b31m\\u202e\\ufeffé\\n\u{1f600}\\udb40\\udc41\"");
        assert_eq!(serde_json::from_str::<String>(&text).unwrap(), name);
    }
}
