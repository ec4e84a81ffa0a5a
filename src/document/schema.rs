//! The published schemas.

/// The published schema (JSON Schema 2020-12).
pub const SCHEMA: &str = include_str!("../../schemas/pidns-1.schema.json");

/// The published schema of a translation (JSON Schema 2020-12).
pub const TRANSLATION_SCHEMA: &str = include_str!("../../schemas/pidns-translation-1.schema.json");

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use serde::Serialize;
    use serde_json::Value;

    use super::super::document;
    use super::super::wire::{Evidence, SearchScope, Severity, State};
    use super::*;
    use crate::graph::PidGraph;
    use crate::model;
    use crate::testing::everything;

    fn keys(object: &Value) -> BTreeSet<&str> {
        object.as_object().unwrap().keys().map(String::as_str).collect()
    }

    /// Compares what is written with what the schema says of it, object by object.
    fn compare(schema: &Value, part: &Value, written: &Value, seen: &mut BTreeSet<String>) {
        if let Some(reference) = part.get("$ref").and_then(Value::as_str) {
            let part = schema.pointer(reference.strip_prefix('#').unwrap()).unwrap();
            return compare(schema, part, written, seen);
        }
        for kind in ["anyOf", "oneOf"] {
            for choice in part.get(kind).and_then(Value::as_array).into_iter().flatten() {
                let tag = choice.pointer("/properties/kind/const");
                if (tag.is_none() || tag == written.get("kind"))
                    && !written.is_null()
                    && choice["type"] != "null"
                {
                    compare(schema, choice, written, seen);
                }
            }
        }
        if let Some(properties) = part.get("properties") {
            let required =
                part["required"].as_array().unwrap().iter().map(|it| it.as_str().unwrap());
            assert_eq!(keys(properties), keys(written));
            assert_eq!(keys(properties), required.collect(), "every field is always there");
            for (name, property) in properties.as_object().unwrap() {
                let reference = property.get("description").or(property.get("const"));
                assert!(reference.is_some(), "{name} is described");
                seen.insert(name.clone());
                compare(schema, property, &written[name], seen);
            }
        }
        if let (Some(items), Some(written)) = (part.get("items"), written.as_array()) {
            for written in written {
                compare(schema, items, written, seen);
            }
        }
    }

    fn json(word: impl Serialize) -> Value {
        serde_json::to_value(word).unwrap()
    }

    fn properties(schema: &Value, all: &mut BTreeSet<String>) {
        match schema {
            Value::Object(object) => {
                if let Some(Value::Object(properties)) = object.get("properties") {
                    all.extend(properties.keys().cloned());
                }
                object.values().for_each(|value| properties(value, all));
            }
            Value::Array(list) => list.iter().for_each(|value| properties(value, all)),
            _ => {}
        }
    }

    #[test]
    fn schema_and_types_have_the_same_fields() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let graph = PidGraph::new(everything());
        let written = serde_json::to_value(document(&graph)).unwrap();
        let mut seen = BTreeSet::new();
        compare(&schema, &schema, &written, &mut seen);
        let mut all = BTreeSet::new();
        properties(&schema, &mut all);
        assert_eq!(seen, all, "the sample has every part of the schema");
    }

    #[test]
    fn schema_and_types_have_the_same_words() {
        let schema: Value = serde_json::from_str(SCHEMA).unwrap();
        let same = |pointer: &str, words: Vec<Value>| {
            assert_eq!(schema.pointer(pointer), Some(&Value::Array(words)), "{pointer}");
        };
        same(
            "/properties/searched/items/enum",
            model::SearchScope::ALL.map(|it| json(SearchScope::from(it))).into(),
        );
        let states = [State::Live, State::Dead, State::Nascent];
        same("/$defs/namespace/properties/state/enum", states.map(json).into());
        same("/$defs/evidence/enum", [Evidence::Kernel, Evidence::Inferred].map(json).into());
        let severities = [Severity::Info, Severity::Warning];
        same("/$defs/diagnostic/properties/severity/enum", severities.map(json).into());
    }
}
