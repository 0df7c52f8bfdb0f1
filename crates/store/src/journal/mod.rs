//! The journal: running answers append to one sequential, checksummed, segmented file; what has ended moves to the archive.
//!
//! One write takes whatever gathered during the one before it, without any timer: a lone stream waits for nothing, and a
//! thousand streams share one call. Then watermarks move and readers are released.

pub mod config;
pub mod disk;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;

mod appender;
mod cleaner;
mod error;
mod frame;
mod log;
mod mover;
mod mutex;
mod queue;
mod queued;
mod reader;
mod recover;
mod segments;
mod shared;
mod writer;
mod writer_state;

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::thread::JoinHandle;

use engine::log::{Log, LogError, LogLifetime, LogReader, LogWriter};
use engine::tasks::Tasks;
use futures_util::future::{BoxFuture, FutureExt};
use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::watch;

pub use self::error::JournalError;
pub use self::recover::Damage;

use self::config::Config;
use self::disk::SegmentDisk;
use self::log::{Committed, JournalLog};
use self::mutex::lock;
use self::reader::JournalReader;
use self::shared::JournalInner;
use crate::Durability;
use crate::archive::Archive;

/// The logs of running answers in segments, and of finished ones in the archive.
pub struct Journal {
    shared: Arc<JournalInner>,
    thread: Option<JoinHandle<()>>,
    /// Tells the tasks to end when it goes.
    open: Option<watch::Sender<()>>,
    _lock: Box<dyn Send + Sync>,
}

struct JournalWriter {
    shared: Arc<JournalInner>,
    answer: Arc<JournalLog>,
    epoch: u64,
}

impl Journal {
    /// Opens the journal on a disk: recovers what is there, and starts to move what has ended to the archive.
    ///
    /// # Errors
    /// The disk refuses, another process has it, or what is there is not ours.
    pub async fn open(
        disk: Arc<dyn SegmentDisk>,
        archive: Arc<dyn Archive>,
        config: Config,
        tasks: Tasks,
    ) -> Result<Self, JournalError> {
        let lock = disk.lock().map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => JournalError::InUse { path: disk.path(None) },
            _ => JournalError::Io { path: disk.path(None), source },
        })?;
        let scanned = Arc::clone(&disk);
        let recovered =
            tasks.blocking(move || recover::recover(&*scanned, config.durability)).await;
        let recovered =
            recovered.ok_or_else(|| JournalError::Panicked { path: disk.path(None) })??;
        let shared = Arc::new(JournalInner::new(disk, archive, config, tasks, recovered));
        let renewed = Arc::clone(&shared);
        let renewed = shared.tasks.blocking(move || renewed.renew()).await;
        renewed.ok_or_else(|| JournalError::Panicked { path: shared.disk.path(None) })??;
        shared.drop_cut_copies().await;
        let thread = writer::start(&shared).map_err(|source| JournalError::Thread { source })?;
        let open = watch::Sender::new(());
        shared.tasks.spawn("journal mover", mover::run(Arc::clone(&shared), open.subscribe()));
        shared.tasks.spawn("journal writer", writer::run(Arc::clone(&shared), open.subscribe()));
        shared.tasks.spawn("journal cleaner", cleaner::run(Arc::clone(&shared), open.subscribe()));
        Ok(Self { shared, thread: Some(thread), open: Some(open), _lock: lock })
    }

    /// What was found damaged at start.
    pub fn damage(&self) -> &[Damage] {
        &self.shared.damage
    }

    /// Waits until everything that was appended is as safe as the durability asks.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]: the journal cannot be written now.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.shared.flush().await
    }

    /// Waits until no segment holds text that was deleted before.
    pub async fn settled_deletions(&self) {
        let mut deletions = self.shared.deletions.subscribe();
        while *deletions.borrow_and_update() > 0 || self.shared.segments.any_marked_deleted() {
            // The sender lives as long as we do.
            let _changed = deletions.changed().await;
        }
    }

    /// How many segments there are.
    pub fn segments(&self) -> usize {
        self.shared.segments.count()
    }

    /// How many logs are not in the archive yet.
    pub fn logs(&self) -> usize {
        lock(&self.shared.logs).len()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.open = None;
        self.shared.queue.close();
        // It writes what waits and ends; the lock goes after it.
        let _panicked = self.thread.take().map(JoinHandle::join);
    }
}

impl JournalInner {
    async fn open(self: &Arc<Self>, id: &ResponseId) -> Result<Box<dyn LogReader>, LogError> {
        let answer = match self.find(id) {
            // A log that was taken and got nothing must not hide one that is in the archive.
            Some(answer) if answer.next() == 0 => self.find_archived(id).await?.or(Some(answer)),
            Some(answer) => Some(answer),
            None => match self.fleeting.open(id).await {
                Ok(reader) => return Ok(reader),
                Err(_missing) => self.find_archived(id).await?,
            },
        };
        let reader = answer.and_then(|answer| JournalReader::new(Arc::clone(self), answer));
        Ok(Box::new(reader.ok_or(LogError::Missing)?))
    }
}

impl Log for Journal {
    fn take(&self, id: &ResponseId, life: LogLifetime) -> Result<Box<dyn LogWriter>, LogError> {
        let shared = &self.shared;
        let mut logs = lock(&shared.logs);
        let is_fleeting = || {
            life == LogLifetime::Ephemeral
                || shared.fleeting.open(id).now_or_never().is_some_and(|open| open.is_ok())
        };
        if !logs.contains_key(id) && is_fleeting() {
            return shared.fleeting.take(id, life);
        }
        if shared.queue.is_failing() || id.as_str().len() > usize::from(u16::MAX) {
            return Err(LogError::Unavailable);
        }
        let answer = Arc::clone(
            logs.entry(id.clone()).or_insert_with(|| Arc::new(JournalLog::new(id.clone()))),
        );
        let epoch = answer.take();
        Ok(Box::new(JournalWriter { shared: Arc::clone(shared), answer, epoch }))
    }

    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        let id = id.clone();
        async move { self.shared.open(&id).await }.boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        let id = id.clone();
        async move { self.shared.remove(&id).await }.boxed()
    }

    fn left_behind(&self) -> Vec<ResponseId> {
        self.shared.left_behind.clone()
    }

    fn bytes(&self) -> u64 {
        // What is appended is counted a moment after it can be removed: in between there may be less than nothing.
        let here = self.shared.bytes.load(Ordering::Relaxed);
        let here = if here > u64::MAX / 2 { 0 } else { here };
        here + self.shared.archive.bytes() + self.shared.fleeting.bytes()
    }
}

impl LogWriter for JournalWriter {
    fn next_position(&self) -> u64 {
        self.answer.next()
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        if entries.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        if shared.config.durability == Durability::Memory {
            let bytes = frame::entries_length(self.answer.id.as_str(), entries) as u64;
            let committed = self.answer.append_in_memory(self.epoch, entries, bytes)?;
            shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            if committed == Committed::Ended {
                shared.ended(Arc::clone(&self.answer));
            }
            return Ok(());
        }
        let queued = shared.queue.append(&self.answer, self.epoch, entries)?;
        shared.bytes.fetch_add(queued.bytes, Ordering::Relaxed);
        shared.schedule(queued);
        Ok(())
    }

    fn backlog(&self) -> Option<BoxFuture<'static, ()>> {
        self.shared.queue.backlog(self.shared.config.backlog_bytes).map(FutureExt::boxed)
    }
}
