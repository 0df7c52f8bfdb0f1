//! The keys of one upstream: which is used next, how many responses run on each, the queue, and
//! which keys are out of use.

mod slot;

use std::collections::{HashMap, VecDeque};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::provider::failure::{FailureScope, ProviderFailure};
use engine::secret::Secret;
use engine::upstreams::KeyState;
use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use self::slot::{Aside, KeySlot, Rest};
use super::choice::{WeightedCandidate, choose};
use crate::config::{KeyConfig, Strategy, UpstreamConfig};

/// The keys of one upstream. An upstream without keys has one slot with an empty key.
#[derive(Debug)]
pub(super) struct Pool {
    upstream: Arc<str>,
    keys: Vec<KeyConfig>,
    /// Whether the upstream needs no key.
    is_keyless: bool,
    strategy: Strategy,
    /// The longest time for which a key is out of use.
    longest_pause: Duration,
    queue: usize,
    queue_timeout: Duration,
    state: Mutex<State>,
    /// Notified when a key goes out of use.
    set_aside: Notify,
}

#[derive(Debug)]
struct State {
    slots: Vec<KeySlot>,
    /// In order of arrival.
    waiting: VecDeque<Waiter>,
    /// The number of running responses per caller.
    callers: HashMap<Owner, usize>,
}

/// A request that waits for a slot.
#[derive(Debug)]
struct Waiter {
    model: Arc<str>,
    owner: Owner,
    permit: oneshot::Sender<Result<PoolPermit, ProviderFailure>>,
}

/// A slot for one response. When it is dropped, the next waiting request gets it.
#[derive(Debug)]
pub(super) struct PoolPermit {
    pool: Arc<Pool>,
    index: usize,
    model: Arc<str>,
    owner: Owner,
    /// When it was acquired.
    taken: Instant,
}

impl Pool {
    /// The keys in `config`.
    pub(super) fn new(config: &UpstreamConfig) -> Arc<Self> {
        let is_keyless = config.keys.is_empty();
        let keys = if is_keyless {
            vec![KeyConfig::new("none", Secret::new(""))]
        } else {
            config.keys.clone()
        };
        let slots = keys.iter().map(|_| KeySlot::default()).collect();
        Arc::new(Self {
            upstream: config.name.as_str().into(),
            keys,
            is_keyless,
            strategy: config.strategy,
            longest_pause: config.key_rest,
            queue: config.queue,
            queue_timeout: config.queue_timeout,
            state: Mutex::new(State { slots, waiting: VecDeque::new(), callers: HashMap::new() }),
            set_aside: Notify::new(),
        })
    }

    /// A slot for a response of `model`. Waits in a queue in which the caller with the fewest
    /// running responses comes first. Dropping the future leaves the queue.
    ///
    /// # Errors
    /// No key is usable now, the queue is full, or the wait timed out.
    pub(super) async fn seat(
        self: &Arc<Self>,
        model: &str,
        owner: Option<&Owner>,
    ) -> Result<PoolPermit, ProviderFailure> {
        let owner = owner.cloned().unwrap_or_else(Owner::local);
        let (sender, mut permit) = oneshot::channel();
        {
            let mut state = self.state();
            state.waiting.retain(|waiter| !waiter.permit.is_closed());
            if state.waiting.is_empty() {
                match self.take(&mut state, model, &owner) {
                    Taken::Permit(permit) => return Ok(permit),
                    Taken::Failure(failure) => return Err(failure),
                    Taken::Busy => {}
                }
            }
            if state.waiting.len() >= self.queue && !state.evict_waiter(&owner) {
                return Err(self.full());
            }
            state.waiting.push_back(Waiter { model: model.into(), owner, permit: sender });
        }
        // A pause may have ended meanwhile, and nothing else checks for that.
        self.serve();
        let deadline = Instant::now() + self.queue_timeout;
        loop {
            // Registered before the keys are checked, so that a change after the check is not
            // missed.
            let set_aside = self.set_aside.notified();
            let next = self.next_return().map_or(deadline, |until| until.min(deadline));
            tokio::select! {
                biased;
                // Only `evict_waiter` drops the sender.
                permit = &mut permit => return permit.unwrap_or_else(|_gone| Err(self.full())),
                () = set_aside => {}
                () = sleep_until(next) => {
                    if Instant::now() >= deadline {
                        return Err(self.timed_out());
                    }
                    self.serve();
                }
            }
        }
    }

