//! The laws, run on the backends of this crate: in memory, late, and failing while it works.

use weir_engine::contract::{FailingLog, LateLog, log_laws, store_laws};
use weir_engine::memory::{MemoryLog, MemoryStore};

#[tokio::test]
async fn memory_log() {
    log_laws::all(MemoryLog::new, |_log| {}).await;
}

#[tokio::test]
async fn late_log() {
    log_laws::all(LateLog::new, LateLog::release).await;
}

#[tokio::test]
async fn failing_log_while_it_works() {
    log_laws::all(FailingLog::new, |_log| {}).await;
}

#[tokio::test]
async fn memory_store() {
    store_laws::all(MemoryStore::new).await;
}
