//! Server-sent events (WHATWG HTML, section 9.2): the encoder, and a push parser for any split of
//! the bytes.

use bytes::{BufMut, Bytes, BytesMut};
use memchr::{memchr, memchr2};

use crate::buffer::{EventTooLarge, consume};

/// Section 9.2.5.
pub const MEDIA_TYPE: &str = "text/event-stream";

/// By the standard an event stream is UTF-8 and needs no charset, but some clients decode `text/*`
/// without one as ISO-8859-1 (Python's requests, Spring's `StringHttpMessageConverter`).
pub const CONTENT_TYPE: &str = "text/event-stream; charset=utf-8";

/// A comment line, which parsers ignore. It has no blank line after it: openai-go before 3.43
/// dispatches an event at each blank line, whether or not there were data, and fails at the empty
/// one.
pub const HEARTBEAT: &[u8] = b": ping\n";

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Writes one event. Each line of `data` becomes a `data` field, whatever its line end. `name` must
/// hold no line end.
pub fn encode(out: &mut BytesMut, name: Option<&str>, id: Option<u64>, data: &[u8]) {
    // The capacity for a usual event: the fields' names, a decimal id and the blank line.
    out.reserve(data.len() + name.map_or(0, str::len) + 48);
    if let Some(name) = name {
        debug_assert!(memchr2(b'\n', b'\r', name.as_bytes()).is_none(), "a name is one line");
        out.put_slice(b"event: ");
        out.put_slice(name.as_bytes());
        out.put_u8(b'\n');
    }
    if let Some(id) = id {
        out.put_slice(b"id: ");
        put_decimal(out, id);
        out.put_u8(b'\n');
    }
    let mut rest = data;
    while let Some(end) = memchr2(b'\n', b'\r', rest) {
        put_data_line(out, &rest[..end]);
        let is_pair = rest[end..].starts_with(b"\r\n");
        rest = &rest[end + if is_pair { 2 } else { 1 }..];
    }
    put_data_line(out, rest);
    out.put_u8(b'\n');
}

/// Writes the time that a browser waits before it reconnects (section 9.2.6, field `retry`).
pub fn retry(out: &mut BytesMut, milliseconds: u64) {
    out.put_slice(b"retry: ");
    put_decimal(out, milliseconds);
    out.put_slice(b"\n\n");
}

fn put_data_line(out: &mut BytesMut, line: &[u8]) {
    out.put_slice(b"data: ");
    out.put_slice(line);
    out.put_u8(b'\n');
}

fn put_decimal(out: &mut BytesMut, mut number: u64) {
    let mut digits = [b'0'; 20]; // u64::MAX has 20 digits
    let mut start = digits.len();
    loop {
        start -= 1;
        digits[start] = b'0' + (number % 10) as u8;
        number /= 10;
        if number == 0 {
            break;
        }
    }
    out.put_slice(&digits[start..]);
}

/// One dispatched event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SseEvent {
    /// The field `event`; `None` if absent or empty; browsers use `message` then. Invalid UTF-8 is
    /// replaced.
    pub name: Option<String>,
    /// The `data` fields, joined with LF.
    pub data: Bytes,
    /// The field `id`, if one came since the event before; an empty one resets the browser's last
    /// event id.
    pub id: Option<Bytes>,
    /// The field `retry`, in milliseconds, if one came since the event before.
    pub retry: Option<u64>,
}

/// The output of the decoder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SseFrame {
    /// An event.
    Event(SseEvent),
    /// A comment line: a keep-alive.
    Comment,
}

/// A push parser: give it bytes as they come, then take events until there are none.
#[derive(Debug)]
pub struct SseDecoder {
    buffer: BytesMut,
    /// How much of `buffer` is known to hold no line end: a long line is searched once, however it
    /// was split.
    scanned: usize,
    pending: Pending,
    limit: usize,
    state: State,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    /// Whether a byte order mark may still follow.
    Start,
    Line,
    /// The last line ended in CR: a following LF belongs to it.
    AfterCarriageReturn,
    Failed,
}

impl SseDecoder {
    /// A decoder that holds events of up to `max_event_bytes`, counted as the lengths of its lines.
    pub fn new(max_event_bytes: usize) -> Self {
        Self {
            buffer: BytesMut::new(),
            scanned: 0,
            pending: Pending::default(),
            limit: max_event_bytes,
            state: State::Start,
        }
    }

    /// A decoder for bodies whose events may lack the blank line between them: a `data` field that
    /// is a whole JSON document is an event, where another `data` field follows it. The standard
    /// would join the two. A document in several fields is joined as usual. A line that is no field
    /// but starts a document, as some servers write their errors, counts as a `data` field, and a
    /// field `error` as an event of that name.
    #[must_use]
    pub fn splitting_documents(mut self) -> Self {
        self.pending.splits = Splits::WhenAnotherFollows;
        self
    }

    /// Takes the next bytes of the body. Call [`Self::next_event`] until `None` before the next
    /// push: what is held is then bounded by the limit and one push.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.state != State::Failed {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next event or comment; `None` when more bytes are needed, and always after an error.
    pub fn next_event(&mut self) -> Option<Result<SseFrame, EventTooLarge>> {
        loop {
            if !self.at_line() {
                return None;
            }
            let end = memchr2(b'\n', b'\r', &self.buffer[self.scanned..])
                .map(|found| self.scanned + found);
            let length = end.unwrap_or(self.buffer.len());
            if self.pending.bytes.saturating_add(length) > self.limit {
                self.state = State::Failed;
                self.buffer = BytesMut::new();
                self.pending = Pending { splits: self.pending.splits, ..Pending::default() };
                return Some(Err(EventTooLarge { limit: self.limit }));
            }
            if end.is_none() {
                self.scanned = length;
                return None;
            }
            if self.pending.is_separate(&self.buffer[..length]) {
                // The line stays for the next call.
                self.scanned = length;
                return self.pending.dispatch().map(|event| Ok(SseFrame::Event(event)));
            }
            let decoded = self.pending.line(&self.buffer[..length]);
            self.state =
                if self.buffer[length] == b'\r' { State::AfterCarriageReturn } else { State::Line };
            consume(&mut self.buffer, length + 1);
            self.scanned = 0;
            if let Some(decoded) = decoded {
                return Some(Ok(decoded));
            }
        }
    }

