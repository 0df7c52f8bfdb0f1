//! The journal: running answers append to one sequential, checksummed, segmented file; what has ended moves to the archive.
//!
//! One write takes whatever gathered during the one before it, without any timer: a lone stream waits for nothing, and a
//! thousand streams share one call. Then watermarks move and readers are released.

pub mod disk;
#[cfg(any(test, feature = "testing"))]
pub mod simulated;

mod answer;
mod appender;
mod cleaner;
mod error;
mod frame;
mod mover;
mod queue;
mod reader;
mod recover;
mod segments;
mod writer;

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::thread::JoinHandle;

use engine::log::{Life, Log, LogError, LogReader, LogWriter};
use engine::memory::log::MemoryLog;
use engine::tasks::Tasks;
use futures_util::future::{BoxFuture, FutureExt};
use protocol::event::Entry;
use protocol::id::ResponseId;
use tokio::sync::{Notify, oneshot, watch};

pub use self::error::JournalError;
pub use self::recover::Damage;

use self::answer::{Answer, Committed, Freed};
use self::appender::Appender;
use self::disk::Disk;
use self::frame::Gone;
use self::queue::{Batch, Hands, Queue, Queued};
use self::reader::Reader;
use self::recover::Recovered;
use self::segments::Segments;
use self::writer::Desk;
use crate::Durability;
use crate::archive::Archive;

/// How the journal keeps what it is given.
#[derive(Clone, Copy, Debug)]
pub struct Config {
    /// What a reader may have seen is safe from what.
    pub durability: Durability,
    /// Length from which on a segment is full.
    pub segment_bytes: u64,
    /// Bytes of the newest entries of each log that stay in memory. Readers that lag further behind read files.
    pub tail_bytes: usize,
    /// Bytes of all logs that may wait to be written before writers are asked to wait.
    pub backlog_bytes: u64,
    /// Closed segments beyond which those that are mostly dead are emptied, so that one long answer does not keep them all.
    pub closed_segments: usize,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            durability: Durability::default(),
            segment_bytes: 16 << 20,
            tail_bytes: 16 << 10,
            backlog_bytes: 32 << 20,
            closed_segments: 8,
        }
    }
}

/// The logs of running answers in segments, and of finished ones in the archive.
pub struct Journal {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
    /// Tells the tasks to end when it goes.
    open: Option<watch::Sender<()>>,
    _lock: Box<dyn Send + Sync>,
}

/// What the journal, its writers, its readers, its thread and its tasks share.
struct Shared {
    config: Config,
    disk: Arc<dyn Disk>,
    archive: Arc<dyn Archive>,
    tasks: Tasks,
    /// Logs that nobody wants beyond their end.
    fleeting: MemoryLog,
    /// Logs that are not in the archive.
    logs: Mutex<HashMap<ResponseId, Arc<Answer>>>,
    /// Logs in the archive that somebody reads.
    shelved: Mutex<HashMap<ResponseId, Weak<Answer>>>,
    left_behind: Vec<ResponseId>,
    damage: Vec<Damage>,
    segments: Arc<Segments>,
    queue: Arc<Queue>,
    desk: Mutex<Desk>,
    /// Rung when somebody has to write.
    gathering: Notify,
    /// Bytes of the frames of all logs that are not in the archive.
    bytes: AtomicU64,
    /// Logs that have ended and wait to be put away; each comes once.
    ended: Mutex<Vec<Arc<Answer>>>,
    has_ended: Notify,
    /// Rung when a segment may be able to go.
    cleaning: Notify,
    /// Deletions that are not in a file yet. Changes also when segments have gone.
    deletions: watch::Sender<u64>,
}

struct Writer {
    shared: Arc<Shared>,
    answer: Arc<Answer>,
    epoch: u64,
}

