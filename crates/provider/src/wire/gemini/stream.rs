//! Parses the response's chunks, without I/O.

mod chunk;

use std::mem;

use engine::provider::event::{Finish, ModelEvent, OpaqueStep, ToolCallDelta};
use engine::provider::failure::{FailureScope, ProviderFailure};
use serde_json::{Map, Value, json};

use self::chunk::{Blob, GeminiCandidate, GeminiChunk, GeminiFunctionCall, GeminiPart};
use super::super::body::Grammar;
use super::super::fault::{Reported, is_truthy};
use super::super::finish::{self, FinishVerdict};
use super::super::json::{self, Broken};
use super::super::parsed_output::ParsedOutput;
use super::super::repeat::SoFar;
use super::super::shared::image_call;
use super::names::{EXTRA_CONTENT, SIGNATURE};
use super::refusal;

/// The state of one response.
#[derive(Debug, Default)]
pub(super) struct GeminiGrammar {
    calls: u64,
    items: u64,
    text: SoFar,
    thoughts: SoFar,
    /// The model's sources.
    sources: Map<String, Value>,
    is_finish_said: bool,
}

impl Grammar for GeminiGrammar {
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut ParsedOutput) {
        let before = said.len();
        if name == Some("error") {
            return said.fail(refusal::in_band_of(&said.callee, data));
        }
        match self.read(data, said) {
            Ok(_) => {}
            Err(Broken::Cut) => said.invalid_data("sent an event with truncated JSON"),
            Err(Broken::Invalid) => {
                said.invalid_data("sent something that is not a Gemini response");
            }
        }
        if said.len() == before && !said.is_over() {
            said.word(ModelEvent::KeepAlive);
        }
    }

    /// Without `alt=sse` the response is a list of chunks; an error may be in a list too.
    fn document(&mut self, document: &[u8], said: &mut ParsedOutput) {
        match self.read(document, said) {
            Err(Broken::Cut) => said.fail(said.callee.cut()),
            Ok(true) => {}
            Ok(false) if said.is_over() => {}
            Ok(false) | Err(Broken::Invalid) => {
                said.invalid_data("sent something that is not a Gemini response");
            }
        }
    }
}

impl GeminiGrammar {
    /// Reads every chunk in `data`. Returns whether there was any.
    fn read(&mut self, data: &[u8], said: &mut ParsedOutput) -> Result<bool, Broken> {
        let (mut is_chunk, mut has_label) = (false, false);
        let read = json::read_all(data, |chunk: GeminiChunk| {
            let chunk = chunk.unwrapped();
            has_label |= is_truthy(&chunk.error) && !chunk.error.is_object();
            is_chunk |= chunk.candidates.is_some() || chunk.prompt_feedback.is_some();
            self.chunk(chunk, said);
        });
        if !is_chunk || has_label {
            // It may be an error in another format.
            _ = json::read_all(data, |value: Value| _ = said.fail_if_error(&value));
        }
        read.map(|_| is_chunk)
    }

    fn chunk(&mut self, chunk: GeminiChunk, said: &mut ParsedOutput) {
        if chunk.error.is_object() && is_truthy(&chunk.error) {
            return said.fail(refusal::in_band(&said.callee, &chunk.error));
        }
        let usage = chunk.usage();
        // Weir requests one candidate.
        let candidate = chunk
            .candidates
            .unwrap_or_default()
            .into_iter()
            .find(|candidate| candidate.index.unwrap_or(0) == 0);
        let mut candidate = candidate.unwrap_or_default();
        self.parts(&mut candidate, said);
        self.sources.extend(candidate.sources());
        if let Some(usage) = usage {
            said.word(ModelEvent::Usage(usage));
        }
        if let Some(reason) = candidate.finish_reason.as_deref() {
            self.finish_reason(reason, candidate.finish_message.as_deref(), said);
        }
        if let Some(feedback) =
            chunk.prompt_feedback.filter(|feedback| feedback.block_reason.is_some())
        {
            // The prompt was blocked. This is a filtered response, not a failure: a retry would
            // give the same. Only Google's message, if any, is passed on, since the model generated
            // nothing.
            if let Some(message) =
                feedback.block_reason_message.filter(|message| !message.is_empty())
            {
                said.word(ModelEvent::Refusal(message));
            }
            self.finish(Finish::ContentFilter, said);
        }
    }

