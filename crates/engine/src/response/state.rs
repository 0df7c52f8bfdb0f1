//! What every task of one engine shares.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};

use protocol::fault::{Fault, FaultKind};
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use super::handle::RunningResponse;
use super::metrics::EngineMetrics;
use super::timeline::EndedTimelines;
use crate::config::Config;
use crate::loads::Loads;
use crate::provider::models::Models;
use crate::shares::Ledger;
use crate::storage::Backends;
use crate::store::{Most, StoreError};
use crate::tasks::Tasks;
use crate::trace::SpanExporter;
use crate::workers::Workers;

/// What every task of one engine shares.
pub(crate) struct EngineState {
    config: RwLock<Arc<Config>>,
    pub(crate) backends: Backends,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) metrics: Arc<EngineMetrics>,
    /// Exports traces, if configured.
    pub(crate) traces: OnceLock<Arc<dyn SpanExporter>>,
    pub(crate) tasks: Tasks,
    /// Ends the running pass-through calls when the server shuts down.
    pub(crate) shut_down: CancellationToken,
    responses: Mutex<HashMap<ResponseId, Arc<RunningResponse>>>,
    /// The ways of the responses that ended last.
    pub(crate) timelines: EndedTimelines,
    /// What each caller uses at the moment.
    pub(crate) ledger: Arc<Ledger>,
    /// Runs long work on requests.
    pub(crate) workers: Arc<Workers>,
    /// Runs large loads from the backends.
    pub(crate) loads: Loads,
    /// The `Retry-After` of refused requests, in seconds. Set once, when the server drains.
    draining: OnceLock<u64>,
    /// Notified when a response has ended, so that retention runs at once.
    pub(crate) ended: Notify,
}

impl EngineState {
    pub(crate) fn new(
        config: Config,
        backends: Backends,
        models: Arc<dyn Models>,
        tasks: Tasks,
    ) -> Self {
        let state = Self {
            config: RwLock::default(),
            backends,
            models,
            metrics: Arc::default(),
            traces: OnceLock::new(),
            workers: Arc::new(Workers::new(tasks.clone())),
            loads: Loads::new(tasks.clone()),
            tasks,
            shut_down: CancellationToken::new(),
            responses: Mutex::default(),
            timelines: EndedTimelines::default(),
            ledger: Arc::default(),
            draining: OnceLock::new(),
            ended: Notify::new(),
        };
        state.configure(config);
        state
    }

    /// The settings in force.
    pub(crate) fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Replaces the settings. Running responses keep the old ones.
    pub(crate) fn configure(&self, config: Config) {
        self.ledger.configure(config.memory_bytes, config.shares.clone());
        *self.config.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(config);
    }

    /// How much of a conversation is loaded at most.
    pub(crate) fn most(&self) -> Most {
        let config = self.config();
        Most { items: config.context_items, bytes: config.context_bytes }
    }

    /// The stored conversation up to and including `head`, for `owner`.
    ///
    /// # Errors
    /// Those of [`Store::path`](crate::store::Store::path).
    pub(crate) async fn path(&self, owner: &Owner, head: &ItemId) -> Result<Vec<Item>, StoreError> {
        let store = Arc::clone(&self.backends.stored.store);
        let (head, most) = (head.clone(), self.most());
        let loaded = self.loads.run(owner, async move { store.path(&head, most).await });
        loaded.await.unwrap_or(Err(StoreError::Unavailable))
    }

    /// The number of running pass-through calls.
    pub(crate) fn passing(&self) -> usize {
        usize::try_from(self.metrics.passing.get()).unwrap_or(usize::MAX)
    }

    /// All running responses.
    pub(crate) fn responses(&self) -> MutexGuard<'_, HashMap<ResponseId, Arc<RunningResponse>>> {
        self.responses.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// One running response.
    pub(crate) fn running(&self, id: &ResponseId) -> Option<Arc<RunningResponse>> {
        self.responses().get(id).cloned()
    }

    /// Refuses new responses from now on. Idempotent: the first `seconds` count.
    pub(crate) fn drain(&self, seconds: u64) {
        let _first = self.draining.set(seconds);
    }

    /// The fault of a new request while the server drains.
    pub(crate) fn draining(&self) -> Option<Fault> {
        let retry_after = self.draining.get().copied()?;
        let message = "This server is shutting down: try again in a moment.";
        let fault = Fault::new(FaultKind::Server, "server_draining", message).with_status(503);
        Some(Fault { retry_after: Some(retry_after), ..fault })
    }
}
