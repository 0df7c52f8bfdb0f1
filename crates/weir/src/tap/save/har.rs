//! A tap as HAR 1.2: one entry for each request, with its events as Chrome exports them.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use bytes::BytesMut;
use client::http1::{Body, Piece, take_head};
use http::StatusCode;
use serde_json::{Value, json};

use crate::tap::recording::{Exchange, Recording, TappedEvent};

/// In place of a key.
const HIDDEN: &str = "Bearer ***";

pub(super) fn document(recording: &Recording) -> Value {
    let ends = recording.exchanges.iter().skip(1).map(|exchange| exchange.first);
    let ends = ends.chain([recording.events.len()]);
    let entries: Vec<Value> = recording
        .exchanges
        .iter()
        .zip(ends)
        .map(|(exchange, end)| {
            let events = recording.events.get(exchange.first..end).unwrap_or_default();
            entry(recording, exchange, events)
        })
        .collect();
    json!({
        "log": {
            "version": "1.2",
            "creator": { "name": "weir tap", "version": env!("CARGO_PKG_VERSION") },
            "pages": [],
            "entries": entries,
            "comment": format!(
                "The events of {}. `time` of a message is when the tap took it; `_logged_ms` is when the server appended it to its log, in milliseconds since the creation of the response.",
                recording.response_id
            ),
        }
    })
}

fn entry(recording: &Recording, exchange: &Exchange, events: &[TappedEvent]) -> Value {
    let last = events.last().map(|event| event.taken);
    let end = last.into_iter().chain(exchange.ended).max().unwrap_or(exchange.answered);
    let tls = exchange.info.tls.as_ref().map(|tls| tls.duration);
    let connect = exchange.info.connected + tls.unwrap_or_default();
    let opened = exchange.opened + connect;
    let timings = Timings {
        connect: milliseconds(connect),
        ssl: tls.map_or(-1.0, milliseconds),
        send: between(opened, exchange.sent),
        wait: between(exchange.sent, exchange.answered),
        receive: between(exchange.answered, end),
    };
    let body = ReadBody::of(exchange);
    json!({
        "startedDateTime": iso(exchange.started),
        "time": timings.total(),
        "request": request(recording, exchange),
        "response": response(exchange, &body),
        "cache": {},
        "timings": timings.json(),
        "serverIPAddress": exchange.info.peer.ip().to_string(),
        "connection": exchange.info.local.port().to_string(),
        "_resourceType": "eventsource",
        "_eventSourceMessages": events.iter().map(|event| message(exchange, event)).collect::<Vec<_>>(),
    })
}

/// In milliseconds; -1 for what does not apply.
struct Timings {
    connect: f64,
    ssl: f64,
    send: f64,
    wait: f64,
    receive: f64,
}

impl Timings {
    /// The time of the entry, in which `connect` includes `ssl`.
    fn total(&self) -> f64 {
        self.connect + self.send + self.wait + self.receive
    }

    fn json(&self) -> Value {
        let Self { connect, ssl, send, wait, receive } = self;
        json!({
            "blocked": -1.0, "dns": -1.0, "connect": connect, "ssl": ssl,
            "send": send, "wait": wait, "receive": receive,
        })
    }
}

fn request(recording: &Recording, exchange: &Exchange) -> Value {
    let request = &exchange.request;
    let origin = match recording.server.split_once("://") {
        Some((scheme, rest)) => {
            format!("{scheme}://{}", rest.split('/').next().unwrap_or_default())
        }
        None => recording.server.clone(),
    };
    let query = request.path.split_once('?').map(|(_, query)| query).unwrap_or_default();
    let pairs = query.split('&').filter_map(|pair| pair.split_once('='));
    let headers = request.headers.iter().map(|(name, value)| {
        let is_key = name.eq_ignore_ascii_case("authorization");
        json!({ "name": name, "value": if is_key { HIDDEN } else { value } })
    });
    json!({
        "method": request.method,
        "url": format!("{origin}{}", request.path),
        "httpVersion": request.version,
        "cookies": [],
        "headers": headers.collect::<Vec<_>>(),
        "queryString": pairs.map(|(name, value)| json!({ "name": name, "value": value })).collect::<Vec<_>>(),
        "headersSize": exchange.info.tap.tapped().up.length,
        "bodySize": 0,
    })
}

