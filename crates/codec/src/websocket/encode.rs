//! Frames to be sent: a server's once for all its readers, a client's with a mask that the caller
//! drew.

use bytes::{BufMut, Bytes, BytesMut};

use super::{CloseCode, LONGEST_CONTROL, Opcode, apply_mask};

/// The longest head: two bytes, a length of eight, and a mask of four.
const LONGEST_HEAD: usize = 14;

/// The first byte of a frame (section 5.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WebSocketFrameHead {
    /// Whether the message ends with this frame.
    pub fin: bool,
    /// Whether the message is compressed; only its first frame has the bit (RFC 7692, section 6).
    pub rsv1: bool,
    /// Its type.
    pub opcode: Opcode,
}

impl WebSocketFrameHead {
    /// A frame that is a whole message.
    pub fn whole(opcode: Opcode) -> Self {
        Self { fin: true, rsv1: false, opcode }
    }

    fn byte(self) -> u8 {
        u8::from(self.fin) << 7 | u8::from(self.rsv1) << 6 | self.opcode as u8
    }
}

/// Writes the head of a server's frame whose payload of `length` bytes is written by the caller.
pub fn head(out: &mut BytesMut, opcode: Opcode, length: usize) {
    put_head(out, WebSocketFrameHead::whole(opcode), 0, length);
}

/// A server's text message. `payload` must be UTF-8. It is not masked, so one copy serves every
/// reader.
pub fn server_text(payload: &[u8]) -> Bytes {
    server_frame(WebSocketFrameHead::whole(Opcode::Text), payload)
}

/// A server's frame.
pub fn server_frame(head: WebSocketFrameHead, payload: &[u8]) -> Bytes {
    let mut out = BytesMut::with_capacity(LONGEST_HEAD + payload.len());
    put_head(&mut out, head, 0, payload.len());
    out.put_slice(payload);
    out.freeze()
}

/// A server's ping; a payload longer than [`LONGEST_CONTROL`] is cut.
pub fn ping(payload: &[u8]) -> Bytes {
    server_frame(WebSocketFrameHead::whole(Opcode::Ping), control(payload))
}

/// A server's response to a ping; a payload longer than [`LONGEST_CONTROL`] is cut.
pub fn pong(payload: &[u8]) -> Bytes {
    server_frame(WebSocketFrameHead::whole(Opcode::Pong), control(payload))
}

/// A server's close frame, as [`close_payload`] fills it.
pub fn close(code: CloseCode, reason: &str) -> Bytes {
    server_frame(WebSocketFrameHead::whole(Opcode::Close), &close_payload(code, reason))
}

/// The payload of a close frame (section 5.5.1). The reason is cut, between characters, to the 123
/// bytes there is room for.
pub fn close_payload(code: CloseCode, reason: &str) -> Bytes {
    let reason = &reason[..reason.floor_char_boundary(LONGEST_CONTROL - 2)];
    let mut payload = BytesMut::with_capacity(2 + reason.len());
    payload.put_u16(code.get());
    payload.put_slice(reason.as_bytes());
    payload.freeze()
}

/// Writes a client's frame. The mask is to be random, and another one for each frame (section 5.3).
pub fn client_frame(out: &mut BytesMut, head: WebSocketFrameHead, mask: [u8; 4], payload: &[u8]) {
    out.reserve(LONGEST_HEAD + payload.len());
    put_head(out, head, 0x80, payload.len());
    out.put_slice(&mask);
    let start = out.len();
    out.put_slice(payload);
    apply_mask(mask, 0, &mut out[start..]);
}

fn control(payload: &[u8]) -> &[u8] {
    &payload[..payload.len().min(LONGEST_CONTROL)]
}

/// The head without the mask; the length in its shortest form.
fn put_head(out: &mut BytesMut, head: WebSocketFrameHead, mask_bit: u8, length: usize) {
    out.put_u8(head.byte());
    match (u8::try_from(length), u16::try_from(length)) {
        (Ok(length @ ..=125), _) => out.put_u8(mask_bit + length),
        (_, Ok(length)) => {
            out.put_u8(mask_bit + 126);
            out.put_u16(length);
        }
        _ => {
            out.put_u8(mask_bit + 127);
            out.put_u64(length as u64);
        }
    }
}
