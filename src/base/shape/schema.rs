//! JSON Schemas, for editors and programs.

use super::{Key, Need, Shape, Table};
use serde_json::{Map, Value, json};

/// The schema (draft 2020-12) of files of this shape.
pub fn json_schema(shape: &Table, title: &str) -> Value {
    let mut schema = Map::new();
    schema.insert("$schema".into(), json!("https://json-schema.org/draft/2020-12/schema"));
    schema.insert("title".into(), json!(title));
    schema.append(&mut table_schema(shape));
    Value::Object(schema)
}

fn table_schema(table: &Table) -> Map<String, Value> {
    let mut schema = Map::new();
    schema.insert("type".into(), json!("object"));
    let properties: Map<String, Value> =
        table.known().map(|key| (key.name.to_owned(), key_schema(key))).collect();
    schema.insert("properties".into(), Value::Object(properties));
    schema.insert("additionalProperties".into(), json!(false));
    let required: Vec<&str> =
        table.keys.iter().filter(|key| key.need == Need::Required).map(|key| key.name).collect();
    if !required.is_empty() {
        schema.insert("required".into(), json!(required));
    }
    if !table.one_of.is_empty() {
        let one_of: Vec<Value> =
            table.one_of.iter().map(|name| json!({ "required": [name] })).collect();
        schema.insert("oneOf".into(), Value::Array(one_of));
    }
    schema
}

fn key_schema(key: &Key) -> Value {
    let mut schema = value_schema(key.shape);
    if let Value::Object(schema) = &mut schema
        && !key.doc.is_empty()
    {
        schema.insert("description".into(), json!(key.doc));
    }
    schema
}

fn value_schema(shape: &Shape) -> Value {
    match shape {
        Shape::Text => json!({ "type": "string", "minLength": 1 }),
        Shape::Word(words) => json!({ "enum": words }),
        Shape::Form(form) => json!({ "type": "string", "examples": [form.example] }),
        Shape::Length { .. } => json!({ "type": "string", "examples": ["90s", "15m", "2h 30m"] }),
        Shape::Whole { min, max } => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Shape::Flag => json!({ "type": "boolean" }),
        Shape::Any => json!({}),
        Shape::List { of, min } => {
            json!({ "type": "array", "items": value_schema(of), "minItems": min })
        }
        Shape::Map { of, keys: _ } => {
            json!({ "type": "object", "additionalProperties": value_schema(of) })
        }
        Shape::Table(table) => Value::Object(table_schema(table)),
        Shape::OneOf(shapes) => {
            json!({ "anyOf": shapes.iter().map(value_schema).collect::<Vec<_>>() })
        }
    }
}
