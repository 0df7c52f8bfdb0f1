//! The loop of one response: one `select` over the upstream, the stop command and the timers.

use std::panic::resume_unwind;
use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use protocol::entry::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::item::Item;
use protocol::response::Response;
use protocol::usage::Usage;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::builder::fault::truncated;
use super::builder::{End, ResponseBuilder};
use super::cause::Cause;
use super::handle::RunningResponse;
use super::meter::Meter;
use super::retry::{Attempts, NextStep, RetryReason};
use super::spans::{SpanSource, Trace};
use super::timeouts::{UpstreamActivity, is_output_event, only_keep_alives, silent, until};
use crate::clock;
use crate::count::{self, Prompt};
use crate::log::{LogError, LogWriter};
use crate::provider::call::UpstreamCall;
use crate::provider::event::{Finish, ModelEvent, ModelStream};
use crate::provider::failure::{CONTEXT_LENGTH, FailureScope, ProviderFailure, UPSTREAM_CUT};
use crate::provider::request::ModelRequest;
use crate::provider::route::{Route, RouteTarget, Timeouts};
use crate::shares::{Reservation, RunningSlot};
use crate::tasks::Tasks;
use crate::workers::Workers;

/// The most events that go into one append. More would only delay the first.
const BATCH: usize = 64;

/// The pause before a log that failed is tried again.
const LOG_RETRY: Duration = Duration::from_millis(50);

/// The time for counting tokens when the server shuts down.
const LAST_COUNT: Duration = Duration::from_millis(100);

/// The label of a retry with a shorter conversation.
const SHORTENED: &str = "shortened";

/// How long after the finish reason the usage and the end of the stream may come.
const FINISH_GRACE: Duration = Duration::from_secs(5);

/// One response, about to run.
pub(crate) struct Turn {
    pub(crate) handle: Arc<RunningResponse>,
    pub(crate) builder: ResponseBuilder,
    pub(crate) writer: Box<dyn LogWriter>,
    pub(crate) route: Route,
    /// The target of the last call.
    pub(crate) target: Option<RouteTarget>,
    pub(crate) request: ModelRequest,
    /// Bytes of log above which the response is ended.
    pub(crate) limit: u64,
    pub(crate) meter: Meter,
    pub(crate) trace: Trace,
    pub(crate) tasks: Tasks,
    pub(crate) workers: Arc<Workers>,
    /// The bytes that are reserved for it.
    pub(crate) bytes: Reservation,
    /// Its slot among those of its caller.
    pub(crate) _slot: RunningSlot,
}

/// Why the loop over the upstream ended.
enum RunEnd {
    End(End),
    /// The log failed; these entries are not written yet.
    Log(Vec<Entry>),
    /// Another writer has the log, or it was removed.
    Lost,
}

/// How the stream of a model ended.
enum UpstreamEnd {
    Over,
    Failed(ProviderFailure),
}

/// The outcome of one upstream call.
enum CallOutcome {
    /// The response ends.
    Done(RunEnd),
    /// It failed before any output, and may be repeated.
    Failed(ProviderFailure),
}

impl From<End> for RunEnd {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl Turn {
    /// Runs the response to its end. Returns it as it ended, or `None` if another writer took the
    /// log over or it was removed.
    pub(crate) async fn run(mut self: Box<Self>) -> Option<Response> {
        // The upstream's connection is closed when `call_targets` returns, before anything else is
        // done.
        let end = self.call_targets().await;
        self.meter.closed();
        self.request.call.exchange().over();
        let end = match end {
            RunEnd::End(end) => end,
            RunEnd::Log(unwritten) => {
                self.recover(&unwritten).await?;
                End::Failed(Fault::new(
                    FaultKind::Server,
                    "log_failed",
                    "the response could not be logged and was ended",
                ))
            }
            RunEnd::Lost => return None,
        };
        if let End::Failed(fault) = &end {
            tracing::warn!(response = %self.handle.id, upstream = self.upstream_name(), code = fault.code.as_str(), status = fault.status, "response failed");
        }
        if let Some(Finish::Unknown(reason)) = self.builder.finish() {
            let reason: String = reason.chars().take(64).collect();
            tracing::warn!(response = %self.handle.id, upstream = self.upstream_name(), finish_reason = reason, "unknown finish reason; the response counts as incomplete");
        }
        let usage = match &end {
            // Readers are about to be disconnected, so do not wait for a tokenizer's vocabulary to
            // load.
            End::Stopped(Cause::ServerShutdown) => {
                timeout(LAST_COUNT, self.usage()).await.ok().flatten()
            }
            End::Stopped(_) | End::Failed(_) | End::Over => self.usage().await,
        };
        let (mut turn, end, failure) = self.end(end, usage).await;
        // Before readers can see the end, so that metrics read after it include it.
        turn.account(&end, failure.as_ref());
        let entries = turn.builder.take_entries();
        match turn.append(&entries) {
            Ok(()) => turn.handle.timeline.logged_end(),
            Err(LogError::Unavailable) => turn.recover(&entries).await?,
            Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => {
                return None;
            }
        }
        let Self { builder, .. } = *turn;
        Some(builder.into_response())
    }

