//! The journal: running responses append to one sequential, checksummed, segmented log; ended ones
//! move to the archive.
//!
//! One write takes everything that was queued during the previous one, without a timer: a single
//! stream waits for nothing, and a thousand streams share one call. Then watermarks advance and
//! readers are notified.

pub mod config;
pub mod disk;
#[cfg(any(test, feature = "testing"))]
pub mod memory_archive;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;
#[cfg(any(test, feature = "testing"))]
mod simulated_inode;
#[cfg(any(test, feature = "testing"))]
pub mod splitmix64;

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

use engine::log::{Log, LogError, LogReader, LogWriter};
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

/// The logs of running responses in segments, and of finished ones in the archive.
pub struct Journal {
    shared: Arc<JournalInner>,
    thread: Option<JoinHandle<()>>,
    /// Stops the tasks when it is dropped.
    open: Option<watch::Sender<()>>,
    _lock: Box<dyn Send + Sync>,
}

struct JournalWriter {
    shared: Arc<JournalInner>,
    response: Arc<JournalLog>,
    epoch: u64,
}

impl Journal {
    /// Opens the journal on a disk: recovers its content and starts to move ended logs to the
    /// archive.
    ///
    /// # Errors
    /// The disk fails, another process holds the lock, or a file there is not a segment.
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
        shared.drop_truncated_copies().await;
        let thread = writer::start(&shared).map_err(|source| JournalError::Thread { source })?;
        let open = watch::Sender::new(());
        shared.tasks.spawn("journal mover", mover::run(Arc::clone(&shared), open.subscribe()));
        shared.tasks.spawn("journal writer", writer::run(Arc::clone(&shared), open.subscribe()));
        shared.tasks.spawn("journal cleaner", cleaner::run(Arc::clone(&shared), open.subscribe()));
        Ok(Self { shared, thread: Some(thread), open: Some(open), _lock: lock })
    }

    /// The damage found at start.
    pub fn damage(&self) -> &[Damage] {
        &self.shared.damage
    }

    /// Waits until everything that was appended is as durable as configured.
    ///
    /// # Errors
    /// [`LogError::Unavailable`]: the journal cannot be written now.
    pub async fn flush(&self) -> Result<(), LogError> {
        self.shared.flush().await
    }

    /// Waits until no segment holds text that was deleted before this call.
    pub async fn settled_deletions(&self) {
        let mut deletions = self.shared.deletions.subscribe();
        while *deletions.borrow_and_update() > 0 || self.shared.segments.any_marked_deleted() {
            // `self` keeps the sender alive.
            let _changed = deletions.changed().await;
        }
    }

    /// The number of segments.
    pub fn segments(&self) -> usize {
        self.shared.segments.count()
    }

    /// The number of logs that are not archived yet.
    pub fn logs(&self) -> usize {
        lock(&self.shared.logs).len()
    }
}

impl Drop for Journal {
    fn drop(&mut self) {
        self.open = None;
        self.shared.queue.close();
        // The thread writes what is queued and ends; the lock is released after it.
        let _panicked = self.thread.take().map(JoinHandle::join);
    }
}

impl JournalInner {
    async fn open(self: &Arc<Self>, id: &ResponseId) -> Result<Box<dyn LogReader>, LogError> {
        let response = match self.find(id) {
            // An opened log without entries must not hide an archived one.
            Some(response) if response.next() == 0 => {
                self.find_archived(id).await?.or(Some(response))
            }
            Some(response) => Some(response),
            None => self.find_archived(id).await?,
        };
        let reader = response.and_then(|response| JournalReader::new(Arc::clone(self), response));
        Ok(Box::new(reader.ok_or(LogError::Missing)?))
    }
}

impl Log for Journal {
    fn take(&self, id: &ResponseId) -> Result<Box<dyn LogWriter>, LogError> {
        let shared = &self.shared;
        let mut logs = lock(&shared.logs);
        if shared.queue.is_failing() || id.as_str().len() > usize::from(u16::MAX) {
            return Err(LogError::Unavailable);
        }
        let response = Arc::clone(
            logs.entry(id.clone()).or_insert_with(|| Arc::new(JournalLog::new(id.clone()))),
        );
        let epoch = response.acquire();
        Ok(Box::new(JournalWriter { shared: Arc::clone(shared), response, epoch }))
    }

    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        let id = id.clone();
        async move { self.shared.open(&id).await }.boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        let id = id.clone();
        async move { self.shared.remove(&id).await }.boxed()
    }

    fn unfinished_logs(&self) -> Vec<ResponseId> {
        self.shared.unfinished_logs.clone()
    }

    fn bytes(&self) -> u64 {
        // Appended bytes are counted slightly after they can be removed: in between the sum may be
        // negative.
        let here = self.shared.bytes.load(Ordering::Relaxed);
        let here = if here > u64::MAX / 2 { 0 } else { here };
        here + self.shared.archive.bytes()
    }
}

impl LogWriter for JournalWriter {
    fn next_position(&self) -> u64 {
        self.response.next()
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        if entries.is_empty() {
            return Ok(());
        }
        let shared = &self.shared;
        if shared.config.durability == Durability::Memory {
            let bytes = frame::entries_length(self.response.id.as_str(), entries) as u64;
            let committed = self.response.append_in_memory(self.epoch, entries, bytes)?;
            shared.bytes.fetch_add(bytes, Ordering::Relaxed);
            if committed == Committed::Ended {
                shared.ended(Arc::clone(&self.response));
            }
            return Ok(());
        }
        let queued = shared.queue.append(&self.response, self.epoch, entries)?;
        shared.bytes.fetch_add(queued.bytes, Ordering::Relaxed);
        shared.schedule(queued);
        Ok(())
    }

    fn backlog(&self) -> Option<BoxFuture<'static, ()>> {
        self.shared.queue.backlog(self.shared.config.backlog_bytes).map(FutureExt::boxed)
    }
}
