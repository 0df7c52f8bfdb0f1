//! The one place that turns errors into answers.

use axum::Extension;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, HeaderValue, Method, StatusCode, Uri, header};
use hyper::ext::ReasonPhrase;
use protocol::dialect::Dialect;
use protocol::dialect::responses::Responses;
use protocol::fault::{Fault, FaultKind};

use crate::api::coding;
use crate::forwarded::Forwarded;
use crate::transport::Failed;
use crate::{auth, paths};

/// A fault on its way out as an HTTP answer.
#[derive(Debug)]
pub(crate) struct Refused(pub(crate) Fault);

impl From<Fault> for Refused {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for Refused {
    fn into_response(self) -> Response {
        refused::<Responses>(&self.0)
    }
}

/// The fault as an HTTP response of a dialect.
pub(crate) fn refused<D: Dialect>(fault: &Fault) -> Response {
    respond(fault, D::error_body(fault, None))
}

/// The HTTP response where a response failed after it had started, with the `body` of its dialect.
///
/// SDKs repeat a request after most statuses. After output of the model that would be paid for twice, and is for the caller to decide.
pub(crate) fn failed(failed: &Failed, body: String) -> Response {
    let mut response = respond(failed.fault(), body);
    if failed.has_output() {
        response.headers_mut().insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// What OpenAI's SDKs obey rather than the status.
const SHOULD_RETRY: &str = "x-should-retry";

fn respond(fault: &Fault, body: String) -> Response {
    let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    let mut response = (status, body).into_response();
    if fault.status == CLIENT_CLOSED_REQUEST {
        response.extensions_mut().insert(ReasonPhrase::from_static(b"Client Closed Request"));
    }
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if let Some(seconds) = fault.retry_after {
        headers.insert(header::RETRY_AFTER, seconds.into());
    }
    if fault.kind == FaultKind::Authentication {
        headers.insert(header::WWW_AUTHENTICATE, HeaderValue::from_static("Bearer"));
    }
    if fault.code == coding::UNSUPPORTED {
        // RFC 9110 §15.5.16.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(coding::ACCEPTED));
    }
    // SDKs repeat a 409 by themselves; what two requests disagree on, a repetition does not settle.
    if fault.kind == FaultKind::Conflict {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// nginx's status for a client that has left; no standard gives it a reason phrase.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The client closed its half of the connection, which counts as leaving (`server.fin_leaves_json`). It may still read, and
/// must not take silence for success.
pub(crate) fn left() -> Fault {
    let message = "The client closed its half of the connection before the answer: it was taken to have left (server.fin_leaves_json).";
    Fault::new(FaultKind::InvalidRequest, "client_closed_request", message).with_status(CLIENT_CLOSED_REQUEST)
}

/// There is nothing at this path. `*` is no path: who asks for its options wants to know whether we live (RFC 9110 §9.3.7).
/// `own_url` is this server's, as the client knows it.
pub(crate) fn no_such_path(method: &Method, uri: &Uri, own_url: &str) -> Response {
    if method == Method::OPTIONS && uri.path() == "*" {
        return StatusCode::NO_CONTENT.into_response();
    }
    let what = format!("There is nothing at {}", uri.path());
    let message = mended(&what, uri, own_url).unwrap_or_else(|| format!("{what}. GET /openapi.json lists what there is."));
    Refused(Fault::new(FaultKind::NotFound, "unknown_path", message)).into_response()
}

/// The listener for operations has a few paths only.
pub(crate) async fn not_for_operations(uri: Uri) -> Response {
    let message = format!("There is nothing at {}: here are /healthz, /readyz and /metrics (server.admin_listen).", uri.path());
    Refused(Fault::new(FaultKind::NotFound, "unknown_path", message)).into_response()
}

/// The words for a path that a client has made of a wrong base URL.
fn mended(what: &str, uri: &Uri, own_url: &str) -> Option<String> {
    let base_url = paths::base_url_for(uri.path(), own_url)?;
    Some(format!("{what}. It looks as if the client's base URL were wrong: set it to {base_url}."))
}

/// The path exists, but not for this method. What it exists for is in `Allow`, which is all that `OPTIONS` asks.
pub(crate) async fn no_such_method(Extension(forwarded): Extension<Forwarded>, method: Method, uri: Uri, headers: HeaderMap) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let what = format!("{method} is not possible on {}", uri.path());
    match mended(&what, &uri, &auth::own_url(forwarded, &uri, &headers)) {
        Some(message) => not_possible(message),
        None => not_possible(format!("{what}; the Allow header says what is.")),
    }
}

/// A method is not possible here.
pub(crate) fn not_possible(message: String) -> Response {
    Refused(Fault::new(FaultKind::InvalidRequest, "method_not_allowed", message).with_status(405)).into_response()
}

/// A handler panicked.
pub(crate) fn panicked() -> Refused {
    Fault::new(FaultKind::Server, "server_error", "Weir failed on this request; its log says more").into()
}
