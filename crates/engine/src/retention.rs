//! Takes the oldest finished answers away when they are too old, or all of them together too large.

use std::sync::Arc;
use std::time::Duration;

use protocol::id::Owner;
use tokio::time::{Instant, sleep};

use crate::answers::Shared;
use crate::clock;
use crate::store::{Record, Removal};

/// How often age is looked at; size is looked at whenever an answer ends.
const INTERVAL: Duration = Duration::from_secs(5);

/// How long a named conversation's head is kept without use, and how often it is looked for those. Each thread has a
/// shorter time of its own after which it begins anew.
const HEADS: Duration = Duration::from_secs(3600);

/// How many responses one step expires for their age, so that nobody waits long for it.
const STEP: usize = 32;

/// How many go for their size before it is looked again whose turn it is.
const SIZE_STEP: usize = 4;

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
        // An answer that ends makes nothing older: then only the size of all is worth a question to the store.
        while (is_time || is_too_large(&shared)) && step(&shared).await {
            tokio::task::yield_now().await;
        }
    }
}

fn is_too_large(shared: &Shared) -> bool {
    shared.log.bytes() + shared.store.bytes() > shared.config().kept_bytes
}

/// Expires up to [`STEP`] answers; says whether there may be more. Answers of callers above their share go first, and where
/// all answers together are too large, those of the caller that stores most.
async fn step(shared: &Shared) -> bool {
    let now = clock::unix_seconds();
    let Ok(oldest) = shared.store.oldest_ended(None, STEP).await else { return false };
    let retention = shared.config().retention;
    let old: Vec<&Record> = oldest.iter().take_while(|record| is_too_old(record, now, retention)).collect();
    if !old.is_empty() {
        for record in &old {
            if !expire(shared, record).await {
                return false;
            }
        }
        return old.len() == STEP;
    }
    let Some(giver) = giver(shared).await else { return false };
    let oldest = match &giver {
        Giver::Somebody(owner) => shared.store.oldest_ended(Some(owner), STEP).await.unwrap_or_default(),
        Giver::Anybody => oldest,
    };
    for record in oldest.iter().take(SIZE_STEP) {
        if !expire(shared, record).await {
            return false;
        }
    }
    !oldest.is_empty()
}

/// Whose oldest answers make room.
enum Giver {
    Somebody(Owner),
    /// There is one caller, or only one caller has anything that could go.
    Anybody,
}

async fn giver(shared: &Shared) -> Option<Giver> {
    let is_too_large = is_too_large(shared);
    let shares = shared.config().shares;
    let Ok(stored) = shared.store.stored_by_caller().await else { return None };
    let is_over = |(owner, bytes): &&(Owner, u64)| shares.of(owner).is_some_and(|share| *bytes > share.stored_bytes);
    if let Some((owner, _)) = stored.iter().find(is_over)
        && has_ended(shared, owner).await
    {
        return Some(Giver::Somebody(owner.clone()));
    }
    if !is_too_large {
        return None;
    }
    // The caller that stores most may have nothing that has ended.
    for (owner, _) in stored.iter().take(SIZE_STEP) {
        if stored.len() > 1 && has_ended(shared, owner).await {
            return Some(Giver::Somebody(owner.clone()));
        }
    }
    Some(Giver::Anybody)
}

async fn has_ended(shared: &Shared, owner: &Owner) -> bool {
    shared.store.oldest_ended(Some(owner), 1).await.is_ok_and(|ended| !ended.is_empty())
}

/// Takes an answer away. Says whether that could be done.
async fn expire(shared: &Shared, record: &Record) -> bool {
    let removal = if record.readable { Removal::Expired } else { Removal::Forgotten };
    shared.store.remove(&record.id, removal).await.is_ok() && shared.log.remove(&record.id).await.is_ok()
}

fn is_too_old(record: &Record, now: u64, retention: Duration) -> bool {
    record.ended_at.is_some_and(|ended_at| now.saturating_sub(ended_at) > retention.as_secs())
}
