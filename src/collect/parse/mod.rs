//! Bytes of /proc to fields: pure functions that survive anything, and
//! allocate nothing that they do not return. A file for each kernel format.
//!
//! Opening and reading belong to the callers.

mod cmdline;
mod link;
mod mountinfo;
mod number;
mod stat;
mod status;

pub use cmdline::cmdline;
pub use link::{entry, namespace_link};
pub use mountinfo::{
    HidePid, MountedKind, NamespaceMount, hidepid, mount_ids, namespace_mounts, shows_root,
};
pub use stat::{Stat, stat, stat_start_time};
pub use status::{Leaders, Status, ignored_signals, leaders, name, status, status_pid};

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    use crate::model::MAX_LEVEL;

    proptest! {
        #[test]
        fn any_bytes_are_survived(bytes in proptest::collection::vec(any::<u8>(), 0..2048)) {
            let parsed = status(&bytes);
            prop_assert!(parsed.nspid.len() <= MAX_LEVEL + 1);
            prop_assert!(stat(&bytes).is_none_or(|it| it.comm.len() < bytes.len()));
            prop_assert!(cmdline(&bytes).len() <= bytes.len());
            let _ = (hidepid(&bytes, 0, 21), leaders(&bytes));
            prop_assert!(namespace_mounts(&bytes).count() <= bytes.len());
        }
    }
}