    /// Makes the last entries, which hold the whole response: off the runtime's threads if it is
    /// large. Returns the failure, if it is one.
    async fn end(
        mut self: Box<Self>,
        end: End,
        usage: Option<Usage>,
    ) -> (Box<Self>, End, Option<Fault>) {
        let bytes = match &end {
            // Readers are about to be disconnected, so do not wait for a worker.
            End::Stopped(Cause::ServerShutdown) => 0,
            End::Stopped(_) | End::Failed(_) | End::Over => self.builder.response().weight() as u64,
        };
        let (workers, owner) = (Arc::clone(&self.workers), self.handle.owner.clone());
        let work = move || {
            let upstream = self.upstream_name().to_owned();
            let failure = self.builder.end(&end, usage, clock::unix_seconds(), &upstream);
            (self, end, failure)
        };
        match workers.run_sized(&owner, bytes, work).await {
            Some(ended) => ended,
            // It panicked there: so does the turn.
            None => resume_unwind(Box::new("the end of a response could not be made")),
        }
    }

    fn account(&self, end: &End, failure: Option<&Fault>) {
        let cause = match end {
            End::Stopped(cause) => Some(*cause),
            End::Over | End::Failed(_) => None,
        };
        self.meter.ended(self.builder.response(), cause, failure, self.handle.peak_readers());
        self.trace.ended(&self.span_source(failure));
    }

    /// What spans are made from.
    fn span_source<'a>(&'a self, failure: Option<&'a Fault>) -> SpanSource<'a> {
        SpanSource {
            create: &self.request.create,
            response: self.builder.response(),
            failure,
            finish: self.builder.finish(),
            peer: self.target.as_ref().and_then(|target| target.provider.peer()),
            upstream: self.upstream_name(),
            call: &self.request.call,
            meter: &self.meter,
        }
    }

    /// The name of the upstream.
    fn upstream_name(&self) -> &str {
        self.target.as_ref().map_or("", |target| &*target.upstream)
    }

    /// Calls the targets until one responds, or none is left.
    async fn call_targets(&mut self) -> RunEnd {
        let route = self.route.clone();
        let mut attempts = Attempts::new(&route);
        let began = Instant::now();
        loop {
            let Some(target) = attempts.target(&route) else {
                return End::Failed(Fault::new(
                    FaultKind::Server,
                    "server_error",
                    "no upstream is configured for this model",
                ))
                .into();
            };
            let failure = match self.call(target, began).await {
                CallOutcome::Done(stop) => return stop,
                CallOutcome::Failed(failure) => failure,
            };
            // Whatever follows: a failed call's usage does not count towards the response.
            self.builder.forget();
            self.request.call.exchange().over();
            if failure.fault.code == CONTEXT_LENGTH && self.shorten() {
                self.meter.again(&failure.fault, SHORTENED);
                self.trace.call_ended(&self.span_source(Some(&failure.fault)));
                continue;
            }
            let reason = match attempts.failed(
                &route,
                self.request.model(),
                failure.clone(),
                fastrand::f64(),
            ) {
                NextStep::Fail(fault) => return End::Failed(fault).into(),
                NextStep::Ask(reason) => reason,
                NextStep::Wait(pause) => {
                    self.meter.closed();
                    tokio::select! {
                        biased;
                        cause = self.handle.stopped() => return End::Stopped(cause).into(),
                        () = sleep(pause) => RetryReason::Retry,
                    }
                }
            };
            tracing::debug!(response = %self.handle.id, upstream = %target.upstream, code = failure.fault.code.as_str(), reason = reason.as_str(), "retrying");
            self.meter.again(&failure.fault, reason.as_str());
            self.trace.call_ended(&self.span_source(Some(&failure.fault)));
        }
    }

