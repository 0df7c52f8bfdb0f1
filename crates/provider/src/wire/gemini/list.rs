//! Reads Gemini's list of models.

use engine::provider::models::ModelListing;
use serde::Deserialize;
use serde_json::Value;

/// Reads `GET /models`: models that generate content, with their names without `models/`. Gemini
/// reports no creation time.
pub(super) fn read(body: &[u8], name: &str) -> Option<Vec<ModelListing>> {
    let list: List = serde_json::from_slice(body).ok()?;
    let listing = |entry: Value| {
        let methods = entry.get("supportedGenerationMethods")?.as_array()?;
        let id = entry.get("name")?.as_str()?;
        let id = id.strip_prefix("models/").unwrap_or(id);
        let can_write = methods.iter().any(|method| method == "generateContent");
        (can_write && !id.is_empty()).then(|| ModelListing {
            id: id.to_owned(),
            owned_by: name.to_owned(),
            created: 0,
        })
    };
    Some(list.models.into_iter().filter_map(listing).collect())
}

#[derive(Deserialize)]
struct List {
    models: Vec<Value>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_generating_models_are_listed() {
        let body = include_bytes!("../../../fixtures/gemini/models.json");
        let listing =
            |id: &str| ModelListing { id: id.into(), owned_by: "north".into(), created: 0 };
        assert_eq!(
            read(body, "north"),
            Some(vec![listing("gemini-2.5-flash"), listing("tunedModels/mine")])
        );
        assert_eq!(read(b"<html>", "north"), None);
    }
}
