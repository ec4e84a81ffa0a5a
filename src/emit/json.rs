//! The document as JSON (RFC 8259), with a newline at the end.

use std::io::{self, Write};
use std::sync::mpsc;
use std::thread;

use memchr::memmem;
use serde::Serialize;

use super::Emitter;
use super::escape::{Escaping, Notation};
use crate::document;
use crate::graph::PidGraph;
use crate::model::Process;

/// JSON, indented or on one line.
pub struct Json {
    /// Whether to indent.
    pub pretty: bool,
}

/// Processes that a thread writes at a time, some 80 KiB.
const PIECE: usize = 256;

/// Pieces from which on a second thread saves more time than it takes.
const WORTH_IT: usize = 8;

/// Where the list of processes begins: in a string a quotation mark has a
/// backslash before it.
const LIST: &[u8] = b"\"processes\":[";

impl Emitter for Json {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let is_long = graph.processes().len() >= WORTH_IT * PIECE;
        let is_alone =
            || thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
        if !is_long || self.pretty || is_alone() {
            return self.write(&document::document(graph), out);
        }
        let mut out = Escaping::new(out, Notation::Json);
        let rest = serde_json::to_vec(&document::without_processes(graph))?;
        let Some(at) = memmem::find(&rest, LIST) else {
            return Err(io::Error::other("a document without a list of processes"));
        };
        let (before, after) = rest.split_at(at + LIST.len());
        out.write_all(before)?;
        write_by_two(graph.processes(), &mut out)?;
        out.write_all(after)?;
        out.write_all(b"\n")?;
        out.flush()
    }
}

impl Json {
    /// Writes one value.
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

/// Writes the elements of the list of processes. Of each two pieces another
/// thread makes one: this takes longer than all else that is done once everything
/// is known.
fn write_by_two(processes: &[Process], out: &mut impl Write) -> io::Result<()> {
    let pieces = processes.chunks(PIECE);
    let others = pieces.clone().skip(1).step_by(2);
    thread::scope(|scope| {
        let (sender, received) = mpsc::sync_channel(1);
        let make = move |piece| {
            let mut text = Vec::with_capacity(384 * PIECE);
            let written = write_elements(piece, &mut text);
            // It ends where nobody receives any more.
            sender.send(written.map(|()| text))
        };
        let helper =
            thread::Builder::new().spawn_scoped(scope, move || _ = { others }.try_for_each(make));
        for (number, piece) in pieces.enumerate() {
            if number > 0 {
                out.write_all(b",")?;
            }
            if number % 2 == 1 && helper.is_ok() {
                out.write_all(&received.recv().map_err(io::Error::other)??)?;
            } else {
                write_elements(piece, out)?;
            }
        }
        Ok(())
    })
}

/// Writes processes, with commas between them.
fn write_elements(processes: &[Process], out: &mut impl Write) -> io::Result<()> {
    for (number, process) in processes.iter().enumerate() {
        if number > 0 {
            out.write_all(b",")?;
        }
        document::process(process).serialize(&mut serde_json::Serializer::new(&mut *out))?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process, snapshot};

    /// So many processes in one namespace.
    fn many(count: u32) -> PidGraph {
        let mut processes: Vec<_> = (1..=count).map(|pid| process(&[pid], Some(1))).collect();
        for process in &mut processes {
            // A quarter of them begin with what is escaped, others with what is not.
            process.comm = format!(
                "{}\"{}",
                ["\u{9b}", "é", "\\", "["][process.pid.as_u32() as usize % 4],
                process.pid
            )
            .into();
        }
        PidGraph::new(snapshot(vec![namespace(1, None)], processes))
    }

    #[test]
    fn two_threads_write_what_one_does() {
        let enough = u32::try_from(WORTH_IT * PIECE).unwrap();
        for count in [enough - 1, enough, enough + 1, enough + 300] {
            let graph = many(count);
            let (mut by_two, mut by_one) = (Vec::new(), Vec::new());
            let json = Json { pretty: false };
            json.emit(&graph, &mut by_two).unwrap();
            json.write(&document::document(&graph), &mut by_one).unwrap();
            assert!(by_two == by_one, "{count}");
        }
    }

    /// A writer that takes so many bytes and no more.
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
    fn a_reader_that_goes_ends_both_threads() {
        let graph = many(8000);
        for taken in [0, 100, 100_000, 1_000_000] {
            let error = Json { pretty: false }.emit(&graph, &mut Closing(taken)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::BrokenPipe, "{taken}");
        }
    }

    #[test]
    fn json_shows_no_harm_and_reads_the_same() {
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
