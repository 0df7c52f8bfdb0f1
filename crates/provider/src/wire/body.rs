//! Splits a body into events, lines or a document, incrementally, and passes them to a [`Grammar`].

use std::mem;

use codec::{ndjson, sse};
use engine::provider::event::ModelEvent;
use engine::provider::failure::ProviderFailure;

use super::fault::{Callee, Reported};
use super::json::{self, Broken};
use super::parsed_output::ParsedOutput;
use super::reader::StreamParser;
use crate::tools::Lifter;

/// The largest event or document: enough for an image in one delta.
pub(super) const MAX_EVENT_BYTES: usize = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// Interprets the events of one API.
pub(super) trait Grammar: Send {
    /// Whether a JSON body is a stream of lines (NDJSON) instead of one document.
    const HAS_LINES: bool = false;

    /// Interprets an event's data or a line: JSON, or the start of it.
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut ParsedOutput);

    /// Interprets an event or line at the end of the body that lacks its terminator. If its JSON is
    /// incomplete, the body was cut off, which the missing finish reason reports.
    fn last_event(&mut self, name: Option<&str>, data: &[u8], said: &mut ParsedOutput) {
        if json::value(data) != Err(Broken::Cut) {
            self.event(name, data, said);
        }
    }

    /// Interprets a body that was not a stream: from a relay that ignores `stream`, or an error.
    fn document(&mut self, document: &[u8], said: &mut ParsedOutput);
}

/// A [`StreamParser`] that finds events and has one grammar interpret them.
#[derive(Debug)]
pub(super) struct BodyParser<G> {
    grammar: G,
    said: ParsedOutput,
    body: Body,
    /// The first bytes, until an event or comment arrives: a body that is not a stream may contain
    /// an error message.
    head: Option<Vec<u8>>,
}

/// How much of a body that is not a stream is searched for a message.
const LONGEST_HEAD: usize = 1024;

/// The format of a body. Content types are unreliable, so the first byte decides: no event stream
/// starts with a brace.
#[derive(Debug)]
enum Body {
    /// Nothing yet, or part of a byte order mark.
    Begin(Vec<u8>),
    /// Only white space so far.
    Unknown,
    Events(sse::SseDecoder),
    Lines(ndjson::NdjsonDecoder),
    Document(Vec<u8>),
    /// The body is over.
    Over,
}

impl<G: Grammar> BodyParser<G> {
    /// A reader of one response.
    pub(super) fn new(grammar: G, callee: Callee, lifter: Lifter) -> Self {
        Self {
            grammar,
            said: ParsedOutput::new(callee, lifter),
            body: Body::Begin(Vec::new()),
            head: Some(Vec::new()),
        }
    }

    /// Removes the byte order mark, which may arrive in pieces.
    fn start(&mut self) {
        let Body::Begin(held) = &mut self.body else { return };
        if held.len() < BYTE_ORDER_MARK.len() && BYTE_ORDER_MARK.starts_with(held) {
            return;
        }
        let held = mem::take(held);
        self.body = Body::Unknown;
        self.recognise(held.strip_prefix(BYTE_ORDER_MARK).unwrap_or(&held));
    }

    fn recognise(&mut self, bytes: &[u8]) {
        let Some(start) = bytes.iter().position(|byte| !byte.is_ascii_whitespace()) else { return };
        self.body = match bytes[start] {
            b'{' if G::HAS_LINES => Body::Lines(ndjson::NdjsonDecoder::new(MAX_EVENT_BYTES)),
            b'{' | b'[' => Body::Document(Vec::new()),
            // HTML: a proxy's login page, or a wrong address.
            b'<' => return self.said.invalid_data("sent an HTML page instead of a response"),
            // SSE fields and comments start with these. Anything else may be an invalid NDJSON
            // line.
            first if G::HAS_LINES && !b"deir:".contains(&first) => {
                Body::Lines(ndjson::NdjsonDecoder::new(MAX_EVENT_BYTES))
            }
            _ => Body::Events(sse::SseDecoder::new(MAX_EVENT_BYTES).splitting_documents()),
        };
        // In an event stream, leading white space is empty lines.
        self.push(&bytes[start..]);
    }

    /// Interprets the decoder's next event; `false` if it needs more bytes.
    fn read_next(&mut self) -> bool {
        match &mut self.body {
            Body::Events(decoder) => match decoder.next_event() {
                None => return false,
                Some(Ok(sse::SseFrame::Comment)) => {
                    self.head = None;
                    self.said.word(ModelEvent::KeepAlive);
                }
                Some(Ok(sse::SseFrame::Event(event))) => {
                    self.event(event.name.as_deref(), &event.data, false);
                }
                Some(Err(_)) => self.too_large(),
            },
            Body::Lines(decoder) => match decoder.next_event() {
                None => return false,
                Some(Ok(ndjson::NdjsonFrame::Heartbeat)) => self.said.word(ModelEvent::KeepAlive),
                Some(Ok(ndjson::NdjsonFrame::Line(line))) => self.event(None, &line, false),
                Some(Err(_)) => self.too_large(),
            },
            Body::Begin(_) | Body::Unknown | Body::Document(_) | Body::Over => return false,
        }
        true
    }

