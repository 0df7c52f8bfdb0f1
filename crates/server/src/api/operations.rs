//! What operators and tools ask: is it alive, is it ready, what can it do.

use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::{Extension, Json};
use http::{HeaderMap, HeaderValue, StatusCode, Uri, header};
use serde_json::{Value, json};

use crate::auth;
use crate::forwarded::Forwarded;
use crate::router::App;

/// The description of the whole face; a test holds it to the router.
const OPENAPI: &str = include_str!("../openapi.json");

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: it takes work; 503 once it is on its way out. Says how much it has.
pub(crate) async fn readyz(State(app): State<App>) -> (StatusCode, Json<Value>) {
    let census = app.engine.census();
    let (status, word) = if app.drain.is_unready() { (StatusCode::SERVICE_UNAVAILABLE, "draining") } else { (StatusCode::OK, "ready") };
    (status, Json(json!({ "status": word, "answers_running": census.running, "connections": app.connections.open() })))
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
