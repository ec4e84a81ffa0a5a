//! Builds consistent documents from the random bytes of the fuzzer. Every text field gets
//! arbitrary text.

use std::num::NonZeroU32;

use arbitrary::{Result, Unstructured};
use serde_json::{Value, json};

/// Text with a special meaning in HTML, YAML, or on a terminal.
const TOKENS: &[&str] = &[
    "<",
    ">",
    "&",
    "\"",
    "'",
    "</td>",
    "]>;\n",
    "<br/>",
    "&lt;",
    "&#39;",
    "{|}",
    "\\",
    "\\n",
    "\n",
    "\r",
    "\t",
    "\0",
    "\u{1b}[31m",
    "\u{7f}",
    "\u{85}",
    "\u{9b}",
    "\u{a0}",
    "\u{ad}",
    "\u{61c}",
    "\u{200b}",
    "\u{200e}",
    "\u{2028}",
    "\u{2029}",
    "\u{202e}",
    "\u{2066}",
    "\u{feff}",
    "\u{fffd}",
    "\u{ffff}",
    "\u{e0041}",
    "\u{1f600}",
    "e\u{301}",
    " ",
    "  ",
    "- ",
    ": ",
    " #",
    "? ",
    "--- ",
    "...",
    "!x ",
    "&a ",
    "*a",
    "%",
    "|",
    "@",
    "`",
    "~",
    "null",
    "0x1f",
    "1e3",
    "yes",
];

/// A namespace and its position in the tree.
struct Place {
    id: String,
    parent: Option<usize>,
    level: usize,
    /// Number of levels by which this namespace is below the namespace that the procfs shows, or
    /// `None` if it is not a known descendant of that namespace.
    below: Option<usize>,
}

/// Builds a document.
///
/// # Errors
/// Fails if there are too few bytes.
pub fn document(u: &mut Unstructured<'_>) -> Result<Value> {
    let places = places(u)?;
    let selected = several(u, 2, criterion)?;
    let whole = selected.is_empty();
    let procfs = places.iter().find(|place| place.below == Some(0)).map(|place| place.id.as_str());
    // A filtered document may mention the ID of a namespace that it omits.
    let procfs = procfs.or((!whole).then_some("pid:[7]"));
    let processes = processes(u, &places)?;
    let namespaces = namespaces(u, &places, &processes, whole)?;
    let roots: Vec<_> = places.iter().filter(|it| it.parent.is_none()).map(|it| &it.id).collect();
    Ok(json!({
        "schema_version": "1.0",
        "generator": {"name": text(u)?, "version": text(u)?},
        "captured_at": u.choose(&["2026-11-23T14:28:00.123456Z", "1970-01-01T00:00:00Z"])?,
        "host": {
            "hostname": maybe(u, text)?,
            "kernel_release": maybe(u, text)?,
            "boot_id": maybe(u, |_| Ok("7d0f5a5e-4b43-4a0b-9f3c-1c5f4f1d2a3b"))?,
        },
        "procfs": {
            "path": text(u)?,
            "own": u.arbitrary::<bool>()?,
            "namespace": procfs,
        },
        "observer": maybe(u, observer)?,
        "searched": some_of(u, &["processes", "children", "threads", "fds", "mounts"])?,
        "details": some_of(u, &["args", "namespaces", "cgroup"])?,
        "complete": u.arbitrary::<bool>()?,
        "roots": roots,
        "selected": selected,
        "namespaces": namespaces,
        "processes": processes,
        "diagnostics": several(u, 3, diagnostic)?,
    }))
}

/// Builds a tree of namespaces, with parents before their children.
fn places(u: &mut Unstructured<'_>) -> Result<Vec<Place>> {
    let count = u.int_in_range(0..=6)?;
    let procfs = u.int_in_range(0..=count)?;
    let mut places: Vec<Place> = Vec::new();
    for index in 0..count {
        let id = if u.ratio(1, 4)? {
            format!("pid:[?{}]", index + 1)
        } else {
            // The last digit makes the inode unique. An inode has at most 20 digits.
            format!("pid:[{}{}]", u.int_in_range(1..=u64::MAX / 16)?, index)
        };
        let parent = maybe(u, |u| u.int_in_range(0..=index))?.filter(|&parent| parent < index);
        let above = parent.map(|parent| &places[parent]);
        places.push(Place {
            id,
            parent,
            level: above.map_or(0, |above| above.level + 1),
            below: if index == procfs {
                Some(0)
            } else {
                above.and_then(|above| above.below).map(|below| below + 1)
            },
        });
    }
    Ok(places)
}

