//! Converts times to the time zone of the host.

use chrono::{DateTime, Local};

/// A time in the time zone of the host, as shown in text output.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LocalTime {
    /// The date, with the offset from UTC.
    pub day: String,
    /// Hours, minutes and seconds.
    pub clock: String,
}

impl LocalTime {
    /// Converts a time in RFC 3339 format to the time zone of `TZ` or `/etc/localtime`.
    #[must_use]
    pub fn of(timestamp: &str) -> Self {
        match DateTime::parse_from_rfc3339(timestamp) {
            Ok(time) => {
                let time = time.with_timezone(&Local);
                let day = time.format("%Y-%m-%d, UTC%:z").to_string();
                Self { day, clock: time.format("%H:%M:%S").to_string() }
            }
            Err(_) => Self { day: String::new(), clock: timestamp.to_owned() },
        }
    }
}
