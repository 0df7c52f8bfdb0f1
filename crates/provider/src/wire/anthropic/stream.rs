//! Parses the response's events, without I/O.

mod citation;
mod event;

use engine::provider::event::{Finish, ModelEvent, OpaqueStep, ToolCallDelta};
use serde_json::{Map, Value};

use self::citation::Citations;
use self::event::{
    AnthropicEvent, AnthropicEventKind, AnthropicMessage, AnthropicTokens, BlockDelta, ContentBlock,
};
use super::super::body::{Grammar, MAX_EVENT_BYTES};
use super::super::chat::is_empty_object;
use super::super::fault::is_truthy;
use super::super::finish::{self, FinishVerdict};
use super::super::json::{self, Broken};
use super::super::parsed_output::ParsedOutput;
use super::refusal;
use super::thought::{REDACTED, SIGNATURE};

/// The state of one response.
#[derive(Debug, Default)]
pub(super) struct AnthropicGrammar {
    open: Vec<(u64, Open)>,
    calls: u64,
    /// How many blocks were passed through unchanged.
    opaque: u64,
    tokens: AnthropicTokens,
    citations: Citations,
    /// Whether any block arrived.
    has_blocks: bool,
    /// The message in the first event, if a relay put the complete message there.
    whole: Option<AnthropicMessage>,
    is_finish_said: bool,
}

/// An open content block.
#[derive(Debug)]
enum Open {
    Text,
    Thoughts {
        signature: String,
    },
    /// `input` is the value in `content_block_start`; it counts if no deltas follow.
    Call {
        number: u64,
        input: String,
        is_written: bool,
    },
    /// A tool call that Anthropic runs, its result, or an unknown block: passed on unchanged when
    /// complete.
    Opaque {
        item: Map<String, Value>,
        /// The deltas of its `input`.
        input: String,
    },
    /// Already passed on completely.
    Other,
}

impl Grammar for AnthropicGrammar {
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut ParsedOutput) {
        let before = said.len();
        match json::read_all(data, |value| self.value(name, value, said)) {
            Ok(_) => {}
            Err(Broken::Cut) => said.invalid_data("sent an event with truncated JSON"),
            Err(Broken::Invalid) => {
                said.invalid_data("sent an event that is not part of a message");
            }
        }
        if said.len() == before && !said.is_over() {
            said.word(ModelEvent::KeepAlive);
        }
    }

    fn document(&mut self, document: &[u8], said: &mut ParsedOutput) {
        let mut is_message = false;
        let read = json::read_all(document, |value: Value| {
            is_message |= value.get("content").is_some();
            self.value(Some("message"), value, said);
        });
        match read {
            Err(Broken::Cut) => said.fail(said.callee.cut()),
            Ok(_) if is_message || said.is_over() => {}
            Ok(_) | Err(Broken::Invalid) => {
                said.invalid_data("sent a response that is not a message");
            }
        }
    }
}

impl AnthropicGrammar {
    fn value(&mut self, name: Option<&str>, value: Value, said: &mut ParsedOutput) {
        // Anything with an error is one, whatever the event's name and shape: relays have formats
        // of their own.
        if name != Some("error") && value.get("error").is_some_and(is_truthy) {
            return said.fail(refusal::in_band(&said.callee, &value));
        }
        match AnthropicEventKind::of_event(name, &value) {
            AnthropicEventKind::Error => return said.fail(refusal::in_band(&said.callee, &value)),
            AnthropicEventKind::Message | AnthropicEventKind::Other
                if value.get("content").is_none() && said.fail_if_error(&value) =>
            {
                return;
            }
            _ => {}
        }
        self.read(AnthropicEvent::read(name, value), said);
    }

