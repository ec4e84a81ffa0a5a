//! Reads documents and converts them to the model.

mod consistency;
mod into_model;
mod records;

use std::io::{self, BufRead, Read as _};

use serde::Deserialize;

use super::open_list::UnknownWords;
use super::parse::{Invalid, parse};
use super::snapshot::Document;
use super::version::{MAX_SIZE, check_version, too_large, with_version};
use crate::model;
use records::{Origin, is_record, read_records};

pub(super) use records::RecordLine;

/// Reads an untrusted document (JSON or YAML), or the NDJSON records of one snapshot.
///
/// The returned snapshot satisfies the same invariants as a snapshot from a live scan. Unknown
/// fields are ignored. Unknown values of extensible enumerations are returned as [`UnknownWords`].
///
/// # Errors
/// Fails if the text is larger than [`MAX_SIZE`] or has an unsupported major version. Fails if the
/// text violates the schema, contradicts itself, or contains several snapshots.
pub fn read(text: &[u8]) -> Result<(model::Snapshot, UnknownWords), Invalid> {
    read_from(text, None).unwrap_or_else(|error| Err(Invalid::at("", error.to_string())))
}

/// Reads a document from a stream, like [`read()`].
///
/// The stream may contain NDJSON records of several snapshots. `host` selects one snapshot by host
/// name or boot ID. The suffix `@TIME` selects one of several snapshots of a host. TIME may be a
/// prefix (`web-1@2026-11-23`). Records of other snapshots take no memory, and do not count towards
/// the size limit.
///
/// # Errors
/// The outer error reports a failed read. The inner error reports invalid content.
pub fn read_from(
    mut input: impl BufRead,
    host: Option<&str>,
) -> io::Result<Result<(model::Snapshot, UnknownWords), Invalid>> {
    let mut text = Vec::new();
    let mut lines = 0;
    // Read one byte more than allowed, to detect that the stream is too large.
    let left = |text: &Vec<u8>| MAX_SIZE + 1 - text.len() as u64;
    let begin = loop {
        let begin = text.len();
        lines += 1;
        let read = input.by_ref().take(left(&text)).read_until(b'\n', &mut text)?;
        if read == 0 || !text[begin..].trim_ascii().is_empty() {
            break begin;
        }
    };
    if is_record(&text[begin..]) {
        return read_records(text.split_off(begin), lines, input, host);
    }
    input.take(left(&text)).read_to_end(&mut text)?;
    let read = read_document(&text);
    Ok(read.and_then(|read| Origin::of(&read.0).check(host).map(|()| read)))
}

/// Reads a JSON or YAML document.
fn read_document(text: &[u8]) -> Result<(model::Snapshot, UnknownWords), Invalid> {
    #[derive(Deserialize)]
    #[serde(expecting = "a pidns document")]
    struct Version {
        schema_version: String,
    }
    if text.len() as u64 > MAX_SIZE {
        return Err(too_large());
    }
    if text.trim_ascii().is_empty() {
        let problem = "is empty: pidns saves nothing if a filter matches nothing, so save it \
             without a filter";
        return Err(Invalid::at("", problem));
    }
    let read = parse::<Document>(text).and_then(|document| {
        check_version(&document.schema_version)?;
        into_model::snapshot(document, UnknownWords::default())
    });
    read.map_err(|error| {
        // Report an unsupported version instead of the error that the version may have caused.
        match parse::<Version>(text) {
            Err(error) => error,
            Ok(Version { schema_version: version }) => match check_version(&version) {
                Err(error) => error,
                Ok(()) => with_version(error, &version),
            },
        }
    })
}

#[cfg(test)]
mod tests {
    use serde_json::Value;

    use super::super::document;
    use super::*;
    use crate::graph::PidGraph;
    use crate::testing::{detached_farm, everything, farm};

    /// Reads a document, and asserts that it contains no unknown enumeration values.
    fn snapshot_of(text: &[u8]) -> model::Snapshot {
        let (snapshot, unknown) = read(text).unwrap();
        assert_eq!(unknown, UnknownWords::default());
        snapshot
    }

