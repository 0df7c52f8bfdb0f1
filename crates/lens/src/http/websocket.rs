//! WebSocket frames (RFC 6455, section 5.2), each with its place.

use super::cut::Cutter;
use super::event::{BodyEvent, BodyEventKind};
use super::piece::{PieceContent, StreamPieceKind};
use super::websocket_frame::{WebSocketFrameHeader, WebSocketOpcode};

/// A message that is being read.
#[derive(Debug)]
struct Message {
    start: u64,
    body_bytes: u64,
    is_text: bool,
}

pub(super) fn read(stream: &mut Cutter<'_>) {
    let mut message: Option<Message> = None;
    while !stream.is_at_end() {
        let start = stream.pieces.last().map_or(0, |piece| piece.range.end);
        let Some((head, length)) = frame_head(stream.rest()) else {
            if stream.rest().len() < 14 {
                stream.take_unfinished(StreamPieceKind::Framing, PieceContent::Unread);
            }
            return;
        };
        stream.take(length as u64, StreamPieceKind::Framing, PieceContent::WebSocketHead(head));
        let kind = match head.opcode {
            WebSocketOpcode::Text | WebSocketOpcode::Binary | WebSocketOpcode::Continuation => {
                StreamPieceKind::Body
            }
            WebSocketOpcode::Close
            | WebSocketOpcode::Ping
            | WebSocketOpcode::Pong
            | WebSocketOpcode::Reserved(_) => StreamPieceKind::Framing,
        };
        if head.length > 0 && !stream.take(head.length, kind, PieceContent::WebSocketPayload(head))
        {
            return;
        }
        if kind == StreamPieceKind::Framing {
            continue;
        }
        if head.opcode != WebSocketOpcode::Continuation {
            message = Some(Message {
                start,
                body_bytes: 0,
                is_text: head.opcode == WebSocketOpcode::Text,
            });
        }
        if let Some(message) = &mut message {
            message.body_bytes += head.length;
        }
        let end = stream.pieces.last().map_or(0, |piece| piece.range.end);
        if let Some(Message { start, body_bytes, is_text }) =
            head.is_final.then(|| message.take()).flatten()
        {
            stream.events.push(BodyEvent {
                range: start..end,
                body_bytes,
                stream: None,
                kind: BodyEventKind::Message { is_text },
            });
        }
    }
}

/// The head at the start of `bytes`, and how long it is.
fn frame_head(bytes: &[u8]) -> Option<(WebSocketFrameHeader, usize)> {
    let (first, second) = (*bytes.first()?, *bytes.get(1)?);
    let is_masked = second & 0x80 != 0;
    let (length, mask_at) = match second & 0x7F {
        126 => (u64::from(u16::from_be_bytes(*bytes.get(2..)?.first_chunk()?)), 4),
        127 => (u64::from_be_bytes(*bytes.get(2..)?.first_chunk()?), 10),
        short => (u64::from(short), 2),
    };
    let end = mask_at + if is_masked { 4 } else { 0 };
    let mask = bytes.get(mask_at..end)?;
    let opcode = WebSocketOpcode::from_bits(first & 0x0F);
    let code: Option<[u8; 2]> = bytes.get(end..).and_then(|payload| payload.first_chunk()).copied();
    let code =
        code.filter(|_| opcode == WebSocketOpcode::Close && length >= 2).map(|[high, low]| {
            match mask {
                [first, second, ..] => u16::from_be_bytes([high ^ first, low ^ second]),
                _ => u16::from_be_bytes([high, low]),
            }
        });
    let head = WebSocketFrameHeader {
        is_final: first & 0x80 != 0,
        is_compressed: first & 0x40 != 0,
        opcode,
        is_masked,
        length,
        close_code: code,
    };
    Some((head, end))
}
