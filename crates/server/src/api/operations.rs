//! What operators and tools ask: is it alive, is it ready, what can it do.

use axum::extract::{Request, State};
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};

use super::metrics::may_watch;
use crate::app::App;
use crate::auth;
use crate::forwarded::Forwarded;

/// The description of the whole face; a test holds it to the router.
const OPENAPI: &str = include_str!("../openapi.json");

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: it takes work; 503 once it is on its way out. How much it has is told to those who may read the metrics: it says how much
/// others ask.
pub(crate) async fn readyz(State(app): State<App>, request: Request) -> (StatusCode, Json<Value>) {
    let (status, word) = if app.drain.is_unready() { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ready") };
    let (parts, _body) = request.into_parts();
    let mut said = json!({ "status": word });
    // A probe with a wrong key is answered all the same.
    if may_watch(&app, &parts).unwrap_or(false) {
        said["answers_running"] = app.engine.census().running.into();
        said["connections"] = app.connections.open().into();
    }
    (status, Json(said))
}

/// `GET /v1`: what a base URL is for.
pub(crate) async fn api(Extension(forwarded): Extension<Forwarded>, uri: Uri, headers: HeaderMap) -> Json<Value> {
    let own_url = auth::own_url(forwarded, &uri, &headers);
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
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI).into_response()
}
