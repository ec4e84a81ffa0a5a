//! The document as JSON (RFC 8259), with a newline at the end.

use std::collections::BTreeMap;
use std::io::{self, Write};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::mpsc;
use std::thread;

use memchr::memmem;
use serde::Serialize;

use super::escape::{Escaping, Notation};
use crate::document::{document, namespace_element, process_element, without_lists};
use crate::emit::Emitter;
use crate::graph::PidGraph;
use crate::model::{Namespace, Process};

/// JSON, indented or on one line.
pub struct Json {
    /// Whether to indent.
    pub pretty: bool,
}

/// Processes from which on a second thread saves more time than it takes.
const WORTH_IT: usize = 2000;

/// How many elements of its lists a thread writes at a time, some 20 KiB.
const NAMESPACES: usize = 16;
const PROCESSES: usize = 64;

/// Pieces that one thread may be ahead of the other. Waiting for each other after
/// every piece takes longer than writing it.
const AHEAD: usize = 4;

impl Emitter for Json {
    fn emit(&self, graph: &PidGraph, out: &mut dyn Write) -> io::Result<()> {
        let is_long = graph.processes().len() >= WORTH_IT;
        let is_alone =
            || thread::available_parallelism().is_ok_and(|processors| processors.get() == 1);
        if !is_long || self.pretty || is_alone() {
            return self.write(&document(graph), out);
        }
        let mut out = Escaping::new(out, Notation::Json);
        write_by_two(graph, &mut out)?;
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

/// A piece of a document on one line. Of elements it says whether they are the
/// first of their list.
enum Piece<'a> {
    Text(&'a [u8]),
    Namespaces(bool, &'a [(&'a Namespace, usize)]),
    Processes(bool, &'a [Process]),
}

impl Piece<'_> {
    fn write(&self, graph: &PidGraph, out: &mut impl Write) -> io::Result<()> {
        match *self {
            Self::Text(text) => out.write_all(text),
            Self::Namespaces(is_first, list) => {
                let elements = list.iter().map(|(it, _)| namespace_element(graph, it));
                write_elements(is_first, elements, out)
            }
            Self::Processes(is_first, list) => {
                write_elements(is_first, list.iter().map(process_element), out)
            }
        }
    }
}

fn write_elements(
    is_first: bool,
    elements: impl Iterator<Item: Serialize>,
    out: &mut impl Write,
) -> io::Result<()> {
    for (number, element) in elements.enumerate() {
        if number > 0 || !is_first {
            out.write_all(b",")?;
        }
        element.serialize(&mut serde_json::Serializer::new(&mut *out))?;
    }
    Ok(())
}

/// The pieces of a document, given what it holds beside its lists, which are
/// empty there. Within a string a quotation mark has a backslash before it.
fn pieces<'a>(
    rest: &'a [u8],
    namespaces: &'a [(&'a Namespace, usize)],
    processes: &'a [Process],
) -> Option<Vec<Piece<'a>>> {
    let split_after = |text: &'a [u8], begin: &[u8]| {
        let at = memmem::find(text, begin)? + begin.len();
        text.split_at_checked(at)
    };
    let (head, rest) = split_after(rest, b"\"namespaces\":[")?;
    let (between, tail) = split_after(rest, b"\"processes\":[")?;
    let mut pieces = vec![Piece::Text(head)];
    for (number, list) in namespaces.chunks(NAMESPACES).enumerate() {
        pieces.push(Piece::Namespaces(number == 0, list));
    }
    pieces.push(Piece::Text(between));
    for (number, list) in processes.chunks(PROCESSES).enumerate() {
        pieces.push(Piece::Processes(number == 0, list));
    }
    pieces.push(Piece::Text(tail));
    Some(pieces)
}

/// Writes a document on one line, of which another thread makes a part: this takes
/// longer than all else that is done once everything is known. Each makes whichever
/// piece comes next, as one processor often gets less done than the other.
fn write_by_two(graph: &PidGraph, out: &mut impl Write) -> io::Result<()> {
    let (rest, tree) = (serde_json::to_vec(&without_lists(graph))?, graph.tree());
    let pieces = pieces(&rest, &tree, graph.processes())
        .ok_or_else(|| io::Error::other("a document without its lists"))?;
    let next = AtomicUsize::new(0);
    let take = || {
        let number = next.fetch_add(1, Ordering::Relaxed);
        pieces.get(number).map(|piece| (number, piece))
    };
    let make = |piece: &Piece<'_>| {
        let mut text = Vec::with_capacity(24 * 1024);
        piece.write(graph, &mut text).map(|()| text)
    };
    thread::scope(|scope| {
        let (sender, received) = mpsc::sync_channel(AHEAD);
        // It ends where nobody receives any more.
        let help = move || {
            while let Some((number, piece)) = take()
                && sender.send((number, make(piece))).is_ok()
            {}
        };
        // Where there is none, this one makes all of them.
        let _helper = thread::Builder::new().spawn_scoped(scope, help);
        let (mut ready, mut written) = (BTreeMap::new(), 0);
        while written < pieces.len() {
            ready.extend(received.try_iter());
            if let Some(text) = ready.remove(&written) {
                out.write_all(&text?)?;
                written += 1;
            } else if ready.len() < AHEAD
                && let Some((number, piece)) = take()
            {
                if number == written {
                    piece.write(graph, out)?;
                    written += 1;
                } else {
                    ready.insert(number, make(piece));
                }
            } else {
                ready.extend([received.recv().map_err(io::Error::other)?]);
            }
        }
        Ok(())
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{namespace, process, snapshot};

    /// So many processes, in seventy namespaces.
    fn many(count: u32) -> PidGraph {
        let mut processes: Vec<_> =
            (1..=count).map(|pid| process(&[pid], Some(1 + u64::from(pid) % 70))).collect();
        for process in &mut processes {
            // A quarter of them begin with what is escaped, others with what is not.
            process.comm = format!(
                "{}\"{}",
                ["\u{9b}", "é", "\\", "["][process.pid.as_u32() as usize % 4],
                process.pid
            )
            .into();
        }
        let namespaces = (1..=70).map(|inode| namespace(inode, (inode > 1).then_some(1)));
        PidGraph::new(snapshot(namespaces.collect(), processes))
    }

    #[test]
    fn two_threads_write_what_one_does() {
        let enough = u32::try_from(WORTH_IT).unwrap();
        for count in [enough - 1, enough, enough + 1, enough + 300] {
            let graph = many(count);
            let (mut by_two, mut by_one) = (Vec::new(), Vec::new());
            let json = Json { pretty: false };
            json.emit(&graph, &mut by_two).unwrap();
            json.write(&document(&graph), &mut by_one).unwrap();
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
