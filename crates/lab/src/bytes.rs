//! Bytes by kind, as counted by the client's copy, the server's lens, and the packets on the wire.

use std::ops::AddAssign;

use lens::http::piece::ByteSums;
use lens::http::{self, StreamSource};
use serde::Serialize;
use serde_json::Value;

use client::TappedBytes;

/// The bytes of one direction by kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct ByteKinds {
    /// Added by TLS: handshake, record headers, tags.
    pub tls: u64,
    /// Start lines, fields, header blocks.
    pub head: u64,
    /// Chunk sizes, heads of frames, control frames.
    pub framing: u64,
    /// Bodies and messages.
    pub body: u64,
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BothDirections {
    /// From the client.
    pub up: ByteKinds,
    /// To the client.
    pub down: ByteKinds,
}

impl ByteKinds {
    /// All bytes.
    pub fn total(&self) -> u64 {
        self.tls + self.plain()
    }

    /// All bytes except those of TLS.
    pub fn plain(&self) -> u64 {
        self.head + self.framing + self.body
    }

    /// As reported by the server's lens.
    pub fn of_lens(value: &Value) -> Option<Self> {
        let count = |kind: &str| value[kind].as_u64();
        Some(Self {
            tls: count("tls")?,
            head: count("head")?,
            framing: count("framing")?,
            body: count("body")?,
        })
    }
}

impl AddAssign for ByteKinds {
    fn add_assign(&mut self, other: Self) {
        self.tls += other.tls;
        self.head += other.head;
        self.framing += other.framing;
        self.body += other.body;
    }
}

impl AddAssign for BothDirections {
    fn add_assign(&mut self, other: Self) {
        self.up += other.up;
        self.down += other.down;
    }
}

/// As counted in the packets; `None` if some bytes could not be classified.
pub fn of_sums(sums: &ByteSums) -> Option<ByteKinds> {
    (sums.unknown == 0).then_some(ByteKinds {
        tls: sums.tls,
        head: sums.head,
        framing: sums.framing,
        body: sums.body,
    })
}

/// The kinds of a copy above TLS, and its contents; `None` if some bytes cannot be classified.
pub fn of_tap(tapped: &TappedBytes) -> Option<(BothDirections, http::ConnectionReading)> {
    let up = StreamSource { bytes: &tapped.up.bytes, length: tapped.up.length };
    let down = StreamSource { bytes: &tapped.down.bytes, length: tapped.down.length };
    let conversation = http::read(up, down);
    let up = of_sums(&conversation.readings.client.sums())?;
    let down = of_sums(&conversation.readings.server.sums())?;
    Some((BothDirections { up, down }, conversation))
}
