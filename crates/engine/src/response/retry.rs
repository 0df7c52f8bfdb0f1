//! What follows a call that failed before any output (promise 8): another key, another upstream, a
//! pause and another round, or the end.

use std::time::Duration;

use protocol::fault::Fault;
use tokio::time::Instant;

use crate::provider::failure::{FailureScope, ProviderFailure};
use crate::provider::route::{Route, RouteTarget};

/// The pause before the first retry; each further one is twice as long.
const FIRST_PAUSE: Duration = Duration::from_millis(500);

/// The longest pause, unless an upstream asks for a longer one.
const LONGEST_PAUSE: Duration = Duration::from_secs(8);

/// The most calls of one target in one round. A provider reports itself whether it has another key;
/// this is the safety net.
const CALLS: usize = 64;

/// The attempts of one response on its route.
#[derive(Debug)]
pub(crate) struct Attempts {
    target: usize,
    calls: usize,
    round: u32,
    deadline: Instant,
    /// The most informative failure so far.
    reported: Option<ProviderFailure>,
}

/// What to do after a failure.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum NextStep {
    /// Call again at once, with another key or another upstream.
    Ask(RetryReason),
    /// Wait, and start another round.
    Wait(Duration),
    /// Fail.
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
    /// At the start of `route`.
    pub(crate) fn new(route: &Route) -> Self {
        Self {
            target: 0,
            calls: 0,
            round: 0,
            deadline: Instant::now() + route.retries.deadline,
            reported: None,
        }
    }

    /// The target to call now.
    pub(crate) fn target<'a>(&self, route: &'a Route) -> Option<&'a RouteTarget> {
        route.targets.get(self.target)
    }

    /// A call has failed. `dice` is uniformly distributed from 0 to 1: it spreads retries of calls
    /// that failed together.
    pub(crate) fn failed(
        &mut self,
        route: &Route,
        model: &str,
        failure: ProviderFailure,
        dice: f64,
    ) -> NextStep {
        let scope = failure.scope;
        let is_final = scope == FailureScope::Request;
        self.report(failure);
        if is_final {
            return self.fail();
        }
        self.calls += 1;
        let is_of_key = matches!(
            scope,
            FailureScope::Credential | FailureScope::Quota | FailureScope::RateLimited(_)
        );
        if is_of_key
            && self.calls < CALLS
            && self.target(route).is_some_and(|target| target.provider.has_another_way(model))
        {
            return NextStep::Ask(RetryReason::OtherKey);
        }
        self.calls = 0;
        self.target += 1;
        if self.target < route.targets.len() {
            return NextStep::Ask(RetryReason::OtherUpstream);
        }
        self.again(route, dice)
    }

    /// All targets have failed: whether and when there is another round.
    fn again(&mut self, route: &Route, dice: f64) -> NextStep {
        let wish = match self.reported.as_ref().map(|failure| failure.scope) {
            Some(FailureScope::RateLimited(wish) | FailureScope::Upstream(wish)) => wish,
            // Waiting does not change a key or a model name.
            Some(
                FailureScope::Request
                | FailureScope::Unsupported
                | FailureScope::Credential
                | FailureScope::Quota,
            )
            | None => {
                return self.fail();
            }
        };
        if self.round == route.retries.count {
            return self.fail();
        }
        let doubled = (FIRST_PAUSE * 2_u32.saturating_pow(self.round.min(16))).min(LONGEST_PAUSE);
        // Never before the requested time, and never all at once.
        let pause = wish
            .map_or(doubled.mul_f64(0.75 + dice / 2.0), |wish| wish + doubled.mul_f64(dice / 2.0));
        if Instant::now() + pause > self.deadline {
            return self.fail();
        }
        (self.round, self.target) = (self.round + 1, 0);
        NextStep::Wait(pause)
    }

    /// Keeps the failure that is most useful to the caller: temporary ones before permanent ones,
    /// and the later of equal ones.
    fn report(&mut self, failure: ProviderFailure) {
        let weight = |failure: &ProviderFailure| match failure.scope {
            FailureScope::Request => 3,
            FailureScope::RateLimited(_) | FailureScope::Upstream(_) => 2,
            FailureScope::Credential | FailureScope::Quota => 1,
            FailureScope::Unsupported => 0,
        };
        if self.reported.as_ref().is_none_or(|reported| weight(reported) <= weight(&failure)) {
            self.reported = Some(failure);
        }
    }

    fn fail(&mut self) -> NextStep {
        let no_upstream = || {
            Fault::new(
                protocol::fault::FaultKind::Server,
                "server_error",
                "no upstream is configured for this model",
            )
        };
        NextStep::Fail(self.reported.take().map_or_else(no_upstream, |failure| failure.fault))
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
    use crate::provider::event::ModelStream;
    use crate::provider::request::ModelRequest;
    use crate::provider::route::{Retries, Timeouts};

    /// A provider with this many other keys.
    struct Keys(AtomicUsize);

    impl Provider for Keys {
        fn ask(
            &self,
            _request: ModelRequest,
        ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>> {
            pending().boxed()
        }

        fn check(&self, _create: &Create) -> Result<Vec<String>, Fault> {
            Ok(Vec::new())
        }

        fn has_another_way(&self, _model: &str) -> bool {
            self.0
                .fetch_update(Ordering::Relaxed, Ordering::Relaxed, |left| left.checked_sub(1))
                .is_ok()
        }
    }

    fn route(keys: &[usize], retries: Retries) -> Route {
        let target = |keys: &usize| RouteTarget {
            upstream: "north".into(),
            provider: Arc::new(Keys(AtomicUsize::new(*keys))),
            model: None,
            timeouts: Timeouts::default(),
        };
        Route {
            targets: keys.iter().map(target).collect(),
            retries,
            on_leave: None,
            is_listed: true,
        }
    }

    fn failure(code: &str, scope: FailureScope) -> ProviderFailure {
        ProviderFailure::new(Fault::new(FaultKind::Upstream, code, ""), scope)
    }

    /// The steps after each of these failures, in short.
    fn course(route: &Route, blames: &[FailureScope]) -> Vec<String> {
        let mut attempts = Attempts::new(route);
        let numbered = blames.iter().enumerate();
        let next = numbered.map(|(number, scope)| {
            match attempts.failed(route, "m", failure(&number.to_string(), *scope), 0.5) {
                NextStep::Ask(reason) => reason.as_str().to_owned(),
                NextStep::Wait(pause) => format!("{pause:?}"),
                NextStep::Fail(fault) => format!("fail {}", fault.code),
            }
        });
        next.collect()
    }

    const BROKEN: FailureScope = FailureScope::Upstream(None);

    #[tokio::test(start_paused = true)]
    async fn an_invalid_request_fails_at_once() {
        assert_eq!(
            course(&route(&[0, 0], Retries::default()), &[FailureScope::Request]),
            ["fail 0"]
        );
    }

    #[tokio::test(start_paused = true)]
    async fn a_key_that_fails_gives_way_to_the_next_and_then_to_another_upstream() {
        let course = course(
            &route(&[2, 0], Retries::default()),
            &[
                FailureScope::Credential,
                FailureScope::Quota,
                FailureScope::Credential,
                FailureScope::Credential,
            ],
        );
        assert_eq!(course, ["other_key", "other_key", "other_upstream", "fail 3"]);
    }

    #[tokio::test(start_paused = true)]
    async fn temporary_failures_are_retried_with_longer_pauses() {
        assert_eq!(
            course(&route(&[0], Retries::default()), &[BROKEN; 3]),
            ["500ms", "1s", "fail 2"]
        );
        let none = Retries { count: 0, ..Retries::default() };
        assert_eq!(course(&route(&[0, 0], none), &[BROKEN; 2]), ["other_upstream", "fail 1"]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_requested_wait_is_kept_unless_it_ends_after_the_deadline() {
        let wish = |seconds| FailureScope::RateLimited(Some(Duration::from_secs(seconds)));
        assert_eq!(course(&route(&[0], Retries::default()), &[wish(7)]), ["7.125s"]);
        assert_eq!(course(&route(&[0], Retries::default()), &[wish(61)]), ["fail 0"]);
    }

    #[tokio::test(start_paused = true)]
    async fn the_most_informative_failure_is_reported() {
        let route = route(&[0, 0, 0], Retries { count: 0, ..Retries::default() });
        assert_eq!(
            course(&route, &[BROKEN, FailureScope::Unsupported, FailureScope::Credential]),
            ["other_upstream", "other_upstream", "fail 0"]
        );
    }
}
