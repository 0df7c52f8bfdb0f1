//! Reads the answer's chunks into words; no I/O.

mod chunk;

use std::mem;

use engine::provider::{Blame, Failure, Finish, Word};
use serde_json::Value;

use self::chunk::{Candidate, Chunk, FunctionCall, Part};
use super::super::body::{Grammar, Said};
use super::super::fault::Reported;
use super::{SIGNATURE, refusal};

/// What was read of one answer so far.
#[derive(Debug, Default)]
pub(super) struct Chunks {
    calls: u64,
    is_finish_said: bool,
}

impl Grammar for Chunks {
    fn event(&mut self, _name: Option<&str>, data: &[u8], said: &mut Said) {
        let data = data.trim_ascii();
        let before = said.len();
        match data {
            // Relays of other APIs send them: an end that proves nothing, and keep-alives (Vertex: `data: : keepalive`).
            _ if data.starts_with(b"[DONE]") => said.over(),
            [] | [b':', ..] => {}
            _ => self.read(data, said),
        }
        if said.len() == before && !said.is_over() {
            said.word(Word::KeepAlive);
        }
    }

    /// Without `alt=sse` the answer is a list of chunks; an error may be in a list too.
    fn document(&mut self, document: &[u8], said: &mut Said) {
        match serde_json::from_slice::<Value>(document) {
            Ok(value) => self.value(value, said),
            Err(error) if error.is_eof() => said.fail(said.callee.cut()),
            Err(_) => said.invalid_data("sent something that is no answer of Gemini"),
        }
    }
}

impl Chunks {
    fn read(&mut self, data: &[u8], said: &mut Said) {
        match serde_json::from_slice::<Chunk>(data) {
            Ok(chunk) => self.chunk(chunk, said),
            Err(_) => match serde_json::from_slice::<Value>(data) {
                Ok(value) if value.is_array() => self.value(value, said),
                Ok(_) | Err(_) => said.invalid_data("sent something that is no answer of Gemini"),
            },
        }
    }

    fn value(&mut self, value: Value, said: &mut Said) {
        let chunks = if let Value::Array(chunks) = value { chunks } else { vec![value] };
        for chunk in chunks {
            match serde_json::from_value(chunk) {
                Ok(chunk) => self.chunk(chunk, said),
                Err(_) => said.invalid_data("sent something that is no answer of Gemini"),
            }
        }
    }

    fn chunk(&mut self, chunk: Chunk, said: &mut Said) {
        if let Some(error) = chunk.error.as_ref().filter(|error| error.is_object()) {
            return said.fail(refusal::in_band(&said.callee, error));
        }
        let usage = chunk.usage();
        // Weir asks for one candidate.
        let candidate = chunk.candidates.unwrap_or_default().into_iter().find(|candidate| candidate.index.unwrap_or(0) == 0);
        let mut candidate = candidate.unwrap_or_default();
        self.parts(&mut candidate, said);
        if let Some(usage) = usage {
            said.word(Word::Usage(usage));
        }
        if let Some(reason) = candidate.finish_reason.as_deref() {
            self.finish_reason(reason, candidate.finish_message.as_deref(), said);
        }
        if let Some(feedback) = chunk.prompt_feedback.filter(|feedback| feedback.block_reason.is_some()) {
            // The question was blocked, and there is no answer. This is how an answer ends that a filter held back, no failure:
            // asking again would give the same. The model itself said nothing; only Google's sentence, if any, is passed on.
            if let Some(message) = feedback.block_reason_message.filter(|message| !message.is_empty()) {
                said.word(Word::Refusal(message));
            }
            self.finish(Finish::ContentFilter, said);
        }
    }

    fn parts(&mut self, candidate: &mut Candidate, said: &mut Said) {
        let mut logprobs = candidate.logprobs();
        for part in candidate.content.take().unwrap_or_default().parts.unwrap_or_default() {
            let Part { text, thought, thought_signature, function_call } = part;
            let text = text.filter(|text| !text.is_empty());
            if let (Some(true), Some(text)) = (thought, &text) {
                said.word(Word::Reasoning(text.clone()));
            }
            if let Some(signature) = thought_signature.filter(|signature| !signature.is_empty()) {
                // It has to come back in this part: said before it, it is read so by the request.
                said.word(Word::ReasoningEnd { encrypted: format!("{SIGNATURE}{signature}") });
            }
            if let (None | Some(false), Some(text)) = (thought, text) {
                said.word(Word::Text { text, logprobs: mem::take(&mut logprobs) });
            }
            if let Some(call) = function_call {
                self.call(call, said);
            }
        }
    }

    /// Calls come whole.
    fn call(&mut self, call: FunctionCall, said: &mut Said) {
        let arguments = call.args.filter(Value::is_object).map_or_else(|| "{}".to_owned(), |arguments| arguments.to_string());
        let id = call.id.filter(|id| !id.is_empty());
        said.word(Word::ToolCall { index: self.calls, id, name: call.name, arguments });
        self.calls += 1;
    }

    fn finish_reason(&mut self, reason: &str, message: Option<&str>, said: &mut Said) {
        let finish = match reason {
            "" => return,
            "STOP" => Finish::Stop,
            "MAX_TOKENS" | "CONTINUATION" => Finish::Length,
            "SAFETY" | "RECITATION" | "BLOCKLIST" | "PROHIBITED_CONTENT" | "SPII" | "ESCALATION" | "MODEL_ARMOR" => Finish::ContentFilter,
            reason if reason.starts_with("IMAGE_") => Finish::ContentFilter,
            "MALFORMED_FUNCTION_CALL" => return fail("wrote a function call that nobody can read", reason, message, said),
            "UNEXPECTED_TOOL_CALL" => return fail("called a function that there is none of", reason, message, said),
            "TOO_MANY_TOOL_CALLS" => return fail("called too many functions in one answer", reason, message, said),
            "MALFORMED_RESPONSE" => return fail("wrote an answer that nobody can read", reason, message, said),
            "MISSING_THOUGHT_SIGNATURE" => {
                return fail("lacks the signature of an earlier thought in this conversation", reason, message, said);
            }
            "PUP_LIMITED_DISABLED" => {
                let fault =
                    said.callee.told("upstream_account_limited", "has limited or closed this server's account", &reported(reason, message));
                return said.fail(Failure::new(fault, Blame::Key));
            }
            other => Finish::Other(other.to_owned()),
        };
        // Why the filter held back the rest, where Google says it: in its words, as with a question that was blocked.
        if let (Finish::ContentFilter, Some(message), false) = (&finish, message.filter(|message| !message.is_empty()), self.is_finish_said)
        {
            said.word(Word::Refusal(message.to_owned()));
        }
        self.finish(finish, said);
    }

    /// Older models give a reason with every chunk.
    fn finish(&mut self, finish: Finish, said: &mut Said) {
        if !mem::replace(&mut self.is_finish_said, true) {
            said.word(Word::Finish(finish));
        }
    }
}

/// The answer is of no use: the model went astray in it, and may not the next time.
fn fail(what: &str, reason: &str, message: Option<&str>, said: &mut Said) {
    let fault = said.callee.told("upstream_error", what, &reported(reason, message));
    said.fail(Failure::upstream(fault));
}

fn reported(reason: &str, message: Option<&str>) -> Reported {
    Reported { message: message.map(str::to_owned), kind: Some(reason.to_owned()), ..Reported::default() }
}

#[cfg(test)]
mod tests;
