//! What happened on the way to an upstream and back, for one call: times, bytes and how it ended.
//! No contents, no header fields, no keys.
//!
//! The task of the call writes it while others may read it. What changes with each event is
//! atomic, and no event costs a reading of the clock or an allocation of its own.

use std::sync::atomic::{AtomicU16, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use protocol::id::ResponseId;
use tokio::time::Instant;

use super::connection::UpstreamConnection;
use super::exchange_end::ExchangeEnd;
use crate::atomic_time::{AtomicTime, milliseconds};

/// One call of an upstream, as it goes on. All times are from the start of the response on.
#[derive(Debug)]
pub struct UpstreamExchange {
    target: ExchangeTarget,
    start: Instant,
    asked: Duration,
    sent: AtomicTime,
    head: AtomicTime,
    first_event: AtomicTime,
    last_event: AtomicTime,
    ended: AtomicTime,
    /// Zero if there is none.
    status: AtomicU16,
    events: AtomicU64,
    body: AtomicU64,
    text: AtomicU64,
    details: Mutex<Details>,
}

/// What is called, and for which response.
#[derive(Clone, Debug)]
pub struct ExchangeTarget {
    /// The response; pass-through calls have none.
    pub response: Option<ResponseId>,
    /// The name of the upstream in the settings.
    pub upstream: Arc<str>,
    /// Its host and port.
    pub address: Option<(Arc<str>, u16)>,
}

/// What changes a few times in a call.
#[derive(Clone, Debug, Default)]
struct Details {
    connection: Option<Arc<UpstreamConnection>>,
    /// How many requests were sent on the connection before.
    earlier_requests: u64,
    bytes: ExchangeBytes,
    end: Option<ExchangeEnd>,
}

/// The bytes of an exchange above TLS, as far as they are known: the frames of HTTP/2 are those of
/// a connection that several exchanges share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ExchangeBytes {
    /// The head of the request.
    pub sent_head: Option<u64>,
    /// Its body.
    pub sent_body: u64,
    /// The head of the response.
    pub received_head: Option<u64>,
    /// All that was received for it.
    pub received: Option<u64>,
}

/// An exchange as it is at one moment.
#[derive(Clone, Debug)]
pub struct ExchangeRecord {
    /// What was called.
    pub target: ExchangeTarget,
    /// When the call started; waiting for a key comes after it.
    pub asked: Duration,
    /// The connection, once there is one.
    pub connection: Option<Arc<UpstreamConnection>>,
    /// When the opening of the connection started, unless that was before the response.
    pub opened: Option<Duration>,
    /// How many requests were sent on the connection before.
    pub earlier_requests: u64,
    /// When the request was written. On HTTP/2, when it was handed to the connection.
    pub sent: Option<Duration>,
    /// When the head of the response came.
    pub head: Option<Duration>,
    /// Its status.
    pub status: Option<u16>,
    /// When the first event of the model came.
    pub first_event: Option<Duration>,
    /// When the last came.
    pub last_event: Option<Duration>,
    /// How many there were.
    pub events: u64,
    /// The bytes.
    pub bytes: ExchangeBytes,
    /// The bytes of the response's body so far, as sent, without the framing of HTTP.
    pub body: u64,
    /// The bytes of the model's text among them.
    pub text: u64,
    /// When and how it ended.
    pub end: Option<(Duration, ExchangeEnd)>,
}

impl ExchangeTarget {
    /// A call that is made for no response.
    pub fn named(upstream: Arc<str>) -> Self {
        Self { response: None, upstream, address: None }
    }
}

impl UpstreamExchange {
    /// A call that starts now, for something that started at `start`.
    pub fn new(target: ExchangeTarget, start: Instant) -> Arc<Self> {
        Arc::new(Self {
            target,
            start,
            asked: start.elapsed(),
            sent: AtomicTime::default(),
            head: AtomicTime::default(),
            first_event: AtomicTime::default(),
            last_event: AtomicTime::default(),
            ended: AtomicTime::default(),
            status: AtomicU16::new(0),
            events: AtomicU64::new(0),
            body: AtomicU64::new(0),
            text: AtomicU64::new(0),
            details: Mutex::default(),
        })
    }

    /// The request goes out on this connection. Once more if an idle one turned out to be closed.
    pub fn connected(&self, connection: &Arc<UpstreamConnection>) {
        let mut details = self.details();
        details.earlier_requests = connection.start_request();
        details.connection = Some(Arc::clone(connection));
    }

