//! A stream of the classic API: open before there is an answer, and one event a message once there is one.

use std::pin::Pin;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use codec::{Frame, emitter, sse};
use engine::feed::Feed;
use engine::instruments::counter::GaugeGuard;
use engine::log::LogError;
use engine::response::fault::log_fault;
use futures_util::stream::unfold;
use protocol::dialect::classic::{Fold, Said};
use protocol::event::Entry;
use tokio::sync::oneshot;
use tokio::time::{Instant, Sleep, sleep, sleep_until};

use super::breaking::LastChunk;
use super::stream::head;
use crate::classic::{Opened, heartbeat};
use crate::config::Config;
use crate::drain::Drain;
use crate::grants::{Grant, revoked};
use crate::listen::{Connection, Signal};
use crate::metrics::{Metrics, Words};

/// How many bytes of events that are ready go out in one write.
const WRITE: usize = 64 << 10;

/// What a stream is given to tell.
pub(crate) struct Turn {
    pub(crate) feed: Feed,
    /// Resolves when whoever asked has been told that the question was taken. A page makes the box for the answer then.
    pub(crate) told: oneshot::Receiver<()>,
}

/// A stream on its way to a client.
pub(crate) struct Telling {
    /// Where the answer comes from.
    pub(crate) source: Source,
    /// What is said before it, at once.
    pub(crate) opening: Bytes,
    /// What the bytes that go out next hold, for the lens; of the framing it does not know.
    pub(crate) counted: lens::live::ByteBreakdown,
    pub(crate) fold: Fold,
    pub(crate) grant: Grant,
    pub(crate) connection: Option<Connection>,
    pub(crate) is_http_1_0: bool,
    pub(crate) config: Arc<Config>,
    pub(crate) drain: Drain,
    pub(crate) metrics: Arc<Metrics>,
}

/// Where an answer comes from. Dropping it is leaving, and stops the model.
pub(crate) enum Source {
    /// No question has come yet.
    Idle(Opened<Turn>),
    /// Its asker is being told.
    Asked(Opened<Turn>, Turn),
    /// Its asker was told, over another connection, and gets until then to read it.
    Told(Opened<Turn>, Feed, Instant),
    /// The answer comes.
    Answer(Option<Opened<Turn>>, Feed),
    /// Everything was said; the body ends.
    Over,
    /// The body must break off.
    Broken,
}

/// The stream was cut on purpose: its body must not end as if it were whole.
#[derive(Debug, thiserror::Error)]
#[error("the answer's log failed; the stream was cut")]
struct Cut;

/// What comes next of a stream.
enum Next {
    Given(Result<Turn, oneshot::error::RecvError>),
    Told,
    Begin,
    Fed(Result<Option<Vec<Entry>>, LogError>),
    Signal(Signal),
    Silence,
    Leaving,
    Left,
    Revoked,
}

struct Stream {
    telling: Telling,
    silence: Pin<Box<Sleep>>,
    is_half_closed: bool,
    /// When it ends if no question has come, once the server goes.
    end: Option<Instant>,
    /// It counts as open from its question on.
    counted: Option<GaugeGuard>,
    last_chunk: LastChunk,
    said: Vec<Said>,
}

/// The stream as a response. Its head and its opening go out at once.
pub(crate) fn tell(telling: Telling) -> Response {
    let silence = Box::pin(sleep(heartbeat(telling.config.heartbeat)));
    let mut stream =
        Stream { telling, silence, is_half_closed: false, end: None, counted: None, last_chunk: LastChunk::default(), said: Vec::new() };
    if !matches!(stream.telling.source, Source::Idle(_)) {
        stream.count();
    }
    let body = Body::from_stream(unfold(stream, |mut stream| async move { stream.next().await.map(|bytes| (bytes, stream)) }));
    (head(sse::CONTENT_TYPE), body).into_response()
}

impl Source {
    /// What it gives next. Dropping the future loses nothing.
    async fn next(&mut self) -> Next {
        match self {
            Self::Idle(opened) => Next::Given((&mut opened.given).await),
            Self::Asked(_, turn) => {
                // Whether it was told, or has gone without hearing it: nobody waits for it any more.
                let _told = (&mut turn.told).await;
                Next::Told
            }
            Self::Told(_, _, until) => {
                sleep_until(*until).await;
                Next::Begin
            }
            Self::Answer(_, feed) => Next::Fed(feed.next(WRITE).await),
            Self::Over | Self::Broken => std::future::pending().await,
        }
    }
}