    fn yaml(graph: &PidGraph) -> Vec<u8> {
        let mut yaml = Vec::new();
        crate::emit::Format::Yaml.emit(graph, crate::emit::Style::default(), &mut yaml).unwrap();
        yaml
    }

    fn written(snapshot: model::Snapshot) -> Value {
        serde_json::to_value(document(&PidGraph::new(snapshot))).unwrap()
    }

    #[test]
    fn reads_what_it_writes() {
        for snapshot in [farm(), detached_farm(), everything()] {
            let graph = PidGraph::new(snapshot);
            let json = serde_json::to_string(&document(&graph)).unwrap();
            assert_eq!(snapshot_of(json.as_bytes()), *graph.snapshot());
            let yaml = yaml(&graph);
            assert_eq!(snapshot_of(&yaml), *graph.snapshot());
        }
    }

    #[test]
    fn the_level_below_an_unknown_parent_is_null() {
        let written = written(detached_farm());
        let namespaces = written["namespaces"].as_array().unwrap();
        let levels: Vec<_> = namespaces.iter().map(|it| it["level"].as_u64()).collect();
        assert_eq!(levels, [Some(0), None, None]);
        assert_eq!(written["roots"], serde_json::json!(["pid:[4026531836]"]));
        for (pointer, value, expected) in [
            (
                "/namespaces/2/level",
                2.into(),
                "namespaces[2].level: 2, but null is expected (at most 32)",
            ),
            (
                "/namespaces/1/level",
                0.into(),
                "namespaces[2].level: null, but 1 is expected (at most 32)",
            ),
            (
                "/roots/0",
                "pid:[4026532179]".into(),
                "roots: does not list the namespaces of level 0",
            ),
        ] {
            assert_eq!(spoiled(&detached_farm(), pointer, value), expected);
        }
    }

    #[test]
    fn accepts_later_minor_versions_and_rejects_other_major_ones() {
        let mut later = written(everything());
        later["schema_version"] = "1.7".into();
        later["colour"] = "green".into();
        later["namespaces"][0]["colour"] = serde_json::json!({"deep": [1, 2]});
        assert!(read(later.to_string().as_bytes()).is_ok());
        for version in ["2.0", "0.9", "1", "one", ""] {
            later["schema_version"] = version.into();
            let error = read(later.to_string().as_bytes()).unwrap_err();
            let expected = format!("schema_version: {version} is not supported (only 1.x is)");
            assert_eq!(error.to_string(), expected);
        }
    }

    /// Changes one value in `whole`, and returns the resulting error message without its line
    /// number.
    fn spoiled(whole: &model::Snapshot, pointer: &str, value: Value) -> String {
        let mut bad = written(whole.clone());
        *bad.pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        let error = read(bad.to_string().as_bytes()).unwrap_err().to_string();
        error.split(" at line ").next().unwrap_or_default().to_owned()
    }

