//! Says a log as the messages of the classic API: the role, the text piece by piece, the end, the tokens, `[DONE]`.

use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::{DONE, FAULT, TOKENS};
use crate::event::{Entry, EventKind};
use crate::fault::Fault;
use crate::response::{Response, ResponseStatus};
use crate::usage::{Usage, UsageSource};

/// At which door the answer is heard.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Door {
    /// The stream of `/createSse`: the only one that tells the number of tokens.
    Channel,
    /// The stream of `GET /chat`, whose page would take a number for JSON.
    Query,
    /// A WebSocket, whose messages have neither ids nor names.
    Socket,
}

/// One message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Said {
    /// Its id; where the frame has none, it is left out.
    pub id: String,
    /// Its name, if it is not for pages.
    pub name: Option<&'static str>,
    /// What it says: JSON, or the words of [`TOKENS`] and [`DONE`].
    pub data: Bytes,
}

/// The fold at some place in a log.
#[derive(Clone, Debug)]
pub struct Fold {
    door: Door,
    /// The answer's id; every event but the last two has it.
    id: String,
    /// Whether a text has been said.
    has_spoken: bool,
}

#[derive(Deserialize)]
struct DeltaEvent<'a> {
    #[serde(borrow)]
    delta: &'a RawValue,
}

#[derive(Deserialize)]
struct ErrorEvent {
    error: Value,
}

#[derive(Deserialize)]
struct SnapshotEvent {
    response: Response,
}

impl Fold {
    /// A fold at the start of a log.
    pub fn new(door: Door) -> Self {
        Self { door, id: String::new(), has_spoken: false }
    }

    /// Takes in one entry and appends the messages it makes.
    pub fn entry(&mut self, entry: &Entry, said: &mut Vec<Said>) {
        match entry.kind {
            EventKind::Created => self.begin(entry),
            EventKind::InProgress => said.push(self.say(Bytes::from_static(b"{\"role\":\"assistant\"}"))),
            EventKind::OutputTextDelta | EventKind::RefusalDelta => self.text(entry, said),
            EventKind::Error => {
                if let Ok(event) = serde_json::from_slice::<ErrorEvent>(&entry.data) {
                    self.fault(&Fault::from_payload(&event.error), said);
                }
            }
            EventKind::Completed | EventKind::Incomplete | EventKind::Failed => self.end(entry, said),
            // A message without `content` would erase the text, and what these say the deltas have said.
            EventKind::Queued
            | EventKind::OutputItemAdded
            | EventKind::ContentPartAdded
            | EventKind::OutputTextDone
            | EventKind::RefusalDone
            | EventKind::ReasoningDelta
            | EventKind::ReasoningDone
            | EventKind::OutputTextAnnotationAdded
            | EventKind::ReasoningSummaryPartAdded
            | EventKind::ReasoningSummaryDelta
            | EventKind::ReasoningSummaryDone
            | EventKind::ReasoningSummaryPartDone
            | EventKind::FunctionCallArgumentsDelta
            | EventKind::FunctionCallArgumentsDone
            | EventKind::CustomToolCallInputDelta
            | EventKind::CustomToolCallInputDone
            | EventKind::ContentPartDone
            | EventKind::OutputItemDone => {}
            // The classic API has nothing to tell of tools that the upstream runs.
            hosted => debug_assert!(hosted.is_hosted(), "every other event is listed"),
        }
    }

    /// Says why there is no answer, or no more of it: for programs by name, and as text that a page shows.
    pub fn fault(&mut self, fault: &Fault, said: &mut Vec<Said>) {
        if self.door != Door::Socket {
            said.push(Said { name: Some(FAULT), ..self.say(fault.object().to_string().into()) });
        }
        said.push(self.notice(&fault.message));
    }

    /// The messages behind the last of the answer: `tokens`, where the door has them, and the end.
    pub fn done(&self, tokens: &str, said: &mut Vec<Said>) {
        if self.door == Door::Channel {
            let data = format!("<br/><br/>tokens：{tokens}");
            said.push(Said { id: TOKENS.to_owned(), name: None, data: data.into() });
        }
        said.push(Said { id: DONE.to_owned(), name: None, data: Bytes::from_static(DONE.as_bytes()) });
    }

    fn begin(&mut self, entry: &Entry) {
        if let Ok(event) = serde_json::from_slice::<SnapshotEvent>(&entry.data) {
            let id = event.response.id.as_str();
            self.id = format!("chatcmpl-{}", id.strip_prefix("resp_").unwrap_or(id));
        }
    }

    fn text(&mut self, entry: &Entry, said: &mut Vec<Said>) {
        let Ok(event) = serde_json::from_slice::<DeltaEvent<'_>>(&entry.data) else { return };
        self.has_spoken = true;
        // The pages take a content of exactly this word for none at all, and drop it or what stands before it.
        let pieces: &[&str] = if event.delta.get() == "\"null\"" { &["\"nu\"", "\"ll\""] } else { &[event.delta.get()] };
        said.extend(pieces.iter().map(|piece| self.say(format!("{{\"content\":{piece}}}").into())));
    }

    fn end(&mut self, entry: &Entry, said: &mut Vec<Said>) {
        let Ok(SnapshotEvent { response }) = serde_json::from_slice(&entry.data) else { return };
        let reason = response.incomplete_details.as_ref().map_or("", |details| details.reason.as_str());
        match (response.status, reason) {
            // A stop was asked for, and the error before a failure has said why.
            (ResponseStatus::Completed | ResponseStatus::Failed | ResponseStatus::Cancelled, _) => {}
            (_, "max_output_tokens") => said.push(self.notice("The answer ends here: it has reached the limit on its length.")),
            (_, "content_filter") => said.push(self.notice("The answer ends here: a content filter stopped it.")),
            (ResponseStatus::Incomplete | ResponseStatus::InProgress | ResponseStatus::Queued, _) => {
                said.push(self.notice("The answer ended before it was whole."));
            }
        }
        if response.status != ResponseStatus::Failed {
            said.push(self.say(Bytes::from_static(b"{}")));
        }
        self.done(&tokens(response.usage), said);
    }

    /// Our own words in an answer. The pages put them into HTML, and an upstream's message may hold anything.
    fn notice(&mut self, words: &str) -> Said {
        let gap = if self.has_spoken { "\n\n" } else { "" };
        self.has_spoken = true;
        let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.say(json!({ "content": format!("{gap}{words}") }).to_string().into())
    }

    fn say(&self, data: Bytes) -> Said {
        Said { id: self.id.clone(), name: None, data }
    }
}

/// How many tokens the model wrote; what we counted ourselves is marked as that. A model that was not heard wrote none.
fn tokens(usage: Option<Usage>) -> String {
    match usage {
        Some(Usage { output_tokens, source: UsageSource::Provider, .. }) => output_tokens.to_string(),
        Some(Usage { output_tokens, source: UsageSource::Counted, .. }) => format!("≈{output_tokens}"),
        None => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests;