impl Stream {
    /// The next bytes: whole events only, all that are ready.
    async fn next(&mut self) -> Option<Result<Bytes, Cut>> {
        let mut out = BytesMut::from(std::mem::take(&mut self.telling.opening));
        while out.is_empty() {
            match self.telling.source {
                Source::Over => return None,
                Source::Broken => {
                    self.last_chunk.sent(self.telling.connection.as_ref()).await;
                    return Some(Err(self.cut()));
                }
                Source::Idle(_) | Source::Asked(..) | Source::Told(..) | Source::Answer(..) => {}
            }
            match self.wait().await {
                // A half-close is not a leave. The heartbeat finds out: a client that is gone answers it with a reset.
                Next::Signal(Signal::Fin) => {
                    self.is_half_closed = true;
                    out.extend_from_slice(sse::HEARTBEAT);
                }
                Next::Signal(Signal::Reset) => return Some(Err(Cut)),
                Next::Silence => out.extend_from_slice(sse::HEARTBEAT),
                Next::Leaving => self.end = Some(Instant::now() + self.telling.drain.share()),
                next => self.go_on(next, &mut out),
            }
        }
        self.silence.as_mut().reset(Instant::now() + heartbeat(self.telling.config.heartbeat));
        self.tell_lens(out.len() as u64);
        let out = out.freeze();
        Some(Ok(if matches!(self.telling.source, Source::Broken) { self.last_chunk.track(out) } else { out }))
    }

    async fn wait(&mut self) -> Next {
        let Telling { source, connection, drain, grant, .. } = &mut self.telling;
        let (end, is_idle) = (self.end, matches!(source, Source::Idle(_)));
        let is_half_closed = self.is_half_closed;
        let signal = async {
            match connection {
                Some(connection) if is_half_closed => connection.reset().await,
                Some(connection) => connection.signal().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = grant.ended() => Next::Revoked,
            signal = signal => Next::Signal(signal),
            next = source.next() => next,
            () = drain.leaving(), if end.is_none() => Next::Leaving,
            () = sleep_until(end.unwrap_or_else(Instant::now)), if is_idle && end.is_some() => Next::Left,
            () = self.silence.as_mut() => Next::Silence,
        }
    }

    /// One step from the open stream to the end of the answer.
    fn go_on(&mut self, next: Next, out: &mut BytesMut) {
        let grace = self.telling.config.classic.grace;
        let source = std::mem::replace(&mut self.telling.source, Source::Over);
        self.telling.source = match (next, source) {
            (Next::Given(Ok(turn)), Source::Idle(opened)) => {
                self.count();
                Source::Asked(opened, turn)
            }
            (Next::Told, Source::Asked(opened, turn)) => Source::Told(opened, turn.feed, Instant::now() + grace),
            (Next::Begin, Source::Told(opened, feed, _)) => Source::Answer(Some(opened), feed),
            (Next::Fed(Ok(entries)), Source::Answer(opened, feed)) => {
                entries.iter().flatten().for_each(|entry| self.fold(entry));
                // The end is known with the last event: it does not wait for another turn.
                if entries.is_none() || feed.is_at_end() { Source::Over } else { Source::Answer(opened, feed) }
            }
            // The log failed: its reader is told, and then cut (promise 1).
            (Next::Fed(Err(error)), Source::Answer(..)) => {
                self.telling.fold.fault(&log_fault(error), &mut self.said);
                Source::Broken
            }
            (Next::Revoked, _) => {
                self.telling.fold.fault(&revoked(), &mut self.said);
                Source::Broken
            }
            // Without a question there is no answer to be whole or not. The end without `[DONE]` is what a page alerts at.
            (_, _) => Source::Over,
        };
        for said in self.said.drain(..) {
            self.telling.counted.events += 1;
            self.telling.counted.dialect += said.data.len() as u64;
            emitter::encode(out, &said.id, said.name, &said.data);
        }
    }

    fn fold(&mut self, entry: &Entry) {
        let before = self.said.len();
        self.telling.fold.entry(entry, &mut self.said);
        if self.said.len() > before {
            self.telling.counted.text += entry.text_bytes() as u64;
        }
    }

    /// So many bytes go out: what is no data in them is framing, and what is no text in the data is dialect.
    fn tell_lens(&mut self, bytes: u64) {
        let lens::live::ByteBreakdown { events, dialect: data, text, .. } = std::mem::take(&mut self.telling.counted);
        let Some(connection) = &self.telling.connection else { return };
        let (dialect, framing) = (data.saturating_sub(text), bytes.saturating_sub(data));
        connection.timeline().said(lens::live::ByteBreakdown { events, framing, dialect, text });
    }

    /// There is an answer for it.
    fn count(&mut self) {
        self.counted = Some(self.telling.metrics.stream(Frame::Sse, Words::Classic));
    }

    /// Without a length or chunks only a reset tells a part from the whole.
    fn cut(&self) -> Cut {
        if self.telling.is_http_1_0
            && let Some(connection) = &self.telling.connection
        {
            connection.abort();
        }
        Cut
    }
}
