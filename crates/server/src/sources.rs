//! The calibrated sources that are open: as many as one caller, and all together, may have.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;

/// A probe opens a dozen for the idle limits of a path, and seven for a browser's tabs.
pub(crate) const PER_CALLER: usize = 16;

/// A source costs a timer and a few hundred bytes; this bounds them where there are many callers.
const ALL: usize = 512;

/// Counts the open sources of each caller.
#[derive(Debug, Default)]
pub struct Sources {
    open: Mutex<HashMap<Owner, usize>>,
}

/// One open source; it counts until it is dropped.
#[derive(Debug)]
pub(crate) struct SourceGuard {
    sources: Arc<Sources>,
    owner: Owner,
}

impl Sources {
    /// Counts one more source of `owner`.
    ///
    /// # Errors
    /// 429 if this caller has as many as it may, 503 if all callers together do.
    pub(crate) fn take(self: &Arc<Self>, owner: &Owner) -> Result<SourceGuard, Fault> {
        let mut open = self.open();
        if open.values().sum::<usize>() >= ALL {
            let message = format!("{ALL} calibrated sources are open; try again soon.");
            let fault = Fault::new(FaultKind::Server, "too_many_sources", message);
            return Err(Fault { retry_after: Some(1), ..fault.with_status(503) });
        }
        let own = open.get(owner).copied().unwrap_or_default();
        if own >= PER_CALLER {
            let message = format!(
                "This key has {PER_CALLER} calibrated sources open, which is as many as it may."
            );
            let fault = Fault::new(FaultKind::RateLimit, "too_many_sources", message);
            return Err(Fault { retry_after: Some(1), ..fault });
        }
        open.insert(owner.clone(), own + 1);
        Ok(SourceGuard { sources: Arc::clone(self), owner: owner.clone() })
    }

    fn open(&self) -> MutexGuard<'_, HashMap<Owner, usize>> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for SourceGuard {
    fn drop(&mut self) {
        let mut open = self.sources.open();
        match open.get_mut(&self.owner) {
            Some(count) if *count > 1 => *count -= 1,
            Some(_) | None => drop(open.remove(&self.owner)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_caller_has_its_own_limit() {
        let sources = Arc::<Sources>::default();
        let (ada, bob) = (Owner::new("key_ada"), Owner::new("key_bob"));
        let held: Vec<_> = (0..PER_CALLER).map(|_| sources.take(&ada).unwrap()).collect();
        assert_eq!(sources.take(&ada).unwrap_err().code, "too_many_sources");
        assert!(sources.take(&bob).is_ok());
        drop(held);
        assert!(sources.open().is_empty());
        assert!(sources.take(&ada).is_ok());
    }

    #[test]
    fn all_callers_have_a_limit_together() {
        let sources = Arc::<Sources>::default();
        let held: Vec<_> = (0..ALL)
            .map(|index| sources.take(&Owner::new(format!("key_{}", index / PER_CALLER))).unwrap())
            .collect();
        assert_eq!(sources.take(&Owner::new("key_other")).unwrap_err().status, 503);
        drop(held);
    }
}
