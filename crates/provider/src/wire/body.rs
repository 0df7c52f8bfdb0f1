//! Finds events, lines or a document in a body, however its bytes are split, and has a [`Grammar`] read them.

use std::collections::VecDeque;
use std::mem;

use engine::provider::{Failure, Word};
use protocol::frame::{ndjson, sse};

use super::Reader;
use super::fault::Callee;

/// The longest event, or the longest answer that is no stream: room for a whole picture in one delta.
pub(super) const MAX_EVENT_BYTES: usize = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// What one wire's events mean.
pub(super) trait Grammar: Send {
    /// Whether a body of JSON is a stream of lines (NDJSON). Otherwise it is one document, read at its end.
    const HAS_LINES: bool = false;

    /// Reads the data of an event, or a line.
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut Said);

    /// An event, or a line, that lacks its end: the body ended there. Whether it is whole, only its JSON can tell; where it
    /// is not, the body was cut in it, which the missing finish reason says.
    fn last_event(&mut self, name: Option<&str>, data: &[u8], said: &mut Said) {
        let data = data.trim_ascii();
        if data.first() != Some(&b'{') || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() {
            self.event(name, data, said);
        }
    }

    /// Reads a whole body that was no stream: the answer of a relay that ignores `stream`, or an error.
    fn document(&mut self, document: &[u8], said: &mut Said);
}

/// What a grammar has read.
#[derive(Debug)]
pub(super) struct Said {
    /// Whom faults name.
    pub(super) callee: Callee,
    words: VecDeque<Result<Word, Failure>>,
    is_over: bool,
}

impl Said {
    /// Says a word.
    pub(super) fn word(&mut self, word: Word) {
        if !self.is_over {
            self.words.push_back(Ok(word));
        }
    }

    /// Says words.
    pub(super) fn words(&mut self, words: impl IntoIterator<Item = Word>) {
        for word in words {
            self.word(word);
        }
    }

    /// Ends with a failure. Only the first is said.
    pub(super) fn fail(&mut self, failure: Failure) {
        if !matches!(self.words.back(), Some(Err(_))) {
            self.words.push_back(Err(failure));
        }
        self.is_over = true;
    }

    /// Ends because what came is not what it should be: `what` goes on behind the upstream's name.
    pub(super) fn invalid_data(&mut self, what: &str) {
        self.fail(self.callee.plain("upstream_invalid_data", what));
    }

    /// Nothing more can come.
    pub(super) fn over(&mut self) {
        self.is_over = true;
    }

    /// Whether nothing more can come.
    pub(super) fn is_over(&self) -> bool {
        self.is_over
    }

    /// How many words wait to be taken.
    pub(super) fn len(&self) -> usize {
        self.words.len()
    }
}

/// A [`Reader`] of bodies in one grammar.
#[derive(Debug)]
pub(super) struct Reading<G> {
    grammar: G,
    said: Said,
    body: Body,
}

/// What kind of body it is. Content types lie, so the first byte decides: no event stream begins with a brace.
#[derive(Debug)]
enum Body {
    /// Nothing yet, or a part of a byte order mark.
    Begin(Vec<u8>),
    /// Nothing but white space so far.
    Unknown,
    Events(sse::Decoder),
    Lines(ndjson::Decoder),
    Document(Vec<u8>),
    /// It has ended.
    Over,
}

impl<G: Grammar> Reading<G> {
    /// A reader of one answer.
    pub(super) fn new(grammar: G, callee: Callee) -> Self {
        Self { grammar, said: Said { callee, words: VecDeque::new(), is_over: false }, body: Body::Begin(Vec::new()) }
    }

    /// Takes the mark off, once it can be told whether there is one: it may come in pieces.
    fn begin(&mut self) {
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
            b'{' if G::HAS_LINES => Body::Lines(ndjson::Decoder::new(MAX_EVENT_BYTES)),
            b'{' | b'[' => Body::Document(Vec::new()),
            // A page of HTML: a proxy's login, or a wrong address.
            b'<' => return self.said.invalid_data("sent a page of HTML instead of an answer"),
            _ => Body::Events(sse::Decoder::new(MAX_EVENT_BYTES)),
        };
        // White space at the start of a stream is empty lines.
        self.push(&bytes[start..]);
    }

    /// Reads what the decoder has found next; `false` when it needs more bytes.
    fn read_next(&mut self) -> bool {
        match &mut self.body {
            Body::Events(decoder) => match decoder.next_event() {
                None => return false,
                Some(Ok(sse::Decoded::Comment)) => self.said.word(Word::KeepAlive),
                Some(Ok(sse::Decoded::Event(event))) => self.grammar.event(event.name.as_deref(), &event.data, &mut self.said),
                Some(Err(_)) => self.too_large(),
            },
            Body::Lines(decoder) => match decoder.next_event() {
                None => return false,
                Some(Ok(ndjson::Decoded::Heartbeat)) => self.said.word(Word::KeepAlive),
                Some(Ok(ndjson::Decoded::Line(line))) => self.grammar.event(None, &line, &mut self.said),
                Some(Err(_)) => self.too_large(),
            },
            Body::Begin(_) | Body::Unknown | Body::Document(_) | Body::Over => return false,
        }
        true
    }

    fn too_large(&mut self) {
        self.said.fail(self.said.callee.plain("upstream_event_too_large", "sent an event of more than 8 MiB"));
    }
}

impl<G: Grammar> Reader for Reading<G> {
    fn push(&mut self, bytes: &[u8]) {
        if self.said.is_over {
            return;
        }
        match &mut self.body {
            Body::Begin(held) => {
                held.extend_from_slice(bytes);
                self.begin();
            }
            Body::Unknown => self.recognise(bytes),
            Body::Events(decoder) => decoder.push(bytes),
            Body::Lines(decoder) => decoder.push(bytes),
            Body::Document(document) if document.len() + bytes.len() > MAX_EVENT_BYTES => self.too_large(),
            Body::Document(document) => document.extend_from_slice(bytes),
            Body::Over => {}
        }
    }

    fn next_word(&mut self) -> Option<Result<Word, Failure>> {
        loop {
            if let Some(word) = self.said.words.pop_front() {
                return Some(word);
            }
            if self.said.is_over || !self.read_next() {
                return None;
            }
        }
    }

    fn finish(&mut self) {
        if self.said.is_over {
            return;
        }
        match mem::replace(&mut self.body, Body::Over) {
            Body::Begin(_) | Body::Unknown | Body::Over => {}
            Body::Events(mut decoder) => {
                if let Some(event) = decoder.finish() {
                    self.grammar.last_event(event.name.as_deref(), &event.data, &mut self.said);
                }
            }
            Body::Lines(mut decoder) => {
                if let Some(line) = decoder.finish() {
                    self.grammar.last_event(None, &line, &mut self.said);
                }
            }
            Body::Document(document) => self.grammar.document(&document, &mut self.said),
        }
        self.said.is_over = true;
    }

    fn is_over(&self) -> bool {
        self.said.is_over
    }
}
