//! What a cut in the middle of an answer costs, and how a client goes on behind it.

use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};

use super::numbers::{Cut, milliseconds};
use super::plan::{Cell, Dialect, Transport};
use super::session::Session;
use super::talk::{Heard, Streaming, Talk, Turn};
use crate::client::Request;
use crate::runtime::{now, soon};

/// After so many pieces of text the connection is cut.
const PIECES: usize = 3;

/// Asks, cuts by RST behind a few pieces, and goes on as this transport can, on a new connection.
pub async fn cut(cell: Cell, model: &str, question: &str, mut open: impl FnMut() -> Session) -> Result<Cut> {
    let mut talk = Talk::new(cell, model, open(), format!("cut-{}", cell.transport.name()));
    let (before, after, how) = match (cell.dialect, cell.transport) {
        (_, Transport::Json) => return document(cell, model, question, open).await,
        (Dialect::Responses, Transport::LongPoll) => {
            let (before, after) = poll(&mut talk, question, open()).await?;
            (before, Some(after), Some("?wait=…&starting_after=N"))
        }
        (dialect, Transport::Websocket) => {
            let before = socket(&mut talk, question, dialect).await?;
            let id = before.id.clone().filter(|_| dialect == Dialect::Responses);
            let after = match id {
                Some(id) => Some(resume_on_socket(open(), &id, before.position).await?),
                None => None,
            };
            let how = after.is_some().then_some("response.resume");
            (before, after, how)
        }
        (dialect, Transport::LongPoll | Transport::Ndjson | Transport::Sse) => {
            let mut streaming = talk.stream(question).await?;
            while streaming.turn.arrivals.len() < PIECES {
                ensure!(streaming.next().await? == Heard::More, "the answer is too short to be cut");
            }
            let before = streaming.cut()?;
            let id = before.id.clone().filter(|_| dialect == Dialect::Responses);
            let after = match id {
                Some(id) => Some(resume(open(), cell, &id, before.position).await?),
                None => None,
            };
            let how = after.is_some().then_some("?stream=true&starting_after=N");
            (before, after, how)
        }
    };
    weigh(&before, after, how, cell, open()).await
}

/// Compares what came before and after with the whole.
async fn weigh(before: &Turn, after: Option<Turn>, how: Option<&'static str>, cell: Cell, mut session: Session) -> Result<Cut> {
    let pieces_before = before.arrivals.len() as u64;
    let (Some(after), Some(id)) = (after, &before.id) else {
        // It was the client's alone, and stopped when that was gone.
        return Ok(Cut { pieces_before, pieces_whole: None, resumed_by: None, resumed_ms: None, missing: 0, twice: 0 });
    };
    let log = Request::get(&format!("/v1/responses/{id}?stream=true"));
    let mut whole = Streaming::new(session.send(log).await?, Turn::begin(), cell.dialect)?;
    while whole.next().await? == Heard::More {}
    let whole = whole.turn;
    let both = format!("{}{}", before.text, after.text);
    let came = pieces_before + after.arrivals.len() as u64;
    let all = whole.arrivals.len() as u64;
    ensure!(both == whole.text || came != all, "what came is not what was said");
    let resumed_ms = after.arrivals.first().map(|first| milliseconds(*first - after.asked));
    Ok(Cut {
        pieces_before,
        pieces_whole: Some(all),
        resumed_by: how,
        resumed_ms,
        missing: all.saturating_sub(came),
        twice: came.saturating_sub(all),
    })
}

