//! The bytes that a socket sends next: whole frames, compressed where that was agreed upon and
//! helps.

use std::cell::RefCell;

use bytes::{BufMut, Bytes, BytesMut};
use codec::websocket::Opcode;
use codec::websocket::deflate::Compressor;
use codec::websocket::encode::{self, WebSocketFrameHead};

/// Less than this is sent as it is: a delta of a few bytes would hardly shrink.
const MIN_COMPRESSED: usize = 256;

/// More than this is sent as it is, too: compressing it would block the other sockets of the thread
/// for more than half a millisecond.
const MAX_COMPRESSED: usize = 64 << 10;

/// An idle socket keeps no more room than this.
const IDLE: usize = 2 << 10;

thread_local! {
    /// It holds about 300 KiB and keeps nothing between messages: one serves all sockets of a
    /// thread.
    static COMPRESSOR: RefCell<Compressor> = RefCell::new(Compressor::new(MIN_COMPRESSED));
}

/// Whether the other side reads compressed messages.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum MessageCoding {
    Plain,
    Deflate,
}

/// What is sent with the next write.
#[derive(Debug)]
pub(super) struct SendBuffer {
    coding: MessageCoding,
    bytes: BytesMut,
}

impl SendBuffer {
    pub(super) fn new(coding: MessageCoding) -> Self {
        Self { coding, bytes: BytesMut::new() }
    }

    /// A text message in two parts, of which the first may be empty.
    pub(super) fn text(&mut self, prefix: &[u8], rest: &[u8]) {
        if let Some(frame) = self.compressed(prefix, rest) {
            return self.frame(&frame);
        }
        encode::head(&mut self.bytes, Opcode::Text, prefix.len() + rest.len());
        self.bytes.put_slice(prefix);
        self.bytes.put_slice(rest);
    }

    /// A frame as it is: pings, pongs and closes.
    pub(super) fn frame(&mut self, frame: &[u8]) {
        self.bytes.extend_from_slice(frame);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.bytes.is_empty()
    }

    pub(super) fn bytes(&self) -> &[u8] {
        &self.bytes
    }

    /// Everything was sent.
    pub(super) fn clear(&mut self) {
        if self.bytes.capacity() > IDLE {
            self.bytes = BytesMut::new();
        } else {
            self.bytes.clear();
        }
    }

    fn compressed(&self, prefix: &[u8], rest: &[u8]) -> Option<Bytes> {
        let length = prefix.len() + rest.len();
        if self.coding == MessageCoding::Plain
            || !(MIN_COMPRESSED..=MAX_COMPRESSED).contains(&length)
        {
            return None;
        }
        let joined;
        let payload = if prefix.is_empty() {
            rest
        } else {
            joined = [prefix, rest].concat();
            &joined
        };
        let payload = COMPRESSOR.with_borrow_mut(|compressor| compressor.compress(payload))?;
        Some(encode::server_frame(
            WebSocketFrameHead { fin: true, rsv1: true, opcode: Opcode::Text },
            &payload,
        ))
    }
}
