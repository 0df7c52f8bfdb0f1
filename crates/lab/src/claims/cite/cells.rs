//! What verdicts cite of the cells that they are drawn from (claims 7, 9, 10, 14, 18 to 23, 28, 29).

use lens::flow::side::Side;
use lens::http::event::BodyEventKind;
use lens::http::http2_frame::Http2FrameKind;
use lens::http::piece::PieceContent;

use super::streams::{DATA_FRAMES, frames};
use crate::captured::ReadConnection;
use crate::claims::packets::Citing;
use crate::plan::{Cell, Dialect, Transport, Version};

/// Whether evidence is drawn from a cell: from those of the Responses API, without TLS if possible.
pub(crate) fn is_chosen(cell: Cell, cells: &[Cell]) -> bool {
    let has_clear = cells.contains(&Cell { tls: false, ..cell });
    cell.dialect == Dialect::Responses && !(cell.tls && has_clear)
}

/// The conversation of a cell.
pub(crate) fn conversation(citing: &mut Citing<'_>, cell: Cell) {
    let reads: Vec<_> = citing.all().iter().collect();
    let Some(first) = reads.first().copied() else { return };
    match (cell.transport, cell.version) {
        (Transport::Sse, Version::Http11) => {
            requests(citing, first);
            ends(citing, first);
            tokens(citing, first, &[9, 29]);
            head(citing, first);
            framing(citing, first);
        }
        (Transport::Sse, Version::Http10) => {
            citing.cite(14, first, first.first_fin(), "the end of the connection ends the body");
            citing.search(14, &[first], "tcp.flags.fin == 1");
        }
        (Transport::Sse, Version::Http2) => {
            // The first ones share a segment with the head.
            let data = frames(first, Side::Server, Http2FrameKind::Data).nth(4);
            citing.cite(14, first, data.and_then(|(segment, _)| segment), "a DATA frame");
            citing.search(14, &[first], DATA_FRAMES);
        }
        (Transport::Websocket, Version::Http11) => {
            socket(citing, first);
            tokens(citing, first, &[29]);
        }
        (Transport::Json, Version::Http11) => {
            let response = first.responses().next().and_then(|(segment, _)| segment);
            citing.cite(29, first, response, "the whole answer at its end");
            citing.search(29, &[first], "tcp.payload contains \"HTTP/1.1 200\"");
        }
        (
            Transport::Json
            | Transport::LongPoll
            | Transport::Ndjson
            | Transport::Sse
            | Transport::Websocket,
            Version::Http10 | Version::Http11 | Version::Http11Close | Version::Http2,
        ) => {}
    }
}

/// Each question is a request on the same connection.
fn requests(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    for claim in [7, 19] {
        citing.cite(claim, read, read.syn(), "the only connection");
        for (index, (segment, request)) in read.requests().enumerate() {
            let note = format!("request {}: {} {}", index + 1, request.method, request.target);
            citing.cite(claim, read, segment, note);
        }
        citing.search(claim, &[read], "http.request || (tcp.flags.syn == 1 && tcp.flags.ack == 0)");
    }
}

/// Where answers end, and where the connection ends.
fn ends(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    citing.cite(28, read, read.syn(), "the only SYN of the client");
    let last = read
        .pieces(Side::Server)
        .filter(|(_, piece)| matches!(piece.content, PieceContent::ChunkSize { size: 0, .. }));
    for (index, (segment, _)) in last.enumerate() {
        citing.cite(
            28,
            read,
            segment,
            format!("answer {} ends with its last chunk, without FIN", index + 1),
        );
    }
    citing.cite(28, read, read.first_fin(), "the first FIN, after all answers");
    citing.search(
        28,
        &[read],
        "tcp.flags.syn == 1 || tcp.flags.fin == 1 || tcp.payload contains 0d:0a:30:0d:0a:0d:0a",
    );
}

