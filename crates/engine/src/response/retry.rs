//! What comes after a call of a model that failed before it made anything (promise 8): another key, another upstream, a
//! pause and all of it again, or the end.

use std::time::Duration;

use protocol::fault::Fault;
use tokio::time::Instant;

use crate::provider::failure::{Blame, Failure};
use crate::provider::route::{Leg, Route};

/// The pause before the first retry; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause that no upstream has asked for.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// Calls of one leg in one round: it says itself whether it has another key, and this holds where it is mistaken.
const CALLS: usize = 64;

/// Where in a route an answer stands.
#[derive(Debug)]
pub(crate) struct Attempts {
    leg: usize,
    calls: usize,
    round: u32,
    deadline: Instant,
    /// The failure that says the most so far.
    told: Option<Failure>,
}

/// What to do now.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Ask again, at once: another key or another upstream.
    Ask(RetryReason),
    /// Wait, and ask all of them again.
    Wait(Duration),
    /// Tell the caller.
    Fail(Fault),
}

/// Why a call is made again, as a label of metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum RetryReason {
    OtherKey,
    OtherUpstream,
    Retry,
}

impl RetryReason {
    pub(crate) fn as_str(self) -> &'static str {
        match self {
            Self::OtherKey => "other_key",
            Self::OtherUpstream => "other_upstream",
            Self::Retry => "retry",
        }
    }
}

impl Attempts {
    /// At the begin of `route`.
    pub(crate) fn new(route: &Route) -> Self {
        Self { leg: 0, calls: 0, round: 0, deadline: Instant::now() + route.retries.deadline, told: None }
    }

