//! Experiments with concurrent streams, and with the bytes of streams.

use std::cell::RefCell;

use anyhow::{Context, Result, ensure};
use bytes::Bytes;
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Value, json};

use super::experiment::Experiment;
use crate::bilingual::Bilingual;
use crate::claims::cite::names;
use crate::claims::evidence::{Format, MediaType, Multiplexing, Resumption, Sameness, Text};
use crate::clock::unique;
use crate::conversation::{Progress, Streaming, Turn};
use crate::cut::PIECES;
use crate::plan::{Dialect, Version};
use crate::session::Session;
use client::soon;
use client::{Decoder, Request, StreamItem};

/// A question for the demo whose answer has characters of one to four bytes.
const WIDE: &str = "/echo Grüße, 你好，世界。مرحبا 🌍 こんにちは, naïve café — ½ 😀 end.";

/// Enough tokens of each answer to see whether they alternate.
const TOKENS: usize = 30;

/// Concurrent answers over HTTP/2 and HTTP/1.1, and the number of connections of each.
pub(super) async fn multiplexing(setting: &Experiment<'_>) -> Result<(Multiplexing, (u64, u64))> {
    let mut session = setting.session(Version::Http2)?;
    let switches = three(setting, &mut session).await?;
    let connections = session.opened.len() as u64;
    setting.name(
        session.opened.first().context("no connection")?.local.port(),
        names::MULTIPLEXED,
        Bilingual::new(
            "Three answers at the same time on one connection of HTTP/2",
            "同一个 HTTP/2 连接上同时进行的三个回答",
        ),
    );
    let overtaken = overtaken(setting, &mut session).await?;
    session.close().await?;
    let mut single = setting.session(Version::Http11)?;
    three(setting, &mut single).await?;
    let connections_http11 = single.opened.len() as u64;
    for (opened, name) in single.opened.iter().zip(names::PARALLEL) {
        let title = Bilingual::new("One of three answers over HTTP/1.1", "三个回答之一，HTTP/1.1");
        setting.name(opened.local.port(), name, title);
    }
    single.close().await?;
    let pipelined_in_order = pipelined(setting).await?;
    Ok((
        Multiplexing { answers: 3, connections, switches, pipelined_in_order, overtaken },
        (connections_http11, connections),
    ))
}

/// Three concurrent streams: how often the next token was another stream's.
async fn three(setting: &Experiment<'_>, session: &mut Session) -> Result<u64> {
    let order = RefCell::new(Vec::new());
    let requests = (0..3).map(|_| setting.ask(setting.question(), true)).collect();
    let mut begun = Vec::new();
    for answer in session.send_together(requests).await? {
        begun.push(Streaming::new(answer, Turn::start(), Dialect::Responses)?);
    }
    let [one, two, three]: [Streaming; 3] = begun.try_into().ok().context("three streams")?;
    let read = async |which: usize, mut streaming: Streaming| {
        let mut known = 0;
        while known < TOKENS && streaming.next().await? == Progress::More {
            order
                .borrow_mut()
                .extend(std::iter::repeat_n(which, streaming.turn.arrivals.len() - known));
            known = streaming.turn.arrivals.len();
        }
        // The rest is not needed.
        streaming.cut().map(drop)
    };
    let (one, two, three) = tokio::join!(read(0, one), read(1, two), read(2, three));
    one.and(two).and(three)?;
    let order = order.into_inner();
    Ok(order.windows(2).filter(|pair| pair[0] != pair[1]).count() as u64)
}

/// Whether a quick response over HTTP/2 overtakes a slow one that was requested before.
async fn overtaken(setting: &Experiment<'_>, session: &mut Session) -> Result<bool> {
    let (slow, quick) = (
        session.prepared(setting.ask(setting.short_question()?, false)),
        session.prepared(Request::get("/healthz")),
    );
    let client = session.http2().await?;
    let mut slow = client.start(&slow).await?;
    client.send(&quick).await?;
    let is_waiting = tokio::time::timeout(std::time::Duration::ZERO, &mut slow).await.is_err();
    if is_waiting {
        soon(slow).await??;
    }
    Ok(is_waiting)
}

/// Whether HTTP/1.1 responds in the order of the requests: the slow one, then the quick one.
async fn pipelined(setting: &Experiment<'_>) -> Result<bool> {
    let mut session = setting.session(Version::Http11)?;
    let mut connection = session.open().await?;
    setting.name(
        session.opened.first().context("no connection")?.local.port(),
        names::PIPELINED,
        Bilingual::new(
            "HTTP/1.1, two requests without waiting: answered in order",
            "HTTP/1.1 管线化：连发两个请求，按序应答",
        ),
    );
    let (slow, quick) = (
        session.prepared(setting.ask(setting.short_question()?, false)),
        session.prepared(Request::get("/healthz")),
    );
    connection.write(&slow).await?;
    connection.write(&quick).await?;
    let mut first = soon(connection.read_response(&slow)).await??;
    let (body, _) = soon(first.collect()).await??;
    let is_slow =
        serde_json::from_slice::<Value>(&body).is_ok_and(|value| value["object"] == "response");
    let second = soon(first.into_connection().await?.read_response(&quick)).await??;
    Ok(is_slow && second.status == 200)
}

