//! The DOT that pidns writes, as strictly as it does: one statement a line, and
//! labels of few tags. Text from elsewhere is inside labels alone, where the
//! characters that mean something come as tags of our own or as entities.

use std::collections::HashSet;

use pidns::model::NamespaceId;

/// How much is in a picture, beside the legend.
#[derive(Debug, PartialEq, Eq)]
pub struct Shape {
    /// Nodes of namespaces.
    pub nodes: usize,
    /// Edges between them.
    pub edges: usize,
}

/// Checks a whole picture.
///
/// # Errors
/// What is wrong, and where.
pub fn check(picture: &str) -> Result<Shape, String> {
    let body = picture
        .strip_prefix("digraph pidns {\n")
        .and_then(|rest| rest.strip_suffix("}\n"))
        .ok_or("not one graph")?;
    let mut nodes = HashSet::new();
    let mut edges = HashSet::new();
    let mut others = Vec::new();
    for line in body.split_terminator('\n') {
        match statement(line).ok_or_else(|| format!("no statement: {line}"))? {
            Statement::Defaults(of) => others.push(of),
            Statement::Title(html) => {
                label(html).map_err(|problem| format!("{problem}: {html}"))?;
                others.push("label");
            }
            Statement::Node(name, html) => {
                let heading = label(html).map_err(|problem| format!("{problem}: {html}"))?;
                if name == "legend" {
                    others.push(name);
                    continue;
                }
                if heading != Some(name) {
                    return Err(format!("{name} is headed {heading:?}: {html}"));
                }
                if name == "unknown" {
                    others.push(name);
                } else if !nodes.insert(name) {
                    return Err(format!("{name} comes twice"));
                }
            }
            Statement::Edge(parent, child) => {
                if !nodes.contains(parent) || !nodes.contains(child) {
                    return Err(format!("no such nodes: {line}"));
                }
                if !edges.insert((parent, child)) {
                    return Err(format!("comes twice: {line}"));
                }
            }
        }
    }
    match others.as_slice() {
        ["graph", "node", "edge", "label", "legend"]
        | ["graph", "node", "edge", "label", "unknown", "legend"] => {}
        others => return Err(format!("the statements beside namespaces are {others:?}")),
    }
    Ok(Shape { nodes: nodes.len(), edges: edges.len() })
}

enum Statement<'a> {
    /// Attributes of all graphs, nodes or edges.
    Defaults(&'a str),
    /// The label of the graph.
    Title(&'a str),
    /// A namespace, `unknown` or `legend`, with its label.
    Node(&'a str, &'a str),
    Edge(&'a str, &'a str),
}

fn statement(line: &str) -> Option<Statement<'_>> {
    let line = line.strip_prefix("  ")?.strip_suffix(';')?;
    if let Some(html) = line.strip_prefix("label=<").and_then(|rest| rest.strip_suffix('>')) {
        return Some(Statement::Title(html));
    }
    if let Some((of, attributes)) = line.split_once(" [")
        && ["graph", "node", "edge"].contains(&of)
    {
        let attributes = attributes.strip_suffix(']')?;
        let plain = |c: char| c.is_ascii_alphanumeric() || "=\"#., ".contains(c);
        return attributes.chars().all(plain).then_some(Statement::Defaults(of));
    }
    for name in ["unknown", "legend"] {
        if let Some(rest) = line.strip_prefix(name) {
            let rest = rest.strip_prefix(" [")?;
            let rest = rest.strip_prefix("fontsize=9, ").unwrap_or(rest);
            return Some(Statement::Node(name, attribute(rest)?));
        }
    }
    let (name, rest) = id(line)?;
    if let Some(rest) = rest.strip_prefix(" [") {
        return Some(Statement::Node(name, attribute(rest)?));
    }
    let (child, style) = id(rest.strip_prefix(" -> ")?)?;
    ["", " [style=dashed]"].contains(&style).then_some(Statement::Edge(name, child))
}

/// The label that ends a node.
fn attribute(rest: &str) -> Option<&str> {
    rest.strip_prefix("label=<")?.strip_suffix(">]")
}

/// A namespace's ID in quotes, and what follows.
fn id(text: &str) -> Option<(&str, &str)> {
    let (id, rest) = text.strip_prefix('"')?.split_once('"')?;
    let parsed: NamespaceId = id.parse().ok()?;
    (parsed.to_string() == id).then_some((id, rest))
}