impl Journal {
    /// Opens the journal on a disk: recovers what is there, and starts to move what has ended to the archive.
    ///
    /// # Errors
    /// The disk refuses, another process has it, or what is there is not ours.
    pub async fn open(disk: Arc<dyn Disk>, archive: Arc<dyn Archive>, config: Config, tasks: Tasks) -> Result<Self, JournalError> {
        let lock = disk.lock().map_err(|source| match source.kind() {
            std::io::ErrorKind::WouldBlock => JournalError::InUse { path: disk.path(None) },
            _ => JournalError::Io { path: disk.path(None), source },
        })?;
        let scanned = Arc::clone(&disk);
        let recovered = tasks.blocking(move || recover::recover(&*scanned, config.durability)).await;
        let recovered = recovered.ok_or_else(|| JournalError::Panicked { path: disk.path(None) })??;
        let shared = Arc::new(Shared::new(disk, archive, config, tasks, recovered));
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
        while *deletions.borrow_and_update() > 0 || self.shared.segments.any_doomed() {
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

impl Shared {
    fn new(disk: Arc<dyn Disk>, archive: Arc<dyn Archive>, config: Config, tasks: Tasks, recovered: Recovered) -> Self {
        let Recovered { logs: found, segments, generation, next, damage } = recovered;
        let segments = Arc::new(Segments::new(segments));
        let hands = match config.durability {
            Durability::Memory | Durability::Process => Hands::Task,
            Durability::Disk => Hands::Thread,
        };
        let appender = Appender::new(Arc::clone(&disk), Arc::clone(&segments), config.durability, config.segment_bytes, generation, next);
        let left_behind = found.iter().map(|log| log.id.clone()).collect();
        let ended = found.iter().filter(|log| log.has_ended).map(|log| log.id.clone()).collect::<Vec<_>>();
        let logs: HashMap<_, _> = found.into_iter().map(|log| (log.id.clone(), Arc::new(Answer::found(log)))).collect();
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
            queue: Arc::new(Queue::new(hands, generation)),
            desk: Mutex::new(Desk { appender, stuck: None, spare: Batch::default() }),
            gathering: Notify::new(),
            bytes: AtomicU64::new(bytes),
            has_ended: Notify::new(),
            cleaning: Notify::new(),
            deletions: watch::Sender::new(0),
        }
    }

    fn every_answer(&self) -> Vec<Arc<Answer>> {
        lock(&self.logs).values().cloned().collect()
    }

    /// A log has ended: the mover comes for it.
    fn ended(&self, answer: Arc<Answer>) {
        lock(&self.ended).push(answer);
        self.has_ended.notify_one();
    }

    /// A log has left the journal.
    fn release(&self, freed: &Freed) {
        self.bytes.fetch_sub(freed.bytes, Ordering::Relaxed);
        self.segments.release(&freed.segments);
        self.cleaning.notify_one();
    }

    /// Sees to it that what was queued is written, if that is for us. The task that writes lets everything go first that is
    /// ready now, so that answers that grow at the same time share one write; where nothing is, it writes at once.
    fn see_to(&self, queued: Queued) {
        if queued.is_mine {
            self.gathering.notify_one();
        }
    }

    /// Logs that were put away whole and whose copy here has lost its tail: the archive is right.
    async fn drop_cut_copies(&self) {
        for answer in self.every_answer().iter().filter(|answer| !answer.has_ended()) {
            // Where the archive cannot say, the copy stays and gets an end of its own.
            if matches!(self.archive.find(&answer.id).await, Ok(Some(_))) {
                self.leave(answer);
            }
        }
    }

    async fn flush(&self) -> Result<(), LogError> {
        let (done, safe) = oneshot::channel();
        let queued = self.queue.push_fence(done).ok_or(LogError::Unavailable)?;
        self.see_to(queued);
        safe.await.map_err(|_failed| LogError::Unavailable)
    }

    fn find(&self, id: &ResponseId) -> Option<Arc<Answer>> {
        let here = lock(&self.logs).get(id).cloned();
        here.or_else(|| lock(&self.shelved).get(id).and_then(Weak::upgrade))
    }

    /// Opens a log that is not here.
    async fn find_archived(&self, id: &ResponseId) -> Result<Option<Arc<Answer>>, LogError> {
        let Some(committed) = self.archive.find(id).await? else { return Ok(None) };
        let answer = Arc::new(Answer::archived(id.clone(), committed));
        Ok(Some(self.shelve(&answer)))
    }

    /// Enters a log that is read from the archive, so that its readers learn of its removal. Gives the one that is entered.
    fn shelve(&self, answer: &Arc<Answer>) -> Arc<Answer> {
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
        let reader = answer.and_then(|answer| Reader::new(Arc::clone(self), answer));
        Ok(Box::new(reader.ok_or(LogError::Missing)?))
    }

    async fn remove(&self, id: &ResponseId) -> Result<(), LogError> {
        if self.fleeting.open(id).await.is_ok() {
            return self.fleeting.remove(id).await;
        }
        let here = lock(&self.logs).remove(id);
        let shelved = lock(&self.shelved).remove(id).and_then(|answer| answer.upgrade());
        for answer in here.iter().chain(&shelved) {
            self.release(&answer.forget());
        }
        let may_wait = here.is_some() && self.config.durability != Durability::Memory;
        let safe = (may_wait || self.segments.holds(answer::key(id))).then(|| {
            let (done, safe) = oneshot::channel();
            self.deletions.send_modify(|pending| *pending += 1);
            self.see_to(self.queue.push_gone(id, Gone::Deleted, Some(done)));
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

impl Log for Journal {
    fn take(&self, id: &ResponseId, life: Life) -> Result<Box<dyn LogWriter>, LogError> {
        let shared = &self.shared;
        let mut logs = lock(&shared.logs);
        let is_fleeting = || life == Life::Ephemeral || shared.fleeting.open(id).now_or_never().is_some_and(|open| open.is_ok());
        if !logs.contains_key(id) && is_fleeting() {
            return shared.fleeting.take(id, life);
        }
        if shared.queue.is_failing() || id.as_str().len() > usize::from(u16::MAX) {
            return Err(LogError::Unavailable);
        }
        let answer = Arc::clone(logs.entry(id.clone()).or_insert_with(|| Arc::new(Answer::new(id.clone()))));
        let epoch = answer.take();
        Ok(Box::new(Writer { shared: Arc::clone(shared), answer, epoch }))
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

impl LogWriter for Writer {
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
        let queued = self.answer.append(self.epoch, entries, &shared.queue)?;
        shared.bytes.fetch_add(queued.bytes, Ordering::Relaxed);
        shared.see_to(queued);
        Ok(())
    }

    fn backlog(&self) -> Option<BoxFuture<'static, ()>> {
        self.shared.queue.backlog(self.shared.config.backlog_bytes).map(FutureExt::boxed)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