    /// Interprets an event or a line. Anything that is not JSON is not part of a response.
    fn event(&mut self, name: Option<&str>, data: &[u8], is_last: bool) {
        self.head = None;
        let mut data = data.strip_prefix(BYTE_ORDER_MARK).unwrap_or(data).trim_ascii();
        // Chained relays repeat the field name.
        while let Some(inner) = data.strip_prefix(b"data:") {
            data = inner.trim_ascii();
        }
        match data {
            // `[DONE]` alone is no evidence that the response is complete.
            _ if json::is_end(data) => self.said.ended(),
            _ if error_text(data).is_some() => self.error(error_text(data).unwrap_or_default()),
            [b'{' | b'[', ..] if is_last => self.grammar.last_event(name, data, &mut self.said),
            [b'{' | b'[', ..] => self.grammar.event(name, data, &mut self.said),
            [_, ..] if name == Some("error") => self.error(data),
            // Data with an object in it is meant to be content.
            _ if data.contains(&b'{') && !is_other(name) => {
                self.said.invalid_data("sent an event that cannot be parsed");
            }
            // Vertex sends `data: : keepalive`; others send an empty `data:`, a time or a word.
            _ => {
                if !is_other(name) {
                    self.said.note(data);
                }
                self.said.word(ModelEvent::KeepAlive);
            }
        }
    }

    /// An error as text or as JSON.
    fn error(&mut self, words: &[u8]) {
        let reported = Reported::from_body(words);
        self.said.fail(self.said.callee.in_band_or(reported, "reported an unspecified error"));
    }

    fn too_large(&mut self) {
        self.said.fail(
            self.said.callee.plain("upstream_event_too_large", "sent an event of more than 8 MiB"),
        );
    }
}

/// Whether an event has a type of its own, such as `ping`.
fn is_other(name: Option<&str>) -> bool {
    name.is_some_and(|name| name != "message")
}

/// The text after an error prefix: `[ERROR] out of memory`, `error: engine died`.
fn error_text(data: &[u8]) -> Option<&[u8]> {
    let marks: [&[u8]; 2] = [b"[error]", b"error:"];
    let is_marked =
        |mark: &&[u8]| data.len() > mark.len() && data[..mark.len()].eq_ignore_ascii_case(mark);
    let mark = marks.iter().find(|mark| is_marked(mark))?;
    Some(data[mark.len()..].trim_ascii_start())
        .filter(|words| !words.is_empty())
        .map(|words| words.strip_prefix(b":").unwrap_or(words).trim_ascii())
}

/// Whether a body starts with an SSE field.
fn is_field(head: &[u8]) -> bool {
    ["event:", "data:", "id:", "retry:"]
        .iter()
        .any(|field| head.trim_ascii_start().starts_with(field.as_bytes()))
}

impl<G: Grammar> StreamParser for BodyParser<G> {
    fn push(&mut self, bytes: &[u8]) {
        if self.said.is_over() {
            return;
        }
        match &mut self.body {
            Body::Begin(held) => {
                held.extend_from_slice(bytes);
                self.start();
            }
            Body::Unknown => self.recognise(bytes),
            Body::Events(decoder) => {
                if let Some(head) = &mut self.head {
                    let room = LONGEST_HEAD.saturating_sub(head.len());
                    head.extend_from_slice(&bytes[..bytes.len().min(room)]);
                }
                decoder.push(bytes);
            }
            Body::Lines(decoder) => decoder.push(bytes),
            Body::Document(document) if document.len() + bytes.len() > MAX_EVENT_BYTES => {
                self.too_large();
            }
            Body::Document(document) => document.extend_from_slice(bytes),
            Body::Over => {}
        }
    }

    fn next_event(&mut self) -> Option<Result<ModelEvent, ProviderFailure>> {
        loop {
            if let Some(word) = self.said.next() {
                return Some(word);
            }
            if self.said.is_over() || !self.read_next() {
                return None;
            }
        }
    }

    fn finish(&mut self) {
        if self.said.is_over() {
            return;
        }
        match mem::replace(&mut self.body, Body::Over) {
            Body::Begin(_) | Body::Unknown | Body::Over => {}
            Body::Events(mut decoder) => {
                if let Some(event) = decoder.finish() {
                    self.event(event.name.as_deref(), &event.data, true);
                }
                // A body without any event, such as `upstream connect error`.
                if let Some(head) = self.head.take().filter(|head| !is_field(head)) {
                    self.said.note(&head);
                }
            }
            Body::Lines(mut decoder) => {
                if let Some(line) = decoder.finish() {
                    self.event(None, &line, true);
                }
            }
            Body::Document(document) => self.grammar.document(&document, &mut self.said),
        }
        self.said.ended();
    }

    fn is_over(&self) -> bool {
        self.said.is_over()
    }
}
