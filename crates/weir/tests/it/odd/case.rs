//! A case: the bytes an upstream sends, and what every caller gets.

use fakes::{Script, Vendor};
use serde_json::Value;

use crate::scenarios::content::{ContentToolCall, ResponseContent};
use crate::scenarios::table::{ExpectedOutcome, ExpectedUsage, Scenario};

/// The usage in most cases.
pub(super) const USAGE: &str =
    r#"{"choices":[],"usage":{"prompt_tokens":9,"completion_tokens":2,"total_tokens":11}}"#;

pub(super) const STOP: ExpectedOutcome = ExpectedOutcome::Completed("stop");
pub(super) const CALLS: ExpectedOutcome = ExpectedOutcome::Completed("tool_calls");
pub(super) const LENGTH: ExpectedOutcome =
    ExpectedOutcome::Incomplete("max_output_tokens", "length");
pub(super) const FILTERED: ExpectedOutcome =
    ExpectedOutcome::Incomplete("content_filter", "content_filter");
pub(super) const UNKNOWN: ExpectedOutcome =
    ExpectedOutcome::Incomplete("unknown_finish_reason", "length");

/// The bytes an upstream sends, and what every caller gets.
pub(super) struct OddCase {
    pub(super) scenario: Scenario,
    /// The upstream's API.
    pub(super) wire: Vendor,
    /// Parts of the error's message.
    pub(super) words: Vec<&'static str>,
    /// Other contents of a response, by path.
    pub(super) in_response: Vec<(&'static str, Value)>,
    /// Other contents of a chat message, by path.
    pub(super) in_message: Vec<(&'static str, Value)>,
    /// How often the upstream is called for one response.
    pub(super) asked: usize,
}

impl OddCase {
    pub(super) fn new(
        name: impl Into<String>,
        script: Script,
        said: ResponseContent,
        outcome: ExpectedOutcome,
        cost: ExpectedUsage,
    ) -> Self {
        let scenario = Scenario { name: name.into(), script, said, outcome, cost };
        Self {
            scenario,
            wire: Vendor::OpenAi,
            words: Vec::new(),
            in_response: Vec::new(),
            in_message: Vec::new(),
            asked: 1,
        }
    }

    /// The case with another API.
    pub(super) fn on(self, wire: Vendor) -> Self {
        Self { wire, ..self }
    }

    /// The case with this usage.
    pub(super) fn costs(mut self, cost: ExpectedUsage) -> Self {
        self.scenario.cost = cost;
        self
    }

    /// The case with `value` in the response and in the chat message, at these paths.
    pub(super) fn beside(
        self,
        response: &'static str,
        message: &'static str,
        value: Value,
    ) -> Self {
        self.beside_each((response, value.clone()), (message, value))
    }

    /// The case with separate values in the response and in the chat message.
    pub(super) fn beside_each(
        mut self,
        response: (&'static str, Value),
        message: (&'static str, Value),
    ) -> Self {
        self.in_response.push(response);
        self.in_message.push(message);
        self
    }
}

/// A complete response with the usage of [`USAGE`].
pub(super) fn whole(name: impl Into<String>, script: Script, said: ResponseContent) -> OddCase {
    let outcome = if said.calls.is_empty() { STOP } else { CALLS };
    OddCase::new(name, script, said, outcome, ExpectedUsage::Provider(9, 2, 0))
}

/// A failure before any output.
pub(super) fn refused(
    name: impl Into<String>,
    script: Script,
    status: u16,
    code: &'static str,
    words: &[&'static str],
) -> OddCase {
    let outcome = ExpectedOutcome::Fails { status, code, after_output: false };
    OddCase {
        words: words.to_vec(),
        ..OddCase::new(name, script, ResponseContent::default(), outcome, ExpectedUsage::Unknown)
    }
}

/// A failure after this text.
pub(super) fn failed(
    name: impl Into<String>,
    script: Script,
    text: &str,
    (status, code): (u16, &'static str),
    words: &[&'static str],
) -> OddCase {
    let outcome = ExpectedOutcome::Fails { status, code, after_output: true };
    OddCase {
        words: words.to_vec(),
        ..OddCase::new(name, script, ResponseContent::text(text), outcome, ExpectedUsage::Counted)
    }
}

/// A chunk with one choice and this delta.
pub(super) fn c(delta: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{delta}}}]}}"#)
}

/// A chunk with this finish reason.
pub(super) fn f(reason: &str) -> String {
    format!(r#"{{"choices":[{{"index":0,"delta":{{}},"finish_reason":"{reason}"}}]}}"#)
}

/// A chunk with one piece of a tool call.
pub(super) fn call(piece: &str) -> String {
    c(&format!(r#"{{"tool_calls":[{piece}]}}"#))
}

/// A stream of chat completions: each chunk after `data: ` and followed by a blank line, `[DONE]` at the end.
pub(super) fn chunks<T: AsRef<str>>(chunks: impl IntoIterator<Item = T>) -> Script {
    let data = chunks
        .into_iter()
        .fold(Script::new(), |script, chunk| script.raw(format!("data: {}\n\n", chunk.as_ref())));
    data.raw("data: [DONE]\n\n")
}

/// A call as the caller gets it; without an id if the upstream sent none.
pub(super) fn called(id: &str, name: &str, arguments: &str) -> ContentToolCall {
    ContentToolCall { id: id.into(), name: name.into(), arguments: arguments.into() }
}

/// Only calls.
pub(super) fn only_calls(calls: Vec<ContentToolCall>) -> ResponseContent {
    ResponseContent { calls, ..ResponseContent::default() }
}
