//! Identifies the snapshot that a record belongs to, and compares it with the user's selection.

use crate::document::parse::{Cut, Invalid};
use crate::model;

/// Identifies a snapshot by its host and time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(in crate::document) struct Origin {
    hostname: Option<String>,
    boot_id: Option<String>,
    captured_at: String,
}

impl Origin {
    pub(in crate::document) fn of(snapshot: &model::Snapshot) -> Self {
        Self {
            hostname: snapshot.host.hostname.clone(),
            boot_id: snapshot.host.boot_id.clone(),
            captured_at: snapshot.captured_at.clone(),
        }
    }

    /// Returns the host name or boot ID, truncated for error messages.
    pub fn name(&self) -> String {
        Cut(self.label().name()).to_string()
    }

    pub fn label(&self) -> Label<'_> {
        Label {
            hostname: self.hostname.as_deref(),
            boot_id: self.boot_id.as_deref(),
            captured_at: &self.captured_at,
        }
    }

    /// Returns an error if the user selected a `host`, and this snapshot does not match it.
    pub(in crate::document) fn check(&self, host: Option<&str>) -> Result<(), Invalid> {
        match host {
            Some(host) if !self.label().matches(host) => {
                Err(no_snapshot_of(host, std::slice::from_ref(self), false))
            }
            _ => Ok(()),
        }
    }
}

/// A borrowed [`Origin`], which can be compared without allocating memory.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Label<'a> {
    pub hostname: Option<&'a str>,
    pub boot_id: Option<&'a str>,
    pub captured_at: &'a str,
}

impl<'a> Label<'a> {
    /// Returns the host name, or the boot ID if the name is unknown.
    fn name(self) -> &'a str {
        self.hostname.or(self.boot_id).unwrap_or("an unnamed host")
    }

    /// Returns `true` if `host` (name or boot ID, optional `@TIME`) selects the snapshot.
    pub fn matches(self, host: &str) -> bool {
        let is_name = |name| self.hostname == Some(name) || self.boot_id == Some(name);
        let at = host.rsplit_once('@');
        is_name(host)
            || at.is_some_and(|(name, time)| is_name(name) && self.captured_at.starts_with(time))
    }

    pub fn to_owned(self) -> Origin {
        Origin {
            hostname: self.hostname.map(str::to_owned),
            boot_id: self.boot_id.map(str::to_owned),
            captured_at: self.captured_at.to_owned(),
        }
    }
}

/// Maximum number of snapshots that an error lists.
pub const NAMED: usize = 3;

/// Returns the error for a selection that matches none of the `existing` snapshots.
pub fn no_snapshot_of(host: &str, existing: &[Origin], and_more: bool) -> Invalid {
    let mut names: Vec<String> = Vec::new();
    for origin in existing {
        let name = origin.name();
        if !names.contains(&name) {
            names.push(name);
        }
    }
    let names = names.join(", ");
    // The user may have given the right host name but a wrong time.
    let times = match existing {
        [one] if host.contains('@') => format!(" of {}", Cut(&one.captured_at)),
        _ => String::new(),
    };
    let more = if and_more { " and others" } else { "" };
    Invalid::at("", format!("contains no snapshot of {}, only of {names}{times}{more}", Cut(host)))
}

/// Returns the error if several snapshots match, with advice on how to select one.
pub fn several(chosen: &Origin, rivals: &[Origin]) -> Invalid {
    let all = || std::iter::once(chosen).chain(rivals).map(Origin::label);
    let differ =
        |of: fn(Label) -> &str| rivals.iter().any(|it| of(it.label()) != of(chosen.label()));
    let name = chosen.name();
    let (what, how, of): (_, _, fn(Label) -> &str) = if differ(|it| it.name()) {
        ("snapshots of several hosts, such as ".to_owned(), "NAME".to_owned(), |it| it.name())
    } else if differ(|it| it.captured_at) {
        let what = format!("several snapshots of {name}, such as of ");
        (what, format!("{name}@TIME"), |it| it.captured_at)
    } else {
        let what = format!("snapshots of several boots of {name}, such as ");
        (what, "BOOT_ID".to_owned(), |it| it.boot_id.unwrap_or("one without a boot ID"))
    };
    let shown: Vec<_> = all().map(|it| Cut(of(it)).to_string()).collect();
    let shown = shown.join(", ");
    Invalid::at("", format!("contains {what}{shown}; select one with --host {how}"))
}
