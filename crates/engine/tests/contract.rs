//! The laws, run on the backends of this crate: in memory, late, and failing while it works.

use futures_util::future::{FutureExt, ready};
use weir_engine::memory::log::MemoryLog;
use weir_engine::memory::store::MemoryStore;
use weir_engine::testing::failing::FailingLog;
use weir_engine::testing::late::LateLog;
use weir_engine::testing::{log_laws, store_laws};

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
