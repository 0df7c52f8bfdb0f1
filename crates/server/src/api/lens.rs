//! `GET /v1/lens/connections`: what happens on the connections, as counts and times. An admin sees all of them, everybody else
//! those on which there were requests of their own, and of the requests only these.

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use engine::keys::Caller;
use http::request::Parts;
use http::{HeaderValue, header};
use lens::live::{Bytes, Closer, Record, Request};
use lens::tcp_info::TcpInfo;
use serde_json::{Value, json};

use crate::auth;
use crate::error::Refused;
use crate::listen::{Protocol, View};
use crate::router::App;

/// `GET /v1/lens/connections`
pub(crate) async fn connections(State(app): State<App>, parts: Parts) -> Result<Response, Refused> {
    let Caller { owner, admin } = auth::caller(&app, &parts)?;
    let is_own = |request: &&Request| admin || request.owner.as_deref() == Some(owner.as_str());
    let views = app.connections.seen().views();
    let data: Vec<Value> = views
        .iter()
        .filter(|view| admin || view.record.requests.iter().any(|request| is_own(&request)))
        .map(|view| object(view, view.record.requests.iter().filter(is_own)))
        .collect();
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, Json(json!({ "object": "list", "data": data }))).into_response())
}

fn object<'a>(view: &View, requests: impl Iterator<Item = &'a Request>) -> Value {
    let Record { accepted, age, handshake, up, down, counts, said, asked, close, .. } = &view.record;
    let plain = |network: u64, bytes: &Bytes| if handshake.is_some() { network.saturating_sub(bytes.total()) } else { 0 };
    json!({
        "id": view.id,
        "object": "lens.connection",
        "client": view.client,
        "peer": view.peer,
        "accepted_at": accepted.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        "seconds": age.as_secs_f64(),
        "protocol": view.protocol.map(|protocol| match protocol { Protocol::Http1 => "http1", Protocol::Http2 => "http2" }),
        "tls": handshake.as_ref().map(|handshake| json!({
            "version": handshake.version,
            "alpn": handshake.alpn,
            "is_resumed": handshake.is_resumed,
            "began_ms": milliseconds(handshake.begin),
            "ended_ms": milliseconds(handshake.end),
        })),
        "received": bytes(view.received, plain(view.received, up), up),
        "sent": bytes(view.sent, plain(view.sent, down), down),
        "said": { "events": said.events, "framing": said.framing, "dialect": said.dialect, "text": said.text },
        "reads": counts.reads,
        "writes": counts.writes,
        "first_byte_received_ms": counts.first_in.map(milliseconds),
        "first_byte_sent_ms": counts.first_out.map(milliseconds),
        "last_byte_received_ms": counts.last_in.map(milliseconds),
        "last_byte_sent_ms": counts.last_out.map(milliseconds),
        "requests": asked,
        "last_requests": requests.map(request).collect::<Vec<_>>(),
        "tcp": view.tcp.as_ref().map(tcp),
        "close": close.map(|close| json!({
            "by": match close.by { Closer::Client => "client", Closer::Server => "server" },
            "how": close.how,
            "at_ms": milliseconds(close.at),
        })),
    })
}

fn bytes(network: u64, tls: u64, kinds: &Bytes) -> Value {
    json!({ "total": network, "tls": tls, "head": kinds.head, "framing": kinds.framing, "body": kinds.body, "frames": kinds.frames })
}

fn request(request: &Request) -> Value {
    json!({
        "number": request.number,
        "method": request.method,
        "path": request.path,
        "version": request.version,
        "status": request.status,
        "began_ms": milliseconds(request.begin),
        "answered_ms": request.answered.map(milliseconds),
        "ended_ms": request.end.map(milliseconds),
    })
}

fn tcp(info: &TcpInfo) -> Value {
    json!({
        "rtt_ms": milliseconds(info.round_trip),
        "rtt_variation_ms": milliseconds(info.round_trip_variation),
        "min_rtt_ms": info.minimal_round_trip.map(milliseconds),
        "segments_received": info.segments_in,
        "segments_sent": info.segments_out,
        "data_segments_received": info.data_segments_in,
        "data_segments_sent": info.data_segments_out,
        "retransmissions": info.total_retransmissions,
        "bytes_retransmitted": info.bytes_retransmitted,
        "delivery_rate": info.delivery_rate,
        "congestion_window": info.congestion_window,
        "mss": info.send_mss,
        "not_sent": info.not_sent_bytes,
    })
}

/// With three digits behind the point: what is finer is the clock's own noise.
fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1e6).round() / 1e3
}
