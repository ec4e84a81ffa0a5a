//! Replaces every dangerous character in a document by a private one, and knows the
//! escape that pidns must show for it.
//!
//! This checks escaping without knowledge of the format: the output for the dangerous
//! document must equal the output for the harmless one after each private character is
//! replaced by the expected escape. A character that is unescaped, lost, or changes the
//! layout makes the two differ.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;
use unicode_general_category::{GeneralCategory, get_general_category};

/// Characters with a meaning in a line of text, including the one that begins an escape.
const BACKSLASH: char = '\\';

/// The first private character; each dangerous character has one.
const PRIVATE: u32 = 0xf_0000;

/// Returns `true` if a terminal may interpret the character, if it is invisible, or if
/// XML parsers reject it.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    // This is called for every character that is written.
    static ANSWERS: LazyLock<Vec<bool>> = LazyLock::new(|| {
        (0..=u32::from(char::MAX)).map(|c| char::from_u32(c).is_some_and(look_up)).collect()
    });
    ANSWERS[c as usize]
}

fn look_up(c: char) -> bool {
    use GeneralCategory::{Control, Format, LineSeparator, ParagraphSeparator};
    let category = get_general_category(c);
    matches!(category, Control | Format | LineSeparator | ParagraphSeparator)
        || matches!(c, '\u{fffe}' | '\u{ffff}')
}

/// Every dangerous character.
static DANGEROUS: LazyLock<Vec<char>> = LazyLock::new(|| {
    let harmful = ('\0'..=char::MAX).filter(|&c| is_harmful(c));
    harmful.chain([BACKSLASH]).collect()
});

/// The private character of each dangerous one.
static PRIVATE_OF: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let private = (PRIVATE..).map_while(char::from_u32);
    DANGEROUS.iter().copied().zip(private).collect()
});

/// The document with private characters in place of dangerous ones, `None` if it already
/// contains private ones.
#[must_use]
pub fn document(document: &Value) -> Option<Value> {
    Some(match document {
        Value::String(text) => text
            .chars()
            .map(|c| dangerous(c).is_none().then(|| *PRIVATE_OF.get(&c).unwrap_or(&c)))
            .collect::<Option<String>>()?
            .into(),
        Value::Array(list) => list.iter().map(self::document).collect::<Option<Vec<_>>>()?.into(),
        Value::Object(fields) => {
            let field =
                |(name, value): (&String, &Value)| Some((name.clone(), self::document(value)?));
            Value::Object(fields.iter().map(field).collect::<Option<_>>()?)
        }
        other => other.clone(),
    })
}

/// Turns the output for the harmless document into the one expected for the dangerous
/// document.
#[must_use]
pub fn expected(harmless: &str) -> String {
    let mut text = String::with_capacity(harmless.len());
    for c in harmless.chars() {
        match dangerous(c) {
            Some(dangerous) => text.push_str(&shown(dangerous)),
            None => text.push(c),
        }
    }
    text
}

/// The dangerous character that a private one represents.
fn dangerous(private: char) -> Option<char> {
    let index = u32::from(private).checked_sub(PRIVATE)?;
    DANGEROUS.get(usize::try_from(index).ok()?).copied()
}

/// The escape that pidns shows for a dangerous character.
fn shown(c: char) -> String {
    match c {
        BACKSLASH => "\\\\".to_owned(),
        '\n' => "\\n".to_owned(),
        '\t' => "\\t".to_owned(),
        '\r' => "\\r".to_owned(),
        '\0'..='\u{ff}' => format!("\\x{:02x}", u32::from(c)),
        c => format!("\\u{{{:x}}}", u32::from(c)),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn every_dangerous_character_has_a_private_one_and_comes_back_escaped() {
        let dangerous: String = DANGEROUS.iter().collect();
        let harmless = document(&json!([{ "<": dangerous }])).unwrap();
        let harmless = harmless[0]["<"].as_str().unwrap();
        assert!(!harmless.chars().any(|c| is_harmful(c) || c == BACKSLASH));
        assert_eq!(harmless.chars().count(), DANGEROUS.len());
        let line = expected(harmless);
        assert!(line.starts_with("\\x00\\x01"), "{line}");
        assert!(line.contains("\\t\\n\\x0b") && line.contains("\\u{202e}"), "{line}");
        assert!(line.ends_with("\\\\"), "{line}");
    }

    #[test]
    fn what_has_private_characters_of_its_own_cannot_be_told_apart() {
        assert_eq!(document(&json!("\u{f0000}")), None);
    }
}
