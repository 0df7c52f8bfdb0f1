//! The items and parts of a response: how they open, grow and close, and the events of that.

use protocol::event::{
    AnnotationAdded, ContentDelta, Event, ItemEvent, PartEvent, PartPlace, PlacedText, RefusalDone,
    SummaryDelta, SummaryPartEvent, SummaryPlace, SummaryText, TextDelta, TextDone,
};
use protocol::extra::Extra;
use protocol::item::{Item, ItemStatus, Message, Part, Reasoning, Role};
use serde_json::Value;

use super::pending::PendingEntries;
use super::{Open, ResponseBuilder};
use crate::id;

impl ResponseBuilder {
    /// Opens the part that an event needs, and closes others. Text and refusal share a message;
    /// reasoning and its summary share an item.
    pub(super) fn open(&mut self, wanted: Open) {
        if self.open == Some(wanted) && self.is_part_open {
            return;
        }
        self.open_item(wanted);
        self.open = Some(wanted);
        let part = match wanted {
            Open::Reasoning => Part::ReasoningText { text: String::new() },
            Open::Summary => Part::SummaryText { text: String::new() },
            Open::Text => Part::output_text(""),
            Open::Refusal => Part::Refusal { refusal: String::new() },
        };
        let Some(parts) = self.open_parts() else { return };
        parts.push(part);
        self.is_part_open = true;
        let Some((place, part, entries)) = self.open_place() else { return };
        entries.push(&if wanted == Open::Summary {
            Event::ReasoningSummaryPartAdded(SummaryPartEvent { place: of_summary(place), part })
        } else {
            Event::ContentPartAdded(PartEvent { place, part })
        });
    }

    /// Adds reasoning, in one form: as a summary if the caller asked for one, or else as reasoning
    /// text. A change of the upstream's form starts a new part.
    pub(super) fn think(&mut self, text: &str, is_summary: bool) {
        let is_asked_for =
            self.response.reasoning.as_ref().is_some_and(|asked| asked.summary.is_some());
        let wanted = if is_asked_for { Open::Summary } else { Open::Reasoning };
        if std::mem::replace(&mut self.was_summary, is_summary) != is_summary
            && self.open == Some(wanted)
        {
            self.close_part();
        }
        self.open(wanted);
        match wanted {
            Open::Summary => self.summary(text),
            Open::Reasoning | Open::Text | Open::Refusal => self.reasoning(text),
        }
    }

    /// Opens an item of the wanted kind, unless the open one is of that kind.
    pub(super) fn open_item(&mut self, wanted: Open) {
        if self.open.is_some_and(|open| open.shares_item(wanted)) {
            self.close_part();
            return;
        }
        self.close_open(ItemStatus::Completed);
        let item = match wanted {
            Open::Reasoning | Open::Summary => Item::Reasoning(Reasoning {
                id: id::item("rs"),
                summary: Vec::new(),
                content: Vec::new(),
                encrypted_content: None,
                extra: Extra::default(),
            }),
            Open::Text | Open::Refusal => Item::Message(Message {
                id: id::item("msg"),
                status: ItemStatus::InProgress,
                role: Role::Assistant,
                content: Vec::new(),
                extra: std::mem::take(&mut self.pending_extra),
            }),
        };
        self.add_item(item);
        self.open = Some(wanted);
    }

    /// Closes the reasoning item, with its encrypted form.
    pub(super) fn end_reasoning(&mut self, encrypted: String) {
        self.open_item(Open::Reasoning);
        if let Some(Item::Reasoning(reasoning)) = self.response.output.last_mut() {
            reasoning.encrypted_content = Some(encrypted);
        }
        self.close_open(ItemStatus::Completed);
    }

    /// Adds an annotation to the open text. Without one it is dropped.
    pub(super) fn annotate(&mut self, annotation: Value) {
        if self.open != Some(Open::Text) || !self.is_part_open {
            return;
        }
        let Some((place, part, entries)) = self.open_place() else { return };
        let Part::OutputText { annotations, .. } = part else { return };
        entries.push(&Event::OutputTextAnnotationAdded(AnnotationAdded {
            place,
            annotation_index: annotations.len(),
            annotation: &annotation,
        }));
        annotations.push(annotation);
    }

    pub(super) fn summary(&mut self, delta: &str) {
        let Some((place, part, entries)) = self.open_place() else { return };
        if let Part::SummaryText { text } = part {
            text.push_str(delta);
        }
        let place = of_summary(place);
        entries.push(&Event::ReasoningSummaryDelta(SummaryDelta { place, delta }));
    }

