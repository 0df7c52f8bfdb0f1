//! How an answer ends: its turn is run to the end whatever happens in it, the end is written down, and what is not to be
//! kept is forgotten.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use futures_util::FutureExt;
use protocol::event::{Entry, Event};
use protocol::fault::{Fault, FaultKind};
use protocol::item::Item;
use protocol::response::{Response, ResponseStatus};
use protocol::snapshot;

use super::{Shared, Socket};
use crate::clock;
use crate::store::{Found, Removal};
use crate::turn::{Live, Turn};

/// What a socket will remember of a turn when it has ended.
pub(super) struct Remembering {
    pub(super) socket: Socket,
    pub(super) before: Arc<[Item]>,
}

impl Remembering {
    fn remember(self, response: &Response) {
        let Socket { local, lane } = self.socket;
        if response.status == ResponseStatus::Failed {
            if let Some(parent) = &response.previous_response_id {
                local.evict(&lane, parent);
            }
            return;
        }
        let context = self.before.iter().chain(&response.output).cloned().collect();
        local.put(lane, response.id.clone(), context);
    }
}

/// Runs a turn, writes down how it ended, and forgets it if it is not to be kept.
pub(super) async fn run_to_end(shared: Arc<Shared>, live: Arc<Live>, turn: Turn, remembering: Option<Remembering>) {
    let ended = match AssertUnwindSafe(turn.run()).catch_unwind().await {
        Ok(ended) => ended,
        Err(_panic) => after_panic(&shared, &live).await,
    };
    if let Some(response) = &ended {
        say(response);
        if let Some(remembering) = remembering {
            remembering.remember(response);
        }
    }
    if ended.as_ref().is_some_and(|response| response.status == ResponseStatus::Failed && response.output.is_empty()) {
        // Nothing was made and nothing paid: who comes back with the same key wants another try, not the same refusal. A
        // store that cannot give the key back repeats the refusal, which is safe.
        let _released = shared.store.release(&live.id).await;
    }
    let is_well = ended.as_ref().is_some_and(has_answered);
    let mut is_kept = record(&shared, &live, ended).await;
    if let Some(thread) = &live.thread {
        // A question without its answer would be in the way of the next one: nothing is left of such a turn.
        is_kept &= is_well;
        if is_kept {
            shared.move_head(&live.owner, thread, live.id.clone()).await;
        }
    }
    live.record();
    if !is_kept {
        live.deserted().await;
        // What cannot be forgotten now, retention finds later.
        let _forgotten = shared.store.remove(&live.id, Removal::Forgotten).await;
        shared.log.remove(&live.id);
    }
    shared.live().remove(&live.id);
    shared.ended.notify_one();
}

/// Puts the end into the store. Says whether the answer is to be kept.
async fn record(shared: &Shared, live: &Live, ended: Option<Response>) -> bool {
    let (is_kept, is_readable) = match shared.store.find(&live.id).await {
        Ok(Found::Record(record)) => (record.store, record.readable),
        Ok(Found::Expired(_) | Found::Missing) | Err(_) => (false, false),
    };
    let output = ended.filter(|_| is_readable).map(|response| response.output).unwrap_or_default();
    if let Err(error) = shared.store.finish(&live.id, output, clock::unix_seconds()).await {
        tracing::error!(response = %live.id, %error, "the end of an answer could not be stored");
    }
    is_kept
}

/// Whether a conversation can go on from it: the model ended it by itself, and said or called something.
fn has_answered(response: &Response) -> bool {
    let has_said = response.output.iter().any(|item| !matches!(item, Item::Reasoning(_)));
    match response.status {
        ResponseStatus::Completed | ResponseStatus::Incomplete => has_said,
        ResponseStatus::Failed | ResponseStatus::Cancelled | ResponseStatus::Queued | ResponseStatus::InProgress => false,
    }
}

/// One line for each answer, with what it cost and nothing of what was said.
fn say(response: &Response) {
    let reason = response.incomplete_details.as_ref().map(|details| details.reason.as_str());
    let usage = response.usage.map(|usage| (usage.input_tokens, usage.output_tokens));
    let seconds = clock::unix_seconds().saturating_sub(response.created_at);
    let (id, model, status) = (&response.id, &response.model, &response.status);
    tracing::info!(response = %id, ?model, ?status, reason, tokens = ?usage, seconds, "answer ended");
}

/// A turn that panicked leaves a log without an end: it gets one, under a new epoch (promise 3).
async fn after_panic(shared: &Shared, live: &Live) -> Option<Response> {
    tracing::error!(response = %live.id, "the turn of an answer panicked");
    let mut writer = shared.log.take(&live.id).ok()?;
    let reader = shared.log.open(&live.id).ok()?;
    let mut entries = Vec::new();
    while (entries.len() as u64) < writer.next_position() {
        let more = reader.read(entries.len() as u64, usize::MAX).await.ok().filter(|more| !more.is_empty())?;
        entries.extend(more);
    }
    let mut response = snapshot::response(&entries)?;
    if response.status.is_terminal() {
        return Some(response);
    }
    let fault = Fault::new(FaultKind::Server, "server_error", "Weir failed on this answer; its log says more");
    response.status = ResponseStatus::Failed;
    response.error = Some((&fault).into());
    let position = writer.next_position();
    let end = [Entry::new(position, &Event::error(&fault)), Entry::new(position + 1, &Event::terminal(response.clone()))];
    writer.append(&end).ok()?;
    Some(response)
}
