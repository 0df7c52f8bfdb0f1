//! Newline-delimited JSON: one document per line (ndjson.org).

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr2_iter};

use crate::buffer::{EventTooLarge, consume};
use crate::frame::{Frame, Message};

/// The media type of ndjson.org, which was never registered, hence the `x-`.
pub const MEDIA_TYPE: &str = "application/x-ndjson";

/// With the charset, for clients that guess without one, such as Python's requests.
pub const CONTENT_TYPE: &str = "application/x-ndjson; charset=utf-8";

/// An empty line, which parsers "may silently ignore" (ndjson.org, section 3.2).
pub const HEARTBEAT: &[u8] = b"\n";

/// Writes `data`, a JSON document, as one line. A raw line end in it is whitespace between tokens
/// (a string cannot hold one, RFC 8259, section 7) and becomes a space.
pub fn encode(out: &mut BytesMut, data: &[u8]) {
    out.reserve(data.len() + 1);
    let start = out.len();
    out.put_slice(data);
    for index in memchr2_iter(b'\n', b'\r', data) {
        out[start + index] = b' ';
    }
    out.put_u8(b'\n');
}

/// One JSON document per line.
#[derive(Clone, Copy, Debug)]
pub struct Ndjson;

impl Frame for Ndjson {
    fn name(&self) -> &'static str {
        "ndjson"
    }

    fn content_type(&self) -> &'static str {
        CONTENT_TYPE
    }

    fn start(&self, _out: &mut BytesMut) {}

    fn message(&self, out: &mut BytesMut, message: &Message<'_>) {
        encode(out, message.data);
    }

    fn heartbeat(&self, out: &mut BytesMut) {
        out.put_slice(HEARTBEAT);
    }

    /// A sentinel is not JSON, and the end of the body already marks the end.
    fn end(&self, _out: &mut BytesMut, _sentinel: Option<&[u8]>) {}
}

/// The output of the decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NdjsonFrame {
    /// A line, without its end.
    Line(Bytes),
    /// An empty line: a keep-alive.
    Heartbeat,
}

/// A push parser: give it bytes as they come, then take lines until there are none.
#[derive(Debug)]
pub struct NdjsonDecoder {
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end: a long line is searched once, however it
    /// was split.
    scanned: usize,
    limit: usize,
    failed: bool,
}

impl NdjsonDecoder {
    /// A decoder that holds lines of up to `max_line_bytes`.
    pub fn new(max_line_bytes: usize) -> Self {
        Self { buffer: BytesMut::new(), scanned: 0, limit: max_line_bytes, failed: false }
    }

