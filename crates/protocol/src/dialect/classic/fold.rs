//! Renders a log as the messages of the classic API: the role, the text piece by piece, the end,
//! the tokens, `[DONE]`.

use std::sync::Arc;

use bytes::Bytes;
use serde::Deserialize;
use serde_json::{Value, json};

use super::question::{create, read_question};
use crate::dialect::definition::Dialect;
use crate::dialect::message::{Description, Message, StreamEnd};
use crate::dialect::outline::Outline;
use crate::dialect::socket::{ClientEvent, SocketDialect, SocketRules, StreamId};
use crate::entry::Entry;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::request::Create;
use crate::response::ResponseStatus;
use crate::usage::{Usage, UsageSource};

/// The id of the message with the number of tokens.
pub const TOKENS: &str = "[TOKENS]";

/// The last message: its id and its data.
pub const DONE: &str = "[DONE]";

/// The event that has the cause of a failure, for programs. It is not called `error`, which would
/// call a page's `onerror`.
pub const FAULT: &str = "fault";

/// The transports of the classic API.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// The stream of `/createSse`: the only one that has the number of tokens.
    Channel,
    /// The stream of `GET /chat`, whose page would take a number for JSON.
    Query,
    /// A WebSocket, whose messages have neither ids nor names.
    Socket,
}

/// The state of rendering.
#[derive(Clone, Debug)]
pub struct Classic {
    transport: Transport,
    /// The id of every message but the last two.
    id: Arc<str>,
    /// Whether any text was rendered.
    has_text: bool,
}

#[derive(Deserialize)]
struct ErrorEvent {
    error: Value,
}

/// Its name and its frames.
pub const DESCRIPTION: Description = Description { name: "classic", frames: &["sse", "websocket"] };

impl Dialect for Classic {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn read(body: &Value) -> Result<(Create, Self), Fault> {
        Ok((create("", read_question(body)?), Self::new(Transport::Channel)))
    }

    fn fold(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        self.render(entry, messages);
    }

    fn error(&mut self, fault: &Fault, messages: &mut Vec<Message>) {
        self.fault(fault, messages);
    }

    /// `[DONE]` is a message here, with an id.
    fn end(&self) -> StreamEnd {
        StreamEnd::Clean { sentinel: None }
    }
}

impl SocketDialect for Classic {
    const RULES: SocketRules = SocketRules {
        messages: "questions",
        interleaves_errors: false,
        reads_json: false,
        resumes: false,
    };

    /// A message is a question, as it was typed.
    fn read_message(message: &[u8]) -> Result<ClientEvent<Self>, (StreamId, Fault)> {
        let question = String::from_utf8_lossy(message).into_owned();
        if question.trim().is_empty() {
            return Err((
                StreamId::default(),
                Fault::invalid("invalid_value", "msg", "The question is blank."),
            ));
        }
        let (create, dialect) = (Box::new(create("", question)), Box::new(Self::unstarted()));
        Ok(ClientEvent::Create { stream: StreamId::default(), create, dialect, generate: true })
    }

    fn unstarted() -> Self {
        Self::new(Transport::Socket)
    }

    fn refuse(_stream: &StreamId, fault: &Fault, messages: &mut Vec<Message>) {
        let mut dialect = Self::unstarted();
        dialect.fault(fault, messages);
        dialect.done("0", messages);
    }

    /// On a socket an error has no place for its code, and no `[DONE]` follows: the response is not
    /// complete.
    fn revoke(&mut self, fault: &Fault, messages: &mut Vec<Message>) {
        let fault =
            Fault { message: format!("{} ({})", fault.message, fault.code), ..fault.clone() };
        self.fault(&fault, messages);
    }
}

impl Classic {
    /// The dialect at the start of a log.
    pub fn new(transport: Transport) -> Self {
        Self { transport, id: Arc::default(), has_text: false }
    }

