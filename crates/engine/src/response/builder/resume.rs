//! Rebuilds a response from its log when its turn is gone. It can be ended; it takes no more
//! events.

use std::collections::{BTreeMap, BTreeSet};

use protocol::entry::Entry;
use protocol::event::EventKind;
use protocol::item::{Item, Part};
use protocol::snapshot;
use serde::Deserialize;

use super::calls::Calls;
use super::{Open, ResponseBuilder};

#[derive(Deserialize)]
struct AtIndex {
    output_index: usize,
}

impl ResponseBuilder {
    /// The response of a whole log. `None` if it is not the log of a response.
    pub(crate) fn resume(entries: &[Entry]) -> Option<Self> {
        let response = snapshot::response(entries)?;
        let position = entries.last()?.position + 1;
        let done = indices(entries, EventKind::OutputItemDone);
        let is_open = |index: usize, item: &Item| {
            !done.contains(&index) && matches!(item, Item::Message(_) | Item::Reasoning(_))
        };
        let open = response
            .output
            .iter()
            .enumerate()
            .rfind(|(index, item)| is_open(*index, item))
            .and_then(|(_, item)| kind_of(item));
        let mut calls = Calls::default();
        let mut opaque = BTreeMap::new();
        for (index, item) in
            response.output.iter().enumerate().filter(|(index, _)| !done.contains(index))
        {
            match item {
                Item::FunctionCall(_) | Item::CustomToolCall(_) => calls.resume(index),
                Item::Opaque(_) => _ = opaque.insert(index as u64, index),
                Item::Message(_)
                | Item::Reasoning(_)
                | Item::FunctionCallOutput(_)
                | Item::CustomToolCallOutput(_)
                | Item::Compaction(_) => {}
            }
        }
        let last_part = entries.iter().rev().find_map(|entry| part_change(entry.kind));
        // Reasoning and its summary share an item: the last part decides which of them is open.
        let open = match (open, last_part) {
            (Some(Open::Reasoning), Some((Open::Summary, _))) => Some(Open::Summary),
            (open, _) => open,
        };
        let is_part_open = open.is_some() && last_part.is_some_and(|(_, is_open)| is_open);
        Some(Self { open, is_part_open, calls, opaque, ..Self::at(position, response) })
    }
}

/// The output indices of all events of one kind.
fn indices(entries: &[Entry], kind: EventKind) -> BTreeSet<usize> {
    let of_kind = entries.iter().filter(|entry| entry.kind == kind);
    of_kind
        .filter_map(|entry| serde_json::from_slice::<AtIndex>(&entry.data).ok())
        .map(|at| at.output_index)
        .collect()
}

/// Whether an event opens or closes a part, and of what: of a summary, or of the content (as
/// [`Open::Text`]).
fn part_change(kind: EventKind) -> Option<(Open, bool)> {
    let changes = [
        (EventKind::ContentPartAdded, (Open::Text, true)),
        (EventKind::ContentPartDone, (Open::Text, false)),
        (EventKind::ReasoningSummaryPartAdded, (Open::Summary, true)),
        (EventKind::ReasoningSummaryPartDone, (Open::Summary, false)),
    ];
    changes.into_iter().find(|(changing, _)| *changing == kind).map(|(_, change)| change)
}

/// The kind of an open item.
fn kind_of(item: &Item) -> Option<Open> {
    let last = match item {
        Item::Message(message) => message.content.last()?,
        Item::Reasoning(_) => return Some(Open::Reasoning),
        Item::FunctionCall(_)
        | Item::FunctionCallOutput(_)
        | Item::CustomToolCall(_)
        | Item::CustomToolCallOutput(_)
        | Item::Compaction(_)
        | Item::Opaque(_) => return None,
    };
    match last {
        Part::OutputText { .. } => Some(Open::Text),
        Part::Refusal { .. } => Some(Open::Refusal),
        Part::ReasoningText { .. } => Some(Open::Reasoning),
        Part::InputText { .. }
        | Part::InputImage { .. }
        | Part::InputFile { .. }
        | Part::SummaryText { .. }
        | Part::Opaque(_) => None,
    }
}
