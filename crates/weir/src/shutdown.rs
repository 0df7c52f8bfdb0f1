//! What stops the process, and the order in which it stops.

use std::time::Duration;

use engine::Engine;
use engine::tasks::Tasks;
use tokio::time::{Instant, sleep, timeout_at};

/// How long readers get to take in the end of an answer that was cut.
const LAST_WORDS: Duration = Duration::from_secs(2);

/// How often the running answers are counted while they get to end.
const LOOK: Duration = Duration::from_millis(20);

/// Resolves when the process is told to stop: SIGINT or SIGTERM. They are caught from the call on, not from the first
/// poll: who reads the greeting may send one at once.
#[cfg(unix)]
pub(crate) fn asked() -> std::io::Result<impl Future<Output = ()> + Send> {
    use tokio::signal::unix::{SignalKind, signal};
    let (mut interrupt, mut terminate) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

/// Resolves when the process is told to stop by Ctrl-C.
#[cfg(not(unix))]
pub(crate) fn asked() -> std::io::Result<impl Future<Output = ()> + Send> {
    Ok(async {
        if tokio::signal::ctrl_c().await.is_err() {
            std::future::pending::<()>().await;
        }
    })
}

/// Ends what still runs, once nothing new is accepted: first answers get `grace` to end by themselves, then they are
/// ended truly (`server_shutdown`), and their readers get a moment to learn of it. Gives the number of tasks left.
pub(crate) async fn drain(engine: &Engine, tasks: &Tasks, grace: Duration) -> usize {
    let ended = async {
        while engine.census().running > 0 {
            sleep(LOOK).await;
        }
    };
    if timeout_at(Instant::now() + grace, ended).await.is_err() {
        let cut = engine.census().running;
        tracing::warn!(cut, "answers did not end in time and were ended");
        engine.shut_down();
    }
    tasks.shutdown(LAST_WORDS).await
}