    fn read(&mut self, event: AnthropicEvent, said: &mut ParsedOutput) {
        let index = event.index.unwrap_or(0);
        match event.kind {
            AnthropicEventKind::MessageStart => {
                let message = event.message.unwrap_or_default();
                // Not reported yet: `output_tokens` is a placeholder until the end, and would be
                // final if the response is cut off.
                self.tokens.read(&message.usage);
                self.whole = Some(message).filter(|message| {
                    message.content.as_ref().is_some_and(|content| !content.is_empty())
                });
            }
            AnthropicEventKind::ContentBlockStart => {
                self.start(index, event.content_block.unwrap_or_default(), said);
            }
            AnthropicEventKind::ContentBlockDelta if event.unknown_delta.is_some() => {
                said.words(event.unknown_delta.map(extra));
            }
            AnthropicEventKind::ContentBlockDelta => {
                self.delta(index, event.delta.unwrap_or_default(), said);
            }
            AnthropicEventKind::ContentBlockStop => self.stop(index, said),
            AnthropicEventKind::MessageDelta => {
                self.whole_message(said);
                self.usage(&event.usage, said);
                let delta = event.delta.unwrap_or_default();
                self.stop_reason(delta.stop_reason.as_deref(), &delta.stop_details, said);
            }
            AnthropicEventKind::MessageStop => {
                self.whole_message(said);
                said.over();
            }
            AnthropicEventKind::Message => {
                self.whole = event.message;
                self.whole_message(said);
            }
            // `ping` and future events: Anthropic announces that there will be more.
            AnthropicEventKind::Error | AnthropicEventKind::Other => {}
        }
    }

    /// Emits a complete message, unless it already arrived in deltas.
    fn whole_message(&mut self, said: &mut ParsedOutput) {
        let Some(message) = self.whole.take() else { return };
        if !self.has_blocks {
            for (block, index) in message.content.into_iter().flatten().zip(0..) {
                self.start(index, block, said);
                self.stop(index, said);
            }
        }
        self.usage(&message.usage, said);
        self.stop_reason(message.stop_reason.as_deref(), &message.stop_details, said);
    }

    fn start(&mut self, index: u64, block: ContentBlock, said: &mut ParsedOutput) {
        self.has_blocks = true;
        let open = match block.kind.as_deref().unwrap_or_default() {
            "text" => {
                let citations = if let Value::Array(citations) = block.citations {
                    citations
                } else {
                    Vec::new()
                };
                self.citations.start(citations);
                self.text(block.text.unwrap_or_default(), said);
                Open::Text
            }
            "thinking" => {
                self.citations.part();
                thoughts(block.thinking.unwrap_or_default(), said);
                Open::Thoughts { signature: block.signature.unwrap_or_default() }
            }
            "redacted_thinking" => {
                self.citations.part();
                said.word(ModelEvent::ReasoningEnd {
                    encrypted: format!("{REDACTED}{}", block.data.unwrap_or_default()),
                });
                Open::Other
            }
            "tool_use" => {
                self.citations.part();
                let number = self.calls;
                self.calls += 1;
                // The caller of the tool (`caller`), and future fields.
                let extra = block.other.into_iter().filter(|(_, value)| !value.is_null()).collect();
                let (id, name) = (block.id, block.name);
                said.word(ModelEvent::ToolCall(ToolCallDelta {
                    index: number,
                    id,
                    name,
                    extra,
                    ..ToolCallDelta::default()
                }));
                let input = match block.input {
                    Value::Object(fields) if !fields.is_empty() => {
                        Value::Object(fields).to_string()
                    }
                    Value::String(text) => text,
                    _ => String::new(),
                };
                Open::Call { number, input, is_written: false }
            }
            "" => Open::Other,
            _ => {
                self.citations.part();
                Open::Opaque { item: block.into_fields(), input: String::new() }
            }
        };
        self.open.retain(|(number, _)| *number != index);
        self.open.push((index, open));
    }

