//! Small forests of processes, built literally.

use super::*;
use crate::testing::{namespace, process};

/// The namespaces of nested processes below PID 1, whose children they are:
/// none of the links was read but those given by their inode.
fn place(nested: &[(Process, Option<u64>)], all_seen: bool) -> Vec<Option<String>> {
    let init = process(&[1], Some(1000));
    let nested_ones = nested.iter().map(|(it, inode)| Process {
        ppid: Some(Pid::INIT),
        namespace: inode.map(NamespaceId::Inode),
        ..it.clone()
    });
    let mut processes: Vec<_> = std::iter::once(init).chain(nested_ones).collect();
    let mut namespaces = vec![namespace(1000, None)];
    namespaces.extend(nested.iter().filter_map(|&(_, inode)| Some(namespace(inode?, Some(1000)))));
    let is_ended = |it: &&Process| it.is_zombie() && it.nspid.last() == Some(&Pid::INIT);
    let known = Known {
        mount: Some(NamespaceId::Inode(1000)),
        leaders: &HashMap::new(),
        terminated: &processes.iter().filter(is_ended).map(|it| it.pid).collect(),
        all_seen,
        is_there: &|_| true,
    };
    infer(&mut processes, &mut namespaces, &known, &mut DiagnosticLog::default());
    processes[1..].iter().map(|it| it.namespace.map(|id| id.to_string())).collect()
}

fn zombie(nspid: &[u32], threads: u32) -> Process {
    Process { state: 'Z', threads: NonZeroU32::new(threads), ..process(nspid, None) }
}

#[test]
fn a_zombie_init_with_threads_may_have_company_and_one_without_has_none() {
    let others = [process(&[4, 1], None), zombie(&[5, 2], 1)].map(|it| (it, None));
    let place = |init| place(&[&[(init, None)], &others[..]].concat(), true)[2].clone();
    assert_eq!(place(zombie(&[2, 1], 2)), None);
    assert_eq!(place(zombie(&[2, 1], 1)).as_deref(), Some("pid:[?4]"));
}

#[test]
fn an_init_that_was_not_read_may_be_that_of_a_namespace_whose_members_were() {
    let (one, other) = ((process(&[2, 1], None), None), (process(&[3, 1], None), None));
    let member = (process(&[4, 2], None), Some(1001));
    let read = || Some("pid:[1001]".to_owned());
    // One namespace of two is 1001, and nothing tells which.
    let placed = place(&[one.clone(), other.clone(), member.clone()], true);
    assert_eq!(placed, [None, None, read()]);
    // An init that is not seen might be its own.
    assert_eq!(place(&[one.clone(), member.clone()], false), [None, read()]);
    assert_eq!(place(&[one.clone(), member], true), [read(), read()]);
    let elsewhere = (process(&[4, 1], None), Some(1001));
    assert_eq!(place(&[one, elsewhere], true), [Some("pid:[?2]".to_owned()), read()]);
}
