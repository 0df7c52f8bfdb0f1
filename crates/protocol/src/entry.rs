//! The entry of a log: an event serialised once, with its position.

use bytes::Bytes;
use memchr::{memchr, memchr2, memmem};

use crate::event::{Event, EventKind};

/// Precedes the text of a delta.
const DELTA: &[u8] = b",\"delta\":\"";

/// An event in the log: serialised once, by the writer, and shared by every reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position, which is its `sequence_number`.
    pub position: u64,
    /// Its `type`.
    pub kind: EventKind,
    /// The event as JSON without line breaks: the payload in every frame.
    pub data: Bytes,
}

impl Entry {
    /// Serialises `event` at `position`: `{"type":…,"sequence_number":…,…}`.
    pub fn new(position: u64, event: &Event) -> Self {
        let kind = event.kind();
        // The event of a token is about 200 bytes; larger events grow the buffer.
        let mut data = Vec::with_capacity(256);
        data.extend_from_slice(b"{\"type\":\"");
        data.extend_from_slice(kind.as_str().as_bytes());
        data.extend_from_slice(b"\",\"sequence_number\":");
        data.extend_from_slice(position.to_string().as_bytes());
        let fields = data.len();
        // Strings, numbers and maps with text keys always serialise; if that ever fails, the event
        // is its head alone.
        if serde_json::to_writer(&mut data, event).is_ok() && data.get(fields) == Some(&b'{') {
            if let Some(brace) = data.get_mut(fields) {
                *brace = b',';
            }
        } else {
            data.truncate(fields);
            data.push(b'}');
        }
        Self { position, kind, data: data.into() }
    }

    /// The number of bytes of `data` that are the model's text in JSON: what a delta has between
    /// its quotes.
    pub fn text_bytes(&self) -> usize {
        match self.kind {
            EventKind::OutputTextDelta
            | EventKind::RefusalDelta
            | EventKind::ReasoningDelta
            | EventKind::ReasoningSummaryDelta
            | EventKind::FunctionCallArgumentsDelta
            | EventKind::CustomToolCallInputDelta => {}
            _ => return 0,
        }
        let Some(start) = memmem::find(&self.data, DELTA).map(|field| field + DELTA.len()) else {
            return 0;
        };
        let text = &self.data[start..];
        let mut end = 0;
        while let Some(found) = memchr2(b'"', b'\\', &text[end..]) {
            end += found;
            if text[end] == b'"' {
                return end;
            }
            // The escaped byte is skipped, as it may be a quote that does not end the text.
            end = (end + 2).min(text.len());
        }
        0
    }

    /// Reads back an entry whose `data` [`Entry::new`] wrote. `None` if it is not an event at
    /// `position`.
    pub fn read(position: u64, data: Bytes) -> Option<Self> {
        let data = renamed(data);
        let rest = data.strip_prefix(b"{\"type\":\"")?;
        let quote = memchr(b'"', rest)?;
        let (name, rest) = rest.split_at_checked(quote)?;
        let rest = rest.strip_prefix(b"\",\"sequence_number\":")?;
        let rest = rest.strip_prefix(position.to_string().as_bytes())?;
        let kind = EventKind::parse(name)?;
        matches!(rest.first(), Some(b',' | b'}')).then_some(Self { position, kind, data })
    }
}

/// Replaces the event names of earlier versions by the present ones.
fn renamed(data: Bytes) -> Bytes {
    const RENAMED: [(&[u8], EventKind); 2] = [
        (b"{\"type\":\"response.reasoning.delta\"", EventKind::ReasoningDelta),
        (b"{\"type\":\"response.reasoning.done\"", EventKind::ReasoningDone),
    ];
    for (before, kind) in RENAMED {
        if let Some(rest) = data.strip_prefix(before) {
            return [b"{\"type\":\"", kind.as_str().as_bytes(), b"\"", rest].concat().into();
        }
    }
    data
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::event::{ContentDelta, TextDelta};
    use crate::id::ItemId;

    #[test]
    fn event_names_of_earlier_versions_are_replaced() {
        let old = Bytes::from_static(
            b"{\"type\":\"response.reasoning.delta\",\"sequence_number\":4,\"delta\":\"hm\"}",
        );
        let entry = Entry::read(4, old).unwrap();
        assert_eq!(entry.kind, EventKind::ReasoningDelta);
        assert_eq!(
            entry.data,
            "{\"type\":\"response.reasoning_text.delta\",\"sequence_number\":4,\"delta\":\"hm\"}"
        );
    }

    #[test]
    fn an_entry_is_read_back_as_it_was_written() {
        let delta = TextDelta {
            item_id: ItemId::new("msg_1"),
            output_index: 0,
            content_index: 0,
            delta: "\"}, \u{4f60}".into(),
            logprobs: Vec::new(),
        };
        let entry = Entry::new(17, &Event::OutputTextDelta(delta));
        assert_eq!(Entry::read(17, entry.data.clone()), Some(entry.clone()));
        for wrong in [1, 7, 16, 170] {
            assert_eq!(Entry::read(wrong, entry.data.clone()), None, "{wrong}");
        }
        for cut in 0..50 {
            assert_eq!(Entry::read(17, entry.data.slice(..cut)), None, "{cut}");
        }
    }

    #[test]
    fn text_bytes_counts_only_the_text_of_a_delta() {
        for text in ["", "Hello", "\\", "a\"b", "\u{4f60}\u{597d}", "x\\\"", "\n,\"delta\":\""] {
            let delta = ContentDelta {
                item_id: ItemId::new("msg_1"),
                output_index: 0,
                content_index: 0,
                delta: text.into(),
            };
            let expected = serde_json::to_string(text).unwrap().len() - 2;
            assert_eq!(
                Entry::new(3, &Event::ReasoningDelta(delta)).text_bytes(),
                expected,
                "{text:?}"
            );
        }
    }
}