fn processes(u: &mut Unstructured<'_>, places: &[Place]) -> Result<Vec<Value>> {
    let count = u.int_in_range(0..=10)?;
    let mut comm = text(u)?;
    // Number of levels by which a root with an unknown parent is below the namespace that the
    // procfs shows.
    let above = u.int_in_range(0..=3)?;
    let mut processes = Vec::new();
    for index in 0..count {
        // The low bits make the PID unique.
        let number = pid(u)? / 16 * 16 + index + 1;
        let place = maybe(u, |u| u.choose(places))?;
        let levels = match place {
            Some(place) => place.below.unwrap_or(above + place.level),
            None => u.int_in_range(0..=3)?,
        };
        let mut nspid = vec![number];
        for _ in 0..levels {
            nspid.push(pid(u)?);
        }
        if u.ratio(1, 8)? {
            nspid.clear();
        }
        // Often repeat the name of the previous process, because the output folds processes of the
        // same name into one line.
        if u.arbitrary()? {
            comm = text(u)?;
        }
        processes.push(json!({
            "pid": number,
            "ppid": maybe(u, pid)?,
            "namespace": place.map(|place| &place.id),
            "nspid": nspid,
            "comm": comm,
            "args": maybe(u, |u| several(u, 3, text))?,
            "state": state(u)?,
            "uid": u.arbitrary::<u32>()?,
            "user": maybe(u, text)?,
            "threads": u.arbitrary::<Option<NonZeroU32>>()?,
            "start_time": u.arbitrary::<Option<u64>>()?,
            "kernel_thread": u.ratio(1, 4)?,
            "namespaces": maybe(u, other_namespaces)?,
            "cgroup": maybe(u, text)?,
            "container": maybe(u, container)?,
            "tracer": maybe(u, pid)?,
            "frozen": u.ratio(1, 4)?,
            "evidence": evidence(u)?,
        }));
    }
    Ok(processes)
}

fn namespaces(
    u: &mut Unstructured<'_>,
    places: &[Place],
    processes: &[Value],
    whole: bool,
) -> Result<Vec<Value>> {
    let mut namespaces = Vec::new();
    for (index, place) in places.iter().enumerate() {
        let children = places.iter().filter(|child| child.parent == Some(index));
        let children: Vec<_> = children.map(|child| &child.id).collect();
        let members = processes.iter().filter(|it| it["namespace"] == place.id.as_str());
        let members: Vec<_> = members.map(|member| &member["pid"]).collect();
        let inode = place.id.strip_prefix("pid:[").and_then(|rest| rest.strip_suffix(']'));
        let init = match members.as_slice() {
            // A selection may omit the init. If it does, the init must not be a process of another
            // namespace.
            members if !whole => maybe(u, pid)?.map(Value::from).filter(|init| {
                members.contains(&init) || processes.iter().all(|it| it["pid"] != *init)
            }),
            [] => None,
            members => maybe(u, |u| u.choose(members).map(|&init| init.clone()))?,
        };
        let hidden = if whole { 0 } else { u.int_in_range(0..=3)? };
        namespaces.push(json!({
            "id": place.id,
            "inode": inode.and_then(|digits| digits.parse::<u64>().ok()),
            "device": u.arbitrary::<Option<u64>>()?,
            "ns_id": u.arbitrary::<Option<u64>>()?,
            "level": place.level,
            "parent": place.parent.map(|parent| &places[parent].id),
            "children": children,
            "state": u.choose(&["live", "dead", "nascent", "unknown"])?,
            "init": init,
            "members": members,
            "member_count": members.len() + hidden,
            "owner": maybe(u, owner)?,
            "holders": several(u, 5, holder)?,
            "blocked_by": several(u, 2, blocker)?,
            "container": maybe(u, container)?,
            "evidence": evidence(u)?,
        }));
    }
    Ok(namespaces)
}

fn owner(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(json!({
        "user_namespace": inode(u)?,
        "uid": u.arbitrary::<Option<u32>>()?,
        "user": maybe(u, text)?,
    }))
}

fn holder(u: &mut Unstructured<'_>) -> Result<Value> {
    let mut holder = json!({
        "kind": u.choose(&["fd", "mount", "pid_for_children"])?,
        "pid": null, "tid": null, "comm": null, "fd": null, "path": null, "mount_namespace": null,
    });
    if holder["kind"] == "mount" {
        holder["path"] = text(u)?.into();
        holder["mount_namespace"] = inode(u)?.into();
        return Ok(holder);
    }
    holder["pid"] = pid(u)?.into();
    holder["comm"] = maybe(u, text)?.into();
    if holder["kind"] == "fd" {
        holder["fd"] = u.arbitrary::<u32>()?.into();
    } else {
        holder["tid"] = pid(u)?.into();
    }
    Ok(holder)
}