    fn parts(&mut self, candidate: &mut GeminiCandidate, said: &mut ParsedOutput) {
        let mut logprobs = candidate.logprobs();
        // Some relays repeat the complete text in the last chunk.
        let is_last = candidate
            .finish_reason
            .as_deref()
            .is_some_and(|reason| finish::read(reason) != FinishVerdict::Absent);
        for mut part in candidate.content.take().unwrap_or_default().parts.unwrap_or_default() {
            let items = part.items();
            let GeminiPart { text, thought, thought_signature, function_call, inline_data, .. } =
                part;
            let so_far = if thought == Some(true) { &mut self.thoughts } else { &mut self.text };
            let text = text.filter(|text| !(text.is_empty() || is_last && so_far.is_summary(text)));
            if let Some(text) = &text {
                so_far.add(text);
            }
            if let (Some(true), Some(text)) = (thought, &text) {
                said.word(ModelEvent::Reasoning(text.clone()));
            }
            let thought_signature = thought_signature.filter(|signature| !signature.is_empty());
            // Chat completions have the signature on the call, as in Google's compatible API.
            let extra = thought_signature
                .as_ref()
                .map(|signature| json!({ "google": { "thought_signature": signature } }));
            if let Some(signature) = thought_signature {
                // The signature must be sent back in this part, so it is emitted before it.
                said.word(ModelEvent::ReasoningEnd {
                    encrypted: format!("{SIGNATURE}{signature}"),
                });
            }
            if let (None | Some(false), Some(text)) = (thought, text) {
                said.word(ModelEvent::Text { text, logprobs: mem::take(&mut logprobs) });
            }
            if let Some(call) = function_call {
                self.call(call, extra, said);
            }
            if let Some(blob) = inline_data {
                self.image(&blob, said);
            }
            for item in items {
                self.item(item, said);
            }
        }
    }

    /// Calls arrive complete.
    fn call(&mut self, call: GeminiFunctionCall, extra: Option<Value>, said: &mut ParsedOutput) {
        let arguments = match call.args {
            Value::Object(arguments) if !arguments.is_empty() => {
                Value::Object(arguments).to_string()
            }
            Value::String(text) => text,
            _ => String::new(),
        };
        let id = call.id.filter(|id| !id.is_empty());
        let extra = extra.map(|extra| (EXTRA_CONTENT.to_owned(), extra)).into_iter().collect();
        let delta = ToolCallDelta {
            index: self.calls,
            id,
            name: call.name,
            arguments,
            extra,
            ..ToolCallDelta::default()
        };
        said.word(ModelEvent::ToolCall(delta));
        self.calls += 1;
    }

    fn image(&mut self, blob: &Blob, said: &mut ParsedOutput) {
        let (Some(mime_type), Some(data)) = (&blob.mime_type, &blob.data) else { return };
        self.item(image_call(&format!("data:{mime_type};base64,{data}")), said);
    }

    fn item(&mut self, item: Map<String, Value>, said: &mut ParsedOutput) {
        // Calls use their index as key; items count down from the maximum.
        let key = u64::MAX - self.items;
        self.items += 1;
        said.word(ModelEvent::Item(OpaqueStep::Done { key, item }));
    }

    fn finish_reason(&mut self, reason: &str, message: Option<&str>, said: &mut ParsedOutput) {
        let finish = match (reason, finish::read(reason)) {
            (_, FinishVerdict::Absent) => return,
            ("MALFORMED_FUNCTION_CALL", _) => {
                return fail("generated an invalid function call", reason, message, said);
            }
            ("UNEXPECTED_TOOL_CALL", _) => {
                return fail("called a function that does not exist", reason, message, said);
            }
            ("TOO_MANY_TOOL_CALLS", _) => {
                return fail("called too many functions in one response", reason, message, said);
            }
            ("MALFORMED_RESPONSE", _) => {
                return fail("generated an invalid response", reason, message, said);
            }
            ("MISSING_THOUGHT_SIGNATURE", _) => {
                return fail(
                    "lacks the signature of an earlier thought in this conversation",
                    reason,
                    message,
                    said,
                );
            }
            ("PUP_LIMITED_DISABLED", _) => {
                let fault = said.callee.told(
                    "upstream_account_limited",
                    "has limited or closed this server's account",
                    &reported(reason, message),
                );
                return said.fail(ProviderFailure::new(fault, FailureScope::Credential));
            }
            (_, FinishVerdict::Failed) => {
                return fail("stopped in the middle of the response", reason, message, said);
            }
            (_, FinishVerdict::Finish(finish)) => finish,
        };
        // Google's explanation of the filter, if any, is passed on as with a blocked prompt.
        if let (Finish::ContentFilter, Some(message), false) =
            (&finish, message.filter(|message| !message.is_empty()), self.is_finish_said)
        {
            said.word(ModelEvent::Refusal(message.to_owned()));
        }
        self.finish(finish, said);
    }

    /// Older models send a reason with every chunk.
    fn finish(&mut self, finish: Finish, said: &mut ParsedOutput) {
        self.is_finish_said = true;
        let sources = mem::take(&mut self.sources);
        said.words((!sources.is_empty()).then_some(ModelEvent::Extra(sources)));
        said.word(ModelEvent::Finish(finish));
    }
}

/// The response is unusable; a retry may succeed.
fn fail(what: &str, reason: &str, message: Option<&str>, said: &mut ParsedOutput) {
    let fault = said.callee.told("upstream_error", what, &reported(reason, message));
    said.fail(ProviderFailure::upstream(fault));
}

fn reported(reason: &str, message: Option<&str>) -> Reported {
    Reported {
        message: message.map(str::to_owned),
        kind: Some(reason.to_owned()),
        ..Reported::default()
    }
}

#[cfg(test)]
mod tests;
