//! Checks that pidns escapes dangerous characters, such as control characters.
//!
//! In a copy of the document, each dangerous character is replaced by a character for private
//! use, which pidns writes unchanged. The output for this harmless copy, with each private
//! character replaced by the expected escape, must equal the output for the original document.
//! The outputs differ if pidns omits an escape, loses a character, or changes the layout.

use std::collections::HashMap;
use std::sync::LazyLock;

use serde_json::Value;
use unicode_general_category::{GeneralCategory, get_general_category};

/// The character that begins an escape, and therefore needs an escape itself.
const BACKSLASH: char = '\\';

/// The private character that replaces the first dangerous character.
const PRIVATE: u32 = 0xf_0000;

/// Returns `true` if a terminal may interpret the character, if it is invisible, or if
/// XML parsers reject it.
#[must_use]
pub fn is_harmful(c: char) -> bool {
    // A precomputed table, because this function is called for each character of the output.
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

/// All harmful characters, and the backslash.
static DANGEROUS: LazyLock<Vec<char>> = LazyLock::new(|| {
    let harmful = ('\0'..=char::MAX).filter(|&c| is_harmful(c));
    harmful.chain([BACKSLASH]).collect()
});

/// Maps each dangerous character to the private character that replaces it.
static PRIVATE_OF: LazyLock<HashMap<char, char>> = LazyLock::new(|| {
    let private = (PRIVATE..).map_while(char::from_u32);
    DANGEROUS.iter().copied().zip(private).collect()
});

/// Replaces each dangerous character in a document with a private character. Returns `None` if the
/// document already contains a private character.
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

/// Replaces each private character in the output for a harmless document with the escape that pidns
/// must write for the dangerous character.
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

/// Returns the dangerous character that this private character replaces.
fn dangerous(private: char) -> Option<char> {
    let index = u32::from(private).checked_sub(PRIVATE)?;
    DANGEROUS.get(usize::try_from(index).ok()?).copied()
}

/// Returns the escape that pidns must write for a dangerous character.
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
    fn replaces_and_escapes_every_dangerous_character() {
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
    fn refuses_a_document_with_private_characters() {
        assert_eq!(document(&json!("\u{f0000}")), None);
    }
}
