//! HTTP/1.0 and 1.1 on a connection.

use std::convert::Infallible;
use std::error::Error;

use axum::body::Body;
use http::{Request, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::time::Instant;
use tower::ServiceExt;

use super::exchange::Exchange;
use super::heads::{Heads, SlowHead};
use super::io::{Connection, Protocol};
use super::seen::Seen;
use super::{Serving, end};
use crate::paths;
use crate::transport::Watched;

/// The most header fields of a request; real ones have some thirty.
const MAX_HEADERS: usize = 128;

/// Answers the requests of a connection, in their order. The first has until `deadline` to begin.
pub(super) async fn serve<S>(stream: S, connection: Connection, serving: Serving, deadline: Instant)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection.speaks(Protocol::Http1);
    let Serving { live, config, .. } = serving;
    let drain = live.app().drain.clone();
    let for_requests = connection.clone();
    let service = service_fn(move |request: Request<Incoming>| {
        let (router, connection) = (live.router(), for_requests.clone());
        let answering = connection.answer();
        async move {
            let mut request = request.map(Body::new);
            paths::normalise(request.uri_mut());
            let exchange = Exchange::begin(&connection, &request);
            request.extensions_mut().insert(connection.clone());
            request.extensions_mut().insert(exchange.clone());
            let version = request.version();
            let mut response = router.oneshot(request).await.unwrap_or_else(|never: Infallible| match never {});
            // Of an answer of version 1.1 hyper would say that the connection stays, though only its close ends the answer.
            if version == Version::HTTP_10 && response.body().size_hint().exact().is_none() {
                *response.version_mut() = version;
                connection.ends_by_close();
            }
            exchange.answered(response.status().as_u16());
            Ok::<_, Infallible>(response.map(|body| Watched::http1(body, answering, exchange)))
        }
    });
    let seen = Seen::new(stream, connection.clone());
    let heads = Heads::new(seen, connection.clone(), &config, deadline);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // `Heads` holds the time: hyper takes the pause between two requests for a head that is slow to come.
        .header_read_timeout(None)
        .max_buf_size(config.head_bytes)
        .max_headers(MAX_HEADERS)
        // A FIN is not a leave: what it means is decided where the answer is, which watches the socket by itself.
        .half_close(true);
    let mut serving = std::pin::pin!(http.serve_connection(TokioIo::new(heads), service).with_upgrades());
    let served = tokio::select! {
        biased;
        served = serving.as_mut() => served,
        () = drain.clone().farewell() => {
            // Without an answer on it, it closes; otherwise behind the answer, whose head says so if it is not out yet.
            serving.as_mut().graceful_shutdown();
            tokio::select! {
                biased;
                served = serving.as_mut() => served,
                () = drain.broken_off() => return break_off(&connection),
            }
        }
    };
    let cause = served.err().as_ref().map(cause);
    if matches!(cause, Some("malformed" | "head_timeout")) {
        connection.timeline().mark_unparsed();
    }
    end(&connection, cause);
}

/// Ends a connection in the middle of an answer. A length that is not met and a chunk that is not the last say so
/// themselves; where only the close would tell, it is a reset (promise 3).
fn break_off(connection: &Connection) {
    if connection.is_ended_by_close() {
        connection.abort();
    }
    end(connection, Some("shutdown"));
}

/// A word for why hyper gave a connection up.
fn cause(error: &hyper::Error) -> &'static str {
    let failed = Error::source(error).and_then(|source| source.downcast_ref::<std::io::Error>());
    let inner = failed.and_then(std::io::Error::get_ref);
    if inner.is_some_and(<dyn Error + Send + Sync>::is::<SlowHead>) {
        "head_timeout"
    } else if failed.is_some_and(|error| error.kind() == std::io::ErrorKind::TimedOut) {
        "write_timeout"
    } else if error.is_parse() {
        "malformed"
    } else if error.is_user() {
        "aborted"
    } else {
        "closed"
    }
}
