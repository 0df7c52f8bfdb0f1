//! Items and their content parts, as Open Responses defines them (`ItemField`, `ItemParam`).

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use crate::compaction::Compaction;
use crate::extra::Extra;
use crate::id::ItemId;

/// How far an item has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ItemStatus {
    /// The model is still writing it.
    InProgress,
    /// It is whole.
    Completed,
    /// The answer ended before it did.
    Incomplete,
}

/// Who speaks in a message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Role {
    /// The person who asks.
    User,
    /// The model.
    Assistant,
    /// The operator, in the words of older APIs.
    System,
    /// The developer of the application.
    Developer,
}

impl Role {
    /// The word on the wire.
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
    /// Somebody said something.
    Message(Message),
    /// The model asks for a function to be called.
    FunctionCall(FunctionCall),
    /// What the function gave.
    FunctionCallOutput(FunctionCallOutput),
    /// The model calls a tool that takes free text.
    CustomToolCall(CustomToolCall),
    /// The result of such a call.
    CustomToolCallOutput(CustomToolCallOutput),
    /// What the model thought.
    Reasoning(Reasoning),
    /// What stands for everything that was said before.
    Compaction(Compaction),
    /// An item of a type that Weir does not interpret, such as `web_search_call`. It is passed on as it is.
    #[serde(untagged)]
    Opaque(OpaqueItem),
}

impl Message {
    /// A whole message that has no id yet.
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
    /// The field that keeps the id which the item had at its upstream. It goes back under that id.
    pub const UPSTREAM_ID: &str = "upstream_id";

    /// The item as its upstream gave it, under the id that it had there.
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

impl Item {
    /// The item's id.
    pub fn id(&self) -> &ItemId {
        match self {
            Self::Message(item) => &item.id,
            Self::FunctionCall(item) => &item.id,
            Self::FunctionCallOutput(item) => &item.id,
            Self::CustomToolCall(item) => &item.id,
            Self::CustomToolCallOutput(item) => &item.id,
            Self::Reasoning(item) => &item.id,
            Self::Compaction(item) => &item.id,
            Self::Opaque(item) => &item.id,
        }
    }

    /// The same item under another id.
    #[must_use]
    pub fn with_id(mut self, id: ItemId) -> Self {
        match &mut self {
            Self::Message(item) => item.id = id,
            Self::FunctionCall(item) => item.id = id,
            Self::FunctionCallOutput(item) => item.id = id,
            Self::CustomToolCall(item) => item.id = id,
            Self::CustomToolCallOutput(item) => item.id = id,
            Self::Reasoning(item) => item.id = id,
            Self::Compaction(item) => item.id = id,
            Self::Opaque(item) => item.id = id,
        }
        self
    }

    /// The prefix of ids of items of this type (`msg`, `fc`…).
    pub fn id_prefix(&self) -> &'static str {
        match self {
            Self::Message(_) => "msg",
            Self::FunctionCall(_) => "fc",
            Self::FunctionCallOutput(_) => "fco",
            Self::CustomToolCall(_) => "ctc",
            Self::CustomToolCallOutput(_) => "ctco",
            Self::Reasoning(_) => "rs",
            Self::Compaction(_) => "cmp",
            Self::Opaque(_) => "item",
        }
    }

    /// The `call_id`, where the item is a call of a tool of the caller's.
    pub fn call_id(&self) -> Option<&str> {
        match self {
            Self::FunctionCall(call) => Some(&call.call_id),
            Self::CustomToolCall(call) => Some(&call.call_id),
            Self::Message(_)
            | Self::FunctionCallOutput(_)
            | Self::CustomToolCallOutput(_)
            | Self::Reasoning(_)
            | Self::Compaction(_)
            | Self::Opaque(_) => None,
        }
    }

