//! `/v1/lens`: what happens on the connections, as counts, times and packets. An admin sees all of
//! them, other callers those with requests of their own, and of the requests only these. Of a
//! connection shared with other callers they see nothing else.

pub(crate) mod capture_file;
mod packets;
pub(crate) mod reset;
pub(crate) mod responses;
mod time;

use std::time::{Duration, UNIX_EPOCH};

use axum::Json;
use axum::extract::{Query as QueryOf, State};
use axum::response::{IntoResponse, Response};
use engine::keys::Caller;
use http::{HeaderValue, header};
use lens::flow::connection::TcpConnection;
use lens::flow::side::{PerSide, Side};
use lens::http::protocol::ApplicationProtocol as Spoken;
use lens::http::{ConnectionReading, read_connection};
use lens::ladder::words::Language;
use lens::ladder::{LadderOptions, draw};
use lens::live::bytes::ByteCounts;
use lens::live::{ClosingSide, ConnectionRecord, RequestRecord, ResponseBytes, SentBytes};
use lens::tcp_info::TcpInfo;
use protocol::fault::{Fault, FaultKind};
use serde_json::{Value, json};

use self::time::milliseconds;
use crate::app::App;
use crate::capture::{CaptureExtent, CaptureView, Packets};
use crate::error::FaultResponse;
use crate::http::auth::Authenticated;
use crate::http::extract::PathParam;
use crate::listen::{ConnectionFilter, ConnectionView, HttpVersion};
use crate::query::{self, Query};

/// A narrower picture cannot be drawn, and a wider one cannot be read.
const WIDTHS: std::ops::RangeInclusive<u64> = 340..=2400;
const WIDTH: u64 = 960;

/// A picture that is opened by itself is a document: its own style is allowed, and nothing
/// else.
const POLICY: &str = "sandbox; default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// How many connections are listed for a caller that is not an admin, unless the request sets it.
const LISTED: u64 = 100;

/// `GET /v1/lens/connections`
pub(crate) async fn connections(
    State(app): State<App>,
    QueryOf(query): QueryOf<Query>,
    Authenticated { caller, .. }: Authenticated,
) -> Result<Response, FaultResponse> {
    let most = query::integer(&query, "limit", 1..=u64::MAX)?.unwrap_or(if caller.admin {
        u64::MAX
    } else {
        LISTED
    });
    let look = look(&app, &caller).await;
    let wanted =
        ConnectionFilter { lane: query.get("lane").map(String::as_str), ..wanted(&caller) };
    let views =
        app.connections.register().views(&wanted, usize::try_from(most).unwrap_or(usize::MAX));
    let (views, dropped) = match &look {
        CaptureView::On(captured) => {
            let (views, dropped) = with_packets(&app, captured, views).await?;
            (views, Some(dropped))
        }
        CaptureView::Off
        | CaptureView::Idle
        | CaptureView::NotPermitted(_)
        | CaptureView::NotSupported(_) => {
            (views.into_iter().map(|view| (view, None)).collect(), None)
        }
    };
    let data: Vec<Value> = views
        .into_iter()
        .filter_map(|(view, packets)| shown(&app, &caller, &view, packets.as_ref()))
        .collect();
    let (state, reason) = look.state();
    let capture = json!({ "state": state, "reason": reason, "dropped": dropped });
    let headers = [(header::CACHE_CONTROL, HeaderValue::from_static("no-store"))];
    Ok((headers, Json(json!({ "object": "list", "capture": capture, "data": data })))
        .into_response())
}

/// A connection, and if they were captured its packets and how far they reach.
type Seen = (ConnectionView, Option<(Value, CaptureExtent)>);

/// Joins the packets with their connections, and gives how many were dropped.
async fn with_packets(
    app: &App,
    captured: &Packets,
    views: Vec<ConnectionView>,
) -> Result<(Vec<Seen>, u64), Fault> {
    let read = move |captured: &Packets| {
        captured.take_in(|sight| {
            let packets = |view: &ConnectionView| {
                sight
                    .of(view)
                    .map(|connection| (packets::object(connection), CaptureExtent::of(connection)))
            };
            let seen: Vec<Seen> = views
                .into_iter()
                .map(|view| (packets(&view), view))
                .map(|(packets, view)| (view, packets))
                .collect();
            (seen, sight.dropped())
        })
    };
    captured.read(&app.tasks, read).await.ok_or_else(unreadable)
}

/// A connection as this caller sees it. Another caller may have sent a request on it since the view
/// was taken, and then nothing from before is shown either.
fn shown(
    app: &App,
    caller: &Caller,
    view: &ConnectionView,
    packets: Option<&(Value, CaptureExtent)>,
) -> Option<Value> {
    if caller.admin {
        return Some(whole(view, caller, packets.map(|(packets, _)| packets)));
    }
    let now = find(app, caller, view.id)?;
    if !now.has_owner() {
        return Some(little(&now, caller));
    }
    let packets = packets.filter(|(_, extent)| extent.is_within(&now)).map(|(packets, _)| packets);
    Some(whole(&now, caller, packets))
}

