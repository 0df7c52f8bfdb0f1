//! Compaction: the model summarises a conversation in a turn that is not stored, and the summary
//! replaces the rest.

use std::collections::HashSet;

use protocol::compacted::CompactedConversation;
use protocol::compaction::Compaction;
use protocol::fault::{Fault, FaultKind};
use protocol::id::{Owner, ResponseId};
use protocol::item::{Item, ItemStatus, Message, Part, Role};
use protocol::request::Create;
use protocol::response::{Response, ResponseStatus};
use protocol::trace::TraceContext;

use super::context::{Previous, TurnInput};
use super::start::{StartContext, Started};
use crate::conversation::assemble::StoredInput;
use crate::engine::Engine;
use crate::feed::Feed;
use crate::id;
use crate::provider::request::SUMMARISE;
use crate::shares::Reservation;

/// A running compaction.
pub struct Compacting {
    /// The id of the response that will be the summary.
    pub id: ResponseId,
    /// Its reader; dropping it means that the caller left.
    pub feed: Feed,
    /// What is kept beside the summary.
    pub kept: KeptItems,
}

/// What is kept of a conversation: the user's last message, and the calls that still wait for their
/// outputs, since an output needs its call before it.
#[derive(Debug)]
pub struct KeptItems {
    message: Option<Item>,
    calls: Vec<Item>,
}

impl Engine {
    /// Asks the model to summarise the conversation of a request. Nothing of it is stored.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn compact(
        &self,
        owner: &Owner,
        mut create: Create,
        trace: Option<TraceContext>,
        mut bytes: Reservation,
    ) -> Result<Compacting, Fault> {
        let (route, _) = self.route(&create)?;
        let previous = create.previous_response_id.clone().map(Previous::named);
        let TurnInput { mut context, .. } =
            self.turn_input(owner, &mut create, previous, None, &mut bytes).await?;
        let kept = KeptItems::take(&mut context);
        context.push(Item::Message(Message {
            id: id::item("msg"),
            ..Message::new(Role::User, vec![Part::input_text(SUMMARISE)])
        }));
        let input = TurnInput { context, stored: StoredInput::Copies, head: None };
        let create = Create { store: false, ..create };
        let on_leave = self.on_leave(&route, &create, false);
        let context =
            StartContext { claim: None, socket: None, conversation: None, on_leave, trace, bytes };
        let Started { id, feed, .. } = self.run(owner, create, route, input, context).await?;
        Ok(Compacting { id, feed, kept })
    }
}

impl KeptItems {
    /// Copies the message, and moves the calls out: no upstream accepts a message after a call
    /// without its output.
    fn take(context: &mut Vec<Item>) -> Self {
        let message = context
            .iter()
            .rfind(|item| matches!(item, Item::Message(message) if message.role == Role::User))
            .cloned();
        let answered: HashSet<String> =
            context.iter().filter_map(Item::answered_call_id).map(str::to_owned).collect();
        let is_open =
            |item: &Item| item.call_id().is_some_and(|call_id| !answered.contains(call_id));
        let (open, kept): (Vec<Item>, Vec<Item>) =
            std::mem::take(context).into_iter().partition(is_open);
        *context = kept;
        // A call that was cut while the model wrote it never gets an output.
        let is_whole = |item: &Item| match item {
            Item::FunctionCall(call) => call.status == ItemStatus::Completed,
            Item::CustomToolCall(call) => call.status == ItemStatus::Completed,
            _ => false,
        };
        Self { message, calls: open.into_iter().filter(is_whole).collect() }
    }

    /// The approximate number of bytes that it takes in memory.
    pub fn weight(&self) -> u64 {
        self.message.iter().chain(&self.calls).map(|item| item.weight() as u64).sum()
    }

    /// Adds the summary to what was kept.
    ///
    /// # Errors
    /// The response is not a whole summary.
    pub fn with_summary(self, response: &Response) -> Result<CompactedConversation, Fault> {
        let summary = summary(response)?;
        let compaction = Item::Compaction(Compaction { id: id::item("cmp"), summary });
        Ok(CompactedConversation {
            id: response.id.clone(),
            object: "response.compaction".into(),
            created_at: response.created_at,
            output: self.message.into_iter().chain([compaction]).chain(self.calls).collect(),
            usage: response.usage,
        })
    }
}

/// The summary. A partial one is an error: what it leaves out would be lost silently.
fn summary(response: &Response) -> Result<String, Fault> {
    match response.status {
        ResponseStatus::Completed => {}
        ResponseStatus::Cancelled => {
            let message = "The compaction was cancelled before it was complete.";
            return Err(Fault::new(FaultKind::Conflict, "response_cancelled", message));
        }
        ResponseStatus::Queued
        | ResponseStatus::InProgress
        | ResponseStatus::Failed
        | ResponseStatus::Incomplete => {
            let reason = response
                .incomplete_details
                .as_ref()
                .map_or("unknown", |details| details.reason.as_str());
            let message =
                format!("The model's summary ended early ({reason}), so nothing was compacted.");
            return Err(Fault::new(FaultKind::Upstream, "summary_incomplete", message));
        }
    }
    let text: String = response.output.iter().flat_map(written).collect();
    if text.trim().is_empty() {
        return Err(Fault::new(
            FaultKind::Upstream,
            "summary_missing",
            "The model wrote no summary, so nothing was compacted.",
        ));
    }
    Ok(text.trim().to_owned())
}

/// The text of an item; a refusal is not text.
fn written(item: &Item) -> impl Iterator<Item = &str> {
    let parts = if let Item::Message(message) = item { message.content.as_slice() } else { &[] };
    parts.iter().filter(|part| matches!(part, Part::OutputText { .. })).filter_map(Part::text)
}