    /// Calls one upstream and consumes its stream. The total timeout counts from `began`, when the
    /// first call started.
    async fn call(&mut self, target: &RouteTarget, began: Instant) -> CallOutcome {
        let exchange = self.handle.timeline.call(target);
        let call = UpstreamCall::new(self.handle.owner.clone(), self.trace.call(), exchange);
        self.request.call = call.with_workers(Arc::clone(&self.workers), self.bytes.bytes());
        self.request.model.clone_from(&target.model);
        self.target = Some(target.clone());
        self.meter.asked(target);
        let handle = Arc::clone(&self.handle);
        let mut stopped = std::pin::pin!(handle.stopped());
        let total =
            Some(target.timeouts.total).filter(|total| !total.is_zero()).map(|total| began + total);
        let mut events = tokio::select! {
            biased;
            cause = &mut stopped => return CallOutcome::Done(End::Stopped(cause).into()),
            () = until(total) => return CallOutcome::Done(End::Failed(silent(&target.upstream, "total", target.timeouts.total)).into()),
            asked = target.provider.ask(self.request.clone()) => match asked {
                Ok(events) => events,
                Err(failure) => return CallOutcome::Failed(failure),
            },
        };
        let mut written: u64 = 0;
        let mut activity = UpstreamActivity {
            has_output: false,
            has_keep_alives: false,
            last_output: Instant::now(),
        };
        let mut events_without_reader = 0;
        let first = Instant::now() + target.timeouts.first_token;
        let mut deadline =
            std::pin::pin!(sleep_until(total.map_or(first, |total| total.min(first))));
        loop {
            let event = tokio::select! {
                biased;
                cause = &mut stopped => return CallOutcome::Done(End::Stopped(cause).into()),
                event = events.next() => event,
                () = &mut deadline => return self.silent(activity, total, target.timeouts),
            };
            let now = Instant::now();
            let (end, received, text) = self.take_in(event, &mut events);
            self.meter.received(received, now);
            self.request.call.exchange().received(received, text, now);
            let entries = self.builder.take_entries();
            let more = entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
            written += more;
            self.bytes.add(more);
            match self.append(&entries) {
                Ok(()) => self.handle.timeline.logged(&entries),
                Err(LogError::Unavailable) => return CallOutcome::Done(RunEnd::Log(entries)),
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => {
                    return CallOutcome::Done(RunEnd::Lost);
                }
            }
            match end {
                None => {}
                // No output is in the log yet.
                Some(UpstreamEnd::Failed(failure)) if written == 0 => {
                    return CallOutcome::Failed(failure);
                }
                Some(UpstreamEnd::Failed(failure)) => {
                    return CallOutcome::Done(End::Failed(failure.fault).into());
                }
                Some(UpstreamEnd::Over) if !self.builder.is_finished() => {
                    let fault = truncated(&target.upstream);
                    return if written == 0 {
                        CallOutcome::Failed(ProviderFailure::upstream(fault))
                    } else {
                        CallOutcome::Done(End::Failed(fault).into())
                    };
                }
                Some(UpstreamEnd::Over) => return CallOutcome::Done(End::Over.into()),
            }
            if let Some(room) = self.writer.backlog() {
                // Back-pressure: until there is room, upstream data stays in the socket, not in
                // memory.
                tokio::select! {
                    biased;
                    cause = &mut stopped => return CallOutcome::Done(End::Stopped(cause).into()),
                    () = room => {}
                }
            }
            if written + self.builder.extra_bytes() > self.limit {
                let message = format!(
                    "the response exceeds the limit of this server ({} bytes of events)",
                    self.limit
                );
                return CallOutcome::Done(
                    End::Failed(Fault::new(FaultKind::Server, "answer_too_large", message)).into(),
                );
            }
            // Events since the last reader left; the count restarts when one comes back.
            events_without_reader = if self.handle.allowance().is_some() {
                events_without_reader + u64::from(received)
            } else {
                0
            };
            // After the finish reason, stopping saves nothing.
            if !self.builder.is_finished()
                && self
                    .handle
                    .allowance()
                    .is_some_and(|allowance| events_without_reader > allowance)
            {
                self.handle.timeline.stop(Cause::ClientLeft);
                return CallOutcome::Done(End::Stopped(Cause::ClientLeft).into());
            }
            if received > 0 && !self.builder.is_finished() && self.handle.may_gather() {
                tokio::select! {
                    biased;
                    cause = &mut stopped => return CallOutcome::Done(End::Stopped(cause).into()),
                    () = self.handle.gather() => {}
                }
            }
            if received > 0 {
                activity =
                    UpstreamActivity { has_output: true, has_keep_alives: false, last_output: now };
            } else {
                activity.has_keep_alives = true;
            }
            if activity.has_output {
                let patience = if self.builder.is_finished() {
                    activity.last_output + FINISH_GRACE
                } else {
                    (now + target.timeouts.idle)
                        .min(activity.last_output + target.timeouts.keep_alive)
                };
                deadline.as_mut().reset(total.map_or(patience, |total| total.min(patience)));
            }
        }
    }

