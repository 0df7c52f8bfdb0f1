//! What happened on a connection, and when.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime};

use super::record::{
    ClosingSide, ConnectionClose, ConnectionRecord, ReadWriteCounts, RequestRecord, RequestShare,
    RequestStart, RequestSubject, ResponseBytes, SentBytes, TlsHandshakeRecord,
};
use super::split::ByteClassifier;

/// Requests that are remembered of one connection; the oldest go first. Ten thousand connections
/// must not hold much.
const REQUESTS: usize = 8;

/// The same for requests with a lane: the client that named them looks them up later, even if all
/// requests of a page share one connection.
const LANES: usize = 32;

/// The longest prefix of a path that is kept.
const LONGEST_PATH: usize = 200;

/// The timeline of one connection. All times are from its acceptance on.
#[derive(Debug)]
pub struct Timeline {
    accepted: SystemTime,
    start: Instant,
    /// Whether bytes are counted by kind.
    is_sampled: bool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    handshake: Option<TlsHandshakeRecord>,
    split: ByteClassifier,
    counts: ReadWriteCounts,
    response_bytes: ResponseBytes,
    request_count: u64,
    requests: VecDeque<RequestRecord>,
    /// Those that are being answered.
    running: Vec<Running>,
    owner: Option<Arc<str>>,
    is_shared: bool,
    close: Option<ConnectionClose>,
}

/// A request that is being answered.
#[derive(Clone, Copy, Debug)]
struct Running {
    number: u64,
    /// Whether it belongs to a caller that is not known yet.
    is_unclaimed: bool,
}

impl Timeline {
    /// The timeline of a connection that was accepted now, which is `accepted` on the wall clock.
    /// Without `is_sampled` it looks at no byte: it has requests, the handshake and the close only.
    pub fn new(accepted: SystemTime, is_sampled: bool) -> Self {
        Self { accepted, start: now(), is_sampled, state: Mutex::default() }
    }

    /// Whether it counts bytes by kind.
    pub fn is_sampled(&self) -> bool {
        self.is_sampled
    }

    /// The client has sent these bytes.
    pub fn up(&self, bytes: &[u8]) {
        if !self.is_sampled {
            return;
        }
        let now = self.now();
        let mut state = self.state();
        state.split.up(bytes);
        let counts = &mut state.counts;
        counts.reads += 1;
        counts.first_in.get_or_insert(now);
        counts.last_in = Some(now);
    }

    /// These bytes were written to it.
    pub fn down(&self, bytes: &[u8]) {
        self.down_parts(std::iter::once(bytes), bytes.len());
    }

