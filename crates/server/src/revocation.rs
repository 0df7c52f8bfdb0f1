//! Revocation: one task compares what is open with the keys.

use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::app::App;

/// How often the version of the keys is checked. A revocation takes effect within two
/// seconds, even if the keys cannot be read at first.
const PERIOD: Duration = Duration::from_millis(200);

/// How often sessions are checked, which also end by their age.
const SESSION_PERIOD: Duration = Duration::from_secs(30);

/// Until the server stops, ends everything opened by credentials that are no longer valid: streams
/// and sockets, sessions and tickets, and the running responses of their owners.
pub async fn watch(app: App) {
    let (mut version, mut swept, mut was_unreadable) =
        (app.keys.version(), Instant::now(), app.keys.is_unreadable());
    loop {
        tokio::select! {
            () = app.tasks.stopping() => return,
            () = sleep(PERIOD) => {}
        }
        let is_unreadable = app.keys.is_unreadable();
        // A file that is just being written is read again before anything is ended.
        let is_settled = !is_unreadable || was_unreadable;
        was_unreadable = is_unreadable;
        let now = app.keys.version();
        if is_settled && (now != version || swept.elapsed() >= SESSION_PERIOD) {
            (version, swept) = (now, Instant::now());
            sweep(&app);
        }
        // Every time: a request may be about to start a response when its key is revoked.
        for owner in app.engine.owners().iter().filter(|owner| !app.keys.admits(owner)) {
            let stopped = app.engine.revoke(owner);
            tracing::info!(%owner, stopped, "stopped the responses of a revoked key");
        }
    }
}

/// Ends at once everything opened by credentials that are no longer valid.
pub(crate) fn sweep(app: &App) {
    app.tickets.sweep(&*app.keys);
    let ended = app.grants.sweep(&*app.keys, &app.tickets);
    if ended > 0 {
        tracing::info!(ended, "ended streams and sockets whose key or session is no longer valid");
    }
}
