//! `GET /v1/responses/{id}/event_times`: when the events of a response were appended to its log. An
//! event itself carries no time, so that its bytes are the same for every reader.

use std::time::Duration;

use axum::extract::State;
use axum::response::Response;
use engine::times::{EventTimes, RecordedTimes};
use protocol::id::ResponseId;
use protocol::snapshot;
use serde_json::json;

use super::generate::json_body;
use super::headers::with_response_id;
use crate::app::App;
use crate::error::FaultResponse;
use crate::http::context::RequestContext;
use crate::http::extract::PathParam;

/// `GET /v1/responses/{id}/event_times`
pub(crate) async fn event_times(
    State(app): State<App>,
    context: RequestContext,
    PathParam(id): PathParam<ResponseId>,
) -> Result<Response, FaultResponse> {
    let recorded = app.engine.event_times(&context.owner, &id).await?;
    let bytes = recorded.times.as_ref().map_or(0, EventTimes::bytes);
    let response = id.clone();
    let body = app
        .engine
        .work_sized(&context.owner, bytes, move || document(&response, &recorded))
        .await
        .ok_or_else(snapshot::unreadable)?;
    Ok(with_response_id(json_body(body.into()), &id))
}

fn document(id: &ResponseId, recorded: &RecordedTimes) -> String {
    let times = recorded.times.as_ref();
    let since: Vec<f64> =
        times.map(|times| times.since_creation().map(milliseconds).collect()).unwrap_or_default();
    json!({
        "object": "response.event_times",
        "response_id": id,
        "created_at_ms": times.map(EventTimes::created_ms),
        "elapsed_ms": recorded.elapsed.map(milliseconds),
        "times_ms": since,
    })
    .to_string()
}

/// Milliseconds with one decimal, which is as fine as times are recorded.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 10_000.0).round() / 10.0
}