    /// When the next key becomes usable again.
    fn next_return(&self) -> Option<Instant> {
        let now = Instant::now();
        let state = self.state();
        let rests = state.slots.iter().flat_map(|slot| slot.models.values().chain([&slot.whole]));
        rests
            .filter_map(|rest| rest.aside.as_ref())
            .map(|aside| aside.until)
            .filter(|until| *until > now)
            .min()
    }

    /// Whether a key is usable for `model`, even if all usable keys are busy.
    pub(super) fn is_usable(&self, model: &str) -> bool {
        let now = Instant::now();
        self.state().slots.iter().any(|slot| slot.is_usable(model, now))
    }

    /// A key for requests outside of the queue: the first usable one, or else the first.
    pub(super) fn some_key(&self) -> Option<&Secret> {
        let now = Instant::now();
        let usable =
            self.state().slots.iter().position(|slot| !slot.whole.is_aside(now)).unwrap_or(0);
        self.keys.get(usable).filter(|_| !self.is_keyless).map(|key| &key.secret)
    }

    /// Makes keys usable again that were refused or out of credit.
    pub(super) fn reset_backoff(self: &Arc<Self>) {
        let is_kept = |rest: &Rest| {
            !rest.aside.as_ref().is_some_and(|aside| {
                matches!(aside.failure.scope, FailureScope::Credential | FailureScope::Quota)
            })
        };
        for slot in &mut self.state().slots {
            if !is_kept(&slot.whole) {
                slot.whole = Rest::default();
            }
            slot.models.retain(|_, rest| is_kept(rest));
        }
        self.serve();
    }

    /// Whether another key can take over from a failing one.
    pub(super) fn has_others(&self) -> bool {
        self.keys.len() > 1 && !self.longest_pause.is_zero()
    }

    /// The state of each key.
    pub(super) fn keys(&self) -> Vec<KeyState> {
        let now = Instant::now();
        let state = self.state();
        let keys = self.keys.iter().zip(&state.slots);
        keys.map(|(key, slot)| KeyState {
            label: Arc::clone(&key.label),
            running: slot.running,
            health: slot.health(now),
        })
        .collect()
    }

    /// The number of waiting requests.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.iter().filter(|waiter| !waiter.permit.is_closed()).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a free slot, if any.
    fn take(self: &Arc<Self>, state: &mut State, model: &str, owner: &Owner) -> Taken {
        let now = Instant::now();
        let candidates: Vec<WeightedCandidate> = (self.keys.iter().zip(&state.slots).enumerate())
            .filter(|(_, (key, slot))| slot.is_usable(model, now) && slot.has_room(key))
            .map(|(index, (key, slot))| WeightedCandidate {
                index,
                weight: key.weight,
                running: slot.running,
                served: slot.served,
            })
            .collect();
        let chosen = choose(self.strategy, &candidates, fastrand::f64)
            .or_else(|| self.only_key(state, model));
        let Some(index) = chosen else { return Self::none(state, model, now) };
        let (weight, slot) = (u64::from(self.keys[index].weight.max(1)), &mut state.slots[index]);
        slot.running += 1;
        slot.served += 1;
        *state.callers.entry(owner.clone()).or_default() += 1;
        let share = slot.served / weight;
        // Keys that are out of use keep accruing their share; otherwise they would get every request
        // when they return.
        for (key, slot) in
            self.keys.iter().zip(&mut state.slots).filter(|(_, slot)| !slot.is_usable(model, now))
        {
            slot.served = slot.served.max(share * u64::from(key.weight.max(1)));
        }
        Taken::Permit(PoolPermit {
            pool: Arc::clone(self),
            index,
            model: model.into(),
            owner: owner.clone(),
            taken: now,
        })
    }

