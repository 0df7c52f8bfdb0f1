//! `/v1/lens`: what happens on the connections, as counts, times and packets. An admin sees all of them, everybody else those
//! on which there were requests of their own, and of the requests only these.

mod packets;

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Query as QueryOf, State};
use axum::response::{IntoResponse, Response};
use engine::keys::Caller;
use http::request::Parts;
use http::{HeaderValue, header};
use lens::flow::connection::Connection;
use lens::flow::{Both, Side};
use lens::http::{Conversation, Protocol as Spoken, read_connection};
use lens::ladder::words::Language;
use lens::ladder::{Options, draw};
use lens::live::{Bytes, Closer, Record, Request};
use lens::tcp_info::TcpInfo;
use protocol::fault::{Fault, FaultKind};
use serde_json::{Value, json};

use super::Path;
use super::query::{self, Query};
use crate::auth;
use crate::capture::{Look, Sight};
use crate::config::CaptureMode;
use crate::error::Refused;
use crate::listen::{Protocol, View};
use crate::router::App;

/// A picture narrower than the first cannot be drawn, and one wider than the second not be read.
const WIDTHS: std::ops::RangeInclusive<u64> = 340..=2400;
const WIDTH: u64 = 960;

/// A picture is a document too, if one opens it by itself: it has a style of its own, and may have nothing else.
const POLICY: &str =
    "sandbox; script-src 'none'; object-src 'none'; img-src 'none'; font-src 'none'; connect-src 'none'; frame-ancestors 'none'";

/// `GET /v1/lens/connections`
pub(crate) async fn connections(State(app): State<App>, parts: Parts, QueryOf(query): QueryOf<Query>) -> Result<Response, Refused> {
    let caller = auth::caller(&app, &parts)?;
    let look = look(&app).await;
    let lane = query.get("lane").cloned();
    let views = app.connections.seen().views();
    let is_asked = |view: &View| lane.as_deref().is_none_or(|lane| of_lane(&caller, view, lane));
    let views: Vec<View> = views.into_iter().filter(|view| may_see(&caller, view) && is_asked(view)).collect();
    let is_admin = caller.admin;
    let (views, packets) = match look.clone() {
        Look::On(captured) => {
            let read = move || {
                let shown = |view: &View| is_admin || !view.record.is_shared;
                let of = |sight: &Sight, view: &View| shown(view).then(|| sight.of(view).map(packets::object)).flatten();
                let packets: Vec<Option<Value>> = captured.read(|sight| views.iter().map(|view| of(sight, view)).collect());
                (views, packets)
            };
            app.tasks.blocking(read).await.ok_or_else(unreadable)?
        }
        Look::Off | Look::NotPermitted(_) | Look::NotSupported(_) => (views, Vec::new()),
    };
    let packets = packets.into_iter().chain(std::iter::repeat(None));
    let data: Vec<Value> = views.iter().zip(packets).map(|(view, packets)| object(view, &caller, packets.as_ref())).collect();
    let (state, reason) = look.state();
    let capture = json!({ "state": state, "reason": reason });
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, Json(json!({ "object": "list", "capture": capture, "data": data }))).into_response())
}

/// `GET /v1/lens/connections/{id}/ladder.svg`: the packets of one connection, drawn.
pub(crate) async fn ladder(
    State(app): State<App>,
    parts: Parts,
    Path(id): Path<String>,
    QueryOf(query): QueryOf<Query>,
) -> Result<Response, Refused> {
    let caller = auth::caller(&app, &parts)?;
    let options = options(&query)?;
    let view = id.parse().ok().and_then(|id| find(&app, &caller, id)).ok_or_else(|| unknown(&id))?;
    check_alone(&caller, &view)?;
    let look = look(&app).await;
    let Look::On(captured) = look else {
        let message = format!("No packets were captured: {}.", look.state().1);
        return Err(Fault::new(FaultKind::NotFound, "not_captured", message).into());
    };
    let id = view.id;
    let read = move || {
        // Drawn outside of the lock: those who only look up counts do not wait for it.
        let connection = captured.read(|sight| sight.of(&view).cloned())?;
        Some(draw(&connection, &conversation(&connection), &options))
    };
    let picture = app.tasks.blocking(read).await.ok_or_else(unreadable)?.ok_or_else(|| {
        let message = "No packets of this connection were captured: it ended before somebody looked, or there was no room for it.";
        Fault::new(FaultKind::NotFound, "not_captured", message)
    })?;
    // Somebody else's request may have come on it meanwhile, and its packets into the picture.
    check_alone(&caller, &find(&app, &caller, id).ok_or_else(|| unknown(&id.to_string()))?)?;
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    Ok((headers, picture).into_response())
}

