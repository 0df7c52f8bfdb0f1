//! Items that Weir does not interpret, and fields beyond the vocabulary.

use protocol::event::{Event, HostedEvent, ItemEvent};
use protocol::extra::Extra;
use protocol::item::{Item, ItemStatus, OpaqueItem};
use serde_json::{Map, Value};

use super::{Open, ResponseBuilder};
use crate::id;
use crate::provider::event::OpaqueStep;

impl ResponseBuilder {
    pub(super) fn opaque_step(&mut self, step: OpaqueStep) {
        match step {
            OpaqueStep::Added { key, item } => {
                self.open_opaque(key, item);
            }
            OpaqueStep::Event { key, kind, fields } => {
                let Some(&output_index) = self.opaque.get(&key) else { return };
                let Some(item_id) =
                    self.response.output.get(output_index).map(|item| item.id().clone())
                else {
                    return;
                };
                self.entries.push(&Event::Hosted(HostedEvent {
                    kind,
                    item_id,
                    output_index,
                    fields: Extra::new(fields),
                }));
            }
            OpaqueStep::Done { key, item } => {
                let output_index = match self.opaque.remove(&key) {
                    Some(output_index) => output_index,
                    None => self.open_opaque(key, started(&item)),
                };
                self.opaque.remove(&key);
                let Some(place) = self.response.output.get_mut(output_index) else { return };
                let item = opaque(item).with_id(place.id().clone());
                *place = item;
                let done = ItemEvent { output_index, item: place };
                self.entries.push(&Event::OutputItemDone(done));
            }
        }
    }

    fn open_opaque(&mut self, key: u64, item: Map<String, Value>) -> usize {
        self.close_open(ItemStatus::Completed);
        let output_index = self.response.output.len();
        self.opaque.insert(key, output_index);
        self.add_item(opaque(item));
        output_index
    }

    /// Closes an item that the upstream has not closed.
    pub(super) fn close_opaque(&mut self, output_index: usize, status: ItemStatus) {
        let Some(item) = self.response.output.get_mut(output_index) else { return };
        let Item::Opaque(hosted) = item else { return };
        if status != ItemStatus::Completed && hosted.fields.get("status").is_some() {
            hosted.fields.insert("status", "incomplete".into());
        }
        self.entries.push(&Event::OutputItemDone(ItemEvent { output_index, item }));
    }

    /// Adds fields to the open reasoning item, or to a new one.
    pub(super) fn reasoning_extra(&mut self, fields: Map<String, Value>) {
        self.count(&fields);
        if !matches!(self.open, Some(Open::Reasoning | Open::Summary)) {
            self.open_item(Open::Reasoning);
        }
        self.merge(fields);
    }

    /// Adds fields to the open message, or to the next one.
    pub(super) fn message_extra(&mut self, fields: Map<String, Value>) {
        self.count(&fields);
        if matches!(self.open, Some(Open::Text | Open::Refusal)) {
            return self.merge(fields);
        }
        self.pending_extra.merge(fields);
    }

    fn count(&mut self, fields: &Map<String, Value>) {
        self.extra_bytes += serde_json::to_vec(fields).map_or(0, |bytes| bytes.len() as u64);
    }

    fn merge(&mut self, fields: Map<String, Value>) {
        if let Some(extra) = self.response.output.last_mut().and_then(Item::extra_mut) {
            extra.merge(fields);
        }
    }

    /// Puts pending fields into an empty message, if no message came. Those of a response that
    /// failed before any output are dropped.
    pub(super) fn place_extra(&mut self) {
        if !self.pending_extra.is_empty() && (self.has_output() || self.is_finished()) {
            self.open_item(Open::Text);
        }
    }
}

/// The `added` form of an item that came complete. An image is not sent twice.
fn started(item: &Map<String, Value>) -> Map<String, Value> {
    let mut started = item.clone();
    if started.get("status").is_some_and(|status| status == "completed") {
        started.insert("status".into(), "in_progress".into());
    }
    if started.get("type").is_some_and(|kind| kind == "image_generation_call")
        && started.contains_key("result")
    {
        started.insert("result".into(), Value::Null);
    }
    started
}

/// An item under a new id; the upstream's id is kept in a field.
fn opaque(mut fields: Map<String, Value>) -> Item {
    let kind = match fields.shift_remove("type") {
        Some(Value::String(kind)) => kind,
        _ => String::new(),
    };
    if let Some(upstream_id) =
        fields.shift_remove("id").filter(|id| id.as_str().is_some_and(|id| !id.is_empty()))
    {
        fields.entry(OpaqueItem::UPSTREAM_ID).or_insert(upstream_id);
    }
    Item::Opaque(OpaqueItem { kind, id: id::item("item"), fields: Extra::new(fields) })
}
