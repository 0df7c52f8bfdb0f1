//! The calibrated source: numbered events of a known size at a known pace, each with the time at
//! which it was sent, so that what a path does to a stream can be told from what a model does.

use std::time::{Duration, UNIX_EPOCH};

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use codec::{Frame, Message};
use engine::clock;
use futures_util::stream::unfold;
use tokio::time::{Instant, sleep_until};

use super::client::{Aborted, Client, head};
use crate::app::App;
use crate::http::context::RequestContext;
use crate::listen::Signal;
use crate::sources::SourceGuard;

/// The letters of the padding. There are 64 of them and they follow no pattern, so that compression
/// saves a quarter at most.
const LETTERS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_";

/// A body's own heartbeat, which never comes: a source sends its heartbeats itself, or none.
const NEVER: Duration = Duration::from_secs(86_400);

/// What a source sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SourcePlan {
    /// How many events.
    pub(crate) events: u64,
    /// The time between two of them.
    pub(crate) interval: Duration,
    /// The bytes of an event's data.
    pub(crate) bytes: usize,
    /// The silence after which a heartbeat is sent; `None` for none.
    pub(crate) heartbeat: Option<Duration>,
    /// After how many events the stream is aborted; `None` for a proper end.
    pub(crate) cut_after: Option<u64>,
}

/// A source that runs.
pub(crate) struct CalibratedSource {
    plan: SourcePlan,
    started: Instant,
    next: u64,
    last_sent: Instant,
    _counted: SourceGuard,
}

/// What a source sends next.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum SourceStep {
    /// The data of an event.
    Event(Bytes),
    /// A sign of life.
    Heartbeat,
    /// The end.
    End,
    /// The stream is aborted.
    Cut,
}

impl CalibratedSource {
    /// A source whose first event is due at once.
    pub(crate) fn new(plan: SourcePlan, counted: SourceGuard) -> Self {
        let now = Instant::now();
        Self { plan, started: now, next: 0, last_sent: now, _counted: counted }
    }

    /// Waits for what comes next. Cancel safe. A late event does not delay those after it.
    pub(crate) async fn step(&mut self) -> SourceStep {
        if self.plan.cut_after == Some(self.next) {
            return SourceStep::Cut;
        }
        if self.next == self.plan.events {
            return SourceStep::End;
        }
        let index = u32::try_from(self.next).unwrap_or(u32::MAX);
        let due = self.started + self.plan.interval.saturating_mul(index);
        match self.plan.heartbeat.map(|heartbeat| self.last_sent + heartbeat) {
            Some(beat) if beat < due => {
                sleep_until(beat).await;
                self.last_sent = Instant::now();
                SourceStep::Heartbeat
            }
            Some(_) | None => {
                sleep_until(due).await;
                self.last_sent = Instant::now();
                let is_last = self.next + 1 == self.plan.events;
                let data = event(self.next, now_us(), is_last, self.plan.bytes);
                self.next += 1;
                SourceStep::Event(data)
            }
        }
    }
}

/// Microseconds since 1970.
pub(crate) fn now_us() -> u64 {
    let since = clock::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_micros()).unwrap_or(u64::MAX)
}

