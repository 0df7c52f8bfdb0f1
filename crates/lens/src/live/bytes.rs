//! Bytes of one direction, by kind.

/// Bytes of one direction, by kind. Together they are all bytes of that direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bytes {
    /// Heads: request and status lines, fields, and the header blocks of HTTP/2.
    pub head: u64,
    /// What marks where a body, or a message in it, begins and ends: chunk sizes, frame heads, and
    /// control frames.
    pub framing: u64,
    /// What is in the bodies, and in the messages of a WebSocket.
    pub body: u64,
    /// Chunks, or frames, whichever there are.
    pub frames: u64,
}

impl Bytes {
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
pub(super) enum Kind {
    Head,
    Framing,
    Body,
}

impl Bytes {
    pub(super) fn add(&mut self, kind: Kind, count: usize) {
        let count = count as u64;
        match kind {
            Kind::Head => self.head += count,
            Kind::Framing => self.framing += count,
            Kind::Body => self.body += count,
        }
    }
}
