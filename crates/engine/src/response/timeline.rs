//! The way of one response, from the model through this server to its readers, for the lens.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, SystemTime};

use protocol::entry::Entry;
use protocol::id::{Owner, ResponseId};
use tokio::time::Instant;

use super::cause::Cause;
use crate::atomic_time::AtomicTime;
use crate::clock;
use crate::provider::exchange::{ExchangeRecord, ExchangeTarget, UpstreamExchange};
use crate::provider::route::RouteTarget;

/// Responses that have ended and are still shown. Each takes about a kilobyte.
const REMEMBERED: usize = 1024;

/// Upstream calls that are remembered of one response, the last among them.
const CALLS: usize = 16;

/// Readers that are remembered of one response: the first.
const READERS: usize = 8;

/// The way of one response. All times are from its start on.
#[derive(Debug)]
pub struct ResponseTimeline {
    id: ResponseId,
    owner: Owner,
    accepted: SystemTime,
    start: Instant,
    calls: Mutex<Calls>,
    /// The position of the first output, plus 1.
    first_output: AtomicU64,
    first_logged: AtomicTime,
    last_logged: AtomicTime,
    stopped: OnceLock<(Duration, Cause)>,
    readers: Mutex<Vec<Arc<ReaderTimeline>>>,
}

#[derive(Debug, Default)]
struct Calls {
    last: VecDeque<Arc<UpstreamExchange>>,
    count: u64,
}

/// One reader of a response, as its entries are handed to its connection.
#[derive(Debug)]
pub struct ReaderTimeline {
    start: Instant,
    opened: Duration,
    connection: OnceLock<u64>,
    first: AtomicTime,
    last: AtomicTime,
    /// Whether `last` is of the end of the response.
    is_complete: OnceLock<()>,
}

/// A timeline as it is at one moment.
#[derive(Clone, Debug)]
pub struct TimelineRecord {
    /// When the response started.
    pub accepted: SystemTime,
    /// The upstream calls that are remembered, the oldest first; none for a model of this process.
    pub calls: Vec<ExchangeRecord>,
    /// How many there were.
    pub call_count: u64,
    /// When the first output was appended to the log.
    pub first_logged: Option<Duration>,
    /// When the end was.
    pub last_logged: Option<Duration>,
    /// When it was stopped, and why.
    pub stopped: Option<(Duration, &'static str)>,
    /// The first readers.
    pub readers: Vec<ReaderRecord>,
}

/// A reader as it is at one moment.
#[derive(Clone, Copy, Debug)]
pub struct ReaderRecord {
    /// The number of its connection.
    pub connection: Option<u64>,
    /// When it came.
    pub opened: Duration,
    /// When its connection got the first output.
    pub first: Option<Duration>,
    /// When its connection got the last entries.
    pub last: Option<Duration>,
    /// Whether the end was among them.
    pub is_complete: bool,
}

impl ResponseTimeline {
    /// Of a response that starts now.
    pub(crate) fn new(id: ResponseId, owner: Owner) -> Arc<Self> {
        Arc::new(Self {
            id,
            owner,
            accepted: clock::now(),
            start: Instant::now(),
            calls: Mutex::default(),
            first_output: AtomicU64::new(0),
            first_logged: AtomicTime::default(),
            last_logged: AtomicTime::default(),
            stopped: OnceLock::new(),
            readers: Mutex::default(),
        })
    }

    /// Whose response it is.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }

    /// A call of a target starts. A model of this process has no way to it, which is not shown.
    pub(crate) fn call(&self, target: &RouteTarget) -> Arc<UpstreamExchange> {
        let address = target.provider.peer().and_then(|peer| peer.address);
        let is_remote = address.is_some();
        let response = Some(self.id.clone());
        let upstream = Arc::clone(&target.upstream);
        let exchange =
            UpstreamExchange::new(ExchangeTarget { response, upstream, address }, self.start);
        if is_remote {
            let mut calls = self.calls();
            if calls.last.len() == CALLS {
                calls.last.pop_front();
            }
            calls.last.push_back(Arc::clone(&exchange));
            calls.count += 1;
        }
        exchange
    }

