//! What a running response writes: its entries, also once the log has failed.

use std::time::Duration;

use protocol::entry::Entry;
use tokio::time::{Instant, sleep_until};

use super::run::Turn;
use crate::log::LogError;

/// The pause before a log that failed is tried again.
const LOG_RETRY: Duration = Duration::from_millis(50);

impl Turn {
    /// Appends entries that readers may see from then on.
    ///
    /// # Errors
    /// The log cannot take them.
    pub(super) fn append(&mut self, entries: &[Entry], now: Instant) -> Result<(), LogError> {
        if !entries.is_empty() {
            self.writer.append(entries)?;
            self.handle.appended(entries.len(), now);
        }
        Ok(())
    }

    /// Retries until the log can be written again, so that the response gets its terminal event. Its
    /// readers were already told of the failure.
    pub(super) async fn recover(&mut self, entries: &[Entry]) -> Option<()> {
        tracing::error!(response = %self.handle.id, "log cannot be written; the response ends when it can");
        loop {
            tokio::select! {
                () = sleep_until(Instant::now() + LOG_RETRY) => {}
                () = self.tasks.stopping() => return None,
            }
            match self.append(entries, Instant::now()) {
                Ok(()) => return Some(()),
                Err(LogError::Unavailable) => {}
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => {
                    return None;
                }
            }
        }
    }
}
