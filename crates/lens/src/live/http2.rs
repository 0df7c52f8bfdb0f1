//! HTTP/2 (RFC 9113): frames, of which only the heads are read.

use super::bytes::{ByteCounts, ByteKind};

/// The preface, which comes before the client's first frame (section 3.4).
const PREFACE: usize = 24;

/// The head of a frame (section 4.1).
const FRAME_HEAD: usize = 9;

/// Both directions of a connection.
#[derive(Debug)]
pub(super) struct Http2 {
    preface_left: usize,
    up: Half,
    down: Half,
}

impl Default for Http2 {
    fn default() -> Self {
        Self { preface_left: PREFACE, up: Half::default(), down: Half::default() }
    }
}

/// One direction: what of a frame's head has come, and how much of its payload is to come.
#[derive(Debug, Default)]
struct Half {
    head: [u8; FRAME_HEAD],
    head_length: usize,
    payload_left: usize,
}

impl Http2 {
    pub(super) fn up(&mut self, bytes: &[u8], count: &mut ByteCounts) {
        let preface = self.preface_left.min(bytes.len());
        self.preface_left -= preface;
        count.add(ByteKind::Framing, preface);
        self.up.take(&bytes[preface..], count);
    }

    pub(super) fn down(&mut self, bytes: &[u8], count: &mut ByteCounts) {
        self.down.take(bytes, count);
    }
}

impl Half {
    fn take(&mut self, mut bytes: &[u8], count: &mut ByteCounts) {
        while !bytes.is_empty() {
            if self.payload_left > 0 {
                let taken = self.payload_left.min(bytes.len());
                count.add(self.kind(), taken);
                self.payload_left -= taken;
                bytes = &bytes[taken..];
                continue;
            }
            let taken = (FRAME_HEAD - self.head_length).min(bytes.len());
            self.head[self.head_length..self.head_length + taken].copy_from_slice(&bytes[..taken]);
            self.head_length += taken;
            bytes = &bytes[taken..];
            if self.head_length < FRAME_HEAD {
                // Of which kind it is, its fourth byte says; until it is whole it counts as
                // framing.
                count.add(ByteKind::Framing, taken);
                continue;
            }
            self.head_length = 0;
            count.frames += 1;
            count.add(ByteKind::Framing, taken);
            self.payload_left = usize::from(self.head[0]) << 16
                | usize::from(self.head[1]) << 8
                | usize::from(self.head[2]);
        }
    }

    /// What the payload of the frame is (section 6): DATA, header blocks, or what only the two ends
    /// have to say to each other.
    fn kind(&self) -> ByteKind {
        match self.head[3] {
            0x0 => ByteKind::Body,
            0x1 | 0x5 | 0x9 => ByteKind::Head,
            _ => ByteKind::Framing,
        }
    }
}