    #[test]
    fn errors_name_the_place_of_a_contradiction() {
        let mut whole = everything();
        whole.selected.clear();
        whole.namespaces[0].member_count = None;
        let dead = "pid:[4026532180]";
        for (pointer, value, expected) in [
            ("/roots", serde_json::json!([]), "roots: does not list the namespaces of level 0"),
            ("/procfs/namespace", "pid:[5]".into(), "procfs.namespace: no namespace pid:[5]"),
            (
                "/namespaces/1/parent",
                dead.into(),
                "namespaces[1].parent: pid:[4026532180] is not an earlier namespace",
            ),
            (
                "/namespaces/1/parent",
                "pid:[4026532179]".into(),
                "namespaces[1].parent: pid:[4026532179] is not an earlier namespace",
            ),
            (
                "/namespaces/2/level",
                7.into(),
                "namespaces[2].level: 7, but 2 is expected (at most 32)",
            ),
            ("/namespaces/2/inode", 7.into(), "namespaces[2].inode: does not match the id"),
            (
                "/namespaces/1/children",
                serde_json::json!([]),
                "namespaces[1].children: does not list the namespaces that have it as parent",
            ),
            (
                "/namespaces/0/members/0",
                9.into(),
                "namespaces[0].members: does not list the processes that have it as namespace",
            ),
            ("/namespaces/0/init", 6.into(), "namespaces[0].init: is not a member"),
            (
                "/namespaces/0/member_count",
                4.into(),
                "namespaces[0].member_count: 4, but 3 are listed",
            ),
            (
                "/processes/3/namespace",
                "pid:[5]".into(),
                "processes[3].namespace: no namespace pid:[5]",
            ),
            ("/processes/3/pid", 7.into(), "processes[3].nspid: does not begin with 7"),
            (
                "/processes/3/nspid",
                serde_json::json!([6]),
                "processes[3].nspid: has 1 PIDs, but 2 are expected",
            ),
            ("/processes/3/pid", 0.into(), "processes[3].pid: 0 is not a PID"),
            (
                "/processes/3/uid",
                (-1).into(),
                "processes[3].uid: invalid value: integer `-1`, expected u32",
            ),
            (
                "/processes/3/state",
                "SS".into(),
                "processes[3].state: invalid value: string \"SS\", expected a character",
            ),
            (
                "/processes/3/namespace",
                "x".into(),
                "processes[3].namespace: not a namespace ID (pid:[INODE] or pid:[?PID])",
            ),
            (
                "/namespaces/2/state",
                "Un dead".into(),
                "namespaces[2].state: \"Un dead\" is not a valid word",
            ),
        ] {
            assert_eq!(spoiled(&whole, pointer, value), expected, "{pointer}");
        }
        let mut twice = written(everything());
        let process = twice["processes"][0].clone();
        twice["processes"].as_array_mut().unwrap().insert(1, process);
        assert_eq!(
            read(twice.to_string().as_bytes()).unwrap_err().to_string(),
            "processes[1].pid: 1 is a duplicate"
        );
    }

    #[test]
    fn errors_name_the_place_of_a_schema_violation() {
        for (pointer, value, expected) in [
            (
                "/captured_at",
                "yesterday".into(),
                "captured_at: \"yesterday\" is not a UTC time in RFC 3339 format",
            ),
            (
                "/diagnostics/0/code",
                "Not A Code".into(),
                "diagnostics[0].code: \"Not A Code\" is not a diagnostic code",
            ),
            (
                "/namespaces/2/holders/0/fd",
                Value::Null,
                "namespaces[2].holders[0].fd: is null, but a holder of kind fd requires it",
            ),
            ("/searched/1", "processes".into(), "searched[1]: is a duplicate"),
            (
                "/processes/3/threads",
                0.into(),
                "processes[3].threads: invalid value: integer `0`, expected a nonzero u32",
            ),
        ] {
            assert_eq!(spoiled(&everything(), pointer, value), expected, "{pointer}");
        }
    }

    #[test]
    fn fields_added_after_1_0_may_be_absent() {
        let mut farm = written(crate::testing::farm());
        let fields = [
            ("", "selected"),
            ("", "details"),
            ("/procfs", "namespace"),
            ("/namespaces/0", "member_count"),
            ("/namespaces/0", "blocked_by"),
            ("/namespaces/2/holders/0", "comm"),
            ("/namespaces/2/holders/0", "path"),
            ("/processes/0", "args"),
            ("/processes/0", "threads"),
            ("/processes/0", "namespaces"),
        ];
        for (object, field) in fields {
            farm.pointer_mut(object).unwrap().as_object_mut().unwrap().remove(field).unwrap();
        }
        let mut expected = crate::testing::farm();
        expected.procfs.namespace = None;
        assert_eq!(
            PidGraph::new(snapshot_of(farm.to_string().as_bytes())).snapshot(),
            PidGraph::new(expected).snapshot()
        );
    }

