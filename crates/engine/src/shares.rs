//! The share of each caller: limits on memory, running responses and connections, so that one
//! caller cannot starve the others.
//!
//! Each resource is counted while its guard lives. A server without keys has one caller, which may
//! use all of it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;

/// The limits of one caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CallerLimits {
    /// Responses that run or wait for their upstream.
    pub running: usize,
    /// Bytes of requests, conversations and responses in memory.
    pub memory_bytes: u64,
    /// Bytes of finished responses in the store; a caller over this limit loses its oldest
    /// responses first.
    pub stored_bytes: u64,
    /// Requests per second, on average; twice as many may come at once.
    pub requests_per_second: u32,
    /// Open connections, streams and sockets.
    pub connections: usize,
}

impl Default for CallerLimits {
    fn default() -> Self {
        Self {
            running: 1_000,
            memory_bytes: 128 << 20,
            stored_bytes: 4 << 30,
            requests_per_second: 500,
            connections: 1_000,
        }
    }
}

/// The shares of all callers.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Shares {
    /// The share of keys without one of their own.
    pub default_limits: CallerLimits,
    /// Shares of single keys, by the key's id.
    pub keys: HashMap<String, CallerLimits>,
}

impl Shares {
    /// The share of `owner`; `None` if the server has no keys, and so one caller only.
    pub fn of(&self, owner: &Owner) -> Option<CallerLimits> {
        (*owner != Owner::local())
            .then(|| self.keys.get(owner.as_str()).copied().unwrap_or(self.default_limits))
    }
}

/// Counts what callers use.
#[derive(Debug, Default)]
pub(crate) struct Ledger {
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    limit: u64,
    shares: Shares,
    bytes: u64,
    owners: HashMap<Owner, Taken>,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Taken {
    bytes: u64,
    running: usize,
    connections: usize,
}

/// What one caller uses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CallerUsage {
    /// The caller.
    pub owner: Owner,
    /// Bytes in memory now.
    pub bytes: u64,
    /// Running responses.
    pub running: usize,
    /// Open connections.
    pub connections: usize,
}

impl Ledger {
    /// Replaces the limits: all callers together may use `limit` bytes.
    pub(crate) fn configure(&self, limit: u64, shares: Shares) {
        let mut state = self.state();
        (state.limit, state.shares) = (limit, shares);
    }

    /// Reserves bytes for `owner`.
    ///
    /// # Errors
    /// 503 if all callers together use too much, 429 if this one does.
    pub(crate) fn take(self: &Arc<Self>, owner: &Owner, bytes: u64) -> Result<Reservation, Fault> {
        let mut taken = Reservation { ledger: Arc::clone(self), owner: owner.clone(), bytes: 0 };
        taken.grow(bytes)?;
        Ok(taken)
    }

    /// Takes a slot for one response of `owner`.
    ///
    /// # Errors
    /// 429 if this caller has reached its limit.
    pub(crate) fn run(self: &Arc<Self>, owner: &Owner) -> Result<RunningSlot, Fault> {
        let mut state = self.state();
        let limit = state.shares.of(owner).map(|share| share.running);
        let taken = state.owners.entry(owner.clone()).or_default();
        if let Some(limit) = limit.filter(|limit| taken.running >= *limit) {
            let message = format!(
                "This key has reached its limit of {limit} concurrent responses; try again soon."
            );
            let fault = Fault::new(FaultKind::RateLimit, "too_many_responses", message);
            return Err(Fault { retry_after: Some(1), ..fault });
        }
        taken.running += 1;
        Ok(RunningSlot { ledger: Arc::clone(self), owner: owner.clone() })
    }

    /// Counts a connection of `owner`.
    ///
    /// # Errors
    /// 429 if this caller has reached its limit.
    pub(crate) fn connect(self: &Arc<Self>, owner: &Owner) -> Result<ConnectionGuard, Fault> {
        let mut state = self.state();
        let limit = state.shares.of(owner).map(|share| share.connections);
        let taken = state.owners.entry(owner.clone()).or_default();
        if let Some(limit) = limit.filter(|limit| taken.connections >= *limit) {
            let message =
                format!("This key has reached its limit of {limit} open connections; close some.");
            let fault = Fault::new(FaultKind::RateLimit, "too_many_connections", message);
            return Err(Fault { retry_after: Some(1), ..fault });
        }
        taken.connections += 1;
        Ok(ConnectionGuard { ledger: Arc::clone(self), owner: owner.clone() })
    }

