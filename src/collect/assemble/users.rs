//! Fills in the names of the users that run processes and own namespaces.

use std::collections::HashMap;

use smol_str::SmolStr;

use crate::collect::kernel::user_name::user_name;
use crate::model::{Namespace, Process};

/// Fills in the names of all users.
pub fn name_users(processes: &mut [Process], namespaces: &mut [Namespace]) {
    let mut names: HashMap<u32, Option<SmolStr>> = HashMap::new();
    let mut name = |uid: u32| names.entry(uid).or_insert_with(|| user_name(uid)).clone();
    // The UID and user name of the previous process, which often has the same user.
    let mut previous = (None, None);
    for process in processes {
        if previous.0 != Some(process.uid) {
            previous = (Some(process.uid), name(process.uid));
        }
        process.user.clone_from(&previous.1);
    }
    for owner in namespaces.iter_mut().filter_map(|namespace| namespace.owner.as_mut()) {
        owner.user = owner.uid.and_then(&mut name);
    }
}