    #[test]
    fn reports_unknown_words() {
        let mut later = written(everything());
        let fd = later["namespaces"][2]["holders"][0].clone();
        let socket = |it: &mut Value| {
            it["kind"] = "io_uring".into();
            it["fd"] = Value::Null;
            it["cookie"] = 5.into();
        };
        later["namespaces"][2]["holders"] = serde_json::json!([fd, fd, fd]);
        socket(&mut later["namespaces"][2]["holders"][0]);
        socket(&mut later["namespaces"][2]["holders"][2]);
        later["namespaces"][2]["state"] = "frozen".into();
        later["namespaces"][2]["blocked_by"][0]["reason"] = "stopped".into();
        later["namespaces"][1]["evidence"] = "rumour".into();
        later["processes"][1]["evidence"] = "rumour".into();
        later["searched"] = serde_json::json!(["processes", "sockets"]);
        later["details"] = serde_json::json!(["environ"]);
        later["diagnostics"][0]["severity"] = "fatal".into();
        later["diagnostics"][0]["code"] = "of-tomorrow".into();
        let (snapshot, unknown) = read(later.to_string().as_bytes()).unwrap();
        let dead = &snapshot.namespaces[2];
        assert_eq!(dead.state, model::NamespaceState::Unknown);
        assert_eq!((dead.holders.len(), dead.blocked_by.len()), (1, 1));
        assert_eq!(snapshot.namespaces[1].evidence, model::Evidence::Inferred);
        assert_eq!(snapshot.processes[1].evidence, model::Evidence::Inferred);
        assert_eq!(snapshot.searched, [model::SearchScope::Processes].into());
        assert!(snapshot.details.is_empty());
        assert_eq!(snapshot.diagnostics[0].severity, model::Severity::Warning);
        assert_eq!(
            unknown.to_string(),
            "1 blocker with reason \"stopped\", 1 detail \"environ\", \
             2 holders of kind \"io_uring\", 2 kinds of evidence \"rumour\", \
             1 namespace state \"frozen\" and 2 more"
        );
    }

    #[test]
    fn a_filtered_document_may_be_partial_but_not_contradictory() {
        let mut part = written(everything());
        part["namespaces"][0]["member_count"] = 1.into();
        assert_eq!(
            read(part.to_string().as_bytes()).unwrap_err().to_string(),
            "namespaces[0].member_count: 1, but 3 are listed"
        );
        part["namespaces"][0]["member_count"] = 3.into();
        part["namespaces"][0]["init"] = 6.into();
        assert_eq!(
            read(part.to_string().as_bytes()).unwrap_err().to_string(),
            "namespaces[0].init: is not a member"
        );
        part["namespaces"][0]["init"] = 99.into();
        assert!(read(part.to_string().as_bytes()).is_ok(), "not selected");
    }

    #[test]
    fn the_number_of_pids_is_checked_without_a_procfs_namespace_too() {
        let mut apart = everything();
        apart.procfs.namespace = None;
        let mut bad = written(apart);
        assert!(read(bad.to_string().as_bytes()).is_ok());
        for (nspid, expected) in [
            (serde_json::json!([7]), "processes[4].nspid: has 1 PIDs, but 2 are expected"),
            (serde_json::json!([7, 5, 2]), "processes[4].nspid: has 3 PIDs, but 2 are expected"),
        ] {
            bad["processes"][4]["nspid"] = nspid;
            assert_eq!(read(bad.to_string().as_bytes()).unwrap_err().to_string(), expected);
        }
    }

    #[test]
    fn other_files_are_not_quoted_in_the_error() {
        let secret = "secret ".repeat(100);
        assert_eq!(read(secret.as_bytes()).unwrap_err().to_string(), "is not a pidns document");
        assert!(read(b" \n").unwrap_err().to_string().starts_with("is empty: "));
        let later = "{\"schema_version\": \"1.7\"}";
        let error = read(later.as_bytes()).unwrap_err().to_string();
        assert!(
            error.ends_with("; the document has schema version 1.7, this program supports 1.0")
        );
    }

    #[test]
    fn rejects_a_second_document() {
        let json = written(everything()).to_string();
        let yaml = String::from_utf8(yaml(&PidGraph::new(everything()))).unwrap();
        for text in [
            format!("{json}\n{json}"),
            format!("{json}{{"),
            format!("{json} x"),
            format!("{yaml}---\n{yaml}"),
            format!("--- \n{yaml}...\n---\nx\n"),
            format!("--- {json}\n--- {json}\n"),
        ] {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(error.starts_with("contains more than one document"), "{error}");
        }
        for text in [format!("---\n{yaml}...\n"), format!("%YAML 1.2\n---\n{yaml}# end\n")] {
            assert!(read(text.as_bytes()).is_ok());
        }
    }

