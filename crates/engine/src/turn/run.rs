//! The loop of one answer: one `select` over the upstream, the stop command and the timers.

use std::sync::Arc;
use std::time::Duration;

use futures_util::{FutureExt, StreamExt};
use protocol::event::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::item::Item;
use protocol::response::Response;
use protocol::usage::Usage;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::retry::{Attempts, Next, Reason};
use super::shorten;
use super::spans::{Told, Trace};
use super::state::{Answer, End, truncated};
use super::{Cause, Live};
use crate::clock;
use crate::count::{self, Prompt};
use crate::log::{LogError, LogWriter};
use crate::metrics::Meter;
use crate::provider::{Blame, CONTEXT_LENGTH, Call, Failure, Finish, Leg, ModelRequest, Route, Timeouts, UPSTREAM_CUT, Word, Words};
use crate::shares::{Reservation, Running};
use crate::tasks::Tasks;

/// How many words that are ready at once go into one append. More would only delay the first.
const BATCH: usize = 64;

/// How long to wait before a log that failed is tried again.
const LOG_RETRY: Duration = Duration::from_millis(50);

/// How long tokens may be counted when the server shuts down.
const LAST_COUNT: Duration = Duration::from_millis(100);

/// Why a call is made again with a shorter conversation, as a label of metrics.
const SHORTENED: &str = "shortened";

/// How long the usage and the end of the stream may lag behind the finish reason.
const FINISH_GRACE: Duration = Duration::from_secs(5);

/// One answer, about to run.
pub(crate) struct Turn {
    pub(crate) live: Arc<Live>,
    pub(crate) answer: Answer,
    pub(crate) writer: Box<dyn LogWriter>,
    pub(crate) route: Route,
    /// Whom the last call went to.
    pub(crate) leg: Option<Leg>,
    pub(crate) request: ModelRequest,
    /// Bytes of log above which the answer is ended.
    pub(crate) limit: u64,
    pub(crate) meter: Meter,
    pub(crate) trace: Trace,
    pub(crate) tasks: Tasks,
    /// The bytes that are in hand for it.
    pub(crate) bytes: Reservation,
    /// Its place among those that its caller may run.
    pub(crate) _place: Running,
}

/// What was heard of an upstream since its last word.
#[derive(Clone, Copy)]
struct Silence {
    /// Whether there was a word at all.
    spoken: bool,
    has_keep_alives: bool,
    last_word: Instant,
}

/// Why the loop over the upstream ended.
enum Stop {
    End(End),
    /// The log failed: nobody can be told now.
    Log(Vec<Entry>),
    /// The log belongs to somebody else, or is gone.
    Lost,
}

/// How a stream of words has ended.
enum Heard {
    Over,
    Failed(Failure),
}

/// How a call of an upstream went.
enum Outcome {
    /// There is no more to do for this answer.
    Stop(Stop),
    /// It made nothing, and may be made again.
    Failed(Failure),
}

impl From<End> for Stop {
    fn from(end: End) -> Self {
        Self::End(end)
    }
}

impl Turn {
    /// Runs the answer to its end. Gives the response as it ended, unless the log was lost to another writer.
    pub(crate) async fn run(mut self) -> Option<Response> {
        // The upstream's connection is closed when `upstream` returns, before anything else is done.
        let stop = self.upstream().await;
        self.meter.closed();
        let end = match stop {
            Stop::End(end) => end,
            Stop::Log(unwritten) => {
                self.recover(&unwritten).await?;
                End::Failed(Fault::new(FaultKind::Server, "log_failed", "the answer could not be written down and was ended"))
            }
            Stop::Lost => return None,
        };
        if let End::Failed(fault) = &end {
            tracing::warn!(response = %self.live.id, upstream = self.upstream_name(), code = fault.code.as_str(), status = fault.status, "answer failed");
        }
        if let Some(Finish::Unknown(word)) = self.answer.finish() {
            let word: String = word.chars().take(64).collect();
            tracing::warn!(response = %self.live.id, upstream = self.upstream_name(), finish_reason = word, "unknown finish reason; the response counts as incomplete");
        }
        let usage = match &end {
            // Whoever reads it is about to be cut: the end must not wait for a vocabulary that is not loaded yet.
            End::Stopped(Cause::ServerShutdown) => timeout(LAST_COUNT, self.usage()).await.ok().flatten(),
            End::Stopped(_) | End::Failed(_) | End::Over => self.usage().await,
        };
        let upstream = self.upstream_name().to_owned();
        let failure = self.answer.end(&end, usage, clock::unix_seconds(), &upstream);
        // Before its readers hear of the end: who looks then finds it counted.
        self.account(&end, failure.as_ref());
        let entries = self.answer.take_entries();
        if self.append(&entries).is_err() {
            self.recover(&entries).await?;
        }
        Some(self.answer.response().clone())
    }

