//! WebSocket (RFC 6455): frames, of which only the heads are read.

use super::bytes::{ByteCounts, ByteKind};

/// The longest head of a frame (section 5.2): two bytes, eight of length, four of a mask.
const LONGEST_HEAD: usize = 14;

/// Both directions of a connection.
#[derive(Debug, Default)]
pub(super) struct WebSocket {
    up: Half,
    down: Half,
}

/// One direction: what of a frame's head has come, and how much of its payload is to come.
#[derive(Debug, Default)]
struct Half {
    head: [u8; LONGEST_HEAD],
    head_length: usize,
    payload_left: u64,
}

impl WebSocket {
    pub(super) fn up(&mut self, bytes: &[u8], count: &mut ByteCounts) {
        self.up.take(bytes, count);
    }

    pub(super) fn down(&mut self, bytes: &[u8], count: &mut ByteCounts) {
        self.down.take(bytes, count);
    }
}

impl Half {
    fn take(&mut self, mut bytes: &[u8], count: &mut ByteCounts) {
        while let Some(byte) = bytes.first() {
            if self.payload_left > 0 {
                let taken = usize::try_from(self.payload_left)
                    .map_or(bytes.len(), |left| left.min(bytes.len()));
                count.add(self.kind(), taken);
                self.payload_left -= taken as u64;
                bytes = &bytes[taken..];
                continue;
            }
            if let Some(place) = self.head.get_mut(self.head_length) {
                *place = *byte;
            }
            self.head_length += 1;
            bytes = &bytes[1..];
            count.add(ByteKind::Framing, 1);
            if self.head_length == self.needed() {
                count.frames += 1;
                self.payload_left = self.length();
                self.head_length = 0;
            }
        }
    }

    /// How long the head is, as far as one can tell.
    fn needed(&self) -> usize {
        if self.head_length < 2 {
            return 2;
        }
        let mask = if self.head[1] & 0x80 == 0 { 0 } else { 4 };
        let length = match self.head[1] & 0x7f {
            126 => 2,
            127 => 8,
            _ => 0,
        };
        2 + length + mask
    }

    fn length(&self) -> u64 {
        let extended = |count: usize| {
            self.head[2..2 + count].iter().fold(0, |length, byte| length << 8 | u64::from(*byte))
        };
        match self.head[1] & 0x7f {
            126 => extended(2),
            127 => extended(8),
            length => u64::from(length),
        }
    }

    /// Messages are text or bytes; pings, pongs and closes (from opcode 8 on) are between the two
    /// ends.
    fn kind(&self) -> ByteKind {
        if self.head[0] & 0x0f < 8 { ByteKind::Body } else { ByteKind::Framing }
    }
}