/// `GET /v1/lens/connections/{id}/ladder.svg`: the packets of one connection, drawn.
pub(crate) async fn ladder(
    State(app): State<App>,
    PathParam(id): PathParam<String>,
    QueryOf(query): QueryOf<Query>,
    Authenticated { caller, .. }: Authenticated,
) -> Result<Response, FaultResponse> {
    let options = options(&query)?;
    let view =
        id.parse().ok().and_then(|id| find(&app, &caller, id)).ok_or_else(|| unknown(&id))?;
    check_own(&caller, &view)?;
    let look = look(&app, &caller).await;
    let CaptureView::On(captured) = look else {
        let message = format!("No packets were captured: {}.", look.state().1);
        return Err(Fault::new(FaultKind::NotFound, "not_captured", message).into());
    };
    let id = view.id;
    let read = move |captured: &Packets| {
        // Drawn outside of the lock, so that requests for counts do not wait for it.
        let connection = captured.take_in(|sight| sight.of(&view).cloned())?;
        Some((
            draw(&connection, &conversation(&connection), &options),
            CaptureExtent::of(&connection),
        ))
    };
    let drawn = captured.read(&app.tasks, read).await.ok_or_else(unreadable)?;
    let (picture, extent) = drawn.ok_or_else(|| {
        uncaptured("No packets of this connection were captured: it ended before the capture started, or its packets were evicted.")
    })?;
    // Another caller's request may have come on it meanwhile, and its packets into the picture.
    let now = find(&app, &caller, id).ok_or_else(|| unknown(&id.to_string()))?;
    check_own(&caller, &now)?;
    if !caller.admin && !extent.is_within(&now) {
        return Err(uncaptured(
            "The packets of this connection cannot be shown: they were not captured from its start or are still arriving, so they may belong to others.",
        )
        .into());
    }
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("image/svg+xml")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
    ];
    Ok((headers, picture).into_response())
}

fn options(query: &Query) -> Result<LadderOptions, Fault> {
    let language = match query.get("language").map(String::as_str) {
        None | Some("en") => Language::English,
        Some("zh") => Language::Chinese,
        Some(_) => {
            return Err(Fault::invalid(
                "invalid_value",
                "language",
                "Invalid value for 'language': expected 'en' or 'zh'.",
            ));
        }
    };
    let width = query::integer(query, "width", WIDTHS)?.unwrap_or(WIDTH);
    Ok(LadderOptions {
        language,
        width: u32::try_from(width).unwrap_or(u32::MAX),
        vantage: Side::Server,
        ..LadderOptions::default()
    })
}

/// The connections that this caller may see.
fn wanted(caller: &Caller) -> ConnectionFilter<'_> {
    ConnectionFilter { owner: (!caller.admin).then_some(caller.owner.as_str()), lane: None }
}

/// One of them.
fn find(app: &App, caller: &Caller, id: u64) -> Option<ConnectionView> {
    app.connections.register().view(id).filter(|view| wanted(caller).is_met(view))
}

fn unknown(id: &str) -> Fault {
    let message =
        format!("Connection '{id}' does not exist, closed too long ago, or is not yours.");
    Fault::new(FaultKind::NotFound, "connection_not_found", message)
}

fn uncaptured(message: &str) -> Fault {
    Fault::new(FaultKind::NotFound, "not_captured", message)
}

/// Checks that the caller may see the packets of a connection, which belong to all that sent
/// requests on it.
fn check_own(caller: &Caller, view: &ConnectionView) -> Result<(), Fault> {
    if caller.admin || view.has_owner() {
        return Ok(());
    }
    let message = "This connection carried requests of other callers or without a key: only an admin may see its packets.";
    Err(Fault::new(FaultKind::NotFound, "connection_shared", message))
}

/// Looks at the captured packets, if the settings allow it. Only an admin's view starts a capture.
async fn look(app: &App, caller: &Caller) -> CaptureView {
    if caller.admin {
        app.capture.look(&app.tasks, app.config.listen).await
    } else {
        app.capture.glance().await
    }
}

/// The HTTP on a connection. Nothing is read where its start was not captured: what looks like a
/// head may be a user's message.
fn conversation(connection: &TcpConnection) -> ConnectionReading {
    if connection.handshake.syn.is_some() {
        return read_connection(connection);
    }
    ConnectionReading { protocol: Spoken::Unknown, readings: PerSide::default() }
}

fn unreadable() -> Fault {
    Fault::new(FaultKind::Server, "server_error", "the capture could not be read")
}

