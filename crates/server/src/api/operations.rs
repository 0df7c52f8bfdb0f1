//! What operators and tools ask: whether the server is alive and ready, and what it can do.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::app::App;
use crate::http::extract::may_read_metrics;
use crate::http::forwarded::Forwarded;
use crate::http::origin::own_url;

/// The description of the whole API; a test compares it with the router.
const OPENAPI: &str = include_str!("../openapi.json");

/// `GET /healthz`: the process is alive.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: whether it accepts requests; 503 once it is shutting down. The number of running
/// responses is only for callers that may read the metrics: it reveals the activity of others.
pub(crate) async fn readyz(State(app): State<App>, request: Request) -> (StatusCode, Json<Value>) {
    let (status, word) = if app.drain.is_unready() {
        (StatusCode::SERVICE_UNAVAILABLE, "draining")
    } else {
        (StatusCode::OK, "ready")
    };
    let (parts, _body) = request.into_parts();
    let mut body = json!({ "status": word });
    // A probe with a wrong key gets a response all the same.
    if may_read_metrics(&app, &parts).unwrap_or(false) {
        body["answers_running"] = app.engine.census().running.into();
        body["connections"] = app.connections.open().into();
    }
    (status, Json(body))
}

/// `GET /v1`: explains the base URL.
pub(crate) async fn api(
    Extension(forwarded): Extension<Forwarded>,
    uri: Uri,
    headers: HeaderMap,
) -> Json<Value> {
    let own_url = own_url(forwarded, &uri, &headers);
    Json(json!({
        "object": "api",
        "name": "Weir",
        "base_url": format!("{own_url}/v1"),
        "endpoints": ["POST /v1/responses", "POST /v1/chat/completions", "GET /v1/models"],
        "description": format!("{own_url}/openapi.json"),
    }))
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI)
        .into_response()
}
