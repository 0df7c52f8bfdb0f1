//! Responses to requests for which there is no route.

use axum::Extension;
use axum::response::{IntoResponse, Response};
use http::{HeaderMap, Method, StatusCode, Uri};
use protocol::fault::{Fault, FaultKind};

use super::forwarded::Forwarded;
use super::origin::own_url;

use crate::error::{FaultResponse, not_implemented, not_possible};
use crate::paths;

/// There is nothing at this path. `OPTIONS *` is a ping of the server (RFC 9110 §9.3.7). `own_url`
/// is this server's, as the client sees it.
pub(crate) fn no_such_path(method: &Method, uri: &Uri, own_url: &str) -> Response {
    if method == Method::OPTIONS && uri.path() == "*" {
        return StatusCode::NO_CONTENT.into_response();
    }
    if !is_known(method) {
        return not_implemented(method);
    }
    let what = format!("There is nothing at {}", uri.path());
    let message = with_base_url(&what, uri, own_url)
        .unwrap_or_else(|| format!("{what}. GET /openapi.json lists all paths."));
    FaultResponse(Fault::new(FaultKind::NotFound, "unknown_path", message)).into_response()
}

/// The listener for operations has a few paths only.
pub(crate) async fn not_for_operations(uri: Uri) -> Response {
    let message = format!(
        "There is nothing at {}: this listener serves only /healthz, /readyz and /metrics (server.admin_listen).",
        uri.path()
    );
    FaultResponse(Fault::new(FaultKind::NotFound, "unknown_path", message)).into_response()
}

/// The message for a path that a client has built from a wrong base URL.
fn with_base_url(what: &str, uri: &Uri, own_url: &str) -> Option<String> {
    let base_url = paths::base_url_for(uri.path(), own_url)?;
    Some(format!("{what}. The client's base URL seems to be wrong: set it to {base_url}."))
}

/// The path exists, but not for this method. The `Allow` header lists its methods, which is all
/// that `OPTIONS` asks for.
pub(crate) async fn no_such_method(
    Extension(forwarded): Extension<Forwarded>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
) -> Response {
    if method == Method::OPTIONS {
        return StatusCode::NO_CONTENT.into_response();
    }
    if !is_known(&method) {
        return not_implemented(&method);
    }
    let what = format!("{method} is not allowed on {}", uri.path());
    match with_base_url(&what, &uri, &own_url(forwarded, &uri, &headers)) {
        Some(message) => not_possible(message),
        None => not_possible(format!("{what}; see the Allow header.")),
    }
}

/// Whether a method is one of RFC 9110, section 9.3, or RFC 5789. An unknown one gets 501, and a known
/// one that the path does not allow gets 405 (RFC 9110, section 9.1).
fn is_known(method: &Method) -> bool {
    let known = [
        Method::GET,
        Method::HEAD,
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::CONNECT,
        Method::OPTIONS,
        Method::TRACE,
        Method::PATCH,
    ];
    known.contains(method)
}