    fn render(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        match entry.kind {
            EventKind::Created => self.start(entry),
            EventKind::InProgress => {
                messages.push(self.message(Bytes::from_static(b"{\"role\":\"assistant\"}")));
            }
            EventKind::OutputTextDelta | EventKind::RefusalDelta => self.text(entry, messages),
            EventKind::Error => {
                if let Ok(event) = serde_json::from_slice::<ErrorEvent>(&entry.data) {
                    self.fault(&Fault::from_payload(&event.error), messages);
                }
            }
            EventKind::Completed | EventKind::Incomplete | EventKind::Failed => {
                self.finish(entry, messages);
            }
            // A message without `content` would erase the text, and the content of these was in the
            // deltas.
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
            // The classic API has no message for tools that the upstream runs.
            hosted => debug_assert!(hosted.is_hosted(), "every other event is listed"),
        }
    }

    /// Why there is no response, or no more of it: for programs by name, and as text that a page
    /// shows.
    fn fault(&mut self, fault: &Fault, messages: &mut Vec<Message>) {
        if self.transport != Transport::Socket {
            messages.push(Message {
                name: Some(FAULT),
                ..self.message(fault.object().to_string().into())
            });
        }
        messages.push(self.notice(&fault.message));
    }

    /// The messages after the last of the response: `tokens`, where the transport has them, and the
    /// end.
    fn done(&self, tokens: &str, messages: &mut Vec<Message>) {
        if self.transport == Transport::Channel {
            let data = format!("<br/><br/>tokens：{tokens}");
            messages.push(Message {
                id: Some(TOKENS.into()),
                data: data.into(),
                ..Message::default()
            });
        }
        messages.push(Message {
            id: Some(DONE.into()),
            data: Bytes::from_static(DONE.as_bytes()),
            ..Message::default()
        });
    }

    fn start(&mut self, entry: &Entry) {
        if let Some(outline) = Outline::read(entry) {
            let id = outline.id.as_str();
            self.id = format!("chatcmpl-{}", id.strip_prefix("resp_").unwrap_or(id)).into();
        }
    }

    fn text(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        let Some(delta) = entry.delta() else { return };
        self.has_text = true;
        // The pages treat a content of exactly this word as empty, and drop it or the text before
        // it.
        let pieces: &[&[u8]] =
            if delta == b"\"null\"" { &[b"\"nu\"", b"\"ll\""] } else { &[delta] };
        messages.extend(
            pieces
                .iter()
                .map(|piece| self.message([b"{\"content\":", *piece, b"}"].concat().into())),
        );
    }

    fn finish(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        let Some(response) = Outline::read(entry) else { return };
        match (response.status, response.reason()) {
            // A stop was requested, and the error before a failure has its cause.
            (ResponseStatus::Completed | ResponseStatus::Failed | ResponseStatus::Cancelled, _) => {
            }
            (_, "max_output_tokens") => messages
                .push(self.notice("The answer ends here: it has reached the limit on its length.")),
            (_, "content_filter") => {
                messages.push(self.notice("The answer ends here: a content filter stopped it."));
            }
            (
                ResponseStatus::Incomplete | ResponseStatus::InProgress | ResponseStatus::Queued,
                _,
            ) => {
                messages.push(self.notice("The answer was cut off before it was complete."));
            }
        }
        if response.status != ResponseStatus::Failed {
            messages.push(self.message(Bytes::from_static(b"{}")));
        }
        self.done(&tokens(response.usage), messages);
    }

    /// A text of Weir's in a response. The pages put it into HTML, and an upstream's message may
    /// hold anything.
    fn notice(&mut self, words: &str) -> Message {
        let gap = if self.has_text { "\n\n" } else { "" };
        self.has_text = true;
        let words = words.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;");
        self.message(json!({ "content": format!("{gap}{words}") }).to_string().into())
    }

    fn message(&self, data: Bytes) -> Message {
        Message { id: Some(Arc::clone(&self.id)), data, ..Message::default() }
    }
}

/// The number of tokens that the model wrote; a number that Weir counted is marked as that. Without
/// usage it wrote none.
fn tokens(usage: Option<Usage>) -> String {
    match usage {
        Some(Usage { output_tokens, source: UsageSource::Provider, .. }) => {
            output_tokens.to_string()
        }
        Some(Usage { output_tokens, source: UsageSource::Counted, .. }) => {
            format!("≈{output_tokens}")
        }
        None => "0".to_owned(),
    }
}

#[cfg(test)]
mod tests;
