//! The frames: which bytes carry an event; codecs without I/O and without a clock.

pub mod emitter;
pub mod json;
pub mod ndjson;
pub mod sse;
pub mod websocket;

use bytes::Bytes;

/// How events are laid out on the wire.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Frame {
    /// One JSON document, sent when the answer has ended (RFC 8259).
    Json,
    /// One JSON document per line (ndjson.org).
    Ndjson,
    /// Server-sent events (WHATWG HTML, section 9.2).
    Sse,
}

impl Frame {
    /// The media type of a body in this frame, without parameters.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => json::CONTENT_TYPE,
            Self::Ndjson => ndjson::MEDIA_TYPE,
            Self::Sse => sse::MEDIA_TYPE,
        }
    }

    /// The `Content-Type` of a body in this frame.
    pub fn content_type(self) -> &'static str {
        match self {
            Self::Json => json::CONTENT_TYPE,
            Self::Ndjson => ndjson::CONTENT_TYPE,
            Self::Sse => sse::CONTENT_TYPE,
        }
    }

    /// The bytes that keep an idle body alive and mean nothing; `None` where the frame has no such bytes.
    pub fn heartbeat(self) -> Option<Bytes> {
        match self {
            Self::Json => None,
            Self::Ndjson => Some(Bytes::from_static(ndjson::HEARTBEAT)),
            Self::Sse => Some(Bytes::from_static(sse::HEARTBEAT)),
        }
    }
}

/// The peer sent an event, or a line, larger than the decoder was told to hold. The decoder is of no use any more.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event is larger than {limit} bytes")]
pub struct EventTooLarge {
    /// The limit, in bytes.
    pub limit: usize,
}

/// An emptied buffer larger than this is given back: one large event must not cost its size for the stream's whole life.
const KEPT_CAPACITY: usize = 64 * 1024;

/// Forgets `count` bytes at the front of `buffer`, and the memory too if it was large and is now empty.
fn consume(buffer: &mut bytes::BytesMut, count: usize) {
    bytes::Buf::advance(buffer, count);
    if buffer.is_empty() && buffer.capacity() > KEPT_CAPACITY {
        *buffer = bytes::BytesMut::new();
    }
}

/// For the codecs' tests: `body` cut at the places of `cuts` that lie in it.
#[cfg(test)]
fn split_at(body: &[u8], mut cuts: Vec<usize>) -> Vec<&[u8]> {
    cuts.retain(|cut| *cut <= body.len());
    cuts.sort_unstable();
    let ends = cuts.iter().copied().chain([body.len()]);
    let starts = [0].into_iter().chain(cuts.iter().copied());
    starts.zip(ends).map(|(start, end)| &body[start..end]).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_frame_has_its_type_and_heartbeat() {
        assert_eq!(Frame::Json.content_type(), "application/json");
        assert_eq!(Frame::Ndjson.content_type(), "application/x-ndjson; charset=utf-8");
        assert_eq!(Frame::Sse.content_type(), "text/event-stream; charset=utf-8");
        for frame in [Frame::Json, Frame::Ndjson, Frame::Sse] {
            assert_eq!(frame.content_type().split(';').next(), Some(frame.media_type()));
        }
        assert_eq!(Frame::Json.heartbeat(), None);
        assert_eq!(Frame::Ndjson.heartbeat().as_deref(), Some(b"\n".as_slice()));
        assert_eq!(Frame::Sse.heartbeat().as_deref(), Some(b": ping\n".as_slice()));
    }
}
