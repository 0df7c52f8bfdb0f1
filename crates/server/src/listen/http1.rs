//! HTTP/1.0 and 1.1 on a connection.

use std::convert::Infallible;
use std::error::Error;
use std::io;

use axum::body::Body;
use futures_util::FutureExt;
use http::{Request, Version};
use http_body::Body as _;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;
use tower::ServiceExt;

use super::body::Watched;
use super::connection::ConnectionHandle;
use super::exchange::Exchange;
use super::heads::{Heads, Refusal, Refused, SlowHead};
use super::protocol::HttpVersion;
use super::refusal;
use super::seen::ObservedStream;
use super::service::ServiceFactory;
use super::serving::Serving;

/// The limit on header fields of a request; real requests have about thirty.
const MAX_HEADERS: usize = 128;

/// Responds to the requests of a connection, in their order. The first must start before
/// `deadline`.
pub(super) async fn serve<S, F>(
    stream: S,
    connection: ConnectionHandle,
    serving: Serving<F>,
    deadline: Instant,
) where
    F: ServiceFactory,
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    connection.set_protocol(HttpVersion::Http1);
    let Serving { factory, config, listening } = serving;
    let drain = &listening.drain;
    let (for_requests, for_refusals) = (connection.clone(), factory.clone());
    let service = service_fn(move |request: Request<Incoming>| {
        let (factory, connection) = (factory.clone(), for_requests.clone());
        let guard = connection.start_response();
        async move {
            let mut request = request.map(Body::new);
            factory.normalise(request.uri_mut());
            let exchange = Exchange::start(&connection, &request, factory.label(request.uri()));
            request.extensions_mut().insert(connection.clone());
            request.extensions_mut().insert(exchange.clone());
            let version = request.version();
            let mut response = factory
                .service()
                .oneshot(request)
                .await
                .unwrap_or_else(|never: Infallible| match never {});
            // For a response of version 1.1 hyper would announce that the connection stays open,
            // though only its close ends this one.
            if version == Version::HTTP_10 && response.body().size_hint().exact().is_none() {
                *response.version_mut() = version;
                connection.mark_close_delimited();
            }
            exchange.response_started(response.status().as_u16());
            Ok::<_, Infallible>(response.map(|body| Watched::http1(body, guard, exchange)))
        }
    });
    let seen = ObservedStream::new(stream, connection.clone());
    let (heads, mut refused) = Heads::new(seen, connection.clone(), &config, deadline);
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new())
        // `Heads` measures the time: hyper takes the pause between two requests for a slow head.
        .header_read_timeout(None)
        .max_buf_size(config.head_bytes)
        .max_headers(MAX_HEADERS)
        // A FIN does not mean that the client has left: the response's own delivery watches the
        // socket and decides.
        .half_close(true);
    // Dropped before a refusal is sent: then `heads` hands the stream back.
    let served = {
        let mut serving =
            std::pin::pin!(http.serve_connection(TokioIo::new(heads), service).with_upgrades());
        tokio::select! {
            biased;
            served = serving.as_mut() => served,
            () = drain.clone().wait_to_close() => {
                // Without a response on it, it closes; otherwise after the response, whose head
                // announces it if it is not sent yet.
                serving.as_mut().graceful_shutdown();
                tokio::select! {
                    biased;
                    served = serving.as_mut() => served,
                    () = drain.aborted() => return abort(&connection),
                }
            }
        }
    };
    if let Ok(refused) = refused.try_recv() {
        tokio::select! {
            biased;
            // A client that is gone needs no refusal.
            _failed = refuse(refused, &for_refusals) => {}
            () = drain.aborted() => {}
        }
    }
    let cause = served.err().as_ref().map(cause);
    if matches!(cause, Some("malformed" | "head_timeout")) {
        connection.timeline().mark_unparsed();
    }
    connection.log_end(cause);
}

/// Responds to a head that is not a request.
async fn refuse<S: AsyncRead + AsyncWrite + Unpin>(
    (mut stream, refusal): Refused<S>,
    factory: &impl ServiceFactory,
) -> io::Result<()> {
    let mut send = async |bytes: &[u8]| {
        stream.write_all(bytes).await?;
        stream.flush().await
    };
    match refusal {
        Refusal::Parser(status) => {
            send(&refusal::of_parser(factory, status)).await?;
            stream.shutdown().await
        }
        // The rest is dropped if the socket does not accept it at once.
        Refusal::SlowHead => send(&refusal::of_slow_head(factory)).now_or_never().unwrap_or(Ok(())),
    }
}

/// Ends a connection in the middle of a response. A short length and a missing last chunk show it
/// by themselves; where only the close would, it is a reset (promise 3).
fn abort(connection: &ConnectionHandle) {
    if connection.is_ended_by_close() {
        connection.abort();
    }
    connection.log_end(Some("shutdown"));
}

/// The reason why hyper ended a connection, in one word for the log.
fn cause(error: &hyper::Error) -> &'static str {
    let failed = Error::source(error).and_then(|source| source.downcast_ref::<io::Error>());
    let inner = failed.and_then(io::Error::get_ref);
    if inner.is_some_and(<dyn Error + Send + Sync>::is::<SlowHead>) {
        "head_timeout"
    } else if failed.is_some_and(|error| error.kind() == io::ErrorKind::TimedOut) {
        "write_timeout"
    } else if error.is_parse() {
        "malformed"
    } else if error.is_user() {
        "aborted"
    } else {
        "closed"
    }
}
