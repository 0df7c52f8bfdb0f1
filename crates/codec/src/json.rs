//! The frame of one whole document: the body is the one message, so there is nothing to encode and
//! no heartbeat.

use bytes::{BufMut, BytesMut};

use crate::frame::{Frame, Message};

/// RFC 8259, section 11. It has no charset parameter: JSON is always UTF-8.
pub const CONTENT_TYPE: &str = "application/json";

/// One JSON document, sent when the response has ended (RFC 8259).
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Frame for Json {
    fn name(&self) -> &'static str {
        "json"
    }

    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn start(&self, _out: &mut BytesMut) {}

    fn message(&self, out: &mut BytesMut, message: &Message<'_>) {
        out.put_slice(message.data);
    }

    fn heartbeat(&self, _out: &mut BytesMut) {}

    fn end(&self, _out: &mut BytesMut, _sentinel: Option<&[u8]>) {}
}