/// The segments that carry the text of the first answer.
fn tokens(citing: &mut Citing<'_>, read: &ReadConnection<'_>, claims: &[u32]) {
    let is_delta = |kind: &BodyEventKind| match kind {
        BodyEventKind::Sse { name, .. } => name.as_deref() == Some("response.output_text.delta"),
        BodyEventKind::Message { is_text } => *is_text,
        BodyEventKind::SseFields { .. }
        | BodyEventKind::SseComment
        | BodyEventKind::Line
        | BodyEventKind::EmptyLine => false,
    };
    let ends = |piece: &PieceContent| matches!(piece, PieceContent::ChunkSize { size: 0, .. });
    let end = read.pieces(Side::Server).find(|(_, piece)| ends(&piece.content));
    let end = end.and_then(|(segment, _)| segment).unwrap_or(u64::MAX);
    let deltas: Vec<_> = read
        .events()
        .filter(|(segment, event)| *segment <= Some(end) && is_delta(&event.kind))
        .take(MOST_TOKENS)
        .collect();
    for claim in claims {
        for (index, (segment, _)) in deltas.iter().enumerate() {
            citing.cite(*claim, read, *segment, format!("piece of text {}", index + 1));
        }
        if !deltas.is_empty() {
            citing.search(*claim, &[read], "tcp.payload contains \"response.output_text.delta\"");
        }
    }
}

/// Of a longer answer only the first pieces are cited.
const MOST_TOKENS: usize = 12;

/// The head of the first response: an event stream over HTTP.
fn head(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    let response = read.responses().next().and_then(|(segment, _)| segment);
    citing.cite(21, read, response, "a response of HTTP whose body is an event stream");
    citing.search(21, &[read], "frame contains \"text/event-stream\"");
}

/// The framing that chunks add.
fn framing(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    let chunk = read.pieces(Side::Server).find_map(|(segment, piece)| match piece.content {
        PieceContent::ChunkSize { size, .. } if size > 0 => Some((segment, size)),
        _ => None,
    });
    if let Some((segment, size)) = chunk {
        citing.cite(
            14,
            read,
            segment,
            format!("a chunk of {size} bytes, after its size in hexadecimal"),
        );
    }
    let last = read.pieces(Side::Server).find_map(|(segment, piece)| match piece.content {
        PieceContent::ChunkSize { size: 0, .. } => segment,
        _ => None,
    });
    citing.cite(14, read, last, "the last chunk ends the body, and the connection stays");
    citing.search(14, &[read], "tcp.payload contains 0d:0a:30:0d:0a:0d:0a");
}

/// One request, then messages.
fn socket(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    for (segment, request) in read.requests() {
        let note = format!("the only request: {} {}", request.method, request.target);
        citing.cite(10, read, segment, note);
    }
    for (segment, response) in read.responses() {
        citing.cite(10, read, segment, format!("{}: from here on messages", response.status));
        citing.cite(23, read, segment, "the handshake of a WebSocket is HTTP");
    }
    let questions = read.pieces(Side::Client).filter(|(_, piece)| {
        matches!(&piece.content, PieceContent::WebSocketHead(head) if head.close_code.is_none() && head.length > 2)
    });
    for (index, (segment, _)) in questions.enumerate() {
        citing.cite(10, read, segment, format!("question {} is a message", index + 1));
    }
    citing.search(
        10,
        &[read],
        format!(
            "http.request || http.response.code == 101 || (websocket && tcp.srcport == {})",
            read.port()
        ),
    );
    citing.search(23, &[read], "http.response.code == 101");
}

/// A request while an answer streams.
pub(crate) fn mid_stream(citing: &mut Citing<'_>, cell: Cell) {
    let is_wanted = matches!(cell.transport, Transport::Sse | Transport::Websocket)
        && matches!(cell.version, Version::Http11 | Version::Http2);
    if !is_wanted {
        return;
    }
    for claim in [20, 22] {
        for (index, read) in citing.all().iter().enumerate() {
            let note = if index == 0 {
                "the connection of the answer"
            } else {
                "a new connection, while it streams"
            };
            citing.cite(claim, read, read.syn(), note);
            let said: Vec<_> = if cell.version == Version::Http2 {
                let kind = if cell.transport == Transport::Sse {
                    Http2FrameKind::Headers
                } else {
                    Http2FrameKind::Data
                };
                frames(read, Side::Client, kind).map(|(segment, _)| segment).collect()
            } else {
                let is_said = |what: &PieceContent| {
                    matches!(what, PieceContent::Request(_) | PieceContent::WebSocketHead(_))
                };
                let pieces = read.pieces(Side::Client).filter(|(_, piece)| is_said(&piece.content));
                pieces.map(|(segment, _)| segment).collect()
            };
            for segment in said {
                citing.cite(
                    claim,
                    read,
                    segment,
                    format!("the client, over HTTP/{}", cell.version.name()),
                );
            }
        }
        let reads: Vec<_> = citing.all().iter().collect();
        citing.search(claim, &reads, "tcp.flags.syn == 1 && tcp.flags.ack == 0");
    }
}
