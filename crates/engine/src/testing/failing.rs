//! A log that can be made to fail, as a full disk does, and to recover.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::event::Entry;
use protocol::id::ResponseId;
use tokio::sync::watch;

use crate::log::{Life, Log, LogError, LogReader, LogState, LogWriter, Progress};
use crate::memory::log::MemoryLog;

/// A [`MemoryLog`] that refuses appends while it is broken, and then tells its readers so.
#[derive(Clone, Default)]
pub struct FailingLog {
    inner: MemoryLog,
    weather: Arc<Mutex<Weather>>,
}

#[derive(Default)]
struct Weather {
    broken: bool,
    /// How many appends still succeed before it breaks by itself.
    left: Option<u64>,
    progress: HashMap<ResponseId, watch::Sender<Progress>>,
}

struct Writer {
    id: ResponseId,
    inner: Box<dyn LogWriter>,
    weather: Arc<Mutex<Weather>>,
}

struct Reader {
    inner: Box<dyn LogReader>,
    progress: watch::Receiver<Progress>,
}

impl FailingLog {
    /// A log that works, for now.
    pub fn new() -> Self {
        Self::default()
    }

    /// Fails from the append after the next `appends` on.
    pub fn break_after(&self, appends: u64) {
        self.weather().left = Some(appends);
    }

    /// Works again.
    pub fn mend(&self) {
        let mut weather = self.weather();
        weather.broken = false;
        weather.left = None;
    }

    /// Whether it fails now.
    pub fn is_broken(&self) -> bool {
        self.weather().broken
    }

    fn weather(&self) -> MutexGuard<'_, Weather> {
        self.weather.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Log for FailingLog {
    fn take(&self, id: &ResponseId, life: Life) -> Result<Box<dyn LogWriter>, LogError> {
        let mut weather = self.weather();
        if weather.broken {
            return Err(LogError::Unavailable);
        }
        weather.progress.entry(id.clone()).or_default();
        Ok(Box::new(Writer { id: id.clone(), inner: self.inner.take(id, life)?, weather: Arc::clone(&self.weather) }))
    }

    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        let progress = self.weather().progress.get(id).map(watch::Sender::subscribe);
        let inner = self.inner.open(id);
        async move {
            let progress = progress.ok_or(LogError::Missing)?;
            Ok(Box::new(Reader { inner: inner.await?, progress }) as Box<dyn LogReader>)
        }
        .boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        self.weather().progress.remove(id);
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
        let mut weather = self.weather.lock().unwrap_or_else(PoisonError::into_inner);
        match weather.left {
            Some(0) => weather.broken = true,
            Some(left) => weather.left = Some(left - 1),
            None => {}
        }
        let Some(progress) = weather.progress.get(&self.id) else { return Err(LogError::Missing) };
        if weather.broken {
            progress.send_modify(|progress| progress.state = LogState::Failed);
            return Err(LogError::Unavailable);
        }
        self.inner.append(entries)?;
        let ended = entries.last().is_some_and(|entry| entry.kind.is_terminal());
        let state = if ended { LogState::Ended } else { LogState::Open };
        progress.send_replace(Progress { committed: self.inner.next_position(), state });
        Ok(())
    }
}

impl LogReader for Reader {
    fn progress(&self) -> watch::Receiver<Progress> {
        self.progress.clone()
    }

    fn read(&self, position: u64, budget: usize) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        if position < self.progress.borrow().committed { self.inner.read(position, budget) } else { ready(Ok(Vec::new())).boxed() }
    }
}