fn options(query: &Query) -> Result<Options, Fault> {
    let language = match query.get("language").map(String::as_str) {
        None | Some("en") => Language::English,
        Some("zh") => Language::Chinese,
        Some(_) => return Err(Fault::invalid("invalid_value", "language", "Invalid value for 'language': expected 'en' or 'zh'.")),
    };
    let width = query::integer(query, "width", WIDTHS)?.unwrap_or(WIDTH);
    Ok(Options { language, width: u32::try_from(width).unwrap_or(u32::MAX), vantage: Side::Server, ..Options::default() })
}

/// A connection that this caller may see.
fn find(app: &App, caller: &Caller, id: u64) -> Option<View> {
    app.connections.seen().view(id).filter(|view| may_see(caller, view))
}

fn unknown(id: &str) -> Fault {
    let message = format!("There is no connection '{id}', or it closed long ago, or it is not yours.");
    Fault::new(FaultKind::NotFound, "connection_not_found", message)
}

/// The packets of a connection are of all who asked on it.
fn check_alone(caller: &Caller, view: &View) -> Result<(), Fault> {
    if caller.admin || !view.record.is_shared {
        return Ok(());
    }
    let message = "This connection carried requests of several callers: only an admin may see its packets.";
    Err(Fault::new(FaultKind::NotFound, "connection_shared", message))
}

/// Looks at the packets of our port, if the settings let us.
async fn look(app: &App) -> Look {
    match app.config.lens.capture {
        CaptureMode::Auto => app.capture.look(&app.tasks, app.config.listen.port()).await,
        CaptureMode::Off => Look::Off,
    }
}

/// What is said on a connection. Where its begin was not captured nothing is read: what looks like a head may be somebody's words.
fn conversation(connection: &Connection) -> Conversation {
    if connection.handshake.syn.is_some() {
        return read_connection(connection);
    }
    Conversation { protocol: Spoken::Unknown, readings: Both::default() }
}

fn unreadable() -> Fault {
    Fault::new(FaultKind::Server, "server_error", "what was captured could not be read")
}

fn may_see(caller: &Caller, view: &View) -> bool {
    let is_first = view.record.owner.as_deref() == Some(caller.owner.as_str());
    caller.admin || is_first || view.record.requests.iter().any(|request| is_own(caller, request))
}

fn of_lane(caller: &Caller, view: &View, lane: &str) -> bool {
    view.record.requests.iter().any(|request| is_own(caller, request) && request.lane.as_deref() == Some(lane))
}

fn is_own(caller: &Caller, request: &Request) -> bool {
    caller.admin || request.owner.as_deref() == Some(caller.owner.as_str())
}

fn object(view: &View, caller: &Caller, packets: Option<&Value>) -> Value {
    let Record { accepted, age, handshake, is_sampled, up, down, counts, said, asked, is_shared, close, .. } = &view.record;
    let tls = |network: u64, bytes: &Bytes| if handshake.is_some() { network.saturating_sub(bytes.total()) } else { 0 };
    let kinds = |network: u64, bytes: &Bytes| is_sampled.then(|| (tls(network, bytes), *bytes));
    let time = |time: Option<Duration>| time.map(milliseconds);
    let requests = view.record.requests.iter().filter(|request| is_own(caller, request));
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
        "sampled": is_sampled,
        "shared": is_shared,
        "received": bytes(view.received, kinds(view.received, up)),
        "sent": bytes(view.sent, kinds(view.sent, down)),
        "said": is_sampled.then(|| json!({
            "events": said.events, "framing": said.framing, "dialect": said.dialect, "text": said.text,
        })),
        "reads": is_sampled.then_some(counts.reads),
        "writes": is_sampled.then_some(counts.writes),
        "first_byte_received_ms": time(counts.first_in),
        "first_byte_sent_ms": time(counts.first_out),
        "last_byte_received_ms": time(counts.last_in),
        "last_byte_sent_ms": time(counts.last_out),
        "requests": asked,
        "last_requests": requests.map(request).collect::<Vec<_>>(),
        "tcp": view.tcp.as_ref().map(tcp),
        "packets": packets,
        "close": close.map(|close| json!({
            "by": match close.by { Closer::Client => "client", Closer::Server => "server" },
            "how": close.how,
            "at_ms": milliseconds(close.at),
        })),
    })
}

/// The total, and by kind what was counted: TLS, and what is in it.
fn bytes(network: u64, kinds: Option<(u64, Bytes)>) -> Value {
    let of = |pick: fn(&Bytes) -> u64| kinds.as_ref().map(|(_, kinds)| pick(kinds));
    json!({
        "total": network,
        "tls": kinds.map(|(tls, _)| tls),
        "head": of(|kinds| kinds.head),
        "framing": of(|kinds| kinds.framing),
        "body": of(|kinds| kinds.body),
        "frames": of(|kinds| kinds.frames),
    })
}

fn request(request: &Request) -> Value {
    json!({
        "number": request.number,
        "method": request.method,
        "path": request.path,
        "version": request.version,
        "lane": request.lane,
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