    fn delta(&mut self, index: u64, mut delta: BlockDelta, said: &mut ParsedOutput) {
        self.has_blocks = true;
        let kind = delta.kind().to_owned();
        let (kind, json) = (kind.as_str(), delta.take_json());
        let is_call = |open: &Open| matches!(open, Open::Call { .. } | Open::Opaque { .. });
        // Arguments belong to the open call, whatever index a relay gives them.
        let position = self.open.iter().position(|(number, open)| {
            *number == index && (kind != "input_json_delta" || is_call(open))
        });
        let position = position.or_else(|| {
            self.open.iter().rposition(|(_, open)| kind == "input_json_delta" && is_call(open))
        });
        let open = position.map(|position| &mut self.open[position].1);
        match (kind, open) {
            ("text_delta", _) => self.text(delta.text.unwrap_or_default(), said),
            ("thinking_delta", _) => thoughts(delta.thinking.unwrap_or_default(), said),
            ("signature_delta", Some(Open::Thoughts { signature })) => {
                signature.push_str(&delta.signature.unwrap_or_default());
            }
            ("input_json_delta", Some(Open::Call { number, is_written, .. })) => {
                let arguments = json;
                // An initial `{}` is a placeholder for arguments that follow, or means that there
                // are none.
                if !arguments.is_empty() && (*is_written || !is_empty_object(&arguments)) {
                    *is_written = true;
                    said.word(ModelEvent::ToolCall(ToolCallDelta {
                        index: *number,
                        arguments,
                        ..ToolCallDelta::default()
                    }));
                }
            }
            ("input_json_delta", Some(Open::Opaque { input, .. })) => {
                input.push_str(&json);
                if input.len() > MAX_EVENT_BYTES {
                    said.invalid_data("sent a block of more than 8 MiB");
                }
            }
            ("citations_delta", _) => {
                self.citations.add(Some(delta.citation).filter(Value::is_object));
            }
            _ => {}
        }
    }

    fn stop(&mut self, index: u64, said: &mut ParsedOutput) {
        let Some(position) = self.open.iter().position(|(number, _)| *number == index) else {
            return;
        };
        match self.open.swap_remove(position).1 {
            Open::Text => self.citations.end(said),
            Open::Thoughts { signature } if signature.is_empty() => {
                said.word(ModelEvent::ReasoningBreak);
            }
            Open::Thoughts { signature } => {
                said.word(ModelEvent::ReasoningEnd {
                    encrypted: format!("{SIGNATURE}{signature}"),
                });
            }
            Open::Call { number, input, is_written: false } => {
                said.word(ModelEvent::ToolCall(ToolCallDelta {
                    index: number,
                    arguments: input,
                    ..ToolCallDelta::default()
                }));
            }
            Open::Opaque { mut item, input } => {
                if !input.is_empty() {
                    item.insert(
                        "input".into(),
                        serde_json::from_str(&input).unwrap_or(Value::String(input)),
                    );
                }
                // Keys only distinguish the items of one response.
                said.word(ModelEvent::Item(OpaqueStep::Done { key: self.opaque, item }));
                self.opaque += 1;
            }
            Open::Call { is_written: true, .. } | Open::Other => {}
        }
    }

    fn text(&mut self, text: String, said: &mut ParsedOutput) {
        if !text.is_empty() {
            self.citations.wrote(&text);
            said.word(ModelEvent::Text { text, logprobs: Vec::new() });
        }
    }

    fn usage(&mut self, usage: &Value, said: &mut ParsedOutput) {
        if self.tokens.read(usage) {
            said.word(ModelEvent::Usage(self.tokens.usage()));
        }
    }

    fn stop_reason(&mut self, reason: Option<&str>, details: &Value, said: &mut ParsedOutput) {
        let reason = reason.unwrap_or_default();
        let finish = match finish::read(reason) {
            FinishVerdict::Absent => return,
            FinishVerdict::Failed => {
                let what =
                    format!("stopped in the middle of the response (stop_reason '{reason}')");
                return said.fail(said.callee.plain("upstream_error", &what));
            }
            // `pause_turn` is not handled: it occurs with hosted tools only, which Weir does not
            // request.
            FinishVerdict::Finish(finish) => finish,
        };
        let explanation = details.get("explanation").and_then(Value::as_str).unwrap_or_default();
        if finish == Finish::ContentFilter && !explanation.is_empty() && !self.is_finish_said {
            said.word(ModelEvent::Refusal(explanation.to_owned()));
        }
        self.is_finish_said = true;
        said.word(ModelEvent::Finish(finish));
    }
}

/// Passes an unknown kind of delta on as a message field named after it.
fn extra(mut delta: Map<String, Value>) -> ModelEvent {
    let kind = delta
        .shift_remove("type")
        .and_then(|kind| kind.as_str().map(str::to_owned))
        .unwrap_or_default();
    ModelEvent::Extra(Map::from_iter([(kind, delta.into())]))
}

fn thoughts(thoughts: String, said: &mut ParsedOutput) {
    if !thoughts.is_empty() {
        said.word(ModelEvent::Reasoning(thoughts));
    }
}

#[cfg(test)]
mod tests;
