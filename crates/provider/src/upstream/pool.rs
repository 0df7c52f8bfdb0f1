//! The keys of one upstream: which is used next, how many answers run on each, who waits, and which is set aside.

use std::collections::VecDeque;
use std::mem;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use engine::provider::{Blame, Failure};
use engine::secret::Secret;
use engine::upstreams::{Health, KeyState};
use protocol::fault::{Fault, FaultKind};
use tokio::sync::{Notify, oneshot};
use tokio::time::{Instant, sleep_until};

use super::choice::{Candidate, choose};
use crate::config::{KeyConfig, Strategy, UpstreamConfig};

/// How long a key that was asked too much is left alone at first, where the upstream does not say it.
const FIRST_COOLING: Duration = Duration::from_secs(1);

/// The longest such pause that no upstream has asked for.
const LONGEST_COOLING: Duration = Duration::from_secs(60);

/// How long a key that was refused, or whose account is empty, is set aside at first. Its owner will rather mend it than
/// wait, and then the settings are read again; this is for a refusal that was a mistake.
const FIRST_ASIDE: Duration = Duration::from_secs(30);

/// The keys of one upstream. One that wants no key has one place that is called like one.
#[derive(Debug)]
pub(super) struct Pool {
    upstream: Arc<str>,
    keys: Vec<KeyConfig>,
    /// Whether there is no key at all.
    is_open: bool,
    strategy: Strategy,
    /// The longest that a key rests.
    rest: Duration,
    queue: usize,
    queue_timeout: Duration,
    state: Mutex<State>,
    /// A key was set aside.
    set_aside: Notify,
}

#[derive(Debug)]
struct State {
    places: Vec<Place>,
    waiting: VecDeque<oneshot::Sender<Result<Seat, Failure>>>,
}

#[derive(Debug, Default)]
struct Place {
    running: usize,
    served: u64,
    /// Since it is not used: until when, and why.
    aside: Option<Aside>,
    /// Failures in a row that set it aside.
    strikes: u32,
}

#[derive(Clone, Debug)]
struct Aside {
    until: Instant,
    failure: Failure,
}

/// A place for one answer. It is given to the next who waits when it is dropped.
#[derive(Debug)]
pub(super) struct Seat {
    pool: Arc<Pool>,
    index: usize,
}

impl Pool {
    /// The keys that `config` names.
    pub(super) fn new(config: &UpstreamConfig) -> Arc<Self> {
        let is_open = config.keys.is_empty();
        let keys = if is_open { vec![KeyConfig::new("none", Secret::new(""))] } else { config.keys.clone() };
        let places = keys.iter().map(|_| Place::default()).collect();
        Arc::new(Self {
            upstream: config.name.as_str().into(),
            keys,
            is_open,
            strategy: config.strategy,
            rest: config.key_rest,
            queue: config.queue,
            queue_timeout: config.queue_timeout,
            state: Mutex::new(State { places, waiting: VecDeque::new() }),
            set_aside: Notify::new(),
        })
    }

    /// A place, when one is free and it is one's turn. Who stops waiting is not served.
    ///
    /// # Errors
    /// No key can be used now; too many wait; the wait is over.
    pub(super) async fn seat(self: &Arc<Self>) -> Result<Seat, Failure> {
        let mut turn = {
            let mut state = self.state();
            if state.waiting.iter().all(oneshot::Sender::is_closed) {
                state.waiting.clear();
                match self.take(&mut state) {
                    Taken::Seat(seat) => return Ok(seat),
                    Taken::Failure(failure) => return Err(failure),
                    Taken::Busy => {}
                }
            }
            state.waiting.retain(|waiter| !waiter.is_closed());
            if state.waiting.len() >= self.queue {
                return Err(self.full());
            }
            let (sender, turn) = oneshot::channel();
            state.waiting.push_back(sender);
            turn
        };
        let deadline = Instant::now() + self.queue_timeout;
        loop {
            // Before the look at the keys: what is set aside behind it is heard of.
            let set_aside = self.set_aside.notified();
            let next = self.next_return().map_or(deadline, |back| back.min(deadline));
            tokio::select! {
                biased;
                // The sender is in the queue of a pool that this future holds.
                seat = &mut turn => return seat.unwrap_or_else(|_gone| Err(self.full())),
                () = set_aside => {}
                () = sleep_until(next) => {
                    if Instant::now() >= deadline {
                        return Err(self.full());
                    }
                    self.serve();
                }
            }
        }
    }

