//! Generates the schemas of the serde types with `schemars`.

use std::borrow::Cow;

use schemars::generate::SchemaSettings;
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde_json::{Value, json};

use crate::model::{DiagnosticCode, Keyword};

use crate::document::open_list::{SPELLING, Word};
use crate::document::snapshot::HolderKind;

/// Returns the schema of a serde type, formatted like the committed schema files.
pub fn schema_of<T: JsonSchema>(id: &str, title: &str) -> String {
    // The schema describes the documents that pidns writes, in which every field is present.
    let generator = SchemaSettings::draft2020_12().for_serialize().into_generator();
    let generated = Value::from(generator.into_root_schema_for::<T>());
    let mut schema = json!({"$schema": generated["$schema"], "$id": id, "title": title});
    if let (Some(schema), Value::Object(generated)) = (schema.as_object_mut(), generated) {
        for (keyword, mut value) in generated {
            tidy(&mut value);
            schema.entry(keyword).or_insert(value);
        }
    }
    let mut text = serde_json::to_string_pretty(&schema).expect("a value is JSON");
    text.push('\n');
    text
}

/// Replaces integer formats with ranges, joins lines of descriptions, and removes defaults.
fn tidy(value: &mut Value) {
    match value {
        Value::Object(object) => {
            for value in object.values_mut() {
                tidy(value);
            }
            if let Some(Value::String(text)) = object.shift_remove("description") {
                object.shift_insert(0, "description".to_owned(), text.into());
            }
            // Remove the default, because pidns writes every field.
            object.shift_remove("default");
            let maximum = match object.get("format").and_then(Value::as_str) {
                Some("uint32") => Some(json!(u32::MAX)),
                Some("uint64") => Some(json!(u64::MAX)),
                Some("uint") => None,
                _ => return,
            };
            object.shift_remove("format");
            object.entry("minimum").or_insert(json!(0));
            if let Some(maximum) = maximum {
                object.entry("maximum").or_insert(maximum);
            }
        }
        Value::Array(list) => list.iter_mut().for_each(tidy),
        Value::String(text) => *text = text.replace('\n', " "),
        _ => {}
    }
}

/// Generates a schema that accepts the known values, and any other value that matches the pattern.
impl<T: Keyword> JsonSchema for Word<T> {
    fn schema_name() -> Cow<'static, str> {
        T::LIST.into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let word = |it: &T| json!({"const": it.keyword(), "description": it.meaning()});
        let mut words: Vec<_> = T::VALUES.iter().map(word).collect();
        words.push(json!({
            "type": "string",
            "pattern": SPELLING,
            "description": "A value that a later 1.x version added.",
        }));
        json_schema!({
            "description": "A value of an open list: later 1.x versions may add values.",
            "anyOf": words,
        })
    }
}

/// Returns the description of diagnostic codes, with a list of all codes.
pub(crate) fn description_of_codes() -> String {
    let codes: Vec<_> = DiagnosticCode::ALL.iter().map(|code| code.name()).collect();
    format!(
        "Machine-readable code. Codes in version 1.0: {}. Later versions may add codes.",
        codes.join(", ")
    )
}

/// Returns schema rules that list the required fields of each kind of holder.
pub(crate) fn required_holder_fields() -> Value {
    let has = |kind: HolderKind, fields: Value| {
        json!({
            "if": {"properties": {"kind": {"const": kind.keyword()}}, "required": ["kind"]},
            "then": {"properties": fields},
        })
    };
    let (number, text) = (json!({"type": "integer"}), json!({"type": "string"}));
    json!([
        has(HolderKind::Fd, json!({"pid": number, "fd": number})),
        has(HolderKind::Mount, json!({"path": text, "mount_namespace": number})),
        has(HolderKind::PidForChildren, json!({"pid": number, "tid": number})),
        has(HolderKind::Pidfd, json!({"pid": number, "fd": number})),
        has(HolderKind::Socket, json!({"pid": number, "fd": number})),
        has(HolderKind::Listener, json!({"pid": number, "fd": number})),
        has(HolderKind::InFlight, json!({"pid": number, "fd": number})),
        has(HolderKind::Message, json!({"pid": number, "fd": number})),
        has(HolderKind::ProcfsFile, json!({"pid": number, "fd": number})),
    ])
}

/// Changes the schema of a record so that the value of `record` decides which content field is
/// required. For example, `"record": "finding"` requires the field `finding`.
pub(crate) fn content_by_kind(record: &mut Schema) {
    let mut rules = Vec::new();
    // A `oneOf` would reject records of unknown kinds.
    for mut variant in record.remove("oneOf").as_ref().and_then(Value::as_array).cloned().unwrap() {
        let description = variant["description"].take();
        for (kind, mut field) in variant["properties"].as_object().cloned().unwrap() {
            rules.push(json!({
                "if": {"properties": {"record": {"const": kind}}, "required": ["record"]},
                "then": {"required": [kind]},
            }));
            field["description"] = description.clone();
            record.get_mut("properties").unwrap()[kind] = field;
        }
    }
    record.insert("allOf".to_owned(), rules.into());
}
