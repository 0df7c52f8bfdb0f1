//! Accepts connections and speaks HTTP/1 on them.

mod io;
mod refusal;

use std::convert::Infallible;
use std::future::Future;
use std::io as std_io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use engine::tasks::Tasks;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use socket2::SockRef;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

pub(crate) use io::Answering;
use io::Io;
pub use io::{Connection, Signal};

use crate::config::Config;
use crate::transport::Watched;

/// A pause after a failed accept: the process may be out of file descriptors, and a loop would only burn the CPU.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

/// The most header fields of a request; real ones have some thirty.
const MAX_HEADERS: usize = 128;

/// How many connections there are and were.
#[derive(Debug, Default)]
pub struct Connections {
    opened: AtomicU64,
    closed: AtomicU64,
}

impl Connections {
    /// How many are open.
    pub fn open(&self) -> u64 {
        self.opened.load(Ordering::Relaxed).saturating_sub(self.closed.load(Ordering::Relaxed))
    }
}

struct Open(Arc<Connections>);

impl Drop for Open {
    fn drop(&mut self) {
        self.0.closed.fetch_add(1, Ordering::Relaxed);
    }
}

/// Serves `router` on `listener` until `shutdown` resolves. Then nothing new is accepted and idle connections close;
/// answers that are on their way go on, as tasks of `tasks`.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    config: Arc<Config>,
    tasks: Tasks,
    connections: Arc<Connections>,
    shutdown: impl Future<Output = ()> + Send,
) {
    let mut shutdown = std::pin::pin!(shutdown);
    let closing = CancellationToken::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = &mut shutdown => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((stream, peer)) => {
                let id = connections.opened.fetch_add(1, Ordering::Relaxed);
                let open = Open(Arc::clone(&connections));
                tune(&stream, &config);
                let io = Io::new(id, stream, peer, config.write_timeout);
                let (router, config, closing) = (router.clone(), Arc::clone(&config), closing.clone());
                tasks.spawn("connection", async move {
                    connection(io, router, config, closing).await;
                    drop(open);
                });
            }
            Err(error) => {
                tracing::warn!(%error, "a connection could not be accepted");
                tokio::time::sleep(ACCEPT_PAUSE).await;
            }
        }
    }
    drop(listener);
    closing.cancel();
}

/// No token waits for the next (RFC 896), and a peer that vanished is found out.
fn tune(stream: &TcpStream, config: &Config) {
    let socket = SockRef::from(stream);
    let tuned = socket.set_tcp_nodelay(true);
    #[cfg(target_os = "linux")]
    let tuned = tuned.and_then(|()| socket.set_tcp_user_timeout(Some(config.write_timeout)));
    if let Err(error) = tuned {
        tracing::debug!(%error, "a socket option could not be set");
    }
}

async fn connection(io: Io, router: Router, config: Arc<Config>, closing: CancellationToken) {
    let connection = io.connection();
    let for_requests = connection.clone();
    let service = service_fn(move |request: http::Request<Incoming>| {
        let (router, connection) = (router.clone(), for_requests.clone());
        let answering = connection.answer();
        async move {
            let mut request = request.map(Body::new);
            request.extensions_mut().insert(connection);
            let response = router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
            Ok::<_, Infallible>(response.map(|body| Watched::new(body, answering)))
        }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        .header_read_timeout(config.head_timeout)
        .max_buf_size(config.head_bytes)
        .max_headers(MAX_HEADERS)
        // A FIN is not a leave: what it means is decided where the answer is, which watches the socket by itself.
        .half_close(true);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(io), service).with_upgrades());
    let served = tokio::select! {
        served = serving.as_mut() => served,
        () = closing.cancelled() => {
            serving.as_mut().graceful_shutdown();
            serving.await
        }
    };
    let (received, sent) = connection.bytes();
    match served {
        Ok(()) => tracing::trace!(connection = connection.id(), received, sent, "connection closed"),
        Err(error) => {
            if error.is_timeout() && connection.has_begun_head() {
                connection.say(&refusal::of_slow_head());
            }
            tracing::debug!(connection = connection.id(), received, sent, cause = cause(&error), "connection ended early");
        }
    }
}

/// A word for why hyper gave a connection up.
fn cause(error: &hyper::Error) -> &'static str {
    let timed_out = std::error::Error::source(error)
        .and_then(|source| source.downcast_ref::<std_io::Error>())
        .is_some_and(|error| error.kind() == std_io::ErrorKind::TimedOut);
    if timed_out {
        "write_timeout"
    } else if error.is_timeout() {
        "head_timeout"
    } else if error.is_parse() {
        "malformed"
    } else if error.is_user() {
        "aborted"
    } else {
        "closed"
    }
}