    /// Maps an expired deadline to an outcome. After the finish reason it counts as the end of the
    /// stream.
    fn silent(
        &self,
        activity: UpstreamActivity,
        total: Option<Instant>,
        timeouts: Timeouts,
    ) -> CallOutcome {
        if self.builder.is_finished() {
            return CallOutcome::Done(End::Over.into());
        }
        let now = Instant::now();
        if total.is_some_and(|total| total <= now) {
            return CallOutcome::Done(
                End::Failed(silent(self.upstream_name(), "total", timeouts.total)).into(),
            );
        }
        self.request.call.give_up();
        let upstream = self.upstream_name();
        if !activity.has_output {
            let timeout_fault = if activity.has_keep_alives { only_keep_alives } else { silent };
            let fault = timeout_fault(upstream, "first_token", timeouts.first_token);
            return CallOutcome::Failed(ProviderFailure::upstream(fault));
        }
        let is_alive =
            activity.last_output + timeouts.keep_alive <= now && activity.has_keep_alives;
        let fault = if is_alive {
            only_keep_alives(upstream, "keep_alive", timeouts.keep_alive)
        } else {
            silent(upstream, "idle", timeouts.idle)
        };
        CallOutcome::Done(End::Failed(fault).into())
    }

    /// Handles `first` and the events that are already available after it, up to [`BATCH`]. Returns
    /// how the stream ended, if it did, the number of output events, and the bytes of their text.
    fn take_in(
        &mut self,
        first: Option<Result<ModelEvent, ProviderFailure>>,
        events: &mut ModelStream,
    ) -> (Option<UpstreamEnd>, u32, usize) {
        let (mut received, mut text) = (0, 0);
        let mut next = Some(first);
        let mut left = BATCH;
        while let Some(event) = next {
            let event = match event {
                None => return (Some(UpstreamEnd::Over), received, text),
                // A connection that breaks after the finish reason loses nothing of the response.
                Some(Err(failure))
                    if failure.fault.code == UPSTREAM_CUT && self.builder.is_finished() =>
                {
                    return (Some(UpstreamEnd::Over), received, text);
                }
                Some(Err(failure)) => return (Some(UpstreamEnd::Failed(failure)), received, text),
                Some(Ok(event)) => event,
            };
            received += u32::from(is_output_event(&event));
            text += event.text_bytes();
            let upstream = self.target.as_ref().map_or("", |target| &*target.upstream);
            if let Err(fault) = self.builder.word(event, upstream) {
                // A retry would fail in the same way.
                return (
                    Some(UpstreamEnd::Failed(ProviderFailure::new(fault, FailureScope::Request))),
                    received,
                    text,
                );
            }
            left -= 1;
            next = if left == 0 { None } else { events.next().now_or_never() };
        }
        (None, received, text)
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        if entries.is_empty() { Ok(()) } else { self.writer.append(entries) }
    }

    /// Retries until the log can be written again, so that the response gets its terminal event. Its
    /// readers were already told of the failure.
    async fn recover(&mut self, entries: &[Entry]) -> Option<()> {
        tracing::error!(response = %self.handle.id, "log cannot be written; the response ends when it can");
        loop {
            tokio::select! {
                () = sleep_until(Instant::now() + LOG_RETRY) => {}
                () = self.tasks.stopping() => return None,
            }
            match self.append(entries) {
                Ok(()) => return Some(()),
                Err(LogError::Unavailable) => {}
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => {
                    return None;
                }
            }
        }
    }

    /// The reported usage, or a counted one. `None` if there was no output.
    async fn usage(&self) -> Option<Usage> {
        if let Some(usage) = self.builder.usage() {
            return Some(usage);
        }
        if !self.builder.has_output() {
            return None;
        }
        let create = Arc::clone(&self.request.create);
        let context = Arc::clone(&self.request.context);
        let output: Vec<Item> = self.builder.response().output.clone();
        self.workers
            .run(&self.handle.owner, move || {
                count::usage(&Prompt::from(&*create), &context, &output)
            })
            .await
    }
}
