//! HTTP/1 on both streams at once: how an answer is framed depends on what was asked (RFC 9112,
//! section 6.3).

use std::collections::VecDeque;

use super::cut::Cutter;
use super::event::EventScanner;
use super::head::{self, BodyFraming, HeadExtent};
use super::piece::{PieceContent, StreamPieceKind};
use super::protocol::ApplicationProtocol;
use super::{http2, websocket};
use crate::flow::side::Side;

/// What the framing of a response depends on.
#[derive(Debug)]
struct Asked {
    method: String,
    may_switch: bool,
}

/// Why reading one stream stopped.
#[derive(Debug, PartialEq, Eq)]
enum Stop {
    /// What follows depends on the other side.
    Waits,
    /// All of it was read, or as much as can be.
    End,
    /// The protocol changes here: what to.
    Switch(String),
}

pub(super) fn read(client: &mut Cutter<'_>, server: &mut Cutter<'_>) -> ApplicationProtocol {
    let mut asked = VecDeque::new();
    loop {
        let client_stop = read_requests(client, &mut asked);
        match read_responses(server, &mut asked) {
            Stop::Switch(protocol) => return switch(&protocol, client, server),
            Stop::Waits if client_stop == Stop::Waits => {}
            Stop::Waits | Stop::End => return ApplicationProtocol::Http1,
        }
    }
}

fn switch(protocol: &str, client: &mut Cutter<'_>, server: &mut Cutter<'_>) -> ApplicationProtocol {
    match protocol {
        "websocket" => {
            websocket::read(client);
            websocket::read(server);
            ApplicationProtocol::WebSocket
        }
        "h2c" => {
            http2::read(client, Side::Client);
            http2::read(server, Side::Server);
            ApplicationProtocol::Http1
        }
        _ => {
            client.take_unfinished(StreamPieceKind::Body, PieceContent::UnboundedBody);
            server.take_unfinished(StreamPieceKind::Body, PieceContent::UnboundedBody);
            ApplicationProtocol::Http1
        }
    }
}

fn read_requests(stream: &mut Cutter<'_>, asked: &mut VecDeque<Asked>) -> Stop {
    if asked.back().is_some_and(|last: &Asked| last.may_switch) {
        return Stop::Waits;
    }
    loop {
        take_empty_lines(stream);
        let Some(length) = take_extent(stream) else { return Stop::End };
        let Some(request) = head::request(&stream.rest()[..length]) else { return Stop::End };
        let (body, may_switch) = (request.body, request.may_switch());
        asked.push_back(Asked { method: request.method.clone(), may_switch });
        stream.take(length as u64, StreamPieceKind::Head, PieceContent::Request(request));
        if !take_body(stream, body, &mut EventScanner::of_type(None)) {
            return Stop::End;
        }
        if may_switch {
            return Stop::Waits;
        }
    }
}

fn read_responses(stream: &mut Cutter<'_>, asked: &mut VecDeque<Asked>) -> Stop {
    loop {
        if stream.is_at_end() {
            return Stop::End;
        }
        let Some(length) = take_extent(stream) else { return Stop::End };
        let question = asked.front();
        let Some(response) =
            head::response(&stream.rest()[..length], question.map(|asked| asked.method.as_str()))
        else {
            return Stop::End;
        };
        let may_switch = question.is_some_and(|asked| asked.may_switch);
        let (status, body) = (response.status, response.body);
        let is_tunnel =
            question.is_some_and(|asked| asked.method == "CONNECT") && (200..300).contains(&status);
        let upgrade = response.fields.get("upgrade").unwrap_or_default().to_ascii_lowercase();
        let mut scanner = EventScanner::of_type(
            response
                .fields
                .get("content-type")
                .filter(|_| response.fields.get("content-encoding").is_none()),
        );
        stream.take(length as u64, StreamPieceKind::Head, PieceContent::Response(response));
        if status == 101 || is_tunnel {
            return Stop::Switch(if is_tunnel { String::new() } else { upgrade });
        }
        if (100..200).contains(&status) {
            continue; // the answer itself is yet to come (RFC 9110, section 15.2)
        }
        asked.pop_front();
        if !take_body(stream, body, &mut scanner) {
            return Stop::End;
        }
        if may_switch {
            return Stop::Waits; // it did not; the client goes on with HTTP/1
        }
    }
}

