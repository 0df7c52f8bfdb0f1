//! `POST /v1/chat/completions`: the same responses in OpenAI's older vocabulary.

use axum::body::Body;
use axum::extract::State;
use axum::response::Response;
use http::HeaderMap;
use protocol::dialect::chat_completions::ChatCompletions;

use super::generate;
use crate::app::App;
use crate::error::FaultResponse;
use crate::http::context::RequestContext;

/// `POST /v1/chat/completions`
pub(crate) async fn create(
    State(app): State<App>,
    context: Result<RequestContext, FaultResponse>,
    headers: HeaderMap,
    body: Body,
) -> Response {
    generate::create::<ChatCompletions>(&app, context, &headers, body, "/v1/chat/completions").await
}
