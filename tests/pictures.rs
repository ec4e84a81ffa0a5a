//! Tests that text, DOT and Mermaid output for realistic hosts is readable.

mod common;

use std::io::Write as _;
use std::process::{Command, Stdio};
use std::time::Instant;

use common::hosts::{self, Builder};
use common::{Need::Program, needs};
use expect_test::expect_file;
use pidns::emit::{Format, Style};
use pidns::graph::PidGraph;
use pidns::model::{Evidence, Snapshot};

fn emit(snapshot: Snapshot, format: Format, style: Style) -> String {
    let mut out = Vec::new();
    format.emit(&PidGraph::new(snapshot), style, &mut out).unwrap();
    String::from_utf8(out).unwrap()
}

fn at_width(snapshot: Snapshot, width: usize) -> String {
    let style = Style { width: Some(width), terminal: true, ..Style::default() };
    emit(snapshot, Format::Text, style)
}

#[test]
fn the_readmes_document_matches_its_host() {
    let document = emit(hosts::readme(), Format::Json, Style { pretty: true, ..Style::default() });
    expect_file!["snapshots/host.json"].assert_eq(&document);
    let dot = emit(hosts::readme(), Format::Dot, Style::default());
    expect_file!["snapshots/host.dot"].assert_eq(&dot);
}

/// If the environment variable `PIDNS_LOOK` is set to a directory, writes the output for a host to
/// that directory, for developers to look at.
fn keep(host: &str, extension: &str, text: &str) {
    if let Some(dir) = std::env::var_os("PIDNS_LOOK") {
        let file = std::path::PathBuf::from(dir).join(format!("{host}.{extension}"));
        std::fs::write(file, text).unwrap();
    }
}

#[test]
fn the_text_of_every_host_fits_a_few_screens() {
    for (name, snapshot, most) in [
        ("idle", hosts::idle(), 15),
        ("20 containers", hosts::containers(), 80),
        ("400 namespaces of pods", hosts::pods(true), 60),
        ("1,000 namespaces alike", hosts::thousand(true, false), 20),
    ] {
        let text = at_width(snapshot, 80);
        assert!(text.lines().count() <= most, "{name}:\n{text}");
    }
}

#[test]
fn no_line_is_longer_than_the_terminal_is_wide() {
    for (name, snapshot) in hosts::all() {
        for width in [80, 120] {
            let text = at_width(snapshot.clone(), width);
            keep(name, &width.to_string(), &text);
            for line in text.lines() {
                assert!(line.chars().count() <= width, "{name}: {line:?}");
            }
        }
    }
}

#[test]
fn lines_break_between_words() {
    let words = |width| {
        let text = at_width(hosts::trouble(), width);
        let words = text.split_whitespace().filter(|it| !["│", "├─", "└─"].contains(it));
        words.map(str::to_owned).collect::<Vec<_>>()
    };
    let unbroken = words(1000);
    for width in [40, 60, 80, 120] {
        assert_eq!(words(width), unbroken, "{width}");
    }
}

/// Renders DOT as SVG by Graphviz. Returns the SVG, its width and height in points, and the time
/// that Graphviz took, in seconds.
fn draw(dot: &str) -> (String, (f64, f64), f64) {
    let start = Instant::now();
    let mut child = Command::new("dot")
        .arg("-Tsvg")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("Graphviz is installed");
    let mut stdin = child.stdin.take().unwrap();
    let input = dot.to_owned();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()));
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap().unwrap();
    assert_eq!(String::from_utf8_lossy(&output.stderr), "", "Graphviz prints a warning");
    let svg = String::from_utf8(output.stdout).unwrap();
    let size = |name: &str| {
        let (_, rest) = svg.split_once(&format!("{name}=\"")).unwrap();
        rest.split_once("pt\"").unwrap().0.parse().unwrap()
    };
    (svg.clone(), (size("width"), size("height")), start.elapsed().as_secs_f64())
}