    fn account(&self, end: &End, failure: Option<&Fault>) {
        let cause = match end {
            End::Stopped(cause) => Some(*cause),
            End::Over | End::Failed(_) => None,
        };
        self.meter.ended(self.answer.response(), cause, failure, self.live.peak_readers());
        self.trace.ended(&self.told(failure));
    }

    /// What there is to be said of the call and the answer now.
    fn told<'a>(&'a self, failure: Option<&'a Fault>) -> Told<'a> {
        Told {
            create: &self.request.create,
            response: self.answer.response(),
            failure,
            finish: self.answer.finish(),
            peer: self.leg.as_ref().and_then(|leg| leg.provider.peer()),
            upstream: self.upstream_name(),
            call: &self.request.call,
            meter: &self.meter,
        }
    }

    /// Who is asked.
    fn upstream_name(&self) -> &str {
        self.leg.as_ref().map_or("", |leg| &*leg.upstream)
    }

    /// Asks for the answer until somebody gives it, or nobody is left.
    async fn upstream(&mut self) -> Stop {
        let route = self.route.clone();
        let mut attempts = Attempts::new(&route);
        let began = Instant::now();
        loop {
            let Some(leg) = attempts.leg(&route) else {
                return End::Failed(Fault::new(FaultKind::Server, "server_error", "there is nobody to ask")).into();
            };
            let failure = match self.call(leg, began).await {
                Outcome::Stop(stop) => return stop,
                Outcome::Failed(failure) => failure,
            };
            // Whatever comes now, a stop or another call: what this one has cost is not what the answer has cost.
            self.answer.forget();
            if failure.fault.code == CONTEXT_LENGTH && self.shorten() {
                self.meter.again(&failure.fault, SHORTENED);
                self.trace.call_ended(&self.told(Some(&failure.fault)));
                continue;
            }
            let reason = match attempts.failed(&route, self.request.model(), failure.clone(), fastrand::f64()) {
                Next::Fail(fault) => return End::Failed(fault).into(),
                Next::Ask(reason) => reason,
                Next::Wait(pause) => {
                    self.meter.closed();
                    tokio::select! {
                        biased;
                        cause = self.live.stopped() => return End::Stopped(cause).into(),
                        () = sleep(pause) => Reason::Retry,
                    }
                }
            };
            tracing::debug!(response = %self.live.id, upstream = %leg.upstream, code = failure.fault.code.as_str(), reason = reason.as_str(), "asking again");
            self.meter.again(&failure.fault, reason.as_str());
            self.trace.call_ended(&self.told(Some(&failure.fault)));
        }
    }

