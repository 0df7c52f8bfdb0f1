//! Writing: one batch after the other, by a task or by a thread, and what follows from each success and failure.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use super::answer::{Committed, Place};
use super::appender::Put;
use super::desk::Desk;
use super::error::JournalError;
use super::frame::{self, Gone};
use super::mutex::lock;
use super::queue::{Batch, What};
use super::shared::Shared;

/// How many batches the task writes before it lets the thread go on, so that its runtime is not held up for ever.
const ROUNDS: usize = 8;

/// A write that takes longer would hold up a runtime: the kernel makes writers wait for the disk.
const SLOW: Duration = Duration::from_millis(1);

/// How long to wait before a write that failed is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(1));

/// What one round of writing came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Turn {
    /// There was nothing to do.
    Idle,
    Wrote {
        is_slow: bool,
    },
    Failed,
}

impl Shared {
    /// Writes what has gathered and what gathers meanwhile.
    fn drive(&self) {
        for _ in 0..ROUNDS {
            match self.turn() {
                Turn::Idle => return,
                Turn::Wrote { is_slow: false } => {}
                Turn::Wrote { is_slow: true } => return self.queue.hand_over(true),
                Turn::Failed => break,
            }
        }
        self.queue.hand_over(false);
    }

    /// One round: one batch, one write.
    pub(super) fn turn(&self) -> Turn {
        let mut desk = lock(&self.desk);
        let batch = match desk.stuck.take() {
            Some(stuck) => stuck,
            None => match self.queue.gathered(std::mem::take(&mut desk.spare)) {
                Ok(batch) => batch,
                Err(spare) => {
                    desk.spare = spare;
                    return Turn::Idle;
                }
            },
        };
        let started = Instant::now();
        match desk.appender.put(&batch.bytes) {
            Ok(put) => {
                let is_slow = started.elapsed() > SLOW;
                if put.offset == frame::HEADER as u64 {
                    // The segment before it is closed now: maybe nothing lives there.
                    self.cleaning.notify_one();
                }
                desk.spare = self.commit(batch, put);
                Turn::Wrote { is_slow }
            }
            Err(error) => {
                self.fail(&mut desk, batch, &error);
                Turn::Failed
            }
        }
    }

    /// A batch is safe: watermarks move.
    fn commit(&self, mut batch: Batch, put: Put) -> Batch {
        let frames = batch.marks.iter().filter_map(|mark| mark.what.key().map(|key| (key, mark.length as u64)));
        self.segments.enter(put.segment, frames);
        let mut freed = Vec::new();
        for mark in batch.marks.drain(..) {
            let bytes = mark.length as u64;
            let offset = u32::try_from(put.offset + mark.offset as u64).unwrap_or(u32::MAX);
            match mark.what {
                What::Entries { answer, first, count } => {
                    let place = Place { first, segment: put.segment, offset };
                    match answer.commit(count, place, bytes, self.config.tail_bytes) {
                        Committed::Running => {}
                        Committed::Ended => self.ended(answer),
                        Committed::Orphan => freed.push((put.segment, bytes)),
                    }
                }
                What::Copy { answer, from } => {
                    let place = Place { first: from.first, segment: put.segment, offset };
                    let counts = answer.relocate(from, place, bytes);
                    freed.push((if counts { from.segment } else { put.segment }, bytes));
                }
                What::Gone { key, reason, done } => {
                    self.segments.guard(put.segment, key);
                    if reason == Gone::Deleted {
                        self.segments.doom(key);
                        self.deletions.send_modify(|pending| *pending = pending.saturating_sub(1));
                    }
                    self.cleaning.notify_one();
                    // Who asked may have gone.
                    let _gone = done.map(|done| done.send(()));
                }
                What::Fence { done } => {
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
            self.every_answer().iter().for_each(|answer| answer.mend());
        }
        batch
    }

    /// A batch could not be written: it waits, and so does everybody.
    fn fail(&self, desk: &mut Desk, mut batch: Batch, error: &io::Error) {
        let (waiting, begins) = self.queue.failing();
        batch.disappoint();
        batch.answers().iter().chain(&waiting).for_each(|answer| answer.fail());
        if begins {
            let path = desk.appender.path();
            tracing::error!(path = %path.display(), %error, "the journal cannot be written: running answers are held up until it can");
        }
        desk.stuck = Some(batch);
    }

    /// Writes what has gathered, or says why not. For the start, when nobody else writes.
    pub(super) fn write_out(&self) -> Result<(), JournalError> {
        loop {
            match self.turn() {
                Turn::Idle => return Ok(()),
                Turn::Wrote { .. } => {}
                Turn::Failed => {
                    let source = io::Error::other("the journal cannot be written");
                    return Err(JournalError::Io { path: lock(&self.desk).appender.path(), source });
                }
            }
        }
    }

    /// Writes when it is told to, until the journal is closed.
    fn serve(&self) {
        let mut pause = PAUSE.0;
        while self.queue.wait_for_work() {
            match self.turn() {
                Turn::Idle => {}
                Turn::Wrote { .. } => pause = PAUSE.0,
                Turn::Failed if self.queue.wait_for_weather(pause) => pause = (pause * 2).min(PAUSE.1),
                Turn::Failed => return,
            }
        }
    }
}

impl What {
    /// The log that the frame points at, or is about.
    fn key(&self) -> Option<u64> {
        match self {
            Self::Entries { answer, .. } | Self::Copy { answer, .. } => Some(answer.key),
            Self::Gone { .. } | Self::Fence { .. } => None,
        }
    }
}

/// Writes whenever somebody has appended, until the process is to stop or the journal is closed; then the thread does.
pub(super) async fn run(shared: Arc<Shared>, mut open: watch::Receiver<()>) {
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
pub(super) fn start(shared: &Arc<Shared>) -> io::Result<JoinHandle<()>> {
    let shared = Arc::clone(shared);
    std::thread::Builder::new().name("journal".into()).spawn(move || shared.serve())
}
