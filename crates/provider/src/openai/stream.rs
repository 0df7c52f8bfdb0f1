//! Reads the body of an answer into words, however its bytes are split; no I/O.

use std::collections::VecDeque;
use std::mem;

use engine::provider::{Finish, UPSTREAM_CUT, Word};
use protocol::fault::Fault;
use protocol::frame::sse::{Decoded, Decoder, Event};
use serde_json::Value;

use super::chunk::{CallPiece, Chunk, Content, Delta};
use super::fault::{Reported, Upstream, is_truthy};

/// The longest event, or the longest answer that is no stream: room for a whole picture in one delta.
const MAX_EVENT_BYTES: usize = 8 << 20;

const BYTE_ORDER_MARK: &[u8] = b"\xEF\xBB\xBF";

/// A push parser: give it bytes as they come, then take words until there are none. It makes no `Finish` up: whether the
/// answer is whole is for its reader to say (promise 4). After an error it has nothing more to say.
#[derive(Debug)]
pub(super) struct Reader {
    upstream: Upstream,
    body: Body,
    words: VecDeque<Result<Word, Fault>>,
    calls: Calls,
    is_finish_said: bool,
}

/// What kind of body it is. Content types lie, so the first byte decides: no event stream begins with a brace.
#[derive(Debug)]
enum Body {
    /// Nothing yet, or a part of a byte order mark.
    Begin(Vec<u8>),
    /// Nothing but white space so far.
    Unknown,
    Events(Decoder),
    /// One JSON object, or one per line: a relay that ignores `stream`.
    Document(Vec<u8>),
    /// `[DONE]` or an error came.
    Over,
}

impl Reader {
    /// A reader of one answer.
    pub(super) fn new(upstream: Upstream) -> Self {
        Self { upstream, body: Body::Begin(Vec::new()), words: VecDeque::new(), calls: Calls::default(), is_finish_said: false }
    }

