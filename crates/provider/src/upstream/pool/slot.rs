//! The state of one key: how many responses run on it, and whether it is out of use.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use engine::provider::failure::{FailureScope, ProviderFailure};
use engine::upstreams::KeyHealth;
use tokio::time::Instant;

use crate::config::KeyConfig;

/// How long a rate-limited key is unused at first, if the upstream does not say.
const FIRST_COOLING: Duration = Duration::from_secs(1);

/// The longest such pause, unless the upstream asks for more.
const LONGEST_COOLING: Duration = Duration::from_secs(60);

/// How long a refused key, or one without credit, is unused at first. Fixing the key reloads the
/// settings, so this is only for upstreams that refused it by mistake.
const FIRST_ASIDE: Duration = Duration::from_secs(30);

/// For how many models a key's pauses are remembered. Callers choose the names.
pub(super) const MOST_MODELS: usize = 64;

/// The state of one key.
#[derive(Debug, Default)]
pub(super) struct KeySlot {
    pub(super) running: usize,
    pub(super) served: u64,
    /// The key itself was refused.
    pub(super) whole: Rest,
    /// Rate limits and quotas per model: a limited model must not block the others.
    pub(super) models: HashMap<Arc<str>, Rest>,
}

/// Whether a key, or a model on it, is out of use.
#[derive(Clone, Debug, Default)]
pub(super) struct Rest {
    pub(super) aside: Option<Aside>,
    /// Consecutive failures.
    pub(super) failures: u32,
}

/// A time out of use, and its reason.
#[derive(Clone, Debug)]
pub(super) struct Aside {
    /// Calls that started before this report nothing new.
    pub(super) since: Instant,
    pub(super) until: Instant,
    pub(super) failure: ProviderFailure,
}

impl KeySlot {
    pub(super) fn has_room(&self, key: &KeyConfig) -> bool {
        key.concurrency == 0 || self.running < key.concurrency
    }

    pub(super) fn is_usable(&self, model: &str, now: Instant) -> bool {
        self.rest(model, now).is_none()
    }

    /// Why the key is unusable for a model; of two reasons the longer one.
    pub(super) fn rest(&self, model: &str, now: Instant) -> Option<&Aside> {
        let of_model = self.models.get(model);
        [Some(&self.whole), of_model]
            .into_iter()
            .flatten()
            .filter_map(|rest| rest.aside_at(now))
            .max_by_key(|aside| aside.until)
    }

    /// The key's health. A pause of a single model counts.
    pub(super) fn health(&self, now: Instant) -> KeyHealth {
        let rests = self
            .models
            .values()
            .filter_map(|rest| rest.aside_at(now))
            .max_by_key(|aside| aside.until);
        let Some(aside) = self.whole.aside_at(now).or(rests) else { return KeyHealth::Well };
        let left = aside.until - now;
        match aside.failure.scope {
            FailureScope::Credential => KeyHealth::Refused(left),
            FailureScope::Quota => KeyHealth::Empty(left),
            FailureScope::Request
            | FailureScope::Unsupported
            | FailureScope::RateLimited(_)
            | FailureScope::Upstream(_) => KeyHealth::Cooling(left),
        }
    }

    /// The pause that a failure with this scope extends.
    pub(super) fn rest_of(
        &mut self,
        scope: FailureScope,
        model: &Arc<str>,
        now: Instant,
    ) -> Option<&mut Rest> {
        if scope == FailureScope::Credential {
            return Some(&mut self.whole);
        }
        if self.models.len() >= MOST_MODELS && !self.models.contains_key(model) {
            self.models.retain(|_, rest| rest.is_aside(now));
        }
        // Without an entry the model stays usable: the upstream will limit it again.
        (self.models.len() < MOST_MODELS || self.models.contains_key(model))
            .then(|| self.models.entry(Arc::clone(model)).or_default())
    }
}

impl Rest {
    fn aside_at(&self, now: Instant) -> Option<&Aside> {
        self.aside.as_ref().filter(|aside| aside.until > now)
    }

    pub(super) fn is_aside(&self, now: Instant) -> bool {
        self.aside_at(now).is_some()
    }

    /// Whether a call that started at this time reports anything new.
    pub(super) fn is_news(&self, began: Instant) -> bool {
        self.aside.as_ref().is_none_or(|aside| aside.since <= began)
    }

    /// How long a failure puts it out of use; `None` if it does not.
    pub(super) fn pause(&self, scope: FailureScope, longest: Duration) -> Option<Duration> {
        let doubled = |first: Duration, longest: Duration| {
            (first * 2_u32.saturating_pow(self.failures.min(16))).min(longest)
        };
        let pause = match scope {
            FailureScope::Credential | FailureScope::Quota => doubled(FIRST_ASIDE, longest),
            FailureScope::RateLimited(wish) => {
                wish.unwrap_or_else(|| doubled(FIRST_COOLING, LONGEST_COOLING))
            }
            FailureScope::Upstream(Some(wish)) => wish,
            FailureScope::Upstream(None) | FailureScope::Request | FailureScope::Unsupported => {
                return None;
            }
        };
        Some(pause.min(longest)).filter(|pause| !pause.is_zero())
    }
}