    /// The only key, even if it was refused or is out of credit: there is no alternative, and it
    /// may work again.
    fn only_key(&self, state: &State, model: &str) -> Option<usize> {
        let ([key], [slot]) = (&self.keys[..], &state.slots[..]) else { return None };
        let is_refused = slot.rest(model, Instant::now()).is_some_and(|aside| {
            matches!(aside.failure.scope, FailureScope::Credential | FailureScope::Quota)
        });
        (slot.has_room(key) && is_refused).then_some(0)
    }

    /// Why there is no slot: all keys are busy, or none is usable. If none is usable, it is the
    /// failure of the key whose pause ends first.
    fn none(state: &State, model: &str, now: Instant) -> Taken {
        if state.slots.iter().any(|slot| slot.is_usable(model, now)) {
            return Taken::Busy;
        }
        let first = state
            .slots
            .iter()
            .filter_map(|slot| slot.rest(model, now))
            .min_by_key(|aside| aside.until);
        let Some(aside) = first else { return Taken::Busy };
        let wait = aside.until - now;
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let is_for_caller =
            matches!(aside.failure.scope, FailureScope::RateLimited(_) | FailureScope::Upstream(_));
        let fault =
            Fault { retry_after: is_for_caller.then_some(seconds), ..aside.failure.fault.clone() };
        let scope = match aside.failure.scope {
            FailureScope::RateLimited(_) => FailureScope::RateLimited(Some(wait)),
            FailureScope::Upstream(_) => FailureScope::Upstream(Some(wait)),
            other => other,
        };
        Taken::Failure(ProviderFailure { fault, scope })
    }

    fn full(&self) -> ProviderFailure {
        self.busy("its queue is full")
    }

    fn timed_out(&self) -> ProviderFailure {
        self.busy("none became free in time")
    }

    fn busy(&self, why: &str) -> ProviderFailure {
        let message = format!(
            "All keys of the upstream '{}' are busy, and {why}; try again in a second.",
            self.upstream
        );
        let fault = Fault {
            retry_after: Some(1),
            ..Fault::new(FaultKind::RateLimit, "upstream_queue_full", message)
        };
        // Other keys of this upstream are busy too: they share one queue.
        ProviderFailure::new(fault, FailureScope::Upstream(Some(Duration::from_secs(1))))
    }

    /// Assigns free slots to waiting requests, and fails those for which no key is left. A request
    /// for a model that is limited on the free keys does not block the others.
    fn serve(self: &Arc<Self>) {
        let mut busy = 0;
        loop {
            let (waiter, taken) = {
                let mut state = self.state();
                state.waiting.retain(|waiter| !waiter.permit.is_closed());
                let Some(index) = state.next(busy) else { return };
                let Some(waiter) = state.waiting.get(index) else { return };
                if !self.keys.iter().zip(&state.slots).any(|(key, slot)| slot.has_room(key)) {
                    return;
                }
                let (model, owner) = (Arc::clone(&waiter.model), waiter.owner.clone());
                let taken = match self.take(&mut state, &model, &owner) {
                    Taken::Busy => {
                        busy += 1;
                        continue;
                    }
                    Taken::Permit(permit) => Ok(permit),
                    Taken::Failure(failure) => Err(failure),
                };
                (state.waiting.remove(index), taken)
            };
            // Without the lock: a slot whose receiver is gone is dropped, which calls this function
            // again.
            if let Some(waiter) = waiter {
                drop(waiter.permit.send(taken));
            }
        }
    }
}

enum Taken {
    Permit(PoolPermit),
    Busy,
    Failure(ProviderFailure),
}