    /// When the first of the keys that are set aside comes back: nobody else may be there then to give it to who waits.
    fn next_return(&self) -> Option<Instant> {
        let now = Instant::now();
        let state = self.state();
        state.places.iter().filter_map(|place| Some(place.aside.as_ref()?.until)).filter(|until| *until > now).min()
    }

    /// Whether a key can be used now, though others may be busy with it.
    pub(super) fn is_usable(&self) -> bool {
        let now = Instant::now();
        self.state().places.iter().any(|place| place.is_usable(now))
    }

    /// A key to ask for what is no answer; the first that can be used, or else the first.
    pub(super) fn some_key(&self) -> Option<&Secret> {
        let now = Instant::now();
        let usable = self.state().places.iter().position(|place| place.is_usable(now)).unwrap_or(0);
        self.keys.get(usable).filter(|_| !self.is_open).map(|key| &key.secret)
    }

    /// Whether a key that fails gives way to another: there are several, and one that fails rests.
    pub(super) fn has_others(&self) -> bool {
        self.keys.len() > 1 && !self.rest.is_zero()
    }

    /// What is known of each key.
    pub(super) fn keys(&self) -> Vec<KeyState> {
        let now = Instant::now();
        let state = self.state();
        let keys = self.keys.iter().zip(&state.places);
        keys.map(|(key, place)| KeyState { label: Arc::clone(&key.label), running: place.running, health: place.health(now) }).collect()
    }

    /// How many wait.
    pub(super) fn waiting(&self) -> usize {
        self.state().waiting.iter().filter(|waiter| !waiter.is_closed()).count()
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes a place if there is a free one.
    fn take(self: &Arc<Self>, state: &mut State) -> Taken {
        let now = Instant::now();
        let candidates: Vec<Candidate> = (self.keys.iter().zip(&state.places).enumerate())
            .filter(|(_, (key, place))| place.is_usable(now) && (key.concurrency == 0 || place.running < key.concurrency))
            .map(|(index, (key, place))| Candidate { index, weight: key.weight, running: place.running, served: place.served })
            .collect();
        let chosen = choose(self.strategy, &candidates, fastrand::f64).or_else(|| self.lone(state));
        let Some(index) = chosen else { return Self::none(state, now) };
        let (weight, place) = (u64::from(self.keys[index].weight.max(1)), &mut state.places[index]);
        place.running += 1;
        place.served += 1;
        let share = place.served / weight;
        // Those that are set aside keep pace, or they would get everything when they come back.
        for (key, place) in self.keys.iter().zip(&mut state.places).filter(|(_, place)| !place.is_usable(now)) {
            place.served = place.served.max(share * u64::from(key.weight.max(1)));
        }
        Taken::Seat(Seat { pool: Arc::clone(self), index })
    }

    /// The only key, though it was refused or its account is empty: nothing can take its place, and what the upstream says of
    /// it now is truer than what it said before.
    fn lone(&self, state: &State) -> Option<usize> {
        let ([key], [place]) = (&self.keys[..], &state.places[..]) else { return None };
        let is_free = key.concurrency == 0 || place.running < key.concurrency;
        let is_refused = place.aside.as_ref().is_some_and(|aside| matches!(aside.failure.blame, Blame::Key | Blame::Money));
        (is_free && is_refused).then_some(0)
    }

    /// Why there is no place: all are busy, or none can be used. Then it says what was wrong with the one that comes back first.
    fn none(state: &State, now: Instant) -> Taken {
        if state.places.iter().any(|place| place.is_usable(now)) {
            return Taken::Busy;
        }
        let first = state.places.iter().filter_map(|place| place.aside.as_ref()).min_by_key(|aside| aside.until);
        let Some(aside) = first else { return Taken::Busy };
        let wait = aside.until - now;
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let is_for_caller = matches!(aside.failure.blame, Blame::Rate(_) | Blame::Upstream(_));
        let fault = Fault { retry_after: is_for_caller.then_some(seconds), ..aside.failure.fault.clone() };
        let blame = match aside.failure.blame {
            Blame::Rate(_) => Blame::Rate(Some(wait)),
            Blame::Upstream(_) => Blame::Upstream(Some(wait)),
            other => other,
        };
        Taken::Failure(Failure { fault, blame })
    }

    fn full(&self) -> Failure {
        let message = format!("The upstream '{}' has as many answers to give as it may; try again soon.", self.upstream);
        let fault = Fault { retry_after: Some(1), ..Fault::new(FaultKind::RateLimit, "upstream_queue_full", message) };
        Failure::new(fault, Blame::Rate(Some(Duration::from_secs(1))))
    }

    /// Gives free places to those who wait, in order, and a failure to all where no key is left.
    fn serve(self: &Arc<Self>) {
        loop {
            let (waiter, taken) = {
                let mut state = self.state();
                while state.waiting.front().is_some_and(oneshot::Sender::is_closed) {
                    state.waiting.pop_front();
                }
                if state.waiting.is_empty() {
                    return;
                }
                let taken = match self.take(&mut state) {
                    Taken::Busy => return,
                    Taken::Seat(seat) => Ok(seat),
                    Taken::Failure(failure) => Err(failure),
                };
                (state.waiting.pop_front(), taken)
            };
            // Outside of the lock: a seat that nobody takes is given back, which takes it again.
            if let Some(waiter) = waiter {
                drop(waiter.send(taken));
            }
        }
    }
}

enum Taken {
    Seat(Seat),
    Busy,
    Failure(Failure),
}

impl Place {
    fn is_usable(&self, now: Instant) -> bool {
        self.aside.as_ref().is_none_or(|aside| aside.until <= now)
    }