    /// The `call_id` of the call that the item answers, where it is an output of a tool of the caller's.
    pub fn answered_call_id(&self) -> Option<&str> {
        match self {
            Self::FunctionCallOutput(output) => Some(&output.call_id),
            Self::CustomToolCallOutput(output) => Some(&output.call_id),
            Self::Message(_)
            | Self::FunctionCall(_)
            | Self::CustomToolCall(_)
            | Self::Reasoning(_)
            | Self::Compaction(_)
            | Self::Opaque(_) => None,
        }
    }

    /// How many bytes it takes in memory, roughly: its texts, and something for whatever has none.
    pub fn weight(&self) -> usize {
        let fields = |extra: &Extra| {
            extra.iter().map(|(name, value)| name.len() + weight(value)).sum::<usize>()
        };
        let own = match self {
            Self::FunctionCall(call) => call.arguments.len() + call.name.len() + call.call_id.len(),
            Self::CustomToolCall(call) => call.input.len() + call.name.len() + call.call_id.len(),
            Self::FunctionCallOutput(FunctionCallOutput {
                output: FunctionOutput::Text(text),
                ..
            })
            | Self::CustomToolCallOutput(CustomToolCallOutput {
                output: FunctionOutput::Text(text),
                ..
            }) => text.len(),
            Self::Reasoning(reasoning) => {
                reasoning.encrypted_content.as_ref().map_or(0, String::len)
            }
            Self::Compaction(compaction) => compaction.summary.len(),
            Self::Opaque(item) => fields(&item.fields),
            Self::Message(_) | Self::FunctionCallOutput(_) | Self::CustomToolCallOutput(_) => 0,
        };
        let parts = self.parts().map(|part| match part {
            Part::InputImage { image_url, .. } => image_url.as_ref().map_or(0, String::len),
            Part::InputFile { file_data, .. } => file_data.as_ref().map_or(0, String::len),
            Part::Opaque(extra) => fields(extra),
            part => part.text().map_or(0, str::len),
        });
        // What the structures themselves take.
        own + self.extra().map_or(0, fields) + parts.map(|bytes| bytes + 200).sum::<usize>() + 300
    }

    /// Its content parts.
    pub fn parts(&self) -> impl Iterator<Item = &Part> {
        let (first, second): (&[Part], &[Part]) = match self {
            Self::Message(message) => (&message.content, &[]),
            Self::Reasoning(reasoning) => (&reasoning.summary, &reasoning.content),
            Self::FunctionCallOutput(FunctionCallOutput {
                output: FunctionOutput::Parts(parts),
                ..
            })
            | Self::CustomToolCallOutput(CustomToolCallOutput {
                output: FunctionOutput::Parts(parts),
                ..
            }) => (parts, &[]),
            Self::FunctionCall(_)
            | Self::CustomToolCall(_)
            | Self::FunctionCallOutput(_)
            | Self::CustomToolCallOutput(_)
            | Self::Compaction(_)
            | Self::Opaque(_) => (&[], &[]),
        };
        first.iter().chain(second)
    }

    /// Fields beyond the vocabulary that came with the item.
    pub fn extra(&self) -> Option<&Extra> {
        match self {
            Self::Message(item) => Some(&item.extra),
            Self::FunctionCall(item) => Some(&item.extra),
            Self::FunctionCallOutput(item) => Some(&item.extra),
            Self::CustomToolCall(item) => Some(&item.extra),
            Self::CustomToolCallOutput(item) => Some(&item.extra),
            Self::Reasoning(item) => Some(&item.extra),
            Self::Compaction(_) | Self::Opaque(_) => None,
        }
    }

    /// The same, to add to.
    pub fn extra_mut(&mut self) -> Option<&mut Extra> {
        match self {
            Self::Message(item) => Some(&mut item.extra),
            Self::FunctionCall(item) => Some(&mut item.extra),
            Self::FunctionCallOutput(item) => Some(&mut item.extra),
            Self::CustomToolCall(item) => Some(&mut item.extra),
            Self::CustomToolCallOutput(item) => Some(&mut item.extra),
            Self::Reasoning(item) => Some(&mut item.extra),
            Self::Compaction(_) | Self::Opaque(_) => None,
        }
    }
}

