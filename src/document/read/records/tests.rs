use serde_json::{Value, json};

use crate::document::{UnknownWords, document, read, read_from, write_records};
use crate::graph::PidGraph;
use crate::model::Snapshot;
use crate::testing::{detached_farm, everything, farm};

/// Returns the NDJSON records of a snapshot.
fn records(snapshot: Snapshot) -> Vec<Value> {
    let mut records = Vec::new();
    write_records(&PidGraph::new(snapshot), |record| {
        records.push(serde_json::to_value(record)?);
        Ok::<_, serde_json::Error>(())
    })
    .unwrap();
    records
}

fn lines(records: &[Value]) -> String {
    records.iter().flat_map(|record| [record.to_string(), "\n".to_owned()]).collect()
}

/// Replaces the value at `pointer` in all records.
fn with(mut records: Vec<Value>, pointer: &str, value: &str) -> Vec<Value> {
    for record in &mut records {
        *record.pointer_mut(pointer).unwrap() = value.into();
    }
    records
}

fn error_of(text: &str, host: Option<&str>) -> String {
    read_from(text.as_bytes(), host).unwrap().unwrap_err().to_string()
}

/// Returns `true` if reading `text` yields `snapshot`. Asserts that `text` has no unknown values.
fn reads_as(text: &str, host: Option<&str>, snapshot: Snapshot) -> bool {
    let (read, unknown) = read_from(text.as_bytes(), host).unwrap().unwrap();
    assert_eq!(unknown, UnknownWords::default());
    PidGraph::new(read).snapshot() == PidGraph::new(snapshot).snapshot()
}

#[test]
fn reads_records_in_any_order() {
    for snapshot in [farm(), detached_farm(), everything()] {
        let mut records = records(snapshot.clone());
        assert!(reads_as(&lines(&records), None, snapshot.clone()));
        records.reverse();
        assert!(reads_as(&lines(&records), None, snapshot.clone()));
        // The reader accepts CRLF line endings, blank lines, a missing final newline and a byte
        // order mark.
        let text = lines(&records).replace('\n', "\r\n\n");
        assert!(reads_as(text.trim_end(), None, snapshot.clone()));
        assert!(reads_as(&format!("\n \n{text}"), None, snapshot.clone()));
        assert!(reads_as(&format!("\u{feff}{text}"), None, snapshot));
    }
}

#[test]
fn selects_a_host_by_name_or_boot_id() {
    const BOOT: &str = "00000000-4b43-4a0b-9f3c-1c5f4f1d2a3b";
    let (ours, other) = (records(farm()), with(records(everything()), "/host/hostname", "web-1"));
    let name = ours[0]["host"]["hostname"].as_str().unwrap();
    let other = with(other, "/host/boot_id", BOOT);
    // Mix the lines of both hosts.
    let mixed: Vec<Value> = ours.iter().zip(&other).flat_map(|(a, b)| [a, b]).cloned().collect();
    let rest = [&ours[ours.len().min(other.len())..], &other[ours.len().min(other.len())..]];
    let text = lines(&mixed) + &lines(&rest.concat());
    assert!(reads_as(&text, Some(name), farm()));
    let mut expected = everything();
    expected.host.hostname = Some("web-1".to_owned());
    expected.host.boot_id = Some(BOOT.to_owned());
    for host in ["web-1", BOOT, "web-1@2026-11-23", &format!("{BOOT}@")] {
        assert!(reads_as(&text, Some(host), expected.clone()), "{host}");
    }
    assert_eq!(
        error_of(&text, None),
        format!(
            "contains snapshots of several hosts, such as {name}, web-1; select one with --host NAME"
        )
    );
    assert_eq!(
        error_of(&text, Some("web-9")),
        format!("contains no snapshot of web-9, only of {name}, web-1")
    );
}

#[test]
fn selects_a_snapshot_by_time() {
    let later = with(records(farm()), "/captured_at", "2026-11-24T14:28:00Z");
    let text = lines(&records(farm())) + &lines(&later);
    let name = farm().host.hostname.unwrap();
    for host in [None, Some(name.as_str())] {
        assert_eq!(
            error_of(&text, host),
            format!(
                "contains several snapshots of {name}, such as of 2026-11-23T14:28:00.123456Z, \
                 2026-11-24T14:28:00Z; select one with --host {name}@TIME"
            )
        );
    }
    let mut expected = farm();
    expected.captured_at = "2026-11-24T14:28:00Z".to_owned();
    assert!(reads_as(&text, Some(&format!("{name}@2026-11-24")), expected));
    let none = format!("contains no snapshot of {name}@2026-11-25, only of {name}");
    assert_eq!(error_of(&text, Some(&format!("{name}@2026-11-25"))), none);
}

#[test]
fn selects_one_of_several_boots_by_boot_id() {
    const BOOT: &str = "00000000-4b43-4a0b-9f3c-1c5f4f1d2a3b";
    let text = lines(&records(farm())) + &lines(&with(records(farm()), "/host/boot_id", BOOT));
    let (name, boot) = (farm().host.hostname.unwrap(), farm().host.boot_id.unwrap());
    assert_eq!(
        error_of(&text, Some(&name)),
        format!(
            "contains snapshots of several boots of {name}, such as {boot}, {BOOT}; select one \
             with --host BOOT_ID"
        )
    );
    assert!(reads_as(&text, Some(&boot), farm()));
}

#[test]
fn rejects_a_document_of_another_host() {
    let json = serde_json::to_string(&document(&PidGraph::new(farm()))).unwrap();
    let name = farm().host.hostname.unwrap();
    assert!(reads_as(&json, Some(&name), farm()));
    assert_eq!(
        error_of(&json, Some("web-9")),
        format!("contains no snapshot of web-9, only of {name}")
    );
    assert_eq!(
        error_of(&json, Some(&format!("{name}@2027"))),
        format!(
            "contains no snapshot of {name}@2027, only of {name} of 2026-11-23T14:28:00.123456Z"
        )
    );
}

