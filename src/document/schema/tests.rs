use std::collections::BTreeSet;
use std::time::Duration;

use expect_test::expect_file;
use serde_json::{Value, json};

use super::super::check::{CheckContent, CheckReport};
use super::super::diff::{Comparison, DiffContent};
use super::super::limits::{LimitsContent, LimitsReport};
use super::super::policy::PolicyFile;
use super::super::record::Record;
use super::super::snapshot::Document;
use super::super::snapshot_records::SnapshotContent;
use super::super::watch::DatedContent;
use super::super::{
    Translation, check, diff, document, limits, read, write_check_records, write_diff_records,
    write_limits_records, write_records,
};
use super::generate::schema_of;
use super::{
    CHECK_RECORD_SCHEMA, CHECK_SCHEMA, DIFF_RECORD_SCHEMA, DIFF_SCHEMA, LIMITS_RECORD_SCHEMA,
    LIMITS_SCHEMA, RECORD_SCHEMA, RUN_SCHEMA, SCHEMA, TRANSLATION_SCHEMA,
};
use crate::document::run::RunReport;
use crate::graph::PidGraph;
use crate::model;
use crate::query::{self, Check, Diff, Policy, Unsettled};
use crate::testing::everything;

#[test]
fn the_committed_schemas_match_the_serde_types() {
    // With UPDATE_EXPECT=1 in the environment, this test rewrites the schema files.
    expect_file!["../../../schemas/pidns-1.schema.json"]
        .assert_eq(&schema_of::<Document>("urn:pidns:schema:document:1", "pidns document"));
    expect_file!["../../../schemas/pidns-record-1.schema.json"].assert_eq(&schema_of::<
        Record<SnapshotContent>,
    >(
        "urn:pidns:schema:record:1",
        "pidns record",
    ));
    expect_file!["../../../schemas/pidns-translation-1.schema.json"].assert_eq(&schema_of::<
        Translation,
    >(
        "urn:pidns:schema:translation:1",
        "pidns translation",
    ));
    expect_file!["../../../schemas/pidns-check-1.schema.json"]
        .assert_eq(&schema_of::<CheckReport>("urn:pidns:schema:check:1", "pidns check"));
    expect_file!["../../../schemas/pidns-policy-1.schema.json"]
        .assert_eq(&schema_of::<PolicyFile>("urn:pidns:schema:policy:1", "pidns policy"));
    expect_file!["../../../schemas/pidns-diff-1.schema.json"]
        .assert_eq(&schema_of::<Comparison>("urn:pidns:schema:diff:1", "pidns diff"));
    expect_file!["../../../schemas/pidns-check-record-1.schema.json"].assert_eq(&schema_of::<
        Record<CheckContent>,
    >(
        "urn:pidns:schema:check-record:1",
        "pidns check record",
    ));
    expect_file!["../../../schemas/pidns-diff-record-1.schema.json"].assert_eq(&schema_of::<
        Record<DiffContent>,
    >(
        "urn:pidns:schema:diff-record:1",
        "pidns diff record",
    ));
    expect_file!["../../../schemas/pidns-watch-record-1.schema.json"].assert_eq(&schema_of::<
        Record<DatedContent>,
    >(
        "urn:pidns:schema:watch-record:1",
        "pidns watch record",
    ));
    expect_file!["../../../schemas/pidns-limits-1.schema.json"]
        .assert_eq(&schema_of::<LimitsReport>("urn:pidns:schema:limits:1", "pidns limits"));
    expect_file!["../../../schemas/pidns-limits-record-1.schema.json"].assert_eq(&schema_of::<
        Record<LimitsContent>,
    >(
        "urn:pidns:schema:limits-record:1",
        "pidns limits record",
    ));
    expect_file!["../../../schemas/pidns-run-1.schema.json"]
        .assert_eq(&schema_of::<RunReport>("urn:pidns:schema:run:1", "pidns run"));
}

fn schema() -> Value {
    serde_json::from_str(SCHEMA).unwrap()
}

fn record_schema() -> Value {
    serde_json::from_str(RECORD_SCHEMA).unwrap()
}

/// Returns NDJSON records of a snapshot with a value in every field.
fn records() -> Vec<Value> {
    let mut records = Vec::new();
    let written = write_records(&PidGraph::new(whole()), |record| {
        records.push(serde_json::to_value(record)?);
        Ok::<_, serde_json::Error>(())
    });
    written.unwrap();
    records
}