    /// The first `count` bytes of these parts were written to it at once.
    pub fn down_parts<'a>(&self, parts: impl Iterator<Item = &'a [u8]>, count: usize) {
        if !self.is_sampled {
            return;
        }
        let now = self.now();
        let mut state = self.state();
        let mut left = count;
        for part in parts {
            let part = &part[..part.len().min(left)];
            left -= part.len();
            state.split.down(part);
        }
        let counts = &mut state.counts;
        counts.writes += 1;
        counts.first_out.get_or_insert(now);
        counts.last_out = Some(now);
    }

    /// The TLS handshake, which began at `started`, is done.
    pub fn set_tls_handshake(
        &self,
        started: Instant,
        version: &'static str,
        alpn: Option<String>,
        is_resumed: bool,
    ) {
        let handshake = TlsHandshakeRecord {
            started: started - self.start,
            finished: self.now(),
            version,
            alpn,
            is_resumed,
        };
        self.state().handshake = Some(handshake);
    }

    /// A part of a response was put into a body.
    pub fn add_response_bytes(&self, bytes: ResponseBytes) {
        if !self.is_sampled {
            return;
        }
        let total = &mut self.state().response_bytes;
        total.events += bytes.events;
        total.framing += bytes.framing;
        total.dialect += bytes.dialect;
        total.text += bytes.text;
    }

    /// The head of a request was read. Returns its number. `network`: the bytes sent so far.
    pub fn start_request(
        &self,
        RequestStart { subject, method, path, version, lane }: RequestStart<'_>,
        network: u64,
    ) -> u64 {
        let end = path.char_indices().nth(LONGEST_PATH).map_or(path.len(), |(end, _)| end);
        let started = self.now();
        let mut state = self.state();
        let number = state.request_count;
        state.request_count += 1;
        let share = state.divide(network);
        let is_unclaimed = match subject {
            RequestSubject::Callers | RequestSubject::Lens => true,
            RequestSubject::Public => false,
        };
        state.running.push(Running { number, is_unclaimed });
        if subject == RequestSubject::Lens {
            return number;
        }
        state.make_room(lane.is_some());
        let share = lane.map_or(RequestShare::Mixed, |_| share);
        let (method, path, lane) =
            (method.to_owned(), path[..end].to_owned(), lane.map(str::to_owned));
        state.requests.push_back(RequestRecord {
            number,
            method,
            path,
            version,
            lane,
            owner: None,
            started,
            responded: None,
            status: None,
            finished: None,
            share,
        });
        number
    }

    /// The owner of a request is known.
    pub fn set_owner(&self, number: u64, owner: &str) {
        let owner: Arc<str> = {
            let mut state = self.state();
            let first = Arc::clone(state.owner.get_or_insert_with(|| owner.into()));
            state.is_shared |= *first != *owner;
            // Only now: the two must not be observed apart.
            if let Some(running) = state.running.iter_mut().find(|running| running.number == number)
            {
                running.is_unclaimed = false;
            }
            if *first == *owner { first } else { owner.into() }
        };
        self.change(number, |request, _now| request.owner = Some(owner));
    }

    /// A request could not be parsed, so its owner is not known.
    pub fn mark_unparsed(&self) {
        self.state().is_shared = true;
    }

    /// The head of a response is ready.
    pub fn response_started(&self, number: u64, status: u16) {
        self.change(number, |request, now| {
            (request.responded, request.status) = (Some(now), Some(status));
        });
    }

    /// The body of a response is complete, or its reader has left.
    pub fn request_finished(&self, number: u64) {
        self.state().settle(number);
        self.change(number, |request, now| request.finished = Some(now));
    }

    /// One end has closed, or was cut. Only the first counts.
    pub fn set_closed(&self, by: ClosingSide, how: &'static str) {
        let at = self.now();
        self.state().close.get_or_insert(ConnectionClose { by, how, at });
    }

    /// As it is now.
    pub fn record(&self) -> ConnectionRecord {
        let age = self.now();
        let state = self.state();
        ConnectionRecord {
            accepted: self.accepted,
            age,
            is_sampled: self.is_sampled,
            handshake: state.handshake.clone(),
            up: state.split.sent_up(),
            down: state.split.sent_down(),
            counts: state.counts,
            response_bytes: state.response_bytes,
            request_count: state.request_count,
            requests: state.requests.iter().cloned().collect(),
            owner: state.owner.clone(),
            is_shared: state.is_shared,
            is_unclaimed: state.running.iter().any(|running| running.is_unclaimed),
            close: state.close,
        }
    }

    /// Calls `look` with the owner of the first request and the requests that are remembered,
    /// without copying them.
    pub fn with_requests<T>(
        &self,
        look: impl FnOnce(Option<&Arc<str>>, &mut dyn Iterator<Item = &RequestRecord>) -> T,
    ) -> T {
        let state = self.state();
        look(state.owner.as_ref(), &mut state.requests.iter())
    }

    fn change(&self, number: u64, change: impl FnOnce(&mut RequestRecord, Duration)) {
        let now = self.now();
        let mut state = self.state();
        // One that was forgotten needs no end.
        if let Some(request) =
            state.requests.iter_mut().rev().find(|request| request.number == number)
        {
            change(request, now);
        }
    }

    fn now(&self) -> Duration {
        self.start.elapsed()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Forgets the oldest request with a lane, or the oldest without, if there are as many as are
    /// kept.
    fn make_room(&mut self, has_lane: bool) {
        let most = if has_lane { LANES } else { REQUESTS };
        let is_alike = |request: &RequestRecord| request.lane.is_some() == has_lane;
        if self.requests.iter().filter(|request| is_alike(request)).count() == most
            && let Some(oldest) = self.requests.iter().position(is_alike)
        {
            self.requests.remove(oldest);
        }
    }

    /// A new request starts: closes the shares of earlier requests, unless they are still running,
    /// and returns the share of the new one.
    fn divide(&mut self, network: u64) -> RequestShare {
        let now = SentBytes {
            network,
            bytes: self.split.sent_down(),
            response_bytes: self.response_bytes,
        };
        for request in &mut self.requests {
            if let RequestShare::Since(start) = request.share {
                request.share = request
                    .finished
                    .map_or(RequestShare::Mixed, |_| RequestShare::Whole(now.since(&start)));
            }
        }
        if self.running.is_empty() { RequestShare::Since(now) } else { RequestShare::Mixed }
    }

    /// A request is over. Unclaimed requests are attributed to other callers.
    fn settle(&mut self, number: u64) {
        if let Some(index) = self.running.iter().position(|running| running.number == number) {
            self.is_shared |= self.running.swap_remove(index).is_unclaimed;
        }
    }
}

/// A time to measure from. What is measured is what really passed, also where a test holds its own
/// clock.
#[expect(clippy::disallowed_methods, reason = "sockets do not wait for a clock that is held")]
fn now() -> Instant {
    Instant::now()
}

#[cfg(test)]
mod tests;
