//! An answer taken up again from its log, where the turn that wrote it is gone. It can be ended; no words go in any more.

use std::collections::BTreeSet;

use protocol::event::{Entry, EventKind};
use protocol::item::{Item, ItemStatus, Part};
use protocol::snapshot;
use serde::Deserialize;

use super::{Answer, Call, Open};

#[derive(Deserialize)]
struct AtIndex {
    output_index: usize,
}

impl Answer {
    /// The answer as its whole log has it. `None` where that is not the log of an answer.
    pub(crate) fn resume(entries: &[Entry]) -> Option<Self> {
        let response = snapshot::response(entries)?;
        let position = entries.last()?.position + 1;
        let done = indices(entries, EventKind::OutputItemDone);
        let is_open = |index: usize, item: &Item| !done.contains(&index) && !matches!(item, Item::FunctionCall(_));
        let open = response.output.iter().enumerate().rfind(|(index, item)| is_open(*index, item)).and_then(|(_, item)| kind_of(item));
        let calls = response.output.iter().enumerate().filter_map(|(index, item)| {
            let Item::FunctionCall(call) = item else { return None };
            let is_running = call.status == ItemStatus::InProgress && !done.contains(&index);
            let call =
                Call { id: Some(call.call_id.clone()), name: Some(call.name.clone()), held_back: String::new(), output_index: Some(index) };
            is_running.then_some((index as u64, call))
        });
        let calls = calls.collect();
        let last_part = entries.iter().rev().find_map(|entry| part_change(entry.kind));
        // Thoughts and their summary are in one item: the last part says which of them grew.
        let open = match (open, last_part) {
            (Some(Open::Reasoning), Some((Open::Summary, _))) => Some(Open::Summary),
            (open, _) => open,
        };
        let is_part_open = open.is_some() && last_part.is_some_and(|(_, is_open)| is_open);
        Some(Self { response, position, open, is_part_open, calls, finish: None, usage: None, entries: Vec::new() })
    }
}

/// The places in the output that events of one kind speak of.
fn indices(entries: &[Entry], kind: EventKind) -> BTreeSet<usize> {
    let of_kind = entries.iter().filter(|entry| entry.kind == kind);
    of_kind.filter_map(|entry| serde_json::from_slice::<AtIndex>(&entry.data).ok()).map(|at| at.output_index).collect()
}

/// What an event says of a part: whether it is one of a summary or of the content (told as [`Open::Text`]), and whether it grows.
fn part_change(kind: EventKind) -> Option<(Open, bool)> {
    let changes = [
        (EventKind::ContentPartAdded, (Open::Text, true)),
        (EventKind::ContentPartDone, (Open::Text, false)),
        (EventKind::ReasoningSummaryPartAdded, (Open::Summary, true)),
        (EventKind::ReasoningSummaryPartDone, (Open::Summary, false)),
    ];
    changes.into_iter().find(|(changing, _)| *changing == kind).map(|(_, change)| change)
}

/// What grows in an item that is open.
fn kind_of(item: &Item) -> Option<Open> {
    let last = match item {
        Item::Message(message) => message.content.last()?,
        Item::Reasoning(_) => return Some(Open::Reasoning),
        Item::FunctionCall(_) | Item::FunctionCallOutput(_) | Item::Compaction(_) => return None,
    };
    match last {
        Part::OutputText { .. } => Some(Open::Text),
        Part::Refusal { .. } => Some(Open::Refusal),
        Part::ReasoningText { .. } => Some(Open::Reasoning),
        Part::InputText { .. } | Part::InputImage { .. } | Part::InputFile { .. } | Part::SummaryText { .. } => None,
    }
}
