//! A reader of a response: a cursor that catches up from the log and then follows it, in one loop.

use protocol::entry::Entry;
use tokio::sync::watch;

use crate::instruments::counter::GaugeGuard;
use crate::log::{LogError, LogProgress, LogReader, LogState};
use crate::response::handle::ReaderGuard;
use crate::response::timeline::Reading;

/// A cursor on one log. It holds a position and no queue, however slow its reader is (promise 7).
pub struct Feed {
    reader: Box<dyn LogReader>,
    progress: watch::Receiver<LogProgress>,
    next: u64,
    /// Records what is read, for the lens.
    reading: Option<Reading>,
    _guard: Option<ReaderGuard>,
    _counted: GaugeGuard,
}

impl Feed {
    /// A cursor before `position`. While it lives it counts as a reader of the response, if there
    /// is a guard.
    pub(crate) fn new(
        reader: Box<dyn LogReader>,
        position: u64,
        guard: Option<ReaderGuard>,
        counted: GaugeGuard,
    ) -> Self {
        let progress = reader.progress();
        let reading = guard.as_ref().and_then(ReaderGuard::reading);
        Self { reader, progress, next: position, reading, _guard: guard, _counted: counted }
    }

    /// The reader is on the connection with this number.
    pub fn set_connection(&self, number: u64) {
        if let Some(reading) = &self.reading {
            reading.set_connection(number);
        }
    }

    /// The next entries, as many as are ready and fit `budget` bytes; at least one. `None` after
    /// the terminal event. Dropping the future loses nothing.
    ///
    /// # Errors
    /// The log failed or was removed: the reader has only a part.
    pub async fn next(&mut self, budget: usize) -> Result<Option<Vec<Entry>>, LogError> {
        loop {
            let progress = *self.progress.borrow_and_update();
            if self.next < progress.committed {
                let entries = self.reader.read(self.next, budget).await?;
                if let Some(last) = entries.last() {
                    self.next = last.position + 1;
                    self.record();
                    return Ok(Some(entries));
                }
                return Err(LogError::Missing);
            }
            match progress.state {
                LogState::Ended => {
                    self.record();
                    return Ok(None);
                }
                LogState::Failed => return Err(LogError::Unavailable),
                LogState::Open => {
                    self.progress.changed().await.map_err(|_closed| LogError::Missing)?;
                }
            }
        }
    }

    /// Waits for the end and returns the terminal entry, after the one before it, which is the
    /// `error` of a failed response.
    ///
    /// # Errors
    /// The log failed or was removed.
    pub async fn ending(&mut self) -> Result<Vec<Entry>, LogError> {
        let ended = self.progress.wait_for(|progress| progress.state != LogState::Open).await;
        let progress = *ended.map_err(|_closed| LogError::Missing)?;
        match progress.state {
            LogState::Ended => {}
            LogState::Open | LogState::Failed => return Err(LogError::Unavailable),
        }
        let mut entries = Vec::new();
        let mut position = progress.committed.saturating_sub(2);
        while position < progress.committed {
            let more = self.reader.read(position, usize::MAX).await?;
            position = more.last().map_or(progress.committed, |entry| entry.position + 1);
            entries.extend(more);
        }
        if let Some(reading) = &self.reading {
            reading.read_end();
        }
        Ok(entries)
    }

    /// Everything before the cursor was read.
    fn record(&self) {
        let Some(reading) = &self.reading else { return };
        if self.is_at_end() {
            reading.read_end();
        } else {
            reading.read(self.next);
        }
    }

    /// Waits until the log has an entry at `position`, or will never have one, and returns it. The
    /// cursor does not move.
    ///
    /// # Errors
    /// The log failed or was removed.
    pub async fn peek(&mut self, position: u64) -> Result<Option<Entry>, LogError> {
        let come = self
            .progress
            .wait_for(|progress| progress.committed > position || progress.state != LogState::Open)
            .await;
        let progress = *come.map_err(|_closed| LogError::Missing)?;
        if progress.committed > position {
            return Ok(self.reader.read(position, 0).await?.into_iter().next());
        }
        if progress.state == LogState::Failed { Err(LogError::Unavailable) } else { Ok(None) }
    }

    /// Whether the response has ended and everything was read.
    pub fn is_at_end(&self) -> bool {
        let progress = *self.progress.borrow();
        progress.state == LogState::Ended && self.next >= progress.committed
    }

    /// Whether an entry can be read without waiting, or the end is known.
    pub fn is_ready(&self) -> bool {
        let progress = *self.progress.borrow();
        self.next < progress.committed || progress.state != LogState::Open
    }

    /// How many entries are committed.
    pub fn committed(&self) -> u64 {
        self.progress.borrow().committed
    }

    /// The position the next entry will have.
    pub fn position(&self) -> u64 {
        self.next
    }
}
