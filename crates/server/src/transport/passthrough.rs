//! Streams that pass through: one loop that reads the upstream's events, watches the client and shows that it lives.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use engine::instruments::counter::GaugeGuard;
use engine::passthrough::call::Events;
use futures_util::stream::unfold;
use futures_util::{FutureExt, StreamExt};
use http::{HeaderName, HeaderValue, header};
use lens::live::ByteBreakdown;
use protocol::fault::Fault;
use tokio::time::{Instant, Sleep, sleep};

use super::stream::{Cut, StreamFrame, WRITE};
use crate::config::Config;
use crate::grants::{Grant, revoked};
use crate::listen::{Connection, Signal};

/// Events on their way to a client.
pub(crate) struct EventDelivery {
    pub(crate) events: Events,
    /// The event that the head has waited for.
    pub(crate) first: Option<Bytes>,
    pub(crate) frame: StreamFrame,
    pub(crate) grant: Grant,
    pub(crate) connection: Option<Connection>,
    pub(crate) is_http_1_0: bool,
    pub(crate) config: Arc<Config>,
    /// It counts as open for as long.
    pub(crate) _counted: GaugeGuard,
}

/// What comes next of a stream.
enum Next {
    Event(Option<Result<Bytes, Fault>>),
    Signal(Signal),
    Silence,
    Revoked,
}

struct Stream {
    delivery: EventDelivery,
    silence: Pin<Box<Sleep>>,
    is_half_closed: bool,
    is_begun: bool,
    state: State,
    /// What the next bytes hold, for the lens.
    said: ByteBreakdown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Everything was sent; the body ends.
    Over,
    /// The body must break off.
    Broken,
}

/// The events as a streamed response. Its head goes out at once, and so does a first event or sign of life.
pub(crate) fn respond_events(delivery: EventDelivery) -> Response {
    let content_type = delivery.frame.frame().content_type();
    let silence = Box::pin(sleep(delivery.config.heartbeat));
    let stream =
        Stream { delivery, silence, is_half_closed: false, is_begun: false, state: State::Running, said: ByteBreakdown::default() };
    let body = Body::from_stream(unfold(stream, |mut stream| async move { stream.next().await.map(|bytes| (bytes, stream)) }));
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, body).into_response()
}

impl Stream {
    /// The next bytes: whole events only, all that are ready.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        let mut out = BytesMut::new();
        if !std::mem::replace(&mut self.is_begun, true) {
            match self.delivery.first.take() {
                Some(first) => self.write(&first, &mut out),
                None => self.heartbeat(&mut out),
            }
        }
        while out.is_empty() {
            match self.state {
                State::Running => {}
                State::Over => return None,
                State::Broken => {
                    // hyper forgets what it has not flushed when a body fails; while this waits, it flushes the last words.
                    tokio::task::yield_now().await;
                    return Some(Err(self.cut()));
                }
            }
            match self.wait().await {
                Next::Event(event) => self.take(event, &mut out),
                Next::Revoked => self.take(Some(Err(revoked())), &mut out),
                // A half-close is not a leave. The heartbeat finds out: a client that is gone answers it with a reset.
                Next::Signal(Signal::Fin) => {
                    self.is_half_closed = true;
                    self.heartbeat(&mut out);
                }
                Next::Signal(Signal::Reset) => return Some(Err(Cut)),
                Next::Silence => self.heartbeat(&mut out),
            }
        }
        // What is ready goes out in the same write.
        while self.state == State::Running && out.len() < WRITE {
            let Some(event) = self.delivery.events.next().now_or_never() else { break };
            self.take(event, &mut out);
        }
        self.silence.as_mut().reset(Instant::now() + self.delivery.config.heartbeat);
        self.count(out.len() as u64);
        Some(Ok(out.freeze()))
    }

    async fn wait(&mut self) -> Next {
        let connection = self.delivery.connection.clone();
        let is_half_closed = self.is_half_closed;
        let signal = async move {
            match connection {
                Some(connection) if is_half_closed => connection.reset().await,
                Some(connection) => connection.signal().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.delivery.grant.ended() => Next::Revoked,
            signal = signal => Next::Signal(signal),
            event = self.delivery.events.next() => Next::Event(event),
            () = self.silence.as_mut() => Next::Silence,
        }
    }

    fn take(&mut self, event: Option<Result<Bytes, Fault>>, out: &mut BytesMut) {
        match event {
            Some(Ok(event)) => self.write(&event, out),
            // No `[DONE]`, and no clean end: some clients pass over the error and take these for success.
            Some(Err(fault)) => {
                self.state = State::Broken;
                self.write(fault.body().to_string().as_bytes(), out);
            }
            None => {
                self.state = State::Over;
                if self.delivery.frame == StreamFrame::Sse {
                    self.delivery.frame.encode(out, None, None, b"[DONE]");
                }
            }
        }
    }

    fn write(&mut self, event: &[u8], out: &mut BytesMut) {
        self.said.events += 1;
        self.said.dialect += event.len() as u64;
        self.delivery.frame.encode(out, None, None, event);
    }

    /// So many bytes go out: what is no event in them is framing.
    fn count(&mut self, bytes: u64) {
        let said = std::mem::take(&mut self.said);
        let Some(connection) = &self.delivery.connection else { return };
        connection.timeline().said(ByteBreakdown { framing: bytes.saturating_sub(said.dialect), ..said });
    }

    fn heartbeat(&self, out: &mut BytesMut) {
        if let Some(heartbeat) = self.delivery.frame.frame().heartbeat() {
            out.extend_from_slice(&heartbeat);
        }
    }

    /// Without a length or chunks only a reset tells a part from the whole.
    fn cut(&self) -> Cut {
        if self.delivery.is_http_1_0
            && let Some(connection) = &self.delivery.connection
        {
            connection.abort();
        }
        Cut
    }
}
