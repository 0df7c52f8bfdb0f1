//! The canonical events of a response.

use serde::Serialize;
use serde_json::Value;

use crate::extra::Extra;
use crate::fault::Fault;
use crate::id::ItemId;
use crate::item::{Item, Part};
use crate::response::{Response, ResponseStatus};

mod kind;

pub use kind::{EventKind, PREAMBLE};

/// The place of a content part in a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartPlace {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The part's index in `content`.
    pub content_index: usize,
}

/// The place of a summary part in a response.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SummaryPlace {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The part's index in `summary`.
    pub summary_index: usize,
}

/// One step of a response. Serialises to the fields after `type` and `sequence_number`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// The response exists.
    Created(Snapshot),
    /// The response is queued.
    Queued(Snapshot),
    /// The request was sent to the model.
    InProgress(Snapshot),
    /// An item starts.
    OutputItemAdded(ItemEvent),
    /// A content part starts.
    ContentPartAdded(PartEvent),
    /// More text.
    OutputTextDelta(TextDelta),
    /// A citation of the text.
    OutputTextAnnotationAdded(AnnotationAdded),
    /// The text is complete.
    OutputTextDone(TextDone),
    /// More of a refusal.
    RefusalDelta(ContentDelta),
    /// The refusal is complete.
    RefusalDone(RefusalDone),
    /// More reasoning text.
    ReasoningDelta(ContentDelta),
    /// The reasoning text is complete.
    ReasoningDone(PlacedText),
    /// A part of a reasoning summary starts.
    ReasoningSummaryPartAdded(SummaryPartEvent),
    /// More of a summary.
    ReasoningSummaryDelta(SummaryDelta),
    /// The text of the summary part is complete.
    ReasoningSummaryDone(SummaryText),
    /// The summary part is complete.
    ReasoningSummaryPartDone(SummaryPartEvent),
    /// More arguments.
    FunctionCallArgumentsDelta(ArgumentsDelta),
    /// The arguments are complete.
    FunctionCallArgumentsDone(ArgumentsDone),
    /// More input of a custom tool's call.
    CustomToolCallInputDelta(ArgumentsDelta),
    /// The input is complete.
    CustomToolCallInputDone(InputDone),
    /// A step of a tool that the upstream runs, unchanged.
    Hosted(HostedEvent),
    /// A content part is complete.
    ContentPartDone(PartEvent),
    /// An item has ended, complete or not.
    OutputItemDone(ItemEvent),
    /// The error; `response.failed` follows.
    Error(ErrorEvent),
    /// The end of a complete response.
    Completed(Snapshot),
    /// The end of a response that stopped early.
    Incomplete(Snapshot),
    /// The end of a failed response.
    Failed(Snapshot),
}

/// The whole response at this step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// The response.
    pub response: Box<Response>,
}

/// An item at its start or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemEvent {
    /// Its index in `output`.
    pub output_index: usize,
    /// The item.
    pub item: Item,
}

/// A part at its start or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartEvent {
    /// Its place.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The part.
    pub part: Part,
}

/// More text of an output text part. Written field by field, not flattened: one such event is
/// written for each token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextDelta {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The part's index in `content`.
    pub content_index: usize,
    /// The new text.
    pub delta: String,
    /// Its log probabilities, as the upstream sent them.
    pub logprobs: Vec<Value>,
}

/// More text of a refusal or of reasoning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContentDelta {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The part's index in `content`.
    pub content_index: usize,
    /// The new text.
    pub delta: String,
}

/// An annotation of a text in Open Responses' form (`url_citation`…), as the upstream sent it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnnotationAdded {
    /// The place of the text.
    #[serde(flatten)]
    pub place: PartPlace,
    /// Its index among the text's annotations.
    pub annotation_index: usize,
    /// The annotation.
    pub annotation: Value,
}

/// A part of a summary at its start or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryPartEvent {
    /// Its place.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The part.
    pub part: Part,
}

/// More text of a summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryDelta {
    /// Its place.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The new text.
    pub delta: String,
}

/// A whole text of a summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryText {
    /// Its place.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The text.
    pub text: String,
}

/// A whole output text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextDone {
    /// Its place.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The text.
    pub text: String,
    /// Its log probabilities, as the upstream sent them.
    pub logprobs: Vec<Value>,
}

