//! The one loop that delivers responses over bodies: reads the log, watches the client, and keeps
//! an idle stream alive.

use std::any::Any;
use std::time::Duration;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use codec::Frame;
use engine::instruments::counter::GaugeGuard;
use futures_util::stream::unfold;
use http::{HeaderName, HeaderValue};
use protocol::dialect::{Dialect, KeepAlive, Message, StreamEnd};
use protocol::entry::Entry;
use protocol::fault::Fault;
use tokio::time::{Instant, sleep_until};

use super::breaking::LastChunk;
use super::client::{Aborted, Client, head};
use super::framing::framed;
use super::source::{Source, Step};
use crate::app::App;
use crate::grants::revoked;
use crate::http::context::RequestContext;
use crate::listen::Signal;

/// A response on its way to a client.
pub(crate) struct Delivery {
    pub(crate) app: App,
    pub(crate) context: RequestContext,
    pub(crate) source: Source,
    pub(crate) dialect: Box<dyn Dialect>,
    pub(crate) frame: &'static dyn Frame,
    /// Sent at once, in place of the frame's start.
    pub(crate) greeting: Option<Message>,
    /// After this long without a write a heartbeat is sent.
    pub(crate) heartbeat: Duration,
    /// Dropped when the response has ended.
    pub(crate) guard: Option<Box<dyn Any + Send>>,
}

impl Delivery {
    /// The delivery of a response, without a greeting.
    pub(crate) fn new(
        app: &App,
        context: RequestContext,
        source: Source,
        dialect: Box<dyn Dialect>,
        frame: &'static dyn Frame,
    ) -> Self {
        Self {
            app: app.clone(),
            context,
            source,
            dialect,
            frame,
            greeting: None,
            heartbeat: app.config.heartbeat,
            guard: None,
        }
    }