#[test]
fn every_picture_has_a_readable_size_and_is_drawn_quickly() {
    needs!(Program("dot"));
    for (name, snapshot) in hosts::all() {
        let (most_wide, most_high) = match name {
            "idle" | "containers" | "trouble" | "nobody" | "names" => (1400.0, 900.0),
            "pods-alike" | "thousand-alike" | "thousand-nested-alike" => (2000.0, 1500.0),
            _ => (8000.0, 6000.0),
        };
        let dot = emit(snapshot.clone(), Format::Dot, Style::default());
        keep(name, "dot", &dot);
        keep(name, "json", &emit(snapshot, Format::Json, Style::default()));
        let (svg, (wide, high), seconds) = draw(&dot);
        keep(name, "svg", &svg);
        assert!(wide <= most_wide && high <= most_high, "{name}: {wide} x {high}");
        assert!(seconds < 20.0, "{name}: {seconds} s, but 2 s are enough on an idle machine");
    }
}

#[test]
fn every_box_has_a_tooltip_with_id_state_and_omitted_members() {
    needs!(Program("dot"));
    for snapshot in [hosts::containers(), hosts::trouble(), hosts::nobody(), hosts::levels()] {
        let (svg, _, _) = draw(&emit(snapshot.clone(), Format::Dot, Style::default()));
        for namespace in &snapshot.namespaces {
            let id = namespace.id.to_string();
            let (_, anchor) = svg.split_once(&format!("<g id=\"a_{id}\"><a ")).expect(&id);
            let (anchor, _) = anchor.split_once(">\n").unwrap();
            assert!(anchor.starts_with(&format!("xlink:title=\"{id}")), "{anchor}");
            let state = namespace.state.name();
            let state = match namespace.evidence {
                Evidence::Kernel => format!(" target=\"{state}\""),
                Evidence::Inferred => format!(" target=\"{state} inferred\""),
            };
            assert!(anchor.ends_with(&state), "{anchor}");
        }
    }
}

#[test]
fn a_long_title_does_not_stretch_the_legend() {
    needs!(Program("dot"));
    let mut snapshot = hosts::trouble();
    snapshot.diagnostics[0].message = "cannot be read ".repeat(10);
    let (svg, (wide, _), _) = draw(&emit(snapshot, Format::Dot, Style::default()));
    let text = svg.lines().find(|line| line.contains(">dead: ")).unwrap();
    let (_, x) = text.split_once(" x=\"").unwrap();
    let x: f64 = x.split_once('"').unwrap().0.parse().unwrap();
    assert!(wide > 700.0 && x < 80.0, "{x} of {wide}");
}

/// Process names with a special meaning in Graphviz, Mermaid, HTML, Markdown or on a terminal.
const HOSTILE: [&str; 19] = [
    "\\N",
    "\\G\\E\\T\\H\\L",
    "a\nb",
    "a\\nb",
    "</td>\"&]>;",
    "<b>&amp;<b>",
    "&lt;i&gt;",
    "&#39;#39;",
    "\"]:::dead",
    "{a|b}[c](d)",
    "`*a*_b_`",
    "$$x^2$$",
    "fa:fa-bell",
    "%%{init}%%",
    "end",
    "\u{1b}[31mred\u{202e}",
    "<script>x",
    " ",
    "",
];

/// Returns a host with a process for each name in [`HOSTILE`].
fn hostile() -> Snapshot {
    let mut host = Builder::new();
    for name in HOSTILE {
        host.daemon(name);
    }
    host.snapshot.host.hostname = Some("<\\G>\"".to_owned());
    host.snapshot
}

/// Escapes a process name in the way that text, DOT and Mermaid show it.
fn shown(name: &str) -> String {
    match name {
        "\u{1b}[31mred\u{202e}" => "\\x1b[31mred\\u{202e}".to_owned(),
        "" => "(no name)".to_owned(),
        name => name.replace('\\', "\\\\").replace('\n', "\\n"),
    }
}

#[test]
fn no_name_changes_the_text() {
    let text = emit(hostile(), Format::Text, Style::default());
    let lines: Vec<&str> = text.lines().collect();
    for (index, name) in HOSTILE.iter().enumerate() {
        let raw = 1204 + 4 * index;
        let line = lines.iter().find(|line| line.contains(&format!("─ {raw} "))).unwrap();
        assert_eq!(line.split_once("─ ").unwrap().1, format!("{raw} {}", shown(name)));
    }
}

