//! Items and their content parts, as Open Responses defines them (`ItemField`, `ItemParam`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::compaction::Compaction;
use crate::extra::Extra;
use crate::id::ItemId;

mod access;
mod weight;

/// The state of an item.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// The model is still producing it.
    InProgress,
    /// Complete.
    Completed,
    /// The response ended before the item was complete.
    Incomplete,
}

/// The author of a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The user.
    User,
    /// The model.
    Assistant,
    /// The operator, as older APIs call it.
    System,
    /// The developer of the application.
    Developer,
}

impl Role {
    /// The value on the wire.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::User => "user",
            Self::Assistant => "assistant",
            Self::System => "system",
            Self::Developer => "developer",
        }
    }
}

/// One entry of a conversation.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Item {
    /// A message.
    Message(Message),
    /// The model asks for a function to be called.
    FunctionCall(FunctionCall),
    /// The result of such a call.
    FunctionCallOutput(FunctionCallOutput),
    /// The model calls a tool that takes free text.
    CustomToolCall(CustomToolCall),
    /// The result of such a call.
    CustomToolCallOutput(CustomToolCallOutput),
    /// Reasoning of the model.
    Reasoning(Reasoning),
    /// The summary that replaces everything before it.
    Compaction(Compaction),
    /// An item of a type that Weir does not interpret, such as `web_search_call`. It is passed on
    /// unchanged.
    #[serde(untagged)]
    Opaque(OpaqueItem),
}

impl Message {
    /// A complete message without an id.
    pub fn new(role: Role, content: Vec<Part>) -> Self {
        Self {
            id: ItemId::new(""),
            status: ItemStatus::Completed,
            role,
            content,
            extra: Extra::default(),
        }
    }
}

impl OpaqueItem {
    /// The field with the item's id at its upstream, under which it is sent back.
    pub const UPSTREAM_ID: &str = "upstream_id";

    /// The item as its upstream sent it, with its id there.
    pub fn upstream_form(&self) -> Map<String, Value> {
        let field = |(name, value): (&String, &Value)| {
            let name = if name == Self::UPSTREAM_ID { "id" } else { name };
            (name.to_owned(), value.clone())
        };
        [("type".to_owned(), self.kind.as_str().into())]
            .into_iter()
            .chain(self.fields.iter().map(field))
            .collect()
    }
}

impl FunctionCall {
    /// The namespace of the function, if it is in one.
    pub fn namespace(&self) -> Option<&str> {
        self.extra.text("namespace")
    }
}

/// A message: a role and content parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The item's id, `msg_…`.
    pub id: ItemId,
    /// Its state.
    pub status: ItemStatus,
    /// Its author.
    pub role: Role,
    /// Its content parts.
    pub content: Vec<Part>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A call of a function that the model asks for.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The item's id, `fc_…`.
    pub id: ItemId,
    /// The id that the output of the call refers to.
    pub call_id: String,
    /// The function's name.
    pub name: String,
    /// The arguments, JSON as the model wrote it; it may be invalid.
    pub arguments: String,
    /// Its state.
    pub status: ItemStatus,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The result of a call.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionCallOutput {
    /// The item's id, `fco_…`.
    pub id: ItemId,
    /// The id of the call.
    pub call_id: String,
    /// The output of the function.
    pub output: FunctionOutput,
    /// Its state.
    pub status: ItemStatus,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A call of a tool that takes free text (OpenAI's `custom_tool_call`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomToolCall {
    /// The item's id, `ctc_…`.
    pub id: ItemId,
    /// The id that the output of the call refers to.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// The text.
    pub input: String,
    /// Its state.
    pub status: ItemStatus,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// The result of a call of a custom tool (OpenAI's `custom_tool_call_output`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct CustomToolCallOutput {
    /// The item's id, `ctco_…`.
    pub id: ItemId,
    /// The id of the call.
    pub call_id: String,
    /// The output of the tool.
    pub output: FunctionOutput,
    /// Its state.
    pub status: ItemStatus,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An item of a type that Weir does not interpret. Its fields are kept unchanged; only the id is
/// Weir's.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct OpaqueItem {
    /// The type, as on the wire.
    #[serde(rename = "type")]
    pub kind: String,
    /// The item's id.
    pub id: ItemId,
    /// All other fields.
    #[serde(flatten)]
    pub fields: Extra,
}

/// A function's result: text, or content parts.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum FunctionOutput {
    /// Plain text, often JSON.
    Text(String),
    /// Text, images or files.
    Parts(Vec<Part>),
}

