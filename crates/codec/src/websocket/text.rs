//! The frame `websocket`: each message is one text message of a socket.

use bytes::{BufMut, BytesMut};

use super::{HEARTBEAT, Opcode, encode};
use crate::frame::{Frame, Message};

/// Text messages of a WebSocket, as a server sends them. Names, ids and sentinels have no place in
/// them.
#[derive(Clone, Copy, Debug)]
pub struct Text;

impl Frame for Text {
    fn name(&self) -> &'static str {
        "websocket"
    }

    /// A socket has none; its bytes are frames.
    fn content_type(&self) -> &'static str {
        "application/octet-stream"
    }

    fn start(&self, _out: &mut BytesMut) {}

    fn message(&self, out: &mut BytesMut, message: &Message<'_>) {
        encode::head(out, Opcode::Text, message.data.len());
        out.put_slice(message.data);
    }

    fn heartbeat(&self, out: &mut BytesMut) {
        out.put_slice(HEARTBEAT);
    }

    /// A socket stays open for the next request.
    fn end(&self, _out: &mut BytesMut, _sentinel: Option<&[u8]>) {}
}
