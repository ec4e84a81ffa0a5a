//! Parses the subset of the DOT language that pidns writes, and fails on anything else. Names from
//! the host may occur only in labels and tooltips, with special characters escaped.

use std::collections::HashSet;

/// Checks a DOT document, and returns the ports of all boxes that show namespaces.
///
/// # Errors
/// Returns a message that quotes the unexpected text.
pub fn check(picture: &str) -> Result<HashSet<&str>, String> {
    let body = picture
        .strip_prefix("digraph pidns {\n")
        .and_then(|rest| rest.strip_suffix("}\n"))
        .ok_or("not one graph")?;
    let mut nodes = HashSet::new();
    let mut ports = HashSet::new();
    let mut edges = Vec::new();
    let mut titles = 0;
    for statement in statements(body)? {
        match statement.as_slice() {
            [Token::Word("label"), Token::Sign("="), Token::Html(html)] => {
                label(html, &mut HashSet::new()).map_err(|problem| format!("{problem}: {html}"))?;
                titles += 1;
            }
            [
                Token::Word("graph" | "node" | "edge"),
                Token::Sign("["),
                list @ ..,
                Token::Sign("]"),
            ] => {
                attributes(list, &mut ports)?;
            }
            [
                Token::Quoted(from),
                Token::Sign("->"),
                Token::Quoted(to),
                Token::Sign("["),
                list @ ..,
                Token::Sign("]"),
            ] => {
                attributes(list, &mut ports)?;
                edges.extend([*from, *to]);
            }
            [
                Token::Quoted(name) | Token::Word(name @ "unknown"),
                Token::Sign("["),
                list @ ..,
                Token::Sign("]"),
            ] => {
                let plain = |c: char| c.is_ascii_alphanumeric() || " :[]?".contains(c);
                if !name.chars().all(plain) || !nodes.insert(*name) {
                    return Err(format!("a node {name}, or again"));
                }
                attributes(list, &mut ports)?;
            }
            other => return Err(format!("no statement: {other:?}")),
        }
    }
    if titles != 1 {
        return Err(format!("{titles} titles"));
    }
    match edges.iter().find(|name| !nodes.contains(**name)) {
        Some(name) => Err(format!("an edge of {name}, which is no node")),
        None => Ok(ports.into_iter().filter(|port| port.starts_with(['n', 'u'])).collect()),
    }
}

#[derive(Debug, PartialEq)]
enum Token<'a> {
    Word(&'a str),
    Quoted(&'a str),
    Html(&'a str),
    Sign(&'a str),
}

/// Splits the body of a graph into statements, and each statement into tokens.
fn statements(mut rest: &str) -> Result<Vec<Vec<Token<'_>>>, String> {
    let (mut all, mut statement) = (Vec::new(), Vec::new());
    while let Some(c) = rest.chars().next() {
        let length = match c {
            ' ' | '\n' => 1,
            ';' => {
                all.push(std::mem::take(&mut statement));
                1
            }
            '"' => {
                let length = quoted(&rest[1..]).ok_or("a quote without end")?;
                statement.push(Token::Quoted(&rest[1..=length]));
                length + 2
            }
            '<' => {
                let length = nested(rest).ok_or("a label without end")?;
                statement.push(Token::Html(&rest[1..length - 1]));
                length
            }
            '[' | ']' | '=' | ',' => {
                statement.push(Token::Sign(&rest[..1]));
                1
            }
            '-' if rest.starts_with("->") => {
                statement.push(Token::Sign(&rest[..2]));
                2
            }
            c if c.is_ascii_alphanumeric() => {
                let plain = |c: char| c.is_ascii_alphanumeric() || c == '.';
                let length = rest.find(|c| !plain(c)).unwrap_or(rest.len());
                statement.push(Token::Word(&rest[..length]));
                length
            }
            c => return Err(format!("{c:?} outside of labels")),
        };
        rest = &rest[length..];
    }
    if statement.is_empty() { Ok(all) } else { Err(format!("left over: {statement:?}")) }
}

/// Returns the length of a quoted string up to its closing quote, or `None` if the string
/// contains an escape that pidns never writes.
fn quoted(text: &str) -> Option<usize> {
    let mut characters = text.char_indices();
    while let Some((at, c)) = characters.next() {
        match c {
            '"' => return Some(at),
            '\\' => match characters.next()?.1 {
                '\\' | '"' | 'n' => {}
                _ => return None,
            },
            '&' if entity(&text[at..]).is_none() => return None,
            c if c.is_control() => return None,
            _ => {}
        }
    }
    None
}

/// Returns the length of an HTML-like label, including the angle brackets around the label.
fn nested(text: &str) -> Option<usize> {
    let mut depth = 0_usize;
    for (at, c) in text.char_indices() {
        match c {
            '<' => depth += 1,
            '>' => depth = depth.checked_sub(1)?,
            _ => {}
        }
        if depth == 0 {
            return Some(at + 1);
        }
    }
    None
}

fn entity(text: &str) -> Option<usize> {
    let entities = ["&amp;", "&lt;", "&gt;", "&quot;", "&#39;"];
    entities.iter().find(|&entity| text.starts_with(entity)).map(|entity| entity.len())
}

fn attributes<'a>(list: &[Token<'a>], ports: &mut HashSet<&'a str>) -> Result<(), String> {
    for attribute in list.split(|token| *token == Token::Sign(",")) {
        match attribute {
            [Token::Word("label"), Token::Sign("="), Token::Html(html)] => {
                label(html, ports).map_err(|problem| format!("{problem}: {html}"))?;
            }
            [Token::Word("tooltip"), Token::Sign("="), Token::Quoted(_)]
            | [Token::Word(_), Token::Sign("="), Token::Word(_)] => {}
            [Token::Word(_), Token::Sign("="), Token::Quoted(value)] => {
                let plain = |c: char| c.is_ascii_alphanumeric() || " :[]?#-".contains(c);
                if !value.chars().all(plain) {
                    return Err(format!("no attribute: {attribute:?}"));
                }
            }
            other => return Err(format!("no attribute: {other:?}")),
        }
    }
    Ok(())
}