    /// The response as a streamed body. Its head is sent immediately, with the first event or, if
    /// none is ready, a keep-alive.
    pub(crate) fn respond(self) -> Response {
        let content_type = self.frame.content_type();
        let stream = ResponseStream::new(self);
        let body = Body::from_stream(unfold(stream, |mut stream| async move {
            stream.next().await.map(|bytes| (bytes, stream))
        }));
        // Asks intermediaries to pass the body on as it comes (draft-ietf-httpbis-incremental,
        // approved as a Proposed Standard).
        let incremental =
            [(HeaderName::from_static("incremental"), HeaderValue::from_static("?1"))];
        (head(content_type), incremental, body).into_response()
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum StreamState {
    Running,
    /// Everything was delivered; the body ends.
    Over,
    /// The body must be aborted.
    Aborted,
}

/// The next event of a stream.
enum StreamInput {
    Source(Step),
    Signal(Signal),
    Silence,
    ShuttingDown,
    /// The stream still waits for its request, and its time is over.
    Expired,
    Revoked,
}

struct ResponseStream {
    delivery: Delivery,
    client: Client,
    state: StreamState,
    has_started: bool,
    /// Whether it has handled the shutdown of the server.
    is_shutting_down: bool,
    /// When a stream that still waits for its request is closed.
    expires: Option<Instant>,
    last_chunk: Option<LastChunk>,
    messages: Vec<Message>,
    /// Counts the stream as open, from its request on.
    counted: Option<GaugeGuard>,
}

impl ResponseStream {
    fn new(delivery: Delivery) -> Self {
        let context = &delivery.context;
        delivery.source.set_connection(context.connection.as_ref());
        let client =
            Client::new(context.connection.clone(), context.is_http_1_0, delivery.heartbeat);
        let counted = (!delivery.source.is_waiting()).then(|| count(&delivery));
        Self {
            delivery,
            client,
            state: StreamState::Running,
            has_started: false,
            is_shutting_down: false,
            expires: None,
            last_chunk: None,
            messages: Vec::new(),
            counted,
        }
    }

    /// The next bytes: whole messages only, all that are ready.
    async fn next(&mut self) -> Option<Result<Bytes, Aborted>> {
        let mut out = BytesMut::new();
        if !std::mem::replace(&mut self.has_started, true) {
            self.start(&mut out);
        }
        while out.is_empty() {
            match self.state {
                StreamState::Running => {}
                StreamState::Over => return None,
                StreamState::Aborted => {
                    if let Some(last_chunk) = &self.last_chunk {
                        last_chunk.sent(self.client.connection()).await;
                    }
                    return Some(Err(self.client.cut()));
                }
            }
            match self.wait().await {
                StreamInput::Source(step) => self.step(step, &mut out),
                StreamInput::Revoked => self.fail(&revoked(), &mut out),
                StreamInput::Signal(Signal::Fin) => {
                    self.client.half_closed();
                    self.keep_alive(&mut out);
                }
                StreamInput::Signal(Signal::Reset) => return Some(Err(Aborted)),
                StreamInput::Silence => {
                    self.client.restart_silence();
                    self.keep_alive(&mut out);
                }
                StreamInput::ShuttingDown => self.prepare_shutdown(&mut out),
                StreamInput::Expired => self.finish(StreamState::Over),
            }
        }
        self.client.wrote(out.len());
        let out = out.freeze();
        Some(Ok(if self.state == StreamState::Aborted {
            self.last_chunk.insert(LastChunk::default()).track(out)
        } else {
            out
        }))
    }

    async fn wait(&mut self) -> StreamInput {
        let (signal, expires) = (self.client.signal(), self.expires);
        let is_waiting = self.delivery.source.is_waiting();
        tokio::select! {
            biased;
            _ = self.delivery.context.grant.ended() => StreamInput::Revoked,
            signal = signal => StreamInput::Signal(signal),
            step = self.delivery.source.next() => StreamInput::Source(step),
            () = self.client.silence.as_mut() => StreamInput::Silence,
            () = self.delivery.app.drain.draining(), if !self.is_shutting_down => StreamInput::ShuttingDown,
            () = sleep_until(expires.unwrap_or_else(Instant::now)), if is_waiting && expires.is_some() => StreamInput::Expired,
        }
    }

    /// Writes the frame's start, and a keep-alive if no message is ready.
    fn start(&mut self, out: &mut BytesMut) {
        match self.delivery.greeting.take() {
            Some(greeting) => self.write(&greeting, out),
            None => self.delivery.frame.start(out),
        }
        if out.is_empty() && !self.delivery.source.is_ready() {
            self.keep_alive(out);
        }
    }

    fn step(&mut self, step: Step, out: &mut BytesMut) {
        match step {
            Step::Requested(feed) => {
                self.counted = Some(count(&self.delivery));
                self.delivery.source = Source::Starting(feed);
            }
            Step::Started(feed) => {
                self.delivery.source = Source::Log(feed);
                self.delivery.source.set_connection(self.client.connection());
            }
            Step::Entries(entries) => self.deliver(&entries, out),
            Step::End => self.end(out),
            Step::NoResponse => self.finish(StreamState::Over),
            Step::Failed(fault) => self.fail(&fault, out),
        }
    }

    fn deliver(&mut self, entries: &[Entry], out: &mut BytesMut) {
        for entry in entries {
            self.delivery.dialect.fold(entry, &mut self.messages);
            if !self.messages.is_empty() {
                self.client.written.text += entry.text_bytes() as u64;
            }
            self.write_messages(out);
        }
        if self.delivery.source.is_at_end() {
            self.end(out);
        }
    }

    fn end(&mut self, out: &mut BytesMut) {
        match self.delivery.dialect.end() {
            StreamEnd::Abort => self.abort(out),
            StreamEnd::Clean { sentinel } => {
                self.delivery.frame.end(out, sentinel.map(str::as_bytes));
                self.finish(StreamState::Over);
            }
        }
    }

    /// The log failed, or the reader's key was revoked: an error without a position, then the
    /// connection is aborted (promise 1).
    fn fail(&mut self, fault: &Fault, out: &mut BytesMut) {
        self.delivery.dialect.error(fault, &mut self.messages);
        self.write_messages(out);
        self.abort(out);
    }

    /// Fails the body after `out`, which must not be empty: hyper drops unflushed bytes when a body
    /// fails, and waiting for this last chunk proves that everything before it was sent.
    fn abort(&mut self, out: &mut BytesMut) {
        if out.is_empty() {
            self.keep_alive(out);
        }
        self.finish(StreamState::Aborted);
    }

    /// Stops reading the source.
    fn finish(&mut self, state: StreamState) {
        self.state = state;
        self.delivery.source = Source::Done;
        self.delivery.guard = None;
    }

    /// The server shuts down. The response is delivered to its end. Reconnects of `EventSource`s and
    /// the ends of waiting streams are spread over `shutdown.spread`, so that clients do not all
    /// come back at once.
    fn prepare_shutdown(&mut self, out: &mut BytesMut) {
        self.is_shutting_down = true;
        let Delivery { app, frame, source, .. } = &self.delivery;
        if let Some(delay) = frame.reconnect_delay() {
            frame.set_reconnect_delay(out, delay + app.drain.share());
        }
        if source.is_waiting() {
            self.expires = Some(Instant::now() + app.drain.share());
        }
    }

    fn write_messages(&mut self, out: &mut BytesMut) {
        let mut messages = std::mem::take(&mut self.messages);
        for message in messages.drain(..) {
            self.write(&message, out);
        }
        self.messages = messages;
    }

    fn write(&mut self, message: &Message, out: &mut BytesMut) {
        self.client.written.events += 1;
        self.client.written.dialect += message.data.len() as u64;
        self.delivery.frame.message(out, &framed(message));
    }

    fn keep_alive(&self, out: &mut BytesMut) {
        match self.delivery.dialect.keep_alive() {
            KeepAlive::Frame => self.delivery.frame.heartbeat(out),
            KeepAlive::Message(message) => self.delivery.frame.message(out, &framed(&message)),
            KeepAlive::Nothing => {}
        }
    }
}

/// Counts the stream as open.
fn count(delivery: &Delivery) -> GaugeGuard {
    delivery.app.metrics.stream(delivery.frame.name(), delivery.dialect.description().name)
}

#[cfg(test)]
mod tests;
