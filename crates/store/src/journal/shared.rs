//! The state that the journal shares with its writers, its readers, its thread and its tasks.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use engine::log::LogError;
use engine::tasks::Tasks;
use protocol::id::ResponseId;
use tokio::sync::{Notify, oneshot, watch};

use super::appender::Appender;
use super::config::Config;
use super::disk::SegmentDisk;
use super::frame::RemovalReason;
use super::log::{self, Freed, JournalLog};
use super::mutex::lock;
use super::queue::{Batch, WriteQueue, WriterMode};
use super::queued::Queued;
use super::recover::{Damage, RecoveredJournal};
use super::segments::Segments;
use super::writer_state::WriterState;
use crate::Durability;
use crate::archive::Archive;

/// The state that the journal shares with its writers, its readers, its thread and its tasks.
pub(super) struct JournalInner {
    pub(super) config: Config,
    pub(super) disk: Arc<dyn SegmentDisk>,
    pub(super) archive: Arc<dyn Archive>,
    pub(super) tasks: Tasks,
    /// Logs that are not archived.
    pub(super) logs: Mutex<HashMap<ResponseId, Arc<JournalLog>>>,
    /// Archived logs with readers.
    pub(super) archived_logs: Mutex<HashMap<ResponseId, Weak<JournalLog>>>,
    pub(super) unfinished_logs: Vec<ResponseId>,
    pub(super) damage: Vec<Damage>,
    pub(super) segments: Arc<Segments>,
    pub(super) queue: Arc<WriteQueue>,
    pub(super) writer: Mutex<WriterState>,
    /// Notified when there is something to write.
    pub(super) gathering: Notify,
    /// Bytes of the frames of all logs that are not archived.
    pub(super) bytes: AtomicU64,
    /// Ended logs that wait to be archived; each is sent once.
    pub(super) ended: Mutex<Vec<Arc<JournalLog>>>,
    pub(super) has_ended: Notify,
    /// Notified when a segment may be removable.
    pub(super) cleaning: Notify,
    /// Deletions that are not in a file yet. Also changes when segments were removed.
    pub(super) deletions: watch::Sender<u64>,
}

impl JournalInner {
    pub(super) fn new(
        disk: Arc<dyn SegmentDisk>,
        archive: Arc<dyn Archive>,
        config: Config,
        tasks: Tasks,
        recovered: RecoveredJournal,
    ) -> Self {
        let RecoveredJournal { logs: found, segments, generation, next, damage } = recovered;
        let segments = Arc::new(Segments::new(segments));
        let hands = match config.durability {
            Durability::Memory | Durability::Process => WriterMode::Task,
            Durability::Disk => WriterMode::Thread,
        };
        let appender = Appender::new(
            Arc::clone(&disk),
            Arc::clone(&segments),
            config.durability,
            config.segment_bytes,
            generation,
            next,
        );
        let unfinished_logs = found.iter().map(|log| log.id.clone()).collect();
        let ended =
            found.iter().filter(|log| log.has_ended).map(|log| log.id.clone()).collect::<Vec<_>>();
        let logs: HashMap<_, _> = found
            .into_iter()
            .map(|log| (log.id.clone(), Arc::new(JournalLog::recovered(log))))
            .collect();
        let bytes = logs.values().map(|response| response.bytes()).sum();
        Self {
            config,
            disk,
            archive,
            tasks,
            ended: Mutex::new(ended.iter().filter_map(|id| logs.get(id).cloned()).collect()),
            logs: Mutex::new(logs),
            archived_logs: Mutex::default(),
            unfinished_logs,
            damage,
            segments,
            queue: Arc::new(WriteQueue::new(hands, generation)),
            writer: Mutex::new(WriterState {
                appender,
                unwritten: None,
                reusable: Batch::default(),
            }),
            gathering: Notify::new(),
            bytes: AtomicU64::new(bytes),
            has_ended: Notify::new(),
            cleaning: Notify::new(),
            deletions: watch::Sender::new(0),
        }
    }

