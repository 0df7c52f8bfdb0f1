//! Reads the answer's events into words; no I/O.

mod citation;
mod event;

use std::mem;

use engine::provider::{Finish, Word};
use serde_json::Value;

use self::citation::Citations;
use self::event::{Block, Delta, Event, Kind, Message, Tokens};
use super::super::body::{Grammar, Said};
use super::super::fault::is_truthy;
use super::{REDACTED, SIGNATURE, refusal};

/// What was read of one answer so far.
#[derive(Debug, Default)]
pub(super) struct Events {
    open: Vec<(u64, Open)>,
    calls: u64,
    tokens: Tokens,
    citations: Citations,
    is_finish_said: bool,
}

/// A block that has begun and not ended.
#[derive(Debug)]
enum Open {
    Text,
    Thoughts {
        signature: String,
    },
    /// `input` is what came with the block's begin; it counts if no piece comes behind.
    Call {
        number: u64,
        input: String,
        is_written: bool,
    },
    /// A tool that Anthropic calls itself, and what is still to be invented.
    Other,
}

impl Grammar for Events {
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut Said) {
        let data = data.trim_ascii();
        let before = said.len();
        match data {
            // Relays of other APIs send them: an end that proves nothing, and keep-alives (Vertex: `data: : keepalive`).
            _ if data.starts_with(b"[DONE]") => said.over(),
            [] | [b':', ..] => {}
            _ => match Event::read(name, data) {
                Some(event) => self.read(event, said),
                None => said.invalid_data("sent something that is no event of a message"),
            },
        }
        if said.len() == before && !said.is_over() {
            said.word(Word::KeepAlive);
        }
    }

    fn document(&mut self, document: &[u8], said: &mut Said) {
        match serde_json::from_slice::<Value>(document) {
            Ok(value) => match value.get("error").filter(|error| is_truthy(error)) {
                Some(error) => said.fail(refusal::in_band(&said.callee, error)),
                None => match serde_json::from_value::<Message>(value) {
                    Ok(message) => self.message(message, said),
                    Err(_) => said.invalid_data("sent something that is no message"),
                },
            },
            Err(error) if error.is_eof() => said.fail(said.callee.cut()),
            Err(_) => said.invalid_data("sent something that is no message"),
        }
    }
}

impl Events {
    fn read(&mut self, event: Event, said: &mut Said) {
        let index = event.index.unwrap_or(0);
        if let Some(error) = event.error.filter(is_truthy) {
            return said.fail(refusal::in_band(&said.callee, &error));
        }
        match event.kind {
            Kind::MessageStart => {
                let message = event.message.unwrap_or_default();
                // Not said yet: its output is a placeholder until the end, and would be the whole of it if the answer is cut.
                self.tokens.read(message.usage.as_ref());
            }
            Kind::ContentBlockStart => self.start(index, event.content_block.unwrap_or_default(), said),
            Kind::ContentBlockDelta => self.delta(index, event.delta.unwrap_or_default(), said),
            Kind::ContentBlockStop => self.stop(index, said),
            Kind::MessageDelta => {
                self.usage(event.usage.as_ref(), said);
                let delta = event.delta.unwrap_or_default();
                self.stop_reason(delta.stop_reason.as_deref(), delta.stop_details.as_ref(), said);
            }
            Kind::MessageStop => said.over(),
            Kind::Error => said.fail(refusal::in_band(&said.callee, &Value::Null)),
            // `ping`, and whatever may come to be: Anthropic says that there will be more.
            Kind::Other => {}
        }
    }

    /// A whole message, from a relay that ignores `stream`.
    fn message(&mut self, message: Message, said: &mut Said) {
        for (block, index) in message.content.into_iter().zip(0..) {
            self.start(index, block, said);
            self.stop(index, said);
        }
        self.usage(message.usage.as_ref(), said);
        self.stop_reason(message.stop_reason.as_deref(), message.stop_details.as_ref(), said);
    }