/// Returns an unfiltered snapshot with a value in every field, except in fields that only a filter
/// sets.
fn whole() -> model::Snapshot {
    let mut whole = everything();
    whole.selected.clear();
    whole.namespaces[0].member_count = None;
    whole
}

fn validator(schema: &Value) -> jsonschema::Validator {
    jsonschema::options().should_validate_formats(true).build(schema).unwrap()
}

fn written(snapshot: model::Snapshot) -> Value {
    serde_json::to_value(document(&PidGraph::new(snapshot))).unwrap()
}

fn errors(schema: &Value, value: &Value) -> Vec<String> {
    let validator = validator(schema);
    validator.iter_errors(value).map(|it| format!("{}: {it}", it.instance_path())).collect()
}

#[test]
fn written_documents_are_valid() {
    assert_eq!(errors(&schema(), &written(everything())), Vec::<String>::new());
    for record in records() {
        assert_eq!(errors(&record_schema(), &record), Vec::<String>::new());
    }
    let pid = |raw| model::Pid::new(raw).unwrap();
    let translation = model::Translation {
        pid: pid(2),
        from: Some(model::NamespaceId::Inode(5)),
        to: None,
        translated: pid(7),
        levels: vec![
            model::Level { namespace: None, pid: pid(7) },
            model::Level { namespace: Some(model::NamespaceId::Unread(pid(7))), pid: pid(2) },
        ],
    };
    let schema: Value = serde_json::from_str(TRANSLATION_SCHEMA).unwrap();
    let value = serde_json::to_value(Translation::from(&translation)).unwrap();
    assert_eq!(errors(&schema, &value), Vec::<String>::new());
}

/// Returns a comparison with a value in every field.
fn compared() -> Diff {
    let (mut before, mut after) = (everything(), everything());
    for namespace in &mut before.namespaces {
        namespace.state = model::NamespaceState::Unknown;
    }
    for process in &mut before.processes {
        process.comm = "other".into();
    }
    after.namespaces.pop();
    after.processes.remove(4);
    after.processes.push(crate::testing::process(&[12, 4], Some(4_026_532_179)));
    Diff::new(PidGraph::new(before), PidGraph::new(after)).unwrap()
}

#[test]
fn comparisons_are_valid_and_all_fields_have_descriptions() {
    let schema: Value = serde_json::from_str(DIFF_SCHEMA).unwrap();
    let value = serde_json::to_value(diff(&compared())).unwrap();
    assert_eq!(errors(&schema, &value), Vec::<String>::new());
    assert_described(&schema, &value);
}

/// Asserts that the records match the schema, and that together they equal the document `whole`.
/// Also asserts that the schema rejects a record without its content field, such as a record about
/// a process without the field `process`.
fn assert_records_equal(schema: &str, records: &[Value], whole: &Value, lists: &[(&str, &str)]) {
    let schema: Value = serde_json::from_str(schema).unwrap();
    let mut head = whole.clone();
    for (kind, list) in lists {
        let of_kind = records.iter().filter(|it| it["record"] == *kind).map(|it| &it[kind]);
        assert!(of_kind.eq(whole[list].as_array().unwrap()), "{kind}");
        head.as_object_mut().unwrap().remove(*list);
    }
    for record in records {
        assert_eq!(errors(&schema, record), Vec::<String>::new());
        let mut without = record.clone();
        without.as_object_mut().unwrap().remove(record["record"].as_str().unwrap());
        assert_ne!(errors(&schema, &without), Vec::<String>::new());
    }
    let of_head = records[0][records[0]["record"].as_str().unwrap()].as_object().unwrap();
    assert!(of_head.iter().all(|(name, value)| head[name] == *value));
    assert!(
        keys(&head).iter().all(|name| of_head.contains_key(*name) || !records[0][name].is_null())
    );
}

#[test]
fn the_records_of_a_comparison_equal_its_document() {
    let (compared, mut records) = (compared(), Vec::new());
    let written = write_diff_records(&compared, |record| {
        records.push(serde_json::to_value(record)?);
        Ok::<_, serde_json::Error>(())
    });
    written.unwrap();
    let whole = serde_json::to_value(diff(&compared)).unwrap();
    let lists = [("namespace_change", "namespaces"), ("process_change", "processes")];
    assert_records_equal(DIFF_RECORD_SCHEMA, &records, &whole, &lists);
}