    fn health(&self, now: Instant) -> Health {
        let Some(aside) = self.aside.as_ref().filter(|aside| aside.until > now) else { return Health::Well };
        let left = aside.until - now;
        match aside.failure.blame {
            Blame::Key => Health::Refused(left),
            Blame::Money => Health::Empty(left),
            Blame::Request | Blame::Match | Blame::Rate(_) | Blame::Upstream(_) => Health::Cooling(left),
        }
    }

    /// How long a failure sets the key aside; `None` where it is not the key's.
    fn pause(&self, blame: Blame, longest: Duration) -> Option<Duration> {
        let doubled = |first: Duration, longest: Duration| (first * 2_u32.saturating_pow(self.strikes.min(16))).min(longest);
        let pause = match blame {
            Blame::Key | Blame::Money => doubled(FIRST_ASIDE, longest),
            Blame::Rate(wish) => wish.unwrap_or_else(|| doubled(FIRST_COOLING, LONGEST_COOLING)),
            Blame::Upstream(Some(wish)) => wish,
            Blame::Upstream(None) | Blame::Request | Blame::Match => return None,
        };
        Some(pause.min(longest)).filter(|pause| !pause.is_zero())
    }
}

impl Seat {
    /// The key; `None` where the upstream wants none.
    pub(super) fn key(&self) -> Option<&Secret> {
        (!self.pool.is_open).then(|| &self.pool.keys[self.index].secret)
    }

    /// The upstream has answered under this key.
    pub(super) fn succeeded(&self) {
        let mut state = self.pool.state();
        let place = &mut state.places[self.index];
        if mem::take(&mut place.strikes) > 0 {
            place.aside = None;
        }
    }

    /// A call under this key has failed: sets it aside where it is the key's.
    pub(super) fn failed(&self, failure: &Failure) {
        let label = &self.pool.keys[self.index].label;
        let pause = {
            let mut state = self.pool.state();
            let place = &mut state.places[self.index];
            let now = Instant::now();
            let Some(pause) = place.pause(failure.blame, self.pool.rest) else { return };
            // Calls that began before it was set aside tell nothing new.
            if !place.is_usable(now) {
                return;
            }
            place.strikes += 1;
            place.aside = Some(Aside { until: now + pause, failure: failure.clone() });
            pause
        };
        self.pool.set_aside.notify_waiters();
        let upstream = &self.pool.upstream;
        match failure.blame {
            Blame::Key => tracing::error!(%upstream, key = %label, ?pause, "the upstream refuses a key; it is set aside"),
            Blame::Money => {
                tracing::error!(%upstream, key = %label, ?pause, "a key's account has no credit or quota left; it is set aside");
            }
            Blame::Rate(_) | Blame::Upstream(_) | Blame::Request | Blame::Match => {
                tracing::info!(%upstream, key = %label, ?pause, "a key rests");
            }
        }
    }
}

impl Drop for Seat {
    fn drop(&mut self) {
        self.pool.state().places[self.index].running -= 1;
        self.pool.serve();
    }
}

#[cfg(test)]
mod tests;