    fn start(&mut self, index: u64, block: Block, said: &mut Said) {
        let open = match block.kind.as_str() {
            "text" => {
                self.citations.begin(block.citations.unwrap_or_default());
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
                said.word(Word::ReasoningEnd { encrypted: format!("{REDACTED}{}", block.data.unwrap_or_default()) });
                Open::Other
            }
            "tool_use" => {
                self.citations.part();
                let number = self.calls;
                self.calls += 1;
                said.word(Word::ToolCall { index: number, id: block.id, name: block.name, arguments: String::new() });
                let input = block.input.filter(Value::is_object).unwrap_or_else(|| Value::Object(serde_json::Map::new()));
                Open::Call { number, input: input.to_string(), is_written: false }
            }
            _ => Open::Other,
        };
        self.open.retain(|(number, _)| *number != index);
        self.open.push((index, open));
    }

    fn delta(&mut self, index: u64, delta: Delta, said: &mut Said) {
        let open = self.open.iter_mut().find(|(number, _)| *number == index).map(|(_, open)| open);
        match (delta.kind.as_str(), open) {
            ("text_delta", _) => self.text(delta.text.unwrap_or_default(), said),
            ("thinking_delta", _) => thoughts(delta.thinking.unwrap_or_default(), said),
            ("signature_delta", Some(Open::Thoughts { signature })) => signature.push_str(&delta.signature.unwrap_or_default()),
            ("input_json_delta", Some(Open::Call { number, is_written, .. })) => {
                let arguments = delta.partial_json.unwrap_or_default();
                if !arguments.is_empty() {
                    *is_written = true;
                    said.word(Word::ToolCall { index: *number, id: None, name: None, arguments });
                }
            }
            ("citations_delta", _) => self.citations.add(delta.citation),
            _ => {}
        }
    }

    fn stop(&mut self, index: u64, said: &mut Said) {
        let Some(position) = self.open.iter().position(|(number, _)| *number == index) else { return };
        match self.open.swap_remove(position).1 {
            Open::Text => self.citations.end(said),
            Open::Thoughts { signature } if signature.is_empty() => said.word(Word::ReasoningBreak),
            Open::Thoughts { signature } => said.word(Word::ReasoningEnd { encrypted: format!("{SIGNATURE}{signature}") }),
            Open::Call { number, input, is_written: false } => {
                said.word(Word::ToolCall { index: number, id: None, name: None, arguments: input });
            }
            Open::Call { is_written: true, .. } | Open::Other => {}
        }
    }

    fn text(&mut self, text: String, said: &mut Said) {
        if !text.is_empty() {
            self.citations.wrote(&text);
            said.word(Word::Text { text, logprobs: Vec::new() });
        }
    }

    fn usage(&mut self, usage: Option<&Value>, said: &mut Said) {
        if self.tokens.read(usage) {
            said.word(Word::Usage(self.tokens.usage()));
        }
    }

    fn stop_reason(&mut self, reason: Option<&str>, details: Option<&Value>, said: &mut Said) {
        let finish = match reason {
            None => return,
            Some("end_turn" | "stop_sequence" | "tool_use") => Finish::Stop,
            Some("max_tokens" | "model_context_window_exceeded") => Finish::Length,
            Some("refusal") => {
                let explanation = details.and_then(|details| details.get("explanation")?.as_str()).unwrap_or_default();
                if !explanation.is_empty() && !self.is_finish_said {
                    said.word(Word::Refusal(explanation.to_owned()));
                }
                Finish::ContentFilter
            }
            // `pause_turn` too: it comes with tools that Anthropic calls itself, which Weir does not ask for.
            Some(other) => Finish::Other(other.to_owned()),
        };
        if !mem::replace(&mut self.is_finish_said, true) {
            said.word(Word::Finish(finish));
        }
    }
}

fn thoughts(thoughts: String, said: &mut Said) {
    if !thoughts.is_empty() {
        said.word(Word::Reasoning(thoughts));
    }
}

#[cfg(test)]
mod tests;