    /// At the end of the body: the event whose blank line never came, if it had data. The standard
    /// discards it, but some upstreams omit the last blank line or even the last line's end. Only
    /// the content shows whether the data is complete. Call it after [`Self::next_event`] has
    /// returned `None`.
    pub fn finish(&mut self) -> Option<SseEvent> {
        let rest = self.buffer.split();
        self.scanned = 0;
        if !rest.is_empty() {
            // A comment no longer matters, and an empty line cannot occur here.
            let _ = self.pending.line(&rest);
        }
        self.pending.dispatch()
    }

    /// Advances to the first byte of the next line; false if more bytes are needed.
    fn at_line(&mut self) -> bool {
        match self.state {
            State::Start => {
                if self.buffer.starts_with(BYTE_ORDER_MARK) {
                    consume(&mut self.buffer, BYTE_ORDER_MARK.len());
                } else if BYTE_ORDER_MARK.starts_with(&self.buffer) {
                    return false;
                }
                self.state = State::Line;
            }
            State::AfterCarriageReturn => {
                match self.buffer.first() {
                    None => return false,
                    Some(b'\n') => consume(&mut self.buffer, 1),
                    Some(_) => {}
                }
                self.state = State::Line;
            }
            State::Line => {}
            State::Failed => return false,
        }
        true
    }
}

/// Whether consecutive `data` fields that are whole documents are separate events.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum Splits {
    /// Never, as in the standard.
    #[default]
    Never,
    /// Where another `data` field follows.
    WhenAnotherFollows,
    /// At once: this body lacks blank lines, and an event must not be delayed until the next one.
    AtOnce,
}

/// The event that is being read.
#[derive(Debug, Default)]
struct Pending {
    event: SseEvent,
    /// `None` until the first `data` field, which makes an event even without a value.
    data: Option<Vec<u8>>,
    /// The lengths of the lines that are held.
    bytes: usize,
    splits: Splits,
}

impl Pending {
    /// Whether `line` starts another event without a blank line before it.
    fn is_separate(&mut self, line: &[u8]) -> bool {
        let starts_event = || {
            ["data:", "event:", "error:", "{", "["]
                .iter()
                .any(|start| line.starts_with(start.as_bytes()))
        };
        if self.splits == Splits::Never
            || !starts_event()
            || !self.data.as_deref().is_some_and(is_document)
        {
            return false;
        }
        self.splits = Splits::AtOnce;
        true
    }

    /// Section 9.2.6, "process the line".
    fn line(&mut self, line: &[u8]) -> Option<SseFrame> {
        if line.is_empty() {
            return self.dispatch().map(SseFrame::Event);
        }
        let (field, value) = match memchr(b':', line) {
            _ if self.splits != Splits::Never
                && (line.starts_with(b"{") || line.starts_with(b"[")) =>
            {
                (&b"data"[..], line)
            }
            Some(0) => return Some(SseFrame::Comment),
            Some(colon) => {
                (&line[..colon], line[colon + 1..].strip_prefix(b" ").unwrap_or(&line[colon + 1..]))
            }
            None => (line, &[][..]),
        };
        match field {
            b"data" => match &mut self.data {
                None => self.data = Some(value.to_vec()),
                Some(data) => {
                    data.push(b'\n');
                    data.extend_from_slice(value);
                }
            },
            b"error" | b"Error" | b"ERROR"
                if self.splits != Splits::Never && self.data.is_none() =>
            {
                (self.event.name, self.data) = (Some("error".to_owned()), Some(value.to_vec()));
            }
            b"event" => self.event.name = Some(String::from_utf8_lossy(value).into_owned()),
            b"id" if memchr(0, value).is_none() => {
                self.event.id = Some(Bytes::copy_from_slice(value));
            }
            b"retry" => self.event.retry = digits(value).or(self.event.retry),
            // An unknown field is ignored and not held, so it does not count.
            _ => return None,
        }
        self.bytes += line.len();
        if self.splits == Splits::AtOnce
            && field == b"data"
            && self.data.as_deref().is_some_and(is_document)
        {
            return self.dispatch().map(SseFrame::Event);
        }
        None
    }

    /// The event, if it has data. Otherwise its name is dropped, but `id` and `retry` apply to the
    /// stream: they are part of the next event.
    fn dispatch(&mut self) -> Option<SseEvent> {
        self.bytes = 0;
        let name = self.event.name.take().filter(|name| !name.is_empty());
        let data = Bytes::from(self.data.take()?);
        Some(SseEvent { name, data, ..std::mem::take(&mut self.event) })
    }
}

/// Whether data is a whole JSON document, or the sentinel of OpenAI's streams.
fn is_document(data: &[u8]) -> bool {
    let data = data.trim_ascii();
    data == b"[DONE]"
        || (data.first() == Some(&b'{')
            && serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok())
}

/// A number written with ASCII digits only, as `retry` must be; `u64::from_str` would accept a plus
/// sign.
fn digits(value: &[u8]) -> Option<u64> {
    if !value.iter().all(u8::is_ascii_digit) {
        return None;
    }
    std::str::from_utf8(value).ok()?.parse().ok()
}

#[cfg(test)]
mod tests;
