//! One pass-through call: calls the route's targets until one responds, and passes its response on.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::StreamExt;
use futures_util::stream::{BoxStream, unfold};
use protocol::fault::{Fault, FaultKind};
use protocol::fields::JsonFields;
use protocol::passthrough::Passthrough;
use tokio::time::{Instant, sleep, sleep_until};

use super::evidence::Evidence;
use super::record::Record;
use super::usage::{self, StreamUsage};
use crate::instruments::counter::GaugeGuard;
use crate::provider::call::UpstreamCall;
use crate::provider::failure::{ProviderFailure, UPSTREAM_CUT};
use crate::provider::passthrough::{
    PassthroughPart, PassthroughParts, PassthroughRequest, UnreadDocument,
};
use crate::provider::route::{Route, RouteTarget, Timeouts};
use crate::response::meter::{PassthroughEnd, Tokens};
use crate::response::retry::{Attempts, NextStep, RetryReason};
use crate::response::state::EngineState;
use crate::response::timeouts::{only_keep_alives, silent, until};
use crate::shares::{Reservation, RunningSlot};

/// How long after its last finish reason the usage and the end of a stream may come.
const FINISH_GRACE: Duration = Duration::from_secs(5);

/// A pass-through call. Dropping it, or what it becomes, cancels it upstream at once.
pub struct PassthroughCall {
    shared: Arc<EngineState>,
    route: Route,
    request: PassthroughRequest,
    record: Record,
    /// The time of the first call.
    began: Instant,
    /// It counts as running while these live.
    _running: (GaugeGuard, RunningSlot, Reservation),
}

/// The events of a stream: the data of each, as JSON. Without a failure at its end the response is
/// complete.
pub type PassthroughEvents = BoxStream<'static, Result<Bytes, Fault>>;

/// The response of an upstream.
enum Opened {
    Document(Bytes),
    /// A stream with its first event. From here on there is no retry (promise 8).
    Stream {
        first: Box<JsonFields>,
        parts: PassthroughParts,
        timers: Timers,
    },
}

/// Why a call has no response.
enum Unopened {
    /// Another target may be called.
    Failed(ProviderFailure),
    /// No other target is called.
    Stopped(Fault),
}

impl From<ProviderFailure> for Unopened {
    fn from(failure: ProviderFailure) -> Self {
        Self::Failed(failure)
    }
}

/// The timers of a response.
#[derive(Clone, Copy)]
struct Timers {
    timeouts: Timeouts,
    /// When the whole call must have ended.
    total: Option<Instant>,
    /// When the next part must have come.
    deadline: Instant,
    /// When a part of the response came last.
    last: Instant,
    /// Whether a part of the response has come.
    is_begun: bool,
    /// Whether keep-alives have come since.
    has_keep_alives: bool,
}

impl Timers {
    fn of(target: &RouteTarget, total: Option<Instant>) -> Self {
        let now = Instant::now();
        let timers = Self {
            timeouts: target.timeouts,
            total,
            deadline: now,
            last: now,
            is_begun: false,
            has_keep_alives: false,
        };
        timers.until(now + target.timeouts.first_token)
    }

    fn until(self, deadline: Instant) -> Self {
        Self { deadline: self.total.map_or(deadline, |total| total.min(deadline)), ..self }
    }

    /// A part of the response has come.
    fn received(self) -> Self {
        let now = Instant::now();
        Self {
            last: now,
            is_begun: true,
            has_keep_alives: false,
            ..self.until(now + self.timeouts.idle)
        }
    }

    /// The last finish reason has come: only the usage and the end are missing.
    fn finished(self) -> Self {
        self.until(Instant::now() + FINISH_GRACE)
    }

    /// A keep-alive has come. Before the response starts it has no effect.
    fn kept_alive(self) -> Self {
        let timers = Self { has_keep_alives: true, ..self };
        let longest = self.last + self.timeouts.keep_alive;
        if self.is_begun {
            timers.until((Instant::now() + self.timeouts.idle).min(longest))
        } else {
            timers
        }
    }