    /// Takes the next bytes. Call [`Self::next_word`] until `None` before the next push.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        match &mut self.body {
            Body::Begin(held) => {
                held.extend_from_slice(bytes);
                self.begin();
            }
            Body::Unknown => self.recognise(bytes),
            Body::Events(decoder) => decoder.push(bytes),
            Body::Document(document) if document.len() + bytes.len() > MAX_EVENT_BYTES => self.too_large(),
            Body::Document(document) => document.extend_from_slice(bytes),
            Body::Over => {}
        }
    }

    /// The next word; `None` when more bytes are needed, or nothing more can come.
    pub(super) fn next_word(&mut self) -> Option<Result<Word, Fault>> {
        loop {
            if let Some(word) = self.words.pop_front() {
                return Some(word);
            }
            let Body::Events(decoder) = &mut self.body else { return None };
            match decoder.next_event()? {
                Ok(Decoded::Event(event)) => self.event(&event),
                Ok(Decoded::Comment) => return Some(Ok(Word::KeepAlive)),
                Err(_) => self.too_large(),
            }
        }
    }

    /// The body has ended. What is left then comes by [`Self::next_word`].
    pub(super) fn finish(&mut self) {
        match mem::replace(&mut self.body, Body::Over) {
            Body::Begin(_) | Body::Unknown | Body::Over => {}
            Body::Events(mut decoder) => {
                if let Some(event) = decoder.finish() {
                    self.last_event(&event);
                }
            }
            Body::Document(document) => self.document(&document),
        }
    }

    /// Whether nothing more can come: `[DONE]` or an error was read.
    pub(super) fn is_over(&self) -> bool {
        matches!(self.body, Body::Over)
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
        match bytes[start] {
            b'{' | b'[' => self.body = Body::Document(Vec::new()),
            // A page of HTML: a proxy's login, or a wrong address.
            b'<' => return self.invalid_data("sent a page of HTML instead of an answer"),
            _ => self.body = Body::Events(Decoder::new(MAX_EVENT_BYTES)),
        }
        // White space at the start of a stream is empty lines.
        self.push(&bytes[start..]);
    }

    fn event(&mut self, event: &Event) {
        let data = event.data.trim_ascii();
        if data.starts_with(b"[DONE]") {
            self.body = Body::Over;
        } else if data.is_empty() || data.starts_with(b":") {
            // Vertex sends `data: : keepalive`, others `data:` alone.
            self.words.push_back(Ok(Word::KeepAlive));
        } else if event.name.as_deref() == Some("error") {
            self.error_event(data);
        } else {
            match serde_json::from_slice(data) {
                Ok(chunk) => self.chunk(chunk),
                Err(_) => self.invalid_data("sent something that is no chat completion"),
            }
        }
    }

    /// An event without its blank line: whole if its JSON is; otherwise the body was cut in it, which the missing finish
    /// reason says.
    fn last_event(&mut self, event: &Event) {
        let data = event.data.trim_ascii();
        if data.first() != Some(&b'{') || serde_json::from_slice::<serde::de::IgnoredAny>(data).is_ok() {
            self.event(event);
        }
    }

    /// `event: error`, whose data may be the error itself.
    fn error_event(&mut self, data: &[u8]) {
        let mut reported = Reported::from_body(data);
        if reported == Reported::default() {
            reported = Reported::from_error(&Value::String(String::from_utf8_lossy(data).into_owned()));
        }
        self.fail(self.upstream.in_band(reported));
    }

    fn document(&mut self, document: &[u8]) {
        if document.starts_with(b"[") {
            // Gemini's compatible mode puts an error into a list.
            return self.error_event(document);
        }
        for chunk in serde_json::Deserializer::from_slice(document).into_iter::<Chunk>() {
            match chunk {
                Ok(chunk) => self.chunk(chunk),
                Err(error) if error.is_eof() => return self.fail(cut(&self.upstream)),
                Err(_) => return self.invalid_data("sent something that is no chat completion"),
            }
        }
    }

    fn chunk(&mut self, mut chunk: Chunk) {
        let before = self.words.len();
        let usage = chunk.usage();
        // Weir asks for one choice; what others may come are not part of the answer.
        let choice = chunk.choices.take().unwrap_or_default().into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
        if let Some(mut choice) = choice {
            let logprobs = choice.take_logprobs();
            if let Some(delta) = choice.delta.or(choice.message) {
                self.delta(delta, logprobs);
            }
            self.words.extend(usage.map(|usage| Ok(Word::Usage(usage))));
            if let Some(reason) = choice.finish_reason {
                self.finish_reason(&reason, chunk.error.as_ref());
            }
        } else {
            self.words.extend(usage.map(|usage| Ok(Word::Usage(usage))));
        }
        if let Some(error) = chunk.error.filter(is_truthy) {
            self.fail(self.upstream.in_band(Reported::from_error(&error)));
        }
        if self.words.len() == before && !self.is_over() {
            self.words.push_back(Ok(Word::KeepAlive));
        }
    }

    fn delta(&mut self, mut delta: Delta, logprobs: Vec<Value>) {
        let (said, thought) = delta.content.take().map(Content::split).unwrap_or_default();
        let thought = delta.reasoning().unwrap_or(thought);
        if !thought.is_empty() {
            self.words.push_back(Ok(Word::Reasoning(thought)));
        }
        if !said.is_empty() {
            self.words.push_back(Ok(Word::Text { text: said, logprobs }));
        }
        if let Some(refusal) = delta.refusal.filter(|refusal| !refusal.is_empty()) {
            self.words.push_back(Ok(Word::Refusal(refusal)));
        }
        let legacy = delta.function_call.map(|function| CallPiece { function: Some(function), ..CallPiece::default() });
        for piece in delta.tool_calls.unwrap_or_default().into_iter().chain(legacy) {
            self.words.extend(self.calls.read(piece).map(Ok));
        }
    }

    /// Some servers repeat the reason with the usage, and some send `""` until there is one.
    fn finish_reason(&mut self, reason: &str, error: Option<&Value>) {
        let finish = match reason {
            "" | "null" => return,
            "stop" | "tool_calls" | "function_call" => Finish::Stop,
            "length" => Finish::Length,
            "content_filter" => Finish::ContentFilter,
            "error" | "insufficient_system_resource" => {
                // The error itself says more, if there is one.
                if !error.is_some_and(is_truthy) {
                    let what = format!("stopped in the middle of the answer (finish_reason '{reason}')");
                    self.fail(self.upstream.plain("upstream_error", &what));
                }
                return;
            }
            other => Finish::Other(other.to_owned()),
        };
        if !mem::replace(&mut self.is_finish_said, true) {
            self.words.push_back(Ok(Word::Finish(finish)));
        }
    }

    fn too_large(&mut self) {
        self.fail(self.upstream.plain("upstream_event_too_large", "sent an event of more than 8 MiB"));
    }

    fn invalid_data(&mut self, what: &str) {
        self.fail(self.upstream.plain("upstream_invalid_data", what));
    }

    fn fail(&mut self, fault: Fault) {
        if !matches!(self.words.back(), Some(Err(_))) {
            self.words.push_back(Err(fault));
        }
        self.body = Body::Over;
    }
}

