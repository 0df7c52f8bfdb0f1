//! `GET /v1/responses` with an upgrade: the API over one WebSocket.

use axum::extract::{Request, State};
use axum::response::Response;
use protocol::dialect::responses::Responses;

use crate::app::App;
use crate::error::FaultResponse;
use crate::http::context::RequestContext;
use crate::transport::websocket::{self, DialectSocket};

/// `GET /v1/responses` + Upgrade, or an extended CONNECT on HTTP/2.
pub(crate) async fn open(
    State(app): State<App>,
    context: RequestContext,
    request: Request,
) -> Result<Response, FaultResponse> {
    Ok(websocket::open(&app, DialectSocket::<Responses>::default(), context, request)?)
}
