//! HTTP/2 on a connection: many streams, each a task of its own, and each cut by itself when its reader takes nothing.

use std::convert::Infallible;
use std::future::Future;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::body::Body;
use engine::tasks::Tasks;
use http::Request;
use hyper::body::Incoming;
use hyper::rt::Executor;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::{Instant, sleep_until, timeout};
use tower::ServiceExt;

use super::exchange::Exchange;
use super::io::{Connection, Protocol};
use super::seen::Seen;
use super::{Serving, end};
use crate::paths;
use crate::transport::Watched;

/// How many answers one connection may carry at once (RFC 9113 §5.1.2 advises 100 or more).
const MAX_STREAMS: u32 = 128;

/// How many bytes of one answer wait for its reader's window, beside the chunk in hand; hyper's default is 400 KiB.
const SEND_BUFFER: usize = 64 << 10;

/// How many streams may be reset by the client before they were looked at (CVE-2023-44487, rapid reset).
const MAX_PENDING_RESETS: usize = 20;

/// How many streams we may have to reset because of what the client sends (CVE-2025-8671, "made you reset").
const MAX_LOCAL_RESETS: usize = 256;

/// How often a connection is asked whether it lives, and how long it may take to say so.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long a connection without streams may take to close, once it was told to go away.
const FAREWELL: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The gauge of the stream whose task runs. Hyper makes the task and we make the body; this joins them.
    static GAUGE: Arc<Gauge>;
}

/// Answers the requests of a connection, until it has had none for the idle time.
pub(super) async fn serve<S>(stream: S, connection: Connection, serving: Serving)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection.speaks(Protocol::Http2);
    let Serving { live, config, .. } = serving;
    let (tasks, drain) = (live.app().tasks.clone(), live.app().drain.clone());
    let for_requests = connection.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, connection) = (live.router(), for_requests.clone());
        async move {
            let mut request = request.map(Body::new);
            paths::normalise(request.uri_mut());
            let exchange = Exchange::begin(&connection, &request);
            request.extensions_mut().insert(exchange.clone());
            request.extensions_mut().insert(connection);
            let gauge = GAUGE.try_with(Arc::clone).unwrap_or_default();
            request.extensions_mut().insert(Arc::clone(&gauge));
            let response = router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
            exchange.answered(response.status().as_u16());
            Ok::<_, Infallible>(response.map(|body| Watched::http2(body, gauge, exchange)))
        }
    });
    let streams = Arc::new(Streams::new());
    let executor = StreamTasks { tasks, streams: Arc::clone(&streams), write_timeout: config.write_timeout, connection: connection.id() };
    let mut http = http2::Builder::new(executor);
    http.timer(TokioTimer::new())
        .max_concurrent_streams(MAX_STREAMS)
        .max_send_buf_size(SEND_BUFFER)
        // It also bounds how many CONTINUATION frames h2 takes for one head.
        .max_header_list_size(u32::try_from(config.head_bytes).unwrap_or(u32::MAX))
        .max_pending_accept_reset_streams(MAX_PENDING_RESETS)
        .max_local_error_reset_streams(MAX_LOCAL_RESETS)
        // WebSocket over a stream (RFC 8441).
        .enable_connect_protocol()
        .keep_alive_interval(KEEP_ALIVE)
        .keep_alive_timeout(KEEP_ALIVE);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(Seen::new(stream, connection.clone())), service));
    let mut farewell = std::pin::pin!(drain.clone().farewell());
    let mut patience = config.idle_timeout;
    let (mut is_leaving, mut is_told) = (false, false);
    let mut look = Instant::now() + patience;
    let served = loop {
        tokio::select! {
            served = serving.as_mut() => break served,
            () = drain.broken_off(), if is_told => break Ok(()),
            () = farewell.as_mut(), if !is_told => (is_leaving, is_told) = (true, true),
            () = sleep_until(look) => match streams.quiet_since() {
                Some(since) if since + patience <= Instant::now() && is_leaving => break Ok(()),
                Some(since) if since + patience <= Instant::now() => is_leaving = true,
                Some(since) => {
                    look = since + patience;
                    continue;
                }
                None => {
                    look = Instant::now() + patience;
                    continue;
                }
            },
        }
        // GOAWAY: the streams that there are go on to their ends, new ones go elsewhere.
        serving.as_mut().graceful_shutdown();
        patience = FAREWELL;
        look = Instant::now() + patience;
    };
    if served.is_ok() && !is_told {
        drop(timeout(FAREWELL, connection.read_out()).await);
    }
    end(&connection, served.err().map(|_error| "closed"));
}

/// The streams of one connection.
#[derive(Debug)]
struct Streams(Mutex<Count>);

#[derive(Debug)]
struct Count {
    open: usize,
    last_ended: Instant,
}

impl Streams {
    fn new() -> Self {
        Self(Mutex::new(Count { open: 0, last_ended: Instant::now() }))
    }

    fn change(&self, change: impl FnOnce(&mut Count)) {
        change(&mut self.0.lock().unwrap_or_else(PoisonError::into_inner));
    }

    /// Since when there is none.
    fn quiet_since(&self) -> Option<Instant> {
        let count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (count.open == 0).then_some(count.last_ended)
    }
}

/// While it lives, a stream is open.
struct OpenStream(Arc<Streams>);

impl OpenStream {
    fn new(streams: &Arc<Streams>) -> Self {
        streams.change(|count| count.open += 1);
        Self(Arc::clone(streams))
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.change(|count| {
            count.open = count.open.saturating_sub(1);
            count.last_ended = Instant::now();
        });
    }
}

/// Runs hyper's streams as tasks of ours, and ends those whose reader takes nothing for too long (promise 7).
#[derive(Clone)]
struct StreamTasks {
    tasks: Tasks,
    streams: Arc<Streams>,
    write_timeout: Duration,
    connection: u64,
}

impl<F> Executor<F> for StreamTasks
where
    F: Future<Output = ()> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // What hyper starts from within a stream, the sending half of a WebSocket, is that stream's and has its gauge.
        let gauge = GAUGE.try_with(Arc::clone).unwrap_or_default();
        let stream = GAUGE.scope(Arc::clone(&gauge), stream);
        let (open, write_timeout, connection) = (OpenStream::new(&self.streams), self.write_timeout, self.connection);
        self.tasks.spawn("stream", async move {
            tokio::select! {
                () = stream => {}
                // Dropping the stream resets it, whatever its window; the connection and its other streams live on.
                () = gauge.stalled(write_timeout) => tracing::debug!(connection, "a stream's reader took nothing for too long"),
            }
            drop(open);
        });
    }
}

/// Whether a chunk waits for its reader. Hyper asks for the next one only when the reader's window has taken the last.
#[derive(Debug, Default)]
pub(crate) struct Gauge(Mutex<Option<Instant>>);

impl Gauge {
    /// A chunk was handed over.
    pub(crate) fn gave(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The next is asked for.
    pub(crate) fn asked(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn waiting_since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when one chunk has waited for `timeout`.
    async fn stalled(&self, timeout: Duration) {
        loop {
            let since = self.waiting_since().unwrap_or_else(Instant::now);
            sleep_until(since + timeout).await;
            if self.waiting_since().is_some_and(|since| since.elapsed() >= timeout) {
                return;
            }
        }
    }
}
