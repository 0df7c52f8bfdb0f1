//! Items and their content parts, as Open Responses defines them (`ItemField`, `ItemParam`).

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::compaction::Compaction;
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
    /// What the model thought.
    Reasoning(Reasoning),
    /// What stands for everything that was said before.
    Compaction(Compaction),
}

impl Item {
    /// The item's id.
    pub fn id(&self) -> &ItemId {
        match self {
            Self::Message(item) => &item.id,
            Self::FunctionCall(item) => &item.id,
            Self::FunctionCallOutput(item) => &item.id,
            Self::Reasoning(item) => &item.id,
            Self::Compaction(item) => &item.id,
        }
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
}

/// A content part.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Part {
    /// Text that was sent in.
    InputText {
        /// The text.
        text: String,
    },
    /// An image that was sent in.
    InputImage {
        /// A URL or a data URL.
        image_url: Option<String>,
        /// `low`, `high` or `auto`.
        detail: String,
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
}

impl Part {
    /// Text the model wrote, without annotations.
    pub fn output_text(text: impl Into<String>) -> Self {
        Self::OutputText { text: text.into(), annotations: Vec::new(), logprobs: Vec::new() }
    }

    /// The words in it; images and files have none.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::InputText { text } | Self::OutputText { text, .. } | Self::ReasoningText { text } | Self::SummaryText { text } => {
                Some(text)
            }
            Self::Refusal { refusal } => Some(refusal),
            Self::InputImage { .. } | Self::InputFile { .. } => None,
        }
    }
}