impl FunctionOutput {
    /// The text of it; images and files have none.
    pub fn text(&self) -> String {
        match self {
            Self::Text(text) => text.clone(),
            Self::Parts(parts) => parts.iter().filter_map(Part::text).collect(),
        }
    }
}

/// What the model thought before it spoke.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Reasoning {
    /// The item's id, `rs_…`.
    pub id: ItemId,
    /// A summary for people.
    pub summary: Vec<Part>,
    /// The reasoning text, if the upstream shows it.
    #[serde(default)]
    pub content: Vec<Part>,
    /// The reasoning in the upstream's encrypted form, kept for the next turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Reasoning {
    /// The reasoning text or, if it is not shown, its summary.
    pub fn text(&self) -> String {
        let parts = if self.content.is_empty() { &self.summary } else { &self.content };
        parts.iter().filter_map(Part::text).collect()
    }
}

/// A content part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text of the input.
    InputText {
        /// The text.
        text: String,
        /// Fields beyond the vocabulary, as they came.
        #[serde(flatten)]
        extra: Extra,
    },
    /// An image of the input.
    InputImage {
        /// A URL or a data URL.
        image_url: Option<String>,
        /// `low`, `high` or `auto`.
        detail: String,
        /// Fields beyond the vocabulary, as they came.
        #[serde(flatten)]
        extra: Extra,
    },
    /// A file of the input.
    InputFile {
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
        /// Its bytes, as a data URL.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_data: Option<String>,
        /// Its URL.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_url: Option<String>,
        /// Fields beyond the vocabulary, as they came.
        #[serde(flatten)]
        extra: Extra,
    },
    /// Text the model wrote.
    OutputText {
        /// The text.
        text: String,
        /// Citations, passed on unchanged.
        #[serde(default)]
        annotations: Vec<Value>,
        /// Log probabilities, passed on unchanged.
        #[serde(default)]
        logprobs: Vec<Value>,
        /// Fields beyond the vocabulary, as they came.
        #[serde(flatten)]
        extra: Extra,
    },
    /// A refusal by the model.
    Refusal {
        /// Its text.
        refusal: String,
    },
    /// Reasoning text.
    ReasoningText {
        /// The text.
        text: String,
    },
    /// A summary of reasoning.
    SummaryText {
        /// The text.
        text: String,
    },
    /// A part of a type that Weir does not interpret, such as `input_audio`. It is passed on
    /// unchanged.
    #[serde(untagged)]
    Opaque(Extra),
}

impl Part {
    /// Text the model wrote, without annotations.
    pub fn output_text(text: impl Into<String>) -> Self {
        Self::OutputText {
            text: text.into(),
            annotations: Vec::new(),
            logprobs: Vec::new(),
            extra: Extra::default(),
        }
    }

    /// Text of the input, without extra fields.
    pub fn input_text(text: impl Into<String>) -> Self {
        Self::InputText { text: text.into(), extra: Extra::default() }
    }

    /// Fields beyond the vocabulary that came with the part.
    pub fn extra(&self) -> Option<&Extra> {
        match self {
            Self::InputText { extra, .. }
            | Self::InputImage { extra, .. }
            | Self::InputFile { extra, .. }
            | Self::OutputText { extra, .. } => Some(extra),
            Self::Refusal { .. }
            | Self::ReasoningText { .. }
            | Self::SummaryText { .. }
            | Self::Opaque(_) => None,
        }
    }

    /// Its text; images and files have none.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::InputText { text, .. }
            | Self::OutputText { text, .. }
            | Self::ReasoningText { text }
            | Self::SummaryText { text } => Some(text),
            Self::Refusal { refusal } => Some(refusal),
            Self::InputImage { .. } | Self::InputFile { .. } | Self::Opaque(_) => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::compaction;

    #[test]
    fn the_item_has_the_form_of_open_responses() {
        let item = Item::Compaction(Compaction { id: ItemId::new("cmp_1"), summary: "s".into() });
        let wire = serde_json::json!({ "type": "compaction", "id": "cmp_1", "encrypted_content": compaction::encode("s") });
        assert_eq!(serde_json::to_value(&item).unwrap(), wire);
        assert_eq!(serde_json::from_value::<Item>(wire).unwrap(), item);
    }
}
