//! What waits to be written: one buffer of frames that grows while the one before it is being written, and who writes.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::log::LogError;
use protocol::event::Entry;
use protocol::id::ResponseId;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::answer::{self, Answer, Place};
use super::frame::{self, Gone};
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
    pub(super) marks: Vec<Mark>,
}

/// One frame of a batch.
pub(super) struct Mark {
    pub(super) offset: usize,
    pub(super) length: usize,
    pub(super) what: What,
}

/// What is to be done when the frame is safe.
pub(super) enum What {
    /// The watermark of a log moves by `count`.
    Entries { answer: Arc<Answer>, first: u64, count: u64 },
    /// A frame of a log has moved.
    Copy { answer: Arc<Answer>, from: Place },
    /// A log is gone.
    Gone { key: u64, reason: Gone, done: Option<oneshot::Sender<()>> },
    /// Nothing was written: everything before is safe.
    Fence { done: oneshot::Sender<()> },
}

/// Who writes now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Owner {
    Nobody,
    /// The task, which was told by whoever appended first.
    Task,
    /// The thread, or it will as soon as it wakes.
    Thread,
}

/// Who may write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Hands {
    /// The task that gathers, unless writes are slow.
    Task,
    /// Only the thread: a write waits for the disk.
    Thread,
}

/// The queue of all logs.
pub(super) struct Queue {
    generation: u32,
    gate: Mutex<Gate>,
    /// There is something for the thread to do.
    work: Condvar,
    /// Bytes that are not safe yet.
    waiting: AtomicU64,
    /// Rung when there are fewer.
    drained: Notify,
}

struct Gate {
    hands: Hands,
    batch: Batch,
    owner: Owner,
    is_failing: bool,
    is_closed: bool,
    slow_until: Option<Instant>,
}

impl Queue {
    pub(super) fn new(hands: Hands, generation: u32) -> Self {
        let gate = Gate { hands, batch: Batch::default(), owner: Owner::Nobody, is_failing: false, is_closed: false, slow_until: None };
        Self { generation, gate: Mutex::new(gate), work: Condvar::new(), waiting: AtomicU64::new(0), drained: Notify::new() }
    }

    /// Appends entries to a log and queues their frame.
    ///
    /// # Errors
    /// The log is not this writer's any more, or has ended; or nothing is taken now.
    pub(super) fn append(&self, answer: &Arc<Answer>, epoch: u64, entries: &[Entry]) -> Result<Queued, LogError> {
        answer.append(epoch, entries, || self.push_entries(answer, entries))
    }

    /// Queues a frame of entries. `None`: nothing is taken now.
    fn push_entries(&self, answer: &Arc<Answer>, entries: &[Entry]) -> Option<Queued> {
        let mut gate = self.gate();
        let length = frame::entries_length(answer.id.as_str(), entries);
        if gate.is_failing || gate.is_closed || gate.batch.bytes.len() + length > MOST {
            return None;
        }
        let first = entries.first().map_or(0, |entry| entry.position);
        let what = What::Entries { answer: Arc::clone(answer), first, count: entries.len() as u64 };
        Some(self.push(&mut gate, what, |buffer| frame::put_entries(buffer, answer.id.as_str(), self.generation, entries)))
    }

    /// Queues the copy of a frame.
    pub(super) fn push_copy(&self, answer: &Arc<Answer>, from: Place, frame: &[u8]) -> Queued {
        let what = What::Copy { answer: Arc::clone(answer), from };
        self.push(&mut self.gate(), what, |buffer| buffer.extend_from_slice(frame))
    }

    /// Queues that a log is gone. `done` comes when that is safe; it is dropped if that fails for now.
    pub(super) fn push_gone(&self, id: &ResponseId, reason: Gone, done: Option<oneshot::Sender<()>>) -> Queued {
        let mut gate = self.gate();
        // The frame is queued in any case and written when that is possible; who waits is told that it was not yet.
        let done = done.filter(|_| !gate.is_failing && !gate.is_closed);
        let what = What::Gone { key: answer::key(id), reason, done };
        self.push(&mut gate, what, |buffer| frame::put_gone(buffer, id.as_str(), reason))
    }

    /// Queues a mark without a frame. `done` comes when all before it is safe; it is dropped if that fails for now.
    pub(super) fn push_fence(&self, done: oneshot::Sender<()>) -> Option<Queued> {
        let mut gate = self.gate();
        (!gate.is_failing && !gate.is_closed).then(|| self.push(&mut gate, What::Fence { done }, |_| {}))
    }

    fn push(&self, gate: &mut Gate, what: What, put: impl FnOnce(&mut Vec<u8>)) -> Queued {
        let offset = gate.batch.bytes.len();
        put(&mut gate.batch.bytes);
        let length = gate.batch.bytes.len() - offset;
        gate.batch.marks.push(Mark { offset, length, what });
        self.waiting.fetch_add(length as u64, Ordering::Relaxed);
        Queued { bytes: length as u64, is_mine: self.claim(gate) }
    }