/// The contents of streams.
pub(super) struct StreamContents {
    pub(super) text: Text,
    pub(super) media_type: MediaType,
    pub(super) format: Format,
    pub(super) sameness: Sameness,
    pub(super) resumption: Resumption,
}

/// Examines the bytes of the streams of one answer.
pub(super) async fn contents(setting: &Experiment<'_>) -> Result<StreamContents> {
    let mut session = setting.session(Version::Http11)?;
    let mut answer = session.send(setting.ask(WIDE, true)).await?;
    let of_streams = answer.header("content-type").unwrap_or_default().to_owned();
    let stream = answer.body().await?;
    session.end(answer).await?;
    let data = data(&stream, stream.len())?;
    let first: Value = serde_json::from_slice(data.first().context("an empty stream")?)?;
    let id = first["response"]["id"].as_str().context("an answer without an id")?.to_owned();
    let last = data.len().saturating_sub(2);

    let source = session.fetch(Request::get(&format!("/v1/responses/{id}/events")), 200).await?;
    let chat = json!({ "model": setting.plan.model, "stream": true, "messages": [{ "role": "user", "content": WIDE }] });
    let chat = session
        .fetch(
            Request::post("/v1/chat/completions", &chat).header("accept", "text/event-stream"),
            200,
        )
        .await?;
    let classic = classic(&mut session).await?;
    let at_the_end = session
        .send(Request::get(&format!("/v1/responses/{id}/events?starting_after={last}")))
        .await?;
    let media_type = MediaType { of_streams, at_the_end: at_the_end.status() };
    session.end(at_the_end).await?;

    let streams = [&stream, &source, &chat, &classic];
    let mut format = Format { example: example(&streams), ..Format::default() };
    for stream in streams {
        count_fields(stream, &mut format);
    }
    let sameness = sameness(&mut session, &id, &data).await?;
    let resumption = resumption(setting, &mut session).await?;
    session.close().await?;
    Ok(StreamContents { text: text(&streams)?, media_type, format, sameness, resumption })
}

/// A cut stream that is resumed as by a browser's `EventSource`.
async fn resumption(setting: &Experiment<'_>, session: &mut Session) -> Result<Resumption> {
    let body = json!({ "model": setting.plan.model, "input": setting.short_question()?, "background": true });
    let begun: Value =
        serde_json::from_slice(&session.fetch(Request::post("/v1/responses", &body), 200).await?)?;
    let path = format!(
        "/v1/responses/{}/events",
        begun["id"].as_str().context("an answer without an id")?
    );
    let mut before = Streaming::new(
        session.send(Request::get(&path)).await?,
        Turn::start(),
        Dialect::Responses,
    )?;
    while before.turn.arrivals.len() < PIECES {
        ensure!(before.next().await? == Progress::More, "the answer is too short to be cut");
    }
    let before = before.cut()?;
    let last = before.position.context("an event without a number")?;
    let again = Request::get(&path).header("last-event-id", &last.to_string());
    let mut after = Streaming::new(session.send(again).await?, Turn::start(), Dialect::Responses)?;
    while after.next().await? == Progress::More {}
    let mut whole = Streaming::new(
        session.send(Request::get(&path)).await?,
        Turn::start(),
        Dialect::Responses,
    )?;
    while whole.next().await? == Progress::More {}
    let (came, all) = (
        (before.arrivals.len() + after.turn.arrivals.len()) as u64,
        whole.turn.arrivals.len() as u64,
    );
    let (missing, twice) = (all.saturating_sub(came), came.saturating_sub(all));
    let is_same = format!("{}{}", before.text, after.turn.text) == whole.turn.text;
    ensure!(is_same || missing + twice > 0, "what came is not what was said");
    Ok(Resumption { before: before.arrivals.len() as u64, whole: all, missing, twice })
}

async fn classic(session: &mut Session) -> Result<Bytes> {
    let uid = unique("format");
    let mut answer = session.send(Request::get("/createSse").header("uid", &uid)).await?;
    session
        .fetch(Request::post("/chat", &json!({ "msg": "/echo classic" })).header("uid", &uid), 200)
        .await?;
    let body = soon(answer.body()).await??;
    session.end(answer).await?;
    Ok(body)
}