    /// How many responses `owner` may run, and how many run; `None` without a limit.
    pub(crate) fn running(&self, owner: &Owner) -> Option<(usize, usize)> {
        let state = self.state();
        let limit = state.shares.of(owner)?.running;
        Some((limit, state.owners.get(owner).map_or(0, |taken| taken.running)))
    }

    /// The share of `owner`.
    pub(crate) fn share(&self, owner: &Owner) -> Option<CallerLimits> {
        self.state().shares.of(owner)
    }

    /// Bytes of all callers together.
    pub(crate) fn bytes(&self) -> u64 {
        self.state().bytes
    }

    /// What each caller uses; callers that use nothing are left out.
    pub(crate) fn usage(&self) -> Vec<CallerUsage> {
        let state = self.state();
        let usage = |(owner, taken): (&Owner, &Taken)| {
            let Taken { bytes, running, connections } = *taken;
            CallerUsage { owner: owner.clone(), bytes, running, connections }
        };
        state.owners.iter().map(usage).collect()
    }

    fn change(&self, owner: &Owner, change: impl FnOnce(&mut State, Taken) -> Taken) {
        let mut state = self.state();
        let before = state.owners.get(owner).copied().unwrap_or_default();
        let after = change(&mut state, before);
        if after == Taken::default() {
            state.owners.remove(owner);
        } else {
            state.owners.insert(owner.clone(), after);
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Bytes that are reserved for a body, a conversation or a response, until it is dropped.
#[derive(Debug)]
pub struct Reservation {
    ledger: Arc<Ledger>,
    owner: Owner,
    bytes: u64,
}

impl Reservation {
    /// Reserves more.
    ///
    /// # Errors
    /// As for the first; what was reserved stays reserved.
    pub fn grow(&mut self, more: u64) -> Result<(), Fault> {
        // Zero bytes are never refused.
        if more == 0 {
            return Ok(());
        }
        let mut result = Ok(());
        self.ledger.change(&self.owner, |state, taken| {
            let all = state.bytes.saturating_add(more);
            let own = taken.bytes.saturating_add(more);
            let share = state.shares.of(&self.owner).map(|share| share.memory_bytes);
            if share.is_some_and(|share| own > share) {
                result = Err(too_much_of_one(share.unwrap_or_default()));
                return taken;
            }
            if all > state.limit {
                result = Err(too_much(state.limit));
                return taken;
            }
            state.bytes = all;
            Taken { bytes: own, ..taken }
        });
        if result.is_ok() {
            self.bytes = self.bytes.saturating_add(more);
        }
        result
    }

    /// Reserves up to `all` bytes in total.
    ///
    /// # Errors
    /// As [`Self::grow`].
    pub fn grow_to(&mut self, all: u64) -> Result<(), Fault> {
        self.grow(all.saturating_sub(self.bytes))
    }

    /// The number of reserved bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Reserves more without a limit, for what can no longer be refused: the text of a running
    /// response.
    pub fn add(&mut self, more: u64) {
        self.ledger.change(&self.owner, |state, taken| {
            state.bytes = state.bytes.saturating_add(more);
            Taken { bytes: taken.bytes.saturating_add(more), ..taken }
        });
        self.bytes = self.bytes.saturating_add(more);
    }
}

/// Two are equal if they have the same size and caller.
impl PartialEq for Reservation {
    fn eq(&self, other: &Self) -> bool {
        (&self.owner, self.bytes) == (&other.owner, other.bytes)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        let bytes = self.bytes;
        self.ledger.change(&self.owner, |state, taken| {
            state.bytes = state.bytes.saturating_sub(bytes);
            Taken { bytes: taken.bytes.saturating_sub(bytes), ..taken }
        });
    }
}

/// The slot of a running response, until it is dropped.
#[derive(Debug)]
pub(crate) struct RunningSlot {
    ledger: Arc<Ledger>,
    owner: Owner,
}

impl Drop for RunningSlot {
    fn drop(&mut self) {
        self.ledger.change(&self.owner, |_, taken| Taken {
            running: taken.running.saturating_sub(1),
            ..taken
        });
    }
}

/// A counted connection of a caller, until it is dropped.
#[derive(Debug)]
pub struct ConnectionGuard {
    ledger: Arc<Ledger>,
    owner: Owner,
}

impl ConnectionGuard {
    /// The caller.
    pub fn owner(&self) -> &Owner {
        &self.owner
    }
}

impl Drop for ConnectionGuard {
    fn drop(&mut self) {
        self.ledger.change(&self.owner, |_, taken| Taken {
            connections: taken.connections.saturating_sub(1),
            ..taken
        });
    }
}

fn too_much(limit: u64) -> Fault {
    let message = format!(
        "This server has reached its limit of {limit} bytes of requests in memory; try again soon."
    );
    let fault = Fault::new(FaultKind::Server, "server_busy", message).with_status(503);
    Fault { retry_after: Some(1), ..fault }
}

fn too_much_of_one(limit: u64) -> Fault {
    let message = format!(
        "This key has reached its limit of {limit} bytes of requests in memory; try again soon."
    );
    Fault { retry_after: Some(1), ..Fault::new(FaultKind::RateLimit, "too_many_bytes", message) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger() -> Arc<Ledger> {
        let ledger = Arc::new(Ledger::default());
        let default_limits =
            CallerLimits { running: 2, memory_bytes: 60, ..CallerLimits::default() };
        let keys = HashMap::from([(
            "key_small".to_owned(),
            CallerLimits { running: 1, memory_bytes: 10, ..default_limits },
        )]);
        ledger.configure(100, Shares { default_limits, keys });
        ledger
    }

    fn code<T>(result: Result<T, Fault>) -> (u16, String) {
        let Err(fault) = result else { panic!("it is taken") };
        assert_eq!(fault.retry_after, Some(1));
        (fault.status, fault.code)
    }

    #[test]
    fn one_caller_leaves_something_for_the_others_and_all_together_have_a_limit() {
        let ledger = ledger();
        let (ada, bob) = (Owner::new("key_ada"), Owner::new("key_bob"));
        let mut first = ledger.take(&ada, 50).unwrap();
        assert_eq!(code(ledger.take(&ada, 11)), (429, "too_many_bytes".into()));
        assert_eq!(code(first.grow(11)), (429, "too_many_bytes".into()));
        let second = ledger.take(&bob, 50).unwrap();
        assert_eq!(code(ledger.take(&Owner::new("key_eve"), 1)), (503, "server_busy".into()));
        drop(first);
        assert!(ledger.take(&Owner::new("key_eve"), 50).is_ok());
        drop(second);
        assert!(ledger.usage().is_empty(), "{:?}", ledger.usage());
    }

    #[test]
    fn a_key_may_have_a_share_of_its_own_and_without_keys_there_is_none() {
        let ledger = ledger();
        assert_eq!(code(ledger.take(&Owner::new("key_small"), 11)).0, 429);
        let all = ledger.take(&Owner::local(), 100).unwrap();
        assert_eq!(code(ledger.take(&Owner::local(), 1)).0, 503);
        drop(all);
    }

    #[test]
    fn responses_have_places() {
        let ledger = ledger();
        let ada = Owner::new("key_ada");
        let places = [ledger.run(&ada).unwrap(), ledger.run(&ada).unwrap()];
        assert_eq!(code(ledger.run(&ada)), (429, "too_many_responses".into()));
        assert_eq!(ledger.running(&ada), Some((2, 2)));
        assert!(ledger.run(&Owner::new("key_bob")).is_ok());
        drop(places);
        assert!(ledger.run(&ada).is_ok() && ledger.usage().is_empty());
    }

    #[test]
    fn what_cannot_be_refused_is_counted_and_given_back() {
        let ledger = ledger();
        let ada = Owner::new("key_ada");
        let mut taken = ledger.take(&ada, 1).unwrap();
        taken.add(1_000);
        assert_eq!(ledger.usage()[0].bytes, 1_001);
        assert_eq!(code(ledger.take(&Owner::new("key_bob"), 1)).0, 503);
        drop(taken);
        assert!(ledger.usage().is_empty());
    }
}
