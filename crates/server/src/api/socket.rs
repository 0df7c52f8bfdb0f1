//! `GET /v1/responses` with an upgrade: the API over one WebSocket.

use axum::extract::{Request, State};
use axum::response::Response;

use crate::app::App;
use crate::error::Refused;
use crate::http::context::RequestContext as From;
use crate::transport::websocket;

/// `GET /v1/responses` + Upgrade, or an extended CONNECT on HTTP/2.
pub(crate) async fn open(State(app): State<App>, from: From, request: Request) -> Result<Response, Refused> {
    Ok(websocket::open(&app, from, request)?)
}