/// The head at the place of the cutter; one that is not over is cut off as it is.
fn take_extent(stream: &mut Cutter<'_>) -> Option<usize> {
    match head::extent(stream.rest()) {
        HeadExtent::Whole(length) => Some(length),
        HeadExtent::Unfinished => {
            let is_response = stream.rest().starts_with(b"HTTP/1.");
            if is_response || head::matches_start(stream.rest(), &[]) {
                stream.take_unfinished(StreamPieceKind::Head, PieceContent::Unread);
            }
            None
        }
        HeadExtent::TooLong => None,
    }
}

fn take_empty_lines(stream: &mut Cutter<'_>) {
    loop {
        let length = match stream.rest() {
            [b'\r', b'\n', ..] => 2,
            [b'\n', ..] => 1,
            _ => return,
        };
        stream.take(length, StreamPieceKind::Framing, PieceContent::EmptyLine);
    }
}

/// Whether the body has an end, and it was seen.
fn take_body(stream: &mut Cutter<'_>, body: BodyFraming, scanner: &mut EventScanner) -> bool {
    match body {
        BodyFraming::None => true,
        BodyFraming::Length(length) => stream.take_body(length, PieceContent::Body, scanner),
        BodyFraming::Chunked => take_chunks(stream, scanner),
        BodyFraming::UntilClose => {
            stream.take_body(u64::MAX, PieceContent::UnboundedBody, scanner);
            false
        }
    }
}

/// RFC 9112, section 7.1.
fn take_chunks(stream: &mut Cutter<'_>, scanner: &mut EventScanner) -> bool {
    for index in 0.. {
        let rest = stream.rest();
        // A size of 16 digits and extensions of reasonable length.
        let Some(end) = rest.iter().take(4096).position(|byte| *byte == b'\n') else {
            if rest.len() < 4096
                && rest
                    .iter()
                    .all(|byte| byte.is_ascii_graphic() || matches!(byte, b' ' | b'\t' | b'\r'))
            {
                stream.take_unfinished(StreamPieceKind::Framing, PieceContent::Unread);
            }
            return false;
        };
        let Some(size) = chunk_size(&rest[..end]) else { return false };
        stream.take(
            end as u64 + 1,
            StreamPieceKind::Framing,
            PieceContent::ChunkSize { index, size },
        );
        if size == 0 {
            return take_trailers(stream);
        }
        if !stream.take_body(size, PieceContent::ChunkData { index }, scanner) {
            return false;
        }
        let end = match stream.rest() {
            [b'\n', ..] => 1,
            [b'\r', b'\n', ..] | [b'\r'] | [] => 2,
            _ => return false,
        };
        if !stream.take(end, StreamPieceKind::Framing, PieceContent::ChunkEnd) {
            return false;
        }
    }
    false
}

fn chunk_size(line: &[u8]) -> Option<u64> {
    let digits = line.split(|byte| matches!(byte, b';' | b'\r' | b' ' | b'\t')).next()?;
    let is_number = (1..=16).contains(&digits.len()) && digits.iter().all(u8::is_ascii_hexdigit);
    u64::from_str_radix(std::str::from_utf8(digits).ok().filter(|_| is_number)?, 16).ok()
}

/// The empty line alone is framing; with fields before it, it is a head.
fn take_trailers(stream: &mut Cutter<'_>) -> bool {
    let empty = match stream.rest() {
        [b'\n', ..] => 1,
        [b'\r', b'\n', ..] | [b'\r'] | [] => 2,
        _ => 0,
    };
    if empty > 0 {
        return stream.take(empty, StreamPieceKind::Framing, PieceContent::ChunkEnd);
    }
    match head::extent(stream.rest()) {
        HeadExtent::Whole(length) => {
            stream.take(length as u64, StreamPieceKind::Head, PieceContent::Trailers)
        }
        HeadExtent::Unfinished => {
            stream.take_unfinished(StreamPieceKind::Head, PieceContent::Trailers);
            false
        }
        HeadExtent::TooLong => false,
    }
}
