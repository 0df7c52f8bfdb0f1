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
use super::shorten;
use super::spans::{SpanSource, Trace};
use super::timeouts::{only_keep_alives, silent, until};
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

/// How long a response without readers lets events gather in its connection: each batch is an
/// append and a wake-up, and nobody waits for it.
const GATHER: Duration = Duration::from_millis(50);

/// How long after the finish reason the usage and the end of the stream may come.
const FINISH_GRACE: Duration = Duration::from_secs(5);

/// One response, about to run.
pub(crate) struct Turn {
    pub(crate) handle: Arc<RunningResponse>,
    pub(crate) builder: ResponseBuilder,
    pub(crate) writer: Box<dyn LogWriter>,
    pub(crate) route: Route,
    /// The target of the last call.
    pub(crate) leg: Option<RouteTarget>,
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

/// What came from an upstream since its last event.
#[derive(Clone, Copy)]
struct Silence {
    /// Whether there was any event.
    spoken: bool,
    has_keep_alives: bool,
    last_word: Instant,
}

/// Why the loop over the upstream ended.
enum Stop {
    End(End),
    /// The log failed: readers cannot see the end now.
    Log(Vec<Entry>),
    /// Another writer has the log, or it was removed.
    Lost,
}

/// How the stream of a model has ended.
enum StreamEnd {
    Over,
    Failed(ProviderFailure),
}

/// How a call of an upstream went.
enum Outcome {
    /// The response ends.
    Stop(Stop),
    /// It failed before any output, and may be repeated.
    Failed(ProviderFailure),
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl Turn {
    /// Runs the response to its end. Returns it as it ended, unless the log was lost to another
    /// writer.
    pub(crate) async fn run(mut self: Box<Self>) -> Option<Response> {
        // The upstream's connection is closed when `upstream` returns, before anything else is
        // done.
        let stop = self.upstream().await;
        self.meter.closed();
        let end = match stop {
            Stop::End(end) => end,
            Stop::Log(unwritten) => {
                self.recover(&unwritten).await?;
                End::Failed(Fault::new(
                    FaultKind::Server,
                    "log_failed",
                    "the response could not be logged and was ended",
                ))
            }
            Stop::Lost => return None,
        };
        if let End::Failed(fault) = &end {
            tracing::warn!(response = %self.handle.id, upstream = self.upstream_name(), code = fault.code.as_str(), status = fault.status, "response failed");
        }
        if let Some(Finish::Unknown(word)) = self.builder.finish() {
            let word: String = word.chars().take(64).collect();
            tracing::warn!(response = %self.handle.id, upstream = self.upstream_name(), finish_reason = word, "unknown finish reason; the response counts as incomplete");
        }
        let usage = match &end {
            // Its readers are about to be cut: the end must not wait for a vocabulary that is not
            // loaded yet.
            End::Stopped(Cause::ServerShutdown) => {
                timeout(LAST_COUNT, self.usage()).await.ok().flatten()
            }
            End::Stopped(_) | End::Failed(_) | End::Over => self.usage().await,
        };
        let (mut turn, end, failure) = self.end(end, usage).await;
        // Before readers can see the end, so that metrics read after it include it.
        turn.account(&end, failure.as_ref());
        let entries = turn.builder.take_entries();
        if turn.append(&entries).is_err() {
            turn.recover(&entries).await?;
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
            // Its readers are about to be cut: it waits for nothing.
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
            peer: self.leg.as_ref().and_then(|leg| leg.provider.peer()),
            upstream: self.upstream_name(),
            call: &self.request.call,
            meter: &self.meter,
        }
    }

    /// The name of the upstream.
    fn upstream_name(&self) -> &str {
        self.leg.as_ref().map_or("", |leg| &*leg.upstream)
    }

    /// Calls the targets until one responds, or none is left.
    async fn upstream(&mut self) -> Stop {
        let route = self.route.clone();
        let mut attempts = Attempts::new(&route);
        let began = Instant::now();
        loop {
            let Some(leg) = attempts.leg(&route) else {
                return End::Failed(Fault::new(
                    FaultKind::Server,
                    "server_error",
                    "there is no upstream to call",
                ))
                .into();
            };
            let failure = match self.call(leg, began).await {
                Outcome::Stop(stop) => return stop,
                Outcome::Failed(failure) => failure,
            };
            // Whatever follows: the usage of a failed call is not the usage of the response.
            self.builder.forget();
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
            tracing::debug!(response = %self.handle.id, upstream = %leg.upstream, code = failure.fault.code.as_str(), reason = reason.as_str(), "asking again");
            self.meter.again(&failure.fault, reason.as_str());
            self.trace.call_ended(&self.span_source(Some(&failure.fault)));
        }
    }

    /// Calls one upstream, up to the end of its stream. The first call was at `began`.
    async fn call(&mut self, leg: &RouteTarget, began: Instant) -> Outcome {
        let call = UpstreamCall::new(self.handle.owner.clone(), self.trace.call());
        self.request.call = call.with_workers(Arc::clone(&self.workers), self.bytes.bytes());
        self.request.model.clone_from(&leg.model);
        self.leg = Some(leg.clone());
        self.meter.asked(leg);
        let handle = Arc::clone(&self.handle);
        let mut stopped = std::pin::pin!(handle.stopped());
        let total =
            Some(leg.timeouts.total).filter(|total| !total.is_zero()).map(|total| began + total);
        let mut words = tokio::select! {
            biased;
            cause = &mut stopped => return Outcome::Stop(End::Stopped(cause).into()),
            () = until(total) => return Outcome::Stop(End::Failed(silent(&leg.upstream, "total", leg.timeouts.total)).into()),
            asked = leg.provider.ask(self.request.clone()) => match asked {
                Ok(words) => words,
                Err(failure) => return Outcome::Failed(failure),
            },
        };
        let mut written: u64 = 0;
        let mut silence =
            Silence { spoken: false, has_keep_alives: false, last_word: Instant::now() };
        let mut unread = 0;
        let first = Instant::now() + leg.timeouts.first_token;
        let mut deadline =
            std::pin::pin!(sleep_until(total.map_or(first, |total| total.min(first))));
        loop {
            let word = tokio::select! {
                biased;
                cause = &mut stopped => return Outcome::Stop(End::Stopped(cause).into()),
                word = words.next() => word,
                () = &mut deadline => return self.silent(silence, total, leg.timeouts),
            };
            let (end, received) = self.take_in(word, &mut words);
            let now = Instant::now();
            self.meter.received(received, now);
            let entries = self.builder.take_entries();
            let more = entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
            written += more;
            self.bytes.add(more);
            match self.append(&entries) {
                Ok(()) => {}
                Err(LogError::Unavailable) => return Outcome::Stop(Stop::Log(entries)),
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => {
                    return Outcome::Stop(Stop::Lost);
                }
            }
            match end {
                None => {}
                // No output is in the log yet.
                Some(StreamEnd::Failed(failure)) if written == 0 => {
                    return Outcome::Failed(failure);
                }
                Some(StreamEnd::Failed(failure)) => {
                    return Outcome::Stop(End::Failed(failure.fault).into());
                }
                Some(StreamEnd::Over) if !self.builder.is_finished() => {
                    let fault = truncated(&leg.upstream);
                    return if written == 0 {
                        Outcome::Failed(ProviderFailure::upstream(fault))
                    } else {
                        Outcome::Stop(End::Failed(fault).into())
                    };
                }
                Some(StreamEnd::Over) => return Outcome::Stop(End::Over.into()),
            }
            if let Some(room) = self.writer.backlog() {
                // Back-pressure: what the upstream sends waits in its connection and not in memory.
                tokio::select! {
                    biased;
                    cause = &mut stopped => return Outcome::Stop(End::Stopped(cause).into()),
                    () = room => {}
                }
            }
            if written + self.builder.extra_bytes() > self.limit {
                let message = format!(
                    "the response exceeds the limit of this server ({} bytes of events)",
                    self.limit
                );
                return Outcome::Stop(
                    End::Failed(Fault::new(FaultKind::Server, "answer_too_large", message)).into(),
                );
            }
            // Events since the last reader left; the count restarts when one comes back.
            unread =
                if self.handle.allowance().is_some() { unread + u64::from(received) } else { 0 };
            // After the finish reason nothing is left to save.
            if !self.builder.is_finished()
                && self.handle.allowance().is_some_and(|allowance| unread > allowance)
            {
                return Outcome::Stop(End::Stopped(Cause::ClientLeft).into());
            }
            if received > 0 && self.may_gather() {
                tokio::select! {
                    biased;
                    cause = &mut stopped => return Outcome::Stop(End::Stopped(cause).into()),
                    () = self.handle.reader() => {}
                    () = sleep(GATHER) => {}
                }
            }
            if received > 0 {
                silence = Silence { spoken: true, has_keep_alives: false, last_word: now };
            } else {
                silence.has_keep_alives = true;
            }
            if silence.spoken {
                let patience = if self.builder.is_finished() {
                    silence.last_word + FINISH_GRACE
                } else {
                    (now + leg.timeouts.idle).min(silence.last_word + leg.timeouts.keep_alive)
                };
                deadline.as_mut().reset(total.map_or(patience, |total| total.min(patience)));
            }
        }
    }

    /// Whether the next events can wait: there is no reader, nor a limit on what may come without
    /// one.
    fn may_gather(&self) -> bool {
        !self.handle.has_readers()
            && self.handle.allowance().is_none()
            && !self.builder.is_finished()
    }

    /// Leaves out the oldest part of the conversation, if the request allows it. Returns whether
    /// there was one.
    fn shorten(&mut self) -> bool {
        if self.request.create.truncation.as_deref() != Some("auto") {
            return false;
        }
        let Some(context) = shorten::shorter(&self.request.context) else { return false };
        tracing::debug!(response = %self.handle.id, before = self.request.context.len(), after = context.len(), "the conversation is too long; asking again with less of it");
        self.request.context = context.into();
        true
    }

    /// What a timeout means. After the finish reason only the end of the stream is missing.
    fn silent(&self, silence: Silence, total: Option<Instant>, timeouts: Timeouts) -> Outcome {
        if self.builder.is_finished() {
            return Outcome::Stop(End::Over.into());
        }
        let now = Instant::now();
        if total.is_some_and(|total| total <= now) {
            return Outcome::Stop(
                End::Failed(silent(self.upstream_name(), "total", timeouts.total)).into(),
            );
        }
        self.request.call.give_up();
        let upstream = self.upstream_name();
        if !silence.spoken {
            let tell = if silence.has_keep_alives { only_keep_alives } else { silent };
            let fault = tell(upstream, "first_token", timeouts.first_token);
            return Outcome::Failed(ProviderFailure::upstream(fault));
        }
        let is_alive = silence.last_word + timeouts.keep_alive <= now && silence.has_keep_alives;
        let fault = if is_alive {
            only_keep_alives(upstream, "keep_alive", timeouts.keep_alive)
        } else {
            silent(upstream, "idle", timeouts.idle)
        };
        Outcome::Stop(End::Failed(fault).into())
    }

    /// Takes an event and those that are ready after it. Returns whether that was the end, and how
    /// many were output of the model.
    fn take_in(
        &mut self,
        first: Option<Result<ModelEvent, ProviderFailure>>,
        words: &mut ModelStream,
    ) -> (Option<StreamEnd>, u32) {
        let mut received = 0;
        let mut next = Some(first);
        let mut left = BATCH;
        while let Some(word) = next {
            let word = match word {
                None => return (Some(StreamEnd::Over), received),
                // A connection that breaks after the finish reason loses nothing of the response.
                Some(Err(failure))
                    if failure.fault.code == UPSTREAM_CUT && self.builder.is_finished() =>
                {
                    return (Some(StreamEnd::Over), received);
                }
                Some(Err(failure)) => return (Some(StreamEnd::Failed(failure)), received),
                Some(Ok(word)) => word,
            };
            received += u32::from(is_model_word(&word));
            let upstream = self.leg.as_ref().map_or("", |leg| &*leg.upstream);
            if let Err(fault) = self.builder.word(word, upstream) {
                // A retry would fail in the same way.
                return (
                    Some(StreamEnd::Failed(ProviderFailure::new(fault, FailureScope::Request))),
                    received,
                );
            }
            left -= 1;
            next = if left == 0 { None } else { words.next().now_or_never() };
        }
        (None, received)
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        if entries.is_empty() { Ok(()) } else { self.writer.append(entries) }
    }

    /// Retries until the log can be written again, so that the response gets its one end. Readers
    /// have seen the failure.
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

fn is_model_word(word: &ModelEvent) -> bool {
    match word {
        ModelEvent::Text { .. }
        | ModelEvent::Annotation(_)
        | ModelEvent::Reasoning(_)
        | ModelEvent::ReasoningSummary(_)
        | ModelEvent::ReasoningEnd { .. }
        | ModelEvent::Refusal(_)
        | ModelEvent::ToolCall(_)
        | ModelEvent::Item(_)
        | ModelEvent::ReasoningExtra(_)
        | ModelEvent::Extra(_)
        | ModelEvent::Finish(_) => true,
        ModelEvent::Usage(_) | ModelEvent::ReasoningBreak | ModelEvent::KeepAlive => false,
    }
}
