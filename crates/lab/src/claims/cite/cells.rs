//! What verdicts cite of the cells that they are drawn from (claims 7, 9, 10, 14, 18 to 23, 28, 29).

use lens::flow::side::Side;
use lens::http::event::BodyEventKind;
use lens::http::head::ResponseHead;
use lens::http::http2_frame::Http2FrameKind;
use lens::http::piece::PieceContent;

use super::streams::{DATA_FRAMES, frames};
use crate::captured::ReadConnection;
use crate::claims::packets::Citing;
use crate::plan::{Cell, Dialect, Transport, Version};

/// Whether evidence is drawn from a cell: the first API that has one of its transport and version,
/// without TLS if possible, as in `gather`.
pub(crate) fn is_chosen(cell: Cell, cells: &[Cell]) -> bool {
    let is_planned = |dialect: Dialect, tls: bool| cells.contains(&Cell { dialect, tls, ..cell });
    let is_measured = |dialect: &Dialect| is_planned(*dialect, false) || is_planned(*dialect, true);
    Dialect::ALL.into_iter().find(is_measured) == Some(cell.dialect)
        && !(cell.tls && is_planned(cell.dialect, false))
}

/// The conversation of a cell.
pub(crate) fn conversation(citing: &mut Citing<'_>, cell: Cell) {
    let reads: Vec<_> = citing.all().iter().collect();
    let Some(first) = reads.first().copied() else { return };
    // The classic API posts its questions next to the stream.
    let stream = reads.iter().copied().find(|read| is_event_stream(read)).unwrap_or(first);
    match (cell.transport, cell.version) {
        (Transport::Sse, Version::Http11) => {
            requests(citing, &reads);
            ends(citing, &reads, stream);
            // Chat completions have no socket that the delay could be compared with.
            let is_comparable = cell.dialect != Dialect::ChatCompletions;
            tokens(citing, stream, cell, if is_comparable { &[9, 29] } else { &[9] });
            head(citing, stream);
            framing(citing, stream);
        }
        (Transport::Sse, Version::Http10) => {
            citing.cite(14, stream, stream.first_fin(), "the end of the connection ends the body");
            citing.search(14, &[stream], "tcp.flags.fin == 1");
        }
        (Transport::Sse, Version::Http2) => {
            citing.cite(14, first, leading_data_frame(first), "a DATA frame");
            citing.search(14, &[first], DATA_FRAMES);
        }
        (Transport::Websocket, Version::Http11) => {
            socket(citing, first);
            tokens(citing, first, cell, &[29]);
        }
        (Transport::Json, Version::Http11) if cell.dialect == Dialect::Responses => {
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

/// Whether a connection has a response that is an event stream.
fn is_event_stream(read: &ReadConnection<'_>) -> bool {
    read.responses().any(|(_, response)| is_stream_head(response))
}

fn is_stream_head(response: &ResponseHead) -> bool {
    response.fields.get("content-type").is_some_and(|name| name.starts_with("text/event-stream"))
}

/// The first segment that begins with a DATA frame: [`DATA_FRAMES`] finds no frame after another one
/// in the same segment.
fn leading_data_frame(read: &ReadConnection<'_>) -> Option<u64> {
    read.pieces(Side::Server).find_map(|(segment, piece)| {
        let number = segment?;
        let segment = read.connection.segments().get(usize::try_from(number).ok()?)?;
        let is_data = matches!(&piece.content, PieceContent::Http2Head(frame) if frame.kind == Http2FrameKind::Data);
        (is_data && segment.offset == Some(piece.range.start)).then_some(number)
    })
}

/// The questions are requests on the same connections.
fn requests(citing: &mut Citing<'_>, reads: &[&ReadConnection<'_>]) {
    for claim in [7, 19] {
        for (number, read) in (1..).zip(reads) {
            let note = match reads.len() {
                1 => "the only connection".to_owned(),
                all => format!("connection {number} of {all}"),
            };
            citing.cite(claim, read, read.syn(), note);
            for (index, (segment, request)) in read.requests().enumerate() {
                let note = format!("request {}: {} {}", index + 1, request.method, request.target);
                citing.cite(claim, read, segment, note);
            }
        }
        citing.search(claim, reads, "http.request || (tcp.flags.syn == 1 && tcp.flags.ack == 0)");
    }
}

/// Finds the last chunk of a body, with the end of the chunk before it or at the start of a segment.
const LAST_CHUNK: &str =
    "tcp.payload contains 0d:0a:30:0d:0a:0d:0a || tcp.payload[0:5] == 30:0d:0a:0d:0a";

/// Where answers end, and where the connection ends.
fn ends(citing: &mut Citing<'_>, reads: &[&ReadConnection<'_>], stream: &ReadConnection<'_>) {
    for read in reads {
        let note =
            if reads.len() == 1 { "the only SYN of the client" } else { "a SYN of the client" };
        citing.cite(28, read, read.syn(), note);
    }
    let last = stream
        .pieces(Side::Server)
        .filter(|(_, piece)| matches!(piece.content, PieceContent::ChunkSize { size: 0, .. }));
    for (index, (segment, _)) in last.enumerate() {
        let note = format!("answer {} ends with its last chunk, without FIN", index + 1);
        citing.cite(28, stream, segment, note);
    }
    citing.cite(28, stream, stream.first_fin(), "the first FIN, after all answers");
    let condition = format!("tcp.flags.syn == 1 || tcp.flags.fin == 1 || {LAST_CHUNK}");
    citing.search(28, reads, condition);
}

/// The segments that carry the text of the first answer.
fn tokens(citing: &mut Citing<'_>, read: &ReadConnection<'_>, cell: Cell, claims: &[u32]) {
    let is_named = cell.dialect == Dialect::Responses;
    let is_delta = |kind: &BodyEventKind| match kind {
        BodyEventKind::Sse { name, .. } if is_named => {
            name.as_deref() == Some("response.output_text.delta")
        }
        // Events of the other APIs have no names; all but the last are text.
        BodyEventKind::Sse { is_done, .. } => !is_done,
        BodyEventKind::Message { is_text } => *is_text,
        BodyEventKind::SseFields { .. }
        | BodyEventKind::SseComment
        | BodyEventKind::Line
        | BodyEventKind::EmptyLine => false,
    };
    let condition = match (is_named, cell.transport) {
        (true, _) => "tcp.payload contains \"response.output_text.delta\"".to_owned(),
        (false, Transport::Websocket) => format!("websocket && tcp.dstport == {}", read.port()),
        (false, _) => "tcp.payload contains \"data:\"".to_owned(),
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
            citing.search(*claim, &[read], condition.clone());
        }
    }
}