    /// Takes the next bytes of the body. Call [`Self::next_event`] until `None` before the next
    /// push: what is held is then bounded by the limit and one push.
    pub fn push(&mut self, bytes: &[u8]) {
        if !self.failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next line; `None` when more bytes are needed, and always after an error.
    pub fn next_event(&mut self) -> Option<Result<NdjsonFrame, EventTooLarge>> {
        let end = memchr(b'\n', &self.buffer[self.scanned..]).map(|found| self.scanned + found);
        let line = without_carriage_return(&self.buffer[..end.unwrap_or(self.buffer.len())]);
        if line.len() > self.limit {
            self.failed = true;
            self.buffer = BytesMut::new();
            self.scanned = 0;
            return Some(Err(EventTooLarge { limit: self.limit }));
        }
        let Some(end) = end else {
            self.scanned = self.buffer.len();
            return None;
        };
        let decoded = decoded(line);
        consume(&mut self.buffer, end + 1);
        self.scanned = 0;
        Some(Ok(decoded))
    }

    /// At the end of the body: a last line that lacks its line end. Only its JSON shows whether it
    /// is complete.
    pub fn finish(&mut self) -> Option<Bytes> {
        self.scanned = 0;
        let rest = self.buffer.split();
        match decoded(without_carriage_return(&rest)) {
            NdjsonFrame::Line(line) => Some(line),
            NdjsonFrame::Heartbeat => None,
        }
    }
}

fn decoded(line: &[u8]) -> NdjsonFrame {
    if line.is_empty() {
        NdjsonFrame::Heartbeat
    } else {
        NdjsonFrame::Line(Bytes::copy_from_slice(line))
    }
}

fn without_carriage_return(line: &[u8]) -> &[u8] {
    line.strip_suffix(b"\r").unwrap_or(line)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const LIMIT: usize = 64;

    /// Decodes pieces pushed one after the other; an error is the last thing.
    fn decode(pieces: &[&[u8]], limit: usize) -> Vec<Result<NdjsonFrame, EventTooLarge>> {
        let mut decoder = NdjsonDecoder::new(limit);
        let mut all = Vec::new();
        for piece in pieces {
            decoder.push(piece);
            while let Some(decoded) = decoder.next_event() {
                all.push(decoded);
            }
        }
        all.extend(decoder.finish().map(|line| Ok(NdjsonFrame::Line(line))));
        all
    }

    #[expect(clippy::unnecessary_wraps, reason = "it is compared with what the decoder returns")]
    fn line(text: &str) -> Result<NdjsonFrame, EventTooLarge> {
        Ok(NdjsonFrame::Line(Bytes::copy_from_slice(text.as_bytes())))
    }

    #[test]
    fn one_document_is_one_line() {
        let mut out = BytesMut::new();
        encode(&mut out, br#"{"a":1}"#);
        encode(&mut out, b"{\r\n\"b\":2}");
        assert_eq!(&out[..], b"{\"a\":1}\n{  \"b\":2}\n");
    }

    #[test]
    fn lines_end_in_lf_or_crlf_and_the_last_may_not_end() {
        let found = decode(&[b"{}\n\n{\"a\"", b":1}\r", b"\n\r\n[]"], LIMIT);
        let expected = [
            line("{}"),
            Ok(NdjsonFrame::Heartbeat),
            line("{\"a\":1}"),
            Ok(NdjsonFrame::Heartbeat),
            line("[]"),
        ];
        assert_eq!(found, expected);
        assert_eq!(decode(&[b"{}\r"], LIMIT), [line("{}")]);
        assert_eq!(decode(&[b""], LIMIT), []);
    }

    #[test]
    fn a_line_over_the_limit_is_an_error_and_the_end() {
        assert_eq!(decode(&[b"1234\r", b"\n"], 4), [line("1234")]);
        for pieces in [[b"12345\n1".as_slice(), b"\n2\n"], [b"123", b"45\n1\n"], [b"123", b"45"]] {
            assert_eq!(decode(&pieces, 4), [Err(EventTooLarge { limit: 4 })]);
        }
    }

    #[test]
    fn a_long_line_in_small_pieces_is_searched_once() {
        // 4 MiB in pieces of 16 bytes: rescanning each time would look at half a tebibyte and not
        // end.
        let mut decoder = NdjsonDecoder::new(8 << 20);
        for _ in 0..(4 << 20) / 16 {
            decoder.push(&[b'x'; 16]);
            assert_eq!(decoder.next_event(), None);
        }
        decoder.push(b"\n");
        let Some(Ok(NdjsonFrame::Line(line))) = decoder.next_event() else {
            unreachable!("the line has ended")
        };
        assert_eq!(line.len(), 4 << 20);
        assert!(decoder.buffer.capacity() <= crate::buffer::KEPT_CAPACITY);
    }

    proptest! {
        #[test]
        fn any_split_gives_the_same_lines(body in "[a\r\n]{0,200}", cuts in prop::collection::vec(0usize..200, 0..20), limit in 0usize..20) {
            let whole = decode(&[body.as_bytes()], limit);
            let pieces = crate::buffer::split_at(body.as_bytes(), cuts);
            prop_assert_eq!(decode(&pieces, limit), whole);
        }

        #[test]
        fn what_was_encoded_is_decoded(documents in prop::collection::vec("[^\r\n]{1,20}", 0..10)) {
            let mut out = BytesMut::new();
            for document in &documents {
                encode(&mut out, document.as_bytes());
            }
            let expected: Vec<_> = documents.iter().map(|document| line(document)).collect();
            prop_assert_eq!(decode(&[&out], usize::MAX), expected);
        }
    }
}
