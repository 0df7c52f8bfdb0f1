//! Takes the oldest finished answers away when they are too old, or all of them together too large.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::{Instant, sleep};

use crate::answers::Shared;
use crate::clock;
use crate::store::{Record, Removal};

/// How often age is looked at; size is looked at whenever an answer ends.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a named conversation's head is kept without use, and how often it is looked for those. Each thread has a
/// shorter time of its own after which it begins anew.
const HEADS: Duration = Duration::from_secs(3600);

/// How many answers go in one step, so that nobody waits long behind it.
const STEP: usize = 32;

pub(crate) async fn run(shared: Arc<Shared>) {
    let mut heads_at = Instant::now();
    loop {
        let is_time = tokio::select! {
            () = shared.tasks.stopping() => return,
            () = shared.ended.notified() => false,
            () = sleep(INTERVAL) => true,
        };
        if Instant::now() >= heads_at {
            // Those that cannot be forgotten now are found the next time.
            let _forgotten = shared.store.forget_heads(clock::unix_seconds().saturating_sub(HEADS.as_secs())).await;
            heads_at = Instant::now() + HEADS;
        }
        // An answer that ends makes nothing older: then only the size is worth a question to the store.
        while (is_time || is_too_large(&shared)) && step(&shared).await {
            tokio::task::yield_now().await;
        }
    }
}

fn is_too_large(shared: &Shared) -> bool {
    shared.log.bytes() + shared.store.bytes() > shared.config().kept_bytes
}

/// Expires up to [`STEP`] answers; says whether there may be more.
async fn step(shared: &Shared) -> bool {
    let Ok(oldest) = shared.store.oldest_ended(STEP).await else { return false };
    let now = clock::unix_seconds();
    let mut expired = 0;
    for record in &oldest {
        if !is_too_large(shared) && !is_too_old(record, now, shared.config().retention) {
            return false;
        }
        let removal = if record.readable { Removal::Expired } else { Removal::Forgotten };
        if shared.store.remove(&record.id, removal).await.is_err() || shared.log.remove(&record.id).await.is_err() {
            return false;
        }
        expired += 1;
    }
    expired == STEP
}

fn is_too_old(record: &Record, now: u64, retention: Duration) -> bool {
    record.ended_at.is_some_and(|ended_at| now.saturating_sub(ended_at) > retention.as_secs())
}