    /// Who is to be asked now.
    pub(crate) fn leg<'a>(&self, route: &'a Route) -> Option<&'a Leg> {
        route.legs.get(self.leg)
    }

    /// A call has failed. `dice` is evenly distributed from 0 to 1: it spreads the retries of those who failed together.
    pub(crate) fn failed(&mut self, route: &Route, model: &str, failure: Failure, dice: f64) -> NextStep {
        let blame = failure.blame;
        let is_final = blame == Blame::Request;
        self.tell(failure);
        if is_final {
            return self.fail();
        }
        self.calls += 1;
        let is_of_key = matches!(blame, Blame::Key | Blame::Money | Blame::Rate(_));
        if is_of_key && self.calls < CALLS && self.leg(route).is_some_and(|leg| leg.provider.has_another_way(model)) {
            return NextStep::Ask(RetryReason::OtherKey);
        }
        self.calls = 0;
        self.leg += 1;
        if self.leg < route.legs.len() {
            return NextStep::Ask(RetryReason::OtherUpstream);
        }
        self.again(route, dice)
    }

    /// All have failed: whether they are asked again, and when.
    fn again(&mut self, route: &Route, dice: f64) -> NextStep {
        let wish = match self.told.as_ref().map(|failure| failure.blame) {
            Some(Blame::Rate(wish) | Blame::Upstream(wish)) => wish,
            // Waiting mends neither a key nor a name.
            Some(Blame::Request | Blame::Match | Blame::Key | Blame::Money) | None => return self.fail(),
        };
        if self.round == route.retries.count {
            return self.fail();
        }
        let doubled = (FIRST_PAUSE * 2_u32.saturating_pow(self.round.min(16))).min(LONGEST_PAUSE);
        // Never before the time that was asked for, and never all at once.
        let pause = wish.map_or(doubled.mul_f64(0.75 + dice / 2.0), |wish| wish + doubled.mul_f64(dice / 2.0));
        if Instant::now() + pause > self.deadline {
            return self.fail();
        }
        (self.round, self.leg) = (self.round + 1, 0);
        NextStep::Wait(pause)
    }

    /// Keeps what says the most to a caller: what may pass before what stays, and the later of two that are alike.
    fn tell(&mut self, failure: Failure) {
        let weight = |failure: &Failure| match failure.blame {
            Blame::Request => 3,
            Blame::Rate(_) | Blame::Upstream(_) => 2,
            Blame::Key | Blame::Money => 1,
            Blame::Match => 0,
        };
        if self.told.as_ref().is_none_or(|told| weight(told) <= weight(&failure)) {
            self.told = Some(failure);
        }
    }

    fn fail(&mut self) -> NextStep {
        let nobody = || Fault::new(protocol::fault::FaultKind::Server, "server_error", "there is nobody to ask");
        NextStep::Fail(self.told.take().map_or_else(nobody, |failure| failure.fault))
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::FutureExt;
    use futures_util::future::{BoxFuture, pending};
    use protocol::fault::FaultKind;
    use protocol::request::Create;

    use super::*;
    use crate::provider::Provider;
    use crate::provider::event::Words;
    use crate::provider::request::ModelRequest;
    use crate::provider::route::{Retries, Timeouts};

    /// Has so many other ways.
    struct Keys(AtomicUsize);

    impl Provider for Keys {
        fn ask(&self, _request: ModelRequest) -> BoxFuture<'static, Result<Words, Failure>> {
            pending().boxed()
        }

        fn check(&self, _create: &Create) -> Result<Vec<String>, Fault> {
            Ok(Vec::new())
        }

        fn has_another_way(&self, _model: &str) -> bool {
            self.0.fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1)).is_ok()
        }
    }

    fn route(keys: &[usize], retries: Retries) -> Route {
        let leg = |keys: &usize| Leg {
            upstream: "north".into(),
            provider: Arc::new(Keys(AtomicUsize::new(*keys))),
            model: None,
            timeouts: Timeouts::default(),
        };
        Route { legs: keys.iter().map(leg).collect(), retries, on_leave: None, is_listed: true }
    }

    fn failure(code: &str, blame: Blame) -> Failure {
        Failure::new(Fault::new(FaultKind::Upstream, code, ""), blame)
    }

    /// What is done after each of these failures, in short.
    fn course(route: &Route, blames: &[Blame]) -> Vec<String> {
        let mut attempts = Attempts::new(route);
        let numbered = blames.iter().enumerate();
        let next = numbered.map(|(number, blame)| match attempts.failed(route, "m", failure(&number.to_string(), *blame), 0.5) {
            NextStep::Ask(reason) => reason.as_str().to_owned(),
            NextStep::Wait(pause) => format!("{pause:?}"),
            NextStep::Fail(fault) => format!("fail {}", fault.code),
        });
        next.collect()
    }

    const BROKEN: Blame = Blame::Upstream(None);

    #[tokio::test(start_paused = true)]
    async fn a_wrong_request_is_told_at_once() {
        assert_eq!(course(&route(&[0, 0], Retries::default()), &[Blame::Request]), ["fail 0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_fails_gives_way_to_the_next_and_then_to_another_upstream() {
        let course = course(&route(&[2, 0], Retries::default()), &[Blame::Key, Blame::Money, Blame::Key, Blame::Key]);
        assert_eq!(course, ["other_key", "other_key", "other_upstream", "fail 3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn what_may_pass_is_tried_again_with_longer_pauses() {
        assert_eq!(course(&route(&[0], Retries::default()), &[BROKEN; 3]), ["500ms", "1s", "fail 2"]);
        let none = Retries { count: 0, ..Retries::default() };
        assert_eq!(course(&route(&[0, 0], none), &[BROKEN; 2]), ["other_upstream", "fail 1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_wait_that_was_asked_for_is_kept_and_one_behind_the_deadline_is_not_begun() {
        let wish = |seconds| Blame::Rate(Some(Duration::from_secs(seconds)));
        assert_eq!(course(&route(&[0], Retries::default()), &[wish(7)]), ["7.125s"]);
        assert_eq!(course(&route(&[0], Retries::default()), &[wish(61)]), ["fail 0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_failure_that_says_the_most_is_told() {
        let route = route(&[0, 0, 0], Retries { count: 0, ..Retries::default() });
        assert_eq!(course(&route, &[BROKEN, Blame::Match, Blame::Key]), ["other_upstream", "other_upstream", "fail 0"]);
    }
}