fn response(exchange: &Exchange, body: &ReadBody) -> Value {
    let status = StatusCode::from_u16(exchange.status).ok();
    let text = status.and_then(|status| status.canonical_reason()).unwrap_or_default();
    let headers =
        exchange.headers.iter().map(|(name, value)| json!({ "name": name, "value": value }));
    let kind = exchange.headers.iter().find(|(name, _)| name.eq_ignore_ascii_case("content-type"));
    let mut content = json!({
        "size": body.text.len(),
        "mimeType": kind.map(|(_, value)| value.as_str()).unwrap_or_default(),
        "text": String::from_utf8_lossy(&body.text),
    });
    if !body.is_whole {
        content["comment"] = "Only the first 16 MiB of the connection were kept.".into();
    }
    json!({
        "status": exchange.status,
        "statusText": text,
        "httpVersion": "HTTP/1.1",
        "cookies": [],
        "headers": headers.collect::<Vec<_>>(),
        "content": content,
        "redirectURL": "",
        "headersSize": body.head_bytes,
        "bodySize": body.wire_bytes,
    })
}

fn message(exchange: &Exchange, event: &TappedEvent) -> Value {
    let since = exchange.date(event.taken).duration_since(UNIX_EPOCH).unwrap_or_default();
    json!({
        "time": since.as_secs_f64(),
        "eventName": event.kind,
        "eventId": "",
        "data": String::from_utf8_lossy(&event.data),
        "_sequence_number": event.position,
        "_logged_ms": event.logged.map(milliseconds),
    })
}

/// The body of a response, from the bytes of its connection.
struct ReadBody {
    head_bytes: usize,
    /// With its framing.
    wire_bytes: u64,
    text: Vec<u8>,
    is_whole: bool,
}

impl ReadBody {
    fn of(exchange: &Exchange) -> Self {
        let down = exchange.info.tap.tapped().down;
        let is_whole = down.bytes.len() as u64 == down.length;
        let mut buffer = BytesMut::from(down.bytes.as_slice());
        let mut text = Vec::new();
        let head = take_head(&mut buffer).ok().flatten();
        let head_bytes = down.bytes.len() - buffer.len();
        let body = head.and_then(|head| Body::announced(&head.headers, Body::UntilClose).ok());
        if let Some(mut body) = body {
            while let Ok(Piece::Data(data)) = body.take(&mut buffer) {
                text.extend_from_slice(&data);
            }
        }
        Self { head_bytes, wire_bytes: down.length - head_bytes as u64, text, is_whole }
    }
}

fn milliseconds(time: Duration) -> f64 {
    (time.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

fn between(from: Instant, to: Instant) -> f64 {
    milliseconds(to.saturating_duration_since(from))
}

/// A date as ISO 8601 wants it, in UTC.
fn iso(date: SystemTime) -> String {
    let since = date.duration_since(UNIX_EPOCH).unwrap_or_default();
    let (days, seconds) = (since.as_secs() / 86_400, since.as_secs() % 86_400);
    let (year, month, day) = civil(days);
    format!(
        "{year:04}-{month:02}-{day:02}T{:02}:{:02}:{:02}.{:03}Z",
        seconds / 3600,
        seconds / 60 % 60,
        seconds % 60,
        since.subsec_millis()
    )
}

/// Year, month and day of a number of days since 1970, by counting 400-year cycles from 1 March of
/// the year 0, where leap days are at the end of a year.
fn civil(days: u64) -> (u64, u64, u64) {
    const CYCLE: u64 = 146_097;
    const TO_1970: u64 = 719_468;
    let shifted = days + TO_1970;
    let (cycle, day) = (shifted / CYCLE, shifted % CYCLE);
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day = day - (365 * year + year / 4 - year / 100);
    let month = (5 * day + 2) / 153;
    let date = day - (153 * month + 2) / 5 + 1;
    let month = if month < 10 { month + 3 } else { month - 9 };
    (cycle * 400 + year + u64::from(month <= 2), month, date)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dates_are_iso_8601() {
        let check = |seconds: u64, millis: u64, expected: &str| {
            let date = UNIX_EPOCH + Duration::from_secs(seconds) + Duration::from_millis(millis);
            assert_eq!(iso(date), expected);
        };
        check(0, 0, "1970-01-01T00:00:00.000Z");
        check(951_782_400, 7, "2000-02-29T00:00:00.007Z");
        check(951_868_800, 0, "2000-03-01T00:00:00.000Z");
        check(1_735_689_599, 999, "2024-12-31T23:59:59.999Z");
        check(4_102_444_800, 0, "2100-01-01T00:00:00.000Z");
    }
}
