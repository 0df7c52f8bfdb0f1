//! Streams side by side (claims 16 and 18), and what is in them (claims 24 to 27 and 30).

use lens::flow::close::ConnectionEnding;
use lens::flow::side::Side;
use lens::http::event::BodyEventKind;
use lens::http::http2_frame::Http2FrameKind;
use lens::http::piece::PieceContent;

use super::names;
use crate::bilingual::Bilingual;
use crate::captured::ReadConnection;
use crate::claims::packets::Citing;

/// The number of changes from stream to stream that are cited: enough to see that they alternate.
const CHANGES: usize = 12;

/// The number of events that are cited of a stream.
const EVENTS: usize = 3;

/// Segments that begin with a DATA frame (RFC 9113, section 6.1: type 0, after three bytes of
/// length). Wireshark does not take a connection for HTTP/2 on any port.
pub(super) const DATA_FRAMES: &str = "tcp.len > 9 && tcp.payload[3:1] == 00";

/// Streams side by side.
pub(crate) fn multiplexing(citing: &mut Citing<'_>) {
    if let Some(read) = citing.named(names::MULTIPLEXED) {
        interleaved(citing, read);
        citing.search(16, &[read], DATA_FRAMES);
    }
    if let Some(read) = citing.named(names::PIPELINED) {
        for (segment, request) in read.requests() {
            citing.cite(16, read, segment, format!("{} without waiting", request.method));
        }
        for (segment, response) in read.responses() {
            citing.cite(16, read, segment, format!("{} in order", response.status));
        }
        citing.search(16, &[read], "http.request || http.response");
    }
    let reads: Vec<_> = std::iter::once(names::MULTIPLEXED)
        .chain(names::PARALLEL)
        .filter_map(|name| citing.named(name))
        .collect();
    for read in &reads {
        citing.cite(18, read, read.syn(), "a connection");
    }
    citing.search(18, &reads, "tcp.flags.syn == 1 && tcp.flags.ack == 0");
}

fn interleaved(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    for (segment, stream) in frames(read, Side::Client, Http2FrameKind::Headers) {
        citing.cite(16, read, segment, format!("the request of stream {stream}"));
    }
    let (mut before, mut changes) = (None, 0);
    for (segment, stream) in frames(read, Side::Server, Http2FrameKind::Data) {
        if before != Some(stream) && changes < CHANGES {
            citing.cite(16, read, segment, format!("DATA of stream {stream}"));
            changes += 1;
        }
        before = Some(stream);
    }
}

/// The frames of a kind, each with its segment and its stream.
pub(super) fn frames(
    read: &ReadConnection<'_>,
    side: Side,
    kind: Http2FrameKind,
) -> impl Iterator<Item = (Option<u64>, u32)> {
    read.pieces(side).filter_map(move |(segment, piece)| match &piece.content {
        PieceContent::Http2Head(frame) if frame.kind == kind => Some((segment, frame.stream)),
        _ => None,
    })
}

/// What streams consist of.
pub(crate) fn contents(citing: &mut Citing<'_>) {
    let reads: Vec<_> = citing.all().iter().collect();
    types(citing, &reads);
    events(citing, &reads);
    transports(citing, &reads);
    resumption(citing, &reads);
}

fn types(citing: &mut Citing<'_>, reads: &[&ReadConnection<'_>]) {
    for read in reads {
        for (segment, response) in read.responses() {
            match response.fields.get("content-type") {
                Some(media_type) if media_type.starts_with("text/event-stream") => {
                    citing.cite(25, read, segment, format!("{} {media_type}", response.status));
                }
                _ if response.status == 204 => {
                    citing.cite(25, read, segment, "204: no more events");
                }
                _ => {}
            }
        }
    }
    citing.search(
        25,
        reads,
        "frame contains \"text/event-stream\" || frame contains \"HTTP/1.1 204\"",
    );
}

