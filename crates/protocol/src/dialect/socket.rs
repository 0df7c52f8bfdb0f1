//! What a dialect adds for WebSockets: how a client's messages are read, and how a socket reports
//! errors outside a response.

use std::fmt;
use std::sync::Arc;

use serde_json::Value;

use super::definition::Dialect;
use super::message::Message;
use crate::fault::{Fault, FaultKind};
use crate::id::ResponseId;
use crate::request::Create;

/// The stream of a socket that a turn belongs to (`stream_id`). Turns of one stream run in
/// sequence; streams run concurrently. The default stream has no name.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct StreamId(Option<Arc<str>>);

impl StreamId {
    /// The stream of this name, which must need no escapes in JSON.
    pub(super) fn named(name: &str) -> Self {
        Self(Some(name.into()))
    }

    /// Its name; the default stream has none.
    pub fn name(&self) -> Option<&str> {
        self.0.as_deref()
    }
}

impl fmt::Display for StreamId {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(self.name().unwrap_or("(default)"))
    }
}

/// One message of a client.
#[derive(Clone, Debug, PartialEq)]
pub enum ClientEvent<D> {
    /// A request for a response.
    Create {
        /// The stream it belongs to.
        stream: StreamId,
        /// The request.
        create: Box<Create>,
        /// Renders the response.
        dialect: Box<D>,
        /// Whether the model is called; otherwise only an id to continue from is returned.
        generate: bool,
    },
    /// Stop a response: the one named, or the one that runs on the stream.
    Cancel {
        /// The stream it belongs to.
        stream: StreamId,
        /// The response.
        response_id: Option<ResponseId>,
    },
    /// Read a response from a position on.
    Resume {
        /// The stream it belongs to.
        stream: StreamId,
        /// The response.
        response_id: ResponseId,
        /// The position of the last event that the client has.
        starting_after: Option<u64>,
        /// Renders the response.
        dialect: Box<D>,
    },
}

/// How a socket of a dialect behaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketRules {
    /// What the client's messages are called in the reason of a close.
    pub messages: &'static str,
    /// Whether an error may be sent between the messages of a response. Otherwise the error of a
    /// refused request is queued.
    pub interleaves_errors: bool,
    /// Whether the client's messages are JSON.
    pub reads_json: bool,
    /// Whether a client can resume a response by its position.
    pub resumes: bool,
}

/// A dialect that can be used over a WebSocket. By default one text message is the body of one
/// request.
pub trait SocketDialect: Dialect + Sized + 'static {
    /// How its sockets behave.
    const RULES: SocketRules = SocketRules {
        messages: "requests",
        interleaves_errors: false,
        reads_json: true,
        resumes: false,
    };

    /// Reads one message.
    ///
    /// # Errors
    /// The first field that is wrong, by its path, and the stream it was for as far as that could
    /// be read.
    fn read_message(message: &[u8]) -> Result<ClientEvent<Self>, (StreamId, Fault)> {
        let on_default = |fault| (StreamId::default(), fault);
        let body = parse(message).map_err(on_default)?;
        let (create, dialect) = Self::read(&body).map_err(on_default)?;
        let (create, dialect) = (Box::new(create), Box::new(dialect));
        Ok(ClientEvent::Create { stream: StreamId::default(), create, dialect, generate: true })
    }

    /// The state before any entry was folded, for errors when nothing runs.
    fn unstarted() -> Self;

    /// Appends the messages that a client gets in place of a response that could not start.
    fn refuse(_stream: &StreamId, fault: &Fault, messages: &mut Vec<Message>) {
        Self::unstarted().error(fault, messages);
    }

    /// Appends the messages of an error after which the socket closes: a response's log failed.
    fn fail(&mut self, _stream: &StreamId, fault: &Fault, messages: &mut Vec<Message>) {
        self.error(fault, messages);
    }

    /// Appends the last messages of a socket whose credential has ended.
    fn revoke(&mut self, fault: &Fault, messages: &mut Vec<Message>) {
        self.error(fault, messages);
    }
}

/// A client's message as JSON.
pub(super) fn parse(message: &[u8]) -> Result<Value, Fault> {
    let message = message.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(message);
    serde_json::from_slice(message).map_err(|error| {
        Fault::new(
            FaultKind::InvalidRequest,
            "invalid_json",
            format!("The message is not JSON: {error}."),
        )
    })
}