/// The body broke off.
pub(super) fn cut(upstream: &Upstream) -> Fault {
    upstream.plain(UPSTREAM_CUT, "closed the connection in the middle of the answer")
}

/// The tool calls of one answer: which piece belongs to which, and what was already said of it.
#[derive(Debug, Default)]
struct Calls(Vec<Call>);

#[derive(Debug, Default)]
struct Call {
    /// The index the upstream gave; not always, and not always its own.
    wire_index: Option<u64>,
    id: Option<String>,
    is_named: bool,
}

impl Calls {
    /// The word for a piece; `None` where it says nothing new.
    fn read(&mut self, piece: CallPiece) -> Option<Word> {
        let mut function = piece.function.unwrap_or_default();
        let id = piece.id.filter(|id| !id.is_empty());
        let name = function.name.take().filter(|name| !name.is_empty());
        let index = self.find(piece.index, id.as_deref(), name.is_some()).unwrap_or_else(|| {
            self.0.push(Call { wire_index: piece.index, ..Call::default() });
            self.0.len() - 1
        });
        let call = &mut self.0[index];
        let arguments = function.arguments();
        // Some servers repeat id and name with every piece; a word says them once.
        let id = if call.id.is_none() { id } else { None };
        let name = if call.is_named { None } else { name };
        call.id = call.id.take().or_else(|| id.clone());
        call.is_named |= name.is_some();
        if id.is_none() && name.is_none() && arguments.is_empty() {
            return None;
        }
        Some(Word::ToolCall { index: index as u64, id, name, arguments })
    }

    /// The call a piece belongs to; `None` for a new one. By index; where there is none, by id; where there is neither,
    /// the last one, unless the piece begins a call by naming it. Some servers give every call the index 0 (Gemini's
    /// compatible mode): another id with a name is another call.
    fn find(&self, wire_index: Option<u64>, id: Option<&str>, has_name: bool) -> Option<usize> {
        let is_other = |call: &Call| has_name && id.is_some() && call.id.is_some() && call.id.as_deref() != id;
        let position = match (wire_index, id) {
            (Some(_), _) => self.0.iter().rposition(|call| call.wire_index == wire_index)?,
            (None, Some(_)) => return self.0.iter().rposition(|call| call.id.as_deref() == id),
            (None, None) => self.0.len().checked_sub(1).filter(|last| !(has_name && self.0[*last].is_named))?,
        };
        (!is_other(&self.0[position])).then_some(position)
    }
}

#[cfg(test)]
mod tests;
