//! `/v1/models`: the models that can be called.

use axum::Json;
use axum::extract::State;
use engine::provider::models::ModelListing;
use protocol::fault::Fault;
use serde_json::{Value, json};

use crate::app::App;
use crate::error::FaultResponse;
use crate::http::context::RequestContext;
use crate::http::extract::PathParam;

/// `GET /v1/models`
pub(crate) async fn list(State(app): State<App>, _context: RequestContext) -> Json<Value> {
    let models: Vec<Value> =
        app.engine.models().await.iter().map(|model| object(&app, model)).collect();
    Json(json!({ "object": "list", "data": models }))
}

/// `GET /v1/models/{id}`
pub(crate) async fn retrieve(
    State(app): State<App>,
    _context: RequestContext,
    PathParam(id): PathParam<String>,
) -> Result<Json<Value>, FaultResponse> {
    let models = app.engine.models().await;
    let model = models.iter().find(|model| model.id == id).ok_or_else(|| {
        Fault::invalid("model_not_found", "model", format!("The model '{id}' does not exist."))
            .with_status(404)
    })?;
    Ok(Json(object(&app, model)))
}

/// A model for which the upstream gives no time, as the demo and configured names, exists since the
/// server started.
fn object(app: &App, model: &ModelListing) -> Value {
    let created = if model.created == 0 { app.metrics.started() } else { model.created };
    json!({ "id": model.id, "object": "model", "created": created, "owned_by": model.owned_by })
}
