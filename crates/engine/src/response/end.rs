//! How a response ends: its turn runs to the end whatever happens in it, the end is stored, and an
//! ephemeral response is deleted.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use protocol::fault::{Fault, FaultKind};
use protocol::id::{Owner, ResponseId};
use protocol::item::Item;
use protocol::response::{Response, ResponseStatus};
use tokio::time::sleep;

use super::builder::End;
use super::handle::RunningResponse;
use super::options::SocketContext;
use super::run::Turn;
use super::state::EngineState;
use super::takeover::take_over;
use crate::clock;
use crate::log::{LogError, LogState};
use crate::shares::Reservation;
use crate::storage::{Backend, Keeping};
use crate::store::{RecordEnd, Removal, StoreError};
use crate::times::EventTimes;
use crate::workers::Workers;

/// The pause before a log or a store that failed is tried again.
const RETRY: Duration = Duration::from_millis(100);

/// What a socket will remember of a turn when it has ended.
pub(super) struct Remembering {
    pub(super) socket: SocketContext,
    pub(super) before: Arc<[Item]>,
    /// The memory it will take.
    pub(super) bytes: Reservation,
}

impl Remembering {
    async fn remember(self, workers: &Workers, owner: &Owner, response: &Response) {
        let Self { socket: SocketContext { history, lane }, before, mut bytes } = self;
        if response.status == ResponseStatus::Failed {
            if let Some(parent) = &response.previous_response_id {
                history.evict(&lane, parent);
            }
            return;
        }
        let weight = before.iter().chain(&response.output).map(|item| item.weight() as u64).sum();
        // It is part of a conversation already: refusing it now would lose it.
        bytes.add(weight);
        let output = response.output.clone();
        let copy = move || -> Arc<[Item]> { before.iter().cloned().chain(output).collect() };
        let Some(context) = workers.run_sized(owner, weight, copy).await else { return };
        history.put(lane, response.id.clone(), context, bytes);
    }
}

/// Whether the end of a response is in its log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Commit {
    /// It is.
    Committed,
    /// There is no such log: it was removed, and needs no end.
    Missing,
    /// The log cannot be opened now: it is not known.
    Unreachable,
    /// The process stops before it is.
    Stopping,
}

/// Runs a turn, stores its end, and deletes the response if it is ephemeral.
pub(super) async fn run_to_end(
    shared: Arc<EngineState>,
    handle: Arc<RunningResponse>,
    turn: Box<Turn>,
    remembering: Option<Remembering>,
) {
    let ended = match AssertUnwindSafe(turn.run()).catch_unwind().await {
        Ok(ended) => ended,
        Err(_panic) => Box::pin(after_panic(&shared, &handle)).await,
    };
    match ended {
        // Boxed, as the task would keep their size for its whole life.
        Some(response) if Box::pin(is_committed(&shared, &handle)).await => {
            Box::pin(put_away(&shared, &handle, response, remembering)).await;
        }
        // Another writer has the log, or it was removed, or the process stops before the end could
        // be written: then the next process finds the response without its end.
        Some(_) | None => handle.record(),
    }
    // First into the one list, so that it is always in one.
    shared.timelines.add(Arc::clone(&handle.timeline));
    shared.responses().remove(&handle.id);
    shared.ended.notify_one();
}

/// Stores a response whose end is in its log, and deletes it if it is ephemeral.
async fn put_away(
    shared: &EngineState,
    handle: &RunningResponse,
    response: Response,
    remembering: Option<Remembering>,
) {
    let backend = shared.backends.for_keeping(handle.keeping);
    log_end(&response, handle.started.elapsed());
    if let Some(remembering) = remembering {
        remembering.remember(&shared.workers, &handle.owner, &response).await;
    }
    if response.status == ResponseStatus::Failed && response.output.is_empty() {
        // Nothing was generated and nothing paid: a retry with the same key gets a new attempt
        // instead of the same failure. A store that cannot release the key repeats the failure,
        // which is safe.
        let _released = backend.store.release(&handle.id).await;
    }
    let has_answered = has_answered(&response);
    let mut is_kept = record(shared, handle, response.output).await;
    if let Some(conversation) = &handle.conversation {
        // A question without a response would confuse the next turn, so such a turn is deleted.
        is_kept &= has_answered;
        if is_kept {
            shared.move_head(&handle.owner, conversation, handle.id.clone()).await;
        }
    }
    handle.record();
    if !is_kept {
        handle.no_readers().await;
        // What cannot be deleted now, retention finds later.
        let _removed = backend.store.remove(&handle.id, Removal::Forgotten).await;
        let _removed = backend.log.remove(&handle.id).await;
    }
}

