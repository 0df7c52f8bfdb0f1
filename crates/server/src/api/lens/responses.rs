//! `GET /v1/lens/responses/{id}`: the way of one response, from the model through this server to its
//! readers. Its owner sees it, and an admin.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::keys::Caller;
use engine::provider::connection::{UpstreamConnection, UpstreamProtocol, UpstreamTls};
use engine::provider::exchange::ExchangeRecord;
use engine::provider::exchange_end::{ExchangeEnd, UpstreamSide};
use engine::response::timeline::{ReaderRecord, TimelineRecord};
use http::{HeaderValue, header};
use protocol::fault::{Fault, FaultKind};
use protocol::id::ResponseId;
use serde_json::{Value, json};

use super::time::milliseconds;
use crate::app::App;
use crate::error::FaultResponse;
use crate::http::auth::Authenticated;
use crate::http::extract::PathParam;

/// `GET /v1/lens/responses/{id}`
pub(crate) async fn retrieve(
    State(app): State<App>,
    PathParam(id): PathParam<ResponseId>,
    Authenticated { caller, .. }: Authenticated,
) -> Result<Response, FaultResponse> {
    let timeline = app
        .engine
        .timeline(&id)
        .filter(|timeline| caller.admin || *timeline.owner() == caller.owner)
        .ok_or_else(|| unknown(&id))?;
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, Json(object(&id, &timeline.record(), &caller))).into_response())
}

fn unknown(id: &ResponseId) -> Fault {
    let message = format!("Response '{id}' did not run here, ended too long ago, or is not yours.");
    Fault::new(FaultKind::NotFound, "response_not_found", message)
}

fn object(id: &ResponseId, record: &TimelineRecord, caller: &Caller) -> Value {
    json!({
        "id": id,
        "object": "lens.response",
        "created_at": record.accepted.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        "first": stages(&first(record)),
        "end": stages(&end(record)),
        "stopped": record.stopped.map(|(at, reason)| json!({ "at_ms": milliseconds(at), "reason": reason })),
        "upstream": (record.call_count > 0).then(|| json!({
            "closed_after_stop_ms": closed_after_stop(record).map(milliseconds),
            "call_count": record.call_count,
            "calls": record.calls.iter().map(|one| call(one, caller)).collect::<Vec<_>>(),
        })),
        "client": record.readers.iter().map(reader).collect::<Vec<_>>(),
    })
}

/// A stage of the way, and when it was reached.
type Stage = (&'static str, Option<Duration>);

/// The way of the first output.
fn first(record: &TimelineRecord) -> [Stage; 5] {
    let call = record.calls.last();
    let delivered = record.readers.iter().filter_map(|reader| reader.first).min();
    [
        ("request", call.and_then(|call| call.sent)),
        ("head", call.and_then(|call| call.head)),
        ("event", call.and_then(|call| call.first_event)),
        ("logged", record.first_logged),
        ("delivered", delivered),
    ]
}

/// The way of the end.
fn end(record: &TimelineRecord) -> [Stage; 4] {
    let call = record.calls.last();
    let ends = record.readers.iter().filter(|reader| reader.is_complete);
    [
        ("event", call.and_then(|call| call.last_event)),
        ("upstream", call.and_then(|call| call.end).map(|(at, _)| at)),
        ("logged", record.last_logged),
        ("delivered", ends.filter_map(|reader| reader.last).min()),
    ]
}

/// The stages that were reached, each with the delay after the one before it.
fn stages(stages: &[Stage]) -> Vec<Value> {
    let mut before = None;
    let reached = stages.iter().filter_map(|(name, at)| Some((name, (*at)?)));
    reached
        .map(|(name, at)| {
            // A reader on another thread may be ahead of the note that an entry is in the log.
            let at = before.map_or(at, |before: Duration| before.max(at));
            let delay = before.replace(at).map(|before| at.saturating_sub(before));
            json!({ "stage": name, "at_ms": milliseconds(at), "delay_ms": delay.map(milliseconds) })
        })
        .collect()
}

/// How long after its stop this server closed the connection to the upstream, or the stream on it.
fn closed_after_stop(record: &TimelineRecord) -> Option<Duration> {
    let (stopped, _) = record.stopped?;
    let (at, end) = record.calls.last()?.end?;
    let is_ours = end.close.is_some_and(|close| close.by == UpstreamSide::Weir);
    at.checked_sub(stopped).filter(|_| is_ours && !end.is_complete)
}

fn call(call: &ExchangeRecord, caller: &Caller) -> Value {
    let time = |time: Option<Duration>| time.map(milliseconds);
    let end = call.end.map(|(_, end)| end);
    let close = end.and_then(|end| end.close);
    let address = call.target.address.as_ref().filter(|_| caller.admin);
    json!({
        "upstream": call.target.upstream,
        "address": address.map(|(host, port)| format!("{host}:{port}")),
        "status": call.status,
        "asked_ms": milliseconds(call.asked),
        "sent_ms": time(call.sent),
        "head_ms": time(call.head),
        "first_event_ms": time(call.first_event),
        "last_event_ms": time(call.last_event),
        "ended_ms": time(call.end.map(|(at, _)| at)),
        "events": call.events,
        "complete": end.map(|end| end.is_complete),
        "close": close.map(|close| json!({ "by": close.by.as_str(), "how": close.how })),
        "sent": { "head": call.bytes.sent_head, "body": call.bytes.sent_body },
        "received": {
            "head": call.bytes.received_head,
            "framing": framing(call),
            "body": call.body,
            "text": call.text,
        },
        "connection": call.connection.as_deref().map(|one| connection(one, call, caller)),
    })
}

/// The chunk sizes of HTTP/1.1, once everything was received.
fn framing(call: &ExchangeRecord) -> Option<u64> {
    call.end.filter(|(_, end)| end.is_complete)?;
    call.bytes.received?.checked_sub(call.bytes.received_head? + call.body)
}

/// Other callers use the connection, too: how often, only an admin sees.
fn connection(connection: &UpstreamConnection, call: &ExchangeRecord, caller: &Caller) -> Value {
    let opening = &connection.opening;
    let is_http2 = opening.protocol == UpstreamProtocol::Http2;
    let is_kept = |end: ExchangeEnd| match end.close {
        None => end.is_complete,
        // The stream of a request is not the connection.
        Some(close) => is_http2 && close.how == "stream_reset",
    };
    json!({
        "number": connection.number,
        "protocol": opening.protocol.as_str(),
        "reused": call.earlier_requests > 0,
        "earlier_requests": caller.admin.then_some(call.earlier_requests),
        "kept": call.end.map(|(_, end)| is_kept(end)),
        "opened_ms": call.opened.map(milliseconds),
        "dns_ms": opening.dns.map(milliseconds),
        "connect_ms": milliseconds(opening.connect),
        "tls": opening.tls.as_ref().map(tls),
        "by_proxy": opening.is_by_proxy,
        "local": opening.local.filter(|_| caller.admin),
        "peer": opening.peer.filter(|_| caller.admin),
    })
}

fn tls(tls: &UpstreamTls) -> Value {
    json!({
        "version": tls.version,
        "alpn": tls.alpn,
        "is_resumed": tls.is_resumed,
        "handshake_ms": milliseconds(tls.took),
    })
}

fn reader(reader: &ReaderRecord) -> Value {
    json!({
        "connection": reader.connection,
        "opened_ms": milliseconds(reader.opened),
        "first_ms": reader.first.map(milliseconds),
        "last_ms": reader.last.map(milliseconds),
        "complete": reader.is_complete,
    })
}
