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
pub enum Event<'a> {
    /// The response exists.
    Created(Snapshot<'a>),
    /// The response is queued.
    Queued(Snapshot<'a>),
    /// The request was sent to the model.
    InProgress(Snapshot<'a>),
    /// An item starts.
    OutputItemAdded(ItemEvent<'a>),
    /// A content part starts.
    ContentPartAdded(PartEvent<'a>),
    /// More text.
    OutputTextDelta(TextDelta<'a>),
    /// A citation of the text.
    OutputTextAnnotationAdded(AnnotationAdded<'a>),
    /// The text is complete.
    OutputTextDone(TextDone<'a>),
    /// More of a refusal.
    RefusalDelta(ContentDelta<'a>),
    /// The refusal is complete.
    RefusalDone(RefusalDone<'a>),
    /// More reasoning text.
    ReasoningDelta(ContentDelta<'a>),
    /// The reasoning text is complete.
    ReasoningDone(PlacedText<'a>),
    /// A part of a reasoning summary starts.
    ReasoningSummaryPartAdded(SummaryPartEvent<'a>),
    /// More of a summary.
    ReasoningSummaryDelta(SummaryDelta<'a>),
    /// The text of the summary part is complete.
    ReasoningSummaryDone(SummaryText<'a>),
    /// The summary part is complete.
    ReasoningSummaryPartDone(SummaryPartEvent<'a>),
    /// More arguments.
    FunctionCallArgumentsDelta(ArgumentsDelta<'a>),
    /// The arguments are complete.
    FunctionCallArgumentsDone(ArgumentsDone<'a>),
    /// More input of a custom tool's call.
    CustomToolCallInputDelta(ArgumentsDelta<'a>),
    /// The input is complete.
    CustomToolCallInputDone(InputDone<'a>),
    /// A step of a tool that the upstream runs, unchanged.
    Hosted(HostedEvent),
    /// A content part is complete.
    ContentPartDone(PartEvent<'a>),
    /// An item has ended, complete or not.
    OutputItemDone(ItemEvent<'a>),
    /// The error; `response.failed` follows.
    Error(ErrorEvent),
    /// The end of a complete response.
    Completed(Snapshot<'a>),
    /// The end of a response that stopped early.
    Incomplete(Snapshot<'a>),
    /// The end of a failed response.
    Failed(Snapshot<'a>),
}

/// The whole response at this step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot<'a> {
    /// The response.
    pub response: &'a Response,
}

/// An item at its start or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemEvent<'a> {
    /// Its index in `output`.
    pub output_index: usize,
    /// The item.
    pub item: &'a Item,
}

/// A part at its start or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartEvent<'a> {
    /// Its place.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The part.
    pub part: &'a Part,
}

/// More text of an output text part. Written field by field, not flattened: one such event is
/// written for each token.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextDelta<'a> {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The part's index in `content`.
    pub content_index: usize,
    /// The new text.
    pub delta: &'a str,
    /// Its log probabilities, as the upstream sent them.
    pub logprobs: &'a [Value],
}

/// More text of a refusal or of reasoning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ContentDelta<'a> {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The part's index in `content`.
    pub content_index: usize,
    /// The new text.
    pub delta: &'a str,
}

/// An annotation of a text in Open Responses' form (`url_citation`…), as the upstream sent it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnnotationAdded<'a> {
    /// The place of the text.
    #[serde(flatten)]
    pub place: PartPlace,
    /// Its index among the text's annotations.
    pub annotation_index: usize,
    /// The annotation.
    pub annotation: &'a Value,
}

/// A part of a summary at its start or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryPartEvent<'a> {
    /// Its place.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The part.
    pub part: &'a Part,
}

/// More text of a summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryDelta<'a> {
    /// Its place.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The new text.
    pub delta: &'a str,
}

/// A whole text of a summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryText<'a> {
    /// Its place.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The text.
    pub text: &'a str,
}

/// A whole output text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextDone<'a> {
    /// Its place.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The text.
    pub text: &'a str,
    /// Its log probabilities, as the upstream sent them.
    pub logprobs: &'a [Value],
}

/// A whole text of reasoning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlacedText<'a> {
    /// Its place.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The text.
    pub text: &'a str,
}

/// A whole refusal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusalDone<'a> {
    /// Its place.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The words.
    pub refusal: &'a str,
}

/// More arguments of a function call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArgumentsDelta<'a> {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The new piece of JSON text.
    pub delta: &'a str,
}

/// The whole arguments of a function call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ArgumentsDone<'a> {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The function's name, which OpenAI's form of this event carries.
    pub name: &'a str,
    /// The arguments.
    pub arguments: &'a str,
}

/// The whole input of a custom tool's call.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct InputDone<'a> {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The input.
    pub input: &'a str,
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

impl<'a> Event<'a> {
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
    pub fn terminal(response: &'a Response) -> Self {
        let snapshot = Snapshot { response };
        match response.status {
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
