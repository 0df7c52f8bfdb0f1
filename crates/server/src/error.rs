//! The one place that turns errors into answers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, Method, StatusCode, Uri, header};
use protocol::fault::{Fault, FaultKind};

use crate::api::coding;

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
        let Self(fault) = self;
        let status = StatusCode::from_u16(fault.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        let mut response = (status, Json(fault.body())).into_response();
        let headers = response.headers_mut();
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
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response
    }
}

/// The client closed its half of the connection, which counts as leaving (`server.fin_leaves_json`). It may still read, and
/// must not take silence for success. 499 is nginx's status for this.
pub(crate) fn left() -> Fault {
    let message = "The client closed its half of the connection before the answer: it was taken to have left (server.fin_leaves_json).";
    Fault::new(FaultKind::InvalidRequest, "client_closed_request", message).with_status(499)
}

/// There is nothing at this path. `*` is no path: who asks for its options wants to know whether we live (RFC 9110 §9.3.7).
pub(crate) fn no_such_path(method: &Method, uri: &Uri) -> Response {
    if method == Method::OPTIONS && uri.path() == "*" {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message = format!("There is nothing at {}. GET /openapi.json lists what there is.", uri.path());
    Refused(Fault::new(FaultKind::NotFound, "unknown_path", message)).into_response()
}

/// The path exists, but not for this method. What it exists for is in `Allow`, which is all that `OPTIONS` asks.
pub(crate) async fn no_such_method(method: Method, uri: Uri) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    let message = format!("{method} is not possible on {}; the Allow header says what is.", uri.path());
    let fault = Fault::new(FaultKind::InvalidRequest, "method_not_allowed", message).with_status(405);
    Refused(fault).into_response()
}

/// A handler panicked.
pub(crate) fn panicked() -> Refused {
    Fault::new(FaultKind::Server, "server_error", "Weir failed on this request; its log says more").into()
}
