//! Recovery at start: responses that an earlier process left without an end get one (promise 3).

use futures_util::{StreamExt, stream};
use protocol::id::ResponseId;
use protocol::item::Item;
use protocol::response::{Response, ResponseStatus};

use super::access::entries;
use super::builder::End;
use super::cause::Cause;
use super::end::{Commit, commit, finish};
use super::labels;
use super::state::EngineState;
use super::takeover::take_over;
use crate::engine::Engine;
use crate::log::{LogError, LogState};
use crate::storage::Keeping;
use crate::store::{RecordLookup, Removal, ResponseRecord, StoreError};

/// How many responses are ended at once. They share the log's writes and the store's transactions.
const AT_ONCE: usize = 64;

/// What recovery found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecoveryCounts {
    /// Responses that ran when the process died, and have ended as `server_restarted`.
    pub ended: usize,
    /// Responses that had ended, and whose end was not in the store yet.
    pub recorded: usize,
    /// Responses whose id was never returned, or whose log is missing or corrupt.
    pub forgotten: usize,
}

/// What became of one response.
enum Outcome {
    Ended,
    Recorded,
    Forgotten,
}

impl Engine {
    /// Ends what an earlier process left without an end. Called once, before anything is served; if
    /// it is interrupted, the next call does the rest.
    ///
    /// # Errors
    /// A store that cannot be read or written.
    pub async fn recover(&self) -> Result<RecoveryCounts, StoreError> {
        let shared = &*self.shared;
        let unfinished = shared.backends.stored.store.unfinished().await?;
        let unfinished_logs = shared.backends.stored.log.unfinished_logs();
        if !unfinished.is_empty() {
            tracing::info!(
                responses = unfinished.len(),
                "ending the responses of the last process"
            );
        }
        let mut recovered = RecoveryCounts::default();
        let mut outcomes =
            stream::iter(unfinished).map(|record| settle(shared, record)).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            match outcome? {
                Outcome::Ended => recovered.ended += 1,
                Outcome::Recorded => recovered.recorded += 1,
                Outcome::Forgotten => recovered.forgotten += 1,
            }
        }
        let mut strays = stream::iter(unfinished_logs)
            .map(|id| forget_stray(shared, id))
            .buffer_unordered(AT_ONCE);
        while let Some(was_stray) = strays.next().await {
            recovered.forgotten += usize::from(was_stray?);
        }
        Ok(recovered)
    }
}

/// Ends one response that has no end in the store.
async fn settle(shared: &EngineState, record: ResponseRecord) -> Result<Outcome, StoreError> {
    let progress = match shared.backends.stored.log.open(&record.id).await {
        Ok(reader) => Ok(*reader.progress().borrow()),
        Err(error) => Err(error),
    };
    let (response, outcome) = match progress {
        Err(LogError::Missing) => (None, Outcome::Forgotten),
        Err(LogError::Fenced | LogError::Ended | LogError::Gap | LogError::Unavailable) => {
            return Err(StoreError::Unavailable);
        }
        Ok(progress) if progress.state == LogState::Ended => {
            (read_ended(shared, &record.id).await, Outcome::Recorded)
        }
        Ok(_) => {
            let context = context(shared, &record).await?;
            let end = End::Stopped(Cause::ServerRestarted);
            match take_over(shared, &shared.backends.stored, &record.id, &end, &context).await {
                Ok(response) => {
                    shared.metrics.ended(&response, None);
                    shared.metrics.cancel(labels::of_cause(Cause::ServerRestarted));
                    (Some(response), Outcome::Ended)
                }
                Err(LogError::Gap) => {
                    tracing::error!(response = %record.id, "log is corrupt at its start; discarding it");
                    (None, Outcome::Forgotten)
                }
                Err(
                    LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Unavailable,
                ) => return Err(StoreError::Unavailable),
            }
        }
    };
    let Some(response) = response else {
        forget(shared, &record.id).await?;
        return Ok(Outcome::Forgotten);
    };
    match commit(shared, &shared.backends.stored, &record.id).await {
        Commit::Committed | Commit::Missing => {}
        Commit::Unreachable | Commit::Stopping => return Err(StoreError::Unavailable),
    }
    let is_cut = matches!(outcome, Outcome::Ended) || response.status == ResponseStatus::Failed;
    if is_cut && response.output.is_empty() {
        // Nothing was generated: a retry with the same key gets a new attempt.
        shared.backends.stored.store.release(&record.id).await?;
    }
    let keeping = Keeping { store: true, readable: record.readable };
    // The times of its events were lost with the earlier process.
    finish(&shared.backends.stored, &record.id, keeping, (response.output, None)).await?;
    Ok(outcome)
}

/// Removes a log without a record: its id was never returned, or its owner was deleting it.
async fn forget_stray(shared: &EngineState, id: ResponseId) -> Result<bool, StoreError> {
    let is_stray = match shared.backends.stored.store.find(&id).await? {
        RecordLookup::Record(record) => {
            repair(shared, &record).await?;
            false
        }
        RecordLookup::Expired(_) | RecordLookup::Missing => true,
    };
    if is_stray {
        forget(shared, &id).await?;
    }
    Ok(is_stray)
}

/// Ends a log without an end whose record has one: its tail was lost with the power, or is corrupt.
async fn repair(shared: &EngineState, record: &ResponseRecord) -> Result<(), StoreError> {
    let is_open = match shared.backends.stored.log.open(&record.id).await {
        Ok(reader) => reader.progress().borrow().state == LogState::Open,
        Err(_gone) => false,
    };
    if record.ended_at.is_none() || !is_open {
        return Ok(());
    }
    let context = context(shared, record).await?;
    match take_over(
        shared,
        &shared.backends.stored,
        &record.id,
        &End::Stopped(Cause::ServerRestarted),
        &context,
    )
    .await
    {
        Ok(_) | Err(LogError::Gap) => Ok(()),
        Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Unavailable) => {
            Err(StoreError::Unavailable)
        }
    }
}

async fn forget(shared: &EngineState, id: &ResponseId) -> Result<(), StoreError> {
    shared.backends.stored.store.remove(id, Removal::Forgotten).await?;
    shared.backends.stored.log.remove(id).await.map_err(|_failed| StoreError::Unavailable)
}

async fn read_ended(shared: &EngineState, id: &ResponseId) -> Option<Response> {
    let reader = shared.backends.stored.log.open(id).await.ok()?;
    let committed = reader.progress().borrow().committed;
    let last = entries(&*reader, committed.saturating_sub(1), committed).await.ok()?;
    protocol::snapshot::response(&last)
}

/// What the model had read, as far as it is stored. The input of a stateless response is not.
async fn context(shared: &EngineState, record: &ResponseRecord) -> Result<Vec<Item>, StoreError> {
    match record.input.last().or(record.head.as_ref()) {
        Some(last) => shared.backends.stored.store.path(last, shared.most()).await,
        None => Ok(Vec::new()),
    }
}
