//! The steps of a shutdown, in order. SIGTERM or SIGINT starts it:
//!
//! 1. **Unready.** `/readyz` returns 503, systemd is notified, and every HTTP/1 response carries
//!    `Connection: close`. Everything else continues.
//! 2. **Delay.** Waits at least `shutdown.delay`, so that load balancers notice before a client is
//!    refused.
//! 3. **Nothing new.** The port closes, after the connections in the kernel's queue were accepted.
//!    New work on an open connection gets a 503 with `Retry-After`; existing responses can still be
//!    read, resumed and cancelled.
//! 4. **Reconnect.** Spread over `shutdown.spread`, idle connections close, HTTP/2 gets GOAWAY, a
//!    WebSocket without a running response closes with 1012, and each `EventSource` gets its own
//!    `retry:`. Readers of running responses stay: no other server has these responses.
//! 5. **Responses end**, within `shutdown.grace`, and are read to their end. Without any this step
//!    takes no time.
//! 6. **The rest fails**: `response.failed` with `server_shutdown` is logged, and readers get a
//!    moment to receive it.
//! 7. **Open connections are aborted**, so that no client takes its stream for complete. Responses
//!    that survive can be resumed.
//! 8. **Flush.** The tasks end and finish their writes; then the stores close.
//! 9. **Report.** One line states how many responses ended, what was cut, and how long it took.
//!
//! A second signal skips all waiting but the moment in which readers receive the end.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use engine::Engine;
use engine::tasks::Tasks;
use server::{Connections, Drain};
use tokio::time::{Instant, sleep};

/// How long readers get to receive the end of a failed response, and tasks to end.
const END_DELIVERY: Duration = Duration::from_secs(2);

/// The same after a second signal.
const HURRIED_END_DELIVERY: Duration = Duration::from_millis(250);

/// The polling interval while waiting.
const POLL_INTERVAL: Duration = Duration::from_millis(10);

/// The timeouts of a shutdown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Config {
    /// How long to keep serving while not ready.
    pub delay: Duration,
    /// The time over which clients are told to reconnect; at most `grace`.
    pub spread: Duration,
    /// How long responses may take to end.
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
    /// The longest duration of a shutdown.
    pub(crate) fn longest(&self) -> Duration {
        self.delay + self.grace + 2 * END_DELIVERY
    }
}

/// The result of a shutdown.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownReport {
    /// Responses that were running in step 3 and ended by themselves.
    pub ended: usize,
    /// Responses that did not end in time, and failed.
    pub cut: usize,
    /// Connections that were aborted in the middle of a response.
    pub broken: u64,
    /// Tasks that did not end.
    pub left: usize,
    /// Whether there was a second signal.
    pub hurried: bool,
}

/// The parts to stop.
pub(crate) struct ShutdownParts<'a> {
    pub(crate) engine: &'a Engine,
    pub(crate) connections: &'a Arc<Connections>,
    pub(crate) drain: &'a Drain,
    pub(crate) tasks: &'a Tasks,
    /// Tasks that clean up after the others.
    pub(crate) last: &'a Tasks,
}

/// Stops everything in order. `again` resolves at a second signal.
pub(crate) async fn run(
    stopping: ShutdownParts<'_>,
    config: Config,
    again: impl Future<Output = ()> + Send,
) -> ShutdownReport {
    let ShutdownParts { engine, connections, drain, tasks, last } = stopping;
    let started = Instant::now();
    let took = || milliseconds(started.elapsed());
    let mut waiting = HurriedWait { again: Some(Box::pin(again)) };
    let is_quiet = || engine.census().running == 0 && connections.open() == 0;

    drain.unready();
    tracing::info!(
        step = 1,
        took_ms = took(),
        delay_ms = milliseconds(config.delay),
        "stopping: no longer ready"
    );
    waiting.wait(config.delay, || false).await;

    let (running, open) = (engine.census().running, connections.open());
    engine.drain(config.spread);
    drain.drain(config.spread.min(config.grace));
    tracing::info!(
        step = 3,
        took_ms = took(),
        answers = running,
        connections = open,
        grace_ms = milliseconds(config.grace),
        "stopping: nothing new is accepted"
    );
    waiting.wait(config.grace, is_quiet).await;
    tracing::info!(
        step = 5,
        took_ms = took(),
        answers = engine.census().running,
        connections = connections.open(),
        "stopping: the grace period is over"
    );

    let cut = engine.shut_down();
    if cut > 0 {
        tracing::warn!(
            step = 6,
            took_ms = took(),
            answers = cut,
            "stopping: responses that did not end in time fail"
        );
    }
    let delivery = if waiting.is_hurried() { HURRIED_END_DELIVERY } else { END_DELIVERY };
    waiting.wait_at_least(delivery, is_quiet).await;

    let broken = connections.open();
    if broken > 0 {
        tracing::warn!(
            step = 7,
            took_ms = took(),
            connections = broken,
            "stopping: aborting the open connections"
        );
    }
    drain.abort();
    // All responses, and so their traces, have ended: the traces are exported meanwhile.
    let (left, late) = tokio::join!(tasks.shutdown(delivery), last.shutdown(delivery));
    let report = ShutdownReport {
        ended: running.saturating_sub(cut),
        cut,
        broken,
        left: left + late,
        hurried: waiting.is_hurried(),
    };
    report.log(took());
    report
}

fn milliseconds(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl ShutdownReport {
    fn log(&self, took_ms: u64) {
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

/// Waits that a second signal cuts short.
struct HurriedWait<F> {
    /// `None` after the second signal.
    again: Option<Pin<Box<F>>>,
}

impl<F: Future<Output = ()>> HurriedWait<F> {
    fn is_hurried(&self) -> bool {
        self.again.is_none()
    }

    /// Waits for `limit`, until `is_done`, or until a second signal.
    async fn wait(&mut self, limit: Duration, is_done: impl Fn() -> bool) {
        let Some(again) = self.again.as_mut() else { return };
        tokio::select! {
            () = wait(limit, is_done) => return,
            () = again.as_mut() => {}
        }
        self.again = None;
        tracing::warn!("second signal: stopping at once");
    }

    /// The same, but waits for a moment even after a second signal.
    async fn wait_at_least(&mut self, limit: Duration, is_done: impl Fn() -> bool + Copy) {
        self.wait(limit, is_done).await;
        if self.is_hurried() {
            wait(limit.min(HURRIED_END_DELIVERY), is_done).await;
        }
    }
}

async fn wait(limit: Duration, is_done: impl Fn() -> bool) {
    let deadline = Instant::now() + limit;
    while !is_done() && Instant::now() < deadline {
        sleep(POLL_INTERVAL.min(deadline - Instant::now())).await;
    }
}
