//! Names of users, from the system's name service: the one thing here that
//! the kernel does not tell.

use std::collections::HashMap;

use nix::unistd::{Uid, User};
use smol_str::SmolStr;

use crate::model::{Namespace, Process};

/// Fills in the names of all users, looking each up once.
pub fn name_users(processes: &mut [Process], namespaces: &mut [Namespace]) {
    let mut names: HashMap<u32, Option<SmolStr>> = HashMap::new();
    let mut name = |uid: u32| {
        let look_up = || Some(User::from_uid(Uid::from_raw(uid)).ok()??.name.into());
        names.entry(uid).or_insert_with(look_up).clone()
    };
    for process in processes {
        process.user = name(process.uid);
    }
    for owner in namespaces.iter_mut().filter_map(|namespace| namespace.owner.as_mut()) {
        owner.user = owner.uid.and_then(&mut name);
    }
}
