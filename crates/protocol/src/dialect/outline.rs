//! What a dialect's chunks need of a response, without its output.

use serde::Deserialize;
use serde_json::{Map, Value};

use crate::entry::Entry;
use crate::fault::ResponseError;
use crate::id::ResponseId;
use crate::item::Item;
use crate::response::{FINISH_REASON, IncompleteDetails, Response, ResponseStatus};
use crate::usage::Usage;

/// A response without its output, instructions and tools. Reading it skips those.
#[derive(Clone, Debug, Deserialize)]
pub(crate) struct Outline {
    pub(crate) id: ResponseId,
    pub(crate) created_at: u64,
    pub(crate) status: ResponseStatus,
    pub(crate) incomplete_details: Option<IncompleteDetails>,
    pub(crate) model: String,
    pub(crate) error: Option<ResponseError>,
    pub(crate) usage: Option<Usage>,
    pub(crate) service_tier: String,
    #[serde(default)]
    pub(crate) metadata: Map<String, Value>,
    #[serde(rename = "output")]
    items: Vec<ItemType>,
}

#[derive(Clone, Debug, Deserialize)]
struct ItemType {
    #[serde(rename = "type")]
    kind: String,
}

impl Outline {
    /// The outline of the response in a snapshot event.
    pub(crate) fn read(entry: &Entry) -> Option<Self> {
        #[derive(Deserialize)]
        struct Snapshot {
            response: Outline,
        }
        serde_json::from_slice::<Snapshot>(&entry.data).ok().map(|snapshot| snapshot.response)
    }

    /// Whether the model called one of the caller's tools.
    pub(crate) fn has_calls(&self) -> bool {
        self.items
            .iter()
            .any(|item| matches!(item.kind.as_str(), "function_call" | "custom_tool_call"))
    }

    /// Why it ended early. Empty if it did not.
    pub(crate) fn reason(&self) -> &str {
        self.incomplete_details.as_ref().map_or("", |details| details.reason.as_str())
    }

    /// The upstream's own finish reason, if it is outside the vocabulary.
    pub(crate) fn native_finish_reason(&self) -> Option<&Value> {
        (self.reason() == IncompleteDetails::UNKNOWN_FINISH_REASON)
            .then(|| self.metadata.get(FINISH_REASON))?
    }
}

impl From<&Response> for Outline {
    fn from(response: &Response) -> Self {
        let kind = |item: &Item| match item {
            Item::FunctionCall(_) => "function_call",
            Item::CustomToolCall(_) => "custom_tool_call",
            _ => "",
        };
        Self {
            id: response.id.clone(),
            created_at: response.created_at,
            status: response.status,
            incomplete_details: response.incomplete_details.clone(),
            model: response.model.clone(),
            error: response.error.clone(),
            usage: response.usage,
            service_tier: response.service_tier.clone(),
            metadata: response.metadata.clone(),
            items: response
                .output
                .iter()
                .map(|item| ItemType { kind: kind(item).to_owned() })
                .collect(),
        }
    }
}