    /// These entries with output of the model were appended. Only the first ones cost a reading of
    /// the clock.
    pub(crate) fn logged(&self, entries: &[Entry]) {
        if !self.first_logged.is_set()
            && let Some(first) = entries.first()
        {
            self.first_logged.set_first(self.start.elapsed());
            self.first_output.store(first.position + 1, Ordering::Relaxed);
        }
    }

    /// The last entry was appended.
    pub(crate) fn logged_end(&self) {
        self.last_logged.set_first(self.start.elapsed());
    }

    /// It must stop. Only the first cause counts.
    pub(crate) fn stop(&self, cause: Cause) {
        self.stopped.get_or_init(|| (self.start.elapsed(), cause));
    }

    /// A reader comes. `None` if enough are remembered.
    pub(crate) fn reader(self: &Arc<Self>) -> Option<Reading> {
        let mut readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        if readers.len() == READERS {
            return None;
        }
        let reader = Arc::new(ReaderTimeline {
            start: self.start,
            opened: self.start.elapsed(),
            connection: OnceLock::new(),
            first: AtomicTime::default(),
            last: AtomicTime::default(),
            is_complete: OnceLock::new(),
        });
        readers.push(Arc::clone(&reader));
        Some(Reading { reader, response: Arc::clone(self) })
    }

    /// As it is now.
    pub fn record(&self) -> TimelineRecord {
        let (calls, call_count) = {
            let calls = self.calls();
            (calls.last.iter().map(|exchange| exchange.record()).collect(), calls.count)
        };
        let readers = self.readers.lock().unwrap_or_else(PoisonError::into_inner);
        TimelineRecord {
            accepted: self.accepted,
            calls,
            call_count,
            first_logged: self.first_logged.get(),
            last_logged: self.last_logged.get(),
            stopped: self.stopped.get().map(|(at, cause)| (*at, cause.reason())),
            readers: readers.iter().map(|reader| reader.record()).collect(),
        }
    }

    fn calls(&self) -> MutexGuard<'_, Calls> {
        self.calls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A reader and the response it reads.
#[derive(Debug)]
pub(crate) struct Reading {
    reader: Arc<ReaderTimeline>,
    response: Arc<ResponseTimeline>,
}

impl Reading {
    /// The connection of the reader.
    pub(crate) fn set_connection(&self, number: u64) {
        self.reader.connection.get_or_init(|| number);
    }

    /// The entries before this position are handed over. Only the first output costs a reading of
    /// the clock.
    pub(crate) fn read(&self, position: u64) {
        let first = self.response.first_output.load(Ordering::Relaxed);
        if !self.reader.first.is_set() && (1..=position).contains(&first) {
            self.reader.first.set_first(self.reader.start.elapsed());
        }
    }

    /// The end is handed over. Only the first time counts.
    pub(crate) fn read_end(&self) {
        if self.reader.is_complete.get().is_some() {
            return;
        }
        let now = self.reader.start.elapsed();
        self.reader.first.set_first(now);
        self.reader.last.set(now);
        self.reader.is_complete.get_or_init(|| ());
    }
}

impl Drop for Reading {
    fn drop(&mut self) {
        // A reader that left before the end.
        if self.reader.is_complete.get().is_none() {
            self.reader.last.set_first(self.reader.start.elapsed());
        }
    }
}

impl ReaderTimeline {
    fn record(&self) -> ReaderRecord {
        ReaderRecord {
            connection: self.connection.get().copied(),
            opened: self.opened,
            first: self.first.get(),
            last: self.last.get(),
            is_complete: self.is_complete.get().is_some(),
        }
    }
}

/// The timelines of the responses that ended last.
#[derive(Debug, Default)]
pub(crate) struct EndedTimelines(Mutex<VecDeque<Arc<ResponseTimeline>>>);

impl EndedTimelines {
    /// A response has ended.
    pub(crate) fn add(&self, timeline: Arc<ResponseTimeline>) {
        let mut ended = self.ended();
        let oldest = if ended.len() == REMEMBERED { ended.pop_front() } else { None };
        ended.push_back(timeline);
        drop(ended);
        drop(oldest);
    }

    /// The timeline of one of them.
    pub(crate) fn find(&self, id: &ResponseId) -> Option<Arc<ResponseTimeline>> {
        self.ended().iter().rev().find(|timeline| timeline.id == *id).cloned()
    }

    fn ended(&self) -> MutexGuard<'_, VecDeque<Arc<ResponseTimeline>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
