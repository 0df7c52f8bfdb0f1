//! Removes segments: those without live frames, and those that have to go, after their live frames
//! were copied.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::JournalError;
use super::reader::FrameWindow;
use super::shared::JournalInner;
use crate::Durability;

/// The time between passes. Deletions within it share one copy.
const APART: Duration = Duration::from_secs(1);

/// The time between checks that the files still exist.
const WATCH: Duration = Duration::from_secs(5);

/// How many bytes are copied before waiting for their write.
const AT_ONCE: usize = 4 << 20;

/// Runs until the process stops or the journal is closed.
pub(super) async fn run(shared: Arc<JournalInner>, mut open: watch::Receiver<()>) {
    loop {
        shared.clean().await;
        let next = Instant::now() + APART;
        tokio::select! {
            () = shared.tasks.stopping() => return,
            _closed = open.changed() => return,
            () = shared.cleaning.notified() => {}
            () = sleep(WATCH) => {}
        }
        tokio::select! {
            () = shared.tasks.stopping() => return,
            _closed = open.changed() => return,
            () = sleep_until(next) => {}
        }
    }
}

impl JournalInner {
    /// One pass: empties the segments that have to go and removes empty ones.
    pub(super) async fn clean(self: &Arc<Self>) {
        self.in_background(Self::check_files).await;
        // A segment that is still appended to is closed by the next write, even an empty one.
        let is_writing = self.flush().await.is_ok();
        self.in_background(Self::sweep).await;
        if !is_writing {
            // A copy would only wait in memory.
            return self.deletions.send_modify(|_pending| {});
        }
        for candidate in self.segments.compaction_candidates(self.config.closed_segments) {
            if !self.has_room_to_copy(candidate) {
                continue;
            }
            loop {
                let shared = Arc::clone(self);
                let copied = self.tasks.blocking(move || shared.copy_out(candidate)).await;
                if copied != Some(true) || self.flush().await.is_err() {
                    break;
                }
            }
        }
        self.in_background(Self::sweep).await;
        self.deletions.send_modify(|_pending| {});
    }

    async fn in_background(self: &Arc<Self>, work: impl FnOnce(&Self) + Send + 'static) {
        let shared = Arc::clone(self);
        // A panic has been logged; the next pass tries again.
        let _panicked = self.tasks.blocking(move || work(&shared)).await;
    }

    /// Whether a copy leaves room for running responses. On a full disk a copy would block them.
    fn has_room_to_copy(&self, candidate: u32) -> bool {
        self.disk.room().is_none_or(|room| room / 2 > self.segments.live(candidate))
    }

    /// Checks that the files exist. The live frames of a missing file are written again while it
    /// can still be read.
    fn check_files(&self) {
        let known = self.segments.numbers();
        let Ok(there) = self.disk.list() else { return };
        for number in known.into_iter().filter(|number| !there.contains(number)) {
            if self.segments.abandon_missing(number) {
                let path = self.disk.path(Some(number));
                tracing::error!(path = %path.display(), "a segment of the journal is missing; its frames are written again");
            }
        }
    }

    /// At start, with `disk` durability: writes live frames again. The last process may have been
    /// killed after a failed sync, and then the system shows bytes that no later sync writes to the
    /// disk.
    pub(super) fn renew(&self) -> Result<(), JournalError> {
        match self.config.durability {
            Durability::Memory | Durability::Process => return Ok(()),
            Durability::Disk => {}
        }
        for number in self.segments.with_live_frames() {
            while self.copy_out(number) {
                self.write_out()?;
            }
        }
        Ok(())
    }

    /// Removes segments without live frames, and those that were kept only to guard them.
    pub(super) fn sweep(&self) {
        loop {
            let removable = self.segments.removable();
            if removable.is_empty() {
                return;
            }
            let removed = removable.iter().try_for_each(|number| match self.disk.remove(*number) {
                Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
                Ok(()) | Err(_) => Ok(()),
            });
            let synced = removed.and_then(|()| match self.config.durability {
                Durability::Memory | Durability::Process => Ok(()),
                // A segment that could not be removed still needs the segments that guard it.
                Durability::Disk => self.disk.sync(),
            });
            if let Err(error) = synced {
                tracing::warn!(path = %self.disk.path(None).display(), %error, "segments of the journal cannot be removed");
                return;
            }
            self.segments.remove(&removable);
        }
    }

    /// Queues copies of a segment's live frames, up to the limit of one round. Returns whether
    /// there were any.
    pub(super) fn copy_out(&self, candidate: u32) -> bool {
        let Some(file) = self.segments.file(candidate) else { return false };
        let mut copied = 0;
        let mut chunk = FrameWindow::default();
        for response in self.every_log() {
            for place in response.frames_in(candidate) {
                let frame = match chunk.frame(&*file, place) {
                    Ok(frame) => frame,
                    Err(error) => {
                        tracing::error!(path = %self.disk.path(Some(candidate)).display(), %error, "a segment of the journal cannot be read");
                        self.segments.mark_unreadable(candidate);
                        return false;
                    }
                };
                // A copy must not follow the frame that marks the log as removed.
                let queued =
                    response.if_in_journal(|| self.queue.push_copy(&response, place, &frame));
                if let Some(queued) = queued {
                    copied += frame.len();
                    self.schedule(queued);
                }
                if copied >= AT_ONCE {
                    return true;
                }
            }
        }
        copied > 0
    }
}
