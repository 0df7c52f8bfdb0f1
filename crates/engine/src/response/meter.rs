//! The measurements of one response: its own while it runs, and added to the engine's metrics at
//! its end.

use std::sync::Arc;
use std::time::Duration;

use protocol::fault::{Fault, FaultKind};
use protocol::response::{Response, ResponseStatus};
use tokio::time::Instant;

use super::cause::Cause;
use super::labels;
use super::metrics::{DURATION, EngineMetrics, OPERATION, Subject};
use crate::instruments::family::OTHER;
use crate::instruments::histogram::LocalHistogram;
use crate::provider::route::{Route, RouteTarget};

/// The times of one response. Events that come together cost one reading of the clock.
#[derive(Debug)]
pub(crate) struct Meter {
    metrics: Arc<EngineMetrics>,
    operation: &'static str,
    model: Arc<str>,
    /// The upstream of the last call.
    upstream: Arc<str>,
    /// `None` if nothing is measured.
    subject: Option<Subject>,
    accepted: Instant,
    call: Option<Call>,
}

/// The times of an upstream call.
#[derive(Debug)]
struct Call {
    asked: Instant,
    first: Option<Instant>,
    last: Instant,
    closed: Option<Instant>,
    gaps: LocalHistogram,
}

/// The times of a call, from the acceptance of its request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Times {
    pub(crate) start: Duration,
    pub(crate) end: Duration,
    /// From its start.
    pub(crate) first_chunk: Option<Duration>,
}

/// How a pass-through call ended.
#[derive(Clone, Copy, Debug)]
pub(crate) enum PassthroughEnd<'a> {
    /// Its response was sent.
    Completed,
    /// It failed, before or after its head.
    Failed(&'a Fault),
    /// The client left before its end.
    Left,
}

/// The tokens of a pass-through call, as far as they are known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Tokens {
    pub(crate) input: Option<u64>,
    pub(crate) output: Option<u64>,
}

impl Meter {
    /// For a response that was accepted just now.
    pub(crate) fn new(metrics: Arc<EngineMetrics>, route: &Route, model: &str) -> Self {
        Self::of(OPERATION, metrics, route, model)
    }

    /// The same for a call of another operation.
    pub(crate) fn of(
        operation: &'static str,
        metrics: Arc<EngineMetrics>,
        route: &Route,
        model: &str,
    ) -> Self {
        let model: Arc<str> = if route.is_listed { model.into() } else { OTHER.into() };
        // Until the first call it is the first target: a response may end while it is queued.
        let mut meter = Self {
            metrics,
            operation,
            model,
            upstream: "".into(),
            subject: None,
            accepted: Instant::now(),
            call: None,
        };
        if let Some(target) = route.targets.first() {
            meter.meet(target);
        }
        meter
    }

    /// A call starts.
    pub(crate) fn asked(&mut self, target: &RouteTarget) {
        self.meet(target);
        let now = Instant::now();
        self.call = Some(Call {
            asked: now,
            first: None,
            last: now,
            closed: None,
            gaps: LocalHistogram::new(DURATION),
        });
    }

    fn meet(&mut self, target: &RouteTarget) {
        self.upstream = Arc::clone(&target.upstream);
        let model = &self.model;
        self.subject = target
            .provider
            .peer()
            .map(|peer| Subject { provider: peer.system, model: Arc::clone(model) });
    }

    /// The call has failed and is repeated, for `reason`.
    pub(crate) fn again(&mut self, failure: &Fault, reason: &str) {
        self.closed();
        self.metrics.retries.of(&[&self.upstream, reason]).add(1);
        self.metrics.upstream_errors.of(&[&self.upstream, labels::of_fault(failure)]).add(1);
        if let Some(subject) = &self.subject {
            self.client(subject, Some(failure));
        }
    }

    /// `count` events of the model came together.
    pub(crate) fn received(&mut self, count: u32, now: Instant) {
        let (Some(call), 1..) = (&mut self.call, count) else { return };
        if call.first.is_some() {
            call.gaps.observe((now - call.last).as_secs_f64(), 1);
        }
        call.gaps.observe(0.0, count - 1);
        call.first.get_or_insert(now);
        call.last = now;
    }

    /// The call is over.
    pub(crate) fn closed(&mut self) {
        if let Some(call) = &mut self.call {
            call.closed.get_or_insert_with(Instant::now);
        }
    }

    /// The times of the call.
    pub(crate) fn call(&self) -> Option<Times> {
        let call = self.call.as_ref()?;
        let end = call.closed.unwrap_or_else(Instant::now) - self.accepted;
        Some(Times {
            start: call.asked - self.accepted,
            end,
            first_chunk: call.first.map(|first| first - call.asked),
        })
    }

