//! The list of models as OpenAI writes it, and most others after it.

use engine::provider::ModelListing;
use serde::Deserialize;

/// Reads `GET /models`: entries without a name are left out; `name` says who serves them where they do not.
pub(crate) fn read(body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
    let list: List = serde_json::from_slice(body).ok()?;
    let listing = |entry: serde_json::Value| {
        let text = |field: &str| entry.get(field)?.as_str().filter(|text| !text.is_empty()).map(str::to_owned);
        Some(ModelListing {
            id: text("id")?,
            owned_by: text("owned_by").unwrap_or_else(|| name.to_owned()),
            created: entry.get("created").and_then(serde_json::Value::as_u64).unwrap_or(0),
        })
    };
    Some(list.data.into_iter().filter_map(listing).collect())
}

#[derive(Deserialize)]
struct List {
    data: Vec<serde_json::Value>,
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
}