/// The data of all events of a stream that arrives in pieces of this size.
fn data(stream: &[u8], size: usize) -> Result<Vec<Bytes>> {
    let mut decoder = Decoder::of("text/event-stream").context("a decoder")?;
    let mut all = Vec::new();
    for piece in stream.chunks(size.max(1)) {
        decoder.push(piece);
        while let Some(found) = decoder.next_event()? {
            if let StreamItem::Event { data, .. } = found {
                all.push(data);
            }
        }
    }
    Ok(all)
}

fn text(streams: &[&Bytes]) -> Result<Text> {
    let mut text = Text {
        bytes: 0,
        is_utf8: true,
        wide_characters: 0,
        survives_any_split: true,
        survives_line_ends: true,
    };
    for stream in streams {
        text.bytes += stream.len() as u64;
        match std::str::from_utf8(stream) {
            Ok(content) => {
                text.wide_characters +=
                    content.chars().filter(|character| character.len_utf8() > 1).count() as u64;
            }
            Err(_) => text.is_utf8 = false,
        }
        let whole = data(stream, stream.len())?;
        text.survives_any_split &= data(stream, 1)? == whole;
        let content = String::from_utf8_lossy(stream);
        // WHATWG HTML, section 9.2.5: one byte order mark is dropped, and there are three line
        // ends.
        let others = [
            format!("\u{feff}{content}"),
            content.replace('\n', "\r\n"),
            content.replace('\n', "\r"),
        ];
        for other in others {
            text.survives_line_ends &= data(other.as_bytes(), 7)? == whole;
        }
    }
    Ok(text)
}

/// Counts the fields of a stream's blocks (WHATWG HTML, section 9.2.6).
fn count_fields(stream: &[u8], format: &mut Format) {
    let content = String::from_utf8_lossy(stream).replace("\r\n", "\n");
    for block in content.split("\n\n").filter(|block| !block.trim().is_empty()) {
        let has = |name: &str| block.lines().any(|line| line.split(':').next() == Some(name));
        if !has("data") {
            format.without_data += 1;
            continue;
        }
        format.events += 1;
        format.with_event += u64::from(has("event"));
        format.with_id += u64::from(has("id"));
        format.with_retry += u64::from(has("retry"));
    }
}

/// The shortest events with each of the fields, as they are on the wire.
fn example(streams: &[&Bytes]) -> String {
    let mut found = Vec::new();
    for name in ["event:", "id:", "retry:"] {
        let blocks = streams.iter().map(|stream| String::from_utf8_lossy(stream));
        let shortest = blocks
            .flat_map(|content| {
                content.split_inclusive("\n\n").map(str::to_owned).collect::<Vec<_>>()
            })
            .filter(|block| {
                let has = |name: &str| block.lines().any(|line| line.starts_with(name));
                has(name) && has("data:")
            })
            .min_by_key(String::len);
        found.extend(shortest);
    }
    found.dedup();
    found.concat()
}

/// Reads one answer again on each transport.
async fn sameness(session: &mut Session, id: &str, data: &[Bytes]) -> Result<Sameness> {
    let is_event = |data: &&Bytes| data.starts_with(b"{");
    let first: Vec<Vec<u8>> = data.iter().filter(is_event).map(|data| data.to_vec()).collect();
    let mut others = Vec::new();
    let lines = Request::get(&format!("/v1/responses/{id}?stream=true"))
        .header("accept", "application/x-ndjson");
    let lines = session.fetch(lines, 200).await?;
    others.push(
        lines
            .split(|byte| *byte == b'\n')
            .filter(|line| !line.is_empty())
            .map(<[u8]>::to_vec)
            .collect(),
    );
    others.push(polled(session, id).await?);
    let mut socket = session.socket("/v1/responses").await?;
    socket.send_text(&json!({ "type": "response.resume", "response_id": id }).to_string()).await?;
    let mut messages = Vec::new();
    while messages.len() < first.len() {
        messages.push(soon(socket.next_text()).await??.into_bytes());
    }
    socket.close().await?;
    others.push(messages);
    let different = others.iter().filter(|other: &&Vec<Vec<u8>>| **other != first).count() as u64;
    Ok(Sameness { events: first.len() as u64, transports: 1 + others.len() as u64, different })
}

/// The events of a poll, as bytes.
async fn polled(session: &mut Session, id: &str) -> Result<Vec<Vec<u8>>> {
    #[derive(Deserialize)]
    struct List {
        data: Vec<Box<RawValue>>,
    }
    let body =
        session.fetch(Request::get(&format!("/v1/responses/{id}/events?wait=0")), 200).await?;
    let list: List = serde_json::from_slice(&body)?;
    Ok(list.data.into_iter().map(|event| event.get().as_bytes().to_vec()).collect())
}
