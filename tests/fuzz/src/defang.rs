//! A document with every dangerous character replaced by a private one, and
//! what pidns must show in place of each.
//!
//! This proves escaping without knowing any format: output of the document must
//! be output of the harmless one with the private characters replaced by what
//! is shown. Whatever got through, got lost, broke a line or moved anything
//! else would tell the two apart.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;
use unicode_general_category::{GeneralCategory, get_general_category};

/// Characters that mean something in a line of text: an escape begins with it.
const BACKSLASH: char = '\\';

/// The first private character; there is one for each dangerous one.
const PRIVATE: u32 = 0xf_0000;

/// Whether a terminal might obey it, or nobody would see it, or no XML parser
/// takes it.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    // Asked for every character of all that is written.
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

/// The document with private characters for dangerous ones; `None` where it has
/// private ones of its own.
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

/// Output of a harmless document as that of the dangerous one must be.
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

/// What a private character stands for.
fn dangerous(private: char) -> Option<char> {
    let index = u32::from(private).checked_sub(PRIVATE)?;
    DANGEROUS.get(usize::try_from(index).ok()?).copied()
}

/// What is shown of a dangerous character.
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
