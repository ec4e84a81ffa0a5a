//! What must hold of every format.

use pidns::emit::{Format, Style};
use pidns::graph::PidGraph;

use crate::defang::{Place, expected, is_harmful};
use crate::{dot, reads_as, write};

const PLAIN: Style = Style { color: false, ascii: false, pretty: false, terminal: false };
const RICH: Style = Style { color: true, ascii: true, pretty: true, terminal: true };

/// Asserts it of a graph, given one that differs in having harmless text.
pub fn check(graph: &PidGraph, harmless: &PidGraph) {
    for style in [PLAIN, RICH] {
        for format in Format::ALL {
            match format {
                Format::Text => text(graph, harmless, style),
                Format::Json => json(graph, style),
                Format::Yaml => yaml(graph, style),
                Format::Dot => picture(graph, harmless, style),
            }
        }
    }
}

fn text(graph: &PidGraph, harmless: &PidGraph, style: Style) {
    let text = write(graph, Format::Text, style);
    let harmless = write(harmless, Format::Text, style);
    assert_eq!(text, expected(&harmless, Place::Line));
    let shown = if style.color { without_colors(&text) } else { text };
    assert!(!shown.chars().any(|c| c != '\n' && is_harmful(c)), "{shown:?}");
}

/// Text without the sequences that set colours (SGR of ECMA-48).
fn without_colors(text: &str) -> String {
    let mut parts = text.split("\u{1b}[");
    let mut plain = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        let (parameters, rest) = part.split_once('m').expect("a sequence that sets a colour");
        assert!(parameters.bytes().all(|byte| byte.is_ascii_digit() || byte == b';'), "{text:?}");
        plain.push_str(rest);
    }
    plain
}

fn picture(graph: &PidGraph, harmless: &PidGraph, style: Style) {
    let picture = write(graph, Format::Dot, style);
    let harmless = write(harmless, Format::Dot, style);
    assert_eq!(picture, expected(&harmless, Place::Label));
    assert!(!picture.chars().any(|c| c != '\n' && is_harmful(c)), "{picture:?}");
    let shape = dot::check(&picture).unwrap_or_else(|problem| panic!("{problem}: {picture}"));
    let namespaces = &graph.snapshot().namespaces;
    let below = namespaces.iter().filter(|namespace| namespace.parent.is_some());
    assert_eq!(shape, dot::Shape { nodes: namespaces.len(), edges: below.count() });
}

fn json(graph: &PidGraph, style: Style) {
    let text = write(graph, Format::Json, style);
    assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
    assert!(style.pretty || text.lines().count() == 1, "{text:?}");
    reads_as(&text, graph);
}

fn yaml(graph: &PidGraph, style: Style) {
    let text = write(graph, Format::Yaml, style);
    assert!(!text.chars().any(|c| c != '\n' && c.is_control()), "{text:?}");
    if style.terminal {
        // For the eye alone: escapes in a plain scalar are read as they stand.
        assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
    } else {
        reads_as(&text, graph);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn colours_are_taken_off_and_nothing_else() {
        assert_eq!(without_colors("a\u{1b}[1m\u{1b}[36mb\u{1b}[0mmc"), "abmc");
    }

    #[test]
    #[should_panic(expected = "2Jc")]
    fn another_sequence_is_no_colour() {
        let _ = without_colors("\u{1b}[2Jcm");
    }
}
