//! Parses the events of a response, without I/O.

mod items;
mod output;

use std::sync::Arc;

use engine::provider::event::{Finish, ModelEvent, OpaqueStep};
use protocol::event::EventKind;
use serde_json::Value;

use self::items::OutputItems;
use self::output::{OutputKind, piece_of};
use super::super::body::Grammar;
use super::super::fault::is_truthy;
use super::super::finish::{self, FinishVerdict};
use super::super::json::{self, Broken};
use super::super::parsed_output::ParsedOutput;
use super::event::{self, ResponsesEvent};

/// The state of one response.
#[derive(Debug)]
pub(super) struct ResponsesGrammar {
    items: OutputItems,
}

impl Grammar for ResponsesGrammar {
    fn event(&mut self, name: Option<&str>, data: &[u8], said: &mut ParsedOutput) {
        if name == Some("error") {
            return said.fail(event::failure_of_event(data, &said.callee));
        }
        match json::read_all(data, |event| self.read(name, event, data, said)) {
            Ok(_) => {}
            Err(Broken::Cut) => said.invalid_data("sent an event with truncated JSON"),
            Err(Broken::Invalid) => {
                said.invalid_data("sent something that is not a response event");
            }
        }
    }

    fn document(&mut self, document: &[u8], said: &mut ParsedOutput) {
        let response = match json::value(document) {
            Ok(response) => response,
            Err(Broken::Cut) => return said.fail(said.callee.cut()),
            Err(Broken::Invalid) => {
                return said.invalid_data("sent something that is not a response");
            }
        };
        if response.get("output").is_some()
            || response.get("object").is_some_and(|object| object == "response")
        {
            self.end("", response, said);
        } else if response.is_array() || response.get("error").is_some_and(is_truthy) {
            said.fail(event::failure_of_event(document, &said.callee));
        } else if !said.fail_if_error(&response) {
            said.invalid_data("sent something that is not a response");
        }
    }
}

impl ResponsesGrammar {
    /// The grammar for the upstream with this name.
    pub(super) fn new(upstream: Arc<str>) -> Self {
        Self { items: OutputItems::new(upstream) }
    }

    fn read(
        &mut self,
        name: Option<&str>,
        mut event: ResponsesEvent,
        data: &[u8],
        said: &mut ParsedOutput,
    ) {
        let before = said.len();
        let kind = event.kind.take().or_else(|| name.map(str::to_owned)).unwrap_or_default();
        if let Some((piece, extent)) = piece_of(&kind) {
            self.items.piece(piece, extent, event, said);
        } else {
            match kind.as_str() {
                "response.output_item.added" => {
                    self.items.item_added(event.output_index, &event.item, said);
                }
                "response.output_item.done" => {
                    self.items.item_done(event.output_index, event.item, said);
                }
                "response.content_part.done" | "response.reasoning_summary_part.done" => {
                    self.items.part_event(event, said);
                }
                "response.content_part.added" => self.items.part_added(event),
                "response.output_text.annotation.added" => self.items.annotation(event, said),
                "response.completed"
                | "response.incomplete"
                | "response.failed"
                | "response.cancelled"
                | "response.done" => {
                    self.end(&kind, event.response, said);
                }
                "error" => said.fail(event::failure_of_event(data, &said.callee)),
                _ if is_truthy(&event.error) => {
                    said.fail(event::failure_of_event(data, &said.callee));
                }
                _ if event.choices.is_array() => said
                    .invalid_data("serves chat completions at this address, not the Responses API"),
                // Anything but an event of this API may be an error of a proxy.
                kind if !kind.starts_with("response.") => {
                    _ = json::read_all(data, |value: Value| _ = said.fail_if_error(&value));
                }
                _ => self.hosted(&kind, &event, data, said),
            }
        }
        if said.len() == before && !said.is_over() {
            said.word(ModelEvent::KeepAlive);
        }
    }

    /// Passes events of hosted tools on. Unknown event types are left out: clients reject them.
    fn hosted(&self, kind: &str, event: &ResponsesEvent, data: &[u8], said: &mut ParsedOutput) {
        let Some(kind) = EventKind::parse(kind.as_bytes()).filter(|kind| kind.is_hosted()) else {
            return;
        };
        let Some(position) =
            self.items.find(OutputKind::Opaque, event.item_id.as_deref(), event.output_index)
        else {
            return;
        };
        let Ok(Value::Object(mut fields)) = json::value(data) else { return };
        fields.retain(|name, _| {
            !["type", "sequence_number", "item_id", "output_index"].contains(&name.as_str())
        });
        said.word(ModelEvent::Item(OpaqueStep::Event { key: position as u64, kind, fields }));
    }

    /// The terminal event `kind`, or a complete document, with its response.
    fn end(&mut self, kind: &str, mut response: Value, said: &mut ParsedOutput) {
        self.items.last_items(event::take_list(&mut response, "output"), said);
        self.items.last_parts(said);
        if let Some(usage) = event::usage(&response) {
            said.word(ModelEvent::Usage(usage));
        }
        let status = response.get("status").and_then(Value::as_str).unwrap_or_default();
        let status = match (kind, status) {
            ("response.incomplete", _) => "incomplete",
            ("response.failed", _) => "failed",
            ("response.cancelled", _) => "cancelled",
            (_, "incomplete" | "failed" | "cancelled") => status,
            ("response.completed", _) => "completed",
            (_, status) => status,
        };
        match status {
            _ if response.get("error").is_some_and(is_truthy) => {
                said.fail(event::failure_of_response(&response, &said.callee));
            }
            "completed" => said.word(ModelEvent::Finish(Finish::Stop)),
            "incomplete" => match incomplete(&response) {
                Ok(finish) => said.word(ModelEvent::Finish(finish)),
                Err(reason) => {
                    let what = format!("stopped in the middle of the response (reason '{reason}')");
                    said.fail(said.callee.plain("upstream_error", &what));
                }
            },
            "failed" => said.fail(event::failure_of_response(&response, &said.callee)),
            "cancelled" => said.fail(said.callee.plain("upstream_error", "cancelled the response")),
            // The response continues in the background, or the event is no evidence.
            _ => {}
        }
        said.over();
    }
}

/// Why a response is incomplete.
///
/// # Errors
/// It has failed for this reason.
fn incomplete(response: &Value) -> Result<Finish, String> {
    let reason = response
        .pointer("/incomplete_details/reason")
        .and_then(Value::as_str)
        .unwrap_or("incomplete");
    match finish::read(reason) {
        // An incomplete response is not complete, whatever its reason.
        FinishVerdict::Finish(Finish::Stop) | FinishVerdict::Absent => {
            Ok(Finish::Unknown(reason.to_owned()))
        }
        FinishVerdict::Finish(finish) => Ok(finish),
        FinishVerdict::Failed => Err(reason.to_owned()),
    }
}

#[cfg(test)]
mod tests;
