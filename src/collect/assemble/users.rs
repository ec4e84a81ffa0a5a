//! The names of all users in a snapshot.

use std::collections::HashMap;

use smol_str::SmolStr;

use crate::collect::kernel::user_name::user_name;
use crate::model::{Namespace, Process};

/// Fills in the names of all users, looking each up once.
pub fn name_users(processes: &mut [Process], namespaces: &mut [Namespace]) {
    let mut names: HashMap<u32, Option<SmolStr>> = HashMap::new();
    let mut name = |uid: u32| names.entry(uid).or_insert_with(|| user_name(uid)).clone();
    // Processes of one user often come one after the other.
    let mut last = (None, None);
    for process in processes {
        if last.0 != Some(process.uid) {
            last = (Some(process.uid), name(process.uid));
        }
        process.user.clone_from(&last.1);
    }
    for owner in namespaces.iter_mut().filter_map(|namespace| namespace.owner.as_mut()) {
        owner.user = owner.uid.and_then(&mut name);
    }
}
