//! What two streams of bytes hold: HTTP/1, HTTP/2, WebSocket frames, server-sent events, lines of JSON, or records of TLS.
//!
//! Nothing here is a server or a client: it follows what was said, and where the words end it says [`Kind::Unknown`]. It does not
//! use the codecs of `protocol`: a measure that shared their code would share their faults (the tests hold the two together).

mod cut;
pub mod event;
pub mod head;
mod one;
pub mod tls;
pub mod two;
pub mod websocket;

use std::ops::Range;

use cut::Cutter;
use event::Event;
use head::{Request, Response};
use tls::Record;
use websocket::FrameHead;

use crate::flow::Both;
use crate::flow::connection::Connection;
use crate::flow::stream::Stream;

/// What a byte is for. Every byte of a stream has one kind.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Kind {
    /// Anything in a record of TLS: what is in it cannot be told without the keys.
    Tls,
    /// Heads and trailers of HTTP: start lines, fields, header blocks.
    Head,
    /// What marks where things begin and end: chunk sizes, heads of frames, padding, control frames.
    Framing,
    /// What the application sent.
    Body,
    /// Bytes that the capture missed or did not keep, and what follows them, and what is none of the above.
    Unknown,
}

/// How many bytes there are of each kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sums {
    /// [`Kind::Tls`].
    pub tls: u64,
    /// [`Kind::Head`].
    pub head: u64,
    /// [`Kind::Framing`].
    pub framing: u64,
    /// [`Kind::Body`].
    pub body: u64,
    /// [`Kind::Unknown`].
    pub unknown: u64,
}

impl Sums {
    /// All bytes.
    pub fn total(&self) -> u64 {
        self.tls + self.head + self.framing + self.body + self.unknown
    }
}

/// A part of a stream.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Piece {
    /// Which bytes.
    pub range: Range<u64>,
    /// What they are for.
    pub kind: Kind,
    /// What they are.
    pub what: What,
    /// Whether its end has been seen.
    pub is_whole: bool,
}

/// What a piece is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// A record of TLS with its head.
    TlsRecord(Record),
    /// The head of a request in HTTP/1.
    Request(Request),
    /// The head of an answer in HTTP/1.
    Response(Response),
    /// A chunk's size with its line end (RFC 9112, section 7.1); the last chunk's is 0.
    ChunkSize {
        /// Its number in the body.
        index: u64,
        /// As it says.
        size: u64,
    },
    /// What a chunk holds.
    ChunkData {
        /// Its number in the body.
        index: u64,
    },
    /// The line end behind a chunk's data.
    ChunkEnd,
    /// The fields behind the last chunk, with the empty line that ends them (RFC 9112, section 7.1.2).
    Trailers,
    /// A body that has a length, or that the end of the connection ends; or what is said after another upgrade.
    Body,
    /// A line end between messages (RFC 9112, section 2.2).
    EmptyLine,
    /// The head of a WebSocket frame.
    WebSocketHead(FrameHead),
    /// The payload of a WebSocket frame, masked as it was.
    WebSocketPayload(FrameHead),
    /// The client's preface (RFC 9113, section 3.4).
    Http2Preface,
    /// The nine bytes of an HTTP/2 frame's head, with what the frame says.
    Http2Head(two::Frame),
    /// A part of an HTTP/2 frame's payload.
    Http2Payload {
        /// Whose.
        stream: u32,
        /// Which part.
        part: two::Part,
    },
    /// Not read.
    Unread,
}

/// What one side said.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reading {
    /// All of the stream, piece by piece, without a gap.
    pub pieces: Vec<Piece>,
    /// What lies in the bodies; an event may span pieces, or share one.
    pub events: Vec<Event>,
}

impl Reading {
    /// How many bytes there are of each kind.
    pub fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for piece in &self.pieces {
            let length = piece.range.end - piece.range.start;
            match piece.kind {
                Kind::Tls => sums.tls += length,
                Kind::Head => sums.head += length,
                Kind::Framing => sums.framing += length,
                Kind::Body => sums.body += length,
                Kind::Unknown => sums.unknown += length,
            }
        }
        sums
    }

    /// The pieces that have bytes in `range`.
    pub fn within(&self, range: Range<u64>) -> &[Piece] {
        let first = self.pieces.partition_point(|piece| piece.range.end <= range.start);
        let behind = self.pieces.partition_point(|piece| piece.range.start < range.end);
        self.pieces.get(first..behind).unwrap_or_default()
    }

    /// The events that end in `range`.
    pub fn ending_within(&self, range: Range<u64>) -> impl Iterator<Item = &Event> {
        // They stand in the order of their ends.
        let first = self.events.partition_point(|event| event.range.end <= range.start);
        self.events[first..].iter().take_while(move |event| event.range.end <= range.end)
    }
}

/// What is spoken on a connection at its begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// Nothing that is known, or nothing at all.
    Unknown,
    /// HTTP/1.0 or 1.1.
    Http1,
    /// HTTP/1 until 101, then WebSocket.
    WebSocket,
    /// HTTP/2 without TLS.
    Http2,
    /// TLS, whatever is in it.
    Tls,
}

/// What was said on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Conversation {
    /// In which language.
    pub protocol: Protocol,
    /// By whom.
    pub readings: Both<Reading>,
}

/// One side's bytes, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub struct Source<'a> {
    /// The first bytes.
    pub bytes: &'a [u8],
    /// How many there are; more than those in `bytes` if not all were kept.
    pub length: u64,
}

impl<'a> From<&'a [u8]> for Source<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, length: bytes.len() as u64 }
    }
}

impl<'a> From<&'a Stream> for Source<'a> {
    /// Where a byte is missing, reading ends.
    fn from(stream: &'a Stream) -> Self {
        let known = stream.gaps().first().map_or(stream.length(), |gap| gap.start);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        Self { bytes: &stream.bytes()[..known.min(stream.bytes().len())], length: stream.length() }
    }
}

/// Reads a connection.
pub fn read_connection(connection: &Connection) -> Conversation {
    let directions = &connection.directions;
    read(Source::from(&directions.client.stream), Source::from(&directions.server.stream))
}

/// Reads what a client and a server said to each other.
pub fn read(client: Source<'_>, server: Source<'_>) -> Conversation {
    let (mut one, mut other) = (Cutter::new(client.bytes), Cutter::new(server.bytes));
    let protocol = if tls::begins(client.bytes) || (client.bytes.is_empty() && tls::begins(server.bytes)) {
        tls::read(&mut one);
        tls::read(&mut other);
        Protocol::Tls
    } else if two::begins(client.bytes) {
        two::read(&mut one, crate::flow::Side::Client);
        two::read(&mut other, crate::flow::Side::Server);
        Protocol::Http2
    } else if head::begins(client.bytes, server.bytes) {
        one::read(&mut one, &mut other)
    } else {
        Protocol::Unknown
    };
    Conversation { protocol, readings: Both { client: one.finish(client.length), server: other.finish(server.length) } }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "streams of tests are short")]
mod tests;
