//! The frames of a body.

use bytes::Bytes;

use crate::{json, ndjson, sse};

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
