//! Access to one response: reading, cancelling, deleting. Every operation checks the owner first.

use std::sync::Arc;

use protocol::entry::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::id::{Owner, ResponseId};
use protocol::item::Item;
use protocol::response::Response;
use protocol::snapshot;
use tokio::sync::oneshot;

use super::cause::Cause;
use super::fault::{log_fault, not_found, store_fault};
use super::handle::ReaderGuard;
use super::timeline::ResponseTimeline;
use crate::engine::Engine;
use crate::feed::Feed;
use crate::log::{LogError, LogReader, LogState};
use crate::storage::Backend;
use crate::store::{Expired, RecordLookup, Removal, ResponseRecord, StoreError};
use crate::times::RecordedTimes;

impl Engine {
    /// When the events of the response were appended.
    ///
    /// # Errors
    /// The caller has no such response; the store cannot be read.
    pub async fn event_times(
        &self,
        owner: &Owner,
        id: &ResponseId,
    ) -> Result<RecordedTimes, Fault> {
        self.record(owner, id).await?;
        if let Some(handle) = self.shared.running(id) {
            // Its end may be on its way from the log to the store.
            let has_ended = match self.shared.backends.of(id).log.open(id).await {
                Ok(reader) => reader.progress().borrow().state == LogState::Ended,
                Err(_gone) => false,
            };
            let elapsed = (!has_ended).then(|| handle.started.elapsed());
            return Ok(RecordedTimes { times: Some(handle.times()), elapsed });
        }
        let times = self.shared.backends.of(id).store.times(id).await.map_err(store_fault)?;
        Ok(RecordedTimes { times, elapsed: None })
    }

    /// A reader of the response, positioned after `after`.
    ///
    /// # Errors
    /// The caller has no such response; the response has no such position.
    pub async fn feed(
        &self,
        owner: &Owner,
        id: &ResponseId,
        after: Option<u64>,
    ) -> Result<Feed, Fault> {
        self.record(owner, id).await?;
        let reader = self.open(owner, id).await?;
        let committed = reader.progress().borrow().committed;
        let position = after.map_or(0, |after| after.saturating_add(1));
        if position > committed {
            let message = format!(
                "the response has no event {}; its last is {}",
                position - 1,
                committed.saturating_sub(1)
            );
            return Err(Fault::invalid("position_out_of_range", "starting_after", message));
        }
        let guard = self.shared.running(id).map(|handle| handle.attach());
        Ok(self.cursor(reader, position, guard))
    }

    /// The response in its current state.
    ///
    /// # Errors
    /// The caller has no such response.
    pub async fn response(&self, owner: &Owner, id: &ResponseId) -> Result<Response, Fault> {
        self.record(owner, id).await?;
        let reader = self.open(owner, id).await?;
        match self.read(owner, &*reader).await {
            Ok(response) => Ok(response),
            Err(error) => Err(self.why(owner, id, error).await),
        }
    }

    /// Stops a response if it runs, and returns it as it ended. Idempotent.
    ///
    /// # Errors
    /// The caller has no such response; the log cannot take the end.
    pub async fn cancel(&self, owner: &Owner, id: &ResponseId) -> Result<Response, Fault> {
        self.record(owner, id).await?;
        // An ephemeral response is deleted when its last reader leaves: this call counts as one
        // until it has read the end.
        let guard = self.shared.running(id).map(|handle| handle.attach());
        let reader = self.open(owner, id).await?;
        self.stop(id, Cause::Cancelled).await?;
        let response = self.read(owner, &*reader).await;
        drop(guard);
        match response {
            Ok(response) => Ok(response),
            Err(error) => Err(self.why(owner, id, error).await),
        }
    }

    /// Asks a response to stop, without waiting: readers see the end when the log has it.
    ///
    /// # Errors
    /// The caller has no such response.
    pub async fn request_cancel(&self, owner: &Owner, id: &ResponseId) -> Result<(), Fault> {
        self.record(owner, id).await?;
        if let Some(handle) = self.shared.running(id) {
            handle.stop(Cause::Cancelled);
        }
        Ok(())
    }

    /// Stops a response if it runs, and deletes it with its text.
    ///
    /// # Errors
    /// The caller has no such response; the log or the store cannot write.
    pub async fn delete(&self, owner: &Owner, id: &ResponseId) -> Result<(), Fault> {
        self.record(owner, id).await?;
        // Before the stop: an ephemeral response is gone once it has ended.
        let backend = self.shared.backends.of(id).clone();
        self.stop(id, Cause::Deleted).await?;
        let (id, (done, deleted)) = (id.clone(), oneshot::channel());
        // A deletion that has started is completed, whether or not its caller waits for it.
        self.shared.tasks.spawn("delete", async move {
            let _caller_has_left = done.send(erase(&backend, &id).await);
        });
        deleted.await.unwrap_or_else(|_panicked| Err(store_fault(StoreError::Unavailable)))
    }

    /// The way of a response that runs here or has ended here not long ago, of any owner.
    pub fn timeline(&self, id: &ResponseId) -> Option<Arc<ResponseTimeline>> {
        let running = self.shared.running(id).map(|handle| Arc::clone(&handle.timeline));
        running.or_else(|| self.shared.timelines.find(id))
    }

