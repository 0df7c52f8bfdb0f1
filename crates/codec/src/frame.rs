//! The trait of the frames: how the messages of a dialect become bytes. How to add one:
//! `docs/adding/a-frame.md`.

use std::fmt::Debug;
use std::time::Duration;

use bytes::BytesMut;

/// One message of a dialect, for a frame to write. A frame omits the parts that it cannot carry.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Message<'a> {
    /// The event's name.
    pub name: Option<&'a str>,
    /// The id that the dialect gives the message, which is not a position.
    pub id: Option<&'a str>,
    /// The position in the log of the entry that the message comes from.
    pub position: Option<u64>,
    /// The payload.
    pub data: &'a [u8],
}

/// How messages are laid out on the wire. Pure: no I/O and no clock.
pub trait Frame: Debug + Send + Sync {
    /// The label of the frame in metrics. Variants of one format share it.
    fn name(&self) -> &'static str;

    /// The `Content-Type` of a body in this frame.
    fn content_type(&self) -> &'static str;

    /// Writes the bytes before the first message.
    fn start(&self, out: &mut BytesMut);

    /// Writes one message.
    fn message(&self, out: &mut BytesMut, message: &Message<'_>);

    /// Writes a heartbeat that clients ignore, or nothing if the format has none.
    fn heartbeat(&self, out: &mut BytesMut);

    /// Writes the bytes after the last message of a complete stream. `sentinel` is the dialect's
    /// end marker, such as `[DONE]`. It is not a message: frames that carry only messages omit it.
    fn end(&self, out: &mut BytesMut, sentinel: Option<&[u8]>);

    /// The media type, without parameters.
    fn media_type(&self) -> &'static str {
        let content_type = self.content_type();
        content_type.split_once(';').map_or(content_type, |(media_type, _)| media_type)
    }

    /// The reconnect delay that [`Self::start`] announces, if the server may change it during a
    /// stream.
    fn reconnect_delay(&self) -> Option<Duration> {
        None
    }

    /// Changes [`Self::reconnect_delay`] during a stream.
    fn set_reconnect_delay(&self, _out: &mut BytesMut, _delay: Duration) {}
}

#[cfg(test)]
mod tests {
    use crate::emitter::Emitter;
    use crate::event_stream::{EventSource, Sse};
    use crate::json::Json;
    use crate::ndjson::Ndjson;
    use crate::websocket::text::Text;

    use super::*;

    fn written(write: impl FnOnce(&mut BytesMut)) -> String {
        let mut out = BytesMut::new();
        write(&mut out);
        String::from_utf8_lossy(&out).into_owned()
    }

    /// The bytes of a frame before, for, between and after messages.
    fn check(
        frame: &dyn Frame,
        content_type: &str,
        start: &str,
        message: &str,
        heartbeat: &str,
        end: &str,
    ) {
        assert_eq!(frame.content_type(), content_type);
        assert_eq!(written(|out| frame.start(out)), start, "{frame:?}");
        let given =
            Message { name: Some("name"), id: Some("an-id"), position: Some(7), data: b"{}" };
        assert_eq!(written(|out| frame.message(out, &given)), message, "{frame:?}");
        assert_eq!(written(|out| frame.heartbeat(out)), heartbeat, "{frame:?}");
        assert_eq!(written(|out| frame.end(out, Some(b"[DONE]"))), end, "{frame:?}");
        assert_eq!(written(|out| frame.end(out, None)), "", "{frame:?}");
    }

    #[test]
    fn every_frame_writes_its_own_bytes() {
        let stream = "text/event-stream; charset=utf-8";
        check(&Json, "application/json", "", "{}", "", "");
        check(&Ndjson, "application/x-ndjson; charset=utf-8", "", "{}\n", "\n", "");
        check(&Sse, stream, "", "event: name\ndata: {}\n\n", ": ping\n", "data: [DONE]\n\n");
        check(&EventSource, stream, "retry: 1000\n\n", "id: 7\ndata: {}\n\n", ": ping\n", "");
        let event = "id:an-id\nevent:name\ndata:{}\nretry:3000\n\n";
        check(&Emitter, stream, "retry:5000\n\n", event, ": ping\n", "");
        check(&Text, "application/octet-stream", "", "\u{fffd}\u{2}{}", "\u{fffd}\0", "");
    }

    #[test]
    fn only_event_source_changes_its_reconnect_delay() {
        for frame in [&Json as &dyn Frame, &Ndjson, &Sse, &Emitter, &Text] {
            assert_eq!(frame.reconnect_delay(), None, "{frame:?}");
            assert_eq!(
                written(|out| frame.set_reconnect_delay(out, Duration::from_secs(2))),
                "",
                "{frame:?}"
            );
        }
        assert_eq!(EventSource.reconnect_delay(), Some(Duration::from_secs(1)));
        assert_eq!(
            written(|out| EventSource.set_reconnect_delay(out, Duration::from_millis(2500))),
            "retry: 2500\n\n"
        );
    }

    #[test]
    fn a_media_type_has_no_parameters() {
        assert_eq!(
            (Json.media_type(), Sse.media_type()),
            ("application/json", "text/event-stream")
        );
    }
}