#[test]
fn checks_and_their_records_are_valid() {
    let mut checked =
        Check::new(PidGraph::new(everything()), Unsettled::default(), &Policy::default());
    checked.since = Some(checked.graph.snapshot().captured_at.clone());
    checked.uptime = Some(Duration::from_secs(1000));
    let said = |_: &_| {
        ("what".to_owned(), vec!["what to do".to_owned()], Some("nsenter -t 6 -a sh".to_owned()))
    };
    let whole = serde_json::to_value(check(&checked, said)).unwrap();
    let schema: Value = serde_json::from_str(CHECK_SCHEMA).unwrap();
    assert_eq!(errors(&schema, &whole), Vec::<String>::new());
    let mut records = Vec::new();
    let written = write_check_records(&checked, said, |record| {
        records.push(serde_json::to_value(record)?);
        Ok::<_, serde_json::Error>(())
    });
    written.unwrap();
    assert_records_equal(CHECK_RECORD_SCHEMA, &records, &whole, &[("finding", "findings")]);
}

#[test]
fn limits_and_their_records_are_valid() {
    let report = query::LimitReport::new(PidGraph::new(everything()), BTreeSet::new(), None);
    let whole = serde_json::to_value(limits(&report)).unwrap();
    let schema: Value = serde_json::from_str(LIMITS_SCHEMA).unwrap();
    assert_eq!(errors(&schema, &whole), Vec::<String>::new());
    let mut records = Vec::new();
    let written = write_limits_records(&report, |record| {
        records.push(serde_json::to_value(record)?);
        Ok::<_, serde_json::Error>(())
    });
    written.unwrap();
    let lists = [("limit", "limits"), ("diagnostic", "diagnostics")];
    assert_records_equal(LIMITS_RECORD_SCHEMA, &records, &whole, &lists);
}

#[test]
fn run_reports_are_valid_and_all_fields_have_descriptions() {
    let pids = |raw: &[u32]| raw.iter().filter_map(|&raw| model::Pid::new(raw)).collect();
    let graph = PidGraph::new(everything());
    let namespaces = graph.snapshot().namespaces.iter().map(|it| it.id).collect();
    let report = query::RunReport {
        command: vec!["make".to_owned()],
        ended: model::Ended::Killed(9),
        grace: Duration::from_millis(100),
        waited: Duration::from_millis(100),
        denied: model::CheckCode::of_runs().collect(),
        leftovers: Some(query::Leftovers {
            graph,
            namespaces,
            unseen: true,
            outsiders: query::Outsiders::default(),
        }),
        uptime: Duration::from_secs(1000),
        live: model::LiveFacts::default(),
        killed: Some(model::Killed {
            sigterm: pids(&[6]),
            sigkill: pids(&[7]),
            outsiders: pids(&[7]),
            refused: pids(&[9]),
            remaining: pids(&[8]),
            unreaped: pids(&[10]),
        }),
    };
    let schema: Value = serde_json::from_str(RUN_SCHEMA).unwrap();
    let value = serde_json::to_value(RunReport::from(&report)).unwrap();
    assert_eq!(errors(&schema, &value), Vec::<String>::new());
    assert_described(&schema, &value);
}

/// A value in a document, with a subschema that applies to the value.
struct Visit<'a> {
    /// JSON pointer of the value.
    pointer: String,
    value: &'a Value,
    part: &'a Value,
}

/// Calls `see` for each value, once per subschema that applies to it.
fn walk<'a>(schema: &'a Value, visit: Visit<'a>, see: &mut impl FnMut(&Visit<'a>)) {
    see(&visit);
    let Visit { pointer, value, part } = visit;
    let same = |part| Visit { pointer: pointer.clone(), value, part };
    if let Some(reference) = part.get("$ref").and_then(Value::as_str) {
        let part = schema.pointer(reference.strip_prefix('#').unwrap()).unwrap();
        walk(schema, same(part), see);
    }
    // Skip the `anyOf` branches that allow only null or one known value.
    for branch in part["anyOf"].as_array().into_iter().flatten() {
        if !value.is_null() && branch["type"] != "null" && branch.get("const").is_none() {
            walk(schema, same(branch), see);
        }
    }
    if let (Some(items), Some(list)) = (part.get("items"), value.as_array()) {
        for (index, value) in list.iter().enumerate() {
            walk(schema, Visit { pointer: format!("{pointer}/{index}"), value, part: items }, see);
        }
    }
    let Some(object) = value.as_object() else { return };
    for (name, value) in object {
        let field = part.pointer(&format!("/properties/{name}"));
        if let Some(part) = field.or(part.get("additionalProperties")) {
            walk(schema, Visit { pointer: format!("{pointer}/{name}"), value, part }, see);
        }
    }
}

