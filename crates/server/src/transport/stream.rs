//! The frames that stream: one loop that reads the feed, watches the client and shows that it lives.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use codec::{Frame, ndjson, sse};
use engine::feed::Feed;
use engine::instruments::counter::GaugeGuard;
use engine::log::LogError;
use engine::response::fault::log_fault;
use futures_util::stream::unfold;
use http::{HeaderName, HeaderValue, header};
use lens::live::ByteBreakdown;
use protocol::dialect::{Dialect, Spoken};
use protocol::event::Entry;
use protocol::fault::Fault;
use tokio::time::{Instant, Sleep, sleep};

use super::breaking::LastChunk;
use crate::config::Config;
use crate::drain::Drain;
use crate::grants::{Grant, revoked};
use crate::listen::{Connection, Signal};

/// How many bytes of events that are ready go out in one write.
pub(super) const WRITE: usize = 64 << 10;

/// After how many milliseconds a browser's `EventSource` comes back.
const RETRY: u64 = 1000;

/// The frames that stream over an HTTP body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum StreamFrame {
    /// One event a line.
    Ndjson,
    /// Server-Sent Events for SDKs: `event:` equals `type`, no `id:`, a final `[DONE]`.
    Sse,
    /// Server-Sent Events for browsers' `EventSource`: no names, as one named `error` would fire `onerror`; `id:` and
    /// `retry:`; no `[DONE]`.
    EventSource,
}

impl StreamFrame {
    pub(crate) fn frame(self) -> Frame {
        match self {
            Self::Ndjson => Frame::Ndjson,
            Self::Sse | Self::EventSource => Frame::Sse,
        }
    }

    pub(super) fn encode(self, out: &mut BytesMut, name: Option<&str>, position: Option<u64>, data: &[u8]) {
        match self {
            Self::Ndjson => ndjson::encode(out, data),
            Self::Sse => sse::encode(out, name, None, data),
            Self::EventSource => sse::encode(out, None, position, data),
        }
    }
}

/// A reader on its way to a client.
pub(crate) struct Delivery {
    pub(crate) feed: Feed,
    pub(crate) dialect: Dialect,
    pub(crate) frame: StreamFrame,
    pub(crate) grant: Grant,
    pub(crate) connection: Option<Connection>,
    pub(crate) is_http_1_0: bool,
    pub(crate) config: Arc<Config>,
    pub(crate) drain: Drain,
    /// It counts as open for as long.
    pub(crate) _counted: GaugeGuard,
}

/// The stream is broken off on purpose: its body must not end as if it were whole.
#[derive(Debug, thiserror::Error)]
#[error("the stream was broken off")]
pub(super) struct Cut;

/// What the client's side has said so far.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Client {
    Open,
    HalfClosed,
}

/// What comes next of a stream.
enum Next {
    Fed(Result<Option<Vec<Entry>>, LogError>),
    Signal(Signal),
    Silence,
    Leaving,
    Revoked,
}

struct Stream {
    delivery: Delivery,
    silence: Pin<Box<Sleep>>,
    client: Client,
    begun: bool,
    /// Whether it is to be said when to come back, should the connection break.
    may_advise: bool,
    state: State,
    last_chunk: LastChunk,
    spoken: Vec<Spoken>,
    /// What the next bytes hold, for the lens.
    said: ByteBreakdown,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Running,
    /// Everything was said; the body ends.
    Over,
    /// The body must break off.
    Broken,
}

/// The answer as a streamed response. Its head goes out at once, and so does a first event or sign of life.
pub(crate) fn respond(delivery: Delivery) -> Response {
    let content_type = delivery.frame.frame().content_type();
    let silence = Box::pin(sleep(delivery.config.heartbeat));
    // SDKs take `retry:` for an event without data; browsers know what it means.
    let may_advise = delivery.frame == StreamFrame::EventSource;
    let stream = Stream {
        delivery,
        silence,
        client: Client::Open,
        begun: false,
        may_advise,
        state: State::Running,
        last_chunk: LastChunk::default(),
        spoken: Vec::new(),
        said: ByteBreakdown::default(),
    };
    let body = Body::from_stream(unfold(stream, |mut stream| async move { stream.next().await.map(|bytes| (bytes, stream)) }));
    (head(content_type), body).into_response()
}

/// The head of every stream. It asks intermediaries to pass the body on as it comes: nginx by its own header, others by the `Incremental`
/// of the HTTP working group (draft-ietf-httpbis-incremental, approved as a Proposed Standard).
pub(super) fn head(content_type: &'static str) -> [(HeaderName, HeaderValue); 4] {
    [
        (header::CONTENT_TYPE, HeaderValue::from_static(content_type)),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store, no-transform")),
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
        (HeaderName::from_static("incremental"), HeaderValue::from_static("?1")),
    ]
}

