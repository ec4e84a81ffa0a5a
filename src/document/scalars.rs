//! Values that are more than a number or a text on the wire: what they may be
//! is checked where they are read.

use std::fmt;

use serde::ser::Serializer;
use serde::{Deserialize, Serialize};

use crate::model;

#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) struct Id(pub(super) model::NamespaceId);

impl Serialize for Id {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(&self.0.text())
    }
}

impl<'de> Deserialize<'de> for Id {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        text.parse().map(Self).map_err(serde::de::Error::custom)
    }
}

/// A process ID, on the wire a number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "u32", into = "u32")]
pub(super) struct Pid(pub(super) model::Pid);

impl From<Pid> for u32 {
    fn from(pid: Pid) -> Self {
        pid.0.as_u32()
    }
}

impl TryFrom<u32> for Pid {
    type Error = NoPid;

    fn try_from(raw: u32) -> Result<Self, NoPid> {
        model::Pid::new(raw).map(Self).ok_or(NoPid(raw))
    }
}

/// A number that is no PID.
pub(super) struct NoPid(pub(super) u32);

impl fmt::Display for NoPid {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} is no PID", self.0)
    }
}

/// The PIDs of a process in every level, on the wire a list of numbers.
#[derive(Debug)]
pub(super) struct Nspid(pub(super) model::Nspid);

impl Serialize for Nspid {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.0.iter().map(|pid| pid.as_u32()))
    }
}

impl<'de> Deserialize<'de> for Nspid {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let pids = Vec::<Pid>::deserialize(deserializer)?;
        Ok(Self(pids.into_iter().map(|pid| pid.0).collect()))
    }
}
