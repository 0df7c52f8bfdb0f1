//! Moves ended logs to the archive and releases them in the journal.

use std::sync::Arc;
use std::time::Duration;

use engine::log::LogError;
use futures_util::stream::{FuturesUnordered, StreamExt};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::frame::RemovalReason;
use super::log::JournalLog;
use super::mutex::lock;
use super::shared::JournalInner;

/// How many logs are archived at once. Each is in memory as a whole meanwhile.
const AT_ONCE: usize = 16;

/// The delay before the archive is tried again, at first and at most.
const PAUSE: (Duration, Duration) = (Duration::from_millis(50), Duration::from_secs(5));

/// How often a log is tried before others get their turn.
const ATTEMPTS: usize = 5;

/// Runs until the process stops or the journal is closed.
pub(super) async fn run(shared: Arc<JournalInner>, mut open: watch::Receiver<()>) {
    let mut archiving = FuturesUnordered::new();
    loop {
        while archiving.len() < AT_ONCE {
            let Some(response) = lock(&shared.ended).pop() else { break };
            archiving.push(archive_with_retries(&shared, response));
        }
        tokio::select! {
            () = shared.tasks.stopping() => break,
            _closed = open.changed() => return,
            () = shared.has_ended.notified(), if archiving.len() < AT_ONCE => {}
            Some(()) = archiving.next() => {}
        }
    }
    // A last pass for logs that ended meanwhile. What the archive refuses now is found at the next
    // start.
    drop(archiving);
    for response in shared.every_log() {
        if response.has_ended() {
            let _stays = shared.archive_ended(&response).await;
        }
    }
}

async fn archive_with_retries(shared: &JournalInner, response: Arc<JournalLog>) {
    let mut pause = PAUSE.0;
    for attempt in 0..ATTEMPTS {
        let Err(error) = shared.archive_ended(&response).await else { return };
        if attempt == 0 {
            tracing::warn!(response = %response.id, %error, "a finished response cannot be archived; it stays in the journal");
        }
        sleep_until(Instant::now() + pause).await;
        pause = (pause * 2).min(PAUSE.1);
    }
    // To the end of the queue: a log that can never be archived must not block others.
    lock(&shared.ended).insert(0, response);
}

impl JournalInner {
    /// Archives an ended log. Idempotent; does nothing if the log was removed.
    pub(super) async fn archive_ended(&self, response: &Arc<JournalLog>) -> Result<(), LogError> {
        let _putting = response.archiving.lock().await;
        if !response.is_in_journal() {
            return Ok(());
        }
        let entries = match self.read(response, 0, usize::MAX).await {
            Err(LogError::Missing) => return Ok(()),
            read => read?,
        };
        if entries.last().is_none_or(|entry| !entry.kind.is_terminal()) {
            return Err(LogError::Unavailable);
        }
        self.archive.put(&response.id, entries).await?;
        self.release_archived(response);
        Ok(())
    }

    /// Releases a log that the archive has.
    pub(super) fn release_archived(&self, response: &Arc<JournalLog>) {
        // The new location is registered before the old one is removed.
        self.archive(response);
        let Some(freed) = response.archive() else {
            // A concurrent removal waits for this and then removes it from the archive too.
            return;
        };
        {
            let mut logs = lock(&self.logs);
            if logs.get(&response.id).is_some_and(|other| Arc::ptr_eq(other, response)) {
                logs.remove(&response.id);
            }
        }
        if self.segments.may_contain(response.key) {
            self.schedule(self.queue.push_removal(&response.id, RemovalReason::Archived, None));
        }
        self.release(&freed);
    }
}
