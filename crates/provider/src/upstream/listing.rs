//! The upstream's own list of models: cached for a minute, fetched by one caller at a time.

use std::collections::HashSet;
use std::sync::{PoisonError, RwLock};
use std::time::Duration;

use engine::provider::models::ModelListing;
use tokio::sync::Mutex;
use tokio::time::Instant;

/// Models change rarely; caching for a minute avoids a request for every page view.
const KEEP: Duration = Duration::from_mins(1);

/// After a failure the upstream is asked again soon, but not by every caller at once.
const KEEP_FAILURE: Duration = Duration::from_secs(5);

/// The cached list.
#[derive(Debug, Default)]
pub(super) struct Listing {
    known: Mutex<Option<Known>>,
    /// The names in the last successful list. Failures do not remove any.
    names: RwLock<HashSet<String>>,
}

#[derive(Debug)]
struct Known {
    models: Vec<ModelListing>,
    until: Instant,
}

impl Listing {
    /// The cached list, or the result of `fetch`. Concurrent callers wait for the same fetch. A
    /// failure is an empty list.
    pub(super) async fn get(
        &self,
        fetch: impl Future<Output = Option<Vec<ModelListing>>>,
    ) -> Vec<ModelListing> {
        let mut known = self.known.lock().await;
        if let Some(known) = known.as_ref().filter(|known| Instant::now() < known.until) {
            return known.models.clone();
        }
        let fetched = fetch.await;
        let keep = if fetched.is_some() { KEEP } else { KEEP_FAILURE };
        if let Some(fetched) = &fetched {
            *self.names.write().unwrap_or_else(PoisonError::into_inner) =
                fetched.iter().map(|model| model.id.clone()).collect();
        }
        let models = fetched.unwrap_or_default();
        *known = Some(Known { models: models.clone(), until: Instant::now() + keep });
        models
    }

    /// Whether a list was ever fetched.
    pub(super) fn has_list(&self) -> bool {
        !self.names.read().unwrap_or_else(PoisonError::into_inner).is_empty()
    }

    /// Whether the last list contained this name.
    pub(super) fn has(&self, model: &str) -> bool {
        self.names.read().unwrap_or_else(PoisonError::into_inner).contains(model)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_list_is_kept_for_a_minute_and_a_failure_for_five_seconds() {
        let kept = Listing::default();
        let some = |id: &str| {
            Some(vec![ModelListing { id: id.into(), owned_by: "north".into(), created: 0 }])
        };
        assert_eq!(kept.get(async { None }).await, []);
        assert_eq!(kept.get(async { some("a") }).await, []);
        tokio::time::advance(Duration::from_secs(6)).await;
        assert_eq!(kept.get(async { some("a") }).await[0].id, "a");
        tokio::time::advance(Duration::from_secs(59)).await;
        assert_eq!(kept.get(async { some("b") }).await[0].id, "a");
        assert!(kept.has("a") && !kept.has("b"));
        tokio::time::advance(Duration::from_secs(2)).await;
        assert_eq!(kept.get(async { some("b") }).await[0].id, "b");
    }
}