    /// The time since the acceptance.
    pub(crate) fn elapsed(&self) -> Duration {
        self.accepted.elapsed()
    }

    /// The response has ended: its measurements are added to the metrics. Called before readers can
    /// see the end.
    pub(crate) fn ended(
        &self,
        response: &Response,
        cause: Option<Cause>,
        failure: Option<&Fault>,
        peak_readers: usize,
    ) {
        self.metrics.ended(response, failure);
        if let Some(cause) = cause {
            self.metrics.cancel(labels::of_cause(cause));
        }
        #[expect(clippy::cast_precision_loss, reason = "nothing has 2^53 readers")]
        self.metrics.peak_readers.observe(peak_readers as f64);
        let of_upstream = failure.filter(|fault| fault.kind != FaultKind::Server);
        if let Some(fault) = of_upstream {
            self.metrics.upstream_errors.of(&[&self.upstream, labels::of_fault(fault)]).add(1);
        }
        let Some(subject) = &self.subject else { return };
        if let Some(usage) = &response.usage {
            self.metrics.tokens(self.operation, subject, usage.input_tokens, usage.output_tokens);
        }
        self.client(subject, of_upstream);
        let is_success = match response.status {
            ResponseStatus::Completed | ResponseStatus::Incomplete => true,
            ResponseStatus::Queued
            | ResponseStatus::InProgress
            | ResponseStatus::Failed
            | ResponseStatus::Cancelled => false,
        };
        self.server(
            subject,
            response.usage.map(|usage| usage.output_tokens).filter(|_| is_success),
            is_success,
            failure,
        );
    }

    /// A pass-through call has ended.
    pub(crate) fn passed(&self, ending: PassthroughEnd<'_>, tokens: Tokens) {
        let (status, reason, failure) = match ending {
            PassthroughEnd::Completed => ("completed", "", None),
            PassthroughEnd::Failed(fault) => ("failed", labels::of_fault(fault), Some(fault)),
            PassthroughEnd::Left => ("cancelled", labels::of_cause(Cause::ClientLeft), None),
        };
        self.metrics.passed(self.operation, status, reason);
        let of_upstream = failure.filter(|fault| fault.kind != FaultKind::Server);
        if let Some(fault) = of_upstream {
            self.metrics.upstream_errors.of(&[&self.upstream, labels::of_fault(fault)]).add(1);
        }
        let Some(subject) = &self.subject else { return };
        for (kind, count) in [("input", tokens.input), ("output", tokens.output)] {
            if let Some(count) = count {
                self.metrics.token(self.operation, subject, kind, count);
            }
        }
        self.client(subject, of_upstream);
        let is_success = matches!(ending, PassthroughEnd::Completed);
        self.server(subject, tokens.output.filter(|_| is_success), is_success, failure);
    }

    /// Weir as the client of its upstream.
    fn client(&self, subject: &Subject, failure: Option<&Fault>) {
        let (Some(call), Some(span)) = (&self.call, self.call()) else { return };
        let labels = [self.operation, &*subject.provider, &*subject.model];
        let error = failure.map_or("", labels::of_fault);
        let duration = self.metrics.client_duration.of(&[
            self.operation,
            &subject.provider,
            &subject.model,
            error,
        ]);
        duration.observe(span.end.saturating_sub(span.start).as_secs_f64());
        if let Some(first) = span.first_chunk {
            self.metrics.client_first_chunk.of(&labels).observe(first.as_secs_f64());
            self.metrics.client_per_chunk.of(&labels).merge(&call.gaps);
        }
    }

    /// Weir as the server of its callers.
    fn server(
        &self,
        subject: &Subject,
        output_tokens: Option<u64>,
        is_success: bool,
        failure: Option<&Fault>,
    ) {
        let labels = [self.operation, &*subject.provider, &*subject.model];
        let error = failure.map_or("", labels::of_fault);
        let duration = self.metrics.server_duration.of(&[
            self.operation,
            &subject.provider,
            &subject.model,
            error,
        ]);
        duration.observe(self.elapsed().as_secs_f64());
        let Some((first, last)) = self
            .call
            .as_ref()
            .and_then(|call| Some((call.first?, call.last)))
            .filter(|_| is_success)
        else {
            return;
        };
        self.metrics.server_first_token.of(&labels).observe((first - self.accepted).as_secs_f64());
        let following = output_tokens.map_or(0, |tokens| tokens.saturating_sub(1));
        if let Some(following) = u32::try_from(following).ok().filter(|following| *following > 0) {
            self.metrics
                .server_per_token
                .of(&labels)
                .observe((last - first).as_secs_f64() / f64::from(following));
        }
    }
}