impl Stream {
    /// The next bytes: whole events only, all that are ready.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        let mut out = BytesMut::new();
        if !self.begun {
            self.begun = true;
            self.begin(&mut out);
        }
        while out.is_empty() {
            match self.state {
                State::Running => {}
                State::Over => return None,
                State::Broken => {
                    self.last_chunk.sent(self.delivery.connection.as_ref()).await;
                    return Some(Err(self.cut()));
                }
            }
            match self.wait().await {
                Next::Fed(Ok(Some(entries))) => self.say(&entries, &mut out),
                Next::Fed(Ok(None)) => self.end(&mut out),
                Next::Fed(Err(error)) => self.fail(&log_fault(error), &mut out),
                Next::Revoked => self.fail(&revoked(), &mut out),
                // A half-close is not a leave. The heartbeat finds out: a client that is gone answers it with a reset.
                Next::Signal(Signal::Fin) => {
                    self.client = Client::HalfClosed;
                    self.heartbeat(&mut out);
                }
                Next::Signal(Signal::Reset) => return Some(Err(Cut)),
                Next::Silence => self.heartbeat(&mut out),
                Next::Leaving => self.advise(&mut out),
            }
        }
        self.silence.as_mut().reset(Instant::now() + self.delivery.config.heartbeat);
        self.count(out.len() as u64);
        let out = out.freeze();
        Some(Ok(if self.state == State::Broken { self.last_chunk.track(out) } else { out }))
    }

    async fn wait(&mut self) -> Next {
        let connection = self.delivery.connection.clone();
        let client = self.client;
        let signal = async move {
            match (connection, client) {
                (Some(connection), Client::Open) => connection.signal().await,
                (Some(connection), Client::HalfClosed) => connection.reset().await,
                (None, _) => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.delivery.grant.ended() => Next::Revoked,
            signal = signal => Next::Signal(signal),
            fed = self.delivery.feed.next(WRITE) => Next::Fed(fed),
            () = self.silence.as_mut() => Next::Silence,
            () = self.delivery.drain.leaving(), if self.may_advise => Next::Leaving,
        }
    }

    /// A first sign of life, where no event is ready to be one.
    fn begin(&mut self, out: &mut BytesMut) {
        match self.delivery.frame {
            StreamFrame::EventSource => sse::retry(out, RETRY),
            StreamFrame::Ndjson | StreamFrame::Sse if !self.delivery.feed.is_ready() => self.heartbeat(out),
            StreamFrame::Ndjson | StreamFrame::Sse => {}
        }
    }

    /// The server goes. The answer is read to its end; a browser whose connection breaks before comes back at a moment of
    /// its own.
    fn advise(&mut self, out: &mut BytesMut) {
        self.may_advise = false;
        let share = u64::try_from(self.delivery.drain.share().as_millis()).unwrap_or(0);
        sse::retry(out, RETRY + share);
    }

    fn say(&mut self, entries: &[Entry], out: &mut BytesMut) {
        for entry in entries {
            self.delivery.dialect.fold(entry, &mut self.spoken);
            let text = if self.spoken.is_empty() { 0 } else { entry.text_bytes() as u64 };
            self.said.text += text;
            for spoken in self.spoken.drain(..) {
                self.said.events += 1;
                self.said.dialect += spoken.data.len() as u64;
                self.delivery.frame.encode(out, spoken.name, Some(spoken.position), &spoken.data);
            }
        }
        // The end is known with the last event: it does not wait for another turn.
        if self.delivery.feed.is_at_end() {
            self.end(out);
        }
    }

    /// So many bytes go out: what is neither JSON nor text in them is framing.
    fn count(&mut self, bytes: u64) {
        let ByteBreakdown { events, dialect: data, text, .. } = std::mem::take(&mut self.said);
        let Some(connection) = &self.delivery.connection else { return };
        let (dialect, framing) = (data.saturating_sub(text), bytes.saturating_sub(data));
        connection.timeline().said(ByteBreakdown { events, framing, dialect, text });
    }

    fn end(&mut self, out: &mut BytesMut) {
        if self.delivery.dialect.must_break_off() {
            return self.break_off(out);
        }
        self.state = State::Over;
        if self.delivery.frame == StreamFrame::Sse {
            sse::encode(out, None, None, b"[DONE]");
        }
    }

    /// The log failed, or the reader's key was revoked: an error without a number, then the cut (promise 1).
    fn fail(&mut self, fault: &Fault, out: &mut BytesMut) {
        let data = self.delivery.dialect.unnumbered_error(fault);
        self.delivery.frame.encode(out, Some("error"), None, &data);
        self.break_off(out);
    }

    /// The body fails after these bytes, which must not be none: when they have left, so has all before them.
    fn break_off(&mut self, out: &mut BytesMut) {
        self.state = State::Broken;
        if out.is_empty() {
            self.heartbeat(out);
        }
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