fn blocker(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(json!({
        "pid": pid(u)?,
        "comm": text(u)?,
        "reason": u.choose(&["zombie", "uninterruptible"])?,
        "reaper": maybe(u, pid)?,
    }))
}

fn other_namespaces(u: &mut Unstructured<'_>) -> Result<Value> {
    let namespaces = several(u, 3, |u| Ok((text(u)?, inode(u)?.into())))?;
    Ok(Value::Object(namespaces.into_iter().collect()))
}

fn inode(u: &mut Unstructured<'_>) -> Result<u64> {
    u.int_in_range(1..=u64::MAX)
}

fn container(u: &mut Unstructured<'_>) -> Result<Value> {
    let id = if u.arbitrary()? { "3f2a1b9c04de3f2a".repeat(4) } else { text(u)? };
    let name = maybe(u, text)?;
    Ok(json!({"runtime": text(u)?, "id": id, "name": name, "pod": maybe(u, pod)?}))
}

fn pod(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(json!({"uid": text(u)?, "name": maybe(u, text)?, "namespace": maybe(u, text)?}))
}

fn criterion(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(json!({"by": text(u)?, "values": several(u, 3, text)?}))
}

fn diagnostic(u: &mut Unstructured<'_>) -> Result<Value> {
    Ok(json!({
        "code": u.choose(&["fds-unreadable", "init-blocked", "of-tomorrow"])?,
        "severity": "warning",
        "message": text(u)?,
        "errno": maybe(u, |u| u.choose(&["EACCES", "E2BIG", "133"]).copied())?,
        "pids": several(u, 3, pid)?,
    }))
}

fn observer(u: &mut Unstructured<'_>) -> Result<Value> {
    let pids = |u: &mut Unstructured<'_>| {
        let mut pids = several(u, 3, pid)?;
        pids.sort_unstable();
        pids.dedup();
        Ok(pids)
    };
    Ok(json!({
        "pid": pid(u)?,
        "start_time": u.arbitrary::<Option<u64>>()?,
        "scan_end": u.arbitrary::<Option<u64>>()?,
        "step": maybe(u, pid)?,
        "companions": pids(u)?,
        "attendants": pids(u)?,
    }))
}

fn evidence(u: &mut Unstructured<'_>) -> Result<&'static str> {
    u.choose(&["kernel", "inferred"]).copied()
}

/// Chooses the letter of a process state, usually a letter that pidns knows.
fn state(u: &mut Unstructured<'_>) -> Result<char> {
    if u.ratio(1, 4)? {
        u.int_in_range(b'A'..=b'Z').map(char::from)
    } else {
        u.choose(&['S', 'R', 'D', 'Z', 'X', 't', '?']).copied()
    }
}

/// Chooses a PID, usually a low one, so that a process is often mentioned more than once.
fn pid(u: &mut Unstructured<'_>) -> Result<u32> {
    let most = if u.ratio(1, 4)? { 0x7fff_0000 } else { 20 };
    u.int_in_range(1..=most)
}

fn text(u: &mut Unstructured<'_>) -> Result<String> {
    let mut text = String::new();
    for _ in 0..u.int_in_range(0..=6)? {
        match u.int_in_range(0..=3)? {
            0 => text.push(u.arbitrary()?),
            1 => text.push_str(u.choose(&["sleep", "a", "7", "-", ".", "/"])?),
            _ => text.push_str(u.choose(TOKENS)?),
        }
    }
    Ok(text)
}

fn maybe<'a, T>(
    u: &mut Unstructured<'a>,
    make: impl FnOnce(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Option<T>> {
    if u.arbitrary()? { make(u).map(Some) } else { Ok(None) }
}

/// Chooses any number of words from a list, each at most once.
fn some_of(u: &mut Unstructured<'_>, words: &[&'static str]) -> Result<Vec<&'static str>> {
    let mut chosen = Vec::new();
    for word in words {
        if u.arbitrary()? {
            chosen.push(*word);
        }
    }
    Ok(chosen)
}

fn several<'a, T>(
    u: &mut Unstructured<'a>,
    most: usize,
    mut make: impl FnMut(&mut Unstructured<'a>) -> Result<T>,
) -> Result<Vec<T>> {
    let count = u.int_in_range(0..=most)?;
    (0..count).map(|_| make(u)).collect()
}
