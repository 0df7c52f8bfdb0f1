//! The list of models in each vendor's format.

use serde_json::{Value, json};

use super::played::CREATED;
use super::vendor::Vendor;

/// [`CREATED`] in RFC 3339.
const CREATED_AT: &str = "2023-11-14T22:13:20Z";

/// The list of these models in a vendor's format, on one page.
pub(super) fn list(vendor: Vendor, names: &[String]) -> Value {
    let entries = |entry: &dyn Fn(&String) -> Value| names.iter().map(entry).collect::<Vec<_>>();
    match vendor {
        Vendor::OpenAi | Vendor::Responses => {
            let entry = |name: &String| json!({"id": name, "object": "model", "created": CREATED, "owned_by": "lab"});
            json!({"object": "list", "data": entries(&entry)})
        }
        Vendor::Anthropic => {
            let entry = |name: &String| {
                json!({
                    "id": name,
                    "type": "model",
                    "display_name": name,
                    "created_at": CREATED_AT,
                    "lifecycle": "active",
                    "max_input_tokens": 200_000,
                    "max_tokens": 64_000,
                })
            };
            json!({"data": entries(&entry), "has_more": false, "first_id": names.first(), "last_id": names.last()})
        }
        Vendor::Gemini => {
            let entry = |name: &String| {
                json!({
                    "name": format!("models/{name}"),
                    "version": "001",
                    "displayName": name,
                    "inputTokenLimit": 1_048_576,
                    "outputTokenLimit": 65_536,
                    "supportedGenerationMethods": ["generateContent", "countTokens"],
                    "thinking": true,
                })
            };
            json!({"models": entries(&entry)})
        }
        Vendor::Ollama => {
            let entry = |name: &String| {
                json!({
                    "name": name,
                    "model": name,
                    "modified_at": CREATED_AT,
                    "size": 1_000_000,
                    "digest": "00".repeat(32),
                    "details": {"format": "gguf", "family": "lab", "families": ["lab"], "parameter_size": "1B", "quantization_level": "Q4_0"},
                })
            };
            json!({"models": entries(&entry)})
        }
    }
}
