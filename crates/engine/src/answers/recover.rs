//! Answers whose turn is gone: after a crash of the process, or of a task in it. Each gets its one end (promise 3).

use futures_util::{StreamExt, stream};
use protocol::id::ResponseId;
use protocol::item::Item;
use protocol::response::{Response, ResponseStatus};

use super::end::{finish, is_committed};
use super::{Engine, Shared, entries};
use crate::clock;
use crate::count::{self, Prompt};
use crate::log::{Life, LogError, LogState};
use crate::metrics::kinds;
use crate::store::{Found, Most, Record, Removal, StoreError};
use crate::turn::{Answer, Cause, End};

/// How many answers are ended at once. They share the log's writes and the store's transactions.
const AT_ONCE: usize = 64;

/// What was found at start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Answers that ran when the process died, and have ended as `server_restarted`.
    pub ended: usize,
    /// Answers that had ended, and whose end the store did not know yet.
    pub recorded: usize,
    /// What had not come far enough for anybody to know of it, or was to be forgotten.
    pub forgotten: usize,
}

/// What became of one.
enum Outcome {
    Ended,
    Recorded,
    Forgotten,
}

impl Engine {
    /// Ends what a process before this one left behind. To be called once, before anything is served; when it is
    /// interrupted, the next call does the rest.
    ///
    /// # Errors
    /// A store that cannot be read or written.
    pub async fn recover(&self) -> Result<Recovered, StoreError> {
        let shared = &*self.shared;
        let unfinished = shared.store.unfinished().await?;
        let left_behind = shared.log.left_behind();
        if !unfinished.is_empty() {
            tracing::info!(answers = unfinished.len(), "ending what ran when the last process died");
        }
        let mut recovered = Recovered::default();
        let mut outcomes = stream::iter(unfinished).map(|record| settle(shared, record)).buffer_unordered(AT_ONCE);
        while let Some(outcome) = outcomes.next().await {
            match outcome? {
                Outcome::Ended => recovered.ended += 1,
                Outcome::Recorded => recovered.recorded += 1,
                Outcome::Forgotten => recovered.forgotten += 1,
            }
        }
        let mut strays = stream::iter(left_behind).map(|id| forget_stray(shared, id)).buffer_unordered(AT_ONCE);
        while let Some(was_stray) = strays.next().await {
            recovered.forgotten += usize::from(was_stray?);
        }
        Ok(recovered)
    }
}

/// Ends one answer that the store knows as running.
async fn settle(shared: &Shared, record: Record) -> Result<Outcome, StoreError> {
    let progress = match shared.log.open(&record.id).await {
        Ok(reader) => Ok(*reader.progress().borrow()),
        Err(error) => Err(error),
    };
    let (response, outcome) = match progress {
        Err(LogError::Missing) => (None, Outcome::Forgotten),
        Err(LogError::Fenced | LogError::Ended | LogError::Gap | LogError::Unavailable) => return Err(StoreError::Unavailable),
        Ok(progress) if progress.state == LogState::Ended => (read_ended(shared, &record.id).await, Outcome::Recorded),
        Ok(_) => {
            let context = context(shared, &record).await?;
            let end = End::Stopped(Cause::ServerRestarted);
            match take_over(shared, &record.id, &end, &context).await {
                Ok(response) => {
                    shared.metrics.ended(&response, None);
                    shared.metrics.cancel(kinds::of_cause(Cause::ServerRestarted));
                    (Some(response), Outcome::Ended)
                }
                Err(LogError::Gap) => {
                    tracing::error!(response = %record.id, "the log of this answer is damaged from its begin on, and is forgotten");
                    (None, Outcome::Forgotten)
                }
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Unavailable) => return Err(StoreError::Unavailable),
            }
        }
    };
    let Some(response) = response.filter(|_| record.store) else {
        forget(shared, &record.id).await?;
        return Ok(Outcome::Forgotten);
    };
    if !is_committed(shared, &record.id).await {
        return Err(StoreError::Unavailable);
    }
    let is_cut = matches!(outcome, Outcome::Ended) || response.status == ResponseStatus::Failed;
    if is_cut && response.output.is_empty() {
        // Nothing was made: who comes back with the same key gets another try.
        shared.store.release(&record.id).await?;
    }
    finish(shared, &record.id, response.output).await?;
    Ok(outcome)
}