    /// Calls one upstream, up to the end of its answer. The answer was first asked for when it `began`.
    async fn call(&mut self, leg: &Leg, began: Instant) -> Outcome {
        self.request.call = Call::new(self.live.owner.clone(), self.trace.call());
        self.request.model.clone_from(&leg.model);
        self.leg = Some(leg.clone());
        self.meter.asked(leg);
        let live = Arc::clone(&self.live);
        let mut stopped = std::pin::pin!(live.stopped());
        let total = Some(leg.timeouts.total).filter(|total| !total.is_zero()).map(|total| began + total);
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
        let mut silence = Silence { spoken: false, has_keep_alives: false, last_word: Instant::now() };
        let mut unread = 0;
        let first = Instant::now() + leg.timeouts.first_token;
        let mut deadline = std::pin::pin!(sleep_until(total.map_or(first, |total| total.min(first))));
        loop {
            let word = tokio::select! {
                biased;
                cause = &mut stopped => return Outcome::Stop(End::Stopped(cause).into()),
                word = words.next() => word,
                () = &mut deadline => return self.silent(silence, total, leg.timeouts),
            };
            let (end, heard) = self.take_in(word, &mut words);
            let now = Instant::now();
            self.meter.heard(heard, now);
            let entries = self.answer.take_entries();
            let more = entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
            written += more;
            self.bytes.add(more);
            match self.append(&entries) {
                Ok(()) => {}
                Err(LogError::Unavailable) => return Outcome::Stop(Stop::Log(entries)),
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => return Outcome::Stop(Stop::Lost),
            }
            match end {
                None => {}
                // Nothing that the model made is in the log yet.
                Some(Heard::Failed(failure)) if written == 0 => return Outcome::Failed(failure),
                Some(Heard::Failed(failure)) => return Outcome::Stop(End::Failed(failure.fault).into()),
                Some(Heard::Over) if !self.answer.is_finished() => {
                    let fault = truncated(&leg.upstream);
                    return if written == 0 { Outcome::Failed(Failure::upstream(fault)) } else { Outcome::Stop(End::Failed(fault).into()) };
                }
                Some(Heard::Over) => return Outcome::Stop(End::Over.into()),
            }
            if let Some(room) = self.writer.backlog() {
                // The log is behind: what upstream says waits in its connection and not in our memory.
                tokio::select! {
                    biased;
                    cause = &mut stopped => return Outcome::Stop(End::Stopped(cause).into()),
                    () = room => {}
                }
            }
            if written + self.answer.extra_bytes() > self.limit {
                let message = format!("the answer is longer than this server keeps ({} bytes of events)", self.limit);
                return Outcome::Stop(End::Failed(Fault::new(FaultKind::Server, "answer_too_large", message)).into());
            }
            // Words behind the last reader's leaving; who comes back finds the count begun anew.
            unread = if self.live.allowance().is_some() { unread + u64::from(heard) } else { 0 };
            // One whose finish reason has come is whole: there is nothing left to save.
            if !self.answer.is_finished() && self.live.allowance().is_some_and(|allowance| unread > allowance) {
                return Outcome::Stop(End::Stopped(Cause::ClientLeft).into());
            }
            if heard > 0 {
                silence = Silence { spoken: true, has_keep_alives: false, last_word: now };
            } else {
                silence.has_keep_alives = true;
            }
            if silence.spoken {
                let patience = if self.answer.is_finished() {
                    silence.last_word + FINISH_GRACE
                } else {
                    (now + leg.timeouts.idle).min(silence.last_word + leg.timeouts.keep_alive)
                };
                deadline.as_mut().reset(total.map_or(patience, |total| total.min(patience)));
            }
        }
    }

    /// Leaves the oldest part of the conversation out, where the caller has asked for it. Says whether there was one.
    fn shorten(&mut self) -> bool {
        if self.request.create.truncation.as_deref() != Some("auto") {
            return false;
        }
        let Some(context) = shorten::shorter(&self.request.context) else { return false };
        tracing::debug!(response = %self.live.id, before = self.request.context.len(), after = context.len(), "the conversation is too long; asking again with less of it");
        self.request.context = context.into();
        true
    }

    /// What a silence means. After the finish reason only the end of the stream is missing.
    fn silent(&self, silence: Silence, total: Option<Instant>, timeouts: Timeouts) -> Outcome {
        if self.answer.is_finished() {
            return Outcome::Stop(End::Over.into());
        }
        let now = Instant::now();
        if total.is_some_and(|total| total <= now) {
            return Outcome::Stop(End::Failed(silent(self.upstream_name(), "total", timeouts.total)).into());
        }
        self.request.call.give_up();
        let upstream = self.upstream_name();
        if !silence.spoken {
            let tell = if silence.has_keep_alives { only_keep_alives } else { silent };
            let fault = tell(upstream, "first_token", timeouts.first_token);
            return Outcome::Failed(Failure::upstream(fault));
        }
        let is_alive = silence.last_word + timeouts.keep_alive <= now && silence.has_keep_alives;
        let fault =
            if is_alive { only_keep_alives(upstream, "keep_alive", timeouts.keep_alive) } else { silent(upstream, "idle", timeouts.idle) };
        Outcome::Stop(End::Failed(fault).into())
    }