    /// The input items of this response with the conversation it continues, oldest first.
    ///
    /// # Errors
    /// The caller has no such response.
    pub async fn input_items(&self, owner: &Owner, id: &ResponseId) -> Result<Vec<Item>, Fault> {
        let record = self.record(owner, id).await?;
        let Some(last) = record.input.last().or(record.head.as_ref()) else {
            return Ok(Vec::new());
        };
        self.shared.path(owner, last).await.map_err(store_fault)
    }

    /// A cursor on a log. It counts as a reader of the response while it lives, if there is a
    /// guard.
    pub(super) fn cursor(
        &self,
        reader: Box<dyn LogReader>,
        position: u64,
        guard: Option<ReaderGuard>,
    ) -> Feed {
        Feed::new(reader, position, guard, self.shared.metrics.readers.hold())
    }

    /// The response in its current state, from its log.
    async fn read(&self, owner: &Owner, reader: &dyn LogReader) -> Result<Response, LogError> {
        let mut progress = reader.progress();
        // The first entries were appended before the id was returned to anyone, but a log may
        // commit them late.
        drop(
            progress
                .wait_for(|progress| progress.committed > 0 || progress.state != LogState::Open)
                .await,
        );
        let progress = *progress.borrow();
        // The terminal event holds the whole response; a running response is folded from its start.
        let from = if progress.state == LogState::Ended {
            progress.committed.saturating_sub(1)
        } else {
            0
        };
        let entries = entries(reader, from, progress.committed).await?;
        let bytes = entries.iter().map(|entry| entry.data.len() as u64).sum();
        self.work_sized(owner, bytes, move || snapshot::response(&entries))
            .await
            .flatten()
            .ok_or(LogError::Unavailable)
    }

    /// Opens the log of a response whose record exists.
    async fn open(&self, owner: &Owner, id: &ResponseId) -> Result<Box<dyn LogReader>, Fault> {
        match self.shared.backends.of(id).log.open(id).await {
            Ok(reader) => Ok(self.shared.loads.reader(owner, reader)),
            Err(error) => Err(self.why(owner, id, error).await),
        }
    }

    /// Why the log of a response cannot be read although its record was just found.
    async fn why(&self, owner: &Owner, id: &ResponseId, error: LogError) -> Fault {
        match error {
            // It was removed meanwhile: the record shows whether it expired or was deleted.
            LogError::Missing => {
                self.record(owner, id).await.err().unwrap_or_else(|| not_found(id))
            }
            LogError::Fenced | LogError::Ended | LogError::Gap | LogError::Unavailable => {
                log_fault(error)
            }
        }
    }

    /// The caller's record. Another caller's is reported as not found (promise 9).
    async fn record(&self, owner: &Owner, id: &ResponseId) -> Result<ResponseRecord, Fault> {
        match self.shared.backends.of(id).store.find(id).await.map_err(store_fault)? {
            RecordLookup::Record(record)
                if record.owner == *owner && (record.readable || record.ended_at.is_none()) =>
            {
                Ok(record)
            }
            RecordLookup::Expired(Expired { owner: expired, items_left }) if expired == *owner => {
                let left = match items_left {
                    0 => "None of its items are kept.".to_owned(),
                    _ => format!(
                        "{items_left} of its items are kept as part of the responses that continue it."
                    ),
                };
                let message =
                    format!("Response with id '{id}' has expired and is no longer kept. {left}");
                Err(Fault::new(FaultKind::NotFound, "response_expired", message).with_status(410))
            }
            RecordLookup::Record(_) | RecordLookup::Expired(_) | RecordLookup::Missing => {
                Err(not_found(id))
            }
        }
    }

    /// Stops a response and waits until its end is in the log and in the store.
    async fn stop(&self, id: &ResponseId, cause: Cause) -> Result<(), Fault> {
        let Some(handle) = self.shared.running(id) else { return Ok(()) };
        handle.stop(cause);
        // An ephemeral response may have ended and gone meanwhile.
        let backend = self.shared.backends.for_keeping(handle.keeping);
        let Ok(reader) = backend.log.open(id).await else { return Ok(()) };
        let mut progress = reader.progress();
        let seen = progress
            .wait_for(|progress| progress.state != LogState::Open)
            .await
            .map(|progress| progress.state);
        match seen {
            Ok(LogState::Ended) => {
                // A store that cannot take the end now gets it later; the response has ended all
                // the same.
                let _recorded = handle.recorded().await;
                Ok(())
            }
            Ok(LogState::Open | LogState::Failed) | Err(_) => Err(log_fault(LogError::Unavailable)),
        }
    }
}

/// Deletes a response and its text: the record first, so that it can no longer be found. A log that
/// cannot be removed now is found at the next start.
async fn erase(backend: &Backend, id: &ResponseId) -> Result<(), Fault> {
    backend.store.remove(id, Removal::Deleted).await.map_err(store_fault)?;
    backend.log.remove(id).await.map_err(log_fault)
}

/// The entries of a log from one position up to another, which is committed.
pub(super) async fn entries(
    reader: &dyn LogReader,
    from: u64,
    to: u64,
) -> Result<Vec<Entry>, LogError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut position = from;
    while position < to {
        let more = reader.read(position, usize::MAX).await?;
        position = more.last().ok_or(LogError::Missing)?.position + 1;
        entries.extend(more);
    }
    Ok(entries)
}