fn is_own(caller: &Caller, request: &RequestRecord) -> bool {
    caller.admin || request.owner.as_deref() == Some(caller.owner.as_str())
}

/// A connection as callers that share it see it: nothing that involves another caller.
fn little(view: &ConnectionView, caller: &Caller) -> Value {
    let mut object = whole(view, caller, None);
    for (name, value) in object.as_object_mut().into_iter().flatten() {
        match name.as_str() {
            "id" | "object" | "protocol" | "tls" => {}
            "shared" => *value = true.into(),
            // The number of earlier requests would reveal the activity of others.
            "last_requests" => value.as_array_mut().into_iter().flatten().for_each(|request| {
                for name in ["number", "sent", "said"] {
                    request[name] = Value::Null;
                }
            }),
            _ => *value = Value::Null,
        }
    }
    object
}

fn whole(view: &ConnectionView, caller: &Caller, packets: Option<&Value>) -> Value {
    let ConnectionRecord {
        accepted,
        age,
        handshake,
        is_sampled,
        up,
        down,
        counts,
        response_bytes,
        request_count,
        is_shared,
        close,
        ..
    } = &view.record;
    let tls = |network: u64, bytes: &ByteCounts| {
        if handshake.is_some() { network.saturating_sub(bytes.total()) } else { 0 }
    };
    let kinds =
        |network: u64, bytes: &ByteCounts| is_sampled.then(|| (tls(network, bytes), *bytes));
    let time = |time: Option<Duration>| time.map(milliseconds);
    let requests = view.record.requests.iter().filter(|request| is_own(caller, request));
    let now = SentBytes { network: view.sent, bytes: *down, response_bytes: *response_bytes };
    json!({
        "id": view.id,
        "object": "lens.connection",
        "client": view.client,
        "peer": view.peer,
        "accepted_at": accepted.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs_f64(),
        "seconds": age.as_secs_f64(),
        "protocol": view.protocol.map(|protocol| match protocol { HttpVersion::Http1 => "http1", HttpVersion::Http2 => "http2" }),
        "tls": handshake.as_ref().map(|handshake| json!({
            "version": handshake.version,
            "alpn": handshake.alpn,
            "is_resumed": handshake.is_resumed,
            "began_ms": milliseconds(handshake.started),
            "ended_ms": milliseconds(handshake.finished),
        })),
        "sampled": is_sampled,
        "shared": is_shared,
        "received": bytes(view.received, kinds(view.received, up)),
        "sent": bytes(view.sent, kinds(view.sent, down)),
        "said": is_sampled.then(|| object_of(response_bytes)),
        "reads": is_sampled.then_some(counts.reads),
        "writes": is_sampled.then_some(counts.writes),
        "first_byte_received_ms": time(counts.first_in),
        "first_byte_sent_ms": time(counts.first_out),
        "last_byte_received_ms": time(counts.last_in),
        "last_byte_sent_ms": time(counts.last_out),
        "requests": request_count,
        "last_requests": requests.map(|one| request(one, one.sent(&now).map(|sent| {
            (bytes(sent.network, kinds(sent.network, &sent.bytes)), is_sampled.then(|| object_of(&sent.response_bytes)))
        }))).collect::<Vec<_>>(),
        "tcp": view.tcp.as_ref().map(tcp),
        "packets": packets,
        "open": view.is_open,
        "close": close.map(|close| json!({
            "by": match close.by { ClosingSide::Client => "client", ClosingSide::Server => "server" },
            "how": close.how,
            "at_ms": milliseconds(close.at),
        })),
    })
}

/// The total, and by kind what was counted: TLS, and its content.
fn bytes(network: u64, kinds: Option<(u64, ByteCounts)>) -> Value {
    let of = |pick: fn(&ByteCounts) -> u64| kinds.as_ref().map(|(_, kinds)| pick(kinds));
    json!({
        "total": network,
        "tls": kinds.map(|(tls, _)| tls),
        "head": of(|kinds| kinds.head),
        "framing": of(|kinds| kinds.framing),
        "body": of(|kinds| kinds.body),
        "frames": of(|kinds| kinds.frames),
    })
}

fn object_of(bytes: &ResponseBytes) -> Value {
    json!({ "events": bytes.events, "framing": bytes.framing, "dialect": bytes.dialect, "text": bytes.text })
}

/// A request, and where they are known the bytes that were sent for it, and those of events among
/// them.
fn request(request: &RequestRecord, sent: Option<(Value, Option<Value>)>) -> Value {
    let (sent, said) = sent.unwrap_or_default();
    json!({
        "number": request.number,
        "method": request.method,
        "path": request.path,
        "version": request.version,
        "lane": request.lane,
        "status": request.status,
        "began_ms": milliseconds(request.started),
        "answered_ms": request.responded.map(milliseconds),
        "ended_ms": request.finished.map(milliseconds),
        "sent": sent,
        "said": said,
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