fn keys(object: &Value) -> Vec<&str> {
    object.as_object().unwrap().keys().map(String::as_str).collect()
}

#[test]
fn all_fields_have_descriptions_and_are_present_in_schema_order() {
    assert_described(&schema(), &written(everything()));
}

/// Asserts that each field has a description in the schema and a value in the document.
fn assert_described(schema: &Value, document: &Value) {
    let mut without_value = BTreeSet::new();
    let mut with_value = BTreeSet::new();
    let whole = Visit { pointer: String::new(), value: document, part: schema };
    walk(schema, whole, &mut |visit| {
        let Some(properties) = visit.part.get("properties") else { return };
        assert_eq!(keys(properties), keys(visit.value), "{}", visit.pointer);
        let required = visit.part["required"].as_array().unwrap();
        let required: Vec<_> = required.iter().map(|name| name.as_str().unwrap()).collect();
        assert_eq!(keys(properties), required, "{}", visit.pointer);
        for (name, property) in properties.as_object().unwrap() {
            assert!(property["description"].is_string(), "{name} is described");
            let empty = [json!(null), json!([])].contains(&visit.value[name]);
            let field = (std::ptr::from_ref(properties), name.clone());
            if empty { &mut without_value } else { &mut with_value }.insert(field);
        }
    });
    let never = without_value.difference(&with_value).map(|(_, name)| name);
    assert_eq!(never.collect::<Vec<_>>(), Vec::<&String>::new(), "the sample has every field");
}

/// Strings that each violate at least one subschema.
const TEXTS: [&str; 21] = [
    "",
    "Not A Word",
    "not_a_code",
    "-",
    "yesterday",
    "2026-11-23T14:28:00+01:00",
    "2026-11-23 14:28:00Z",
    "2026-02-30T14:28:00Z",
    "2026-11-23T14:28:00.1234567890Z",
    "2.0",
    "1",
    "1.01",
    "1.x",
    "pid:[0]",
    "pid:[01]",
    "pid:[4026531836",
    "mnt:[4026531836]",
    "Eacces",
    "SS",
    "\u{e9}",
    "7D0F5A5E-4B43-4A0B-9F3C-1C5F4F1D2A3B",
];

/// Returns replacements for a value, most of them invalid under the value's schema.
fn violations(visit: &Visit) -> Vec<Value> {
    let mut bad = Vec::new();
    for (keyword, says) in visit.part.as_object().unwrap() {
        match keyword.as_str() {
            "type" => bad.extend([
                json!(null),
                json!(true),
                json!(0.5),
                json!("text"),
                json!([]),
                json!({}),
            ]),
            "pattern" | "format" | "anyOf" => bad.extend(TEXTS.map(Value::from)),
            "minimum" => bad.push(json!(says.as_i64().unwrap() - 1)),
            "maximum" => bad.push(match says.as_u64().unwrap().checked_add(1) {
                Some(more) => more.into(),
                None => json!(1e20),
            }),
            "minLength" | "maxLength" => bad.extend(["", "SS"].map(Value::from)),
            "maxItems" => {
                let more = usize::try_from(says.as_u64().unwrap()).unwrap() + 1;
                let first = visit.value.as_array().unwrap().first();
                bad.extend(first.map(|first| vec![first.clone(); more].into()));
            }
            "uniqueItems" => {
                let mut twice = visit.value.as_array().unwrap().clone();
                twice.extend(twice.first().cloned());
                bad.push(twice.into());
            }
            "allOf" => {
                let without = |name: &String| {
                    let mut without = visit.value.clone();
                    without[name] = Value::Null;
                    without
                };
                bad.extend(visit.value.as_object().unwrap().keys().map(without));
            }
            "required" => {
                let without = |name: &String| {
                    let mut without = visit.value.clone();
                    without.as_object_mut().unwrap().remove(name);
                    without
                };
                bad.extend(visit.value.as_object().unwrap().keys().map(without));
            }
            "$schema"
            | "$id"
            | "title"
            | "description"
            | "$ref"
            | "$defs"
            | "properties"
            | "items"
            | "additionalProperties" => {}
            other => panic!("no violation of {other} is tried"),
        }
    }
    bad
}

