//! The connection that delivers the events of a response: a stream, a WebSocket, or a series of
//! polls. All deliver the same events.

use std::collections::VecDeque;
use std::time::Duration;

use bytes::Bytes;
use client::websocket::{self, Handshake, Message, Socket};
use client::{Request, Stream};
use serde_json::{Value, json};
use tokio::time::timeout;

use super::server::{ChatError, ChatServer, refusal};
use super::transport::ChatTransport;

/// A connection silent for this long is considered lost: idle responses have a heartbeat every 15
/// seconds.
const SILENCE: Duration = Duration::from_secs(60);

/// How long one poll waits for events, in seconds.
const POLL: u64 = 20;

/// An open connection.
pub(super) enum ResponseConnection {
    Stream(Box<Stream>),
    Socket(Box<Socket>),
    /// Polls: the events received but not yet taken, and the position from which to poll next.
    Poll {
        id: String,
        ready: VecDeque<Bytes>,
        after: Option<u64>,
        is_ended: bool,
    },
}

/// An open connection, and the response's id if the server sent it at once.
pub(super) type OpenedResponse = (ResponseConnection, Option<String>);

/// Sends a request.
pub(super) async fn ask(
    server: &ChatServer,
    transport: ChatTransport,
    body: &Value,
    idempotency_key: &str,
) -> Result<OpenedResponse, ChatError> {
    let with = |more: &str| {
        let mut body = body.clone();
        body[more] = true.into();
        let request =
            server.request("POST", "/v1/responses").header("idempotency-key", idempotency_key);
        request.header("content-type", "application/json").body(body.to_string())
    };
    match transport {
        // The id is needed at once, for cancelling: the head must not wait for the model.
        ChatTransport::Sse | ChatTransport::Ndjson => {
            stream(server, framed(with("stream"), transport).header("prefer", "wait=0")).await
        }
        ChatTransport::Json => {
            // A background response can be cancelled and resumed; any other has no id until its
            // end.
            let response = server.json(&with("background")).await?;
            let id = response["id"].as_str().unwrap_or_default().to_owned();
            Ok((poll(&id, None), Some(id)))
        }
        ChatTransport::Websocket => {
            let mut message = json!({ "type": "response.create" });
            for (name, value) in body.as_object().into_iter().flatten() {
                message[name] = value.clone();
            }
            Ok((socket(server, &message).await?, None))
        }
    }
}

/// Reads a response from after a position.
pub(super) async fn resume(
    server: &ChatServer,
    transport: ChatTransport,
    id: &str,
    after: Option<u64>,
) -> Result<ResponseConnection, ChatError> {
    match transport {
        ChatTransport::Sse | ChatTransport::Ndjson => {
            let position =
                after.map(|position| format!("&starting_after={position}")).unwrap_or_default();
            let request =
                server.request("GET", &format!("/v1/responses/{id}?stream=true{position}"));
            Ok(stream(server, framed(request, transport)).await?.0)
        }
        ChatTransport::Json => Ok(poll(id, after)),
        ChatTransport::Websocket => {
            let mut message = json!({ "type": "response.resume", "response_id": id });
            if let Some(position) = after {
                message["starting_after"] = position.into();
            }
            socket(server, &message).await
        }
    }
}

fn framed(request: Request, transport: ChatTransport) -> Request {
    let accept = if transport == ChatTransport::Ndjson {
        "application/x-ndjson"
    } else {
        "text/event-stream"
    };
    request.header("accept", accept)
}

fn poll(id: &str, after: Option<u64>) -> ResponseConnection {
    ResponseConnection::Poll { id: id.to_owned(), ready: VecDeque::new(), after, is_ended: false }
}

async fn stream(server: &ChatServer, request: Request) -> Result<OpenedResponse, ChatError> {
    let response = server.send(&request).await?;
    let id = response.headers.get("weir-response-id").map(str::to_owned);
    let stream = response
        .events()
        .map_err(|error| ChatError::Hopeless(format!("{}: {error:#}", server.address())))?;
    Ok((ResponseConnection::Stream(Box::new(stream)), id))
}

async fn socket(server: &ChatServer, message: &Value) -> Result<ResponseConnection, ChatError> {
    let broken = |error: anyhow::Error| ChatError::Broken(format!("{error:#}"));
    let headers = server.headers();
    let headers: Vec<(&str, &str)> =
        headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
    let connection = server.connect().await?;
    match websocket::shake_hands(connection, &server.path("/v1/responses"), &headers)
        .await
        .map_err(broken)?
    {
        Handshake::Refused(mut response) => Err(refusal(&mut response).await),
        Handshake::Open(connected) => {
            let mut socket = connected.socket;
            socket.send_text(&message.to_string()).await.map_err(broken)?;
            Ok(ResponseConnection::Socket(Box::new(socket)))
        }
    }
}

impl ResponseConnection {
    /// The next message; `None` at the end of the connection. Cancel safe.
    pub(super) async fn next(&mut self, server: &ChatServer) -> Result<Option<Bytes>, ChatError> {
        match self {
            Self::Stream(stream) => loop {
                let heartbeats = stream.heartbeats();
                match timeout(SILENCE, stream.next()).await {
                    Ok(Ok(event)) => return Ok(event.map(|event| event.data)),
                    Ok(Err(error)) => return Err(ChatError::Broken(format!("{error:#}"))),
                    Err(_) if stream.heartbeats() > heartbeats => {}
                    Err(_) => return Err(silent()),
                }
            },
            Self::Socket(socket) => loop {
                match timeout(SILENCE, socket.next()).await {
                    Ok(Ok(Some(Message::Text(text)))) => return Ok(Some(text.into())),
                    Ok(Ok(Some(Message::Binary(_) | Message::Ping(_) | Message::Pong(_)))) => {}
                    Ok(Ok(None)) => return Ok(None),
                    Ok(Err(error)) => return Err(ChatError::Broken(format!("{error:#}"))),
                    Err(_) => return Err(silent()),
                }
            },
            Self::Poll { id, ready, after, is_ended } => loop {
                if let Some(data) = ready.pop_front() {
                    return Ok(Some(data));
                }
                if *is_ended {
                    return Ok(None);
                }
                let position =
                    after.map(|position| format!("&starting_after={position}")).unwrap_or_default();
                let news = server
                    .json(&server.request(
                        "GET",
                        &format!("/v1/responses/{id}/events?wait={POLL}{position}"),
                    ))
                    .await?;
                *is_ended = news["ended"].as_bool().unwrap_or(true);
                for event in news["data"].as_array().into_iter().flatten() {
                    *after = event["sequence_number"].as_u64().or(*after);
                    ready.push_back(event.to_string().into());
                }
            },
        }
    }

    /// Asks the server to cancel the response over this connection. Returns whether it supports
    /// that.
    pub(super) async fn cancel(&mut self) -> Result<bool, ChatError> {
        match self {
            Self::Stream(_) | Self::Poll { .. } => Ok(false),
            Self::Socket(socket) => {
                let sent = socket.send_text(r#"{"type":"response.cancel"}"#).await;
                sent.map(|()| true).map_err(|error| ChatError::Broken(format!("{error:#}")))
            }
        }
    }
}

fn silent() -> ChatError {
    ChatError::Broken(format!("no data from the server for {} seconds", SILENCE.as_secs()))
}