/// Waits until the end is in the log. `false` if the process stops before.
async fn is_committed(shared: &EngineState, handle: &RunningResponse) -> bool {
    let backend = shared.backends.for_keeping(handle.keeping);
    loop {
        match commit(shared, backend, &handle.id).await {
            Commit::Committed | Commit::Missing => return true,
            Commit::Stopping => return false,
            // Not the same as missing: the log may still lose the end, and the store must not have
            // it before.
            Commit::Unreachable => {}
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = shared.tasks.stopping() => return false,
        }
    }
}

/// Waits until the end is in the log, as long as the log can be reached.
pub(super) async fn commit(shared: &EngineState, backend: &Backend, id: &ResponseId) -> Commit {
    let reader = match backend.log.open(id).await {
        Ok(reader) => reader,
        Err(LogError::Missing) => return Commit::Missing,
        Err(LogError::Fenced | LogError::Ended | LogError::Gap | LogError::Unavailable) => {
            return Commit::Unreachable;
        }
    };
    let mut progress = reader.progress();
    tokio::select! {
        biased;
        ended = progress.wait_for(|progress| progress.state == LogState::Ended) => {
            if ended.is_ok() { Commit::Committed } else { Commit::Missing }
        }
        () = shared.tasks.stopping() => Commit::Stopping,
    }
}

/// Stores the end as soon as the store takes it. Returns whether the response is kept.
async fn record(shared: &EngineState, handle: &RunningResponse, output: Vec<Item>) -> bool {
    let backend = shared.backends.for_keeping(handle.keeping);
    let mut is_first = true;
    loop {
        let end = (output.clone(), Some(handle.times()));
        let error = match finish(backend, &handle.id, handle.keeping, end).await {
            Ok(()) => return handle.keeping.store,
            Err(StoreError::Unavailable) => StoreError::Unavailable,
            // Deleted meanwhile, or never there.
            Err(StoreError::Missing | StoreError::Taken | StoreError::TooLarge) => return false,
        };
        if is_first {
            tracing::error!(response = %handle.id, %error, "the end of a response cannot be stored; retrying until it can");
            handle.cannot_record();
        }
        is_first = false;
        tokio::select! {
            () = sleep(RETRY) => {}
            () = shared.tasks.stopping() => return true,
        }
    }
}

/// Stores the end.
pub(super) async fn finish(
    backend: &Backend,
    id: &ResponseId,
    keeping: Keeping,
    (output, times): (Vec<Item>, Option<EventTimes>),
) -> Result<(), StoreError> {
    let ended_at = clock::unix_seconds();
    let end = if keeping.readable {
        RecordEnd { output, ended_at, times }
    } else {
        RecordEnd::new(Vec::new(), ended_at)
    };
    backend.store.finish(id, end).await
}

/// Whether a conversation can continue from it: the model ended it by itself, and wrote or called
/// something.
fn has_answered(response: &Response) -> bool {
    let has_output = response.output.iter().any(|item| !matches!(item, Item::Reasoning(_)));
    match response.status {
        ResponseStatus::Completed | ResponseStatus::Incomplete => has_output,
        ResponseStatus::Failed
        | ResponseStatus::Cancelled
        | ResponseStatus::Queued
        | ResponseStatus::InProgress => false,
    }
}

/// Logs one line for each response, with its cost and nothing of its content.
fn log_end(response: &Response, duration: Duration) {
    let (model, status) = (response.model.as_str(), response.status.as_str());
    let reason = response.incomplete_details.as_ref().map(|details| details.reason.as_str());
    let (tokens_in, tokens_out) = (
        response.usage.map(|usage| usage.input_tokens),
        response.usage.map(|usage| usage.output_tokens),
    );
    let duration_ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    tracing::info!(response = %response.id, model, status, reason, tokens_in, tokens_out, duration_ms, "response ended");
}

/// A turn that panicked leaves a log without an end: it gets one, under a new epoch (promise 3).
async fn after_panic(shared: &EngineState, handle: &RunningResponse) -> Option<Response> {
    tracing::error!(response = %handle.id, "the turn of a response panicked");
    let fault =
        Fault::new(FaultKind::Server, "server_error", "internal error; see the server's log");
    let end = End::Failed(fault.clone());
    let backend = shared.backends.for_keeping(handle.keeping);
    loop {
        match take_over(shared, backend, &handle.id, &end, &[]).await {
            Ok(response) => {
                shared.metrics.ended(&response, Some(&fault));
                return Some(response);
            }
            Err(LogError::Unavailable) => {}
            Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => {
                return None;
            }
        }
        tokio::select! {
            () = sleep(RETRY) => {}
            () = shared.tasks.stopping() => return None,
        }
    }
}
