//! What operators and tools ask: is it alive, is it ready, what can it do.

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::router::App;

/// The description of the whole face; a test holds it to the router.
const OPENAPI: &str = include_str!("../openapi.json");

/// `GET /healthz`: the process answers.
pub(crate) async fn healthz() -> Json<Value> {
    Json(json!({ "status": "ok" }))
}

/// `GET /readyz`: it takes work. Says how much it has.
pub(crate) async fn readyz(State(app): State<App>) -> Json<Value> {
    let census = app.engine.census();
    Json(json!({ "status": "ready", "answers_running": census.running, "connections": app.connections.open() }))
}

/// `GET /openapi.json`
pub(crate) async fn openapi() -> Response {
    ([(header::CONTENT_TYPE, HeaderValue::from_static("application/json"))], OPENAPI).into_response()
}
