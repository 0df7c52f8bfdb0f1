//! How long a chunk of an HTTP/2 stream has waited for its reader.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// Whether a chunk waits for its reader. Hyper asks for the next one only when the reader's window
/// has taken the last.
#[derive(Debug, Default)]
pub(crate) struct StallGauge(Mutex<Option<Instant>>);

impl StallGauge {
    /// A chunk was handed over.
    pub(crate) fn gave(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }

    /// The next is asked for.
    pub(crate) fn requested(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    fn waiting_since(&self) -> Option<Instant> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Resolves when one chunk has waited for `timeout`.
    pub(super) async fn stalled(&self, timeout: Duration) {
        loop {
            let since = self.waiting_since().unwrap_or_else(Instant::now);
            sleep_until(since + timeout).await;
            if self.waiting_since().is_some_and(|since| since.elapsed() >= timeout) {
                return;
            }
        }
    }
}
