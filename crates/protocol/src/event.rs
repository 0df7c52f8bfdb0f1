//! The canonical events, and the entry: an event serialised once, with its position.

use bytes::Bytes;
use memchr::{memchr, memchr2, memmem};
use serde::Serialize;
use serde_json::Value;

use crate::extra::Extra;
use crate::fault::Fault;
use crate::id::ItemId;
use crate::item::{Item, Part};
use crate::response::{Response, ResponseStatus};

mod kind;

pub use kind::{EventKind, PREAMBLE};

/// Where in an answer a part stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct PartPlace {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The part's index in `content`.
    pub content_index: usize,
}

/// Where in an answer a part of a summary stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct SummaryPlace {
    /// The item's id.
    pub item_id: ItemId,
    /// The item's index in `output`.
    pub output_index: usize,
    /// The part's index in `summary`.
    pub summary_index: usize,
}

/// One step of an answer. Serialises to the fields behind `type` and `sequence_number`.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(untagged)]
pub enum Event {
    /// The response exists.
    Created(Snapshot),
    /// It waits for its turn.
    Queued(Snapshot),
    /// The model was asked.
    InProgress(Snapshot),
    /// An item begins.
    OutputItemAdded(ItemEvent),
    /// A content part begins.
    ContentPartAdded(PartEvent),
    /// More text.
    OutputTextDelta(TextDelta),
    /// What the text rests on.
    OutputTextAnnotationAdded(AnnotationAdded),
    /// The text is whole.
    OutputTextDone(TextDone),
    /// More of a refusal.
    RefusalDelta(ContentDelta),
    /// The refusal is whole.
    RefusalDone(RefusalDone),
    /// More thoughts.
    ReasoningDelta(ContentDelta),
    /// The thoughts are whole.
    ReasoningDone(PlacedText),
    /// A part of a summary of thoughts begins.
    ReasoningSummaryPartAdded(SummaryPartEvent),
    /// More of a summary.
    ReasoningSummaryDelta(SummaryDelta),
    /// The summary's part is whole, as text.
    ReasoningSummaryDone(SummaryText),
    /// The summary's part is whole.
    ReasoningSummaryPartDone(SummaryPartEvent),
    /// More arguments.
    FunctionCallArgumentsDelta(ArgumentsDelta),
    /// The arguments are whole.
    FunctionCallArgumentsDone(ArgumentsDone),
    /// More input of a custom tool's call.
    CustomToolCallInputDelta(ArgumentsDelta),
    /// The input is whole.
    CustomToolCallInputDone(InputDone),
    /// A step of a tool that the upstream runs, as it came.
    Hosted(HostedEvent),
    /// A content part is whole.
    ContentPartDone(PartEvent),
    /// An item is whole, or as whole as it will be.
    OutputItemDone(ItemEvent),
    /// What went wrong; `response.failed` follows.
    Error(ErrorEvent),
    /// The end: whole.
    Completed(Snapshot),
    /// The end: early, for a reason.
    Incomplete(Snapshot),
    /// The end: an error.
    Failed(Snapshot),
}

/// The whole response at this step.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Snapshot {
    /// The response.
    pub response: Box<Response>,
}

/// An item at its begin or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ItemEvent {
    /// Its index in `output`.
    pub output_index: usize,
    /// The item.
    pub item: Item,
}

/// A part at its begin or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PartEvent {
    /// Where it stands.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The part.
    pub part: Part,
}

/// More text of an output text part. Written field by field, not flattened: it is the event a token costs.
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
    /// Its log probabilities, as they came from upstream.
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

/// What a text rests on, in Open Responses' form (`url_citation`…), as it came from upstream.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct AnnotationAdded {
    /// Where the text stands.
    #[serde(flatten)]
    pub place: PartPlace,
    /// Its index among the text's annotations.
    pub annotation_index: usize,
    /// The annotation.
    pub annotation: Value,
}

/// A part of a summary at its begin or end.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryPartEvent {
    /// Where it stands.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The part.
    pub part: Part,
}

/// More text of a summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryDelta {
    /// Where it stands.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The new text.
    pub delta: String,
}

/// A whole text of a summary.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SummaryText {
    /// Where it stands.
    #[serde(flatten)]
    pub place: SummaryPlace,
    /// The text.
    pub text: String,
}

/// A whole output text.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TextDone {
    /// Where it stands.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The text.
    pub text: String,
    /// Its log probabilities, as they came from upstream.
    pub logprobs: Vec<Value>,
}

/// A whole text of reasoning.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct PlacedText {
    /// Where it stands.
    #[serde(flatten)]
    pub place: PartPlace,
    /// The text.
    pub text: String,
}

/// A whole refusal.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct RefusalDone {
    /// Where it stands.
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

/// An error in the stream: Open Responses' nested object and OpenAI's flat fields, so that either reader is served.
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
    /// An `error` event that says what `fault` says.
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
            // There is no `response.cancelled` in the vocabulary: a cancel is an early end whose status says so.
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

/// What stands before the text of a delta.
const DELTA: &[u8] = b",\"delta\":\"";

/// An event as the log holds it: serialised once, by the writer, and shared by every reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position, which is its `sequence_number`.
    pub position: u64,
    /// Its `type`.
    pub kind: EventKind,
    /// The event as JSON without line breaks: the `data` of every frame.
    pub data: Bytes,
}