/// Forgets a log that belongs to no record: nobody was told its id, or its owner was about to delete it.
async fn forget_stray(shared: &Shared, id: ResponseId) -> Result<bool, StoreError> {
    let is_stray = match shared.store.find(&id).await? {
        Found::Record(record) => {
            mend(shared, &record).await?;
            false
        }
        Found::Expired(_) | Found::Missing => true,
    };
    if is_stray {
        forget(shared, &id).await?;
    }
    Ok(is_stray)
}

/// Gives a log an end that has none though its record has: what stood behind was lost with the power, or is damaged.
async fn mend(shared: &Shared, record: &Record) -> Result<(), StoreError> {
    let is_open = match shared.log.open(&record.id).await {
        Ok(reader) => reader.progress().borrow().state == LogState::Open,
        Err(_gone) => false,
    };
    if record.ended_at.is_none() || !is_open {
        return Ok(());
    }
    let context = context(shared, record).await?;
    match take_over(shared, &record.id, &End::Stopped(Cause::ServerRestarted), &context).await {
        Ok(_) | Err(LogError::Gap) => Ok(()),
        Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Unavailable) => Err(StoreError::Unavailable),
    }
}

async fn forget(shared: &Shared, id: &ResponseId) -> Result<(), StoreError> {
    shared.store.remove(id, Removal::Forgotten).await?;
    shared.log.remove(id).await.map_err(|_failed| StoreError::Unavailable)
}

async fn read_ended(shared: &Shared, id: &ResponseId) -> Option<Response> {
    let reader = shared.log.open(id).await.ok()?;
    let committed = reader.progress().borrow().committed;
    let last = entries(&*reader, committed.saturating_sub(1), committed).await.ok()?;
    protocol::snapshot::response(&last)
}

/// What the model had read, as far as the store knows it. A stateless answer's input is nowhere.
async fn context(shared: &Shared, record: &Record) -> Result<Vec<Item>, StoreError> {
    let config = shared.config();
    match record.input.last().or(record.head.as_ref()) {
        Some(last) => shared.store.path(last, Most { items: config.context_items, bytes: config.context_bytes }).await,
        None => Ok(Vec::new()),
    }
}

/// Ends an answer in place of the turn that is gone, with its text and its usage so far, under a new epoch.
///
/// # Errors
/// The log is not there, not that of an answer, or cannot be read or written.
pub(super) async fn take_over(shared: &Shared, id: &ResponseId, end: &End, context: &[Item]) -> Result<Response, LogError> {
    let reader = shared.log.open(id).await?;
    let mut writer = shared.log.take(id, Life::Kept)?;
    // What is appended and not yet committed is part of the log as well: it will be, or nothing behind it.
    let mut progress = reader.progress();
    let next = writer.next_position();
    drop(progress.wait_for(|progress| progress.committed >= next || progress.state == LogState::Failed).await);
    if progress.borrow().committed < next {
        return Err(LogError::Unavailable);
    }
    let mut answer = Answer::resume(&entries(&*reader, 0, next).await?).ok_or(LogError::Gap)?;
    if answer.response().status.is_terminal() {
        return Ok(answer.response().clone());
    }
    let usage = if answer.has_output() && !context.is_empty() {
        let (response, context) = (answer.response().clone(), context.to_vec());
        shared.tasks.blocking(move || count::usage(&Prompt::from(&response), &context, &response.output)).await
    } else {
        None
    };
    // Whoever takes over knows why.
    let _failure = answer.end(end, usage, clock::unix_seconds(), "");
    writer.append(&answer.take_entries())?;
    Ok(answer.response().clone())
}