    pub(super) fn every_log(&self) -> Vec<Arc<JournalLog>> {
        lock(&self.logs).values().cloned().collect()
    }

    /// A log has ended: sends it to the mover.
    pub(super) fn ended(&self, response: Arc<JournalLog>) {
        lock(&self.ended).push(response);
        self.has_ended.notify_one();
    }

    /// A log has left the journal.
    pub(super) fn release(&self, freed: &Freed) {
        self.bytes.fetch_sub(freed.bytes, Ordering::Relaxed);
        self.segments.release(&freed.segments);
        self.cleaning.notify_one();
    }

    /// Has the queued frames written if the caller was chosen for that. The writing task first
    /// yields to all ready tasks, so that responses that grow at the same time share one write;
    /// without any, it writes at once.
    pub(super) fn schedule(&self, queued: Queued) {
        if queued.is_mine {
            self.gathering.notify_one();
        }
    }

    /// Logs that were archived whole and whose copy in the journal has lost its tail: the archive
    /// is right.
    pub(super) async fn drop_truncated_copies(&self) {
        for response in self.every_log().iter().filter(|response| !response.has_ended()) {
            // If the archive fails, the copy stays and gets an end of its own.
            if matches!(self.archive.find(&response.id).await, Ok(Some(_))) {
                self.release_archived(response);
            }
        }
    }

    pub(super) async fn flush(&self) -> Result<(), LogError> {
        let (done, safe) = oneshot::channel();
        let queued = self.queue.push_fence(done).ok_or(LogError::Unavailable)?;
        self.schedule(queued);
        safe.await.map_err(|_failed| LogError::Unavailable)
    }

    pub(super) fn find(&self, id: &ResponseId) -> Option<Arc<JournalLog>> {
        let here = lock(&self.logs).get(id).cloned();
        here.or_else(|| lock(&self.archived_logs).get(id).and_then(Weak::upgrade))
    }

    /// Opens a log that is not in the journal.
    pub(super) async fn find_archived(
        &self,
        id: &ResponseId,
    ) -> Result<Option<Arc<JournalLog>>, LogError> {
        let Some(committed) = self.archive.find(id).await? else { return Ok(None) };
        let response = Arc::new(JournalLog::archived(id.clone(), committed));
        Ok(Some(self.archive(&response)))
    }

    /// Registers a log that is read from the archive, so that its readers learn of its removal.
    /// Returns the registered one.
    pub(super) fn archive(&self, response: &Arc<JournalLog>) -> Arc<JournalLog> {
        let mut archived_logs = lock(&self.archived_logs);
        if let Some(other) = archived_logs.get(&response.id).and_then(Weak::upgrade) {
            return other;
        }
        if archived_logs.len() == archived_logs.capacity() {
            // Entries without readers are dropped before the map grows.
            archived_logs.retain(|_, response| response.strong_count() > 0);
        }
        archived_logs.insert(response.id.clone(), Arc::downgrade(response));
        Arc::clone(response)
    }

    pub(super) async fn remove(&self, id: &ResponseId) -> Result<(), LogError> {
        let here = lock(&self.logs).remove(id);
        let archived_logs =
            lock(&self.archived_logs).remove(id).and_then(|response| response.upgrade());
        for response in here.iter().chain(&archived_logs) {
            self.release(&response.delete());
        }
        let may_wait = here.is_some() && self.config.durability != Durability::Memory;
        let safe = (may_wait || self.segments.may_contain(log::key(id))).then(|| {
            let (done, safe) = oneshot::channel();
            self.deletions.send_modify(|pending| *pending += 1);
            self.schedule(self.queue.push_removal(id, RemovalReason::Deleted, Some(done)));
            safe
        });
        let archiving = match &here {
            Some(response) => Some(response.archiving.lock().await),
            None => None,
        };
        self.archive.remove(id).await?;
        drop(archiving);
        match safe {
            Some(safe) => safe.await.map_err(|_failed| LogError::Unavailable),
            None => Ok(()),
        }
    }
}
