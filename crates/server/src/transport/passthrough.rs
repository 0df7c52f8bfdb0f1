//! Streams that pass through: one loop that reads the upstream's events, watches the client, and
//! keeps an idle stream alive.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use codec::{Frame, Message};
use engine::instruments::counter::GaugeGuard;
use engine::passthrough::call::PassthroughEvents;
use futures_util::stream::unfold;
use futures_util::{FutureExt, StreamExt};
use protocol::dialect::openai;
use protocol::fault::Fault;

use super::client::{Aborted, Client, WRITE, head};
use crate::app::App;
use crate::grants::revoked;
use crate::http::context::RequestContext;
use crate::listen::Signal;

/// Events on their way to a client.
pub(crate) struct EventDelivery {
    pub(crate) events: PassthroughEvents,
    /// The event that the head has waited for.
    pub(crate) first: Option<Bytes>,
    pub(crate) frame: &'static dyn Frame,
    pub(crate) context: RequestContext,
    /// It counts as open as long as this lives.
    pub(crate) _counted: GaugeGuard,
}

/// The next event of a stream.
enum EventInput {
    Event(Option<Result<Bytes, Fault>>),
    Signal(Signal),
    Silence,
    Revoked,
}

struct EventStream {
    delivery: EventDelivery,
    client: Client,
    has_started: bool,
    state: EventState,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum EventState {
    Running,
    /// Everything was sent; the body ends.
    Over,
    /// The body must be aborted.
    Aborted,
}

/// The events as a streamed response. Its head goes out at once, and so does a first event or sign
/// of life.
pub(crate) fn respond_events(app: &App, delivery: EventDelivery) -> Response {
    let content_type = delivery.frame.content_type();
    let context = &delivery.context;
    let client = Client::new(context.connection.clone(), context.is_http_1_0, app.config.heartbeat);
    let stream = EventStream { delivery, client, has_started: false, state: EventState::Running };
    let body = Body::from_stream(unfold(stream, |mut stream| async move {
        stream.next().await.map(|bytes| (bytes, stream))
    }));
    (head(content_type), body).into_response()
}

impl EventStream {
    /// The next bytes: whole events only, all that are ready.
    async fn next(&mut self) -> Option<Result<Bytes, Aborted>> {
        let mut out = BytesMut::new();
        if !std::mem::replace(&mut self.has_started, true) {
            match self.delivery.first.take() {
                Some(first) => self.write(&first, &mut out),
                None => self.delivery.frame.heartbeat(&mut out),
            }
        }
        while out.is_empty() {
            match self.state {
                EventState::Running => {}
                EventState::Over => return None,
                EventState::Aborted => {
                    // hyper drops unflushed bytes when a body fails; while this waits, it
                    // flushes the error.
                    tokio::task::yield_now().await;
                    return Some(Err(self.client.cut()));
                }
            }
            match self.wait().await {
                EventInput::Event(event) => self.take(event, &mut out),
                EventInput::Revoked => self.take(Some(Err(revoked())), &mut out),
                EventInput::Signal(Signal::Fin) => {
                    self.client.half_closed();
                    self.delivery.frame.heartbeat(&mut out);
                }
                EventInput::Signal(Signal::Reset) => return Some(Err(Aborted)),
                EventInput::Silence => self.delivery.frame.heartbeat(&mut out),
            }
        }
        // What is ready goes out in the same write.
        while self.state == EventState::Running && out.len() < WRITE {
            let Some(event) = self.delivery.events.next().now_or_never() else { break };
            self.take(event, &mut out);
        }
        self.client.wrote(out.len());
        Some(Ok(out.freeze()))
    }

    async fn wait(&mut self) -> EventInput {
        let signal = self.client.signal();
        tokio::select! {
            biased;
            _ = self.delivery.context.grant.ended() => EventInput::Revoked,
            signal = signal => EventInput::Signal(signal),
            event = self.delivery.events.next() => EventInput::Event(event),
            () = self.client.silence.as_mut() => EventInput::Silence,
        }
    }

    fn take(&mut self, event: Option<Result<Bytes, Fault>>, out: &mut BytesMut) {
        match event {
            Some(Ok(event)) => self.write(&event, out),
            // No sentinel, and no clean end: some clients skip the error and treat these as
            // success.
            Some(Err(fault)) => {
                self.state = EventState::Aborted;
                self.write(openai::error_body(&fault, None).as_bytes(), out);
            }
            None => {
                self.state = EventState::Over;
                self.delivery.frame.end(out, Some(openai::DONE.as_bytes()));
            }
        }
    }

    fn write(&mut self, event: &[u8], out: &mut BytesMut) {
        self.client.written.events += 1;
        self.client.written.dialect += event.len() as u64;
        self.delivery.frame.message(out, &Message { data: event, ..Message::default() });
    }
}
