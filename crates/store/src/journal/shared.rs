//! What the journal, its writers, its readers, its thread and its tasks share.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, Weak};

use engine::log::{Log, LogError};
use engine::memory::log::MemoryLog;
use engine::tasks::Tasks;
use protocol::id::ResponseId;
use tokio::sync::{Notify, oneshot, watch};

use super::appender::Appender;
use super::config::Config;
use super::disk::SegmentDisk;
use super::frame::GoneReason;
use super::log::{self, Freed, JournalLog};
use super::mutex::lock;
use super::queue::{Batch, WriteQueue, WriterMode};
use super::queued::Queued;
use super::recover::{Damage, RecoveredJournal};
use super::segments::Segments;
use super::writer_state::WriterState;
use crate::Durability;
use crate::archive::Archive;

/// What the journal, its writers, its readers, its thread and its tasks share.
pub(super) struct JournalInner {
    pub(super) config: Config,
    pub(super) disk: Arc<dyn SegmentDisk>,
    pub(super) archive: Arc<dyn Archive>,
    pub(super) tasks: Tasks,
    /// Logs that nobody wants beyond their end.
    pub(super) fleeting: MemoryLog,
    /// Logs that are not in the archive.
    pub(super) logs: Mutex<HashMap<ResponseId, Arc<JournalLog>>>,
    /// Logs in the archive that somebody reads.
    pub(super) shelved: Mutex<HashMap<ResponseId, Weak<JournalLog>>>,
    pub(super) left_behind: Vec<ResponseId>,
    pub(super) damage: Vec<Damage>,
    pub(super) segments: Arc<Segments>,
    pub(super) queue: Arc<WriteQueue>,
    pub(super) writer: Mutex<WriterState>,
    /// Rung when somebody has to write.
    pub(super) gathering: Notify,
    /// Bytes of the frames of all logs that are not in the archive.
    pub(super) bytes: AtomicU64,
    /// Logs that have ended and wait to be put away; each comes once.
    pub(super) ended: Mutex<Vec<Arc<JournalLog>>>,
    pub(super) has_ended: Notify,
    /// Rung when a segment may be able to go.
    pub(super) cleaning: Notify,
    /// Deletions that are not in a file yet. Changes also when segments have gone.
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
        let left_behind = found.iter().map(|log| log.id.clone()).collect();
        let ended =
            found.iter().filter(|log| log.has_ended).map(|log| log.id.clone()).collect::<Vec<_>>();
        let logs: HashMap<_, _> = found
            .into_iter()
            .map(|log| (log.id.clone(), Arc::new(JournalLog::found(log))))
            .collect();
        let bytes = logs.values().map(|answer| answer.bytes()).sum();
        Self {
            config,
            disk,
            archive,
            tasks,
            fleeting: MemoryLog::new(),
            ended: Mutex::new(ended.iter().filter_map(|id| logs.get(id).cloned()).collect()),
            logs: Mutex::new(logs),
            shelved: Mutex::default(),
            left_behind,
            damage,
            segments,
            queue: Arc::new(WriteQueue::new(hands, generation)),
            writer: Mutex::new(WriterState { appender, stuck: None, spare: Batch::default() }),
            gathering: Notify::new(),
            bytes: AtomicU64::new(bytes),
            has_ended: Notify::new(),
            cleaning: Notify::new(),
            deletions: watch::Sender::new(0),
        }
    }

    pub(super) fn every_answer(&self) -> Vec<Arc<JournalLog>> {
        lock(&self.logs).values().cloned().collect()
    }

    /// A log has ended: the mover comes for it.
    pub(super) fn ended(&self, answer: Arc<JournalLog>) {
        lock(&self.ended).push(answer);
        self.has_ended.notify_one();
    }

    /// A log has left the journal.
    pub(super) fn release(&self, freed: &Freed) {
        self.bytes.fetch_sub(freed.bytes, Ordering::Relaxed);
        self.segments.release(&freed.segments);
        self.cleaning.notify_one();
    }

    /// Sees to it that what was queued is written, if that is for us. The task that writes lets everything go first that is
    /// ready now, so that answers that grow at the same time share one write; where nothing is, it writes at once.
    pub(super) fn schedule(&self, queued: Queued) {
        if queued.is_mine {
            self.gathering.notify_one();
        }
    }

    /// Logs that were put away whole and whose copy here has lost its tail: the archive is right.
    pub(super) async fn drop_cut_copies(&self) {
        for answer in self.every_answer().iter().filter(|answer| !answer.has_ended()) {
            // Where the archive cannot say, the copy stays and gets an end of its own.
            if matches!(self.archive.find(&answer.id).await, Ok(Some(_))) {
                self.leave(answer);
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
        here.or_else(|| lock(&self.shelved).get(id).and_then(Weak::upgrade))
    }

    /// Opens a log that is not here.
    pub(super) async fn find_archived(
        &self,
        id: &ResponseId,
    ) -> Result<Option<Arc<JournalLog>>, LogError> {
        let Some(committed) = self.archive.find(id).await? else { return Ok(None) };
        let answer = Arc::new(JournalLog::archived(id.clone(), committed));
        Ok(Some(self.archive(&answer)))
    }

    /// Enters a log that is read from the archive, so that its readers learn of its removal. Gives the one that is entered.
    pub(super) fn archive(&self, answer: &Arc<JournalLog>) -> Arc<JournalLog> {
        let mut shelved = lock(&self.shelved);
        if let Some(other) = shelved.get(&answer.id).and_then(Weak::upgrade) {
            return other;
        }
        if shelved.len() == shelved.capacity() {
            // Before it grows, those that nobody reads any more go.
            shelved.retain(|_, answer| answer.strong_count() > 0);
        }
        shelved.insert(answer.id.clone(), Arc::downgrade(answer));
        Arc::clone(answer)
    }

    pub(super) async fn remove(&self, id: &ResponseId) -> Result<(), LogError> {
        if self.fleeting.open(id).await.is_ok() {
            return self.fleeting.remove(id).await;
        }
        let here = lock(&self.logs).remove(id);
        let shelved = lock(&self.shelved).remove(id).and_then(|answer| answer.upgrade());
        for answer in here.iter().chain(&shelved) {
            self.release(&answer.forget());
        }
        let may_wait = here.is_some() && self.config.durability != Durability::Memory;
        let safe = (may_wait || self.segments.holds(log::key(id))).then(|| {
            let (done, safe) = oneshot::channel();
            self.deletions.send_modify(|pending| *pending += 1);
            self.schedule(self.queue.push_gone(id, GoneReason::Deleted, Some(done)));
            safe
        });
        let putting = match &here {
            Some(answer) => Some(answer.putting.lock().await),
            None => None,
        };
        self.archive.remove(id).await?;
        drop(putting);
        match safe {
            Some(safe) => safe.await.map_err(|_failed| LogError::Unavailable),
            None => Ok(()),
        }
    }
}