    /// The fault of the timer that has expired.
    fn silence(self, upstream: &str) -> Fault {
        let Timeouts { first_token, idle, keep_alive, total, .. } = self.timeouts;
        let is_kept_alive = self.has_keep_alives && self.last + keep_alive <= Instant::now();
        match (self.is_total(), self.is_begun) {
            (true, _) => silent(upstream, "total", total),
            (false, false) if self.has_keep_alives => {
                only_keep_alives(upstream, "first_token", first_token)
            }
            (false, false) => silent(upstream, "first_token", first_token),
            (false, true) if is_kept_alive => only_keep_alives(upstream, "keep_alive", keep_alive),
            (false, true) => silent(upstream, "idle", idle),
        }
    }

    fn is_total(self) -> bool {
        self.total.is_some_and(|total| total <= Instant::now())
    }
}

impl PassthroughCall {
    pub(super) fn new(
        shared: Arc<EngineState>,
        route: Route,
        request: Passthrough,
        record: Record,
        running: (GaugeGuard, RunningSlot, Reservation),
    ) -> Self {
        let request = PassthroughRequest {
            request: Arc::new(request),
            model: None,
            call: UpstreamCall::default(),
        };
        Self { shared, route, request, record, began: Instant::now(), _running: running }
    }

    /// The whole response, as JSON.
    ///
    /// # Errors
    /// No upstream gave one: the most informative failure.
    pub async fn document(mut self) -> Result<Bytes, Fault> {
        let opened = self.open().await;
        match opened {
            Ok(Opened::Document(bytes)) => {
                self.record.end(PassthroughEnd::Completed);
                Ok(bytes)
            }
            // Providers stream only if that was requested.
            Ok(Opened::Stream { .. }) => Err(self.fail(Fault::new(
                FaultKind::Server,
                "server_error",
                "the response came as a stream",
            ))),
            Err(fault) => Err(self.fail(fault)),
        }
    }

    fn fail(&mut self, fault: Fault) -> Fault {
        self.record.end(PassthroughEnd::Failed(&fault));
        fault
    }

    /// The response as a stream.
    pub fn events(self) -> PassthroughEvents {
        let stage = Stage::Waiting(Box::new(self));
        unfold(stage, |mut stage| async move { stage.next().await.map(|event| (event, stage)) })
            .fuse()
            .boxed()
    }

    /// Calls the targets until one responds, or none is left.
    async fn open(&mut self) -> Result<Opened, Fault> {
        let route = self.route.clone();
        let mut attempts = Attempts::new(&route);
        loop {
            let Some(target) = attempts.target(&route) else {
                return Err(Fault::new(
                    FaultKind::Server,
                    "server_error",
                    "no upstream is configured for this model",
                ));
            };
            let failure = match self.call(target).await {
                Ok(opened) => return Ok(opened),
                Err(Unopened::Stopped(fault)) => return Err(fault),
                Err(Unopened::Failed(failure)) => failure,
            };
            let reason = match attempts.failed(
                &route,
                self.request.model(),
                failure.clone(),
                fastrand::f64(),
            ) {
                NextStep::Fail(fault) => return Err(fault),
                NextStep::Ask(reason) => reason,
                NextStep::Wait(pause) => {
                    self.record.closed();
                    tokio::select! {
                        biased;
                        () = self.shared.shut_down.cancelled() => return Err(shut_down()),
                        () = sleep(pause) => RetryReason::Retry,
                    }
                }
            };
            self.record.again(&failure.fault, reason);
        }
    }

