//! Whether the server can be spoken to while its answer streams, and what that needs.

use anyhow::{Context, Result, ensure};
use serde_json::json;

use super::numbers::{Speech, milliseconds};
use super::plan::{Cell, Dialect, Transport};
use super::session::Session;
use super::talk::{Heard, Talk, Turn};
use crate::client::Request;
use crate::runtime::{now, unique};

/// Asks, and after the first piece of text says something else. `None` where nothing streams, or nothing answers.
pub async fn speak(cell: Cell, model: &str, question: &str, session: Session) -> Result<Option<Speech>> {
    let mut talk = Talk::new(cell, model, session, unique("speaking"));
    match (cell.dialect, cell.transport) {
        (_, Transport::Json | Transport::LongPoll) | (Dialect::Classic, Transport::Websocket) => Ok(None),
        (_, Transport::Websocket) => on_socket(&mut talk, question, cell).await.map(Some),
        (_, Transport::Ndjson | Transport::Sse) => beside(&mut talk, question).await.map(Some),
    }
}

/// By another request. It was heard before the end if a piece of text comes behind the answer to it.
async fn beside(talk: &mut Talk, question: &str) -> Result<Speech> {
    let mut streaming = talk.stream(question).await?;
    while streaming.turn.arrivals.is_empty() {
        ensure!(streaming.next().await? == Heard::More, "an answer without text");
    }
    let (opened, asked) = (talk.session.opened.len(), now());
    talk.session.fetch(Request::get("/healthz"), 200).await?;
    let answered = now();
    let is_later = |turn: &Turn| turn.arrivals.last().is_some_and(|last| *last > answered);
    while !is_later(&streaming.turn) && streaming.next().await? == Heard::More {}
    let heard_before_end = is_later(&streaming.turn);
    let new_connections = (talk.session.opened.len() - opened) as u64;
    // Nobody needs the rest.
    streaming.cut()?;
    Ok(Speech { said: "GET /healthz", new_connections, heard_before_end, answered_ms: milliseconds(answered - asked) })
}

/// By a message on the same socket: it stops the answer.
async fn on_socket(talk: &mut Talk, question: &str, cell: Cell) -> Result<Speech> {
    let mut turn = Turn::begin();
    talk.say(question).await?;
    let opened = talk.session.opened.len();
    let mut socket = talk.take_socket().context("it was opened above")?;
    while turn.arrivals.is_empty() {
        ensure!(turn.hear(cell.dialect, socket.next_text().await?.as_bytes())? == Heard::More, "an answer without text");
    }
    let asked = now();
    socket.send_text(&json!({ "type": "response.cancel", "response_id": turn.id }).to_string()).await?;
    let is_stopped = |text: &str| text.starts_with("{\"type\":\"response.incomplete\"");
    let heard_before_end = loop {
        let text = socket.next_text().await?;
        if turn.hear(cell.dialect, text.as_bytes())? == Heard::End {
            break is_stopped(&text);
        }
    };
    let answered_ms = milliseconds(asked.elapsed());
    let new_connections = (talk.session.opened.len() - opened) as u64;
    socket.close().await?;
    Ok(Speech { said: "response.cancel", new_connections, heard_before_end, answered_ms })
}