    #[test]
    fn errors_are_short_for_any_document() {
        let long = "x".repeat(100_000);
        let whole = written(everything());
        let put = |pointer: &str, value: Value| {
            let mut changed = whole.clone();
            *changed.pointer_mut(pointer).unwrap() = value;
            changed
        };
        let list = vec![long.as_str(); 3];
        let changed = [
            put("/schema_version", long.clone().into()),
            put("/schema_version", format!("1.{}", "9".repeat(1000)).into()),
            put("/captured_at", long.clone().into()),
            put("/complete", long.clone().into()),
            put("/complete", list.clone().into()),
            put("/searched", list.into()),
            put("/roots/0", long.clone().into()),
            put("/roots/0", format!("pid:[{}]", "1".repeat(1000)).into()),
            put("/namespaces/0/state", long.clone().into()),
            put("/processes/0/pid", long.clone().into()),
            put("/processes/0/state", long.clone().into()),
            put("/processes/0/namespaces", serde_json::json!({long.as_str(): "x"})),
            put("/diagnostics/0/code", format!("A{long}").into()),
        ];
        for changed in changed {
            // The first text is JSON, and the second text is the same document as YAML.
            for text in [format!("{changed}"), format!("--- {changed}")] {
                let error = read(text.as_bytes()).unwrap_err().to_string();
                assert!(error.chars().count() < 250, "{error}");
                assert!(!error.contains(&"x".repeat(61)), "{error}");
            }
        }
    }

    #[test]
    fn rejects_a_list_in_place_of_an_object() {
        let whole = written(everything());
        for pointer in [
            "",
            "/generator",
            "/host",
            "/procfs",
            "/observer",
            "/processes/0",
            "/namespaces/0",
            "/namespaces/0/owner",
            "/namespaces/2/holders/0",
            "/namespaces/2/blocked_by/0",
            "/diagnostics/0",
        ] {
            let mut changed = whole.clone();
            let object = changed.pointer_mut(pointer).unwrap();
            *object = object.as_object().unwrap().values().cloned().collect();
            for text in [changed.to_string(), format!("--- {changed}")] {
                assert!(read(text.as_bytes()).is_err(), "{pointer}");
            }
        }
    }

    #[test]
    fn rejects_malformed_text_quickly() {
        let deep = "[".repeat(1_000_000);
        let deep_inside = format!("{{\"schema_version\": \"1.0\", \"x\": {deep}");
        let bomb = "a: &a [x, x, x, x, x, x, x, x, x]\nb: &b [*a, *a, *a, *a, *a, *a, *a, *a, *a]\n\
             c: &c [*b, *b, *b, *b, *b, *b, *b, *b, *b]\nd: &d [*c, *c, *c, *c, *c, *c, *c, *c, *c]\n\
             e: &e [*d, *d, *d, *d, *d, *d, *d, *d, *d]\nf: &f [*e, *e, *e, *e, *e, *e, *e, *e, *e]\n\
             g: &g [*f, *f, *f, *f, *f, *f, *f, *f, *f]\nschema_version: *g\n";
        let start = std::time::Instant::now();
        for text in
            ["", " ", "{", "[]", "null", "- a", "\u{0}", "{}x", "a: b", &deep, &deep_inside, bomb]
        {
            let error = read(text.as_bytes()).unwrap_err().to_string();
            assert!(!error.is_empty() && !error.contains('\n'), "{error}");
            assert!(error.len() < 500, "{error}");
        }
        assert!(read(b"\xff\xfe").is_err());
        assert!(start.elapsed().as_secs() < 10, "{:?}", start.elapsed());
    }

    proptest::proptest! {
        #[test]
        fn does_not_panic_on_any_changed_byte(at in 0_usize..6000, byte: u8, part: bool) {
            let mut whole = everything();
            if !part {
                whole.selected.clear();
                whole.namespaces[0].member_count = None;
            }
            let mut text = written(whole).to_string().into_bytes();
            let at = at % text.len();
            text[at] = byte;
            if let Ok((snapshot, _)) = read(&text) {
                let graph = PidGraph::new(snapshot);
                let json = serde_json::to_string(&document(&graph)).unwrap();
                proptest::prop_assert!(read(json.as_bytes()).is_ok());
            }
        }
    }
}
