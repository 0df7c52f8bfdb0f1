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

use super::spans::{Told, Trace};
use super::state::{Answer, End};
use super::{Cause, Live};
use crate::clock;
use crate::count::{self, Prompt};
use crate::log::{LogError, LogWriter};
use crate::metrics::Meter;
use crate::provider::{ModelRequest, Route, UPSTREAM_CUT, Word, Words};
use crate::tasks::Tasks;

/// How many words that are ready at once go into one append. More would only delay the first.
const BATCH: usize = 64;

/// How long to wait before a log that failed is tried again.
const LOG_RETRY: Duration = Duration::from_millis(50);

/// How long tokens may be counted when the server shuts down.
const LAST_COUNT: Duration = Duration::from_millis(100);

/// How long the usage and the end of the stream may lag behind the finish reason.
const FINISH_GRACE: Duration = Duration::from_secs(5);

/// One answer, about to run.
pub(crate) struct Turn {
    pub(crate) live: Arc<Live>,
    pub(crate) answer: Answer,
    pub(crate) writer: Box<dyn LogWriter>,
    pub(crate) route: Route,
    pub(crate) request: ModelRequest,
    /// Bytes of log above which the answer is ended.
    pub(crate) limit: u64,
    pub(crate) meter: Meter,
    pub(crate) trace: Trace,
    pub(crate) tasks: Tasks,
}

/// Why the loop over the upstream ended.
enum Stop {
    End(End),
    /// The log failed: nobody can be told now.
    Log(Vec<Entry>),
    /// The log belongs to somebody else, or is gone.
    Lost,
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
        self.meter.asked();
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
            tracing::warn!(response = %self.live.id, upstream = %self.route.upstream, code = ?fault.code, status = fault.status, "answer failed");
        }
        let usage = match &end {
            // Whoever reads it is about to be cut: the end must not wait for a vocabulary that is not loaded yet.
            End::Stopped(Cause::ServerShutdown) => timeout(LAST_COUNT, self.usage()).await.ok().flatten(),
            End::Stopped(_) | End::Failed(_) | End::Over => self.usage().await,
        };
        let failure = self.answer.end(&end, usage, clock::unix_seconds());
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
        let response = self.answer.response();
        self.meter.ended(response, cause, failure, self.live.peak_readers());
        self.trace.ended(&Told {
            create: &self.request.create,
            response,
            failure,
            finish: self.answer.finish(),
            peer: self.route.provider.peer(),
            upstream: &self.route.upstream,
            call: &self.request.call,
            meter: &self.meter,
        });
    }

    async fn upstream(&mut self) -> Stop {
        let live = Arc::clone(&self.live);
        let mut stopped = std::pin::pin!(live.stopped());
        let asked = timeout(self.route.timeouts.headers, self.route.provider.ask(self.request.clone()));
        let mut words = tokio::select! {
            biased;
            cause = &mut stopped => return End::Stopped(cause).into(),
            asked = asked => match asked {
                Ok(Ok(words)) => words,
                Ok(Err(fault)) => return End::Failed(fault).into(),
                Err(_elapsed) => return End::Failed(silence("headers", self.route.timeouts.headers)).into(),
            },
        };
        let mut written: u64 = 0;
        let mut spoken = false;
        let mut deadline = std::pin::pin!(sleep(self.route.timeouts.first_token));
        loop {
            let word = tokio::select! {
                biased;
                cause = &mut stopped => return End::Stopped(cause).into(),
                word = words.next() => word,
                () = &mut deadline => return self.silent(spoken).into(),
            };
            let (end, heard) = self.take_in(word, &mut words);
            let now = Instant::now();
            self.meter.heard(heard, now);
            let entries = self.answer.take_entries();
            written += entries.iter().map(|entry| entry.data.len() as u64).sum::<u64>();
            match self.append(&entries) {
                Ok(()) => {}
                Err(LogError::Unavailable) => return Stop::Log(entries),
                Err(LogError::Missing | LogError::Fenced | LogError::Ended | LogError::Gap) => return Stop::Lost,
            }
            if let Some(end) = end {
                return end.into();
            }
            if let Some(room) = self.writer.backlog() {
                // The log is behind: what upstream says waits in its connection and not in our memory.
                tokio::select! {
                    biased;
                    cause = &mut stopped => return End::Stopped(cause).into(),
                    () = room => {}
                }
            }
            if written > self.limit {
                let message = format!("the answer is longer than this server keeps ({} bytes of events)", self.limit);
                return End::Failed(Fault::new(FaultKind::Server, "answer_too_large", message)).into();
            }
            if heard > 0 {
                spoken = true;
                let patience = if self.answer.is_finished() { FINISH_GRACE } else { self.route.timeouts.idle };
                deadline.as_mut().reset(now + patience);
            }
        }
    }

    /// What a silence means. Behind the finish reason only the end of the stream is missing.
    fn silent(&self, spoken: bool) -> End {
        let timeouts = self.route.timeouts;
        match (self.answer.is_finished(), spoken) {
            (true, _) => End::Over,
            (false, true) => End::Failed(silence("idle", timeouts.idle)),
            (false, false) => End::Failed(silence("first_token", timeouts.first_token)),
        }
    }

    /// Takes in a word and those that are ready behind it. Says whether that was the end, and how many words were the model's.
    fn take_in(&mut self, first: Option<Result<Word, Fault>>, words: &mut Words) -> (Option<End>, u32) {
        let mut heard = 0;
        let mut next = Some(first);
        let mut left = BATCH;
        while let Some(word) = next {
            let word = match word {
                None => return (Some(End::Over), heard),
                // A connection that breaks behind the finish reason takes nothing of the answer with it.
                Some(Err(fault)) if fault.code == UPSTREAM_CUT && self.answer.is_finished() => return (Some(End::Over), heard),
                Some(Err(fault)) => return (Some(End::Failed(fault)), heard),
                Some(Ok(word)) => word,
            };
            heard += u32::from(is_model_word(&word));
            if let Err(fault) = self.answer.word(word) {
                return (Some(End::Failed(fault)), heard);
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
        Word::Text { .. } | Word::Reasoning(_) | Word::Refusal(_) | Word::ToolCall { .. } | Word::Finish(_) => true,
        Word::Usage(_) | Word::KeepAlive => false,
    }
}

fn silence(what: &str, limit: Duration) -> Fault {
    let message = format!("the upstream was silent for longer than {what}_timeout allows ({limit:?})");
    Fault::new(FaultKind::Upstream, format!("upstream_{what}_timeout"), message).with_status(504)
}
