//! Ephemeral responses (`store: false`) stay in the engine: its log and its store see none of them.

use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt, ready};
use protocol::event::EventKind;
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;
use protocol::request::Create;
use protocol::response::ResponseStatus;
use weir_engine::Config;
use weir_engine::log::{Log, LogError, LogReader, LogWriter};
use weir_engine::provider::event::{Finish, ModelEvent};
use weir_engine::response::options::StartOptions;
use weir_engine::store::{
    Claimed, ConversationHead, IdempotencyClaim, Most, RecordEnd, RecordLookup, Removal,
    ResponseRecord, Store, StoreError,
};
use weir_engine::times::EventTimes;

use crate::stage::{Stage, alice, asking, last_response, read, say, stage_over, text};

/// A log and a store that fail, and write down what they are asked about a response.
#[derive(Clone, Default)]
struct Untouched {
    calls: Arc<Mutex<Vec<&'static str>>>,
}

impl Untouched {
    fn stage(&self) -> Stage {
        stage_over(Arc::new(self.clone()), Arc::new(self.clone()), Config::default())
    }

    fn calls(&self) -> Vec<&'static str> {
        self.calls.lock().unwrap().clone()
    }

    fn touch<T>(&self, call: &'static str) -> BoxFuture<'_, Result<T, StoreError>>
    where
        T: Send + 'static,
    {
        self.calls.lock().unwrap().push(call);
        ready(Err(StoreError::Unavailable)).boxed()
    }
}

impl Log for Untouched {
    fn take(&self, _id: &ResponseId) -> Result<Box<dyn LogWriter>, LogError> {
        self.calls.lock().unwrap().push("take");
        Err(LogError::Unavailable)
    }

    fn open(&self, _id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        self.calls.lock().unwrap().push("open");
        ready(Err(LogError::Unavailable)).boxed()
    }

    fn remove(&self, _id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        self.calls.lock().unwrap().push("remove a log");
        ready(Err(LogError::Unavailable)).boxed()
    }

    fn bytes(&self) -> u64 {
        0
    }
}

impl Store for Untouched {
    fn insert(
        &self,
        _record: ResponseRecord,
        _input: Vec<Item>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.touch("insert")
    }

    fn finish(&self, _id: &ResponseId, _end: RecordEnd) -> BoxFuture<'_, Result<(), StoreError>> {
        self.touch("finish")
    }

    fn times(&self, _id: &ResponseId) -> BoxFuture<'_, Result<Option<EventTimes>, StoreError>> {
        self.touch("times")
    }

    fn find(&self, _id: &ResponseId) -> BoxFuture<'_, Result<RecordLookup, StoreError>> {
        self.touch("find")
    }

    fn remove(&self, _id: &ResponseId, _why: Removal) -> BoxFuture<'_, Result<(), StoreError>> {
        self.touch("remove a record")
    }

    fn path(&self, _head: &ItemId, _most: Most) -> BoxFuture<'_, Result<Vec<Item>, StoreError>> {
        self.touch("path")
    }

    fn item(
        &self,
        _owner: &Owner,
        _id: &ItemId,
    ) -> BoxFuture<'_, Result<Option<Item>, StoreError>> {
        self.touch("item")
    }

    fn claimed(&self, _claim: &IdempotencyClaim) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        self.touch("claimed")
    }

    fn claim(
        &self,
        _claim: IdempotencyClaim,
        _id: &ResponseId,
    ) -> BoxFuture<'_, Result<Claimed, StoreError>> {
        self.touch("claim")
    }

    fn release(&self, _id: &ResponseId) -> BoxFuture<'_, Result<(), StoreError>> {
        self.touch("release")
    }

    fn head(
        &self,
        _owner: &Owner,
        _name: &str,
    ) -> BoxFuture<'_, Result<Option<ConversationHead>, StoreError>> {
        self.touch("head")
    }

    fn set_head(
        &self,
        _owner: &Owner,
        _name: &str,
        _head: Option<ConversationHead>,
    ) -> BoxFuture<'_, Result<(), StoreError>> {
        self.touch("set_head")
    }

    fn expire_heads(&self, _before: u64) -> BoxFuture<'_, Result<(), StoreError>> {
        ready(Ok(())).boxed()
    }

    fn unfinished(&self) -> BoxFuture<'_, Result<Vec<ResponseRecord>, StoreError>> {
        self.touch("unfinished")
    }

    fn stored_by_caller(&self) -> BoxFuture<'_, Result<Vec<(Owner, u64)>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn oldest_ended(
        &self,
        _owner: Option<&Owner>,
        _limit: usize,
    ) -> BoxFuture<'_, Result<Vec<ResponseRecord>, StoreError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn bytes(&self) -> u64 {
        0
    }
}

