//! What waits to be written: one buffer of frames that grows while the one before it is being written, and who writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::log::LogError;
use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::frame::{self, GoneReason};
use super::log::{self, FrameLocation, JournalLog};
use super::mutex::lock;
use super::queued::Queued;

/// A buffer that one large batch has blown up beyond this is given back.
const SPARE: usize = 1 << 20;

/// More than this never waits. Offsets in a segment have 32 bits, and a segment takes a batch whole.
const MOST: usize = 1 << 30;

/// How long the thread writes, after a write was so slow that it would have held up the runtime.
const SLOW_SPELL: Duration = Duration::from_secs(1);

/// Frames one behind the other, and whose they are.
#[derive(Default)]
pub(super) struct Batch {
    pub(super) bytes: Vec<u8>,
    pub(super) marks: Vec<FrameMark>,
}

/// One frame of a batch.
pub(super) struct FrameMark {
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) what: FrameAction,
}

/// What is to be done when the frame is safe.
pub(super) enum FrameAction {
    /// The watermark of a log moves by `count`.
    Entries { answer: Arc<JournalLog>, first: u64, count: u64 },
    /// A frame of a log has moved.
    Copy { answer: Arc<JournalLog>, from: FrameLocation },
    /// A log is gone.
    Gone { key: u64, reason: GoneReason, done: Option<oneshot::Sender<()>> },
    /// Nothing was written: everything before is safe.
    Fence { done: oneshot::Sender<()> },
}

/// Who writes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CurrentWriter {
    Nobody,
    /// The task, which was told by whoever appended first.
    Task,
    /// The thread, or it will as soon as it wakes.
    Thread,
}

/// Who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriterMode {
    /// The task that gathers, unless writes are slow.
    Task,
    /// Only the thread: a write waits for the disk.
    Thread,
}

/// The queue of all logs.
pub(super) struct WriteQueue {
    generation: u32,
    state: Mutex<QueueState>,
    /// There is something for the thread to do.
    work: Condvar,
    /// Bytes that are not safe yet.
    waiting: AtomicU64,
    /// Rung when there are fewer.
    drained: Notify,
}

struct QueueState {
    mode: WriterMode,
    batch: Batch,
    owner: CurrentWriter,
    is_failing: bool,
    is_closed: bool,
    slow_until: Option<Instant>,
}

impl WriteQueue {
    pub(super) fn new(mode: WriterMode, generation: u32) -> Self {
        let state = QueueState {
            mode,
            batch: Batch::default(),
            owner: CurrentWriter::Nobody,
            is_failing: false,
            is_closed: false,
            slow_until: None,
        };
        Self {
            generation,
            state: Mutex::new(state),
            work: Condvar::new(),
            waiting: AtomicU64::new(0),
            drained: Notify::new(),
        }
    }

    /// Appends entries to a log and queues their frame.
    ///
    /// # Errors
    /// The log is not this writer's any more, or has ended; or nothing is taken now.
    pub(super) fn append(
        &self,
        answer: &Arc<JournalLog>,
        epoch: u64,
        entries: &[Entry],
    ) -> Result<Queued, LogError> {
        answer.append(epoch, entries, || self.push_entries(answer, entries))
    }

    /// Queues a frame of entries. `None`: nothing is taken now.
    fn push_entries(&self, answer: &Arc<JournalLog>, entries: &[Entry]) -> Option<Queued> {
        let mut state = self.state();
        let length = frame::entries_length(answer.id.as_str(), entries);
        if state.is_failing || state.is_closed || state.batch.bytes.len() + length > MOST {
            return None;
        }
        let first = entries.first().map_or(0, |entry| entry.position);
        let what =
            FrameAction::Entries { answer: Arc::clone(answer), first, count: entries.len() as u64 };
        Some(self.push(&mut state, what, |buffer| {
            frame::put_entries(buffer, answer.id.as_str(), self.generation, entries)
        }))
    }

    /// Queues the copy of a frame.
    pub(super) fn push_copy(
        &self,
        answer: &Arc<JournalLog>,
        from: FrameLocation,
        frame: &[u8],
    ) -> Queued {
        let what = FrameAction::Copy { answer: Arc::clone(answer), from };
        self.push(&mut self.state(), what, |buffer| buffer.extend_from_slice(frame))
    }

    /// Queues that a log is gone. `done` comes when that is safe; it is dropped if that fails for now.
    pub(super) fn push_gone(
        &self,
        id: &ResponseId,
        reason: GoneReason,
        done: Option<oneshot::Sender<()>>,
    ) -> Queued {
        let mut state = self.state();
        // The frame is queued in any case and written when that is possible; who waits is told that it was not yet.
        let done = done.filter(|_| !state.is_failing && !state.is_closed);
        let what = FrameAction::Gone { key: log::key(id), reason, done };
        self.push(&mut state, what, |buffer| frame::put_gone(buffer, id.as_str(), reason))
    }

    /// Queues a mark without a frame. `done` comes when all before it is safe; it is dropped if that fails for now.
    pub(super) fn push_fence(&self, done: oneshot::Sender<()>) -> Option<Queued> {
        let mut state = self.state();
        (!state.is_failing && !state.is_closed)
            .then(|| self.push(&mut state, FrameAction::Fence { done }, |_| {}))
    }

