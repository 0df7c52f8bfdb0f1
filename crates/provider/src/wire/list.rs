//! The list of models as OpenAI writes it, and most others after it.

use engine::provider::ModelListing;
use serde_json::Value;

use super::json;

/// Reads `GET /models`: the list itself, or the one below `data` or `models`. Entries without a name are left out; `name` says who
/// serves them where they do not.
pub(crate) fn read(body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
    let list = match json::value(body).ok()? {
        Value::Array(list) => list,
        Value::Object(mut fields) => match fields.shift_remove("data").or_else(|| fields.shift_remove("models"))? {
            Value::Array(list) => list,
            _ => return None,
        },
        _ => return None,
    };
    let listing = |entry: Value| {
        if let Value::String(id) = entry {
            return Some(ModelListing { id, owned_by: name.to_owned(), created: 0 });
        }
        let text = |field: &str| entry.get(field)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Some(ModelListing {
            id: text("id").or_else(|| text("name")).or_else(|| text("model"))?,
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
    fn a_list_is_read_as_far_as_it_can_be() {
        let body = br#"{"object":"list","data":[{"id":"a","created":5,"owned_by":"them"},{"id":"b","extra":1},{"created":1},7]}"#;
        let listing = |id: &str, owned_by: &str, created| ModelListing { id: id.into(), owned_by: owned_by.into(), created };
        assert_eq!(read(body, "north"), Some(vec![listing("a", "them", 5), listing("b", "north", 0)]));
        assert_eq!(read(b"<html>", "north"), None);
    }

    #[test]
    fn lists_have_several_shapes() {
        let ids = |body: &[u8]| read(body, "north").map(|list| list.into_iter().map(|model| model.id).collect::<Vec<_>>());
        for body in [&br#"[{"id":"a"},"b"]"#[..], br#"{"models":[{"name":"a"},{"model":"b"}]}"#, br#"{"data":["a","b"]}"#] {
            assert_eq!(ids(body), Some(vec!["a".to_owned(), "b".to_owned()]));
        }
        assert_eq!(ids(b"{}"), None);
        assert_eq!(ids(br#"{"data":{}}"#), None);
    }
}
