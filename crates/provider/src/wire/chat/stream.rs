//! Reads the answer's chunks into words; no I/O.

use std::mem;

use engine::provider::{Finish, Word};
use serde_json::Value;

use super::super::body::{Grammar, Said};
use super::super::fault::{Reported, is_truthy};
use super::chunk::{CallPiece, Chunk, Content, Delta};

/// What was read of one answer so far.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    calls: Calls,
    is_finish_said: bool,
}

impl Grammar for Chunks {
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut Said) {
        let data = data.trim_ascii();
        if data.starts_with(b"[DONE]") {
            said.over();
        } else if data.is_empty() || data.starts_with(b":") {
            // Vertex sends `data: : keepalive`, others `data:` alone.
            said.word(Word::KeepAlive);
        } else if name == Some("error") {
            error_event(data, said);
        } else {
            match serde_json::from_slice(data) {
                Ok(chunk) => self.chunk(chunk, said),
                Err(_) => said.invalid_data("sent something that is no chat completion"),
            }
        }
    }

    fn document(&mut self, document: &[u8], said: &mut Said) {
        if document.starts_with(b"[") {
            // Gemini's compatible mode puts an error into a list.
            return error_event(document, said);
        }
        for chunk in serde_json::Deserializer::from_slice(document).into_iter::<Chunk>() {
            match chunk {
                Ok(chunk) => self.chunk(chunk, said),
                Err(error) if error.is_eof() => return said.fail(said.callee.cut()),
                Err(_) => return said.invalid_data("sent something that is no chat completion"),
            }
        }
    }
}

/// `event: error`, whose data may be the error itself.
fn error_event(data: &[u8], said: &mut Said) {
    let mut reported = Reported::from_body(data);
    if reported == Reported::default() {
        reported = Reported::from_error(&Value::String(String::from_utf8_lossy(data).into_owned()));
    }
    said.fail(said.callee.in_band(reported));
}

impl Chunks {
    fn chunk(&mut self, mut chunk: Chunk, said: &mut Said) {
        let before = said.len();
        let usage = chunk.usage();
        // Weir asks for one choice; what others may come are not part of the answer.
        let choice = chunk.choices.take().unwrap_or_default().into_iter().find(|choice| choice.index.unwrap_or(0) == 0);
        if let Some(mut choice) = choice {
            let logprobs = choice.take_logprobs();
            if let Some(delta) = choice.delta.or(choice.message) {
                self.delta(delta, logprobs, said);
            }
            said.words(usage.map(Word::Usage));
            if let Some(reason) = choice.finish_reason {
                self.finish_reason(&reason, chunk.error.as_ref(), said);
            }
        } else {
            said.words(usage.map(Word::Usage));
        }
        if let Some(error) = chunk.error.filter(is_truthy) {
            said.fail(said.callee.in_band(Reported::from_error(&error)));
        }
        if said.len() == before && !said.is_over() {
            said.word(Word::KeepAlive);
        }
    }

    fn delta(&mut self, mut delta: Delta, logprobs: Vec<Value>, said: &mut Said) {
        let (spoken, thought) = delta.content.take().map(Content::split).unwrap_or_default();
        let thought = delta.reasoning().unwrap_or(thought);
        if !thought.is_empty() {
            said.word(Word::Reasoning(thought));
        }
        if !spoken.is_empty() {
            said.word(Word::Text { text: spoken, logprobs });
        }
        if let Some(refusal) = delta.refusal.filter(|refusal| !refusal.is_empty()) {
            said.word(Word::Refusal(refusal));
        }
        let legacy = delta.function_call.map(|function| CallPiece { function: Some(function), ..CallPiece::default() });
        for piece in delta.tool_calls.unwrap_or_default().into_iter().chain(legacy) {
            said.words(self.calls.read(piece));
        }
    }

    /// Some servers repeat the reason with the usage, and some send `""` until there is one.
    fn finish_reason(&mut self, reason: &str, error: Option<&Value>, said: &mut Said) {
        let finish = match reason {
            "" | "null" => return,
            "stop" | "tool_calls" | "function_call" => Finish::Stop,
            "length" => Finish::Length,
            "content_filter" => Finish::ContentFilter,
            "error" | "insufficient_system_resource" => {
                // The error itself says more, if there is one.
                if !error.is_some_and(is_truthy) {
                    let what = format!("stopped in the middle of the answer (finish_reason '{reason}')");
                    said.fail(said.callee.plain("upstream_error", &what));
                }
                return;
            }
            other => Finish::Other(other.to_owned()),
        };
        if !mem::replace(&mut self.is_finish_said, true) {
            said.word(Word::Finish(finish));
        }
    }
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
