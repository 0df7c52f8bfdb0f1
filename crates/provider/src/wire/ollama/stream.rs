//! Reads the answer's lines into words; no I/O.

use engine::provider::{Blame, Failure, Finish, Word};
use protocol::usage::{InputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::body::{Grammar, Said};
use super::super::fault::{Reported, is_truthy};

/// What was read of one answer so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    calls: u64,
    has_said: bool,
}

/// A line of an answer, or the whole of one. Any field may be missing; unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    message: Option<Message>,
    logprobs: Option<Vec<Value>>,
    done: Option<bool>,
    done_reason: Option<String>,
    /// Also the cached tokens are in it.
    prompt_eval_count: Option<u64>,
    prompt_eval_cached_count: Option<u64>,
    eval_count: Option<u64>,
    error: Value,
    /// Beside an error of a model in Ollama's cloud.
    status: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    content: Option<String>,
    thinking: Option<String>,
    tool_calls: Option<Vec<ToolCall>>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolCall {
    /// Newer servers give one.
    id: Option<String>,
    function: Function,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Function {
    name: Option<String>,
    arguments: Value,
}

impl Grammar for Lines {
    const HAS_LINES: bool = true;

    fn event(&mut self, _name: Option<&str>, data: &[u8], said: &mut Said) {
        match serde_json::from_slice(data) {
            Ok(line) => self.line(line, said),
            Err(_) => said.invalid_data("sent something that is no line of a chat"),
        }
    }

    fn document(&mut self, _document: &[u8], said: &mut Said) {
        // Everything it says begins with a brace, and so is lines.
        said.invalid_data("sent something that is no chat");
    }
}

impl Lines {
    fn line(&mut self, line: Line, said: &mut Said) {
        let before = said.len();
        if is_truthy(&line.error) {
            let status = line.status.as_u64().and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status));
            let reported = Reported::from_error(&line.error);
            return said.fail(said.callee.in_band(Reported { status: reported.status.or(status), ..reported }));
        }
        let usage = usage(&line);
        if let Some(message) = line.message {
            self.message(message, line.logprobs.unwrap_or_default(), said);
        }
        self.has_said |= said.len() > before;
        if line.done == Some(true) {
            if let Some(usage) = usage {
                said.word(Word::Usage(usage));
            }
            self.end(line.done_reason.as_deref().unwrap_or_default(), said);
        } else if said.len() == before {
            said.word(Word::KeepAlive);
        }
    }

    fn message(&mut self, message: Message, logprobs: Vec<Value>, said: &mut Said) {
        if let Some(thought) = message.thinking.filter(|text| !text.is_empty()) {
            said.word(Word::Reasoning(thought));
        }
        if let Some(text) = message.content.filter(|text| !text.is_empty()) {
            said.word(Word::Text { text, logprobs });
        }
        for call in message.tool_calls.unwrap_or_default() {
            let arguments = match call.function.arguments {
                Value::String(text) => text,
                Value::Null => Value::Object(Map::new()).to_string(),
                whole => whole.to_string(),
            };
            let present = |text: Option<String>| text.filter(|text| !text.is_empty());
            said.word(Word::ToolCall { index: self.calls, id: present(call.id), name: present(call.function.name), arguments });
            self.calls += 1;
        }
    }

    /// The last line. Older servers give no reason.
    fn end(&self, reason: &str, said: &mut Said) {
        match reason {
            // It was asked for nothing, so it has but loaded (or dropped) its model. That is no answer.
            "load" | "unload" if !self.has_said => {
                let what = "answered nothing: to Ollama, a conversation without a message of the user only asks it to load the model";
                let fault = said.callee.plain("upstream_no_answer", what).fault;
                said.fail(Failure::new(fault, Blame::Match));
            }
            "" | "stop" | "load" | "unload" => said.word(Word::Finish(Finish::Stop)),
            "length" => said.word(Word::Finish(Finish::Length)),
            other => said.word(Word::Finish(Finish::Other(other.to_owned()))),
        }
        said.over();
    }
}

/// The counts of the last line. Where a server leaves the prompt out because it was cached, half of the usage would be worse than
/// none: Weir counts all of it then.
fn usage(line: &Line) -> Option<Usage> {
    let counted = Usage::new(UsageSource::Provider, line.prompt_eval_count?, line.eval_count?);
    let cached_tokens = line.prompt_eval_cached_count.unwrap_or(0);
    Some(Usage { input_tokens_details: InputTokensDetails { cached_tokens, cache_write_tokens: 0 }, ..counted })
}

#[cfg(test)]
mod tests;
