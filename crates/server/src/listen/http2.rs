//! HTTP/2 on a connection: many streams, each a task of its own, and each cut on its own when its
//! reader takes nothing.

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

use super::body::Watched;
use super::connection::ConnectionHandle;
use super::exchange::Exchange;
use super::gauge::StallGauge;
use super::protocol::HttpVersion;
use super::seen::ObservedStream;
use super::service::ServiceFactory;
use super::serving::{Listening, Serving};

/// How many responses one connection may carry at once (RFC 9113 §5.1.2 advises 100 or more).
const MAX_STREAMS: u32 = 128;

/// How many bytes of one response wait for its reader's window, beside the chunk in hand; hyper's
/// default is 400 KiB.
const SEND_BUFFER: usize = 64 << 10;

/// How many streams the client may reset before they are accepted (CVE-2023-44487, rapid reset).
const MAX_PENDING_RESETS: usize = 20;

/// How many streams the client may provoke us to reset (CVE-2025-8671, "made you reset").
const MAX_LOCAL_RESETS: usize = 256;

/// How often a connection gets a ping, and how long its peer may take to acknowledge it.
const KEEP_ALIVE: Duration = Duration::from_secs(20);

/// How long a connection without streams may take to close after GOAWAY.
const FAREWELL: Duration = Duration::from_secs(1);

tokio::task_local! {
    /// The gauge of the stream whose task runs: it joins the task, which hyper makes, and the body,
    /// which we make.
    static GAUGE: Arc<StallGauge>;
}

/// Responds to the requests of a connection, until it has had none for the idle time.
pub(super) async fn serve<S, F>(stream: S, connection: ConnectionHandle, serving: Serving<F>)
where
    F: ServiceFactory,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection.set_protocol(HttpVersion::Http2);
    let Serving { factory, config, listening } = serving;
    let Listening { tasks, drain, .. } = &*listening;
    let for_requests = connection.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (factory, connection) = (factory.clone(), for_requests.clone());
        async move {
            let mut request = request.map(Body::new);
            factory.normalise(request.uri_mut());
            let exchange = Exchange::start(&connection, &request, factory.label(request.uri()));
            request.extensions_mut().insert(exchange.clone());
            request.extensions_mut().insert(connection);
            let gauge = GAUGE.try_with(Arc::clone).unwrap_or_default();
            request.extensions_mut().insert(Arc::clone(&gauge));
            let response = factory
                .service()
                .oneshot(request)
                .await
                .unwrap_or_else(|never: Infallible| match never {});
            exchange.response_started(response.status().as_u16());
            Ok::<_, Infallible>(response.map(|body| Watched::http2(body, gauge, exchange)))
        }
    });
    let streams = Arc::new(Streams::new());
    let executor = StreamTasks {
        tasks: tasks.clone(),
        streams: Arc::clone(&streams),
        write_timeout: config.write_timeout,
        connection: connection.id(),
    };
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
    let mut serving =
        std::pin::pin!(http.serve_connection(
            TokioIo::new(ObservedStream::new(stream, connection.clone())),
            service
        ));
    let mut wait_to_close = std::pin::pin!(drain.clone().wait_to_close());
    let mut patience = config.idle_timeout;
    let (mut is_draining, mut is_told) = (false, false);
    let mut look = Instant::now() + patience;
    let served = loop {
        tokio::select! {
            served = serving.as_mut() => break served,
            () = drain.aborted(), if is_told => break Ok(()),
            () = wait_to_close.as_mut(), if !is_told => (is_draining, is_told) = (true, true),
            () = sleep_until(look) => match streams.idle_since() {
                Some(since) if since + patience <= Instant::now() && is_draining => break Ok(()),
                Some(since) if since + patience <= Instant::now() => is_draining = true,
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
        // GOAWAY: open streams run to their ends, new ones go to other connections.
        serving.as_mut().graceful_shutdown();
        patience = FAREWELL;
        look = Instant::now() + patience;
    };
    if served.is_ok() && !is_told {
        drop(timeout(FAREWELL, connection.linger()).await);
    }
    connection.log_end(served.err().map(|_error| "closed"));
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

    /// The time since which no stream is open.
    fn idle_since(&self) -> Option<Instant> {
        let count = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (count.open == 0).then_some(count.last_ended)
    }
}

/// An open stream, until it is dropped.
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

/// Runs hyper's streams as tracked tasks, and ends those whose reader takes nothing for too long
/// (promise 7).
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
        // A task that hyper starts from within a stream, such as the sending half of a WebSocket,
        // shares that stream's gauge.
        let gauge = GAUGE.try_with(Arc::clone).unwrap_or_default();
        let stream = GAUGE.scope(Arc::clone(&gauge), stream);
        let (open, write_timeout, connection) =
            (OpenStream::new(&self.streams), self.write_timeout, self.connection);
        self.tasks.spawn("stream", async move {
            tokio::select! {
                () = stream => {}
                // Dropping the stream resets it, whatever its window; the connection and its other
                // streams go on.
                () = gauge.stalled(write_timeout) => tracing::debug!(connection, "a stream's reader did not read for too long"),
            }
            drop(open);
        });
    }
}