/// How many bytes a value takes in memory, roughly.
fn weight(value: &Value) -> usize {
    72 + match value {
        Value::String(text) => text.len(),
        Value::Array(list) => list.iter().map(weight).sum(),
        Value::Object(fields) => {
            fields.iter().map(|(name, value)| name.len() + 40 + weight(value)).sum()
        }
        Value::Null | Value::Bool(_) | Value::Number(_) => 0,
    }
}

/// A message: a role and what was said.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Message {
    /// The item's id, `msg_…`.
    pub id: ItemId,
    /// How far it has come.
    pub status: ItemStatus,
    /// Who speaks.
    pub role: Role,
    /// What is said, part by part.
    pub content: Vec<Part>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// A call the model wants made.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FunctionCall {
    /// The item's id, `fc_…`.
    pub id: ItemId,
    /// The name under which the output comes back.
    pub call_id: String,
    /// The function's name.
    pub name: String,
    /// The arguments, JSON as the model wrote it; it may be invalid.
    pub arguments: String,
    /// How far it has come.
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
    /// Which call it answers.
    pub call_id: String,
    /// What the function gave.
    pub output: FunctionOutput,
    /// How far it has come.
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
    /// The name under which the output comes back.
    pub call_id: String,
    /// The tool's name.
    pub name: String,
    /// The text.
    pub input: String,
    /// How far it has come.
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
    /// Which call it answers.
    pub call_id: String,
    /// What the tool gave.
    pub output: FunctionOutput,
    /// How far it has come.
    pub status: ItemStatus,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

/// An item of a type that Weir does not interpret. Its fields are kept as they came; only the id is Weir's.
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
    /// The thoughts, where the upstream shows them.
    #[serde(default)]
    pub content: Vec<Part>,
    /// The thoughts as only the upstream can read them, kept for the next turn.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub encrypted_content: Option<String>,
    /// Fields beyond the vocabulary, as they came.
    #[serde(flatten)]
    pub extra: Extra,
}

impl Reasoning {
    /// The thoughts as text: the thoughts themselves or, where those are not shown, their summary.
    pub fn text(&self) -> String {
        let parts = if self.content.is_empty() { &self.summary } else { &self.content };
        parts.iter().filter_map(Part::text).collect()
    }
}

/// A content part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text that was sent in.
    InputText {
        /// The text.
        text: String,
        /// Fields beyond the vocabulary, as they came.
        #[serde(flatten)]
        extra: Extra,
    },
    /// An image that was sent in.
    InputImage {
        /// A URL or a data URL.
        image_url: Option<String>,
        /// `low`, `high` or `auto`.
        detail: String,
        /// Fields beyond the vocabulary, as they came.
        #[serde(flatten)]
        extra: Extra,
    },
    /// A file that was sent in.
    InputFile {
        /// Its name.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        filename: Option<String>,
        /// Its bytes, as a data URL.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        file_data: Option<String>,
        /// Where it lies.
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
        /// Citations, passed on as they came.
        #[serde(default)]
        annotations: Vec<Value>,
        /// Log probabilities, passed on as they came.
        #[serde(default)]
        logprobs: Vec<Value>,
        /// Fields beyond the vocabulary, as they came.
        #[serde(flatten)]
        extra: Extra,
    },
    /// The model declines.
    Refusal {
        /// Its words.
        refusal: String,
    },
    /// Thoughts.
    ReasoningText {
        /// The text.
        text: String,
    },
    /// A summary of thoughts.
    SummaryText {
        /// The text.
        text: String,
    },
    /// A part of a type that Weir does not interpret, such as `input_audio`. It is passed on as it is.
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

    /// Text that was sent in, without anything beside it.
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

    /// The words in it; images and files have none.
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