    /// Calls one upstream, up to its whole document or its first event.
    async fn call(&mut self, target: &RouteTarget) -> Result<Opened, Unopened> {
        self.request.call = self.record.asked(target);
        self.request.model.clone_from(&target.model);
        let total = Some(target.timeouts.total)
            .filter(|total| !total.is_zero())
            .map(|total| self.began + total);
        // The head of a document comes with its end. The provider applies the timeout for the head
        // of a stream.
        let whole = (!self.request.request.stream).then(|| Timers::of(target, total));
        // It outlives the timers: giving up must be recorded before it is dropped.
        let mut passing = target.provider.pass(self.request.clone());
        let mut parts = tokio::select! {
            biased;
            () = self.shared.shut_down.cancelled() => return Err(Unopened::Stopped(shut_down())),
            () = until(total) => return Err(Unopened::Stopped(silent(&target.upstream, "total", target.timeouts.total))),
            () = until(whole.map(|timers| timers.deadline)) => return Err(self.silent(whole.unwrap_or_else(|| Timers::of(target, total)))),
            parts = &mut passing => parts?,
        };
        let mut timers = Timers::of(target, total);
        loop {
            let part = tokio::select! {
                biased;
                () = self.shared.shut_down.cancelled() => return Err(Unopened::Stopped(shut_down())),
                part = parts.next() => part,
                () = sleep_until(timers.deadline) => return Err(self.silent(timers)),
            };
            match part {
                Some(Ok(PassthroughPart::KeepAlive)) => timers = timers.kept_alive(),
                Some(Ok(PassthroughPart::Progress)) => timers = timers.received(),
                Some(Ok(PassthroughPart::Event(event))) => {
                    return Ok(Opened::Stream {
                        first: Box::new(event),
                        parts,
                        timers: timers.received(),
                    });
                }
                Some(Ok(PassthroughPart::Document(document))) => {
                    self.record.received();
                    return self.read(document).await.map(Opened::Document);
                }
                Some(Err(failure)) => return Err(failure.into()),
                None => return Err(ProviderFailure::upstream(truncated(&target.upstream)).into()),
            }
        }
    }

    /// An upstream was silent for too long. Before any part of its response, another may be called.
    fn silent(&self, timers: Timers) -> Unopened {
        let fault = timers.silence(self.record.upstream());
        if timers.is_total() {
            return Unopened::Stopped(fault);
        }
        self.request.call.give_up();
        Unopened::Failed(ProviderFailure::upstream(fault))
    }

    /// Parses a document, and replaces the names in it by the caller's.
    async fn read(&mut self, document: UnreadDocument) -> Result<Bytes, Unopened> {
        let request = Arc::clone(&self.request.request);
        let work = move || -> Result<(Bytes, Tokens), ProviderFailure> {
            let mut fields = (document.read)()?;
            let tokens = usage::of_document(&request, &mut fields);
            rename(&request, &mut fields);
            Ok((fields.to_bytes().into(), tokens))
        };
        let panicked = || {
            Unopened::Stopped(Fault::new(
                FaultKind::Server,
                "server_error",
                "the response could not be read",
            ))
        };
        let (bytes, tokens) =
            self.shared.workers.run(self.record.owner(), work).await.ok_or_else(panicked)??;
        self.record.cost(tokens);
        Ok(bytes)
    }
}

/// The state of a stream.
enum Stage {
    /// No target has responded yet.
    Waiting(Box<PassthroughCall>),
    Streaming(Box<Streaming>),
    Over,
}

struct Streaming {
    call: Box<PassthroughCall>,
    first: Option<Box<JsonFields>>,
    parts: PassthroughParts,
    timers: Timers,
    evidence: Evidence,
    /// What is counted if the upstream reports no usage.
    usage: Option<StreamUsage>,
    /// The stream of the upstream has ended.
    is_ended: bool,
}

impl Stage {
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        loop {
            match std::mem::replace(self, Self::Over) {
                Self::Waiting(mut call) => match call.open().await {
                    Ok(Opened::Stream { first, parts, timers }) => {
                        let usage = StreamUsage::of(&call.request.request);
                        let evidence = Evidence::default();
                        *self = Self::Streaming(Box::new(Streaming {
                            call,
                            first: Some(first),
                            parts,
                            timers,
                            evidence,
                            usage,
                            is_ended: false,
                        }));
                    }
                    // Providers send only events if a stream was requested.
                    Ok(Opened::Document(_)) => {
                        return Some(Err(call.fail(Fault::new(
                            FaultKind::Server,
                            "server_error",
                            "the response is no stream",
                        ))));
                    }
                    Err(fault) => return Some(Err(call.fail(fault))),
                },
                Self::Streaming(mut streaming) => {
                    let event = streaming.next().await;
                    match &event {
                        Some(Ok(_)) => *self = Self::Streaming(streaming),
                        Some(Err(fault)) => {
                            streaming.call.record.end(PassthroughEnd::Failed(fault));
                        }
                        None => streaming.call.record.end(PassthroughEnd::Completed),
                    }
                    return event;
                }
                Self::Over => return None,
            }
        }
    }
}

