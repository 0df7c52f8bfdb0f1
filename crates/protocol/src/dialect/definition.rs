//! The trait of the dialects. How to add one: `docs/adding/a-dialect.md`.

use bytes::Bytes;
use serde_json::Value;

use super::message::{Description, KeepAlive, Message, Partial, StreamEnd};
use super::openai;
use crate::entry::Entry;
use crate::event::PREAMBLE;
use crate::fault::{Fault, FaultKind};
use crate::request::Create;

/// An API's vocabulary and the state of one reader of one response: a deterministic fold over the
/// log. Pure: no I/O and no clock.
pub trait Dialect: Send + Sync {
    /// Its name and its frames.
    fn description(&self) -> &'static Description;

    /// Reads the body of a request: the neutral request, and the dialect that renders its response.
    /// A dialect whose requests name no model leaves it empty, for the handler to fill in.
    ///
    /// # Errors
    /// The first field that is wrong, by its path.
    fn read(body: &Value) -> Result<(Create, Self), Fault>
    where
        Self: Sized;

    /// Takes in one entry and appends the messages that it makes: none, one or several. Resuming at
    /// a position folds the entries before it and drops their messages.
    fn fold(&mut self, entry: &Entry, messages: &mut Vec<Message>);

    /// The whole response as one document, from the terminal entry of its log. A dialect that only
    /// streams has none.
    ///
    /// # Errors
    /// It did not end in a way that this dialect can represent, so the client gets an error.
    fn whole(&self, _terminal: &Entry) -> Result<Bytes, Fault> {
        let message = format!("the API '{}' only streams", self.description().name);
        Err(Fault::new(FaultKind::Server, "server_error", message))
    }

    /// The output of a response that failed, from the terminal entry of its log, where the dialect
    /// can render that.
    fn partial(&self, _terminal: &Entry) -> Option<Partial> {
        None
    }

    /// The body of an HTTP error.
    fn error_body(fault: &Fault, partial: Option<Partial>) -> String
    where
        Self: Sized,
    {
        openai::error_body(fault, partial)
    }

    /// Appends the messages of an error outside the log: the log itself failed, or the reader's
    /// credential has ended. They have no position (promise 1).
    fn error(&mut self, fault: &Fault, messages: &mut Vec<Message>);

    /// How the stream ends now that every entry was folded.
    fn end(&self) -> StreamEnd;

    /// The keep-alive of an idle stream.
    fn keep_alive(&self) -> KeepAlive {
        KeepAlive::Frame
    }

    /// The position of the first entry that is output for its clients. Until that entry exists a
    /// response can still be refused by its status, and a retry costs nothing (promise 8).
    fn first_output(&self) -> u64 {
        PREAMBLE.len() as u64
    }
}