/// A whole text of reasoning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlacedText {
    /// Its place.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The text.
    pub text: String,
}

/// A whole refusal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusalDone {
    /// Its place.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The words.
    pub refusal: String,
}

/// More arguments of a function call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArgumentsDelta {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The new piece of JSON text.
    pub delta: String,
}

/// The whole arguments of a function call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArgumentsDone {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The function's name, which OpenAI's form of this event carries.
    pub name: String,
    /// The arguments.
    pub arguments: String,
}

/// The whole input of a custom tool's call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputDone {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The input.
    pub input: String,
}

/// An event about an item that Weir does not interpret.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct HostedEvent {
    /// Its `type`, one of those that [`EventKind::is_hosted`] knows.
    #[serde(skip)]
    pub kind: EventKind,
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// All other fields.
    #[serde(flatten)]
    pub fields: Extra,
}

/// An error in the stream: Open Responses' nested object and OpenAI's flat fields, so that clients
/// of both can read it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ErrorEvent {
    /// The flat form.
    pub code: String,
    /// The flat form.
    pub message: String,
    /// The flat form.
    pub param: Option<String>,
    /// The nested form, with status and headers.
    pub error: Value,
}

impl Event {
    /// The `error` event for a fault.
    pub fn error(fault: &Fault) -> Self {
        Self::Error(ErrorEvent {
            code: fault.code.clone(),
            message: fault.message.clone(),
            param: fault.param.clone(),
            error: fault.payload(),
        })
    }

    /// The terminal event of a response that has ended.
    pub fn terminal(response: Response) -> Self {
        let snapshot = Snapshot { response: Box::new(response) };
        match snapshot.response.status {
            ResponseStatus::Completed => Self::Completed(snapshot),
            ResponseStatus::Failed => Self::Failed(snapshot),
            // There is no `response.cancelled` in the vocabulary: a cancelled response ends early
            // with that status.
            ResponseStatus::Incomplete
            | ResponseStatus::Cancelled
            | ResponseStatus::Queued
            | ResponseStatus::InProgress => Self::Incomplete(snapshot),
        }
    }

    /// Its `type`.
    pub fn kind(&self) -> EventKind {
        match self {
            Self::Created(_) => EventKind::Created,
            Self::Queued(_) => EventKind::Queued,
            Self::InProgress(_) => EventKind::InProgress,
            Self::OutputItemAdded(_) => EventKind::OutputItemAdded,
            Self::ContentPartAdded(_) => EventKind::ContentPartAdded,
            Self::OutputTextDelta(_) => EventKind::OutputTextDelta,
            Self::OutputTextAnnotationAdded(_) => EventKind::OutputTextAnnotationAdded,
            Self::OutputTextDone(_) => EventKind::OutputTextDone,
            Self::RefusalDelta(_) => EventKind::RefusalDelta,
            Self::RefusalDone(_) => EventKind::RefusalDone,
            Self::ReasoningDelta(_) => EventKind::ReasoningDelta,
            Self::ReasoningDone(_) => EventKind::ReasoningDone,
            Self::ReasoningSummaryPartAdded(_) => EventKind::ReasoningSummaryPartAdded,
            Self::ReasoningSummaryDelta(_) => EventKind::ReasoningSummaryDelta,
            Self::ReasoningSummaryDone(_) => EventKind::ReasoningSummaryDone,
            Self::ReasoningSummaryPartDone(_) => EventKind::ReasoningSummaryPartDone,
            Self::FunctionCallArgumentsDelta(_) => EventKind::FunctionCallArgumentsDelta,
            Self::FunctionCallArgumentsDone(_) => EventKind::FunctionCallArgumentsDone,
            Self::CustomToolCallInputDelta(_) => EventKind::CustomToolCallInputDelta,
            Self::CustomToolCallInputDone(_) => EventKind::CustomToolCallInputDone,
            Self::Hosted(event) => event.kind,
            Self::ContentPartDone(_) => EventKind::ContentPartDone,
            Self::OutputItemDone(_) => EventKind::OutputItemDone,
            Self::Error(_) => EventKind::Error,
            Self::Completed(_) => EventKind::Completed,
            Self::Incomplete(_) => EventKind::Incomplete,
            Self::Failed(_) => EventKind::Failed,
        }
    }
}
