//! The calibrated source on a WebSocket: a message for each event, a ping for each heartbeat.

use axum::extract::Request;
use axum::response::Response;
use codec::websocket::CloseCode;
use codec::websocket::decode::IncomingMessage;
use codec::websocket::encode::{ping, pong};
use protocol::fault::Fault;

use super::connection::{Exit, SocketConnection};
use super::upgrade::accept;
use crate::app::App;
use crate::http::context::RequestContext;
use crate::transport::calibrated::{CalibratedSource, SourceStep};

/// Completes the handshake, and runs the source when the connection has changed hands.
///
/// # Errors
/// As for every handshake.
pub(crate) fn open_source(
    app: &App,
    context: RequestContext,
    request: Request,
    source: CalibratedSource,
) -> Result<Response, Fault> {
    let session = app.clone();
    accept(app, request, |io, agreement| async move {
        let socket = SocketConnection::new(&session, context.grant.clone(), io, agreement);
        run(session, context, socket, source).await;
    })
}

async fn run(
    app: App,
    context: RequestContext,
    mut socket: SocketConnection,
    mut source: CalibratedSource,
) {
    loop {
        let exit = tokio::select! {
            biased;
            _ = context.grant.ended() => {
                Some(Exit::Close(CloseCode::POLICY, "invalid_api_key".to_owned()))
            }
            () = app.drain.draining() => {
                Some(Exit::Close(CloseCode::RESTART, "the server shuts down".to_owned()))
            }
            read = socket.read() => match read {
                None => Some(Exit::Gone),
                Some(()) => take(&mut socket).await,
            },
            step = source.step() => match step {
                SourceStep::Event(data) => {
                    socket.out.text(b"", &data);
                    None
                }
                SourceStep::Heartbeat => {
                    socket.out.frame(&ping(b""));
                    None
                }
                SourceStep::End => Some(Exit::Close(CloseCode::NORMAL, String::new())),
                SourceStep::Cut => Some(Exit::Gone),
            },
        };
        match exit {
            Some(Exit::Gone) => return,
            Some(Exit::Close(code, reason)) => return socket.close(code, &reason).await,
            None => {}
        }
        if socket.flush().await.is_none() {
            return;
        }
    }
}

/// Takes what the client has sent: only pings and its close mean something.
async fn take(socket: &mut SocketConnection) -> Option<Exit> {
    while let Some(message) = socket.next_message().await {
        match message {
            Ok(IncomingMessage::Ping(payload)) => socket.out.frame(&pong(&payload)),
            Ok(IncomingMessage::Close(code, _)) => return Some(socket.closed_by_peer(code)),
            Ok(
                IncomingMessage::Text(_) | IncomingMessage::Binary(_) | IncomingMessage::Pong(_),
            ) => {}
            Err(violation) => {
                return Some(Exit::Close(violation.close_code(), violation.to_string()));
            }
        }
    }
    None
}
