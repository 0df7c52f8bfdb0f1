//! Server-Sent Events as Spring's `SseEmitter` writes them, which the classic API's clients may
//! compare byte by byte: no space after the colon, and `retry` in every event.

use bytes::{BufMut, BytesMut};

use crate::frame::{Frame, Message};
use crate::sse::{CONTENT_TYPE, HEARTBEAT};

/// After every event: the delay in milliseconds before a client reconnects.
const RETRY: &[u8] = b"\nretry:3000\n\n";

/// The first block of a stream. It holds no data and so is no event, but it opens the stream.
const OPENING: &[u8] = b"retry:5000\n\n";

/// Spring's `SseEmitter`.
#[derive(Clone, Copy, Debug)]
pub struct Emitter;

impl Frame for Emitter {
    fn name(&self) -> &'static str {
        "sse"
    }

    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn start(&self, out: &mut BytesMut) {
        out.put_slice(OPENING);
    }

    /// Nothing in the message may hold a line end.
    fn message(&self, out: &mut BytesMut, message: &Message<'_>) {
        let id = message.id.unwrap_or_default();
        out.reserve(id.len() + message.name.map_or(0, str::len) + message.data.len() + 32);
        out.put_slice(b"id:");
        out.put_slice(id.as_bytes());
        if let Some(name) = message.name {
            out.put_slice(b"\nevent:");
            out.put_slice(name.as_bytes());
        }
        out.put_slice(b"\ndata:");
        out.put_slice(message.data);
        out.put_slice(RETRY);
    }

    fn heartbeat(&self, out: &mut BytesMut) {
        out.put_slice(HEARTBEAT);
    }

    fn end(&self, _out: &mut BytesMut, _sentinel: Option<&[u8]>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_the_emitters() {
        let mut out = BytesMut::new();
        let message = |id, name, data| Message { id: Some(id), name, data, position: None };
        Emitter
            .message(&mut out, &message("chatcmpl-abc", None, "{\"content\":\"你\"}".as_bytes()));
        Emitter.message(&mut out, &message("7", Some("fault"), b"{}"));
        let expected = "id:chatcmpl-abc\ndata:{\"content\":\"你\"}\nretry:3000\n\nid:7\nevent:fault\ndata:{}\nretry:3000\n\n";
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    }
}
