//! Names of users.

use std::collections::HashMap;

use smol_str::SmolStr;

use crate::model::{Namespace, Process};

/// Looks every user up once.
pub fn name_users(processes: &mut [Process], namespaces: &mut [Namespace]) {
    let mut names: HashMap<u32, Option<SmolStr>> = HashMap::new();
    let mut name = |uid: u32| {
        let look_up = || Some(uzers::get_user_by_uid(uid)?.name().to_string_lossy().into());
        names.entry(uid).or_insert_with(look_up).clone()
    };
    for process in processes {
        process.user = name(process.uid);
    }
    for owner in namespaces.iter_mut().filter_map(|namespace| namespace.owner.as_mut()) {
        owner.user = owner.uid.and_then(&mut name);
    }
}