#[test]
fn no_name_changes_the_graphviz_picture() {
    needs!(Program("dot"));
    let (svg, _, _) = draw(&emit(hostile(), Format::Dot, Style::default()));
    let texts: Vec<String> = svg
        .lines()
        .filter(|line| line.starts_with("<text"))
        .map(|line| line.split(['<', '>']).nth(2).unwrap_or_default())
        .map(|text| {
            let text = text.replace("&lt;", "<").replace("&gt;", ">").replace("&quot;", "\"");
            text.replace("&#45;", "-")
                .replace("&#39;", "'")
                .replace("&#160;", " ")
                .replace("&amp;", "&")
        })
        .collect();
    for (index, name) in HOSTILE.iter().enumerate() {
        let expected = format!("{} {}", 1204 + 4 * index, shown(name));
        // Ignore trailing spaces, which Graphviz removes.
        let expected = expected.trim_end();
        assert!(texts.iter().any(|text| text.trim_end() == expected), "{expected} in {texts:?}");
    }
    assert!(texts.contains(&"PID namespaces of <\\\\G>\"".to_owned()), "{texts:?}");
}

#[test]
#[ignore = "needs Chromium and packages of npm: tests/mermaid/check brings them and runs it"]
fn no_name_changes_the_mermaid_picture() {
    let dir = tempfile::tempdir().unwrap();
    let mut hosts = hosts::all();
    hosts.push(("hostile", hostile()));
    let mut files = Vec::new();
    for (name, mut snapshot) in hosts {
        if name == "hostile" {
            // Make a chart for each half of the names, since a box shows at most 12 processes.
            snapshot.processes.retain(|process| !process.kernel_thread);
            for (half, name) in [(0, "first"), (1, "second")] {
                let mut snapshot = snapshot.clone();
                let mut index = 0;
                snapshot.processes.retain(|process| {
                    index += 1;
                    process.pid.as_u32() > 1 && index % 2 == half
                });
                let file = dir.path().join(format!("{name}.mmd"));
                std::fs::write(&file, emit(snapshot, Format::Mermaid, Style::default())).unwrap();
                files.push(file);
            }
        }
        let file = dir.path().join(format!("{name}.mmd"));
        std::fs::write(&file, emit(snapshot, Format::Mermaid, Style::default())).unwrap();
        files.push(file);
    }
    let render = std::env::var("MERMAID_RENDER").expect("tests/mermaid/check sets it");
    let output = Command::new("node").arg(render).args(&files).output().unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let charts: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let charts = charts.as_array().unwrap();
    assert_eq!(charts.len(), files.len(), "every chart is drawn");
    for chart in charts {
        assert_eq!(chart["cut"], serde_json::json!([]), "{}", chart["file"]);
    }
    let lines: Vec<&str> = charts
        .iter()
        .filter(|chart| ["first.mmd", "second.mmd"].contains(&chart["file"].as_str().unwrap()))
        .flat_map(|chart| chart["boxes"][0].as_array().unwrap())
        .map(|line| line.as_str().unwrap())
        .collect();
    for (index, name) in HOSTILE.iter().enumerate() {
        let expected = format!("{} {}", 1204 + 4 * index, shown(name));
        assert!(lines.contains(&&*expected), "{expected} in {lines:?}");
    }
}

#[test]
fn a_mermaid_chart_stays_within_githubs_limits() {
    for (name, snapshot) in hosts::all() {
        let dead = snapshot.namespaces.iter().filter(|it| it.state.name() == "dead").count();
        let chart = emit(snapshot, Format::Mermaid, Style::default());
        keep(name, "mmd", &chart);
        assert!(chart.chars().count() <= 45_000, "{name}");
        assert!(chart.matches(" --> ").count() <= 450, "{name}");
        assert_eq!(chart.matches("DEAD:").count(), dead, "{name}");
        for line in chart.lines().filter(|line| line.contains('[')) {
            assert!(line.matches("<br/>").count() < 12, "{name}: {line}");
        }
    }
}