    /// Takes in a word and those that are ready behind it. Says whether that was the end, and how many words were the model's.
    fn take_in(&mut self, first: Option<Result<Word, Failure>>, words: &mut Words) -> (Option<Heard>, u32) {
        let mut heard = 0;
        let mut next = Some(first);
        let mut left = BATCH;
        while let Some(word) = next {
            let word = match word {
                None => return (Some(Heard::Over), heard),
                // A connection that breaks behind the finish reason takes nothing of the answer with it.
                Some(Err(failure)) if failure.fault.code == UPSTREAM_CUT && self.answer.is_finished() => return (Some(Heard::Over), heard),
                Some(Err(failure)) => return (Some(Heard::Failed(failure)), heard),
                Some(Ok(word)) => word,
            };
            heard += u32::from(is_model_word(&word));
            let upstream = self.leg.as_ref().map_or("", |leg| &*leg.upstream);
            if let Err(fault) = self.answer.word(word, upstream) {
                // The model would do the same again.
                return (Some(Heard::Failed(Failure::new(fault, Blame::Request))), heard);
            }
            left -= 1;
            next = if left == 0 { None } else { words.next().now_or_never() };
        }
        (None, heard)
    }

    fn append(&mut self, entries: &[Entry]) -> Result<(), LogError> {
        if entries.is_empty() { Ok(()) } else { self.writer.append(entries) }
    }

    /// Tries until the log writes again, so that the answer gets its one end; its readers were told meanwhile.
    async fn recover(&mut self, entries: &[Entry]) -> Option<()> {
        tracing::error!(response = %self.live.id, "the log cannot be written; its answer ends when it can");
        loop {
            tokio::select! {
                () = sleep_until(Instant::now() + LOG_RETRY) => {}
                () = self.tasks.stopping() => return None,
            }
            match self.append(entries) {
                Ok(()) => return Some(()),
                Err(LogError::Unavailable) => {}
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => return None,
            }
        }
    }

    /// What upstream says it cost, or what we count. Nothing where the model was not heard: an error is not an answer.
    async fn usage(&self) -> Option<Usage> {
        if let Some(usage) = self.answer.usage() {
            return Some(usage);
        }
        if !self.answer.has_output() {
            return None;
        }
        let create = Arc::clone(&self.request.create);
        let context = Arc::clone(&self.request.context);
        let output: Vec<Item> = self.answer.response().output.clone();
        self.tasks.blocking(move || count::usage(&Prompt::from(&*create), &context, &output)).await
    }
}

fn is_model_word(word: &Word) -> bool {
    match word {
        Word::Text { .. }
        | Word::Annotation(_)
        | Word::Reasoning(_)
        | Word::ReasoningSummary(_)
        | Word::ReasoningEnd { .. }
        | Word::Refusal(_)
        | Word::ToolCall(_)
        | Word::Item(_)
        | Word::ReasoningExtra(_)
        | Word::Extra(_)
        | Word::Finish(_) => true,
        Word::Usage(_) | Word::ReasoningBreak | Word::KeepAlive => false,
    }
}

/// Resolves at a time; never where there is none.
pub(crate) async fn until(time: Option<Instant>) {
    match time {
        Some(time) => sleep_until(time).await,
        None => std::future::pending().await,
    }
}

/// Nothing at all came from `upstream` within the timeout called `what`.
pub(crate) fn silent(upstream: &str, what: &str, limit: Duration) -> Fault {
    let message = format!("The upstream '{upstream}' was silent for longer than {what}_timeout allows ({limit:?}).");
    Fault::new(FaultKind::Upstream, format!("upstream_{what}_timeout"), message).with_status(504)
}

/// Nothing but signs of life came from `upstream` within the timeout called `what`.
pub(crate) fn only_keep_alives(upstream: &str, what: &str, limit: Duration) -> Fault {
    let message = format!("The upstream '{upstream}' sent nothing but keep-alives for longer than {what}_timeout allows ({limit:?}).");
    Fault::new(FaultKind::Upstream, format!("upstream_{what}_timeout"), message).with_status(504)
}
