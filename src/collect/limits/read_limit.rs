//! Defines a limit that was read from the host, with the processes that count towards it.

use std::rc::Rc;

use crate::collect::parse::LimitMax;
use crate::model::{Limit, Process};

/// A limit that was read from the host, without its largest consumer.
pub struct ReadLimit<'a> {
    pub limit: Limit,
    /// The reason why `full` is unknown, or an empty string if it is known.
    pub unknown_because: String,
    /// The processes whose tasks the limit counts.
    pub tasks: Tasks<'a>,
}

/// The processes whose tasks a limit counts.
pub enum Tasks<'a> {
    /// The limit does not count tasks.
    None,
    /// The processes of a namespace or host, to be grouped by container or user.
    OfHost(Vec<&'a Process>),
    /// The processes of a cgroup, including zombies.
    OfGroup(Vec<&'a Process>),
    /// The processes of the user with this UID, shared by all limits of the user.
    OfUser(u32, Rc<[&'a Process]>),
    /// The processes of a version 1 cgroup, except zombies, which /proc shows in the root cgroup.
    WithoutZombies(Vec<&'a Process>),
}

impl ReadLimit<'_> {
    /// Creates a limit that is reached when `used` is at least `max`.
    pub fn new(limit: Limit, used: Result<u64, String>, max: Result<LimitMax, String>) -> Self {
        let number = max.as_ref().ok().and_then(|max| max.number());
        let mut limit = limit.with_numbers(used.as_ref().ok().copied(), number);
        if max == Ok(LimitMax::Unlimited) {
            limit.full = Some(false);
        }
        let unknown_because = used.err().or(max.err()).unwrap_or_default();
        Self { limit, unknown_because, tasks: Tasks::None }
    }
}