impl State {
    /// The next waiter: callers with the fewest running responses first, then by arrival. Skips the
    /// first `passed` in that order, for whose models no key is free.
    fn next(&self, passed: usize) -> Option<usize> {
        let running =
            |index: &usize| self.callers.get(&self.waiting[*index].owner).copied().unwrap_or(0);
        let mut order: Vec<usize> = (0..self.waiting.len()).collect();
        order.sort_by_key(running);
        order.get(passed).copied()
    }

    /// Evicts the newest waiter of the caller that has the most, if `owner` has at least two fewer.
    /// Returns whether one was evicted.
    fn evict_waiter(&mut self, owner: &Owner) -> bool {
        let mut counts: HashMap<&Owner, usize> = HashMap::new();
        self.waiting.iter().for_each(|waiter| *counts.entry(&waiter.owner).or_default() += 1);
        let own = counts.get(owner).copied().unwrap_or(0);
        let Some((most, count)) = counts.into_iter().max_by_key(|(_, count)| *count) else {
            return false;
        };
        if count <= own + 1 {
            return false;
        }
        let last = self.waiting.iter().rposition(|waiter| waiter.owner == *most);
        // Its receiver fails, which reports that the queue is full.
        last.and_then(|last| self.waiting.remove(last)).is_some()
    }
}

impl PoolPermit {
    /// The key; `None` if the upstream needs none.
    pub(super) fn key(&self) -> Option<&Secret> {
        (!self.pool.is_keyless).then(|| &self.pool.keys[self.index].secret)
    }

    /// A response with this key has completed. A call that started before the key went out of use
    /// does not restore it.
    pub(super) fn succeeded(&self) {
        let mut state = self.pool.state();
        let slot = &mut state.slots[self.index];
        if slot.whole.is_news(self.taken) {
            slot.whole = Rest::default();
        }
        if slot.models.get(&self.model).is_some_and(|rest| rest.is_news(self.taken)) {
            slot.models.remove(&self.model);
        }
    }

    /// A call with this key has failed: puts the key out of use if it is the key's fault.
    pub(super) fn failed(&self, failure: &ProviderFailure) {
        let label = &self.pool.keys[self.index].label;
        let pause = {
            let mut state = self.pool.state();
            let now = Instant::now();
            if Rest::default().pause(failure.scope, self.pool.longest_pause).is_none() {
                return;
            }
            let Some(rest) = state.slots[self.index].rest_of(failure.scope, &self.model, now)
            else {
                return;
            };
            let Some(pause) = rest
                .pause(failure.scope, self.pool.longest_pause)
                .filter(|_| rest.is_news(self.taken))
            else {
                return;
            };
            rest.failures += 1;
            rest.aside = Some(Aside { since: now, until: now + pause, failure: failure.clone() });
            pause
        };
        self.pool.set_aside.notify_waiters();
        let upstream = &self.pool.upstream;
        let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
        match failure.scope {
            FailureScope::Credential => {
                tracing::error!(%upstream, key = %label, pause_ms, "the upstream rejected a key, which is now out of use");
            }
            FailureScope::Quota => {
                tracing::error!(%upstream, key = %label, pause_ms, "a key has no credit or quota left and is now out of use");
            }
            FailureScope::RateLimited(_)
            | FailureScope::Upstream(_)
            | FailureScope::Request
            | FailureScope::Unsupported => {
                tracing::info!(%upstream, key = %label, pause_ms, "key paused: rate limited or overloaded");
            }
        }
    }
}

impl Drop for PoolPermit {
    fn drop(&mut self) {
        let mut state = self.pool.state();
        state.slots[self.index].running -= 1;
        if let Some(running) = state.callers.get_mut(&self.owner) {
            *running -= 1;
            if *running == 0 {
                state.callers.remove(&self.owner);
            }
        }
        drop(state);
        self.pool.serve();
    }
}

#[cfg(test)]
mod tests;