/// Events with characters of more than one byte, and with all fields.
fn events(citing: &mut Citing<'_>, reads: &[&ReadConnection<'_>]) {
    for read in reads {
        let bytes = read.connection.directions.server.stream.bytes();
        let text = |range: &std::ops::Range<u64>| {
            let range = usize::try_from(range.start).ok()?..usize::try_from(range.end).ok()?;
            bytes.get(range)
        };
        let wide = read.events().filter(|(_, event)| {
            text(&event.range).is_some_and(|bytes| bytes.iter().any(|byte| !byte.is_ascii()))
        });
        for (segment, _) in wide.take(EVENTS) {
            citing.cite(24, read, segment, "characters of more than one byte, in UTF-8");
        }
        let is_full = |kind: &BodyEventKind| {
            matches!(
                kind,
                BodyEventKind::Sse { name: Some(_), .. } | BodyEventKind::Sse { id: Some(_), .. }
            )
        };
        for (segment, _) in read.events().filter(|(_, event)| is_full(&event.kind)).take(EVENTS) {
            citing.cite(26, read, segment, "an event with its fields");
        }
        let fields =
            read.events().find(|(_, event)| matches!(event.kind, BodyEventKind::SseFields { .. }));
        if let Some((segment, _)) = fields {
            citing.cite(26, read, segment, "retry without data: nothing is dispatched");
        }
    }
    citing.search(24, reads, "frame contains e4:bd:a0");
    citing.search(26, reads, "tcp.payload contains \"event: \" || tcp.payload contains \"id: \" || tcp.payload contains \"id:\"");
}

/// The same answer on each transport.
fn transports(citing: &mut Citing<'_>, reads: &[&ReadConnection<'_>]) {
    for read in reads {
        for (segment, request) in read.requests() {
            let is_upgrade = request.fields.get("upgrade").is_some();
            let is_lines =
                request.fields.get("accept").is_some_and(|accept| accept.contains("ndjson"));
            let what = match (request.method.as_str(), request.target.as_str()) {
                (_, "/v1/responses") if is_upgrade => "as WebSocket messages",
                ("POST", "/v1/responses") if request.fields.get("prefer").is_some() => {
                    "as server-sent events"
                }
                (_, _) if is_lines => "as lines of JSON",
                (_, target)
                    if target.contains("/events")
                        && request.fields.get("last-event-id").is_none() =>
                {
                    "as a poll or a stream of events"
                }
                _ => continue,
            };
            citing.cite(30, read, segment, format!("the answer {what}"));
        }
    }
    citing.search(
        30,
        reads,
        "frame contains \"GET /v1/responses\" || frame contains \"POST /v1/responses\"",
    );
}

/// A cut stream, and the one that resumes it.
fn resumption(citing: &mut Citing<'_>, reads: &[&ReadConnection<'_>]) {
    let mut cited = Vec::new();
    for read in reads {
        if let Some((_, number, _)) = read.connection.closing().reset
            && read.connection.ending() == (ConnectionEnding::Reset { by: Side::Client })
        {
            citing.cite(27, read, Some(number), "the client cuts the stream");
            let title = Bilingual::new("A stream, cut by RST", "被 RST 切断的流");
            citing.name(read, names::RESUMED[0], title);
            cited.push(*read);
        }
        let is_again = |(_, request): &(_, &lens::http::head::RequestHead)| {
            request.fields.get("last-event-id").is_some()
        };
        if let Some((segment, request)) = read.requests().find(is_again) {
            let last = request.fields.get("last-event-id").unwrap_or_default();
            citing.cite(27, read, segment, format!("asks again, Last-Event-ID: {last}"));
            let next = last.parse::<u64>().ok().map(|last| (last + 1).to_string());
            let is_next = |kind: &BodyEventKind| matches!(kind, BodyEventKind::Sse { id, .. } if id.is_some() && *id == next);
            let asked = segment.unwrap_or_default();
            let first = read.events().find(|(at, event)| *at > Some(asked) && is_next(&event.kind));
            if let Some((segment, _)) = first {
                citing.cite(27, read, segment, "the first event after the one that arrived last");
            }
            let title = Bilingual::new("Resumed with Last-Event-ID", "带 Last-Event-ID 续传");
            citing.name(read, names::RESUMED[1], title);
            cited.push(*read);
        }
    }
    citing.search(27, &cited, "tcp.flags.reset == 1 || frame contains \"last-event-id: \"");
}