/// A document that did not come is asked for again under the same `Idempotency-Key`; chat completions in one piece are gone.
async fn document(cell: Cell, model: &str, question: &str, mut open: impl FnMut() -> Session) -> Result<Cut> {
    let talk = Talk::new(cell, model, open(), String::new());
    let key = format!("compare-{cell}-{:?}", now());
    let request = talk.request(question, false).header("idempotency-key", &key);
    let mut session = open();
    // The answer takes longer than this: the question has arrived, and nothing of the answer.
    let waiting = tokio::time::timeout(std::time::Duration::from_millis(20), session.send(request.clone())).await;
    ensure!(waiting.is_err(), "the answer is too short to be cut");
    drop(session);
    if cell.dialect != Dialect::Responses {
        return Ok(Cut { pieces_before: 0, pieces_whole: None, resumed_by: None, resumed_ms: None, missing: 0, twice: 0 });
    }
    let (mut session, asked) = (open(), now());
    let value: Value = serde_json::from_slice(&session.fetch(request, 200).await?)?;
    let resumed_ms = Some(milliseconds(asked.elapsed()));
    let is_whole = u64::from(value["status"] == "completed");
    Ok(Cut { pieces_before: 0, pieces_whole: Some(1), resumed_by: Some("Idempotency-Key"), resumed_ms, missing: 1 - is_whole, twice: 0 })
}

async fn poll(talk: &mut Talk, question: &str, mut second: Session) -> Result<(Turn, Turn)> {
    let body = json!({ "model": talk.model(), "input": question, "background": true });
    let begun: Value = serde_json::from_slice(&talk.session.fetch(Request::post("/v1/responses", &body), 200).await?)?;
    let id = begun["id"].as_str().context("an answer without an id")?.to_owned();
    let path = |after: Option<u64>| {
        let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
        Request::get(&format!("/v1/responses/{id}/events?wait=20{after}"))
    };
    let mut before = Turn::begin();
    while before.arrivals.len() < PIECES {
        let list: Value = serde_json::from_slice(&talk.session.fetch(path(before.position), 200).await?)?;
        take(&mut before, &list)?;
        ensure!(list["ended"] != true, "the answer is too short to be cut");
    }
    // The next poll waits, and is cut.
    talk.session.abandon(path(before.position)).await?;
    let mut after = Turn { position: before.position, ..Turn::begin() };
    loop {
        let list: Value = serde_json::from_slice(&second.fetch(path(after.position), 200).await?)?;
        take(&mut after, &list)?;
        if list["ended"] == true {
            before.id = Some(id.clone());
            return Ok((before, after));
        }
    }
}

fn take(turn: &mut Turn, list: &Value) -> Result<()> {
    for event in list["data"].as_array().into_iter().flatten() {
        turn.hear(Dialect::Responses, event.to_string().as_bytes())?;
    }
    Ok(())
}

async fn socket(talk: &mut Talk, question: &str, dialect: Dialect) -> Result<Turn> {
    let mut turn = Turn::begin();
    talk.say(question).await?;
    let mut socket = talk.take_socket().context("it was opened above")?;
    while turn.arrivals.len() < PIECES {
        ensure!(turn.hear(dialect, socket.next_text().await?.as_bytes())? == Heard::More, "the answer is too short to be cut");
    }
    socket.cut()?;
    Ok(turn)
}

async fn resume_on_socket(mut session: Session, id: &str, after: Option<u64>) -> Result<Turn> {
    let mut turn = Turn::begin();
    let mut socket = session.socket("/v1/responses").await?;
    let message = json!({ "type": "response.resume", "response_id": id, "starting_after": after });
    socket.send_text(&message.to_string()).await?;
    while turn.hear(Dialect::Responses, soon(socket.next_text()).await??.as_bytes())? == Heard::More {}
    socket.close().await?;
    session.close().await?;
    Ok(turn)
}

async fn resume(mut session: Session, cell: Cell, id: &str, after: Option<u64>) -> Result<Turn> {
    let accept = if cell.transport == Transport::Ndjson { "application/x-ndjson" } else { "text/event-stream" };
    let after = after.map(|after| format!("&starting_after={after}")).unwrap_or_default();
    let turn = Turn::begin();
    let request = Request::get(&format!("/v1/responses/{id}?stream=true{after}")).header("accept", accept);
    let mut streaming = Streaming::new(session.send(request).await?, turn, cell.dialect)?;
    while streaming.next().await? == Heard::More {}
    Ok(streaming.turn)
}
