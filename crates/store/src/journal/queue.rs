//! The queue of the journal: a buffer of frames that grows while the previous one is written, and
//! the choice of the writer.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::log::LogError;
use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::frame::{self, RemovalReason};
use super::log::{self, FrameLocation, JournalLog};
use super::mutex::lock;
use super::queued::Queued;

/// A larger buffer, left by one large batch, is freed.
const MAX_REUSED_BUFFER: usize = 1 << 20;

/// The limit of queued bytes. Offsets in a segment have 32 bits, and a batch goes into one segment.
const MOST: usize = 1 << 30;

/// How long the thread writes after a write was slow enough to block the runtime.
const SLOW_SPELL: Duration = Duration::from_secs(1);

/// Consecutive frames and the logs they belong to.
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

/// What happens when the frame is durable.
pub(super) enum FrameAction {
    /// The watermark of a log advances by `count`.
    Entries { response: Arc<JournalLog>, first: u64, count: u64 },
    /// A frame of a log was copied.
    Copy { response: Arc<JournalLog>, from: FrameLocation },
    /// A log was removed.
    Removal { key: u64, reason: RemovalReason, done: Option<oneshot::Sender<()>> },
    /// No bytes: everything before it is durable.
    Fence { done: oneshot::Sender<()> },
}

/// The current writer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum CurrentWriter {
    Nobody,
    /// The task, notified by the first append.
    Task,
    /// The thread, now or as soon as it wakes.
    Thread,
}

/// Which writers are allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriterMode {
    /// The task, unless writes are slow.
    Task,
    /// Only the thread: a write waits for the disk.
    Thread,
}

/// The queue of all logs.
pub(super) struct WriteQueue {
    generation: u32,
    state: Mutex<QueueState>,
    /// Wakes the thread when there is something to write.
    work: Condvar,
    /// Bytes that are not durable yet.
    waiting: AtomicU64,
    /// Notified when there are fewer.
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
    /// The writer has lost the log, the log has ended, or the journal accepts nothing now.
    pub(super) fn append(
        &self,
        response: &Arc<JournalLog>,
        epoch: u64,
        entries: &[Entry],
    ) -> Result<Queued, LogError> {
        response.append(epoch, entries, || self.push_entries(response, entries))
    }

    /// Queues a frame of entries. `None`: the journal accepts nothing now.
    fn push_entries(&self, response: &Arc<JournalLog>, entries: &[Entry]) -> Option<Queued> {
        let mut state = self.state();
        let length = frame::entries_length(response.id.as_str(), entries);
        if state.is_failing || state.is_closed || state.batch.bytes.len() + length > MOST {
            return None;
        }
        let first = entries.first().map_or(0, |entry| entry.position);
        let what = FrameAction::Entries {
            response: Arc::clone(response),
            first,
            count: entries.len() as u64,
        };
        Some(self.push(&mut state, what, |buffer| {
            frame::put_entries(buffer, response.id.as_str(), self.generation, entries);
        }))
    }

    /// Queues the copy of a frame.
    pub(super) fn push_copy(
        &self,
        response: &Arc<JournalLog>,
        from: FrameLocation,
        frame: &[u8],
    ) -> Queued {
        let what = FrameAction::Copy { response: Arc::clone(response), from };
        self.push(&mut self.state(), what, |buffer| buffer.extend_from_slice(frame))
    }

    /// Queues a frame that marks a log as removed. `done` resolves when it is durable, and is dropped
    /// if writing fails for now.
    pub(super) fn push_removal(
        &self,
        id: &ResponseId,
        reason: RemovalReason,
        done: Option<oneshot::Sender<()>>,
    ) -> Queued {
        let mut state = self.state();
        // The frame is queued in any case and written when possible; the waiter learns that it is
        // not durable yet.
        let done = done.filter(|_| !state.is_failing && !state.is_closed);
        let what = FrameAction::Removal { key: log::key(id), reason, done };
        self.push(&mut state, what, |buffer| frame::put_removal(buffer, id.as_str(), reason))
    }

    /// Queues a fence without a frame. `done` resolves when everything before it is durable, and is
    /// dropped if writing fails for now.
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

