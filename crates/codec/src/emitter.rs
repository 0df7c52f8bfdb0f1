//! Server-sent events as Spring's `SseEmitter` writes them, which the classic API's clients may compare byte by byte: no space
//! behind the colon, and `retry` in every event.

use bytes::{BufMut, BytesMut};

/// Behind every event: after how many milliseconds a client comes back.
const RETRY: &[u8] = b"\nretry:3000\n\n";

/// The first block of a stream. It holds no data and so is no event, but it opens the stream.
pub const OPENING: &[u8] = b"retry:5000\n\n";

/// Writes one event. Nothing in it may hold a line end.
pub fn encode(out: &mut BytesMut, id: &str, name: Option<&str>, data: &[u8]) {
    out.reserve(id.len() + name.map_or(0, str::len) + data.len() + 32);
    out.put_slice(b"id:");
    out.put_slice(id.as_bytes());
    if let Some(name) = name {
        out.put_slice(b"\nevent:");
        out.put_slice(name.as_bytes());
    }
    out.put_slice(b"\ndata:");
    out.put_slice(data);
    out.put_slice(RETRY);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_bytes_are_the_emitters() {
        let mut out = BytesMut::new();
        encode(&mut out, "chatcmpl-abc", None, "{\"content\":\"你\"}".as_bytes());
        encode(&mut out, "7", Some("fault"), b"{}");
        let expected = "id:chatcmpl-abc\ndata:{\"content\":\"你\"}\nretry:3000\n\nid:7\nevent:fault\ndata:{}\nretry:3000\n\n";
        assert_eq!(std::str::from_utf8(&out), Ok(expected));
    }
}
