//! Events in a body, each with its place in the stream: server-sent events (WHATWG HTML, section
//! 9.2.6), lines of JSON, messages.

use std::ops::Range;

/// Something that a reader of the body can act upon.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BodyEvent {
    /// From its first byte to its last; framing may lie in between. A reader has it when it has the
    /// last one: see
    /// [`ReassembledStream::arrival`](crate::flow::stream::ReassembledStream::arrival).
    pub range: Range<u64>,
    /// How many of these bytes are body.
    pub body_bytes: u64,
    /// The stream of HTTP/2 it is on.
    pub stream: Option<u32>,
    /// What it is.
    pub kind: BodyEventKind,
}

/// What an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BodyEventKind {
    /// A server-sent event, with its blank line.
    Sse {
        /// The field `event`.
        name: Option<String>,
        /// The field `id`.
        id: Option<String>,
        /// Bytes of its data.
        data_bytes: u64,
        /// Whether its data is `[DONE]`, by which some APIs end a stream.
        is_done: bool,
    },
    /// Fields without data, which only set something.
    SseFields {
        /// The field `retry`.
        retry: Option<String>,
        /// The field `id`.
        id: Option<String>,
    },
    /// A comment: a keep-alive.
    SseComment,
    /// A line of JSON, with its end.
    Line,
    /// An empty line: a keep-alive.
    EmptyLine,
    /// A message of a WebSocket, all its frames.
    Message {
        /// Text, or binary.
        is_text: bool,
    },
}

/// What to look for in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Mode {
    /// Not known yet: its first line determines it.
    Guess,
    Sse,
    Lines,
    /// Nothing.
    Opaque,
}

/// More of a line is not kept: names and ids are short.
const KEPT: usize = 1024;

/// Finds events in a body that comes in parts.
#[derive(Debug)]
#[expect(clippy::struct_excessive_bools, reason = "they are independent of each other")]
pub(super) struct EventScanner {
    mode: Mode,
    stream: Option<u32>,
    line: Vec<u8>,
    line_bytes: u64,
    is_first_line: bool,
    is_after_carriage_return: bool,
    /// Whether the last line end completed an event.
    has_ended_event: bool,
    /// Where the event that is being read began.
    start: Option<u64>,
    body_bytes: u64,
    has_fields: bool,
    name: Option<String>,
    id: Option<String>,
    retry: Option<String>,
    data_bytes: Option<u64>,
    is_done: bool,
}

impl EventScanner {
    /// For a body of this type. Bodies of HTTP/2 hide theirs in compressed heads: their first line
    /// tells.
    pub(super) fn of_type(content_type: Option<&str>) -> Self {
        let media_type = content_type
            .and_then(|value| value.split(';').next())
            .map(|value| value.trim().to_ascii_lowercase());
        Self::new(
            match media_type.as_deref() {
                Some("text/event-stream") => Mode::Sse,
                Some(
                    "application/x-ndjson"
                    | "application/ndjson"
                    | "application/jsonl"
                    | "application/stream+json",
                ) => Mode::Lines,
                _ => Mode::Opaque,
            },
            None,
        )
    }

    pub(super) fn guessing(stream: u32) -> Self {
        Self::new(Mode::Guess, Some(stream))
    }

    fn new(mode: Mode, stream: Option<u32>) -> Self {
        Self {
            mode,
            stream,
            line: Vec::new(),
            line_bytes: 0,
            is_first_line: true,
            is_after_carriage_return: false,
            has_ended_event: false,
            start: None,
            body_bytes: 0,
            has_fields: false,
            name: None,
            id: None,
            retry: None,
            data_bytes: None,
            is_done: false,
        }
    }