    fn push(
        &self,
        state: &mut QueueState,
        what: FrameAction,
        put: impl FnOnce(&mut Vec<u8>),
    ) -> Queued {
        let offset = state.batch.bytes.len();
        put(&mut state.batch.bytes);
        let length = state.batch.bytes.len() - offset;
        state.batch.marks.push(FrameMark { offset, length, what });
        self.waiting.fetch_add(length as u64, Ordering::Relaxed);
        Queued { bytes: length as u64, is_mine: self.claim(state) }
    }

    /// Finds a writer for what was queued. Says whether it is the caller.
    fn claim(&self, state: &mut QueueState) -> bool {
        if state.owner != CurrentWriter::Nobody || state.is_closed {
            return false;
        }
        // The clock is only asked during a slow spell.
        state.slow_until = state.slow_until.filter(|until| Instant::now() < *until);
        if state.mode == WriterMode::Task && state.slow_until.is_none() {
            state.owner = CurrentWriter::Task;
            return true;
        }
        state.owner = CurrentWriter::Thread;
        self.work.notify_all();
        false
    }

    /// Takes what has gathered, and leaves `spare` in its place. `None`: there is nothing, and nobody writes any more.
    pub(super) fn gathered(&self, mut spare: Batch) -> Result<Batch, Batch> {
        let mut state = self.state();
        if state.batch.marks.is_empty() {
            state.owner = CurrentWriter::Nobody;
            return Err(spare);
        }
        spare.bytes.clear();
        spare.marks.clear();
        if spare.bytes.capacity() > SPARE {
            spare = Batch::default();
        }
        Ok(std::mem::replace(&mut state.batch, spare))
    }

    /// The thread goes on in place of the caller, for a while if writes are slow.
    pub(super) fn hand_over(&self, is_slow: bool) {
        let mut state = self.state();
        if is_slow {
            state.slow_until = Some(Instant::now() + SLOW_SPELL);
        }
        state.owner = CurrentWriter::Thread;
        self.work.notify_all();
    }

    /// `bytes` are safe. Says whether the journal writes again after it failed.
    pub(super) fn written(&self, bytes: u64) -> bool {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.drained.notify_waiters();
        std::mem::take(&mut self.state().is_failing)
    }

    /// The journal cannot write: nothing more is taken. Gives the logs of which something waits, and says whether it just began.
    pub(super) fn failing(&self) -> (Vec<Arc<JournalLog>>, bool) {
        let mut state = self.state();
        let begins = !std::mem::replace(&mut state.is_failing, true);
        state.batch.drop_waiters();
        self.drained.notify_waiters();
        (state.batch.answers(), begins)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.state().is_failing
    }

    /// From now on only the thread writes, also what somebody else was about to.
    pub(super) fn retire(&self) {
        let mut state = self.state();
        state.mode = WriterMode::Thread;
        if state.owner == CurrentWriter::Task {
            state.owner = CurrentWriter::Thread;
            self.work.notify_all();
        }
    }

    /// Nothing more is taken; what waits is written.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        if !state.batch.marks.is_empty() {
            state.owner = CurrentWriter::Thread;
        }
        self.work.notify_all();
    }

    /// Waits until the thread is to write. `false`: it is to end.
    pub(super) fn wait_for_work(&self) -> bool {
        let idle =
            |state: &mut QueueState| state.owner != CurrentWriter::Thread && !state.is_closed;
        let state =
            self.work.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        state.owner == CurrentWriter::Thread
    }

    /// Waits before the next try. `false`: there is none, because the journal is closed.
    pub(super) fn backoff(&self, pause: Duration) -> bool {
        let waited = self.work.wait_timeout_while(self.state(), pause, |state| !state.is_closed);
        let (state, _elapsed) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_closed
    }

    /// What to wait for where more than `most` bytes wait. It comes when half of them are gone, or when the journal fails.
    pub(super) fn backlog(
        self: &Arc<Self>,
        most: u64,
    ) -> Option<impl Future<Output = ()> + Send + 'static> {
        if self.waiting.load(Ordering::Relaxed) <= most {
            return None;
        }
        let queue = Arc::clone(self);
        Some(async move {
            loop {
                let drained = queue.drained.notified();
                if queue.waiting.load(Ordering::Relaxed) <= most / 2 || queue.is_failing() {
                    return;
                }
                drained.await;
            }
        })
    }

    fn state(&self) -> MutexGuard<'_, QueueState> {
        lock(&self.state)
    }
}

impl Batch {
    /// The logs of which entries are in here.
    pub(super) fn answers(&self) -> Vec<Arc<JournalLog>> {
        let answers = self.marks.iter().filter_map(|mark| match &mark.what {
            FrameAction::Entries { answer, .. } => Some(Arc::clone(answer)),
            FrameAction::Copy { .. } | FrameAction::Gone { .. } | FrameAction::Fence { .. } => None,
        });
        answers.collect()
    }

    /// Who waits for a frame in here is told that it was not written. The frame stays.
    pub(super) fn drop_waiters(&mut self) {
        for mark in &mut self.marks {
            if let FrameAction::Gone { done, .. } = &mut mark.what {
                *done = None;
            }
        }
        self.marks.retain(|mark| !matches!(mark.what, FrameAction::Fence { .. }));
    }
}
