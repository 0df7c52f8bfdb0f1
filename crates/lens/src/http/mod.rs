//! What two streams of bytes hold: HTTP/1, HTTP/2, WebSocket frames, server-sent events, lines of
//! JSON, or records of TLS.
//!
//! Nothing here is a server or a client: it follows the bytes, and what it cannot parse is
//! [`Kind::Unknown`](piece::Kind::Unknown). It does not use the codecs of `protocol`: a measurement
//! that shared their code would share their faults (the tests compare the two).

mod cut;
pub mod event;
pub mod head;
mod http1;
pub mod http2;
pub mod http2_frame;
pub mod piece;
pub mod protocol;
pub mod tls;
pub mod tls_record;
pub mod websocket;
pub mod websocket_frame;

use cut::Cutter;
use piece::StreamReading;
use protocol::ApplicationProtocol;

use crate::flow::connection::TcpConnection;
use crate::flow::side::{PerSide, Side};
use crate::flow::stream::ReassembledStream;

/// What was exchanged on a connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionReading {
    /// The protocol it started with.
    pub protocol: ApplicationProtocol,
    /// What each side sent.
    pub readings: PerSide<StreamReading>,
}

/// One side's bytes, as far as they are known.
#[derive(Clone, Copy, Debug)]
pub struct StreamSource<'a> {
    /// The first bytes.
    pub bytes: &'a [u8],
    /// How many there are; more than those in `bytes` if not all were kept.
    pub length: u64,
}

impl<'a> From<&'a [u8]> for StreamSource<'a> {
    fn from(bytes: &'a [u8]) -> Self {
        Self { bytes, length: bytes.len() as u64 }
    }
}

impl<'a> From<&'a ReassembledStream> for StreamSource<'a> {
    /// Where a byte is missing, reading ends.
    fn from(stream: &'a ReassembledStream) -> Self {
        let known = stream.gaps().first().map_or(stream.length(), |gap| gap.start);
        let known = usize::try_from(known).unwrap_or(usize::MAX);
        Self { bytes: &stream.bytes()[..known.min(stream.bytes().len())], length: stream.length() }
    }
}

/// Reads a connection.
pub fn read_connection(connection: &TcpConnection) -> ConnectionReading {
    let directions = &connection.directions;
    read(
        StreamSource::from(&directions.client.stream),
        StreamSource::from(&directions.server.stream),
    )
}

/// Reads what a client and a server sent to each other.
pub fn read(client: StreamSource<'_>, server: StreamSource<'_>) -> ConnectionReading {
    let (mut one, mut other) = (Cutter::new(client.bytes), Cutter::new(server.bytes));
    let protocol =
        if tls::begins(client.bytes) || (client.bytes.is_empty() && tls::begins(server.bytes)) {
            tls::read(&mut one);
            tls::read(&mut other);
            ApplicationProtocol::Tls
        } else if http2::begins(client.bytes) {
            http2::read(&mut one, Side::Client);
            http2::read(&mut other, Side::Server);
            ApplicationProtocol::Http2
        } else if head::begins(client.bytes, server.bytes) {
            http1::read(&mut one, &mut other)
        } else {
            ApplicationProtocol::Unknown
        };
    ConnectionReading {
        protocol,
        readings: PerSide {
            client: one.finish(client.length),
            server: other.finish(server.length),
        },
    }
}

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "streams of tests are short")]
mod tests;