#[test]
fn lists_some_of_many_hosts_and_stops_reading() {
    let hosts =
        (0..200).flat_map(|host| with(records(farm()), "/host/hostname", &format!("web-{host}")));
    let mut text = lines(&hosts.collect::<Vec<_>>());
    // The reader stops before this invalid line.
    text.push_str("{\n");
    assert_eq!(
        error_of(&text, None),
        "contains snapshots of several hosts, such as web-0, web-1, web-2; select one with --host NAME"
    );
    text.truncate(text.len() - 2);
    assert_eq!(
        error_of(&text, Some("db-1")),
        "contains no snapshot of db-1, only of web-0, web-1, web-2 and others"
    );
}

#[test]
fn errors_in_records_have_a_line_number() {
    let spoiled = |line: usize, pointer: &str, value: Value| {
        let mut records = records(farm());
        *records[line - 1].pointer_mut(pointer).unwrap_or_else(|| panic!("{pointer}")) = value;
        let said = error_of(&lines(&records), None);
        said.split(" column ").next().unwrap().to_owned()
    };
    let first_process = 2 + farm().namespaces.len();
    for (line, pointer, value, expected) in [
        (
            1,
            "/snapshot/roots",
            json!([]),
            "snapshot.roots: does not list the namespaces of level 0",
        ),
        (
            1,
            "/snapshot/complete",
            json!(1),
            "snapshot.complete: invalid type: integer `1`, \
          expected a boolean",
        ),
        (4, "/namespace/level", json!(7), "namespace.level: 7, but 2 is expected (at most 32)"),
        (3, "/namespace", Value::Null, "namespace: invalid type: null, expected an object"),
        (first_process, "/process/pid", json!(0), "process.pid: 0 is not a PID"),
        (first_process, "/process/nspid", json!([7]), "process.nspid: does not begin with 1"),
        (
            first_process,
            "/record",
            json!("Process"),
            "record: \"Process\" is not a \
          valid word",
        ),
        (
            first_process,
            "/record",
            json!("namespace"),
            "namespace: is missing in a record of this \
          kind",
        ),
        (2, "/schema_version", json!("2.0"), "schema_version: 2.0 is not supported (only 1.x is)"),
        (2, "/host", json!([]), "host: invalid length 0, expected an object"),
    ] {
        assert_eq!(spoiled(line, pointer, value), format!("{expected} at line {line}"));
    }
    let good = lines(&records(farm()));
    for (line, expected) in [
        ("{", "EOF while parsing an object at line 2 column 1"),
        ("{} {}", "missing field `schema_version` at line 2 column 2"),
        ("[]", "invalid length 0, expected a pidns record at line 2 column 2"),
        ("\u{1b}[31m", "expected value at line 2 column 1"),
    ] {
        let (first, rest) = good.split_once('\n').unwrap();
        assert_eq!(error_of(&format!("{first}\n{line}\n{rest}"), None), expected);
    }
}

#[test]
fn detects_lost_and_repeated_records() {
    let all = records(farm());
    let (namespaces, processes) = (farm().namespaces.len(), farm().processes.len());
    let lost = lines(&all[..all.len() - 2]);
    assert!(
        error_of(&lost, None).starts_with(&format!("contains {namespaces} namespaces, ")),
        "{}",
        error_of(&lost, None)
    );
    let name = farm().host.hostname.unwrap();
    assert_eq!(
        error_of(&lines(&all[1..]), None),
        format!("contains no record of kind snapshot for {name}")
    );
    let twice = lines(&all) + &lines(&all[..1]);
    let line = all.len() + 1;
    assert_eq!(error_of(&twice, None), format!("snapshot: is repeated at line {line}"));
    let again = error_of(&(lines(&all) + &lines(&all[1..2])), None);
    let counts = format!("contains {} namespaces, {processes} processes", namespaces + 1);
    assert!(again.starts_with(&counts), "{again}");
}

#[test]
fn reports_unknown_kinds_and_words() {
    let mut later = with(records(everything()), "/schema_version", "1.7");
    let mut socket = later[0].clone();
    socket["record"] = "socket".into();
    socket["socket"] = json!({"cookie": 5});
    later.push(socket);
    later[2]["namespace"]["state"] = "frozen".into();
    let (_, unknown) = read(lines(&later).as_bytes()).unwrap();
    assert_eq!(unknown.to_string(), "1 namespace state \"frozen\", 1 record of kind \"socket\"");
    later[1]["namespace"]["level"] = 9.into();
    let error = error_of(&lines(&later), None);
    assert!(error.ends_with("; the document has schema version 1.7, this program supports 1.0"));
}

#[test]
fn records_of_other_hosts_need_not_be_valid() {
    let mut others = with(records(everything()), "/host/hostname", "web-1");
    for record in &mut others {
        record["schema_version"] = "2.0".into();
        record["record"] = 7.into();
    }
    let text = lines(&others) + &lines(&records(farm()));
    assert!(reads_as(&text, farm().host.hostname.as_deref(), farm()));
}

proptest::proptest! {
    #[test]
    fn does_not_panic_on_any_changed_byte(at in 0_usize..20_000, byte: u8) {
        let mut text = lines(&records(everything())).into_bytes();
        let at = at % text.len();
        text[at] = byte;
        if let Ok((snapshot, _)) = read(&text) {
            let again = lines(&records(snapshot));
            proptest::prop_assert!(read(again.as_bytes()).is_ok());
        }
    }
}
