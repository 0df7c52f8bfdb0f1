//! The response so far, rebuilt from its log.

use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use crate::entry::Entry;
use crate::event::EventKind;
use crate::fault::{Fault, FaultKind};
use crate::item::{Item, Part};
use crate::response::Response;

#[derive(Deserialize)]
struct Whole {
    response: Response,
}

#[derive(Deserialize)]
struct WithItem {
    output_index: usize,
    item: Item,
}

#[derive(Deserialize)]
struct WithPart {
    output_index: usize,
    content_index: usize,
    part: Part,
}

#[derive(Deserialize)]
struct WithSummary {
    output_index: usize,
    summary_index: usize,
    #[serde(default)]
    part: Option<Part>,
    #[serde(default)]
    delta: String,
}

#[derive(Deserialize)]
struct WithAnnotation {
    output_index: usize,
    content_index: usize,
    annotation: Value,
}

#[derive(Deserialize)]
struct WithDelta {
    output_index: usize,
    #[serde(default)]
    content_index: usize,
    delta: String,
    #[serde(default)]
    logprobs: Vec<Value>,
}

/// Folds a log, or its terminal entry alone, into the response at that point. `None` if the log is
/// too short.
pub fn response(entries: &[Entry]) -> Option<Response> {
    let mut response: Option<Response> = None;
    for entry in entries {
        match entry.kind {
            EventKind::Created
            | EventKind::Queued
            | EventKind::InProgress
            | EventKind::Completed
            | EventKind::Incomplete
            | EventKind::Failed => {
                response = Some(serde_json::from_slice::<Whole>(&entry.data).ok()?.response);
            }
            EventKind::OutputItemAdded | EventKind::OutputItemDone => {
                put_item(response.as_mut()?, entry)?;
            }
            EventKind::ContentPartAdded | EventKind::ContentPartDone => {
                put_part(response.as_mut()?, entry)?;
            }
            EventKind::OutputTextDelta
            | EventKind::RefusalDelta
            | EventKind::ReasoningDelta
            | EventKind::FunctionCallArgumentsDelta
            | EventKind::CustomToolCallInputDelta => {
                add_delta(response.as_mut()?, entry)?;
            }
            EventKind::ReasoningSummaryPartAdded
            | EventKind::ReasoningSummaryPartDone
            | EventKind::ReasoningSummaryDelta => {
                put_summary(response.as_mut()?, entry)?;
            }
            EventKind::OutputTextAnnotationAdded => annotate(response.as_mut()?, entry)?,
            // The deltas before them have the content, and the terminal event after an error
            // contains it.
            EventKind::OutputTextDone
            | EventKind::RefusalDone
            | EventKind::ReasoningDone
            | EventKind::ReasoningSummaryDone
            | EventKind::FunctionCallArgumentsDone
            | EventKind::CustomToolCallInputDone
            | EventKind::Error => {}
            // The finished item of a hosted tool contains the result of these events.
            hosted => debug_assert!(hosted.is_hosted(), "every other event changes the response"),
        }
    }
    response
}

fn put_item(response: &mut Response, entry: &Entry) -> Option<()> {
    let event: WithItem = serde_json::from_slice(&entry.data).ok()?;
    match response.output.get_mut(event.output_index) {
        Some(item) => *item = event.item,
        None => response.output.push(event.item),
    }
    Some(())
}

fn put_part(response: &mut Response, entry: &Entry) -> Option<()> {
    let event: WithPart = serde_json::from_slice(&entry.data).ok()?;
    let parts = parts(response.output.get_mut(event.output_index)?)?;
    match parts.get_mut(event.content_index) {
        Some(part) => *part = event.part,
        None => parts.push(event.part),
    }
    Some(())
}

fn put_summary(response: &mut Response, entry: &Entry) -> Option<()> {
    let event: WithSummary = serde_json::from_slice(&entry.data).ok()?;
    let Item::Reasoning(reasoning) = response.output.get_mut(event.output_index)? else {
        return None;
    };
    match (reasoning.summary.get_mut(event.summary_index), event.part) {
        (Some(known), Some(part)) => *known = part,
        (None, Some(part)) => reasoning.summary.push(part),
        (Some(Part::SummaryText { text }), None) => text.push_str(&event.delta),
        (Some(_) | None, None) => return None,
    }
    Some(())
}

fn annotate(response: &mut Response, entry: &Entry) -> Option<()> {
    let event: WithAnnotation = serde_json::from_slice(&entry.data).ok()?;
    let part = parts(response.output.get_mut(event.output_index)?)?.get_mut(event.content_index)?;
    let Part::OutputText { annotations, .. } = part else { return None };
    annotations.push(event.annotation);
    Some(())
}

fn add_delta(response: &mut Response, entry: &Entry) -> Option<()> {
    let event: WithDelta = serde_json::from_slice(&entry.data).ok()?;
    let item = response.output.get_mut(event.output_index)?;
    match item {
        Item::FunctionCall(call) => {
            call.arguments.push_str(&event.delta);
            return Some(());
        }
        Item::CustomToolCall(call) => {
            call.input.push_str(&event.delta);
            return Some(());
        }
        _ => {}
    }
    match parts(item)?.get_mut(event.content_index)? {
        Part::OutputText { text, logprobs, .. } => {
            text.push_str(&event.delta);
            logprobs.extend(event.logprobs);
        }
        Part::ReasoningText { text }
        | Part::SummaryText { text }
        | Part::InputText { text, .. } => text.push_str(&event.delta),
        Part::Refusal { refusal } => refusal.push_str(&event.delta),
        Part::InputImage { .. } | Part::InputFile { .. } | Part::Opaque(_) => return None,
    }
    Some(())
}

fn parts(item: &mut Item) -> Option<&mut Vec<Part>> {
    match item {
        Item::Message(message) => Some(&mut message.content),
        Item::Reasoning(reasoning) => Some(&mut reasoning.content),
        Item::FunctionCall(_)
        | Item::FunctionCallOutput(_)
        | Item::CustomToolCall(_)
        | Item::CustomToolCallOutput(_)
        | Item::Compaction(_)
        | Item::Opaque(_) => None,
    }
}

/// The response in a terminal entry, byte for byte as the log has it.
pub fn response_json(terminal: &Entry) -> Option<&RawValue> {
    #[derive(Deserialize)]
    struct Terminal<'a> {
        #[serde(borrow)]
        response: &'a RawValue,
    }
    serde_json::from_slice::<Terminal<'_>>(&terminal.data)
        .map(|Terminal { response }| response)
        .ok()
}

/// The error of a log whose terminal entry holds no response.
pub fn unreadable() -> Fault {
    Fault::new(FaultKind::Server, "server_error", "the log's last entry is not readable")
}
