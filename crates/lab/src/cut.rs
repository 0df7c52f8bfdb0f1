//! The cost of a cut in the middle of an answer, and how a client resumes.

use std::time::Duration;

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::conversation::{ConversationClient, Progress, Streaming, Turn};
use super::numbers::{CutCost, milliseconds};
use super::plan::{Cell, Dialect, Transport};
use super::session::Session;
use crate::clock::unique;
use client::Request;
use client::{now, soon};

/// The number of pieces of text before the cut.
pub(crate) const PIECES: usize = 3;

/// The answer to cut.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CutTarget<'a> {
    /// Its cell.
    pub cell: Cell,
    /// The model.
    pub model: &'a str,
    /// The question.
    pub question: &'a str,
    /// The number of pieces of the answer, if known.
    pub pieces: Option<u64>,
    /// The model's pace, if known.
    pub pace: Option<Duration>,
}

/// The pieces before the cut, and those after it with how they were resumed.
struct Halves {
    before: Turn,
    after: Option<(Turn, &'static str)>,
}

/// Asks, cuts by RST after a few pieces, and resumes on a new connection if the transport can.
pub(crate) async fn cut(
    target: CutTarget<'_>,
    mut open: impl FnMut() -> Session,
) -> Result<CutCost> {
    let uid = unique("cut");
    let mut conversation = ConversationClient::new(target.cell, target.model, open(), uid);
    let is_kept = target.cell.dialect == Dialect::Responses;
    let halves = match target.cell.transport {
        Transport::Json => return document(target, open).await,
        Transport::LongPoll => polls(&mut conversation, target, open()).await?,
        Transport::Websocket => {
            let before = socket(&mut conversation, target).await?;
            let after = if is_kept {
                Some((resume_on_socket(open(), &before).await?, "response.resume"))
            } else {
                None
            };
            Halves { before, after }
        }
        Transport::Ndjson | Transport::Sse => {
            let mut streaming = conversation.stream(target.question).await?;
            while streaming.turn.arrivals.len() < PIECES {
                ensure!(streaming.next().await? == Progress::More, TOO_SHORT);
            }
            let before = streaming.cut()?;
            let after = if is_kept {
                Some((resume(open(), target.cell, &before).await?, "?stream=true&starting_after=N"))
            } else {
                None
            };
            Halves { before, after }
        }
    };
    compare(halves, target, open()).await
}

const TOO_SHORT: &str = "the answer is too short to be cut";

/// Without a way to resume, the rest is lost.
fn lost(before: u64, target: CutTarget<'_>) -> CutCost {
    let missing = target.pieces.map(|pieces| pieces.saturating_sub(before));
    CutCost { pieces_before: before, pieces_whole: target.pieces, missing, ..CutCost::default() }
}

/// Compares the pieces before and after the cut with the complete answer.
async fn compare(
    Halves { before, after }: Halves,
    target: CutTarget<'_>,
    mut session: Session,
) -> Result<CutCost> {
    let pieces_before = before.arrivals.len() as u64;
    let (Some((after, how)), Some(id)) = (after, &before.id) else {
        return Ok(lost(pieces_before, target));
    };
    let log = Request::get(&format!("/v1/responses/{id}?stream=true"));
    let mut whole = Streaming::new(session.send(log).await?, Turn::start(), target.cell.dialect)?;
    while whole.next().await? == Progress::More {}
    let whole = whole.turn;
    let both = format!("{}{}", before.text, after.text);
    let (came, all) = (pieces_before + after.arrivals.len() as u64, whole.arrivals.len() as u64);
    ensure!(both == whole.text || came != all, "what came is not what was said");
    Ok(CutCost {
        pieces_before,
        pieces_whole: Some(all),
        resumed_by: Some(how),
        resumed_ms: after.arrivals.first().map(|first| milliseconds(*first - after.asked)),
        missing: Some(all.saturating_sub(came)),
        twice: came.saturating_sub(all),
        model_gave: None,
    })
}

/// A document that was not received is requested again with the same `Idempotency-Key`.
async fn document(target: CutTarget<'_>, mut open: impl FnMut() -> Session) -> Result<CutCost> {
    let conversation = ConversationClient::new(target.cell, target.model, open(), String::new());
    let key = unique("compare");
    let request = conversation.request(target.question, false).header("idempotency-key", &key);
    let mut session = open();
    // By then the question has arrived and the model has sent some tokens.
    let opening = session.connect().await?;
    let after =
        opening + target.pace.unwrap_or(Duration::from_millis(100)) * u32::try_from(PIECES)?;
    session.abandon(request.clone(), Some(after)).await?;
    let (mut session, asked) = (open(), now());
    let value: Value = serde_json::from_slice(&session.fetch(request, 200).await?)?;
    let resumed_ms = Some(milliseconds(asked.elapsed()));
    let is_whole = value["status"] == "completed"
        || value.pointer("/choices/0/finish_reason").is_some_and(|reason| reason == "stop");
    let whole = target.pieces.unwrap_or(1);
    let missing = Some(if is_whole { 0 } else { whole });
    Ok(CutCost {
        pieces_whole: Some(whole),
        resumed_by: Some("Idempotency-Key"),
        resumed_ms,
        missing,
        ..CutCost::default()
    })
}

async fn polls(
    conversation: &mut ConversationClient,
    target: CutTarget<'_>,
    second: Session,
) -> Result<Halves> {
    let mut before = conversation.start_background(target.question).await?;
    while before.arrivals.len() < PIECES {
        ensure!(conversation.poll(&mut before).await? == Progress::More, TOO_SHORT);
    }
    // The next poll waits and is cut.
    conversation.session.abandon(before.next_poll()?, None).await?;
    let mut after = Turn { position: before.position, id: before.id.clone(), ..Turn::start() };
    let mut conversation =
        ConversationClient::new(target.cell, target.model, second, String::new());
    while conversation.poll(&mut after).await? == Progress::More {}
    Ok(Halves { before, after: Some((after, "?wait=…&starting_after=N")) })
}

async fn socket(conversation: &mut ConversationClient, target: CutTarget<'_>) -> Result<Turn> {
    let mut turn = Turn::start();
    conversation.send_message(target.question).await?;
    let mut socket = conversation.take_socket().context("it was opened above")?;
    while turn.arrivals.len() < PIECES {
        ensure!(
            turn.apply(target.cell.dialect, socket.next_text().await?.as_bytes())?
                == Progress::More,
            TOO_SHORT
        );
    }
    socket.cut()?;
    Ok(turn)
}

async fn resume_on_socket(mut session: Session, before: &Turn) -> Result<Turn> {
    let mut turn = Turn::start();
    let mut socket = session.socket("/v1/responses").await?;
    let message = json!({ "type": "response.resume", "response_id": before.id, "starting_after": before.position });
    socket.send_text(&message.to_string()).await?;
    while turn.apply(Dialect::Responses, soon(socket.next_text()).await??.as_bytes())?
        == Progress::More
    {}
    socket.close().await?;
    session.close().await?;
    Ok(turn)
}

async fn resume(mut session: Session, cell: Cell, before: &Turn) -> Result<Turn> {
    let id = before.id.as_deref().context("an answer without an id")?;
    let accept = if cell.transport == Transport::Ndjson {
        "application/x-ndjson"
    } else {
        "text/event-stream"
    };
    let after = before.position.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    let turn = Turn::start();
    let request =
        Request::get(&format!("/v1/responses/{id}?stream=true{after}")).header("accept", accept);
    let mut streaming = Streaming::new(session.send(request).await?, turn, cell.dialect)?;
    while streaming.next().await? == Progress::More {}
    Ok(streaming.turn)
}
