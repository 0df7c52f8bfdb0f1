//! What a model sends back, normalised: the events of its stream.

use futures_util::stream::BoxStream;
use protocol::event::EventKind;
use protocol::usage::Usage;
use serde_json::{Map, Value};

use super::failure::Failure;

/// Words as they come. Dropping it closes the upstream connection at once (promise 5). A failure is the last of them.
pub type Words = BoxStream<'static, Result<Word, Failure>>;

/// One word from upstream, normalised. What a provider sends beyond these is tolerated and left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// More text, with its log probabilities as they came (often none).
    Text {
        /// The text; never empty.
        text: String,
        /// Log probabilities.
        logprobs: Vec<Value>,
    },
    /// What the text before it rests on (a citation), in Open Responses' form.
    Annotation(Value),
    /// More thoughts.
    Reasoning(String),
    /// More of a summary of thoughts. A word of the other kind between two of them parts them.
    ReasoningSummary(String),
    /// The end of a piece of thoughts or of its summary: what comes next of either begins anew.
    ReasoningBreak,
    /// The end of these thoughts, with what only the upstream can read of them and wants back in the next turn. It comes
    /// also where nothing of them was shown.
    ReasoningEnd {
        /// Opaque; what it begins with says whose it is.
        encrypted: String,
    },
    /// More of a refusal.
    Refusal(String),
    /// More of a call of one of the caller's tools.
    ToolCall(ToolCallDelta),
    /// An item that Weir does not interpret: a tool that the upstream ran, an image.
    Item(OpaqueStep),
    /// Fields beyond the vocabulary that belong to the thoughts.
    ReasoningExtra(Map<String, Value>),
    /// Fields beyond the vocabulary that belong to the message.
    Extra(Map<String, Value>),
    /// What it cost so far; a later one replaces it.
    Usage(Usage),
    /// Why the model stopped: the evidence of completion (promise 4).
    Finish(Finish),
    /// The upstream is there, but said nothing: it does not count as a sign of the model.
    KeepAlive,
}

/// More of a tool call. Pieces with the same index belong together; id and name come once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCallDelta {
    /// Which call of this response.
    pub index: u64,
    /// The upstream's id of the call.
    pub id: Option<String>,
    /// The tool, by the name that the caller gave it.
    pub name: Option<String>,
    /// Whether it is a custom tool, whose `arguments` are free text. Said with the name.
    pub is_custom: bool,
    /// The next piece of the arguments; may be empty.
    pub arguments: String,
    /// Fields beyond the vocabulary, such as `namespace`.
    pub extra: Map<String, Value>,
}

/// A step of an item that is passed on as it is. `key` says which item of this response.
#[derive(Clone, Debug, PartialEq)]
pub enum OpaqueStep {
    /// The item starts.
    Added {
        /// Which item.
        key: u64,
        /// The item so far, with its `type`.
        item: Map<String, Value>,
    },
    /// Something happened to it.
    Event {
        /// Which item.
        key: u64,
        /// What, as [`EventKind::is_hosted`] knows it.
        kind: EventKind,
        /// The event's fields, without those that say which item it is about.
        fields: Map<String, Value>,
    },
    /// The item is whole. It may come without the other steps.
    Done {
        /// Which item.
        key: u64,
        /// The item, with its `type`.
        item: Map<String, Value>,
    },
}

/// Why a model stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It had said everything, or waits for its tools.
    Stop,
    /// It hit the limit on output tokens.
    Length,
    /// A filter cut it.
    ContentFilter,
    /// A reason that Weir does not know, in the upstream's word. It is no evidence that the response is complete.
    Unknown(String),
}
