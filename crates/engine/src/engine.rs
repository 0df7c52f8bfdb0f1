//! The engine as one object: what concerns all responses together. [`crate::response`] adds what
//! concerns one.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use protocol::fault::Fault;
use protocol::id::Owner;

use crate::config::Config;
use crate::log::Log;
use crate::provider::models::{ModelListing, Models};
use crate::response::cause::Cause;
use crate::response::census::EngineStats;
use crate::response::state::EngineState;
use crate::retention;
use crate::shares::{CallerLimits, CallerUsage, ConnectionGuard, Reservation};
use crate::storage::Backends;
use crate::store::Store;
use crate::tasks::Tasks;
use crate::trace::SpanExporter;
use crate::upstreams::UpstreamState;

/// Runs responses and feeds their readers. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<EngineState>,
}

impl Engine {
    /// An engine over models, and over a log and a store for the responses that are kept. Starts
    /// its retention task.
    pub fn new(
        config: Config,
        log: Arc<dyn Log>,
        store: Arc<dyn Store>,
        models: Arc<dyn Models>,
        tasks: Tasks,
    ) -> Self {
        let shared = Arc::new(EngineState::new(config, Backends::new(log, store), models, tasks));
        shared.tasks.spawn("retention", retention::run(Arc::clone(&shared)));
        Self { shared }
    }

    /// Sends the spans of responses that start from now on to `sink`. Only the first call counts.
    pub fn trace_to(&self, sink: Arc<dyn SpanExporter>) {
        self.shared.traces.get_or_init(|| sink);
    }

    /// The state of every upstream.
    pub fn upstreams(&self) -> Vec<UpstreamState> {
        self.shared.models.upstreams()
    }

    /// All models.
    pub async fn models(&self) -> Vec<ModelListing> {
        self.shared.models.list().await
    }

    /// Replaces the settings. Running responses keep those they started with.
    pub fn configure(&self, config: Config) {
        self.shared.configure(config);
    }

    /// Refuses new responses from now on, with `retry` as the time after which to ask again.
    /// Running responses go on, and everything stored can be read, resumed and cancelled.
    /// Idempotent.
    pub fn drain(&self, retry: Duration) {
        let seconds = retry.as_secs() + u64::from(retry.subsec_nanos() > 0);
        self.shared.drain(seconds.max(1));
    }

    /// The fault of a new request while the server drains; `None` while it does not.
    pub fn draining(&self) -> Option<Fault> {
        self.shared.draining()
    }

    /// Ends every running response and every pass-through call as shut down, without waiting.
    /// Returns their number.
    pub fn shut_down(&self) -> usize {
        let responses = self.shared.responses();
        responses.values().for_each(|handle| handle.stop(Cause::ServerShutdown));
        self.shared.shut_down.cancel();
        responses.len() + self.shared.passing()
    }

    /// Reserves bytes for something that `owner` sends, before it is read.
    ///
    /// # Errors
    /// 503 where all callers together use too much, 429 where this one does.
    pub fn take_bytes(&self, owner: &Owner, bytes: u64) -> Result<Reservation, Fault> {
        self.shared.ledger.take(owner, bytes)
    }

    /// Counts a connection of `owner`.
    ///
    /// # Errors
    /// 429 where this caller has reached its limit of open connections.
    pub fn connect(&self, owner: &Owner) -> Result<ConnectionGuard, Fault> {
        self.shared.ledger.connect(owner)
    }

    /// What each caller uses at the moment; callers that use nothing are left out.
    pub fn usage_by_caller(&self) -> Vec<CallerUsage> {
        self.shared.ledger.usage()
    }

    /// Runs long work on a request outside the runtime's threads, one job of each caller at a time.
    /// `None` if it panicked.
    pub async fn work<T: Send + 'static>(
        &self,
        owner: &Owner,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.shared.workers.run(owner, work).await
    }

    /// Like [`Self::work`] if `bytes` is large; otherwise `work` runs on this thread.
    pub async fn work_sized<T: Send + 'static>(
        &self,
        owner: &Owner,
        bytes: u64,
        work: impl FnOnce() -> T + Send + 'static,
    ) -> Option<T> {
        self.shared.workers.run_sized(owner, bytes, work).await
    }

    /// The limits of `owner`; `None` where the server has one caller only.
    pub fn share(&self, owner: &Owner) -> Option<CallerLimits> {
        self.shared.ledger.share(owner)
    }

    /// The owners of running responses.
    pub fn owners(&self) -> HashSet<Owner> {
        let mut owners = HashSet::new();
        for handle in self.shared.responses().values() {
            if !owners.contains(&handle.owner) {
                owners.insert(handle.owner.clone());
            }
        }
        owners
    }

    /// Stops every response of an owner whose key was revoked, without waiting. Returns their
    /// number.
    pub fn revoke(&self, owner: &Owner) -> usize {
        let responses = self.shared.responses();
        let of_owner = responses.values().filter(|handle| handle.owner == *owner);
        of_owner.map(|handle| handle.stop(Cause::KeyRevoked)).count()
    }

    /// What the engine holds now.
    pub fn census(&self) -> EngineStats {
        EngineStats {
            running: self.shared.responses().len(),
            tasks: self.shared.tasks.running(),
            log_bytes: self.shared.backends.log_bytes(),
            item_bytes: self.shared.backends.item_bytes(),
        }
    }

    /// How many responses this caller may run at once, and how many more it may start now.
    pub fn capacity(&self, owner: &Owner) -> (usize, usize) {
        let limit = self.shared.config().running;
        let free = limit.saturating_sub(self.shared.responses().len());
        match self.shared.ledger.running(owner) {
            Some((own, running)) => (limit.min(own), free.min(own.saturating_sub(running))),
            None => (limit, free),
        }
    }
}
