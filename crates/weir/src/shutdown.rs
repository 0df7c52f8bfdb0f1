//! What stops the process, and the order in which it stops. SIGTERM or SIGINT begins:
//!
//! 1. **Unready.** `/readyz` says 503, systemd is told, and every HTTP/1 answer says `Connection: close`. All else goes on.
//! 2. **Delay.** For `shutdown.delay` at least, so that load balancers notice before a client is refused.
//! 3. **Nothing new.** The port closes, behind all whom the kernel has connected already. What would begin anew on an open
//!    connection is a 503 with `Retry-After`; what there is can still be read, resumed and cancelled.
//! 4. **Come back.** Over `shutdown.spread`, each at its own moment: an idle connection closes, HTTP/2 hears GOAWAY, a
//!    WebSocket closes with 1012 unless an answer is on it, and an `EventSource` hears a `retry:` of its own. Readers of
//!    answers that run stay: nobody else has these answers.
//! 5. **Answers end**, for up to `shutdown.grace`, and are read to their end. Without any this takes no time.
//! 6. **The rest is ended truly**: `response.failed` with `server_shutdown`, in the log, and readers get a moment to hear it.
//! 7. **What is still open is broken off**, so that nobody takes it for whole, and can be resumed where answers survive.
//! 8. **Flush.** The tasks end, and what they write is written; then the stores close.
//! 9. **Report.** One line says how many answers ended, what was cut and how long it took.
//!
//! A second signal leaves out all waiting but the moment in which readers hear what happens to them.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::tasks::Tasks;
use server::{Connections, Drain};
use tokio::time::{Instant, sleep};

/// How long readers get to take in the end of an answer that was cut, and tasks to end.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// The same when there is a hurry.
const LAST_WORD: Duration = Duration::from_millis(250);

/// How often it is looked whether all is over.
const LOOK: Duration = Duration::from_millis(10);

/// How long the process takes to stop.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long to serve on, not ready.
    pub delay: Duration,
    /// Over how long clients are told to come back; at most `grace`.
    pub spread: Duration,
    /// How long answers may take to end.
    pub grace: Duration,
}

impl Default for Config {
    fn default() -> Self {
        // Together less than the 30 s after which Kubernetes kills.
        Self {
            delay: Duration::ZERO,
            spread: Duration::from_secs(1),
            grace: Duration::from_secs(25),
        }
    }
}

impl Config {
    /// The longest that a shutdown takes.
    pub(crate) fn longest(&self) -> Duration {
        self.delay + self.grace + 2 * LAST_WORDS
    }
}

/// What became of everything.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Answers that ran when nothing new was accepted any more, and ended by themselves.
    pub ended: usize,
    /// Answers that did not, and were ended.
    pub cut: usize,
    /// Connections that were broken off in the middle of an answer.
    pub broken: u64,
    /// Tasks that did not end.
    pub left: usize,
    /// Whether there was a second signal.
    pub hurried: bool,
}

/// What is to stop.
pub(crate) struct ShutdownParts<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) connections: &'a Arc<Connections>,
    pub(crate) drain: &'a Drain,
    pub(crate) tasks: &'a Tasks,
    /// Those that take away what the others leave.
    pub(crate) last: &'a Tasks,
}

/// Stops everything in its order. `again` resolves when there is a hurry.
pub(crate) async fn run(
    stopping: ShutdownParts<'_>,
    config: Config,
    again: impl Future<Output = ()> + Send,
) -> ShutdownReport {
    let ShutdownParts { engine, connections, drain, tasks, last } = stopping;
    let begun = Instant::now();
    let took = || milliseconds(begun.elapsed());
    let mut patience = Patience { again: Some(Box::pin(again)) };
    let is_quiet = || engine.census().running == 0 && connections.open() == 0;

    drain.unready();
    tracing::info!(
        step = 1,
        took_ms = took(),
        delay_ms = milliseconds(config.delay),
        "stopping: not ready any more"
    );
    patience.wait(config.delay, || false).await;

    let (running, open) = (engine.census().running, connections.open());
    engine.drain(config.spread);
    drain.leave(config.spread.min(config.grace));
    tracing::info!(
        step = 3,
        took_ms = took(),
        answers = running,
        connections = open,
        grace_ms = milliseconds(config.grace),
        "stopping: nothing new is accepted"
    );
    patience.wait(config.grace, is_quiet).await;
    tracing::info!(
        step = 5,
        took_ms = took(),
        answers = engine.census().running,
        connections = connections.open(),
        "stopping: answers had their time"
    );

    let cut = engine.shut_down();
    if cut > 0 {
        tracing::warn!(
            step = 6,
            took_ms = took(),
            answers = cut,
            "stopping: answers that did not end in time are ended"
        );
    }
    let words = if patience.is_over() { LAST_WORD } else { LAST_WORDS };
    patience.wait_at_least(words, is_quiet).await;

    let broken = connections.open();
    if broken > 0 {
        tracing::warn!(
            step = 7,
            took_ms = took(),
            connections = broken,
            "stopping: what is still open is broken off"
        );
    }
    drain.break_off();
    // Answers have ended by now, and with them their traces: these go out meanwhile.
    let (left, late) = tokio::join!(tasks.shutdown(words), last.shutdown(words));
    let report = ShutdownReport {
        ended: running.saturating_sub(cut),
        cut,
        broken,
        left: left + late,
        hurried: patience.is_over(),
    };
    report.say(took());
    report
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl ShutdownReport {
    fn say(&self, took_ms: u64) {
        let Self { ended, cut, broken, left, hurried } = *self;
        if cut == 0 && broken == 0 && left == 0 {
            tracing::info!(step = 9, took_ms, ended, hurried, "stopped; nothing was cut");
        } else {
            tracing::warn!(
                step = 9,
                took_ms,
                ended,
                cut,
                broken,
                left,
                hurried,
                "stopped; something was cut"
            );
        }
    }
}

/// Waits, until there is a hurry.
struct Patience<F> {
    /// `None` once it is there.
    again: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = ()>> Patience<F> {
    fn is_over(&self) -> bool {
        self.again.is_none()
    }

    /// Waits for `limit`, or until `is_done`, unless there is a hurry.
    async fn wait(&mut self, limit: Duration, is_done: impl Fn() -> bool) {
        let Some(again) = self.again.as_mut() else { return };
        tokio::select! {
            () = wait(limit, is_done) => return,
            () = again.as_mut() => {}
        }
        self.again = None;
        tracing::warn!("told to stop again: stopping at once");
    }

    /// The same; in a hurry for a moment all the same.
    async fn wait_at_least(&mut self, limit: Duration, is_done: impl Fn() -> bool + Copy) {
        self.wait(limit, is_done).await;
        if self.is_over() {
            wait(limit.min(LAST_WORD), is_done).await;
        }
    }
}

async fn wait(limit: Duration, is_done: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_done() && Instant::now() < deadline {
        sleep(LOOK.min(deadline - Instant::now())).await;
    }
}