fn ephemeral() -> Create {
    Create { store: false, ..asking("hi") }
}

async fn ended(stage: &Stage) {
    while stage.engine.census().running > 0 {
        // Not a yield: paused time passes only when everything waits.
        tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_response_is_read_and_resumed_without_the_backend() {
    let backend = Untouched::default();
    let stage = backend.stage();
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), ephemeral(), StartOptions::default()).await.unwrap();
    say(&script, [text("Hello")]).await;
    let mut second = stage.engine.feed(&alice(), &started.id, Some(0)).await.unwrap();
    let running = stage.engine.response(&alice(), &started.id).await.unwrap();
    assert_eq!(running.status, ResponseStatus::InProgress);
    assert!(stage.engine.census().log_bytes > 0, "it counts as memory");
    say(&script, [Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    let all = read(&mut started.feed).await.unwrap();
    assert_eq!(last_response(&all).status, ResponseStatus::Completed);
    assert_eq!(read(&mut second).await.unwrap(), all[1..], "it can be resumed");
    // The retention task passes while it is held by its readers only.
    tokio::time::sleep(std::time::Duration::from_secs(60)).await;
    let third = stage.engine.feed(&alice(), &started.id, None).await.err();
    assert_eq!(third.map(|fault| fault.status), Some(404), "an ended one is not fetched by its id");
    drop((started, second));
    ended(&stage).await;
    assert_eq!(stage.engine.census().log_bytes, 0, "and then it is gone");
    assert_eq!(backend.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_response_is_stopped_and_deleted_without_the_backend() {
    let backend = Untouched::default();
    let stage = backend.stage();
    for _ in 0..2 {
        let _script = stage.script();
        let started =
            stage.engine.start(&alice(), ephemeral(), StartOptions::default()).await.unwrap();
        let response = stage.engine.cancel(&alice(), &started.id).await.unwrap();
        assert_eq!(response.status, ResponseStatus::Cancelled);
    }
    let _script = stage.script();
    let started = stage.engine.start(&alice(), ephemeral(), StartOptions::default()).await.unwrap();
    stage.engine.delete(&alice(), &started.id).await.unwrap();
    drop(started);
    ended(&stage).await;
    assert_eq!(stage.engine.census().log_bytes, 0);
    assert_eq!(backend.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn an_ephemeral_response_whose_turn_panics_ends_without_the_backend() {
    let backend = Untouched::default();
    let stage = backend.stage();
    let create = Create { safety_identifier: Some("panic".into()), ..ephemeral() };
    let mut started = stage.engine.start(&alice(), create, StartOptions::default()).await.unwrap();
    let all = read(&mut started.feed).await.unwrap();
    assert_eq!(all.last().unwrap().kind, EventKind::Failed);
    drop(started);
    ended(&stage).await;
    assert_eq!(backend.calls(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_stored_response_reaches_the_backend() {
    let backend = Untouched::default();
    let stage = backend.stage();
    assert!(stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.is_err());
    assert_eq!(backend.calls()[0], "take");
}
