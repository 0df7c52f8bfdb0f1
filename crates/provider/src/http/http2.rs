//! The HTTP/2 connections to one upstream.
//!
//! Cancelling an HTTP/2 stream resets it, and servers close a connection after too many resets
//! (CVE-2023-44487 and its mitigations), which would break all other streams on it. So the number
//! of concurrent streams and of resets per connection is limited.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use engine::provider::connection::UpstreamConnection;
use http_body_util::Full;
use hyper::client::conn::http2::{Builder, SendRequest};
use hyper::rt::Executor;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use tokio::runtime::{Handle, Id};
use tokio::time::Instant;

use super::connect_error::{ConnectError, SendError};
use super::counted_stream::{CountedStream, SocketTraffic};
use super::new_connection::NewConnection;

/// Concurrent streams per HTTP/2 connection: what most servers allow (RFC 9113, section 6.5.2,
/// recommends no less).
const STREAMS: usize = 100;

/// Resets after which a connection gets no new streams. Servers that count resets typically object
/// at about a thousand.
const RESETS: usize = 200;

/// Idle HTTP/2 connections that are kept open.
const SPARE: usize = 2;

/// How long a connection is used again after its last stream.
const KEEP: Duration = Duration::from_secs(90);

/// Ping interval on HTTP/2 connections with open streams.
const PING: Duration = Duration::from_secs(30);

/// When HTTP/2 is used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Http2Mode {
    Never,
    /// Negotiated by ALPN.
    Offered,
    /// Prior knowledge: clear text has no negotiation.
    Known,
}

/// HTTP/2 connections. Each belongs to the runtime on which it was opened.
#[derive(Default)]
pub(super) struct Http2Pool {
    open: Mutex<Vec<Http2Connection>>,
}

struct Http2Connection {
    number: u64,
    runtime: Id,
    sender: Arc<SharedSender>,
    streams: usize,
    resets: usize,
    /// When its last stream ended.
    idle_since: Option<Instant>,
}

/// The connection of one lane: established by the first request, while the others wait.
#[derive(Default)]
pub(super) struct SharedSender {
    state: tokio::sync::Mutex<SenderState>,
}

#[derive(Default)]
struct SenderState {
    sender: Option<Http2Sender>,
    /// When and why it could not be established, for those that waited for it.
    failed: Option<(Instant, ConnectError)>,
}

/// The requests of a connection go here.
#[derive(Clone)]
pub(super) struct Http2Sender {
    pub(super) requests: SendRequest<Full<Bytes>>,
    pub(super) facts: Arc<UpstreamConnection>,
}

/// What a request goes out on.
pub(super) enum Opened {
    /// A new connection.
    New(Http2Sender),
    /// A connection that others have used.
    Reused(Http2Sender),
    /// The server chose HTTP/1.1.
    Http1(NewConnection),
}

/// A request's slot on a connection. Dropping it before [`Lease::ended`] counts as a reset.
#[derive(Default)]
pub(crate) struct Lease {
    lane: Option<(Arc<Http2Pool>, u64)>,
    is_ended: bool,
}

impl Http2Pool {
    /// A slot on a connection, which may have to be established first.
    pub(super) fn take(self: &Arc<Self>) -> (Arc<SharedSender>, Lease) {
        let runtime = Handle::current().id();
        let mut open = self.open();
        let free = open
            .iter_mut()
            .find(|lane| lane.runtime == runtime && lane.streams < STREAMS && lane.resets < RESETS);
        if let Some(lane) = free {
            if lane.idle_since.take().is_some_and(|since| since.elapsed() > KEEP) {
                lane.sender = Arc::default();
            }
            lane.streams += 1;
            return (Arc::clone(&lane.sender), self.lease(lane.number));
        }
        let number = open.last().map_or(0, |lane| lane.number + 1);
        let sender = Arc::<SharedSender>::default();
        open.push(Http2Connection {
            number,
            runtime,
            sender: Arc::clone(&sender),
            streams: 1,
            resets: 0,
            idle_since: None,
        });
        (sender, self.lease(number))
    }

    fn open(&self) -> MutexGuard<'_, Vec<Http2Connection>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn lease(self: &Arc<Self>, number: u64) -> Lease {
        Lease { lane: Some((Arc::clone(self), number)), is_ended: false }
    }

    fn give_back(&self, number: u64, is_reset: bool) {
        let mut open = self.open();
        let Some(index) = open.iter().position(|lane| lane.number == number) else { return };
        let lane = &mut open[index];
        lane.streams -= 1;
        lane.resets += usize::from(is_reset);
        if lane.streams > 0 {
            return;
        }
        lane.idle_since = Some(Instant::now());
        let (is_worn, runtime) = (lane.resets >= RESETS, lane.runtime);
        // A few idle connections are kept; the rest, and those with too many resets, close with
        // their last stream.
        if is_worn || open.iter().filter(|lane| lane.runtime == runtime).count() > SPARE {
            open.remove(index);
        }
    }
}

impl SharedSender {
    /// The connection, established with `connect` if there is none.
    ///
    /// # Errors
    /// It could not be established, perhaps by the request that this one waited for.
    pub(super) async fn get(
        &self,
        is_known: bool,
        connect: impl AsyncFnOnce() -> Result<NewConnection, SendError>,
    ) -> Result<Opened, ConnectError> {
        let asked = Instant::now();
        let mut state = self.state.lock().await;
        if let Some(sender) = state.sender.as_ref().filter(|sender| !sender.requests.is_closed()) {
            return Ok(Opened::Reused(sender.clone()));
        }
        if let Some((_, error)) = state.failed.filter(|(at, _)| *at > asked) {
            return Err(error);
        }
        let opened = async {
            let opened = connect().await?;
            if !is_known && !opened.stream.is_http2() {
                return Ok(Opened::Http1(opened));
            }
            handshake(opened).await.map(Opened::New).map_err(SendError::Exchange)
        };
        match opened.await {
            Ok(opened) => {
                if let Opened::New(sender) = &opened {
                    state.sender = Some(sender.clone());
                }
                Ok(opened)
            }
            Err(error) => {
                let error = ConnectError::of(&error);
                state.failed = Some((Instant::now(), error));
                Err(error)
            }
        }
    }
}

/// Speaks HTTP/2 on a stream. The connection's task ends with its last stream and sender.
async fn handshake(opened: NewConnection) -> hyper::Result<Http2Sender> {
    let NewConnection { stream, facts } = opened;
    let traffic = Arc::<SocketTraffic>::default();
    let stream = CountedStream::new(stream, Arc::clone(&traffic));
    let (mut sender, connection) = Builder::new(TokioExecutor::new())
        .timer(TokioTimer::new())
        .keep_alive_interval(PING)
        .handshake(TokioIo::new(stream))
        .await?;
    let shown = Arc::clone(&facts);
    TokioExecutor::new().execute(async move {
        // Its error has been reported to each of its requests.
        let _error: hyper::Result<()> = connection.await;
        shown.log_closed(traffic.close());
    });
    sender.ready().await?;
    Ok(Http2Sender { requests: sender, facts })
}

impl Lease {
    /// The body has been read to its end.
    pub(crate) fn ended(&mut self) {
        self.is_ended = true;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        if let Some((lanes, number)) = self.lane.take() {
            lanes.give_back(number, !self.is_ended);
        }
    }
}

impl fmt::Debug for Lease {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Lease").field("is_ended", &self.is_ended).finish_non_exhaustive()
    }
}