    /// Finds a writer for what was queued. Says whether it is the caller.
    fn claim(&self, gate: &mut Gate) -> bool {
        if gate.owner != Owner::Nobody || gate.is_closed {
            return false;
        }
        // The clock is only asked during a slow spell.
        gate.slow_until = gate.slow_until.filter(|until| Instant::now() < *until);
        if gate.hands == Hands::Task && gate.slow_until.is_none() {
            gate.owner = Owner::Task;
            return true;
        }
        gate.owner = Owner::Thread;
        self.work.notify_all();
        false
    }

    /// Takes what has gathered, and leaves `spare` in its place. `None`: there is nothing, and nobody writes any more.
    pub(super) fn gathered(&self, mut spare: Batch) -> Result<Batch, Batch> {
        let mut gate = self.gate();
        if gate.batch.marks.is_empty() {
            gate.owner = Owner::Nobody;
            return Err(spare);
        }
        spare.bytes.clear();
        spare.marks.clear();
        if spare.bytes.capacity() > SPARE {
            spare = Batch::default();
        }
        Ok(std::mem::replace(&mut gate.batch, spare))
    }

    /// The thread goes on in place of the caller, for a while if writes are slow.
    pub(super) fn hand_over(&self, is_slow: bool) {
        let mut gate = self.gate();
        if is_slow {
            gate.slow_until = Some(Instant::now() + SLOW_SPELL);
        }
        gate.owner = Owner::Thread;
        self.work.notify_all();
    }

    /// `bytes` are safe. Says whether the journal writes again after it failed.
    pub(super) fn written(&self, bytes: u64) -> bool {
        self.waiting.fetch_sub(bytes, Ordering::Relaxed);
        self.drained.notify_waiters();
        std::mem::take(&mut self.gate().is_failing)
    }

    /// The journal cannot write: nothing more is taken. Gives the logs of which something waits, and says whether it just began.
    pub(super) fn failing(&self) -> (Vec<Arc<Answer>>, bool) {
        let mut gate = self.gate();
        let begins = !std::mem::replace(&mut gate.is_failing, true);
        gate.batch.disappoint();
        self.drained.notify_waiters();
        (gate.batch.answers(), begins)
    }

    pub(super) fn is_failing(&self) -> bool {
        self.gate().is_failing
    }

    /// From now on only the thread writes, also what somebody else was about to.
    pub(super) fn retire(&self) {
        let mut gate = self.gate();
        gate.hands = Hands::Thread;
        if gate.owner == Owner::Task {
            gate.owner = Owner::Thread;
            self.work.notify_all();
        }
    }

    /// Nothing more is taken; what waits is written.
    pub(super) fn close(&self) {
        let mut gate = self.gate();
        gate.is_closed = true;
        if !gate.batch.marks.is_empty() {
            gate.owner = Owner::Thread;
        }
        self.work.notify_all();
    }

    /// Waits until the thread is to write. `false`: it is to end.
    pub(super) fn wait_for_work(&self) -> bool {
        let idle = |gate: &mut Gate| gate.owner != Owner::Thread && !gate.is_closed;
        let gate = self.work.wait_while(self.gate(), idle).unwrap_or_else(PoisonError::into_inner);
        gate.owner == Owner::Thread
    }

    /// Waits before the next try. `false`: there is none, because the journal is closed.
    pub(super) fn wait_for_weather(&self, pause: Duration) -> bool {
        let waited = self.work.wait_timeout_while(self.gate(), pause, |gate| !gate.is_closed);
        let (gate, _elapsed) = waited.unwrap_or_else(PoisonError::into_inner);
        !gate.is_closed
    }

    /// What to wait for where more than `most` bytes wait. It comes when half of them are gone, or when the journal fails.
    pub(super) fn backlog(self: &Arc<Self>, most: u64) -> Option<impl Future<Output = ()> + Send + 'static> {
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

    fn gate(&self) -> MutexGuard<'_, Gate> {
        lock(&self.gate)
    }
}

impl Batch {
    /// The logs of which entries are in here.
    pub(super) fn answers(&self) -> Vec<Arc<Answer>> {
        let answers = self.marks.iter().filter_map(|mark| match &mark.what {
            What::Entries { answer, .. } => Some(Arc::clone(answer)),
            What::Copy { .. } | What::Gone { .. } | What::Fence { .. } => None,
        });
        answers.collect()
    }

    /// Who waits for a frame in here is told that it was not written. The frame stays.
    pub(super) fn disappoint(&mut self) {
        for mark in &mut self.marks {
            if let What::Gone { done, .. } = &mut mark.what {
                *done = None;
            }
        }
        self.marks.retain(|mark| !matches!(mark.what, What::Fence { .. }));
    }
}
