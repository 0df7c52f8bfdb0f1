//! The loop of one response: one `select` over the upstream, the stop command and the timers.

use std::future::poll_fn;
use std::mem;
use std::panic::resume_unwind;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use protocol::entry::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::item::Item;
use protocol::response::Response;
use protocol::usage::Usage;
use tokio::task::yield_now;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::batch::{Batch, UpstreamEnd, poll_batch};
use super::builder::fault::truncated;
use super::builder::{End, ResponseBuilder};
use super::cause::Cause;
use super::handle::RunningResponse;
use super::meter::Meter;
use super::retry::{Attempts, NextStep, RetryReason};
use super::spans::{SpanSource, Trace};
use super::timeouts::{UpstreamActivity, only_keep_alives, silent, until};
use super::unread::UnreadSlot;
use crate::clock;
use crate::count::{self, Prompt};
use crate::log::{LogError, LogWriter};
use crate::provider::call::UpstreamCall;
use crate::provider::event::Finish;
use crate::provider::failure::{CONTEXT_LENGTH, ProviderFailure};
use crate::provider::request::ModelRequest;
use crate::provider::route::{Route, RouteTarget, Timeouts};
use crate::shares::{Reservation, RunningSlot};
use crate::tasks::Tasks;
use crate::workers::Workers;

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

/// What a running call waits for.
enum Waited {
    Stopped(Cause),
    Batch(Batch),
    Silence,
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
                Box::pin(self.recover(&unwritten)).await?;
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
        // What comes after the upstream's stream is boxed: a task keeps the size of its largest state
        // for its whole life, and most of that it waits for tokens.
        let usage = match &end {
            // Readers are about to be disconnected, so do not wait for a tokenizer's vocabulary to
            // load.
            End::Stopped(Cause::ServerShutdown) => {
                timeout(LAST_COUNT, Box::pin(self.usage())).await.ok().flatten()
            }
            End::Stopped(_) | End::Failed(_) | End::Over => Box::pin(self.usage()).await,
        };
        let (mut turn, end, failure) = Box::pin(self.end(end, usage)).await;
        // Before readers can see the end, so that metrics read after it include it.
        turn.account(&end, failure.as_ref());
        let entries = turn.builder.take_entries();
        match turn.append(&entries, Instant::now()) {
            Ok(()) => turn.handle.timeline.logged_end(),
            Err(LogError::Unavailable) => Box::pin(turn.recover(&entries)).await?,
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
        // Whether the stream has registered this poll of the task: asking it again would only repeat
        // that. Untrue after every wait for something else, which may have used up the stream's
        // wake-up.
        let mut is_registered = false;
        let mut slot: Option<UnreadSlot> = None;
        loop {
            let waited = poll_fn(|context| {
                if let Poll::Ready(cause) = stopped.as_mut().poll(context) {
                    return Poll::Ready(Waited::Stopped(cause));
                }
                if !mem::take(&mut is_registered)
                    && let Poll::Ready(batch) =
                        poll_batch(&mut events, &mut self.builder, &target.upstream, context)
                {
                    return Poll::Ready(Waited::Batch(batch));
                }
                // It is for events that are there.
                drop(slot.take());
                deadline.as_mut().poll(context).map(|()| Waited::Silence)
            });
            let Batch { end, received, text, is_full } = match waited.await {
                Waited::Stopped(cause) => return CallOutcome::Done(End::Stopped(cause).into()),
                Waited::Silence => return self.silent(activity, total, target.timeouts),
                Waited::Batch(batch) => batch,
            };
            is_registered = !is_full;
            let now = Instant::now();
            self.meter.received(received, now);
            self.request.call.exchange().received(received, text, now);
            let entries = self.builder.take_entries();
            let more = entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
            written += more;
            self.bytes.add(more);
            match self.append(&entries, now) {
                Ok(()) => self.handle.timeline.logged(&entries),
                Err(LogError::Unavailable) => return CallOutcome::Done(RunEnd::Log(entries)),
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => {
                    return CallOutcome::Done(RunEnd::Lost);
                }
            }
            if let Some(slot) = slot.take() {
                slot.release().await;
                is_registered = false;
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
                is_registered = false;
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
                    free = self.gather() => slot = free,
                }
                is_registered = false;
            }
            if is_full {
                // Other responses on this thread, and the readers of this one, come first.
                yield_now().await;
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

    /// Lets events gather while there is no reader, then waits for the slot to take them in. `None`
    /// as soon as there is a reader.
    async fn gather(&self) -> Option<UnreadSlot> {
        self.handle.gather().await;
        tokio::select! {
            biased;
            () = self.handle.has_reader() => None,
            slot = UnreadSlot::wait() => slot,
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
