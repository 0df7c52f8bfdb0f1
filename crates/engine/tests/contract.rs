//! The laws, run on the backends of this crate: in memory, late, and failing while it works.

use futures_util::future::{FutureExt, ready};
use weir_engine::contract::{FailingLog, LateLog, log_laws, store_laws};
use weir_engine::memory::{MemoryLog, MemoryStore};

#[tokio::test]
async fn memory_log() {
    log_laws::all(async || MemoryLog::new(), |_log| ready(()).boxed()).await;
}

#[tokio::test]
async fn late_log() {
    log_laws::all(async || LateLog::new(), |log| async { log.release() }.boxed()).await;
}

#[tokio::test]
async fn failing_log_while_it_works() {
    log_laws::all(async || FailingLog::new(), |_log| ready(()).boxed()).await;
}

#[tokio::test]
async fn memory_store() {
    store_laws::all(async || MemoryStore::new()).await;
}
