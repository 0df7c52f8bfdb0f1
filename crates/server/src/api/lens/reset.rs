//! `DELETE /v1/lens/connections?lane=NAME`: resets the connections of a lane, as a network that
//! breaks would. A page cannot do that to its own connections.

use axum::Json;
use axum::extract::{Query as QueryOf, State};
use axum::response::{IntoResponse, Response};
use protocol::fault::Fault;
use serde_json::json;

use super::wanted;
use crate::app::App;
use crate::error::FaultResponse;
use crate::http::auth::Authenticated;
use crate::listen::{ConnectionFilter, ConnectionView};
use crate::query::Query;

/// Resets the open connections with a request in this lane that belong to the caller alone.
pub(crate) async fn reset(
    State(app): State<App>,
    QueryOf(query): QueryOf<Query>,
    Authenticated { caller, .. }: Authenticated,
) -> Result<Response, FaultResponse> {
    let Some(lane) = query.get("lane").filter(|lane| !lane.is_empty()) else {
        let message = "Missing required parameter: 'lane'.";
        return Err(Fault::invalid("missing_required_parameter", "lane", message).into());
    };
    let filter = ConnectionFilter { lane: Some(lane), ..wanted(&caller) };
    let is_own = |view: &ConnectionView| caller.admin || view.has_owner();
    let count = app.connections.register().reset(&filter, is_own);
    Ok(Json(json!({ "object": "lens.reset", "connections": count })).into_response())
}
