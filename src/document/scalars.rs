//! Serde types that check the format of single values, such as inodes and times.

use std::fmt;

use serde::{Deserialize, Serialize};

use super::parse::Cut;

/// Inode of a namespace on nsfs, unique until the kernel reuses it for a later namespace.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "u64")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(rename = "inode"))]
#[cfg_attr(test, schemars(extend("minimum" = 1)))]
pub struct Inode(pub(super) u64);

impl TryFrom<u64> for Inode {
    type Error = InvalidValue<u64>;

    fn try_from(raw: u64) -> Result<Self, Self::Error> {
        if raw == 0 { Err(InvalidValue { value: raw, expected: "inode" }) } else { Ok(Self(raw)) }
    }
}

/// Serializes and deserializes a list of PIDs.
pub mod nspid {
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::model::{Nspid, Pid};

    pub fn serialize<S: Serializer>(nspid: &Nspid, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(nspid)
    }

    pub fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Nspid, D::Error> {
        Ok(Vec::<Pid>::deserialize(deserializer)?.into_iter().collect())
    }
}

/// The error for a value with the wrong format.
pub struct InvalidValue<T> {
    value: T,
    expected: &'static str,
}

impl<T: fmt::Debug> fmt::Display for InvalidValue<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is not a {}", Cut(&format!("{:?}", self.value)), self.expected)
    }
}

/// Implements `TryFrom<String>` for a string type with a checked format.
macro_rules! checked_text {
    ($type:ident, $is_valid:path, $expected:literal) => {
        impl TryFrom<String> for $type {
            type Error = InvalidValue<String>;

            fn try_from(text: String) -> Result<Self, Self::Error> {
                if $is_valid(&text) {
                    Ok(Self(text))
                } else {
                    Err(InvalidValue { value: text, expected: $expected })
                }
            }
        }
    };
}

/// A time in UTC.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[cfg_attr(
    test,
    schemars(extend(
        "format" = "date-time",
        "pattern" =
            r"^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$"
    ))
)]
pub struct Timestamp(pub(super) String);

checked_text!(Timestamp, is_timestamp, "UTC time in RFC 3339 format");

fn is_timestamp(text: &str) -> bool {
    const FORM: &[u8; 19] = b"0000-00-00T00:00:00";
    let Some((time, fraction)) = text.strip_suffix('Z').and_then(|it| it.split_at_checked(19))
    else {
        return false;
    };
    let in_form = |(byte, &form): (u8, &u8)| match form {
        b'0' => byte.is_ascii_digit(),
        _ => byte == form,
    };
    let digits = fraction.strip_prefix('.').map(str::as_bytes);
    time.bytes().zip(FORM).all(in_form)
        && (fraction.is_empty()
            || digits
                .is_some_and(|it| (1..=9).contains(&it.len()) && it.iter().all(u8::is_ascii_digit)))
        && humantime::parse_rfc3339(text).is_ok()
}

/// Random ID that the kernel generates at boot.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[cfg_attr(
    test,
    schemars(extend("pattern" = "^[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}$"))
)]
pub struct BootId(pub(super) String);

checked_text!(BootId, is_boot_id, "lower-case UUID");

fn is_boot_id(text: &str) -> bool {
    let is_hex = |part: &str| part.bytes().all(|it| matches!(it, b'0'..=b'9' | b'a'..=b'f'));
    text.split('-').map(str::len).eq([8, 4, 4, 4, 12]) && text.split('-').all(is_hex)
}

/// Code of a diagnostic.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[cfg_attr(test, schemars(extend("pattern" = "^[a-z][a-z0-9-]*$")))]
pub struct Code(pub(super) String);

checked_text!(Code, is_code, "diagnostic code");

fn is_code(text: &str) -> bool {
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|it| matches!(it, b'a'..=b'z' | b'0'..=b'9' | b'-'))
}

/// Name or number of a system error.
#[derive(Debug, Serialize, Deserialize)]
#[serde(try_from = "String")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[cfg_attr(test, schemars(extend("pattern" = "^(E[A-Z0-9]+|[1-9][0-9]*)$")))]
pub struct Errno(pub(super) String);

checked_text!(Errno, is_errno, "system error name or number");

fn is_errno(text: &str) -> bool {
    match text.strip_prefix('E') {
        Some(name) => {
            !name.is_empty()
                && name.bytes().all(|it| it.is_ascii_uppercase() || it.is_ascii_digit())
        }
        None => {
            text.starts_with(|c: char| matches!(c, '1'..='9'))
                && text.bytes().all(|it| it.is_ascii_digit())
        }
    }
}

/// State letter of a process.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
#[serde(try_from = "char")]
#[cfg_attr(test, derive(schemars::JsonSchema), schemars(inline))]
#[cfg_attr(test, schemars(extend("pattern" = "^[A-Za-z?]$")))]
pub struct StateLetter(pub(super) char);

impl TryFrom<char> for StateLetter {
    type Error = InvalidValue<char>;

    fn try_from(letter: char) -> Result<Self, Self::Error> {
        if letter.is_ascii_alphabetic() || letter == '?' {
            Ok(Self(letter))
        } else {
            Err(InvalidValue { value: letter, expected: "process state letter" })
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn accepts_utc_times_in_rfc_3339_format_only() {
        for yes in [
            "2026-11-23T14:28:00.123456Z",
            "2026-11-23T14:28:00Z",
            "2024-02-29T23:59:59.1Z",
            "1970-01-01T00:00:00.123456789Z",
        ] {
            assert!(is_timestamp(yes), "{yes}");
        }
        for no in [
            "",
            "Z",
            "yesterday",
            "2026-11-23",
            "2026-11-23T14:28:00",
            "2026-11-23 14:28:00Z",
            "2026-11-23T14:28:00ZZ",
            "2026-11-23T14:28:00.Z",
            "2026-11-23T14:28:00.1234567890Z",
            "2026-11-23T14:28:00+00:00",
            "2026-13-23T14:28:00Z",
            "2026-02-29T14:28:00Z",
            "2026-11-23T24:28:00Z",
            "2026-11-23T14:28:0\u{e9}Z",
        ] {
            assert!(!is_timestamp(no), "{no}");
        }
    }

    #[test]
    fn a_system_error_is_a_name_or_a_number() {
        assert!(["EACCES", "E2BIG", "133"].into_iter().all(is_errno));
        assert!(!["", "E", "EAcces", "ACCES", "0", "-1", "1a"].into_iter().any(is_errno));
    }

    #[test]
    fn a_boot_id_is_a_lower_case_uuid() {
        assert!(is_boot_id("7d0f5a5e-4b43-4a0b-9f3c-1c5f4f1d2a3b"));
        for no in
            ["", "7d0f", "7D0F5A5E-4B43-4A0B-9F3C-1C5F4F1D2A3B", "7d0f5a5e4b434a0b9f3c1c5f4f1d2a3b"]
        {
            assert!(!is_boot_id(no), "{no}");
        }
    }
}