/// Of a longer answer only the first pieces are cited.
const MOST_TOKENS: usize = 12;

/// The head of the first response: an event stream over HTTP.
fn head(citing: &mut Citing<'_>, read: &ReadConnection<'_>) {
    let response = read
        .responses()
        .find(|(_, response)| is_stream_head(response))
        .and_then(|(segment, _)| segment);
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
    citing.search(14, &[read], LAST_CHUNK);
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
    // In the classic API a second question on a socket waits, so these claims are not judged by it.
    let is_wanted = cell.dialect == Dialect::Responses
        && matches!(cell.transport, Transport::Sse | Transport::Websocket)
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::cells;

    #[test]
    fn cells_of_the_first_api_are_cited_and_those_of_the_classic_api_alone_too() {
        let chosen = |dialects: &[Dialect], tls: &[bool]| -> Vec<String> {
            let all =
                cells(dialects, &[Transport::Sse, Transport::Websocket], &[Version::Http11], tls);
            let chosen = all.iter().filter(|cell| is_chosen(**cell, &all));
            chosen.map(Cell::to_string).collect()
        };
        let both = [false, true];
        assert_eq!(
            chosen(&Dialect::ALL, &both),
            ["responses/sse/h1.1", "responses/websocket/h1.1"]
        );
        assert_eq!(
            chosen(&[Dialect::Classic], &both),
            ["classic/sse/h1.1", "classic/websocket/h1.1"]
        );
        assert_eq!(
            chosen(&[Dialect::Classic], &[true]),
            ["classic/sse/h1.1+tls", "classic/websocket/h1.1+tls"]
        );
        assert_eq!(
            chosen(&[Dialect::ChatCompletions, Dialect::Classic], &[false]),
            ["chat_completions/sse/h1.1", "classic/websocket/h1.1"]
        );
    }
}
