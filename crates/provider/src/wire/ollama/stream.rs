//! Reads the answer's lines into words; no I/O.

use engine::provider::event::{Finish, OpaqueStep, ToolCallDelta, Word};
use engine::provider::failure::{Blame, Failure};
use protocol::usage::{InputTokensDetails, Usage, UsageSource};
use serde::Deserialize;
use serde_json::{Map, Value};

use super::super::body::Grammar;
use super::super::fault::{Reported, is_truthy};
use super::super::finish::{self, Verdict};
use super::super::repeat::SoFar;
use super::super::said::Said;
use super::super::shared::image_call;
use super::super::{json, lenient};

/// What was read of one response so far.
#[derive(Debug, Default)]
pub(super) struct Lines {
    calls: u64,
    images: u64,
    has_said: bool,
    text: SoFar,
    thoughts: SoFar,
}

/// A line of a response, or the whole of one. Any field may be missing or of another type; unknown ones are ignored.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Line {
    #[serde(deserialize_with = "lenient::object")]
    message: Option<Message>,
    /// In place of the message: the text of a text completion.
    #[serde(deserialize_with = "lenient::text")]
    response: Option<String>,
    logprobs: Value,
    #[serde(deserialize_with = "lenient::flag")]
    done: Option<bool>,
    #[serde(deserialize_with = "lenient::text")]
    done_reason: Option<String>,
    /// Also the cached tokens are in it.
    #[serde(deserialize_with = "lenient::index")]
    prompt_eval_count: Option<u64>,
    #[serde(deserialize_with = "lenient::index")]
    prompt_eval_cached_count: Option<u64>,
    #[serde(deserialize_with = "lenient::index")]
    eval_count: Option<u64>,
    error: Value,
    /// Beside an error of a model in Ollama's cloud.
    status: Value,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Message {
    #[serde(deserialize_with = "lenient::text")]
    content: Option<String>,
    #[serde(deserialize_with = "lenient::text")]
    thinking: Option<String>,
    #[serde(deserialize_with = "lenient::list")]
    tool_calls: Option<Vec<ToolCall>>,
    /// Images that the model made, in base64.
    images: Value,
    /// What Weir does not interpret.
    #[serde(flatten)]
    other: Map<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct ToolCall {
    /// Newer servers give one.
    #[serde(deserialize_with = "lenient::text")]
    id: Option<String>,
    #[serde(deserialize_with = "lenient::object")]
    function: Option<Function>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Function {
    #[serde(deserialize_with = "lenient::text")]
    name: Option<String>,
    arguments: Value,
}

impl Grammar for Lines {
    const HAS_LINES: bool = true;

    fn event(&mut self, _name: Option<&str>, data: &[u8], said: &mut Said) {
        let read = json::read_all(data, |value: Value| {
            // An error of something in between speaks another language.
            let is_message = |message: &Value| ["role", "content", "thinking", "tool_calls"].iter().any(|name| message.get(name).is_some());
            let is_line = value.get("message").is_some_and(is_message)
                || value.get("response").is_some_and(Value::is_string)
                || value.get("error").is_some_and(is_truthy);
            // A text is often a label, and the sentence stands beside it.
            if is_line && value.get("error").is_some_and(|error| is_truthy(error) && !error.is_object()) {
                said.fail_if_error(&value);
            } else if is_line || !said.fail_if_error(&value) {
                self.line(serde_json::from_value(value).unwrap_or_default(), said);
            }
        });
        if read.is_err() {
            said.invalid_data("sent something that is no line of a chat");
        }
    }

    fn document(&mut self, document: &[u8], said: &mut Said) {
        // Everything that it says begins with a brace, and so is lines; an error of something in between may be a list.
        self.event(None, document, said);
        if said.len() == 0 && !said.is_over() {
            said.invalid_data("sent something that is no line of a chat");
        }
    }
}

impl Lines {
    fn line(&mut self, line: Line, said: &mut Said) {
        let before = said.len();
        if is_truthy(&line.error) {
            let reported = Reported::from_error(&line.error);
            let status = reported.status.or_else(|| read_status(&line.status));
            return said.fail(said.callee.in_band(Reported { status, ..reported }));
        }
        let usage = usage(&line);
        let is_last = line.done == Some(true);
        let of_text = |text| Message { content: Some(text), ..Message::default() };
        if let Some(message) = line.message.or_else(|| line.response.map(of_text)) {
            let logprobs = if let Value::Array(logprobs) = line.logprobs { logprobs } else { Vec::new() };
            self.message(message, logprobs, is_last, said);
        }
        if is_last {
            if let Some(usage) = usage {
                said.word(Word::Usage(usage));
            }
            self.end(line.done_reason.as_deref().unwrap_or_default(), said);
        } else if said.len() == before {
            said.word(Word::KeepAlive);
        }
    }

    fn message(&mut self, message: Message, logprobs: Vec<Value>, is_last: bool, said: &mut Said) {
        let before = said.len();
        // Some relays repeat all of it with the last line.
        let is_new = |so_far: &SoFar, text: &String| !(text.is_empty() || is_last && so_far.is_summary(text));
        if let Some(thought) = message.thinking.filter(|text| is_new(&self.thoughts, text)) {
            self.thoughts.add(&thought);
            said.word(Word::Reasoning(thought));
        }
        if let Some(text) = message.content.filter(|text| is_new(&self.text, text)) {
            self.text.add(&text);
            said.word(Word::Text { text, logprobs });
        }
        for image in message.images.as_array().into_iter().flatten().filter_map(Value::as_str) {
            // Keys of calls are their indices; those of images come after all of them.
            let (key, item) = (u64::MAX - self.images, image_call(&format!("data:image/png;base64,{image}")));
            self.images += 1;
            said.word(Word::Item(OpaqueStep::Done { key, item }));
        }
        for call in message.tool_calls.unwrap_or_default() {
            let function = call.function.unwrap_or_default();
            let arguments = match function.arguments {
                Value::String(text) => text,
                Value::Null => String::new(),
                whole => whole.to_string(),
            };
            let present = |text: Option<String>| text.filter(|text| !text.is_empty());
            let (index, id, name) = (self.calls, present(call.id), present(function.name));
            said.word(Word::ToolCall(ToolCallDelta { index, id, name, arguments, ..ToolCallDelta::default() }));
            self.calls += 1;
        }
        self.has_said |= said.len() > before;
        let known = ["role", "tool_name", "tool_call_id"];
        let says_something = |value: &Value| value.is_boolean() || value.is_number() || is_truthy(value);
        let other: Map<String, Value> =
            message.other.into_iter().filter(|(name, value)| !known.contains(&name.as_str()) && says_something(value)).collect();
        said.words((!other.is_empty()).then_some(Word::Extra(other)));
    }

    /// The last line. Older servers give no reason.
    fn end(&self, reason: &str, said: &mut Said) {
        match (reason, finish::read(reason)) {
            // It was asked for nothing, so it has but loaded (or dropped) its model. That is no answer.
            ("load" | "unload", _) if !self.has_said => {
                let what = "answered nothing: to Ollama, a conversation without a message of the user only asks it to load the model";
                let fault = said.callee.plain("upstream_no_answer", what).fault;
                said.fail(Failure::new(fault, Blame::Match));
            }
            ("" | "load" | "unload", _) | (_, Verdict::Absent) => said.word(Word::Finish(Finish::Stop)),
            (_, Verdict::Finish(finish)) => said.word(Word::Finish(finish)),
            (_, Verdict::Failed) => {
                let what = format!("stopped in the middle of the response (done_reason '{reason}')");
                said.fail(said.callee.plain("upstream_error", &what));
            }
        }
        said.over();
    }
}

fn read_status(status: &Value) -> Option<u16> {
    lenient::read_count(status).and_then(|status| u16::try_from(status).ok()).filter(|status| (400..600).contains(status))
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
