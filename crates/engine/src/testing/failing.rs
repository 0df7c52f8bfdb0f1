//! A log that can be made to fail, as a full disk does, and to recover.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::entry::Entry;
use protocol::id::ResponseId;
use tokio::sync::watch;

use crate::log::{Log, LogError, LogProgress, LogReader, LogState, LogWriter};
use crate::memory::log::MemoryLog;

/// A [`MemoryLog`] that refuses appends while it is broken, and shows its readers that it has
/// failed.
#[derive(Clone, Default)]
pub struct FailingLog {
    inner: MemoryLog,
    state: Arc<Mutex<FailureState>>,
}

#[derive(Default)]
struct FailureState {
    broken: bool,
    /// Whether logs cannot be opened.
    unreachable: bool,
    /// How many appends still succeed before it breaks by itself.
    left: Option<u64>,
    progress: HashMap<ResponseId, watch::Sender<LogProgress>>,
}

struct Writer {
    id: ResponseId,
    inner: Box<dyn LogWriter>,
    state: Arc<Mutex<FailureState>>,
}

struct Reader {
    inner: Box<dyn LogReader>,
    progress: watch::Receiver<LogProgress>,
}

impl FailingLog {
    /// A log that works.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fails from the append after the next `appends` on.
    pub fn break_after(&self, appends: u64) {
        self.state().left = Some(appends);
    }

    /// Refuses to open logs from now on. Writers and readers that are open go on.
    pub fn make_unreachable(&self) {
        self.state().unreachable = true;
    }

    /// Works again.
    pub fn repair(&self) {
        let mut state = self.state();
        state.broken = false;
        state.unreachable = false;
        state.left = None;
    }

    /// Whether it fails now.
    pub fn is_broken(&self) -> bool {
        self.state().broken
    }

    fn state(&self) -> MutexGuard<'_, FailureState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for FailingLog {
    fn take(&self, id: &ResponseId) -> Result<Box<dyn LogWriter>, LogError> {
        let mut state = self.state();
        if state.broken {
            return Err(LogError::Unavailable);
        }
        state.progress.entry(id.clone()).or_default();
        Ok(Box::new(Writer {
            id: id.clone(),
            inner: self.inner.take(id)?,
            state: Arc::clone(&self.state),
        }))
    }

    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        let (progress, unreachable) = {
            let state = self.state();
            (state.progress.get(id).map(watch::Sender::subscribe), state.unreachable)
        };
        let inner = self.inner.open(id);
        async move {
            if unreachable {
                return Err(LogError::Unavailable);
            }
            let progress = progress.ok_or(LogError::Missing)?;
            Ok(Box::new(Reader { inner: inner.await?, progress }) as Box<dyn LogReader>)
        }
        .boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        self.state().progress.remove(id);
        self.inner.remove(id)
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }
}

impl LogWriter for Writer {
    fn next_position(&self) -> u64 {
        self.inner.next_position()
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        match state.left {
            Some(0) => state.broken = true,
            Some(left) => state.left = Some(left - 1),
            None => {}
        }
        let Some(progress) = state.progress.get(&self.id) else { return Err(LogError::Missing) };
        if state.broken {
            progress.send_modify(|progress| progress.state = LogState::Failed);
            return Err(LogError::Unavailable);
        }
        self.inner.append(entries)?;
        let ended = entries.last().is_some_and(|entry| entry.kind.is_terminal());
        let state = if ended { LogState::Ended } else { LogState::Open };
        progress.send_replace(LogProgress { committed: self.inner.next_position(), state });
        Ok(())
    }
}

impl LogReader for Reader {
    fn progress(&self) -> watch::Receiver<LogProgress> {
        self.progress.clone()
    }

    fn read(&self, position: u64, budget: usize) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        if position < self.progress.borrow().committed {
            self.inner.read(position, budget)
        } else {
            ready(Ok(Vec::new())).boxed()
        }
    }
}