/// Returns `true` if `one` lacks fields of `other`, and all the missing fields are optional.
fn lacks_optional_fields(one: &Value, other: &Value) -> bool {
    let (Some(one), Some(other)) = (one.as_object(), other.as_object()) else { return false };
    let absent: Vec<_> = other.keys().filter(|name| !one.contains_key(*name)).collect();
    let may_be_null = ["selected", "details", "blocked_by", "member_count", "limit"];
    !absent.is_empty()
        && absent.iter().all(|name| may_be_null.contains(&name.as_str()) || is_nullable(name))
}

/// Returns `true` if any object in the schema has a nullable field with this name.
fn is_nullable(name: &str) -> bool {
    fn any(schema: &Value, name: &str) -> bool {
        let field = schema.pointer(&format!("/properties/{name}"));
        let null = |field: &Value| {
            field["type"].as_array().is_some_and(|it| it.contains(&json!("null")))
                || field["anyOf"].as_array().is_some_and(|it| it.contains(&json!({"type": "null"})))
        };
        field.is_some_and(null)
            || match schema {
                Value::Object(object) => object.values().any(|it| any(it, name)),
                Value::Array(list) => list.iter().any(|it| any(it, name)),
                _ => false,
            }
    }
    any(&schema(), name)
}

/// Changes `value` in ways that violate the schema, and asserts that `reads` returns an error each
/// time. Returns the number of subschemas that were violated.
fn assert_all_rejected(
    schema: &Value,
    value: &Value,
    reads: impl Fn(&Value) -> Option<String>,
) -> usize {
    assert_eq!(reads(value), None);
    let validator = validator(schema);
    let mut tried = BTreeSet::new();
    let mut seen = BTreeSet::new();
    let whole = Visit { pointer: String::new(), value, part: schema };
    walk(schema, whole, &mut |visit| {
        // To save time, test only one of several similar list elements.
        let field: String = visit.pointer.chars().filter(|c| !c.is_ascii_digit()).collect();
        let sort = (visit.value.is_null(), visit.value.get("kind").map(Value::to_string));
        if !seen.insert((field, std::ptr::from_ref(visit.part), sort)) {
            return;
        }
        let place = visit.pointer.replace('/', ".");
        for bad in violations(visit) {
            let mut spoiled = value.clone();
            *spoiled.pointer_mut(&visit.pointer).unwrap() = bad.clone();
            if validator.is_valid(&spoiled) || lacks_optional_fields(&bad, visit.value) {
                continue;
            }
            let Some(error) = reads(&spoiled) else {
                panic!("{} is read with {bad}", visit.pointer);
            };
            // The message must name the changed value or an object that contains it.
            let named = error.split(": ").next().unwrap().replace('[', ".").replace(']', "");
            assert!(
                format!("{place}.").contains(&format!(".{named}."))
                    || format!(".{named}").starts_with(&format!("{place}."))
                    || visit.pointer.matches('/').count() < 2,
                "{place}: {error}"
            );
            tried.insert(visit.part.to_string());
        }
    });
    tried.len()
}

#[test]
fn the_reader_rejects_all_invalid_documents() {
    let error = |text: String| read(text.as_bytes()).err().map(|error| error.to_string());
    let tried = assert_all_rejected(&schema(), &written(whole()), |it| error(it.to_string()));
    assert!(tried > 60, "{tried} parts of the schema were tried");
}

#[test]
fn the_reader_rejects_all_invalid_records() {
    let all = records();
    for kind in ["snapshot", "namespace", "process", "limit", "diagnostic"] {
        // Find the longest record of this kind.
        let of_kind = all.iter().enumerate().filter(|(_, record)| record["record"] == kind);
        let (index, record) = of_kind.max_by_key(|(_, it)| it.to_string().len()).unwrap();
        let tried = assert_all_rejected(&record_schema(), record, |record| {
            let mut all = all.clone();
            all[index] = record.clone();
            let lines: Vec<_> = all.iter().map(Value::to_string).collect();
            let error = read(lines.join("\n").as_bytes()).err()?.to_string();
            // Changing the host or time of a record makes it part of a second snapshot. The error
            // does not name the changed field, but `assert_all_rejected` looks for a field name. So
            // put `host` into the error.
            Some(error.replace("contains snapshots of several ", "host: "))
        });
        assert!(tried > 15, "{tried} parts of the schema were tried with a {kind}");
    }
}
