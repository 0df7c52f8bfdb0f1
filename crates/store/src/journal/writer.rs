//! Writing: one batch after the other, by a task or by a thread, and what follows from each success and failure.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::appender::AppendedAt;
use super::error::JournalError;
use super::frame::{self, GoneReason};
use super::log::{Committed, FrameLocation};
use super::mutex::lock;
use super::queue::{Batch, FrameAction};
use super::shared::JournalInner;
use super::writer_state::WriterState;

/// How many batches the task writes before it lets the thread go on, so that its runtime is not held up for ever.
const ROUNDS: usize = 8;

/// A write that takes longer would hold up a runtime: the kernel makes writers wait for the disk.
const SLOW: Duration = Duration::from_millis(1);

/// How long to wait before a write that failed is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What one round of writing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum WriteOutcome {
    /// There was nothing to do.
    Idle,
    Wrote {
        is_slow: bool,
    },
    Failed,
}

impl JournalInner {
    /// Writes what has gathered and what gathers meanwhile.
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
        let batch = match writer.stuck.take() {
            Some(stuck) => stuck,
            None => match self.queue.gathered(std::mem::take(&mut writer.spare)) {
                Ok(batch) => batch,
                Err(spare) => {
                    writer.spare = spare;
                    return WriteOutcome::Idle;
                }
            },
        };
        let started = Instant::now();
        match writer.appender.put(&batch.bytes) {
            Ok(put) => {
                let is_slow = started.elapsed() > SLOW;
                if put.offset == frame::HEADER as u64 {
                    // The segment before it is closed now: maybe nothing lives there.
                    self.cleaning.notify_one();
                }
                writer.spare = self.commit(batch, put);
                WriteOutcome::Wrote { is_slow }
            }
            Err(error) => {
                self.fail(&mut writer, batch, &error);
                WriteOutcome::Failed
            }
        }
    }

    /// A batch is safe: watermarks move.
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
                FrameAction::Entries { answer, first, count } => {
                    let place = FrameLocation { first, segment: put.segment, offset };
                    match answer.commit(count, place, bytes, self.config.tail_bytes) {
                        Committed::Running => {}
                        Committed::Ended => self.ended(answer),
                        Committed::Orphan => freed.push((put.segment, bytes)),
                    }
                }
                FrameAction::Copy { answer, from } => {
                    let place = FrameLocation { first: from.first, segment: put.segment, offset };
                    let counts = answer.relocate(from, place, bytes);
                    freed.push((if counts { from.segment } else { put.segment }, bytes));
                }
                FrameAction::Gone { key, reason, done } => {
                    self.segments.guard(put.segment, key);
                    if reason == GoneReason::Deleted {
                        self.segments.mark_deleted(key);
                        self.deletions.send_modify(|pending| *pending = pending.saturating_sub(1));
                    }
                    self.cleaning.notify_one();
                    // Who asked may have gone.
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
            self.every_answer().iter().for_each(|answer| answer.repair());
        }
        batch
    }

    /// A batch could not be written: it waits, and so does everybody.
    fn fail(&self, writer: &mut WriterState, mut batch: Batch, error: &io::Error) {
        let (waiting, begins) = self.queue.failing();
        batch.drop_waiters();
        batch.answers().iter().chain(&waiting).for_each(|answer| answer.fail());
        if begins {
            let path = writer.appender.path();
            tracing::error!(path = %path.display(), %error, "the journal cannot be written: running answers are held up until it can");
        }
        writer.stuck = Some(batch);
    }

    /// Writes what has gathered, or says why not. For the start, when nobody else writes.
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

    /// Writes when it is told to, until the journal is closed.
    fn serve(&self) {
        let mut pause = PAUSE.0;
        while self.queue.wait_for_work() {
            match self.write_batch() {
                WriteOutcome::Idle => {}
                WriteOutcome::Wrote { .. } => pause = PAUSE.0,
                WriteOutcome::Failed if self.queue.backoff(pause) => {
                    pause = (pause * 2).min(PAUSE.1)
                }
                WriteOutcome::Failed => return,
            }
        }
    }
}

impl FrameAction {
    /// The log that the frame points at, or is about.
    fn key(&self) -> Option<u64> {
        match self {
            Self::Entries { answer, .. } | Self::Copy { answer, .. } => Some(answer.key),
            Self::Gone { .. } | Self::Fence { .. } => None,
        }
    }
}

/// Writes whenever somebody has appended, until the process is to stop or the journal is closed; then the thread does.
pub(super) async fn run(shared: Arc<JournalInner>, mut open: watch::Receiver<()>) {
    loop {
        tokio::select! {
            biased;
            () = shared.gathering.notified() => {}
            () = shared.tasks.stopping() => return shared.queue.retire(),
            _closed = open.changed() => return shared.queue.retire(),
        }
        // Behind everything that is ready: it may have something to write, too.
        tokio::task::yield_now().await;
        shared.drive();
    }
}

/// Starts the thread that writes where a caller should not wait. It ends when the journal is closed, which waits for it.
pub(super) fn start(shared: &Arc<JournalInner>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("journal".into()).spawn(move || shared.serve())
}
