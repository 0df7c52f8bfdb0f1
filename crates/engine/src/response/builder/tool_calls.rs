//! How tool calls become items and events.

use protocol::event::{ArgumentsDelta, ArgumentsDone, Event, InputDone, ItemEvent};
use protocol::fault::Fault;
use protocol::item::{CustomToolCall, FunctionCall, Item, ItemStatus};

use super::ResponseBuilder;
use super::calls::CallState;
use super::fault::nameless;
use crate::id;
use crate::provider::event::ToolCallDelta;

/// The most bytes of arguments that may come before the name of their tool. It comes with the first
/// piece, or never.
const LONGEST_HELD_BACK: usize = 64 << 10;

impl ResponseBuilder {
    pub(super) fn tool_call(&mut self, delta: ToolCallDelta, upstream: &str) -> Result<(), Fault> {
        let ToolCallDelta { index, id, name, is_custom, arguments, extra } = delta;
        self.close_open(ItemStatus::Completed);
        let is_full = self
            .response
            .max_tool_calls
            .is_some_and(|most| self.calls.open().count() as u64 >= most);
        let call = self.calls.entry(index);
        call.id = call.id.take().or(id);
        call.is_custom |= name.is_some() && is_custom;
        call.name = call.name.take().or(name);
        match call.state {
            CallState::Ignored => return Ok(()),
            CallState::Item(output_index) => {
                if let Some(fields) =
                    self.response.output.get_mut(output_index).and_then(Item::extra_mut)
                {
                    fields.merge(extra);
                }
                self.arguments(output_index, &arguments);
                return Ok(());
            }
            CallState::Nameless => {}
        }
        call.held_back.push_str(&arguments);
        call.extra.merge(extra);
        let Some(name) = call.name.clone() else {
            return if call.held_back.len() > LONGEST_HELD_BACK {
                Err(nameless(upstream))
            } else {
                Ok(())
            };
        };
        if is_full {
            // OpenAI: "any further attempts to call a tool by the model will be ignored".
            call.state = CallState::Ignored;
            return Ok(());
        }
        let output_index = self.response.output.len();
        call.state = CallState::Item(output_index);
        let held_back = std::mem::take(&mut call.held_back);
        let extra = std::mem::take(&mut call.extra);
        let call_id = call.id.clone().unwrap_or_else(|| id::item("call").as_str().to_owned());
        let status = ItemStatus::InProgress;
        let item = if call.is_custom {
            Item::CustomToolCall(CustomToolCall {
                id: id::item("ctc"),
                call_id,
                name,
                input: String::new(),
                status,
                extra,
            })
        } else {
            Item::FunctionCall(FunctionCall {
                id: id::item("fc"),
                call_id,
                name,
                arguments: String::new(),
                status,
                extra,
            })
        };
        self.add_item(item);
        self.arguments(output_index, &held_back);
        Ok(())
    }

    fn arguments(&mut self, output_index: usize, delta: &str) {
        if delta.is_empty() {
            return;
        }
        let event = match self.response.output.get_mut(output_index) {
            Some(Item::FunctionCall(call)) => {
                call.arguments.push_str(delta);
                Event::FunctionCallArgumentsDelta(ArgumentsDelta {
                    item_id: call.id.clone(),
                    output_index,
                    delta,
                })
            }
            Some(Item::CustomToolCall(call)) => {
                call.input.push_str(delta);
                Event::CustomToolCallInputDelta(ArgumentsDelta {
                    item_id: call.id.clone(),
                    output_index,
                    delta,
                })
            }
            _ => return,
        };
        self.entries.push(&event);
    }

    /// Closes the call at an index of the output, if there is one.
    pub(super) fn close_call(&mut self, output_index: usize, status: ItemStatus) {
        let is_whole = status == ItemStatus::Completed;
        if let Some(Item::FunctionCall(call)) = self.response.output.get(output_index)
            && is_whole
            && call.arguments.trim().is_empty()
        {
            // A function without parameters gets an empty object: callers parse the arguments, and
            // an empty text is not JSON.
            self.arguments(output_index, "{}");
        }
        // Truncated arguments get no `done` event: a client might execute them.
        let Some(item) = self.response.output.get_mut(output_index) else { return };
        let done = match item {
            Item::FunctionCall(call) => {
                call.status = status;
                Event::FunctionCallArgumentsDone(ArgumentsDone {
                    item_id: call.id.clone(),
                    output_index,
                    name: &call.name,
                    arguments: &call.arguments,
                })
            }
            Item::CustomToolCall(call) => {
                call.status = status;
                let (item_id, input) = (call.id.clone(), &call.input);
                Event::CustomToolCallInputDone(InputDone { item_id, output_index, input })
            }
            _ => return,
        };
        if is_whole {
            self.entries.push(&done);
        }
        self.entries.push(&Event::OutputItemDone(ItemEvent { output_index, item }));
    }
}
