//! Writes batches, from a task or a thread, and handles success and failure.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::appender::AppendedAt;
use super::error::JournalError;
use super::frame::{self, RemovalReason};
use super::log::{Committed, FrameLocation};
use super::mutex::lock;
use super::queue::{Batch, FrameAction};
use super::shared::JournalInner;
use super::writer_state::WriterState;

/// How many batches the task writes before the thread takes over, so that its runtime is not
/// blocked.
const ROUNDS: usize = 8;

/// A slower write would block a runtime: the kernel makes writers wait for the disk.
const SLOW: Duration = Duration::from_millis(1);

/// The delay before a failed write is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// The outcome of one round of writing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// Nothing was queued.
    Idle,
    Wrote {
        is_slow: bool,
    },
    Failed,
}

impl JournalInner {
    /// Writes the queued batches, including those queued meanwhile.
    fn drive(&self) {
        for _ in 0..ROUNDS {
            match self.write_batch() {
                WriteOutcome::Idle => return,
                WriteOutcome::Wrote { is_slow: false } => {}
                WriteOutcome::Wrote { is_slow: true } => return self.queue.hand_over(true),
                WriteOutcome::Failed => break,
            }
        }
        self.queue.hand_over(false);
    }

    /// One round: one batch, one write.
    pub(super) fn write_batch(&self) -> WriteOutcome {
        let mut writer = lock(&self.writer);
        let batch = match writer.unwritten.take() {
            Some(unwritten) => unwritten,
            None => match self.queue.take_batch(std::mem::take(&mut writer.reusable)) {
                Ok(batch) => batch,
                Err(reusable) => {
                    writer.reusable = reusable;
                    return WriteOutcome::Idle;
                }
            },
        };
        let started = Instant::now();
        match writer.appender.put(&batch.bytes) {
            Ok(put) => {
                let is_slow = started.elapsed() > SLOW;
                if put.offset == frame::HEADER as u64 {
                    // The previous segment is closed now and may be without live frames.
                    self.cleaning.notify_one();
                }
                writer.reusable = self.commit(batch, put);
                WriteOutcome::Wrote { is_slow }
            }
            Err(error) => {
                self.fail(&mut writer, batch, &error);
                WriteOutcome::Failed
            }
        }
    }

    /// A batch is durable: advances watermarks.
    fn commit(&self, mut batch: Batch, put: AppendedAt) -> Batch {
        let frames = batch
            .marks
            .iter()
            .filter_map(|mark| mark.what.key().map(|key| (key, mark.length as u64)));
        self.segments.enter(put.segment, frames);
        let mut freed = Vec::new();
        for mark in batch.marks.drain(..) {
            let bytes = mark.length as u64;
            let offset = u32::try_from(put.offset + mark.offset as u64).unwrap_or(u32::MAX);
            match mark.what {
                FrameAction::Entries { response, first, count } => {
                    let place = FrameLocation { first, segment: put.segment, offset };
                    match response.commit(count, place, bytes, self.config.tail_bytes) {
                        Committed::Running => {}
                        Committed::Ended => self.ended(response),
                        Committed::Orphan => freed.push((put.segment, bytes)),
                    }
                }
                FrameAction::Copy { response, from } => {
                    let place = FrameLocation { first: from.first, segment: put.segment, offset };
                    let counts = response.relocate(from, place, bytes);
                    freed.push((if counts { from.segment } else { put.segment }, bytes));
                }
                FrameAction::Removal { key, reason, done } => {
                    self.segments.guard(put.segment, key);
                    if reason == RemovalReason::Deleted {
                        self.segments.mark_deleted(key);
                        self.deletions.send_modify(|pending| *pending = pending.saturating_sub(1));
                    }
                    self.cleaning.notify_one();
                    // The waiter may have been dropped.
                    let _gone = done.map(|done| done.send(()));
                }
                FrameAction::Fence { done } => {
                    let _gone = done.send(());
                }
            }
        }
        if !freed.is_empty() {
            self.segments.release(&freed);
            self.cleaning.notify_one();
        }
        if self.queue.written(batch.bytes.len() as u64) {
            tracing::info!("the journal can be written again");
            self.every_log().iter().for_each(|response| response.repair());
        }
        batch
    }

    /// A batch could not be written: it stays, and blocks all others.
    fn fail(&self, writer: &mut WriterState, mut batch: Batch, error: &io::Error) {
        let (waiting, begins) = self.queue.failing();
        batch.drop_waiters();
        batch.responses().iter().chain(&waiting).for_each(|response| response.fail());
        if begins {
            let path = writer.appender.path();
            tracing::error!(path = %path.display(), %error, "the journal cannot be written: running responses wait until it can");
        }
        writer.unwritten = Some(batch);
    }

    /// Writes what is queued, or returns the error. For the start, when there is no other writer.
    pub(super) fn write_out(&self) -> Result<(), JournalError> {
        loop {
            match self.write_batch() {
                WriteOutcome::Idle => return Ok(()),
                WriteOutcome::Wrote { .. } => {}
                WriteOutcome::Failed => {
                    let source = io::Error::other("the journal cannot be written");
                    return Err(JournalError::Io {
                        path: lock(&self.writer).appender.path(),
                        source,
                    });
                }
            }
        }
    }

    /// The loop of the thread: writes when notified, until the journal is closed.
    fn serve(&self) {
        let mut pause = PAUSE.0;
        while self.queue.wait_for_work() {
            match self.write_batch() {
                WriteOutcome::Idle => {}
                WriteOutcome::Wrote { .. } => pause = PAUSE.0,
                WriteOutcome::Failed if self.queue.backoff(pause) => {
                    pause = (pause * 2).min(PAUSE.1);
                }
                WriteOutcome::Failed => return,
            }
        }
    }
}

impl FrameAction {
    /// The key of the log that the frame belongs to or is about.
    fn key(&self) -> Option<u64> {
        match self {
            Self::Entries { response, .. } | Self::Copy { response, .. } => Some(response.key),
            Self::Removal { .. } | Self::Fence { .. } => None,
        }
    }
}

/// The loop of the task: writes after appends, until the process stops or the journal is closed;
/// then the thread writes.
pub(super) async fn run(shared: Arc<JournalInner>, mut open: watch::Receiver<()>) {
    loop {
        tokio::select! {
            biased;
            () = shared.gathering.notified() => {}
            () = shared.tasks.stopping() => return shared.queue.retire(),
            _closed = open.changed() => return shared.queue.retire(),
        }
        // Yields to all ready tasks: they may append, too.
        tokio::task::yield_now().await;
        shared.drive();
    }
}

/// Starts the thread that writes where a caller should not wait. It ends when the journal is
/// closed, which waits for it.
pub(super) fn start(shared: &Arc<JournalInner>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("journal".into()).spawn(move || shared.serve())
}
