//! Turns JSON between events into events: in the middle of a stream, Gemini writes an error as
//! plain JSON over several lines, without `data:`. Like Google's own client, this balances braces
//! to find its end.

use engine::provider::event::ModelEvent;
use engine::provider::failure::ProviderFailure;

use crate::wire::reader::StreamParser;

/// A reader of bodies that may contain JSON between events.
#[derive(Debug)]
pub(super) struct LooseLines<R> {
    inner: R,
    place: LinePosition,
}

/// The state after the last byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum LinePosition {
    /// Before the first significant byte.
    Begin,
    /// In a body that is one document.
    Document,
    /// At the start of a line.
    LineStart,
    /// In a line of an event stream.
    Line,
    /// In JSON between events.
    Json { depth: u32, is_text: bool, is_escaped: bool },
    /// After such JSON; a comma may follow.
    Rest,
}

impl<R> LooseLines<R> {
    /// A reader that passes only events to `inner`.
    pub(super) fn new(inner: R) -> Self {
        Self { inner, place: LinePosition::Begin }
    }

    fn translate(&mut self, bytes: &[u8]) -> Vec<u8> {
        let mut events = Vec::with_capacity(bytes.len() + 16);
        let mut rest = bytes;
        while let Some((byte, after)) = rest.split_first() {
            let line_end = rest.iter().position(|byte| matches!(byte, b'\r' | b'\n'));
            match self.place {
                LinePosition::Document => {
                    events.extend_from_slice(rest);
                    rest = &[];
                }
                // Most bytes belong to lines, which are passed through.
                LinePosition::Line => {
                    let length = line_end.map_or(rest.len(), |end| end + 1);
                    events.extend_from_slice(&rest[..length]);
                    self.place = if line_end.is_some() {
                        LinePosition::LineStart
                    } else {
                        LinePosition::Line
                    };
                    rest = &rest[length..];
                }
                LinePosition::Rest => {
                    self.place = if line_end.is_some() {
                        LinePosition::LineStart
                    } else {
                        LinePosition::Rest
                    };
                    rest = line_end.map_or(&[], |end| &rest[end..]);
                }
                LinePosition::Begin | LinePosition::LineStart | LinePosition::Json { .. } => {
                    self.place = self.step(*byte, &mut events);
                    rest = after;
                }
            }
        }
        events
    }

    /// Handles one byte outside of lines; returns the next state.
    fn step(&self, byte: u8, events: &mut Vec<u8>) -> LinePosition {
        match (self.place, byte) {
            (LinePosition::Json { depth, is_text, is_escaped }, _) => {
                // A line break inside JSON is white space; in an event it would end the field.
                events.push(if matches!(byte, b'\r' | b'\n') { b' ' } else { byte });
                json(byte, depth, is_text, is_escaped, events)
            }
            (LinePosition::Begin, b'{' | b'[') => {
                events.push(byte);
                LinePosition::Document
            }
            // White space and a byte order mark decide nothing.
            (LinePosition::Begin, b' ' | b'\t' | b'\r' | b'\n' | 0xEF | 0xBB | 0xBF) => {
                events.push(byte);
                LinePosition::Begin
            }
            (LinePosition::LineStart, b'{' | b'[') => {
                // The previous event may lack its blank line.
                events.extend_from_slice(b"\n\ndata: ");
                events.push(byte);
                LinePosition::Json { depth: 1, is_text: false, is_escaped: false }
            }
            (LinePosition::LineStart, b' ' | b'\t') => LinePosition::LineStart,
            (LinePosition::LineStart, b'\r' | b'\n') => {
                events.push(byte);
                LinePosition::LineStart
            }
            (
                LinePosition::Begin
                | LinePosition::LineStart
                | LinePosition::Document
                | LinePosition::Line
                | LinePosition::Rest,
                _,
            ) => {
                events.push(byte);
                LinePosition::Line
            }
        }
    }
}

/// Handles one byte of JSON between events.
fn json(
    byte: u8,
    depth: u32,
    is_text: bool,
    is_escaped: bool,
    events: &mut Vec<u8>,
) -> LinePosition {
    let inside = |depth, is_text, is_escaped| LinePosition::Json { depth, is_text, is_escaped };
    match byte {
        _ if is_text && is_escaped => inside(depth, true, false),
        b'\\' if is_text => inside(depth, true, true),
        b'"' => inside(depth, !is_text, false),
        _ if is_text => inside(depth, true, false),
        b'{' | b'[' => inside(depth.saturating_add(1), false, false),
        b'}' | b']' if depth <= 1 => {
            events.extend_from_slice(b"\n\n");
            LinePosition::Rest
        }
        b'}' | b']' => inside(depth - 1, false, false),
        _ => inside(depth, false, false),
    }
}

impl<R: StreamParser> StreamParser for LooseLines<R> {
    fn push(&mut self, bytes: &[u8]) {
        let events = self.translate(bytes);
        self.inner.push(&events);
    }

    fn next_event(&mut self) -> Option<Result<ModelEvent, ProviderFailure>> {
        self.inner.next_event()
    }

    fn finish(&mut self) {
        self.inner.finish();
    }

    fn is_over(&self) -> bool {
        self.inner.is_over()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(body: &str, expected: &str) {
        let whole = LooseLines::new(()).translate(body.as_bytes());
        assert_eq!(String::from_utf8(whole).unwrap(), expected);
        let mut lines = LooseLines::new(());
        let split: Vec<u8> = body.bytes().flat_map(|byte| lines.translate(&[byte])).collect();
        assert_eq!(String::from_utf8(split).unwrap(), expected);
    }

    #[test]
    fn events_and_documents_are_passed_through() {
        for body in [
            "data: {\"a\":1}\r\n\r\ndata: 2\r\n\r\n",
            "\n[{\n\"a\": 1}\n,\n{}]",
            "\u{feff}{\n{",
            ": {\ndata: {\n",
            "",
        ] {
            check(body, body);
        }
    }

    #[test]
    fn json_between_events_becomes_an_event() {
        check(
            "data: 1\r\n\r\n{\r\n  \"a\": \"}\\\"{\"\r\n}\r\n",
            "data: 1\r\n\r\n\n\ndata: {    \"a\": \"}\\\"{\"  }\n\n\r\n",
        );
        check(
            "data: 1\n[{\"a\": []\n}\n]\n,\n  {}\ndata: 2",
            "data: 1\n\n\ndata: [{\"a\": [] } ]\n\n\n,\n\n\ndata: {}\n\n\ndata: 2",
        );
    }
}
