//! Renders a log in its own vocabulary: every entry is one message, byte for byte.

use bytes::Bytes;
use serde_json::Value;

use super::request::read_create;
use crate::dialect::definition::Dialect;
use crate::dialect::message::{Description, Message, Partial, StreamEnd};
use crate::dialect::openai;
use crate::entry::Entry;
use crate::event::EventKind;
use crate::fault::Fault;
use crate::request::Create;
use crate::snapshot;

/// The dialect of Open Responses. It has no state: the log is its stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Responses;

/// Its name and its frames.
pub const DESCRIPTION: Description =
    Description { name: "responses", frames: &["json", "ndjson", "sse", "websocket"] };

impl Dialect for Responses {
    fn description(&self) -> &'static Description {
        &DESCRIPTION
    }

    fn read(body: &Value) -> Result<(Create, Self), Fault> {
        read_create(body).map(|create| (create, Self))
    }

    fn fold(&mut self, entry: &Entry, messages: &mut Vec<Message>) {
        let (name, position) = (Some(entry.kind.as_str()), Some(entry.position));
        messages.push(Message { name, id: None, position, data: entry.data.clone() });
    }

    fn whole(&self, terminal: &Entry) -> Result<Bytes, Fault> {
        let response = snapshot::response_json(terminal).ok_or_else(snapshot::unreadable)?;
        Ok(terminal.data.slice_ref(response.get().as_bytes()))
    }

    fn partial(&self, terminal: &Entry) -> Option<Partial> {
        let response = snapshot::response_json(terminal)?;
        Some(Partial {
            field: "response",
            json: terminal.data.slice_ref(response.get().as_bytes()),
        })
    }

    fn error(&mut self, fault: &Fault, messages: &mut Vec<Message>) {
        let name = EventKind::Error.as_str();
        let mut event = serde_json::Map::new();
        event.insert("type".into(), name.into());
        event.insert("error".into(), fault.payload());
        messages.push(Message {
            name: Some(name),
            data: Value::Object(event).to_string().into(),
            ..Message::default()
        });
    }

    fn end(&self) -> StreamEnd {
        StreamEnd::Clean { sentinel: Some(openai::DONE) }
    }
}