/// The data of an event, padded to `bytes` where it is shorter.
fn event(number: u64, sent_us: u64, is_last: bool, bytes: usize) -> Bytes {
    let mut data =
        format!(r#"{{"sequence_number":{number},"sent_us":{sent_us},"last":{is_last},"padding":""#)
            .into_bytes();
    let mut state = number;
    while data.len() + 2 < bytes {
        // SplitMix64 (Steele, Lea and Flood, 2014): the same number gives the same padding.
        state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        data.push(LETTERS[usize::try_from(mixed >> 58).unwrap_or_default()]);
    }
    data.extend_from_slice(b"\"}");
    data.into()
}

/// The source as a streamed body.
pub(crate) fn respond(
    app: &App,
    context: RequestContext,
    frame: &'static dyn Frame,
    source: CalibratedSource,
) -> Response {
    let client = Client::new(context.connection.clone(), context.is_http_1_0, NEVER);
    let stream = SourceStream {
        app: app.clone(),
        context,
        frame,
        source,
        client,
        state: SourceState::Running,
    };
    let body = Body::from_stream(unfold(stream, |mut stream| async move {
        stream.next().await.map(|bytes| (bytes, stream))
    }));
    (head(frame.content_type()), body).into_response()
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum SourceState {
    Running,
    /// Everything was sent; the body ends.
    Over,
    /// The body must be aborted.
    Aborted,
}

struct SourceStream {
    app: App,
    context: RequestContext,
    frame: &'static dyn Frame,
    source: CalibratedSource,
    client: Client,
    state: SourceState,
}

impl SourceStream {
    async fn next(&mut self) -> Option<Result<Bytes, Aborted>> {
        let mut out = BytesMut::new();
        while out.is_empty() {
            match self.state {
                SourceState::Running => {}
                SourceState::Over => return None,
                SourceState::Aborted => {
                    // hyper drops unflushed bytes when a body fails; while this waits, it
                    // flushes them.
                    tokio::task::yield_now().await;
                    return Some(Err(self.client.cut()));
                }
            }
            let step = tokio::select! {
                biased;
                _ = self.context.grant.ended() => SourceStep::Cut,
                () = self.app.drain.draining() => SourceStep::Cut,
                signal = self.client.signal() => match signal {
                    Signal::Reset => return Some(Err(Aborted)),
                    Signal::Fin => {
                        self.client.half_closed();
                        SourceStep::Heartbeat
                    }
                },
                step = self.source.step() => step,
            };
            match step {
                SourceStep::Event(data) => {
                    let message = Message { data: &data, ..Message::default() };
                    self.frame.message(&mut out, &message);
                }
                SourceStep::Heartbeat => self.frame.heartbeat(&mut out),
                SourceStep::End => self.state = SourceState::Over,
                SourceStep::Cut => self.state = SourceState::Aborted,
            }
        }
        self.client.wrote(out.len());
        Some(Ok(out.freeze()))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use protocol::id::Owner;
    use serde_json::Value;

    use super::*;
    use crate::sources::Sources;

    fn source(plan: SourcePlan) -> CalibratedSource {
        let counted = Arc::<Sources>::default().take(&Owner::local()).unwrap();
        CalibratedSource::new(plan, counted)
    }

    const PLAN: SourcePlan = SourcePlan {
        events: 3,
        interval: Duration::from_secs(10),
        bytes: 200,
        heartbeat: None,
        cut_after: None,
    };

    #[tokio::test(start_paused = true)]
    async fn events_have_their_pace_and_size() {
        let started = Instant::now();
        let mut source = source(PLAN);
        for number in 0..3 {
            let SourceStep::Event(data) = source.step().await else { panic!("an event") };
            assert_eq!(data.len(), 200);
            let value: Value = serde_json::from_slice(&data).unwrap();
            assert_eq!(value["sequence_number"], number);
            assert_eq!(value["last"], number == 2);
            assert_eq!(started.elapsed().as_secs(), number * 10);
        }
        assert_eq!(source.step().await, SourceStep::End);
    }

    #[tokio::test(start_paused = true)]
    async fn silence_has_heartbeats_where_they_are_wanted() {
        let mut source = source(SourcePlan { heartbeat: Some(Duration::from_secs(4)), ..PLAN });
        let mut kinds = String::new();
        loop {
            match source.step().await {
                SourceStep::Event(_) => kinds.push('e'),
                SourceStep::Heartbeat => kinds.push('h'),
                SourceStep::End | SourceStep::Cut => break,
            }
        }
        assert_eq!(kinds, "ehhehhe");
    }

    #[tokio::test(start_paused = true)]
    async fn a_source_breaks_off_where_it_is_asked_to() {
        let mut source = source(SourcePlan { cut_after: Some(1), ..PLAN });
        assert!(matches!(source.step().await, SourceStep::Event(_)));
        assert_eq!(source.step().await, SourceStep::Cut);
    }
}
