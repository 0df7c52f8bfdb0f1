//! Lets segments go: those in which nothing lives, and those that must go, after what lives there was copied.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, sleep, sleep_until};

use super::error::JournalError;
use super::reader::FrameWindow;
use super::shared::JournalInner;
use crate::Durability;

/// How long passes are apart. Deletions that come together are one copy.
const APART: Duration = Duration::from_secs(1);

/// How often it is looked whether the files are still there.
const WATCH: Duration = Duration::from_secs(5);

/// How much is copied before it is waited for.
const AT_ONCE: usize = 4 << 20;

/// Runs until the process is to stop or the journal is closed.
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
    /// One pass: empties what must go, and removes what is empty.
    pub(super) async fn clean(self: &Arc<Self>) {
        self.in_background(Self::look).await;
        // A segment that is still appended to is closed by the next write, even of nothing.
        let is_writing = self.flush().await.is_ok();
        self.in_background(Self::sweep).await;
        if !is_writing {
            // What was copied now would only wait in memory.
            return self.deletions.send_modify(|_pending| {});
        }
        for victim in self.segments.victims(self.config.closed_segments) {
            if !self.has_room_to_copy(victim) {
                continue;
            }
            loop {
                let shared = Arc::clone(self);
                let copied = self.tasks.blocking(move || shared.copy_out(victim)).await;
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
        // A panic would have been said; the next pass tries again.
        let _panicked = self.tasks.blocking(move || work(&shared)).await;
    }

    /// Whether a copy leaves room for what runs. On a full disk a copy would hold up the answers for which it is made.
    fn has_room_to_copy(&self, victim: u32) -> bool {
        self.disk.room().is_none_or(|room| room / 2 > self.segments.live(victim))
    }

    /// Looks whether the files are there. What lives in one that is not is written again, while it can still be read.
    fn look(&self) {
        let known = self.segments.numbers();
        let Ok(there) = self.disk.list() else { return };
        for number in known.into_iter().filter(|number| !there.contains(number)) {
            if self.segments.lose(number) {
                let path = self.disk.path(Some(number));
                tracing::error!(path = %path.display(), "this file of the journal has vanished; what it held is written again");
            }
        }
    }

    /// At start, where power may be lost: writes again what still lives. The process before this one may have been killed
    /// behind a sync that failed, and then the system shows bytes that no later sync makes safe.
    pub(super) fn renew(&self) -> Result<(), JournalError> {
        match self.config.durability {
            Durability::Memory | Durability::Process => return Ok(()),
            Durability::Disk => {}
        }
        for number in self.segments.living() {
            while self.copy_out(number) {
                self.write_out()?;
            }
        }
        Ok(())
    }

    /// Removes segments in which nothing lives, and those that were only kept for them.
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
                // A segment that comes back must find what guards it.
                Durability::Disk => self.disk.sync(),
            });
            if let Err(error) = synced {
                tracing::warn!(path = %self.disk.path(None).display(), %error, "segments of the journal cannot be removed");
                return;
            }
            self.segments.forget(&removable);
        }
    }

    /// Queues copies of frames that live in a segment, as many as are copied at once. Says whether there were any.
    pub(super) fn copy_out(&self, victim: u32) -> bool {
        let Some(file) = self.segments.file(victim) else { return false };
        let mut copied = 0;
        let mut chunk = FrameWindow::default();
        for answer in self.every_answer() {
            for place in answer.places_in(victim) {
                let frame = match chunk.frame(&*file, place) {
                    Ok(frame) => frame,
                    Err(error) => {
                        tracing::error!(path = %self.disk.path(Some(victim)).display(), %error, "a segment of the journal cannot be read");
                        self.segments.stuck(victim);
                        return false;
                    }
                };
                // Not behind the frame that says that the log is gone.
                let queued = answer.if_here(|| self.queue.push_copy(&answer, place, &frame));
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
