//! Reads lists of models in OpenAI's format and its variants.

use engine::provider::models::ModelListing;
use serde_json::{Map, Value};

use super::json;

/// Fields that contain a model's name.
const NAMES: [&str; 5] = ["id", "name", "model", "slug", "model_name"];

/// Fields that contain a list, or an object with one.
const LISTS: [&str; 5] = ["data", "models", "result", "body", "list"];

/// How deep lists are searched.
const DEPTH: usize = 4;

/// Finds the list in a value. An object may have a field for each model.
fn find(value: Value, depth: usize) -> Option<Vec<Value>> {
    let depth = depth.checked_sub(1)?;
    let mut fields = match value {
        Value::Array(list) => return Some(list),
        Value::Object(fields) => fields,
        _ => return None,
    };
    let (name, inner) = LISTS.iter().find_map(|name| {
        Some((*name, fields.shift_remove(*name).filter(|inner| !inner.is_null())?))
    })?;
    match inner {
        Value::Object(models) if name == "models" && models.values().all(Value::is_object) => {
            let entry = |(id, fields): (String, Value)| {
                let mut fields =
                    if let Value::Object(fields) = fields { fields } else { Map::new() };
                fields.insert("id".to_owned(), id.into());
                Value::Object(fields)
            };
            Some(models.into_iter().map(entry).collect())
        }
        inner => find(inner, depth),
    }
}

/// Reads `GET /models`: the list itself, or the one in `data` or `models`. Entries without a name
/// are skipped; `name` is the owner of entries without one.
pub(crate) fn read(body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
    let list = find(json::value(body).ok()?, DEPTH)?;
    let listing = |entry: Value| {
        // Gemini's compatible API lists names with a prefix that requests do not need.
        let plain = |id: &str| id.strip_prefix("models/").unwrap_or(id).to_owned();
        if let Value::String(id) = entry {
            return Some(ModelListing { id: plain(&id), owned_by: name.to_owned(), created: 0 });
        }
        let text = |field: &str| {
            entry.get(field)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned)
        };
        Some(ModelListing {
            id: plain(&NAMES.iter().find_map(|name| text(name))?),
            owned_by: text("owned_by").unwrap_or_else(|| name.to_owned()),
            created: entry.get("created").and_then(Value::as_u64).unwrap_or(0),
        })
    };
    Some(list.into_iter().filter_map(listing).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn invalid_list_entries_are_skipped() {
        let body = br#"{"object":"list","data":[{"id":"a","created":5,"owned_by":"them"},{"id":"b","extra":1},{"created":1},7]}"#;
        let listing = |id: &str, owned_by: &str, created| ModelListing {
            id: id.into(),
            owned_by: owned_by.into(),
            created,
        };
        assert_eq!(
            read(body, "north"),
            Some(vec![listing("a", "them", 5), listing("b", "north", 0)])
        );
        assert_eq!(read(b"<html>", "north"), None);
    }

    #[test]
    fn lists_have_several_formats() {
        let ids = |body: &[u8]| {
            read(body, "north")
                .map(|list| list.into_iter().map(|model| model.id).collect::<Vec<_>>())
        };
        for body in [
            &br#"[{"id":"a"},"b"]"#[..],
            br#"{"models":[{"name":"a"},{"model":"b"}]}"#,
            br#"{"data":["a","b"]}"#,
        ] {
            assert_eq!(ids(body), Some(vec!["a".to_owned(), "b".to_owned()]));
        }
        for body in [
            &br#"{"models":[{"slug":"a"},{"model_name":"b"}]}"#[..],
            br#"{"models":{"a":{},"b":{"owned_by":"x"}}}"#,
            br#"{"result":{"data":[{"id":"a"},{"id":"models/b"}]}}"#,
            br#"{"data":{"models":["models/a","b"]}}"#,
            br#"{"body":[{"id":"a"},{"id":"b"}]}"#,
        ] {
            assert_eq!(ids(body), Some(vec!["a".to_owned(), "b".to_owned()]));
        }
        assert_eq!(ids(b"{}"), None);
        assert_eq!(ids(br#"{"data":{}}"#), None);
    }
}
