//! How an answer ends: its turn is run to the end whatever happens in it, the end is written down, and what is not to be
//! kept is forgotten.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use protocol::fault::{Fault, FaultKind};
use protocol::id::ResponseId;
use protocol::item::Item;
use protocol::response::{Response, ResponseStatus};
use tokio::time::sleep;

use super::recover::take_over;
use super::{Shared, Socket};
use crate::clock;
use crate::log::{LogError, LogState};
use crate::shares::Reservation;
use crate::store::{Found, Removal, StoreError};
use crate::turn::{End, Live, Turn};

/// How long to wait before a log or a store that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What a socket will remember of a turn when it has ended.
pub(super) struct Remembering {
    pub(super) socket: Socket,
    pub(super) before: Arc<[Item]>,
    /// The memory that it will take.
    pub(super) bytes: Reservation,
}

impl Remembering {
    fn remember(self, response: &Response) {
        let Self { socket: Socket { local, lane }, before, mut bytes } = self;
        if response.status == ResponseStatus::Failed {
            if let Some(parent) = &response.previous_response_id {
                local.evict(&lane, parent);
            }
            return;
        }
        let context: Arc<[Item]> = before.iter().chain(&response.output).cloned().collect();
        // It is part of a conversation already: to refuse it now would be to forget it.
        bytes.add(context.iter().map(|item| item.weight() as u64).sum());
        local.put(lane, response.id.clone(), context, bytes);
    }
}

/// Runs a turn, writes down how it ended, and forgets it if it is not to be kept.
pub(super) async fn run_to_end(shared: Arc<Shared>, live: Arc<Live>, turn: Turn, remembering: Option<Remembering>) {
    let ended = match AssertUnwindSafe(turn.run()).catch_unwind().await {
        Ok(ended) => ended,
        Err(_panic) => after_panic(&shared, &live).await,
    };
    match ended {
        Some(response) if is_committed(&shared, &live.id).await => put_away(&shared, &live, response, remembering).await,
        // The log went to somebody else or was removed, or the process ends before it could be written: then the next
        // one finds the answer without its end.
        Some(_) | None => live.record(),
    }
    shared.live().remove(&live.id);
    shared.ended.notify_one();
}

/// Puts an answer whose end is in its log into the store, and forgets it if it is not to be kept.
async fn put_away(shared: &Shared, live: &Live, response: Response, remembering: Option<Remembering>) {
    log_end(&response, live.started.elapsed());
    if let Some(remembering) = remembering {
        remembering.remember(&response);
    }
    if response.status == ResponseStatus::Failed && response.output.is_empty() {
        // Nothing was made and nothing paid: who comes back with the same key wants another try, not the same refusal. A
        // store that cannot give the key back repeats the refusal, which is safe.
        let _released = shared.store.release(&live.id).await;
    }
    let is_well = has_answered(&response);
    let mut is_kept = record(shared, live, response.output).await;
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
        let _forgotten = shared.log.remove(&live.id).await;
    }
}

/// Waits for the end to be in the log. Says whether it came to that before the process ends.
pub(super) async fn is_committed(shared: &Shared, id: &ResponseId) -> bool {
    // One that was removed meanwhile needs no end.
    let Ok(reader) = shared.log.open(id).await else { return true };
    let mut progress = reader.progress();
    let ended = async { drop(progress.wait_for(|progress| progress.state == LogState::Ended).await) };
    tokio::select! {
        biased;
        () = ended => true,
        () = shared.tasks.stopping() => false,
    }
}

/// Puts the end into the store, as soon as it takes it. Says whether the answer is to be kept.
async fn record(shared: &Shared, live: &Live, output: Vec<Item>) -> bool {
    let mut is_first = true;
    loop {
        let error = match finish(shared, &live.id, output.clone()).await {
            Ok(is_kept) => return is_kept,
            Err(StoreError::Unavailable) => StoreError::Unavailable,
            // Deleted meanwhile, or never there.
            Err(StoreError::Missing | StoreError::Taken | StoreError::TooLarge) => return false,
        };
        if is_first {
            tracing::error!(response = %live.id, %error, "the end of an answer cannot be stored; it is tried until it can");
            live.cannot_record();
        }
        is_first = false;
        tokio::select! {
            () = sleep(RETRY) => {}
            () = shared.tasks.stopping() => return true,
        }
    }
}

/// Puts the end into the store. Says whether the answer is to be kept.
pub(super) async fn finish(shared: &Shared, id: &ResponseId, output: Vec<Item>) -> Result<bool, StoreError> {
    let record = match shared.store.find(id).await? {
        Found::Record(record) => record,
        Found::Expired(_) | Found::Missing => return Err(StoreError::Missing),
    };
    let output = if record.readable { output } else { Vec::new() };
    shared.store.finish(id, output, clock::unix_seconds()).await?;
    Ok(record.store)
}

/// Whether a conversation can go on from it: the model ended it by itself, and said or called something.
fn has_answered(response: &Response) -> bool {
    let has_said = response.output.iter().any(|item| !matches!(item, Item::Reasoning(_)));
    match response.status {
        ResponseStatus::Completed | ResponseStatus::Incomplete => has_said,
        ResponseStatus::Failed | ResponseStatus::Cancelled | ResponseStatus::Queued | ResponseStatus::InProgress => false,
    }
}

/// Logs one line for each response, with its cost and nothing of its content.
fn log_end(response: &Response, duration: Duration) {
    let (model, status) = (response.model.as_str(), response.status.as_str());
    let reason = response.incomplete_details.as_ref().map(|details| details.reason.as_str());
    let (tokens_in, tokens_out) = (response.usage.map(|usage| usage.input_tokens), response.usage.map(|usage| usage.output_tokens));
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(response = %response.id, model, status, reason, tokens_in, tokens_out, duration_ms, "response ended");
}

/// A turn that panicked leaves a log without an end: it gets one, under a new epoch (promise 3).
async fn after_panic(shared: &Shared, live: &Live) -> Option<Response> {
    tracing::error!(response = %live.id, "the turn of an answer panicked");
    let fault = Fault::new(FaultKind::Server, "server_error", "Weir failed on this answer; its log says more");
    let end = End::Failed(fault.clone());
    loop {
        match take_over(shared, &live.id, &end, &[]).await {
            Ok(response) => {
                shared.metrics.ended(&response, Some(&fault));
                return Some(response);
            }
            Err(LogError::Unavailable) => {}
            Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => return None,
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = shared.tasks.stopping() => return None,
        }
    }
}
