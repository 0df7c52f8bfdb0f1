//! Moves what has ended to the archive, and lets it go here.

use std::sync::Arc;
use std::time::Duration;

use engine::log::LogError;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::frame::GoneReason;
use super::log::JournalLog;
use super::mutex::lock;
use super::shared::JournalInner;

/// How many logs are put away at once. Each is in memory as a whole while that lasts.
const AT_ONCE: usize = 16;

/// How long to wait before the archive is asked again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How often a log is tried before others have their write_batch.
const ATTEMPTS: usize = 5;

/// Runs until the process is to stop or the journal is closed.
pub(super) async fn run(shared: Arc<JournalInner>, mut open: watch::Receiver<()>) {
    let mut putting = FuturesUnordered::new();
    loop {
        while putting.len() < AT_ONCE {
            let Some(answer) = lock(&shared.ended).pop() else { break };
            putting.push(put_until_done(&shared, answer));
        }
        tokio::select! {
            () = shared.tasks.stopping() => break,
            _closed = open.changed() => return,
            () = shared.has_ended.notified(), if putting.len() < AT_ONCE => {}
            Some(()) = putting.next() => {}
        }
    }
    // Once more for what has ended meanwhile. What the archive does not take now is found at the next start.
    drop(putting);
    for answer in shared.every_answer() {
        if answer.has_ended() {
            let _stays = shared.put(&answer).await;
        }
    }
}

async fn put_until_done(shared: &JournalInner, answer: Arc<JournalLog>) {
    let mut pause = PAUSE.0;
    for attempt in 0..ATTEMPTS {
        let Err(error) = shared.put(&answer).await else { return };
        if attempt == 0 {
            tracing::warn!(response = %answer.id, %error, "a finished answer cannot be put away; it stays in the journal");
        }
        sleep_until(Instant::now() + pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
    // Behind all others: what can never be put away does not keep them from it.
    lock(&shared.ended).insert(0, answer);
}

impl JournalInner {
    /// Puts a log that has ended into the archive. Nothing happens if it is there, or removed.
    pub(super) async fn put(&self, answer: &Arc<JournalLog>) -> Result<(), LogError> {
        let _putting = answer.putting.lock().await;
        if !answer.is_here() {
            return Ok(());
        }
        let entries = match self.read(answer, 0, usize::MAX).await {
            Err(LogError::Missing) => return Ok(()),
            read => read?,
        };
        if entries.last().is_none_or(|entry| !entry.kind.is_terminal()) {
            return Err(LogError::Unavailable);
        }
        self.archive.put(&answer.id, entries).await?;
        self.leave(answer);
        Ok(())
    }

    /// A log that the archive has leaves the journal.
    pub(super) fn leave(&self, answer: &Arc<JournalLog>) {
        // First where it is found from now on, then away from where it was.
        self.archive(answer);
        let Some(freed) = answer.archive() else {
            // Whoever removes it waits for us and then removes it from the archive too.
            return;
        };
        {
            let mut logs = lock(&self.logs);
            if logs.get(&answer.id).is_some_and(|other| Arc::ptr_eq(other, answer)) {
                logs.remove(&answer.id);
            }
        }
        if self.segments.holds(answer.key) {
            self.schedule(self.queue.push_gone(&answer.id, GoneReason::Archived, None));
        }
        self.release(&freed);
    }
}