    /// Takes the part of the body that starts at `offset` of the stream.
    pub(super) fn push(&mut self, offset: u64, part: &[u8], events: &mut Vec<BodyEvent>) {
        if self.mode == Mode::Opaque {
            return;
        }
        for (at, byte) in (offset..).zip(part) {
            if std::mem::take(&mut self.is_after_carriage_return) && *byte == b'\n' {
                // It belongs to the line before, and so to what that line ended.
                if let Some(last) = events
                    .last_mut()
                    .filter(|last| self.has_ended_event && last.stream == self.stream)
                {
                    last.range.end = at + 1;
                    last.body_bytes += 1;
                } else if self.start.is_some() {
                    self.body_bytes += 1;
                }
                continue;
            }
            self.start.get_or_insert(at);
            self.body_bytes += 1;
            let is_end = *byte == b'\n' || (*byte == b'\r' && self.mode != Mode::Lines);
            if !is_end {
                self.line_bytes += 1;
                if self.line.len() < KEPT {
                    self.line.push(*byte);
                }
                continue;
            }
            self.is_after_carriage_return = *byte == b'\r';
            let kind = self.end_line();
            self.has_ended_event = kind.is_some();
            if let Some(kind) = kind {
                let range = self.start.take().unwrap_or(at)..at + 1;
                events.push(BodyEvent {
                    range,
                    body_bytes: std::mem::take(&mut self.body_bytes),
                    stream: self.stream,
                    kind,
                });
            } else if !self.has_fields {
                (self.start, self.body_bytes) = (None, 0);
            }
            if self.mode == Mode::Opaque {
                return;
            }
        }
    }

    /// What the line that has just ended completes.
    fn end_line(&mut self) -> Option<BodyEventKind> {
        let line = std::mem::take(&mut self.line);
        let mut length = std::mem::take(&mut self.line_bytes);
        let mut line = line.as_slice();
        if std::mem::take(&mut self.is_first_line) {
            // Section 9.2.5: one leading byte order mark is ignored.
            if let Some(rest) = line.strip_prefix(b"\xEF\xBB\xBF") {
                (line, length) = (rest, length - 3);
            }
            if self.mode == Mode::Guess {
                self.mode = guess(line, length);
            }
        }
        match self.mode {
            Mode::Guess | Mode::Opaque => None,
            Mode::Lines if line.iter().all(u8::is_ascii_whitespace) => {
                Some(BodyEventKind::EmptyLine)
            }
            Mode::Lines => Some(BodyEventKind::Line),
            Mode::Sse => self.end_sse_line(line, length),
        }
    }

    fn end_sse_line(&mut self, line: &[u8], length: u64) -> Option<BodyEventKind> {
        if line.is_empty() {
            let (name, id) = (self.name.take().filter(|name| !name.is_empty()), self.id.take());
            let had_fields = std::mem::take(&mut self.has_fields);
            let (retry, is_done) = (self.retry.take(), std::mem::take(&mut self.is_done));
            return match self.data_bytes.take() {
                Some(data_bytes) => Some(BodyEventKind::Sse { name, id, data_bytes, is_done }),
                None => had_fields.then_some(BodyEventKind::SseFields { retry, id }),
            };
        }
        let colon = line.iter().position(|byte| *byte == b':').unwrap_or(line.len());
        if colon == 0 {
            // In the middle of an event it is a part of that.
            return (!self.has_fields).then_some(BodyEventKind::SseComment);
        }
        self.has_fields = true;
        let value = line.get(colon + 1..).unwrap_or_default();
        let is_spaced = value.first() == Some(&b' ');
        let value = if is_spaced { &value[1..] } else { value };
        match &line[..colon] {
            b"data" => {
                let value_bytes = length.saturating_sub(colon as u64 + 1 + u64::from(is_spaced));
                self.is_done = self.data_bytes.is_none() && value == b"[DONE]";
                // The lines of the data are joined by one byte each.
                self.data_bytes =
                    Some(self.data_bytes.map_or(value_bytes, |before| before + 1 + value_bytes));
            }
            b"retry" => self.retry = Some(String::from_utf8_lossy(value).into_owned()),
            b"event" => self.name = Some(String::from_utf8_lossy(value).into_owned()),
            b"id" if !value.contains(&0) => {
                self.id = Some(String::from_utf8_lossy(value).into_owned());
            }
            _ => {}
        }
        None
    }
}

/// What the first line of a body of unknown type says: a field of an event stream, or a whole
/// object of JSON. An object that is spread over lines has not its last brace on the first.
fn guess(line: &[u8], length: u64) -> Mode {
    let is_field =
        |name: &[u8]| line.strip_prefix(name).is_some_and(|rest| rest.first() == Some(&b':'));
    if line.first() == Some(&b':')
        || [b"data".as_slice(), b"event", b"id", b"retry"].into_iter().any(is_field)
    {
        return Mode::Sse;
    }
    let is_closed = line.last() == Some(&b'}') || length > line.len() as u64;
    if line.first() == Some(&b'{') && is_closed { Mode::Lines } else { Mode::Opaque }
}
