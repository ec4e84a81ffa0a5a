//! Checks the output of pidns in each format.

use pidns::emit::{Format, Style};
use pidns::graph::PidGraph;
use pidns::model::{NamespaceId, NamespaceState, Snapshot};

use crate::defang::{expected, is_harmful};
use crate::{dot, reads_as, write};

const PLAIN: Style = Style {
    color: false,
    ascii: false,
    pretty: false,
    terminal: false,
    width: None,
    unfolded: true,
    nested: false,
};
const RICH: Style = Style { color: true, pretty: true, terminal: true, unfolded: false, ..PLAIN };
const NESTED: Style = Style { nested: true, ..RICH };

/// Checks the output for `graph` in each format and style. `harmless` is the same graph with
/// dangerous characters replaced.
pub fn check(graph: &PidGraph, harmless: &PidGraph) {
    for style in [PLAIN, RICH, NESTED] {
        for format in Format::ALL {
            match format {
                Format::Text => text(graph, harmless, style),
                Format::Json => json(graph, style),
                Format::Ndjson => ndjson(graph, style),
                Format::Yaml => yaml(graph, style),
                Format::Dot => picture(graph, style),
                Format::Mermaid => chart(graph),
                Format::Openmetrics => metrics(graph),
            }
        }
    }
}

fn text(graph: &PidGraph, harmless: &PidGraph, style: Style) {
    let text = write(graph, Format::Text, style);
    let harmless = write(harmless, Format::Text, style);
    assert_eq!(text, expected(&harmless));
    let shown = if style.color { without_colors(&text) } else { text };
    assert!(!shown.chars().any(|c| c != '\n' && is_harmful(c)), "{shown:?}");
    let ascii = Style { ascii: true, color: false, ..style };
    assert!(write(graph, Format::Text, ascii).is_ascii());
    let narrow = write(graph, Format::Text, Style { width: Some(40), color: false, ..style });
    assert!(!narrow.chars().any(|c| c != '\n' && is_harmful(c)), "{narrow:?}");
}

/// Removes the escape sequences that set colours (SGR in ECMA-48).
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

fn picture(graph: &PidGraph, style: Style) {
    let picture = write(graph, Format::Dot, style);
    assert!(!picture.chars().any(|c| c != '\n' && is_harmful(c)), "{picture:?}");
    let boxes = dot::check(&picture).unwrap_or_else(|problem| panic!("{problem}: {picture}"));
    // Folding may show several live namespaces in one box. Every other namespace must have its own
    // box.
    let namespaces = &graph.snapshot().namespaces;
    let apart = namespaces.iter().filter(|it| it.state != NamespaceState::Live || style.unfolded);
    for namespace in apart {
        let port = match namespace.id {
            NamespaceId::Inode(inode) => format!("n{inode}"),
            NamespaceId::Unread(pid) => format!("u{pid}"),
        };
        assert!(boxes.contains(&*port), "{port}: {picture}");
    }
    assert!(boxes.len() <= namespaces.len() + 1, "{picture}");
}

/// Checks that each line of a Mermaid chart has one of the forms that pidns writes, and that names
/// from the host occur only in labels.
fn chart(graph: &PidGraph) {
    let chart = write(graph, Format::Mermaid, PLAIN);
    assert!(!chart.chars().any(|c| c != '\n' && is_harmful(c)), "{chart:?}");
    assert!(chart.chars().count() <= 50_000 && chart.matches(" --> ").count() <= 500);
    let is_text = |text: &str| {
        let text = text.replace("<br/>", "").replace("<wbr/>", "");
        text.chars().all(|c| c.is_alphanumeric() || " .,:/@=+()→…×#;".contains(c))
    };
    for line in chart.lines().skip(2) {
        let line = line.strip_prefix("  ").unwrap_or_else(|| panic!("{line}"));
        let known = match line.split_once(' ').map_or(line, |(first, _)| first) {
            "accTitle:" | "accDescr:" => is_text(line),
            "classDef" | "class" => true,
            _ => {
                let a_box = line.split_once("[\"").and_then(|(_, rest)| rest.rsplit_once("\"]:::"));
                if let Some((label, class)) = a_box {
                    is_text(label) && class.chars().all(char::is_alphabetic)
                } else {
                    let is_edge = line.contains(" --> ") || line.starts_with("n0 ~~~ n");
                    is_edge && line.is_ascii() && !line.contains('"')
                }
            }
        };
        assert!(known, "{line} in {chart}");
    }
}

/// Checks that the output of `-f openmetrics` consists of comments and samples, and that the number
/// of samples does not depend on the names of processes.
fn metrics(graph: &PidGraph) {
    let text = write(graph, Format::Openmetrics, PLAIN);
    assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
    let samples = text.strip_suffix("# EOF\n").expect("ends");
    let samples = samples.lines().filter(|line| !line.starts_with("# "));
    assert!(samples.clone().count() < 34 * 4 + 21 + 24, "{text}");
    for sample in samples {
        let (series, value) = sample.rsplit_once(' ').expect("a value");
        assert!(value.parse::<u32>().is_ok(), "{sample}");
        let (name, labels) = series.split_once('{').unwrap_or((series, ""));
        assert!(name.starts_with("pidns_") && name.is_ascii(), "{sample}");
        // After escaped quotes are removed, each remaining quote begins or ends a label value.
        let labels = labels.replace("\\\\", "").replace("\\\"", "");
        let quotes = labels.matches('"').count();
        assert!(quotes.is_multiple_of(2) && !labels.contains('\\'), "{sample}");
        let open = labels.split('"').step_by(2).collect::<String>();
        assert!(open.chars().all(|c| c.is_ascii_lowercase() || "_=,}".contains(c)), "{sample}");
    }
}

fn json(graph: &PidGraph, style: Style) {
    let text = write(graph, Format::Json, style);
    assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
    assert!(style.pretty || text.lines().count() == 1, "{text:?}");
    reads_as(&text, graph);
}

fn ndjson(graph: &PidGraph, style: Style) {
    let text = write(graph, Format::Ndjson, style);
    assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
    let Snapshot { namespaces, processes, diagnostics, .. } = graph.snapshot();
    let records = 1 + namespaces.len() + processes.len() + diagnostics.len();
    assert_eq!(text.lines().count(), records, "{text:?}");
    reads_as(&text, graph);
}

fn yaml(graph: &PidGraph, style: Style) {
    let text = write(graph, Format::Yaml, style);
    assert!(!text.chars().any(|c| c != '\n' && is_harmful(c)), "{text:?}");
    reads_as(&text, graph);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn removes_colour_sequences_only() {
        assert_eq!(without_colors("a\u{1b}[1m\u{1b}[36mb\u{1b}[0mmc"), "abmc");
    }

    #[test]
    #[should_panic(expected = "2Jc")]
    fn panics_on_other_escape_sequences() {
        let _ = without_colors("\u{1b}[2Jcm");
    }
}
