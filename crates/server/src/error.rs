//! The one place that turns errors into answers.

use axum::Json;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use protocol::fault::{Fault, FaultKind};

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
        // SDKs repeat a 409 by themselves; what two requests disagree on, a repetition does not settle.
        if fault.kind == FaultKind::Conflict {
            headers.insert("x-should-retry", HeaderValue::from_static("false"));
        }
        response
    }
}

/// There is nothing at this path.
pub(crate) async fn no_such_path(uri: http::Uri) -> Refused {
    let message = format!("There is nothing at {}. GET /openapi.json lists what there is.", uri.path());
    Fault::new(FaultKind::NotFound, "unknown_path", message).into()
}

/// The path exists, but not for this method.
pub(crate) async fn no_such_method(method: http::Method, uri: http::Uri) -> Refused {
    let message = format!("{method} is not possible on {}; the Allow header says what is.", uri.path());
    Fault::new(FaultKind::InvalidRequest, "method_not_allowed", message).with_status(405).into()
}

/// A handler panicked.
pub(crate) fn panicked() -> Refused {
    Fault::new(FaultKind::Server, "server_error", "Weir failed on this request; its log says more").into()
}