/// Checks a label: balanced tags that pidns uses, with attributes that it uses,
/// where it uses them; in the text no character that means something but in an
/// entity. Returns the heading, which is in bold.
fn label(html: &str) -> Result<Option<&str>, String> {
    let mut open: Vec<&str> = Vec::new();
    let mut heading = None;
    let (mut tables, mut top_text) = (0, false);
    let mut rest = html;
    while let Some(c) = rest.chars().next() {
        let parent = open.last().copied();
        if let Some(tag) = rest.strip_prefix('<') {
            let (tag, after) = tag.split_once('>').ok_or("a tag without end")?;
            rest = after;
            if let Some(name) = tag.strip_prefix('/') {
                if open.pop() != Some(name) {
                    return Err(format!("</{name}> closes {parent:?}"));
                }
                continue;
            }
            let (tag, empty) = tag.strip_suffix('/').map_or((tag, false), |tag| (tag, true));
            let name = element(tag, parent)?;
            if empty != (name == "br") {
                return Err(format!("<{tag}> without end"));
            }
            tables += usize::from(name == "table");
            if name == "b" {
                let bold = rest.split('<').next();
                if std::mem::replace(&mut heading, bold).is_some() {
                    return Err("a second heading".to_owned());
                }
            }
            if !empty {
                open.push(name);
            }
            continue;
        }
        if !matches!(parent, None | Some("td" | "b")) {
            return Err(format!("{c:?} between the tags of {parent:?}"));
        }
        top_text |= parent.is_none();
        let length = match c {
            '&' => ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"]
                .iter()
                .find(|&entity| rest.starts_with(entity))
                .ok_or("no entity")?
                .len(),
            '>' | '"' | '\'' => return Err(format!("a bare {c}")),
            c if c.is_control() => return Err(format!("a bare {c:?}")),
            c => c.len_utf8(),
        };
        rest = &rest[length..];
    }
    if !open.is_empty() {
        return Err(format!("{open:?} left open"));
    }
    // Graphviz takes text or a table.
    if tables + usize::from(top_text) != 1 {
        return Err(format!("{tables} tables, and text beside them: {top_text}"));
    }
    Ok(heading)
}

/// The name of an opening tag.
fn element<'a>(tag: &'a str, parent: Option<&str>) -> Result<&'a str, String> {
    let (name, mut attributes) = match tag.find(' ') {
        Some(end) => tag.split_at(end),
        None => (tag, ""),
    };
    let (expected, known): (_, &[&str]) = match name {
        "table" => {
            (None, &["border", "cellborder", "cellspacing", "cellpadding", "color", "style"])
        }
        "tr" => (Some("table"), &[]),
        "td" => {
            (Some("tr"), &["colspan", "align", "balign", "bgcolor", "border", "color", "style"])
        }
        "b" => (Some("td"), &[]),
        "br" => (Some("td"), &["align"]),
        _ => return Err(format!("<{tag}> is no tag of ours")),
    };
    if parent != expected {
        return Err(format!("<{tag}> in {parent:?}"));
    }
    while !attributes.is_empty() {
        let (attribute, value, after) = (|| {
            let (attribute, rest) = attributes.strip_prefix(' ')?.split_once("=\"")?;
            let (value, after) = rest.split_once('"')?;
            Some((attribute, value, after))
        })()
        .ok_or_else(|| format!("<{tag}> is malformed"))?;
        let plain = |c: char| c == '#' || c.is_ascii_lowercase() || c.is_ascii_digit();
        if !known.contains(&attribute) || value.is_empty() || !value.chars().all(plain) {
            return Err(format!("{attribute}={value:?} in <{name}>"));
        }
        attributes = after;
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const FARM: &str = include_str!("../../snapshots/farm.dot");

    #[test]
    fn the_picture_in_the_readme_is_as_it_must_be() {
        assert_eq!(check(FARM), Ok(Shape { nodes: 3, edges: 2 }));
    }

    #[test]
    fn a_name_that_breaks_out_is_found() {
        for name in [
            "<",
            ">",
            "&",
            "&nbsp;",
            "\"",
            "'",
            "\u{1b}",
            "a\nb",
            "<b>x</b>",
            "<i>x</i>",
            "<br/",
            "</td>",
            "</td></tr>",
            "</td></tr></table>",
            "</td></tr></table><table><tr><td>",
            "</td></tr></table>>];\n  \"pid:[1]\" [label=<<table><tr><td>",
            "<br align=\"right\" onclick=\"\"/>",
            "<br align=\"&quot;\"/>",
            "<!-- -->",
        ] {
            let broken = FARM.replace("systemd", name);
            assert!(check(&broken).is_err(), "{name}");
        }
        let entities = FARM.replace("systemd", "&lt;&gt;&amp;&quot;&#39;{|}\\n]");
        assert!(check(&entities).is_ok());
    }

    #[test]
    fn a_statement_that_is_not_ours_is_found() {
        let legend = "  legend [";
        for statement in [
            "  \"x\" [label=<x>];\n",
            "  \"pid:[01]\" [label=<x>];\n",
            "  \"pid:[4026531836]\" -> \"pid:[7]\";\n",
            "  \"pid:[4026531836]\" -> \"pid:[4026532179]\";\n",
            "  label=<again>;\n",
            "  graph [URL=<x>];\n",
            "  // x\n",
            "\n",
        ] {
            let broken = FARM.replace(legend, &format!("{statement}{legend}"));
            assert_ne!(broken, FARM);
            assert!(check(&broken).is_err(), "{statement}");
        }
    }
}
