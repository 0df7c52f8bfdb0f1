//! The turns of a socket: starts them, reads their logs, and writes their messages.

use std::sync::Arc;

use codec::Frame;
use codec::websocket::CloseCode;
use codec::websocket::text::Text;
use engine::feed::Feed;
use engine::log::LogError;
use engine::response::fault::log_fault;
use engine::response::options::SocketContext;
use futures_util::future::FutureExt;
use lens::live::ResponseBytes;
use protocol::dialect::{Dialect, SocketDialect, StreamId};
use protocol::entry::Entry;
use protocol::fault::Fault;
use protocol::request::Create;

use super::api::{SocketApi, SocketTurn};
use super::connection::Exit;
use super::queues::QueuedTurn;
use super::session::{SocketReader, WebSocketSession};

/// How many bytes of events that are ready go out in one write.
const WRITE: usize = 64 << 10;

impl<A: SocketApi> WebSocketSession<A> {
    /// Starts the turns that may start.
    pub(super) async fn start_ready(&mut self) -> Option<Exit> {
        while let Some((stream, turn)) = self.queues.take() {
            if let Err(fault) = self.grant.check() {
                return Some(self.revoke(&fault));
            }
            match self.start(&stream, turn).await {
                Ok((feed, dialect)) => {
                    let counted = self.app.metrics.stream(Text.name(), dialect.description().name);
                    self.dialects.insert(stream.clone(), dialect);
                    if let Some(connection) = &self.connection {
                        feed.set_connection(connection.id());
                    }
                    self.tail(stream, SocketReader { feed, _counted: counted });
                }
                Err(fault) => {
                    self.refuse(&stream, &fault);
                    self.queues.done(&stream);
                }
            }
        }
        None
    }

    async fn start(
        &mut self,
        stream: &StreamId,
        turn: QueuedTurn<A::Dialect>,
    ) -> Result<(Feed, A::Dialect), Fault> {
        if self.end.is_none() && !turn.is_resume() {
            return Err(self.too_old());
        }
        match turn {
            QueuedTurn::Refused(fault) => Err(fault),
            QueuedTurn::Resume { response_id, starting_after, dialect } => {
                let feed = self.app.engine.feed(&self.owner, &response_id, starting_after).await?;
                self.queues.runs(stream, response_id);
                Ok((feed, *dialect))
            }
            QueuedTurn::Create { create, dialect, generate, bytes } => {
                let parent = create.previous_response_id.clone();
                let socket =
                    SocketContext { history: Arc::clone(&self.history), lane: stream.clone() };
                let turn = SocketTurn { socket, generate, trace: self.trace.clone(), bytes };
                let feed = self.create(stream, *create, turn).await;
                if let (Err(_), Some(parent)) = (&feed, parent) {
                    self.history.evict(stream, &parent);
                }
                Ok((feed?, *dialect))
            }
        }
    }

    async fn create(
        &mut self,
        stream: &StreamId,
        mut create: Create,
        turn: SocketTurn,
    ) -> Result<Feed, Fault> {
        let terms = self.api.terms(&self.app, &mut create, turn).await?;
        let started = self.app.engine.start(&self.owner, create, terms).await?;
        self.queues.runs(stream, started.id);
        Ok(started.feed)
    }

    fn tail(&mut self, stream: StreamId, mut reading: SocketReader) {
        let fed = async move {
            let entries = reading.feed.next(WRITE).await;
            (stream, reading, entries)
        };
        self.feeds.push(fed.boxed());
    }

    pub(super) fn fed(
        &mut self,
        stream: StreamId,
        reading: SocketReader,
        entries: Result<Option<Vec<Entry>>, LogError>,
    ) -> Option<Exit> {
        let dialect = self.dialects.get_mut(&stream)?;
        let entries = match entries {
            Ok(entries) => entries,
            Err(error) => {
                dialect.fail(&stream, &log_fault(error), &mut self.messages);
                self.write(&StreamId::default(), 0);
                return Some(Exit::Close(CloseCode::INTERNAL, "the response's log failed".into()));
            }
        };
        let mut text = 0;
        for entry in entries.iter().flatten() {
            let before = self.messages.len();
            dialect.fold(entry, &mut self.messages);
            text += if self.messages.len() > before { entry.text_bytes() } else { 0 };
        }
        self.write(&stream, text);
        if entries.is_none() || reading.feed.is_at_end() {
            self.dialects.remove(&stream);
            self.queues.done(&stream);
        } else {
            self.tail(stream, reading);
        }
        None
    }

    /// Writes the messages that are ready; `text` bytes of them are the model's text. The name of
    /// the stream stands first in each, where it has one.
    fn write(&mut self, stream: &StreamId, text: usize) {
        let mut messages = std::mem::take(&mut self.messages);
        let (events, mut bytes) = (messages.len() as u64, 0);
        // A name has no character that JSON would escape, and a message of a named stream is an
        // object that is not empty.
        let prefix =
            stream.name().map(|name| format!("{{\"stream_id\":\"{name}\",")).unwrap_or_default();
        let skipped = usize::from(!prefix.is_empty());
        for message in messages.drain(..) {
            let rest = message.data.get(skipped..).unwrap_or_default();
            bytes += prefix.len() + rest.len();
            self.socket.out.text(prefix.as_bytes(), rest);
        }
        self.messages = messages;
        if let Some(connection) = &self.connection {
            let dialect = bytes.saturating_sub(text) as u64;
            connection.timeline().add_response_bytes(ResponseBytes {
                events,
                framing: 0,
                dialect,
                text: text as u64,
            });
        }
    }

    /// The client gets an error in place of a response.
    pub(super) fn refuse(&mut self, stream: &StreamId, fault: &Fault) {
        A::Dialect::refuse(stream, fault, &mut self.messages);
        self.write(&StreamId::default(), 0);
    }

    /// The credential that opened the socket has ended: its turns must stop.
    pub(super) fn revoke(&mut self, fault: &Fault) -> Exit {
        let running = self.dialects.remove(&StreamId::default());
        running.unwrap_or_else(A::Dialect::unstarted).revoke(fault, &mut self.messages);
        self.write(&StreamId::default(), 0);
        Exit::Close(CloseCode::POLICY, "the key or session is no longer valid".into())
    }
}