    pub(super) fn text(&mut self, delta: &str, logprobs: Vec<Value>) {
        let Some((place, part, entries)) = self.open_place() else { return };
        let PartPlace { item_id, output_index, content_index } = place;
        entries.push(&Event::OutputTextDelta(TextDelta {
            item_id,
            output_index,
            content_index,
            delta,
            logprobs: &logprobs,
        }));
        if let Part::OutputText { text, logprobs: all, .. } = part {
            text.push_str(delta);
            all.extend(logprobs);
        }
    }

    pub(super) fn reasoning(&mut self, delta: &str) {
        let Some((place, part, entries)) = self.open_place() else { return };
        if let Part::ReasoningText { text } = part {
            text.push_str(delta);
        }
        let PartPlace { item_id, output_index, content_index } = place;
        entries.push(&Event::ReasoningDelta(ContentDelta {
            item_id,
            output_index,
            content_index,
            delta,
        }));
    }

    pub(super) fn refusal(&mut self, delta: &str) {
        let Some((place, part, entries)) = self.open_place() else { return };
        if let Part::Refusal { refusal } = part {
            refusal.push_str(delta);
        }
        let PartPlace { item_id, output_index, content_index } = place;
        entries.push(&Event::RefusalDelta(ContentDelta {
            item_id,
            output_index,
            content_index,
            delta,
        }));
    }

    pub(super) fn close_open(&mut self, status: ItemStatus) {
        if self.open.is_none() {
            return;
        }
        self.close_part();
        self.open = None;
        let Some(output_index) = self.response.output.len().checked_sub(1) else { return };
        let Some(item) = self.response.output.get_mut(output_index) else { return };
        if let Item::Message(message) = item {
            message.status = status;
        }
        self.entries.push(&Event::OutputItemDone(ItemEvent { output_index, item }));
    }

    pub(super) fn close_part(&mut self) {
        if !std::mem::take(&mut self.is_part_open) {
            return;
        }
        let Some((place, part, entries)) = self.open_place() else { return };
        match part {
            Part::SummaryText { text } => {
                let place = of_summary(place);
                let done = SummaryText { place: place.clone(), text };
                entries.push(&Event::ReasoningSummaryDone(done));
                entries.push(&Event::ReasoningSummaryPartDone(SummaryPartEvent { place, part }));
                return;
            }
            Part::OutputText { text, logprobs, .. } => {
                let done = TextDone { place: place.clone(), text, logprobs };
                entries.push(&Event::OutputTextDone(done));
            }
            Part::Refusal { refusal } => {
                entries.push(&Event::RefusalDone(RefusalDone { place: place.clone(), refusal }));
            }
            Part::ReasoningText { text } => {
                entries.push(&Event::ReasoningDone(PlacedText { place: place.clone(), text }));
            }
            Part::InputText { .. }
            | Part::InputImage { .. }
            | Part::InputFile { .. }
            | Part::Opaque(_) => {}
        }
        entries.push(&Event::ContentPartDone(PartEvent { place, part }));
    }

    pub(super) fn add_item(&mut self, item: Item) {
        let output_index = self.response.output.len();
        self.entries.push(&Event::OutputItemAdded(ItemEvent { output_index, item: &item }));
        self.response.output.push(item);
    }

    fn open_parts(&mut self) -> Option<&mut Vec<Part>> {
        parts_of(self.response.output.last_mut()?, self.open)
    }

    /// The open part with its place, and the entries for its events. The open item is the last that
    /// is not a call: a call closes it before it is added.
    fn open_place(&mut self) -> Option<(PartPlace, &mut Part, &mut PendingEntries)> {
        let output_index = self.response.output.len().checked_sub(1)?;
        let item = self.response.output.last_mut()?;
        let item_id = item.id().clone();
        let parts = parts_of(item, self.open)?;
        let content_index = parts.len().checked_sub(1)?;
        let place = PartPlace { item_id, output_index, content_index };
        Some((place, parts.last_mut()?, &mut self.entries))
    }
}

/// The parts of an item among which the open one is.
fn parts_of(item: &mut Item, open: Option<Open>) -> Option<&mut Vec<Part>> {
    match item {
        Item::Message(message) => Some(&mut message.content),
        Item::Reasoning(reasoning) => Some(if open == Some(Open::Summary) {
            &mut reasoning.summary
        } else {
            &mut reasoning.content
        }),
        Item::FunctionCall(_)
        | Item::FunctionCallOutput(_)
        | Item::CustomToolCall(_)
        | Item::CustomToolCallOutput(_)
        | Item::Compaction(_)
        | Item::Opaque(_) => None,
    }
}

/// The place of a part in `summary`, with the index it would have in `content`.
fn of_summary(place: PartPlace) -> SummaryPlace {
    SummaryPlace {
        item_id: place.item_id,
        output_index: place.output_index,
        summary_index: place.content_index,
    }
}
