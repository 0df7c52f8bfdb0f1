//! The one place that turns faults into HTTP responses.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use hyper::ext::ReasonPhrase;
use protocol::dialect::Dialect;
use protocol::dialect::responses::Responses;
use protocol::fault::{Fault, FaultKind};

/// A fault as an HTTP response.
#[derive(Debug)]
pub(crate) struct FaultResponse(pub(crate) Fault);

impl From<Fault> for FaultResponse {
    fn from(fault: Fault) -> Self {
        Self(fault)
    }
}

impl IntoResponse for FaultResponse {
    fn into_response(self) -> Response {
        respond(&self.0, body(&self.0))
    }
}

/// The body of an error outside every dialect.
pub(crate) fn body(fault: &Fault) -> String {
    Responses::error_body(fault, None)
}

/// The fault as an HTTP response of a dialect.
pub(crate) fn refused<D: Dialect>(fault: &Fault) -> Response {
    respond(fault, D::error_body(fault, None))
}

/// The content codings of request bodies that are decoded, in order of preference, for
/// `Accept-Encoding`.
pub(crate) const ACCEPTED_CODINGS: &str = "zstd, gzip, deflate";

/// The code of the fault for any other content coding.
pub(crate) const UNSUPPORTED_CODING: &str = "unsupported_content_encoding";

/// Takes precedence over the status in OpenAI's SDKs.
pub(crate) const SHOULD_RETRY: &str = "x-should-retry";

/// The fault as an HTTP response with this body.
pub(crate) fn respond(fault: &Fault, body: String) -> Response {
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
    if fault.code == UNSUPPORTED_CODING {
        // RFC 9110 §15.5.16.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(ACCEPTED_CODINGS));
    }
    // SDKs retry a 409 automatically, and a retry does not resolve a conflict.
    if fault.kind == FaultKind::Conflict {
        headers.insert(SHOULD_RETRY, HeaderValue::from_static("false"));
    }
    response
}

/// nginx's status for a client that has left. No standard gives it a reason phrase.
const CLIENT_CLOSED_REQUEST: u16 = 499;

/// The client closed its half of the connection, which counts as leaving
/// (`server.fin_leaves_json`). It may still read, and an empty response would look like success.
pub(crate) fn left() -> Fault {
    let message = "The client closed its half of the connection before the response, which counts as a disconnect (server.fin_leaves_json).";
    Fault::new(FaultKind::InvalidRequest, "client_closed_request", message)
        .with_status(CLIENT_CLOSED_REQUEST)
}

/// The method is not allowed here.
pub(crate) fn not_possible(message: String) -> Response {
    FaultResponse(
        Fault::new(FaultKind::InvalidRequest, "method_not_allowed", message).with_status(405),
    )
    .into_response()
}

/// A method that no path supports (RFC 9110, section 15.6.2).
pub(crate) fn not_implemented(method: &http::Method) -> Response {
    let message = format!("{method} is not supported by this server.");
    FaultResponse(
        Fault::new(FaultKind::InvalidRequest, "method_not_implemented", message).with_status(501),
    )
    .into_response()
}

/// A handler panicked.
pub(crate) fn panicked() -> FaultResponse {
    Fault::new(FaultKind::Server, "server_error", "internal error; see the server's log").into()
}
