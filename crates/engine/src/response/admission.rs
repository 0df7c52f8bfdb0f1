//! Whether there is room for another response, and the slot it takes.

use std::sync::Arc;

use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;

use super::handle::RunningResponse;
use super::state::EngineState;
use crate::engine::Engine;
use crate::instruments::counter::GaugeGuard;
use crate::shares::RunningSlot;
use crate::store::Removal;

/// A slot among the running responses. Dropped before [`Admission::keep`], it undoes what was
/// created for the response.
pub(super) struct Admission<'a> {
    shared: &'a Arc<EngineState>,
    handle: Option<&'a RunningResponse>,
}

impl<'a> Admission<'a> {
    /// For a response that was admitted and does not run yet.
    pub(super) fn new(shared: &'a Arc<EngineState>, handle: &'a RunningResponse) -> Self {
        Self { shared, handle: Some(handle) }
    }

    /// The response runs: its task releases the slot.
    pub(super) fn keep(mut self) {
        self.handle = None;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let Some(handle) = self.handle else { return };
        let (id, keeping) = (handle.id.clone(), handle.keeping);
        self.shared.responses().remove(&id);
        let shared = Arc::clone(self.shared);
        self.shared.tasks.spawn("forget", async move {
            // The id was returned to no one. What cannot be removed now, the next start finds.
            let backend = shared.backends.for_keeping(keeping);
            let _removed = backend.store.remove(&id, Removal::Forgotten).await;
            let _removed = backend.log.remove(&id).await;
        });
    }
}

impl Engine {
    /// Enters a response among the running ones.
    ///
    /// # Errors
    /// A limit is reached, or the server drains.
    pub(super) fn admit(&self, handle: &Arc<RunningResponse>) -> Result<RunningSlot, Fault> {
        let mut running = self.shared.responses();
        self.room(running.len())?;
        let slot = self.shared.ledger.run(&handle.owner)?;
        running.insert(handle.id.clone(), Arc::clone(handle));
        Ok(slot)
    }

    /// Admits a pass-through call, which counts as running while the returned guards live.
    ///
    /// # Errors
    /// A limit is reached, or the server drains.
    pub(crate) fn admit_passthrough(
        &self,
        owner: &Owner,
    ) -> Result<(GaugeGuard, RunningSlot), Fault> {
        let running = self.shared.responses();
        self.room(running.len())?;
        let slot = self.shared.ledger.run(owner)?;
        Ok((self.shared.metrics.passing.hold(), slot))
    }

    /// Whether another may run beside `running` responses. Called under their lock, so that a drain
    /// sees what was admitted before it.
    fn room(&self, running: usize) -> Result<(), Fault> {
        if let Some(fault) = self.draining() {
            return Err(fault);
        }
        if running + self.shared.passing() >= self.shared.config().running {
            let fault = Fault::new(
                FaultKind::RateLimit,
                "too_many_answers",
                "This server has reached its limit of concurrent responses; try again soon.",
            );
            return Err(Fault { retry_after: Some(1), ..fault });
        }
        Ok(())
    }
}
