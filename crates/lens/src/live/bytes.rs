//! Bytes of one direction, by kind.

/// Bytes of one direction, by kind. Together they are all bytes of that direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ByteCounts {
    /// Heads: request and status lines, fields, and the header blocks of HTTP/2.
    pub head: u64,
    /// What marks where a body, or a message in it, starts and ends: chunk sizes, frame heads, and
    /// control frames.
    pub framing: u64,
    /// What is in the bodies, and in the messages of a WebSocket.
    pub body: u64,
    /// Chunks, or frames, whichever there are.
    pub frames: u64,
}

impl ByteCounts {
    /// All of them.
    pub fn total(&self) -> u64 {
        self.head + self.framing + self.body
    }

    /// As many as have come since an earlier moment.
    pub(super) fn since(&self, earlier: &Self) -> Self {
        Self {
            head: self.head.saturating_sub(earlier.head),
            framing: self.framing.saturating_sub(earlier.framing),
            body: self.body.saturating_sub(earlier.body),
            frames: self.frames.saturating_sub(earlier.frames),
        }
    }
}

/// Which of the kinds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum ByteKind {
    Head,
    Framing,
    Body,
}

impl ByteCounts {
    pub(super) fn add(&mut self, kind: ByteKind, count: usize) {
        let count = count as u64;
        match kind {
            ByteKind::Head => self.head += count,
            ByteKind::Framing => self.framing += count,
            ByteKind::Body => self.body += count,
        }
    }
}