/// Checks an HTML-like label. Tags must be balanced, and only tags that pidns writes are allowed.
/// Special characters in the text must be entities or escapes.
fn label<'a>(html: &'a str, ports: &mut HashSet<&'a str>) -> Result<(), String> {
    let mut open: Vec<&str> = Vec::new();
    let mut tables = 0;
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
            let name = element(tag, parent, ports)?;
            if empty != (name == "br") {
                return Err(format!("<{tag}> without end"));
            }
            tables += usize::from(parent.is_none());
            // Graphviz rejects an empty `<b></b>`.
            if name == "b" && rest.starts_with("</b>") {
                return Err("nothing in bold".to_owned());
            }
            if !empty {
                open.push(name);
            }
            continue;
        }
        if !matches!(parent, Some("td" | "b" | "font")) {
            return Err(format!("{c:?} between the tags of {parent:?}"));
        }
        rest = &rest[character(rest)?..];
    }
    match (open.as_slice(), tables) {
        ([], 1) => Ok(()),
        (open, _) => Err(format!("{tables} tables, {open:?} left open")),
    }
}

/// Returns the length of the character at the start of `text`, including its escape.
fn character(text: &str) -> Result<usize, String> {
    match text.chars().next() {
        Some('&') => entity(text).ok_or_else(|| "no entity".to_owned()),
        Some('\\') if text.starts_with("\\\\") => Ok(2),
        Some(c @ ('>' | '<' | '"' | '\'' | '\\')) => Err(format!("a bare {c}")),
        Some(c) if c.is_control() => Err(format!("a bare {c:?}")),
        c => Ok(c.map_or(0, char::len_utf8)),
    }
}

/// Checks an opening tag and its attributes, and returns its name.
fn element<'a>(
    tag: &'a str,
    parent: Option<&str>,
    ports: &mut HashSet<&'a str>,
) -> Result<&'a str, String> {
    let (name, mut attributes) = match tag.find(' ') {
        Some(end) => tag.split_at(end),
        None => (tag, ""),
    };
    let is_here = match name {
        "table" => matches!(parent, None | Some("td")),
        "tr" => parent == Some("table"),
        "td" => parent == Some("tr"),
        "b" => matches!(parent, Some("td" | "font")),
        "br" | "font" => parent == Some("td"),
        _ => false,
    };
    if !is_here {
        return Err(format!("<{tag}> in {parent:?}"));
    }
    while !attributes.is_empty() {
        let (attribute, value, after) = (|| {
            let (attribute, rest) = attributes.strip_prefix(' ')?.split_once("=\"")?;
            let (value, after) = rest.split_once('"')?;
            Some((attribute, value, after))
        })()
        .ok_or_else(|| format!("<{tag}> is malformed"))?;
        match attribute {
            "tooltip" => {
                let mut rest = value;
                while !rest.is_empty() {
                    rest = &rest[if rest.starts_with('\n') { 1 } else { character(rest)? }..];
                }
            }
            "id" => {}
            "port" => {
                if !ports.insert(value) {
                    return Err(format!("the port {value} comes twice"));
                }
            }
            _ => {
                let plain = |c: char| "#-".contains(c) || c.is_ascii_alphanumeric();
                if value.is_empty() || !value.chars().all(plain) {
                    return Err(format!("{attribute}={value:?} in <{name}>"));
                }
            }
        }
        attributes = after;
    }
    Ok(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: &str = include_str!("../../snapshots/host.dot");

    #[test]
    fn accepts_the_picture_in_the_readme() {
        assert_eq!(check(HOST).map(|ports| ports.len()), Ok(6));
    }

    #[test]
    fn rejects_unescaped_names() {
        for name in [
            "<",
            ">",
            "&",
            "&nbsp;",
            "\"",
            "'",
            "\\N",
            "\u{1b}",
            "a\nb",
            "<i>x</i>",
            "<b></b>",
            "<br/",
            "</td>",
            "</td></tr>",
            "</td></tr></table>",
            "</td></tr></table><table><tr><td>",
            "</td></tr></table>>];\n  \"pid:[1]\" [label=<<table><tr><td>",
            "<br align=\"&quot;\"/>",
            "<!-- -->",
        ] {
            let broken = HOST.replace("systemd", name);
            assert!(check(&broken).is_err(), "{name}");
        }
        let entities = HOST.replace("systemd", "&lt;&gt;&amp;&quot;&#39;{|}\\\\n]");
        assert!(check(&entities).is_ok());
    }

    #[test]
    fn rejects_statements_that_pidns_never_writes() {
        let label = "  label=<";
        for statement in [
            "  \"<x>\" [label=<x>];\n",
            "  \"pid:[4026531836]\" -> \"pid:[7]\" [style=dotted];\n",
            "  \"pid:[4026531836]\" [label=<<b>x</b>>];\n",
            "  label=<again>;\n",
            "  graph [URL=<x>];\n",
            "  // x\n",
        ] {
            let broken = HOST.replace(label, &format!("{statement}{label}"));
            assert_ne!(broken, HOST);
            assert!(check(&broken).is_err(), "{statement}");
        }
    }
}
