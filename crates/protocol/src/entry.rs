//! The entry of a log: an event serialised once, with its position.

use std::ops::Range;

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr2, memmem};
use serde::Serialize;

use crate::event::{Event, EventKind};
use crate::id::ItemId;

/// Precedes the text of a delta.
const DELTA: &[u8] = b",\"delta\":\"";

/// The size of the blocks that the entries of one log share. The event of a token is about 200
/// bytes.
const BLOCK: usize = 2 << 10;

/// With less room than this a new block is started: an entry that outgrows its block is copied.
const ROOM: usize = 256;

/// An event in the log: serialised once, by the writer, and shared by every reader.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its position, which is its `sequence_number`.
    pub position: u64,
    /// Its `type`.
    pub kind: EventKind,
    /// The event as JSON without line breaks: the payload in every frame.
    pub data: Bytes,
    /// Where `data` has the text of a delta, between its quotes. Empty for other kinds.
    delta: Span,
}

/// A range of an entry's bytes. Entries are below 4 GiB.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Span {
    start: u32,
    end: u32,
}

/// Serialises the events of one log, in blocks that its entries share.
#[derive(Debug, Default)]
pub struct EntryWriter {
    block: BytesMut,
}

impl EntryWriter {
    /// Serialises `event` at `position`: `{"type":…,"sequence_number":…,…}`.
    pub fn entry(&mut self, position: u64, event: &Event<'_>) -> Entry {
        let kind = event.kind();
        if self.block.capacity() < ROOM {
            self.block = BytesMut::with_capacity(BLOCK);
        }
        let out = &mut self.block;
        out.put_slice(b"{\"type\":\"");
        out.put_slice(kind.as_str().as_bytes());
        out.put_slice(b"\",\"sequence_number\":");
        put_json(out, &position);
        let delta = match event {
            Event::OutputTextDelta(event) => {
                put_place(out, &event.item_id, event.output_index);
                put_index(out, "content_index", event.content_index);
                let delta = put_delta(out, event.delta);
                out.put_slice(b",\"logprobs\":");
                put_json(out, &event.logprobs);
                out.put_slice(b"}");
                delta
            }
            Event::RefusalDelta(event) | Event::ReasoningDelta(event) => {
                put_place(out, &event.item_id, event.output_index);
                put_index(out, "content_index", event.content_index);
                let delta = put_delta(out, event.delta);
                out.put_slice(b"}");
                delta
            }
            Event::ReasoningSummaryDelta(event) => {
                put_place(out, &event.place.item_id, event.place.output_index);
                put_index(out, "summary_index", event.place.summary_index);
                let delta = put_delta(out, event.delta);
                out.put_slice(b"}");
                delta
            }
            Event::FunctionCallArgumentsDelta(event) | Event::CustomToolCallInputDelta(event) => {
                put_place(out, &event.item_id, event.output_index);
                let delta = put_delta(out, event.delta);
                out.put_slice(b"}");
                delta
            }
            event => {
                put_fields(out, event);
                0..0
            }
        };
        Entry { position, kind, data: self.block.split().freeze(), delta: delta.into() }
    }
}

/// Appends a value as JSON. Strings, numbers and maps with text keys always serialise.
fn put_json(out: &mut BytesMut, value: &impl Serialize) {
    drop(serde_json::to_writer(out.writer(), value));
}

/// Appends the fields of an event after its head. If they should not serialise, the event is its
/// head alone.
fn put_fields(out: &mut BytesMut, event: &Event<'_>) {
    let fields = out.len();
    put_json(out, event);
    if out.get(fields) == Some(&b'{') && out.last() == Some(&b'}') {
        if let Some(brace) = out.get_mut(fields) {
            *brace = b',';
        }
    } else {
        out.truncate(fields);
        out.put_slice(b"}");
    }
}

fn put_place(out: &mut BytesMut, item_id: &ItemId, output_index: usize) {
    out.put_slice(b",\"item_id\":");
    put_json(out, item_id);
    put_index(out, "output_index", output_index);
}

fn put_index(out: &mut BytesMut, name: &str, index: usize) {
    out.put_slice(b",\"");
    out.put_slice(name.as_bytes());
    out.put_slice(b"\":");
    put_json(out, &index);
}

/// Appends the text of a delta; where it is, without its quotes.
fn put_delta(out: &mut BytesMut, delta: &str) -> Range<usize> {
    out.put_slice(DELTA.strip_suffix(b"\"").unwrap_or(DELTA));
    let start = out.len() + 1;
    put_json(out, &delta);
    start..out.len() - 1
}

impl From<Range<usize>> for Span {
    fn from(range: Range<usize>) -> Self {
        let bound = |bound| u32::try_from(bound).unwrap_or_default();
        Self { start: bound(range.start), end: bound(range.end) }
    }
}

impl Entry {
    /// One entry by itself.
    pub fn new(position: u64, event: &Event<'_>) -> Self {
        EntryWriter::default().entry(position, event)
    }

    /// The text of a delta, as a JSON string with its quotes.
    pub fn delta(&self) -> Option<&[u8]> {
        let Span { start, end } = self.delta;
        (start > 0).then(|| self.data.get(start as usize - 1..end as usize + 1))?
    }

    /// What follows the text of a delta, from its closing quote on.
    pub(crate) fn after_delta(&self) -> &[u8] {
        self.data.get(self.delta.end as usize + 1..).unwrap_or_default()
    }

    /// The number of bytes of `data` that are the model's text in JSON: what a delta has between
    /// its quotes.
    pub fn text_bytes(&self) -> usize {
        (self.delta.end - self.delta.start) as usize
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
        let delta = find_delta(kind, &data).into();
        matches!(rest.first(), Some(b',' | b'}')).then_some(Self { position, kind, data, delta })
    }
}

/// Where an event has the text of its delta. Empty for kinds without one.
fn find_delta(kind: EventKind, data: &[u8]) -> Range<usize> {
    match kind {
        EventKind::OutputTextDelta
        | EventKind::RefusalDelta
        | EventKind::ReasoningDelta
        | EventKind::ReasoningSummaryDelta
        | EventKind::FunctionCallArgumentsDelta
        | EventKind::CustomToolCallInputDelta => {}
        _ => return 0..0,
    }
    let Some(start) = memmem::find(data, DELTA).map(|field| field + DELTA.len()) else {
        return 0..0;
    };
    let mut end = start;
    while let Some(found) = memchr2(b'"', b'\\', &data[end..]) {
        end += found;
        if data[end] == b'"' {
            return start..end;
        }
        // The escaped byte is skipped, as it may be a quote that does not end the text.
        end = (end + 2).min(data.len());
    }
    0..0
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
            delta: "\"}, \u{4f60}",
            logprobs: &[],
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
                delta: text,
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
