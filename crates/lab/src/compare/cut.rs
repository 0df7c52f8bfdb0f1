//! What a cut in the middle of an answer costs, and how a client goes on behind it.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::numbers::{Cut, milliseconds};
use super::plan::{Cell, Dialect, Transport};
use super::session::Session;
use super::talk::{Heard, Streaming, Talk, Turn};
use crate::client::Request;
use crate::runtime::{now, soon, unique};

/// After so many pieces of text the connection is cut.
pub const PIECES: usize = 3;

/// What is to be cut.
#[derive(Clone, Copy, Debug)]
pub struct Target<'a> {
    /// How it travels.
    pub cell: Cell,
    /// Who is asked.
    pub model: &'a str,
    /// What.
    pub question: &'a str,
    /// How many pieces the answer has, if that is known.
    pub pieces: Option<u64>,
    /// The model's pace, if that is known.
    pub pace: Option<Duration>,
}

/// What came before a cut, and after it by what way.
struct Halves {
    before: Turn,
    after: Option<(Turn, &'static str)>,
}

/// Asks, cuts by RST behind a few pieces, and goes on as this transport can, on a new connection.
pub async fn cut(target: Target<'_>, mut open: impl FnMut() -> Session) -> Result<Cut> {
    let uid = unique("cut");
    let mut talk = Talk::new(target.cell, target.model, open(), uid);
    let is_kept = target.cell.dialect == Dialect::Responses;
    let halves = match target.cell.transport {
        Transport::Json => return document(target, open).await,
        Transport::LongPoll => polls(&mut talk, target, open()).await?,
        Transport::Websocket => {
            let before = socket(&mut talk, target).await?;
            let after = if is_kept { Some((resume_on_socket(open(), &before).await?, "response.resume")) } else { None };
            Halves { before, after }
        }
        Transport::Ndjson | Transport::Sse => {
            let mut streaming = talk.stream(target.question).await?;
            while streaming.turn.arrivals.len() < PIECES {
                ensure!(streaming.next().await? == Heard::More, TOO_SHORT);
            }
            let before = streaming.cut()?;
            let after = if is_kept { Some((resume(open(), target.cell, &before).await?, "?stream=true&starting_after=N")) } else { None };
            Halves { before, after }
        }
    };
    weigh(halves, target, open()).await
}

const TOO_SHORT: &str = "the answer is too short to be cut";

/// Nothing to go on from: what had not come is lost.
fn lost(before: u64, target: Target<'_>) -> Cut {
    let missing = target.pieces.map(|pieces| pieces.saturating_sub(before));
    Cut { pieces_before: before, pieces_whole: target.pieces, missing, ..Cut::default() }
}

/// Compares what came before and after with the whole.
async fn weigh(Halves { before, after }: Halves, target: Target<'_>, mut session: Session) -> Result<Cut> {
    let pieces_before = before.arrivals.len() as u64;
    let (Some((after, how)), Some(id)) = (after, &before.id) else { return Ok(lost(pieces_before, target)) };
    let log = Request::get(&format!("/v1/responses/{id}?stream=true"));
    let mut whole = Streaming::new(session.send(log).await?, Turn::begin(), target.cell.dialect)?;
    while whole.next().await? == Heard::More {}
    let whole = whole.turn;
    let both = format!("{}{}", before.text, after.text);
    let (came, all) = (pieces_before + after.arrivals.len() as u64, whole.arrivals.len() as u64);
    ensure!(both == whole.text || came != all, "what came is not what was said");
    Ok(Cut {
        pieces_before,
        pieces_whole: Some(all),
        resumed_by: Some(how),
        resumed_ms: after.arrivals.first().map(|first| milliseconds(*first - after.asked)),
        missing: Some(all.saturating_sub(came)),
        twice: came.saturating_sub(all),
        model_gave: None,
    })
}

/// A document that did not come is asked for again under the same `Idempotency-Key`.
async fn document(target: Target<'_>, mut open: impl FnMut() -> Session) -> Result<Cut> {
    let talk = Talk::new(target.cell, target.model, open(), String::new());
    let key = unique("compare");
    let request = talk.request(target.question, false).header("idempotency-key", &key);
    let mut session = open();
    // Until then the question has arrived, and the model has said some words.
    let opening = session.warm().await?;
    let after = opening + target.pace.unwrap_or(Duration::from_millis(100)) * u32::try_from(PIECES)?;
    session.abandon(request.clone(), Some(after)).await?;
    let (mut session, asked) = (open(), now());
    let value: Value = serde_json::from_slice(&session.fetch(request, 200).await?)?;
    let resumed_ms = Some(milliseconds(asked.elapsed()));
    let is_whole = value["status"] == "completed" || value.pointer("/choices/0/finish_reason").is_some_and(|reason| reason == "stop");
    let whole = target.pieces.unwrap_or(1);
    let missing = Some(if is_whole { 0 } else { whole });
    Ok(Cut { pieces_whole: Some(whole), resumed_by: Some("Idempotency-Key"), resumed_ms, missing, ..Cut::default() })
}

async fn polls(talk: &mut Talk, target: Target<'_>, second: Session) -> Result<Halves> {
    let mut before = talk.begin(target.question).await?;
    while before.arrivals.len() < PIECES {
        ensure!(talk.poll(&mut before).await? == Heard::More, TOO_SHORT);
    }
    // The next poll waits, and is cut.
    talk.session.abandon(before.next_poll()?, None).await?;
    let mut after = Turn { position: before.position, id: before.id.clone(), ..Turn::begin() };
    let mut talk = Talk::new(target.cell, target.model, second, String::new());
    while talk.poll(&mut after).await? == Heard::More {}
    Ok(Halves { before, after: Some((after, "?wait=…&starting_after=N")) })
}

async fn socket(talk: &mut Talk, target: Target<'_>) -> Result<Turn> {
    let mut turn = Turn::begin();
    talk.say(target.question).await?;
    let mut socket = talk.take_socket().context("it was opened above")?;
    while turn.arrivals.len() < PIECES {
        ensure!(turn.hear(target.cell.dialect, socket.next_text().await?.as_bytes())? == Heard::More, TOO_SHORT);
    }
    socket.cut()?;
    Ok(turn)
}

async fn resume_on_socket(mut session: Session, before: &Turn) -> Result<Turn> {
    let mut turn = Turn::begin();
    let mut socket = session.socket("/v1/responses").await?;
    let message = json!({ "type": "response.resume", "response_id": before.id, "starting_after": before.position });
    socket.send_text(&message.to_string()).await?;
    while turn.hear(Dialect::Responses, soon(socket.next_text()).await??.as_bytes())? == Heard::More {}
    socket.close().await?;
    session.close().await?;
    Ok(turn)
}

async fn resume(mut session: Session, cell: Cell, before: &Turn) -> Result<Turn> {
    let id = before.id.as_deref().context("an answer without an id")?;
    let accept = if cell.transport == Transport::Ndjson { "application/x-ndjson" } else { "text/event-stream" };
    let after = before.position.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    let turn = Turn::begin();
    let request = Request::get(&format!("/v1/responses/{id}?stream=true{after}")).header("accept", accept);
    let mut streaming = Streaming::new(session.send(request).await?, turn, cell.dialect)?;
    while streaming.next().await? == Heard::More {}
    Ok(streaming.turn)
}
