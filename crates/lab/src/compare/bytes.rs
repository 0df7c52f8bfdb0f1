//! Bytes by kind, as three parties count them: the client's own copy, the server's lens, and the packets on the wire.

use std::ops::AddAssign;

use lens::http::piece::Sums;
use lens::http::{self, Source};
use serde::Serialize;
use serde_json::Value;

use crate::client::Tapped;

/// Bytes of one direction, each of one kind.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Kinds {
    /// What TLS adds: handshake, record heads, tags.
    pub tls: u64,
    /// Start lines, fields, header blocks.
    pub head: u64,
    /// Chunk sizes, heads of frames, control frames.
    pub framing: u64,
    /// What is in bodies and messages.
    pub body: u64,
}

/// Both directions.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct BothWays {
    /// From the client.
    pub up: Kinds,
    /// To the client.
    pub down: Kinds,
}

impl Kinds {
    /// All bytes.
    pub fn total(&self) -> u64 {
        self.tls + self.plain()
    }

    /// All that is not TLS's.
    pub fn plain(&self) -> u64 {
        self.head + self.framing + self.body
    }

    /// As the server's lens tells them.
    pub fn of_lens(value: &Value) -> Option<Self> {
        let count = |kind: &str| value[kind].as_u64();
        Some(Self { tls: count("tls")?, head: count("head")?, framing: count("framing")?, body: count("body")? })
    }
}

impl AddAssign for Kinds {
    fn add_assign(&mut self, other: Self) {
        self.tls += other.tls;
        self.head += other.head;
        self.framing += other.framing;
        self.body += other.body;
    }
}

impl AddAssign for BothWays {
    fn add_assign(&mut self, other: Self) {
        self.up += other.up;
        self.down += other.down;
    }
}

/// What the decoder of packets found; `None` if there is something that it could not tell.
pub fn of_sums(sums: &Sums) -> Option<Kinds> {
    (sums.unknown == 0).then_some(Kinds { tls: sums.tls, head: sums.head, framing: sums.framing, body: sums.body })
}

/// The kinds of a copy above TLS, and what it held; `None` if there is something in it that cannot be told.
pub fn of_tap(tapped: &Tapped) -> Option<(BothWays, http::Conversation)> {
    let up = Source { bytes: &tapped.up.bytes, length: tapped.up.length };
    let down = Source { bytes: &tapped.down.bytes, length: tapped.down.length };
    let conversation = http::read(up, down);
    let up = of_sums(&conversation.readings.client.sums())?;
    let down = of_sums(&conversation.readings.server.sums())?;
    Some((BothWays { up, down }, conversation))
}
