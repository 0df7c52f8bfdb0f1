//! Every layer that a request passes, with its reason.

use std::any::Any;
use std::panic::AssertUnwindSafe;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use http_body::Body as _;
use protocol::id::Owner;
use tokio::time::Instant;

use super::auth::ResponseOwner;
use super::forwarded::{self, Forwarded};
use super::label::own_query;
use super::{host, origin, unread};
use crate::app::App;
use crate::error::{FaultResponse, panicked};
use crate::listen::ConnectionHandle;
use crate::paths;

/// The only version that OpenAI's API has had so far.
const OPENAI_VERSION: &str = "2020-10-01";

/// The response headers that pages of other origins may read, beside those that the Fetch standard
/// allows.
const EXPOSED: &str = "retry-after, x-request-id, x-should-retry, weir-response-id, weir-warning, openai-processing-ms, openai-version, \
                       x-ratelimit-limit-requests, x-ratelimit-remaining-requests";

/// Puts one layer around the routes, which calls the functions of this file one inside the other. A
/// layer of its own for each would cost a request as many copies of its route and as many boxed
/// futures.
pub(crate) fn wrap(routes: Router<App>, app: &App) -> Router<App> {
    routes.layer(middleware::from_fn_with_state(app.clone(), name_and_log))
}

/// Outermost: finds the client, gives the request its id, logs it once, and sets headers on every
/// response, refusals included.
async fn name_and_log(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let forwarded = forwarded::read(&mut parts, &app.config, app.is_encrypted);
    parts.extensions.insert(forwarded);
    let connection = parts.extensions.get::<ConnectionHandle>().map(ConnectionHandle::id);
    let (method, version) = (parts.method.clone(), parts.version);
    // The path, never the query: careless clients put secrets there.
    let path = parts.uri.path().to_owned();
    let wants_close = wants_close(&parts.uri);
    let id = request_id();
    let started = Instant::now();
    let mut response = catch_panic(&app, forwarded, Request::from_parts(parts, body), next).await;
    let duration_ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX);
    let status = response.status();
    let owner = response.extensions_mut().remove::<ResponseOwner>();
    let bytes = response.body().size_hint().exact();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if paths::is_api(&path) {
        // Requests and responses are private, and a cache would share them.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert("openai-version", HeaderValue::from_static(OPENAI_VERSION));
        headers.insert("openai-processing-ms", duration_ms.into());
        let is_limited =
            headers.contains_key("weir-response-id") || status == StatusCode::TOO_MANY_REQUESTS;
        if let Some(ResponseOwner(owner)) = owner.filter(|_| method == Method::POST && is_limited) {
            set_rate_limit_headers(&app, &owner, headers);
        }
    }
    // While the server is leaving, the client's next request goes to a server that stays.
    if (app.drain.is_unready() || wants_close)
        && version == Version::HTTP_11
        && status != StatusCode::SWITCHING_PROTOCOLS
    {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let response_id =
        headers.get("weir-response-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    if let Ok(value) = HeaderValue::from_str(&id) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    let client = forwarded.client.map(tracing::field::display);
    let status = status.as_u16();
    // A level is part of an event's metadata, so that each has a call of its own.
    if PROBES.contains(&path.as_str()) {
        tracing::debug!(request = id, connection, client, %method, path, status, duration_ms, bytes, "request");
    } else {
        tracing::info!(request = id, connection, client, %method, path, status, duration_ms, bytes, response = response_id, "request");
    }
    response
}

/// The paths that load balancers and monitors poll.
const PROBES: [&str; 3] = ["/healthz", "/readyz", "/metrics"];

/// A random id for a request. The caller sees it, so it reveals nothing about other requests or the
/// process.
fn request_id() -> String {
    let mut random = [0_u8; 16];
    // The id is not secret, so a request is served even without randomness.
    if getrandom::fill(&mut random).is_err() {
        tracing::debug!("the operating system provides no random bytes");
    }
    format!("req_{:032x}", u128::from_ne_bytes(random))
}

/// How many responses this caller may run at once, and how many more may start. There is no reset
/// time, since a place is free as soon as a response has ended.
fn set_rate_limit_headers(app: &App, owner: &Owner, headers: &mut HeaderMap) {
    let (limit, free) = app.engine.capacity(owner);
    headers.insert("x-ratelimit-limit-requests", limit.into());
    headers.insert("x-ratelimit-remaining-requests", free.into());
}

/// Whether the client asks for the connection to be closed after this response. A page may not set
/// `Connection: close`, and the lab shows what a new connection costs.
fn wants_close(uri: &Uri) -> bool {
    own_query(uri).is_some_and(|query| query.split('&').any(|pair| pair == "close=true"))
}

/// Around everything that can panic, so that it costs one request and not the connection.
async fn catch_panic(app: &App, forwarded: Forwarded, request: Request, next: Next) -> Response {
    // Around everything that refuses: an unread body would otherwise cost the connection, and the
    // refusal with it.
    let served = unread::read_out(request, |request| check_host(app, forwarded, request, next));
    match AssertUnwindSafe(served).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(panic = message(&*panic), "a request panicked");
            panicked().into_response()
        }
    }
}

fn message(panic: &(dyn Any + Send)) -> &str {
    panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("?")
}

/// Before anything is read of a request for another host.
async fn check_host(app: &App, forwarded: Forwarded, request: Request, next: Next) -> Response {
    let checked = host::check_transfer_coding(request.headers())
        .and_then(|()| host::check_host_once(request.version(), request.headers()))
        .and_then(|()| host::check_host_syntax(request.version(), request.uri(), request.headers()))
        .and_then(|()| host::check_host(&app.config, request.uri(), request.headers()));
    match checked {
        Ok(()) => check_origin(app, forwarded, request, next).await,
        Err(fault) => FaultResponse(fault).into_response(),
    }
}

/// Nearest to the routes, as what a page may do depends on its origin: refuses pages of other
/// sites, and sets CORS headers for those that are allowed.
async fn check_origin(app: &App, forwarded: Forwarded, request: Request, next: Next) -> Response {
    if !paths::is_api(request.uri().path()) {
        return next.run(request).await;
    }
    let origin =
        match origin::check_origin(&app.config, forwarded, request.uri(), request.headers()) {
            Ok(origin) => origin,
            Err(fault) => return FaultResponse(fault).into_response(),
        };
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let is_preflight = request.method() == Method::OPTIONS
        && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response =
        if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(&origin).ok()) else {
        return response;
    };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if is_preflight {
        headers.insert(
            header::ACCESS_CONTROL_ALLOW_METHODS,
            HeaderValue::from_static("GET, POST, DELETE"),
        );
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        if let Some(asked) = asked {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
    }
    response
}
