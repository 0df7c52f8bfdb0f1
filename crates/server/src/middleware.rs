//! Every layer that a request passes, with its reason.

use std::any::Any;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, OnceLock};

use axum::extract::{Request, State};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Router};
use futures_util::FutureExt;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, Version, header};
use protocol::id::Owner;
use tokio::time::Instant;

use crate::app::App;
use crate::error::{Refused, panicked};
use crate::forwarded::Forwarded;
use crate::{Connection, auth, forwarded, paths, unread};

/// The version of OpenAI's API, which has had no other since there is one.
const OPENAI_VERSION: &str = "2020-10-01";

/// What pages of other origins may read of an answer's head, beside what the Fetch standard lets them.
const EXPOSED: &str = "retry-after, x-request-id, x-should-retry, weir-response-id, weir-warning, openai-processing-ms, openai-version, \
                       x-ratelimit-limit-requests, x-ratelimit-remaining-requests";

/// Whose a request is, once that is known.
#[derive(Clone, Debug, Default)]
pub(crate) struct Asker(Arc<OnceLock<Owner>>);

impl Asker {
    /// It is this caller's.
    pub(crate) fn is(&self, owner: &Owner) {
        self.0.get_or_init(|| owner.clone());
    }
}

/// Puts the layers around the routes.
pub(crate) fn wrap(routes: Router<App>, app: &App) -> Router<App> {
    // Each `layer` goes around those before it: read from below to follow a request.
    routes
        // Nearest to the handlers: what a page may do depends on whose page it is.
        .layer(middleware::from_fn_with_state(app.clone(), origin))
        // Before anything is read of a request that was meant for another name.
        .layer(middleware::from_fn_with_state(app.clone(), host))
        // Around all who refuse: what they did not read would otherwise cost the connection, and with it their answer.
        .layer(middleware::from_fn(unread::take_in))
        // Around everything that can panic, so that one bad request is one bad answer.
        .layer(middleware::from_fn(catch_panic))
        // Outermost: it finds out whose the request is, names it, logs it once, and its headers are on every answer, refusals
        // included.
        .layer(middleware::from_fn_with_state(app.clone(), name_and_log))
}

async fn name_and_log(State(app): State<App>, request: Request, next: Next) -> Response {
    let (mut parts, body) = request.into_parts();
    let forwarded = forwarded::read(&mut parts, &app.config, app.is_encrypted);
    parts.extensions.insert(forwarded);
    let asker = Asker::default();
    parts.extensions.insert(asker.clone());
    let request = Request::from_parts(parts, body);
    let name = request_id();
    let connection = request.extensions().get::<Connection>().map(Connection::id);
    let (method, version) = (request.method().clone(), request.version());
    // The path, never the query: that is where careless clients put what nobody should see.
    let path = request.uri().path().to_owned();
    let wants_close = wants_close(request.uri());
    let started = Instant::now();
    let mut response = next.run(request).await;
    let status = response.status();
    let headers = response.headers_mut();
    headers.insert(header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    if paths::is_api(&path) {
        // What callers say and hear is nobody else's, a cache's least of all.
        headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
        headers.insert("openai-version", HeaderValue::from_static(OPENAI_VERSION));
        headers.insert("openai-processing-ms", u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX).into());
        if method == Method::POST && (headers.contains_key("weir-response-id") || status == StatusCode::TOO_MANY_REQUESTS) {
            say_capacity(&app, &asker, headers);
        }
    }
    // While the server goes, the client's next request goes where somebody stays.
    if (app.drain.is_unready() || wants_close) && version == Version::HTTP_11 && status != StatusCode::SWITCHING_PROTOCOLS {
        headers.insert(header::CONNECTION, HeaderValue::from_static("close"));
    }
    let answer = headers.get("weir-response-id").and_then(|id| id.to_str().ok()).map(str::to_owned);
    if let Ok(value) = HeaderValue::from_str(&name) {
        headers.insert(HeaderName::from_static("x-request-id"), value);
    }
    let client = forwarded.client.map(tracing::field::display);
    tracing::info!(request = name, connection, client, %method, path, status = status.as_u16(), response = answer, "request");
    response
}

/// A name for a request. It is told to the caller, so that it says nothing of other requests, or of the process.
fn request_id() -> String {
    let mut random = [0_u8; 16];
    // It is no secret: without a source of randomness there are still others.
    if getrandom::fill(&mut random).is_err() {
        tracing::debug!("the operating system gives no random bytes");
    }
    format!("req_{:032x}", u128::from_ne_bytes(random))
}

/// How many responses this caller may run at once, and how many more may start. Nothing is said of a reset,
/// since a place is free as soon as a response has ended.
fn say_capacity(app: &App, asker: &Asker, headers: &mut HeaderMap) {
    let Some(owner) = asker.0.get() else { return };
    let (limit, free) = app.engine.capacity(owner);
    headers.insert("x-ratelimit-limit-requests", limit.into());
    headers.insert("x-ratelimit-remaining-requests", free.into());
}

/// Whether the client wants this answer to be the connection's last. It would say so by `Connection: close`, but a page may not
/// set that field, and the lab shows what a new connection costs.
fn wants_close(uri: &Uri) -> bool {
    paths::is_api(uri.path()) && uri.query().is_some_and(|query| query.split('&').any(|pair| pair == "close=true"))
}

async fn catch_panic(request: Request, next: Next) -> Response {
    match AssertUnwindSafe(next.run(request)).catch_unwind().await {
        Ok(response) => response,
        Err(panic) => {
            tracing::error!(panic = said(&*panic), "a request panicked");
            panicked().into_response()
        }
    }
}

fn said(panic: &(dyn Any + Send)) -> &str {
    panic.downcast_ref::<&str>().copied().or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("?")
}

async fn host(State(app): State<App>, request: Request, next: Next) -> Response {
    let checked = auth::check_transfer_coding(request.headers())
        .and_then(|()| auth::check_host_once(request.version(), request.headers()))
        .and_then(|()| auth::check_host_syntax(request.version(), request.uri(), request.headers()))
        .and_then(|()| auth::check_host(&app.config, request.uri(), request.headers()));
    match checked {
        Ok(()) => next.run(request).await,
        Err(fault) => Refused(fault).into_response(),
    }
}

/// Refuses pages of other sites, and tells the browser of those that may.
async fn origin(State(app): State<App>, Extension(forwarded): Extension<Forwarded>, request: Request, next: Next) -> Response {
    if !paths::is_api(request.uri().path()) {
        return next.run(request).await;
    }
    let origin = match auth::check_origin(&app.config, forwarded, request.uri(), request.headers()) {
        Ok(origin) => origin,
        Err(fault) => return Refused(fault).into_response(),
    };
    let asked = request.headers().get(header::ACCESS_CONTROL_REQUEST_HEADERS).cloned();
    let is_preflight = request.method() == Method::OPTIONS && request.headers().contains_key(header::ACCESS_CONTROL_REQUEST_METHOD);
    let mut response = if is_preflight { StatusCode::NO_CONTENT.into_response() } else { next.run(request).await };
    let Some(origin) = origin.and_then(|origin| HeaderValue::from_str(&origin).ok()) else { return response };
    let headers = response.headers_mut();
    headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HeaderValue::from_static(EXPOSED));
    if is_preflight {
        headers.insert(header::ACCESS_CONTROL_ALLOW_METHODS, HeaderValue::from_static("GET, POST, DELETE"));
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, HeaderValue::from_static("600"));
        if let Some(asked) = asked {
            headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, asked);
        }
    }
    response
}
