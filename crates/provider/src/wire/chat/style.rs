//! How an upstream differs from OpenAI in what its requests may hold.

use crate::config::{Compat, Preset, ReasoningHistory, SystemMessages};
use crate::tools::HostedTools;
use crate::wire::carry::{self, Carrier, Inner, Place};
use crate::wire::family::Family;
use crate::wire::shared::UPSTREAM_FIELDS;

/// What an upstream supports.
#[derive(Clone, Debug)]
pub(super) struct Style {
    pub(super) family: Family,
    pub(super) preset: Preset,
    pub(super) stream_options: bool,
    pub(super) system_messages: SystemMessages,
    pub(super) reasoning: ReasoningHistory,
    pub(super) hosted_tools: HostedTools,
}

impl Style {
    /// From the settings, with the preset's defaults.
    pub(super) fn new(family: Family, preset: Preset, base_url: &str, compat: &Compat) -> Self {
        // These two reject unknown fields, reasoning included.
        let is_strict = ["api.mistral.ai", "api.groq.com"].iter().any(|host| base_url.contains(host));
        let (system_messages, reasoning) = match family {
            Family::OpenAi | Family::Azure => (SystemMessages::InPlace, ReasoningHistory::Never),
            Family::Compatible if is_strict => (SystemMessages::First, ReasoningHistory::Never),
            Family::Compatible => (SystemMessages::First, ReasoningHistory::WithCalls),
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

    /// Which unknown fields are passed on. Compatible servers reject what they do not know; OpenAI is not sent other
    /// vendors' fields.
    pub(super) fn field(&self) -> fn(Place, &str) -> bool {
        match self.family {
            Family::OpenAi | Family::Azure => |_, name| !carry::is_hint(name) || name == "name",
            Family::Compatible => |place, name| !is_own(place, name),
        }
    }

    pub(super) fn carrier(&self) -> Carrier<'static> {
        Carrier {
            vendor: API,
            field: self.field(),
            part: |_| true,
            item: |kind| kind == "image_generation_call",
            inner: Inner::Carried,
            thoughts: match self.reasoning {
                ReasoningHistory::Never => |_| false,
                ReasoningHistory::WithCalls | ReasoningHistory::Always => |_| true,
            },
            hosted: Some(self.hosted_tools),
        }
    }
}

/// Fields that Weir or the Responses API add to items, for which chat completions have other places.
fn is_own(place: Place, name: &str) -> bool {
    let is_everywhere = matches!(name, "status" | "upstream_id" | UPSTREAM_FIELDS);
    is_everywhere || (name == "namespace" && place == Place::Call) || (name == "id" && place == Place::Message)
}

/// The API's name in error messages.
pub(super) const API: &str = "The chat completions API";
