//! The pieces of a stream, each with its kind.

use std::ops::Range;

use super::event::BodyEvent;
use super::head::{RequestHead, ResponseHead};
use super::http2_frame::{Http2Frame, Http2PayloadPart};
use super::tls_record::TlsRecord;
use super::websocket_frame::WebSocketFrameHeader;

/// What a byte is for. Every byte of a stream has one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum StreamPieceKind {
    /// Anything in a record of TLS: its contents are unknown without the keys.
    Tls,
    /// Heads and trailers of HTTP: start lines, fields, header blocks.
    Head,
    /// Delimiters: chunk sizes, heads of frames, padding, control frames.
    Framing,
    /// What the application sent.
    Body,
    /// Bytes that the capture missed or did not keep, and what follows them, and what is none of
    /// the above.
    Unknown,
}

/// How many bytes there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteSums {
    /// [`StreamPieceKind::Tls`].
    pub tls: u64,
    /// [`StreamPieceKind::Head`].
    pub head: u64,
    /// [`StreamPieceKind::Framing`].
    pub framing: u64,
    /// [`StreamPieceKind::Body`].
    pub body: u64,
    /// [`StreamPieceKind::Unknown`].
    pub unknown: u64,
}

impl ByteSums {
    /// All bytes.
    pub fn total(&self) -> u64 {
        self.tls + self.head + self.framing + self.body + self.unknown
    }
}

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StreamPiece {
    /// Which bytes.
    pub range: Range<u64>,
    /// What they are for.
    pub kind: StreamPieceKind,
    /// What they are.
    pub content: PieceContent,
    /// Whether its end has been seen.
    pub is_complete: bool,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PieceContent {
    /// A record of TLS with its head.
    TlsRecord(TlsRecord),
    /// The head of a request in HTTP/1.
    Request(RequestHead),
    /// The head of a response in HTTP/1.
    Response(ResponseHead),
    /// A chunk's size with its line end (RFC 9112, section 7.1); the last chunk's is 0.
    ChunkSize {
        /// Its number in the body.
        index: u64,
        /// As declared.
        size: u64,
    },
    /// What a chunk holds.
    ChunkData {
        /// Its number in the body.
        index: u64,
    },
    /// The line end after a chunk's data.
    ChunkEnd,
    /// The trailer fields after the last chunk, with the empty line that ends them (RFC 9112,
    /// section 7.1.2).
    Trailers,
    /// A body that has a length.
    Body,
    /// A body that the end of the connection ends, so that its length is known only then (RFC 9112,
    /// section 6.3); or what follows another upgrade.
    UnboundedBody,
    /// A line end between messages (RFC 9112, section 2.2).
    EmptyLine,
    /// The head of a WebSocket frame.
    WebSocketHead(WebSocketFrameHeader),
    /// The payload of a WebSocket frame, masked as it was.
    WebSocketPayload(WebSocketFrameHeader),
    /// The client's preface (RFC 9113, section 3.4).
    Http2Preface,
    /// The nine bytes of an HTTP/2 frame's head, with the frame's own fields.
    Http2Head(Http2Frame),
    /// A part of an HTTP/2 frame's payload.
    Http2Payload {
        /// Whose.
        stream: u32,
        /// Which part.
        part: Http2PayloadPart,
    },
    /// Not read.
    Unread,
}

/// What one side sent.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StreamReading {
    /// All of the stream, piece by piece, without a gap.
    pub pieces: Vec<StreamPiece>,
    /// What lies in the bodies; an event may span pieces, or share one.
    pub events: Vec<BodyEvent>,
}

impl StreamReading {
    /// How many bytes there are of each kind.
    pub fn sums(&self) -> ByteSums {
        let mut sums = ByteSums::default();
        for piece in &self.pieces {
            let length = piece.range.end - piece.range.start;
            match piece.kind {
                StreamPieceKind::Tls => sums.tls += length,
                StreamPieceKind::Head => sums.head += length,
                StreamPieceKind::Framing => sums.framing += length,
                StreamPieceKind::Body => sums.body += length,
                StreamPieceKind::Unknown => sums.unknown += length,
            }
        }
        sums
    }

    /// The pieces that have bytes in `range`.
    pub fn within(&self, range: Range<u64>) -> &[StreamPiece] {
        let first = self.pieces.partition_point(|piece| piece.range.end <= range.start);
        let end = self.pieces.partition_point(|piece| piece.range.start < range.end);
        self.pieces.get(first..end).unwrap_or_default()
    }

    /// The events that end in `range`.
    pub fn ending_within(&self, range: Range<u64>) -> impl Iterator<Item = &BodyEvent> {
        // They stand in the order of their ends.
        let first = self.events.partition_point(|event| event.range.end <= range.start);
        self.events[first..].iter().take_while(move |event| event.range.end <= range.end)
    }
}
