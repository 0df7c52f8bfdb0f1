//! The items and parts of a response: how they open, grow and close, and the events of that.

use protocol::event::{
    AnnotationAdded, ContentDelta, Event, ItemEvent, PartEvent, PartPlace, PlacedText, RefusalDone,
    SummaryDelta, SummaryPartEvent, SummaryPlace, SummaryText, TextDelta, TextDone,
};
use protocol::extra::Extra;
use protocol::id::ItemId;
use protocol::item::{Item, ItemStatus, Message, Part, Reasoning, Role};
use serde_json::Value;

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
        if let Some(parts) = self.open_parts() {
            parts.push(part.clone());
        }
        self.is_part_open = true;
        match self.place() {
            Some(place) if wanted == Open::Summary => {
                self.push(&Event::ReasoningSummaryPartAdded(SummaryPartEvent {
                    place: of_summary(place),
                    part,
                }));
            }
            Some(place) => self.push(&Event::ContentPartAdded(PartEvent { place, part })),
            None => {}
        }
    }

    /// Adds reasoning, in one form: as a summary if the caller asked for one, or else as reasoning
    /// text. A change of the upstream's form starts a new part.
    pub(super) fn think(&mut self, text: String, is_summary: bool) {
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
        let Some(place) = self.place() else { return };
        let Some(Part::OutputText { annotations, .. }) = self.open_part() else { return };
        let annotation_index = annotations.len();
        annotations.push(annotation.clone());
        self.push(&Event::OutputTextAnnotationAdded(AnnotationAdded {
            place,
            annotation_index,
            annotation,
        }));
    }

    pub(super) fn summary(&mut self, delta: String) {
        let Some(place) = self.place() else { return };
        if let Some(Part::SummaryText { text }) = self.open_part() {
            text.push_str(&delta);
        }
        self.push(&Event::ReasoningSummaryDelta(SummaryDelta { place: of_summary(place), delta }));
    }

    pub(super) fn text(&mut self, delta: String, logprobs: Vec<Value>) {
        let Some(place) = self.place() else { return };
        if let Some(Part::OutputText { text, logprobs: all, .. }) = self.open_part() {
            text.push_str(&delta);
            all.extend(logprobs.iter().cloned());
        }
        let PartPlace { item_id, output_index, content_index } = place;
        self.push(&Event::OutputTextDelta(TextDelta {
            item_id,
            output_index,
            content_index,
            delta,
            logprobs,
        }));
    }

    pub(super) fn reasoning(&mut self, delta: String) {
        let Some(place) = self.place() else { return };
        if let Some(Part::ReasoningText { text }) = self.open_part() {
            text.push_str(&delta);
        }
        let PartPlace { item_id, output_index, content_index } = place;
        self.push(&Event::ReasoningDelta(ContentDelta {
            item_id,
            output_index,
            content_index,
            delta,
        }));
    }

    pub(super) fn refusal(&mut self, delta: String) {
        let Some(place) = self.place() else { return };
        if let Some(Part::Refusal { refusal }) = self.open_part() {
            refusal.push_str(&delta);
        }
        let PartPlace { item_id, output_index, content_index } = place;
        self.push(&Event::RefusalDelta(ContentDelta {
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
        let Some(output_index) = self.open_index() else { return };
        let Some(item) = self.response.output.get_mut(output_index) else { return };
        if let Item::Message(message) = item {
            message.status = status;
        }
        let item = item.clone();
        self.push(&Event::OutputItemDone(ItemEvent { output_index, item }));
    }

    pub(super) fn close_part(&mut self) {
        if !std::mem::take(&mut self.is_part_open) {
            return;
        }
        let (Some(place), Some(part)) = (self.place(), self.open_part().cloned()) else { return };
        let done = match &part {
            Part::OutputText { text, logprobs, .. } => Some(Event::OutputTextDone(TextDone {
                place: place.clone(),
                text: text.clone(),
                logprobs: logprobs.clone(),
            })),
            Part::Refusal { refusal } => Some(Event::RefusalDone(RefusalDone {
                place: place.clone(),
                refusal: refusal.clone(),
            })),
            Part::ReasoningText { text } => {
                Some(Event::ReasoningDone(PlacedText { place: place.clone(), text: text.clone() }))
            }
            Part::SummaryText { text } => {
                let place = of_summary(place);
                self.push(&Event::ReasoningSummaryDone(SummaryText {
                    place: place.clone(),
                    text: text.clone(),
                }));
                self.push(&Event::ReasoningSummaryPartDone(SummaryPartEvent { place, part }));
                return;
            }
            Part::InputText { .. }
            | Part::InputImage { .. }
            | Part::InputFile { .. }
            | Part::Opaque(_) => None,
        };
        if let Some(done) = done {
            self.push(&done);
        }
        self.push(&Event::ContentPartDone(PartEvent { place, part }));
    }

    pub(super) fn add_item(&mut self, item: Item) {
        let output_index = self.response.output.len();
        self.push(&Event::OutputItemAdded(ItemEvent { output_index, item: item.clone() }));
        self.response.output.push(item);
    }

    /// The open item is the last that is not a call: a call closes it before it is added.
    fn open_index(&self) -> Option<usize> {
        self.response.output.len().checked_sub(1)
    }

    fn open_parts(&mut self) -> Option<&mut Vec<Part>> {
        let open = self.open;
        match self.response.output.last_mut()? {
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

    fn open_part(&mut self) -> Option<&mut Part> {
        self.open_parts()?.last_mut()
    }

    fn place(&mut self) -> Option<PartPlace> {
        let output_index = self.open_index()?;
        let item_id: ItemId = self.response.output.last()?.id().clone();
        let content_index = self.open_parts()?.len().checked_sub(1)?;
        Some(PartPlace { item_id, output_index, content_index })
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