    /// The request was written up to here at this time.
    pub fn sent(&self, at: Instant) {
        self.sent.set(self.time(at));
    }

    /// The head of the response came.
    pub(super) fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
        self.head.set(self.start.elapsed());
    }

    /// The status of the response.
    pub(super) fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }

    /// More of the body came.
    pub fn received_body(&self, bytes: usize) {
        add(&self.body, bytes as u64);
    }

    /// `count` events of the model came together at this time, with `text` bytes of text.
    pub(crate) fn received(&self, count: u32, text: usize, at: Instant) {
        if count == 0 {
            return;
        }
        let time = self.time(at);
        add(&self.events, u64::from(count));
        add(&self.text, text as u64);
        self.last_event.set(time);
        if self.first_event.set_first(time) {
            self.log_first_event();
        }
    }

    /// The bytes so far.
    pub fn set_bytes(&self, bytes: ExchangeBytes) {
        self.details().bytes = bytes;
    }

    /// It has ended just now. Only the first end counts.
    pub fn end(&self, end: ExchangeEnd) {
        if self.ended.set_first(self.start.elapsed()) {
            self.details().end = Some(end);
            self.log_end();
        }
    }

    /// The call is over: without a connection, nothing else has recorded its end.
    pub(crate) fn over(&self) {
        self.end(ExchangeEnd { is_complete: false, close: None });
    }

    /// As it is now.
    pub fn record(&self) -> ExchangeRecord {
        let details = self.details().clone();
        let opened = details
            .connection
            .as_ref()
            .and_then(|connection| connection.opened.checked_duration_since(self.start));
        ExchangeRecord {
            target: self.target.clone(),
            asked: self.asked,
            opened,
            connection: details.connection,
            earlier_requests: details.earlier_requests,
            sent: self.sent.get(),
            head: self.head.get(),
            status: self.status(),
            first_event: self.first_event.get(),
            last_event: self.last_event.get(),
            events: self.events.load(Ordering::Relaxed),
            bytes: details.bytes,
            body: self.body.load(Ordering::Relaxed),
            text: self.text.load(Ordering::Relaxed),
            end: self.ended.get().zip(details.end),
        }
    }

    fn time(&self, at: Instant) -> Duration {
        at.saturating_duration_since(self.start)
    }

    fn details(&self) -> MutexGuard<'_, Details> {
        self.details.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn log_first_event(&self) {
        if !tracing::enabled!(tracing::Level::DEBUG) || self.target.address.is_none() {
            return;
        }
        let ExchangeTarget { response, upstream, .. } = &self.target;
        let first_event_ms = self.first_event.get().map(milliseconds);
        let upstream_connection =
            self.details().connection.as_ref().map(|connection| connection.number);
        tracing::debug!(response = response.as_ref().map(ResponseId::as_str), %upstream, upstream_connection, first_event_ms, "the first event of the upstream");
    }

    fn log_end(&self) {
        if !tracing::enabled!(tracing::Level::DEBUG) {
            return;
        }
        let record = self.record();
        if record.connection.is_none() && self.target.address.is_none() {
            return;
        }
        let ExchangeTarget { response, upstream, .. } = &record.target;
        let end = record.end.map(|(_, end)| end);
        let close = end.and_then(|end| end.close);
        let closed_by = close.map(|close| close.by.as_str());
        tracing::debug!(
            response = response.as_ref().map(ResponseId::as_str),
            %upstream,
            upstream_connection = record.connection.as_ref().map(|connection| connection.number),
            is_reused = record.earlier_requests > 0,
            status = record.status,
            sent_ms = record.sent.map(milliseconds),
            head_ms = record.head.map(milliseconds),
            first_event_ms = record.first_event.map(milliseconds),
            last_event_ms = record.last_event.map(milliseconds),
            ended_ms = record.end.map(|(at, _)| milliseconds(at)),
            events = record.events,
            body_bytes = record.body,
            is_complete = end.map(|end| end.is_complete),
            closed_by,
            how = close.map(|close| close.how),
            "the call of the upstream has ended"
        );
    }
}

/// Adds to a count that only one task changes: cheaper than an atomic addition.
fn add(count: &AtomicU64, more: u64) {
    count.store(count.load(Ordering::Relaxed) + more, Ordering::Relaxed);
}