impl Entry {
    /// Serialises `event` at `position`: `{"type":…,"sequence_number":…,…}`.
    pub fn new(position: u64, event: &Event) -> Self {
        let kind = event.kind();
        // A token's event is some 200 bytes; a larger one grows the buffer by itself.
        let mut data = Vec::with_capacity(256);
        data.extend_from_slice(b"{\"type\":\"");
        data.extend_from_slice(kind.as_str().as_bytes());
        data.extend_from_slice(b"\",\"sequence_number\":");
        data.extend_from_slice(position.to_string().as_bytes());
        let fields = data.len();
        // Strings, numbers and maps with text keys always serialise; were that ever wrong, the event is its head alone.
        if serde_json::to_writer(&mut data, event).is_ok() && data.get(fields) == Some(&b'{') {
            if let Some(brace) = data.get_mut(fields) {
                *brace = b',';
            }
        } else {
            data.truncate(fields);
            data.push(b'}');
        }
        Self { position, kind, data: data.into() }
    }

    /// How many bytes of `data` are the model's text, as JSON writes it: what a delta holds between its quotes.
    pub fn text_bytes(&self) -> usize {
        match self.kind {
            EventKind::OutputTextDelta
            | EventKind::RefusalDelta
            | EventKind::ReasoningDelta
            | EventKind::ReasoningSummaryDelta
            | EventKind::FunctionCallArgumentsDelta
            | EventKind::CustomToolCallInputDelta => {}
            _ => return 0,
        }
        let Some(start) = memmem::find(&self.data, DELTA).map(|field| field + DELTA.len()) else {
            return 0;
        };
        let text = &self.data[start..];
        let mut end = 0;
        while let Some(found) = memchr2(b'"', b'\\', &text[end..]) {
            end += found;
            if text[end] == b'"' {
                return end;
            }
            // What is escaped is one more byte, and no quote that ends.
            end = (end + 2).min(text.len());
        }
        0
    }

    /// An entry whose `data` was written before, by [`Entry::new`]. `None` if it is not an event at `position`.
    pub fn read(position: u64, data: Bytes) -> Option<Self> {
        let data = renamed(data);
        let rest = data.strip_prefix(b"{\"type\":\"")?;
        let quote = memchr(b'"', rest)?;
        let (name, rest) = rest.split_at_checked(quote)?;
        let rest = rest.strip_prefix(b"\",\"sequence_number\":")?;
        let rest = rest.strip_prefix(position.to_string().as_bytes())?;
        let kind = EventKind::parse(name)?;
        matches!(rest.first(), Some(b',' | b'}')).then_some(Self { position, kind, data })
    }
}

/// Gives events that an earlier version wrote under another name the name that they have now.
fn renamed(data: Bytes) -> Bytes {
    const RENAMED: [(&[u8], EventKind); 2] = [
        (b"{\"type\":\"response.reasoning.delta\"", EventKind::ReasoningDelta),
        (b"{\"type\":\"response.reasoning.done\"", EventKind::ReasoningDone),
    ];
    for (before, kind) in RENAMED {
        if let Some(rest) = data.strip_prefix(before) {
            return [b"{\"type\":\"", kind.as_str().as_bytes(), b"\"", rest].concat().into();
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_of_earlier_versions_get_their_new_names() {
        let old = Bytes::from_static(
            b"{\"type\":\"response.reasoning.delta\",\"sequence_number\":4,\"delta\":\"hm\"}",
        );
        let entry = Entry::read(4, old).unwrap();
        assert_eq!(entry.kind, EventKind::ReasoningDelta);
        assert_eq!(
            entry.data,
            "{\"type\":\"response.reasoning_text.delta\",\"sequence_number\":4,\"delta\":\"hm\"}"
        );
    }

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        let delta = TextDelta {
            item_id: ItemId::new("msg_1"),
            output_index: 0,
            content_index: 0,
            delta: "\"}, \u{4f60}".into(),
            logprobs: Vec::new(),
        };
        let entry = Entry::new(17, &Event::OutputTextDelta(delta));
        assert_eq!(Entry::read(17, entry.data.clone()), Some(entry.clone()));
        for wrong in [1, 7, 16, 170] {
            assert_eq!(Entry::read(wrong, entry.data.clone()), None, "{wrong}");
        }
        for cut in 0..50 {
            assert_eq!(Entry::read(17, entry.data.slice(..cut)), None, "{cut}");
        }
    }

    #[test]
    fn the_text_of_a_delta_is_told_from_the_json_around_it() {
        for text in ["", "Hello", "\\", "a\"b", "\u{4f60}\u{597d}", "x\\\"", "\n,\"delta\":\""] {
            let delta = ContentDelta {
                item_id: ItemId::new("msg_1"),
                output_index: 0,
                content_index: 0,
                delta: text.into(),
            };
            let expected = serde_json::to_string(text).unwrap().len() - 2;
            assert_eq!(
                Entry::new(3, &Event::ReasoningDelta(delta)).text_bytes(),
                expected,
                "{text:?}"
            );
        }
    }

    #[test]
    fn every_kind_is_known_by_its_name() {
        for kind in EventKind::ALL {
            assert_eq!(EventKind::parse(kind.as_str().as_bytes()), Some(*kind));
        }
        assert_eq!(EventKind::parse(b"response.other"), None);
    }
}
