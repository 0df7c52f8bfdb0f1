//! How an upstream differs from OpenAI in what its requests may hold.

use crate::config::{Compat, Preset, ReasoningHistory, SystemMessages};
use crate::tools::HostedTools;
use crate::wire::carry::{self, Carrier, FieldLocation, InnerFields};
use crate::wire::family::ServerFamily;
use crate::wire::shared::UPSTREAM_FIELDS;

/// What an upstream supports.
#[derive(Clone, Debug)]
pub(super) struct ChatFeatures {
    pub(super) family: ServerFamily,
    pub(super) preset: Preset,
    pub(super) stream_options: bool,
    pub(super) system_messages: SystemMessages,
    pub(super) reasoning: ReasoningHistory,
    pub(super) hosted_tools: HostedTools,
}

impl ChatFeatures {
    /// From the settings, with the preset's defaults.
    pub(super) fn new(
        family: ServerFamily,
        preset: Preset,
        base_url: &str,
        compat: &Compat,
    ) -> Self {
        // These two reject unknown fields, reasoning included.
        let is_strict =
            ["api.mistral.ai", "api.groq.com"].iter().any(|host| base_url.contains(host));
        let (system_messages, reasoning) = match family {
            ServerFamily::OpenAi | ServerFamily::Azure => {
                (SystemMessages::InPlace, ReasoningHistory::Never)
            }
            ServerFamily::Compatible if is_strict => {
                (SystemMessages::First, ReasoningHistory::Never)
            }
            ServerFamily::Compatible => (SystemMessages::First, ReasoningHistory::WithCalls),
        };
        Self {
            family,
            preset,
            stream_options: compat.stream_options,
            system_messages: compat.system_messages.unwrap_or(system_messages),
            reasoning: compat.reasoning_history.unwrap_or(reasoning),
            hosted_tools: compat.hosted_tools,
        }
    }

    /// Which unknown fields are passed on. Compatible servers reject what they do not know; OpenAI
    /// is not sent other vendors' fields.
    pub(super) fn field(&self) -> fn(FieldLocation, &str) -> bool {
        match self.family {
            ServerFamily::OpenAi | ServerFamily::Azure => {
                |_, name| !carry::is_hint(name) || name == "name"
            }
            ServerFamily::Compatible => |place, name| !is_own(place, name),
        }
    }

    pub(super) fn carrier(&self) -> Carrier<'static> {
        Carrier {
            vendor: API,
            field: self.field(),
            part: |_| true,
            item: |kind| kind == "image_generation_call",
            inner: InnerFields::Carried,
            thoughts: match self.reasoning {
                ReasoningHistory::Never => |_| false,
                ReasoningHistory::WithCalls | ReasoningHistory::Always => |_| true,
            },
            hosted: Some(self.hosted_tools),
        }
    }
}

/// Fields that Weir or the Responses API add to items, for which chat completions have other
/// places.
fn is_own(place: FieldLocation, name: &str) -> bool {
    let is_everywhere = matches!(name, "status" | "upstream_id" | UPSTREAM_FIELDS);
    is_everywhere
        || (name == "namespace" && place == FieldLocation::Call)
        || (name == "id" && place == FieldLocation::Message)
}

/// The API's name in error messages.
pub(super) const API: &str = "The chat completions API";