    /// Chooses a writer for what was queued. Returns whether it is the caller.
    fn claim(&self, state: &mut QueueState) -> bool {
        if state.owner != CurrentWriter::Nobody || state.is_closed {
            return false;
        }
        // The clock is read only while writes are slow.
        state.slow_until = state.slow_until.filter(|until| Instant::now() < *until);
        if state.mode == WriterMode::Task && state.slow_until.is_none() {
            state.owner = CurrentWriter::Task;
            return true;
        }
        state.owner = CurrentWriter::Thread;
        self.work.notify_all();
        false
    }

    /// Takes the gathered batch and puts the empty batch in its place. `Err`: nothing is queued,
    /// and there is no current writer any more.
    pub(super) fn take_batch(&self, mut reusable: Batch) -> Result<Batch, Batch> {
        let mut state = self.state();
        if state.batch.marks.is_empty() {
            state.owner = CurrentWriter::Nobody;
            return Err(reusable);
        }
        reusable.bytes.clear();
        reusable.marks.clear();
        if reusable.bytes.capacity() > MAX_REUSED_BUFFER {
            reusable = Batch::default();
        }
        Ok(std::mem::replace(&mut state.batch, reusable))
    }

    /// The thread replaces the caller as the writer; for a while if writes are slow.
    pub(super) fn hand_over(&self, is_slow: bool) {
        let mut state = self.state();
        if is_slow {
            state.slow_until = Some(Instant::now() + SLOW_SPELL);
        }
        state.owner = CurrentWriter::Thread;
        self.work.notify_all();
    }

    /// `bytes` are durable. Returns whether the journal has recovered from a failure.
    pub(super) fn written(&self, bytes: u64) -> bool {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.drained.notify_waiters();
        std::mem::take(&mut self.state().is_failing)
    }

    /// The journal cannot be written and accepts nothing more. Returns the logs with queued
    /// entries, and whether the failure is new.
    pub(super) fn failing(&self) -> (Vec<Arc<JournalLog>>, bool) {
        let mut state = self.state();
        let begins = !std::mem::replace(&mut state.is_failing, true);
        state.batch.drop_waiters();
        self.drained.notify_waiters();
        (state.batch.responses(), begins)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.state().is_failing
    }

    /// From now on only the thread writes, including what another writer was about to write.
    pub(super) fn retire(&self) {
        let mut state = self.state();
        state.mode = WriterMode::Thread;
        if state.owner == CurrentWriter::Task {
            state.owner = CurrentWriter::Thread;
            self.work.notify_all();
        }
    }

    /// Accepts nothing more; what is queued is written.
    pub(super) fn close(&self) {
        let mut state = self.state();
        state.is_closed = true;
        if !state.batch.marks.is_empty() {
            state.owner = CurrentWriter::Thread;
        }
        self.work.notify_all();
    }

    /// Waits until the thread has to write. `false`: it has to end.
    pub(super) fn wait_for_work(&self) -> bool {
        let idle =
            |state: &mut QueueState| state.owner != CurrentWriter::Thread && !state.is_closed;
        let state =
            self.work.wait_while(self.state(), idle).unwrap_or_else(PoisonError::into_inner);
        state.owner == CurrentWriter::Thread
    }

    /// Waits before the next attempt. `false`: there is none, because the journal is closed.
    pub(super) fn backoff(&self, pause: Duration) -> bool {
        let waited = self.work.wait_timeout_while(self.state(), pause, |state| !state.is_closed);
        let (state, _elapsed) = waited.unwrap_or_else(PoisonError::into_inner);
        !state.is_closed
    }

    /// What to wait for when more than `most` bytes are queued. Resolves when half of them are
    /// written, or when the journal fails.
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
    /// The logs with entries in this batch.
    pub(super) fn responses(&self) -> Vec<Arc<JournalLog>> {
        let responses = self.marks.iter().filter_map(|mark| match &mark.what {
            FrameAction::Entries { response, .. } => Some(Arc::clone(response)),
            FrameAction::Copy { .. } | FrameAction::Removal { .. } | FrameAction::Fence { .. } => {
                None
            }
        });
        responses.collect()
    }

    /// Notifies the waiters of this batch that it was not written. The frames stay.
    pub(super) fn drop_waiters(&mut self) {
        for mark in &mut self.marks {
            if let FrameAction::Removal { done, .. } = &mut mark.what {
                *done = None;
            }
        }
        self.marks.retain(|mark| !matches!(mark.what, FrameAction::Fence { .. }));
    }
}
