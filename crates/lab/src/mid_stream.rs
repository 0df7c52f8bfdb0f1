//! Whether a client can send something while an answer streams, and whether that needs a
//! connection.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::conversation::{ConversationClient, Progress, Turn};
use super::numbers::{MidStreamRequest, milliseconds};
use super::plan::{Cell, Dialect, Transport};
use super::session::Session;
use crate::clock::unique;
use client::Request;
use client::now;

/// Asks, and sends something else after the first piece of text. `None` without a stream or without
/// a response.
pub(crate) async fn measure(
    cell: Cell,
    model: &str,
    question: &str,
    session: Session,
) -> Result<Option<MidStreamRequest>> {
    let mut conversation = ConversationClient::new(cell, model, session, unique("speaking"));
    match (cell.dialect, cell.transport) {
        (_, Transport::Json | Transport::LongPoll) | (Dialect::Classic, Transport::Websocket) => {
            Ok(None)
        }
        (_, Transport::Websocket) => on_socket(&mut conversation, question, cell).await.map(Some),
        (_, Transport::Ndjson | Transport::Sse) => {
            by_request(&mut conversation, question).await.map(Some)
        }
    }
}

/// By another request. The server responds before the end if a piece of text arrives after its
/// response.
async fn by_request(
    conversation: &mut ConversationClient,
    question: &str,
) -> Result<MidStreamRequest> {
    let mut streaming = conversation.stream(question).await?;
    while streaming.turn.arrivals.is_empty() {
        ensure!(streaming.next().await? == Progress::More, "an answer without text");
    }
    let (opened, asked) = (conversation.session.opened.len(), now());
    conversation.session.fetch(Request::get("/healthz"), 200).await?;
    let answered = now();
    let is_later = |turn: &Turn| turn.arrivals.last().is_some_and(|last| *last > answered);
    while !is_later(&streaming.turn) && streaming.next().await? == Progress::More {}
    let is_before_end = is_later(&streaming.turn);
    let new_connections = (conversation.session.opened.len() - opened) as u64;
    // The rest is not needed.
    streaming.cut()?;
    Ok(MidStreamRequest {
        request: "GET /healthz",
        new_connections,
        is_before_end,
        answered_ms: milliseconds(answered - asked),
    })
}

/// By a message on the same socket, which stops the answer.
async fn on_socket(
    conversation: &mut ConversationClient,
    question: &str,
    cell: Cell,
) -> Result<MidStreamRequest> {
    let mut turn = Turn::start();
    conversation.send_message(question).await?;
    let opened = conversation.session.opened.len();
    let mut socket = conversation.take_socket().context("it was opened above")?;
    while turn.arrivals.is_empty() {
        ensure!(
            turn.apply(cell.dialect, socket.next_text().await?.as_bytes())? == Progress::More,
            "an answer without text"
        );
    }
    let asked = now();
    socket
        .send_text(&json!({ "type": "response.cancel", "response_id": turn.id }).to_string())
        .await?;
    let is_stopped = |text: &str| text.starts_with("{\"type\":\"response.incomplete\"");
    let is_before_end = loop {
        let text = socket.next_text().await?;
        if turn.apply(cell.dialect, text.as_bytes())? == Progress::End {
            break is_stopped(&text);
        }
    };
    let answered_ms = milliseconds(asked.elapsed());
    let new_connections = (conversation.session.opened.len() - opened) as u64;
    socket.close().await?;
    Ok(MidStreamRequest { request: "response.cancel", new_connections, is_before_end, answered_ms })
}
