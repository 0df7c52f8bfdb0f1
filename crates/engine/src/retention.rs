//! Retention: expires finished responses that are too old, and the oldest ones when all together
//! are too large.

use std::sync::Arc;
use std::time::Duration;

use protocol::id::Owner;
use tokio::time::{Instant, sleep};

use crate::clock;
use crate::response::state::EngineState;
use crate::store::{Removal, ResponseRecord};

/// The interval at which age is checked; size is checked whenever a response ends.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long the head of an unused named conversation is kept, and the interval at which old heads
/// are removed. Each conversation has a shorter time of its own after which it starts anew.
const HEADS: Duration = Duration::from_secs(3600);

/// How many responses one step expires for their age, so that no request waits long for the store.
const STEP: usize = 32;

/// How many responses of one caller expire for their size before the callers are compared again.
const SIZE_STEP: usize = 4;

pub(crate) async fn run(shared: Arc<EngineState>) {
    let mut heads_at = Instant::now();
    loop {
        let is_time = tokio::select! {
            () = shared.tasks.stopping() => return,
            () = shared.ended.notified() => false,
            () = sleep(INTERVAL) => true,
        };
        if Instant::now() >= heads_at {
            // Heads that cannot be removed now are found the next time.
            let _forgotten = shared
                .backends
                .stored
                .store
                .expire_heads(clock::unix_seconds().saturating_sub(HEADS.as_secs()))
                .await;
            heads_at = Instant::now() + HEADS;
        }
        // The end of a response makes no other older: then only the total size is checked.
        while (is_time || is_too_large(&shared)) && step(&shared).await {
            tokio::task::yield_now().await;
        }
    }
}

fn is_too_large(shared: &EngineState) -> bool {
    let backends = &shared.backends;
    backends.log_bytes() + backends.item_bytes() > shared.config().kept_bytes
}

/// Expires up to [`STEP`] responses; returns whether there may be more. A caller over its share
/// gives first; if all of them together use too much, the caller that uses most.
async fn step(shared: &EngineState) -> bool {
    let now = clock::unix_seconds();
    let Ok(oldest) = shared.backends.oldest_ended(None, STEP).await else { return false };
    let retention = shared.config().retention;
    let old: Vec<&ResponseRecord> =
        oldest.iter().take_while(|record| is_too_old(record, now, retention)).collect();
    if !old.is_empty() {
        for record in &old {
            if !expire(shared, record).await {
                return false;
            }
        }
        return old.len() == STEP;
    }
    let Some(oldest) = to_make_room(shared, oldest).await else { return false };
    for record in oldest.iter().take(SIZE_STEP) {
        if !expire(shared, record).await {
            return false;
        }
    }
    !oldest.is_empty()
}

/// The responses that make room, oldest first: those of one caller, or the `oldest` of all. `None`
/// if there is room.
async fn to_make_room(
    shared: &EngineState,
    oldest: Vec<ResponseRecord>,
) -> Option<Vec<ResponseRecord>> {
    let is_too_large = is_too_large(shared);
    let shares = shared.config().shares.clone();
    let Ok(stored) = shared.backends.stored.store.stored_by_caller().await else { return None };
    let is_over = |(owner, bytes): &&(Owner, u64)| {
        shares.of(owner).is_some_and(|share| *bytes > share.stored_bytes)
    };
    if let Some((owner, _)) = stored.iter().find(is_over)
        && let Some(ended) = ended(shared, owner).await
    {
        return Some(ended);
    }
    if !is_too_large {
        return None;
    }
    // The caller that uses most may have nothing that has ended.
    for (owner, _) in stored.iter().take(SIZE_STEP).filter(|_| stored.len() > 1) {
        if let Some(ended) = ended(shared, owner).await {
            return Some(ended);
        }
    }
    Some(oldest)
}

/// The oldest ended responses of a caller, if it has any.
async fn ended(shared: &EngineState, owner: &Owner) -> Option<Vec<ResponseRecord>> {
    shared.backends.oldest_ended(Some(owner), STEP).await.ok().filter(|ended| !ended.is_empty())
}

/// Removes a response. Returns whether that succeeded.
async fn expire(shared: &EngineState, record: &ResponseRecord) -> bool {
    let removal = if record.readable { Removal::Expired } else { Removal::Forgotten };
    let backend = shared.backends.of(&record.id);
    backend.store.remove(&record.id, removal).await.is_ok()
        && backend.log.remove(&record.id).await.is_ok()
}

fn is_too_old(record: &ResponseRecord, now: u64, retention: Duration) -> bool {
    record.ended_at.is_some_and(|ended_at| now.saturating_sub(ended_at) > retention.as_secs())
}