impl Streaming {
    /// The next event, with the caller's names.
    async fn next(&mut self) -> Option<Result<Bytes, Fault>> {
        if self.is_ended {
            return None;
        }
        let mut event = match self.first.take() {
            Some(first) => *first,
            None => match self.event().await {
                Some(Ok(event)) => event,
                Some(Err(fault)) => return Some(Err(fault)),
                None => {
                    self.is_ended = true;
                    return self.count().await.map(Ok);
                }
            },
        };
        self.evidence.add(&event);
        self.call.record.received();
        if let Some(tokens) = usage::of_upstream(&mut event) {
            self.usage = None;
            self.call.record.cost(tokens);
        }
        rename(&self.call.request.request, &mut event);
        self.usage = self.usage.take().and_then(|mut usage| usage.add(&event).then_some(usage));
        Some(Ok(event.to_bytes().into()))
    }

    /// An event with the usage, if the caller asked for one and the upstream has sent none.
    async fn count(&mut self) -> Option<Bytes> {
        let usage = self.usage.take()?;
        let request = Arc::clone(&self.call.request.request);
        let (event, tokens) = self
            .call
            .shared
            .workers
            .run(self.call.record.owner(), move || usage.event(&request))
            .await
            .flatten()?;
        self.call.record.cost(tokens);
        Some(event.to_bytes().into())
    }

    /// The next event as the upstream sent it.
    async fn event(&mut self) -> Option<Result<JsonFields, Fault>> {
        self.timers =
            if self.evidence.is_whole() { self.timers.finished() } else { self.timers.received() };
        loop {
            let part = tokio::select! {
                biased;
                () = self.call.shared.shut_down.cancelled() => return Some(Err(shut_down())),
                part = self.parts.next() => part,
                () = sleep_until(self.timers.deadline) => return self.silent(),
            };
            return match part {
                Some(Ok(PassthroughPart::Progress)) => continue,
                Some(Ok(PassthroughPart::KeepAlive)) if self.evidence.is_whole() => continue,
                Some(Ok(PassthroughPart::KeepAlive)) => {
                    self.timers = self.timers.kept_alive();
                    continue;
                }
                Some(Ok(PassthroughPart::Event(event))) => Some(Ok(event)),
                // A connection that breaks after the last finish reason loses nothing.
                Some(Err(failure))
                    if failure.fault.code == UPSTREAM_CUT && self.evidence.is_whole() =>
                {
                    None
                }
                Some(Err(failure)) => Some(Err(failure.fault)),
                None if self.evidence.is_whole() => None,
                Some(Ok(PassthroughPart::Document(_))) | None => {
                    Some(Err(truncated(self.call.record.upstream())))
                }
            };
        }
    }

    fn silent(&self) -> Option<Result<JsonFields, Fault>> {
        if self.evidence.is_whole() {
            return None;
        }
        if !self.timers.is_total() {
            self.call.request.call.give_up();
        }
        Some(Err(self.timers.silence(self.call.record.upstream())))
    }
}

/// Replaces the model's name by the caller's.
fn rename(request: &Passthrough, fields: &mut JsonFields) {
    if request.body.get("model").is_some() && fields.get("model").is_some() {
        fields.set("model", &request.model);
    }
}

fn truncated(upstream: &str) -> Fault {
    let message = format!(
        "The upstream '{upstream}' ended its response without a finish reason for each choice: the response is not complete."
    );
    Fault::new(FaultKind::Upstream, "upstream_truncated", message)
}

fn shut_down() -> Fault {
    Fault::new(
        FaultKind::Server,
        "server_shutdown",
        "the server shut down before the response was complete",
    )
    .with_status(503)
}
