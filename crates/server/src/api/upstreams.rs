//! `GET /v1/upstreams`: the health of the upstreams and their keys, for admins.

use std::time::Duration;

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::upstreams::{self, KeyState};
use http::{HeaderValue, header};
use serde_json::{Value, json};

use crate::app::App;
use crate::http::extract::Admin;

/// `GET /v1/upstreams`
pub(crate) async fn list(State(app): State<App>, _admin: Admin) -> Response {
    let upstreams: Vec<Value> = app.engine.upstreams().iter().map(object).collect();
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    (headers, Json(json!({ "object": "list", "data": upstreams }))).into_response()
}

fn object(state: &upstreams::UpstreamState) -> Value {
    let (circuit, left) = state.circuit.said();
    json!({
        "id": state.upstream,
        "object": "upstream",
        "circuit": circuit,
        "circuit_seconds": seconds(left),
        "keys": state.keys.iter().map(key).collect::<Vec<_>>(),
        "running": state.keys.iter().map(|key| key.running).sum::<usize>(),
        "waiting": state.waiting,
    })
}

fn key(key: &KeyState) -> Value {
    let (state, left) = key.health.said();
    json!({ "label": key.label, "state": state, "state_seconds": seconds(left), "running": key.running })
}

/// Whole seconds, rounded up.
fn seconds(left: Option<Duration>) -> Option<u64> {
    left.map(|left| left.as_secs() + u64::from(left.subsec_nanos() > 0))
}
