//! Large loads leave a reader of the log to other callers, and large ends leave the runtime's threads.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt, join_all};
use protocol::entry::Entry;
use protocol::id::{Owner, ResponseId};
use protocol::response::ResponseStatus;
use protocol::usage::{Usage, UsageSource};
use tokio::sync::{Semaphore, watch};
use weir_engine::Config;
use weir_engine::log::{Log, LogError, LogProgress, LogReader, LogWriter};
use weir_engine::memory::log::MemoryLog;
use weir_engine::provider::event::{Finish, ModelEvent};
use weir_engine::response::options::StartOptions;

use crate::stage::{Stage, alice, asking, read, say, stage, stage_on, text};

/// A log with three readers, in which some responses take long to read.
#[derive(Clone)]
struct ThreeReaders {
    inner: MemoryLog,
    readers: Arc<Semaphore>,
    large: Arc<Mutex<HashSet<ResponseId>>>,
    /// A large response is read while this has a permit.
    reads: Arc<Semaphore>,
}

struct Reader {
    inner: Box<dyn LogReader>,
    log: ThreeReaders,
    id: ResponseId,
}

impl ThreeReaders {
    fn new() -> Self {
        Self {
            inner: MemoryLog::new(),
            readers: Arc::new(Semaphore::new(3)),
            large: Arc::default(),
            reads: Arc::new(Semaphore::new(0)),
        }
    }
}

impl Log for ThreeReaders {
    fn take(&self, id: &ResponseId) -> Result<Box<dyn LogWriter>, LogError> {
        self.inner.take(id)
    }

    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        let id = id.clone();
        async move {
            let inner = self.inner.open(&id).await?;
            Ok(Box::new(Reader { inner, log: self.clone(), id }) as Box<dyn LogReader>)
        }
        .boxed()
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        self.inner.remove(id)
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }
}

impl LogReader for Reader {
    fn progress(&self) -> watch::Receiver<LogProgress> {
        self.inner.progress()
    }

    fn read(&self, position: u64, budget: usize) -> BoxFuture<'_, Result<Vec<Entry>, LogError>> {
        async move {
            let _reader = self.log.readers.acquire().await.unwrap();
            let is_large = self.log.large.lock().unwrap().contains(&self.id);
            let _read = if is_large { Some(self.log.reads.acquire().await) } else { None };
            self.inner.read(position, budget).await
        }
        .boxed()
    }
}

/// Runs a response of `owner` to its end.
async fn ended(stage: &Stage, owner: &Owner) -> ResponseId {
    let script = stage.script();
    let mut started =
        stage.engine.start(owner, asking("hi"), StartOptions::default()).await.unwrap();
    say(&script, [text("Hello"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    read(&mut started.feed).await.unwrap();
    started.id
}

#[tokio::test(start_paused = true)]
async fn one_callers_large_responses_delay_no_other_caller() {
    let log = ThreeReaders::new();
    let stage = stage_on(log.clone(), Config::default());
    let (alice, bob) = (alice(), Owner::new("bob"));
    let own = ended(&stage, &bob).await;
    let mut large = Vec::new();
    for _ in 0..4 {
        large.push(ended(&stage, &alice).await);
    }
    log.large.lock().unwrap().extend(large.iter().cloned());
    let mut loading = join_all(large.iter().map(|id| stage.engine.response(&alice, id)));
    assert!(futures_util::poll!(&mut loading).is_pending());
    // Paused time passes only when everything waits: then Alice has as many readers as it gets.
    tokio::time::sleep(Duration::from_millis(1)).await;
    assert!(log.readers.available_permits() > 0, "Alice holds all readers");
    let small = tokio::time::timeout(Duration::from_secs(1), stage.engine.response(&bob, &own));
    let small = small.await.expect("Bob waits for no load of Alice's").unwrap();
    assert_eq!(small.status, ResponseStatus::Completed);
    let mut feed = stage.engine.feed(&bob, &own, None).await.unwrap();
    assert!(read(&mut feed).await.is_ok(), "a replay does not wait either");
    log.reads.add_permits(1);
    assert!(loading.await.iter().all(Result::is_ok), "Alice's loads follow each other");
}

/// Whether a response of this text ends while its caller's turn for long work is taken.
async fn ends(stage: &Stage, output: &str) -> bool {
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    let usage = ModelEvent::Usage(Usage::new(UsageSource::Provider, 1, 1));
    say(&script, [text(output), Ok(usage), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    let mut reading = Box::pin(read(&mut started.feed));
    // All that is ready runs many times over.
    for _ in 0..1_000 {
        if futures_util::poll!(&mut reading).is_ready() {
            return true;
        }
        tokio::task::yield_now().await;
    }
    false
}

#[tokio::test(start_paused = true)]
async fn the_end_of_a_large_response_is_made_in_its_callers_turn() {
    let stage = stage();
    let alice = alice();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let mut busy = Box::pin(stage.engine.work(&alice, move || released.recv().is_ok()));
    assert!(futures_util::poll!(&mut busy).is_pending());
    assert!(ends(&stage, "small").await, "a small one waits for no thread");
    assert!(!ends(&stage, &"large ".repeat(64 << 10)).await, "a large one was made in place");
    release.send(()).unwrap();
    assert_eq!(busy.await, Some(true));
    while stage.engine.census().running > 0 {
        tokio::task::yield_now().await;
    }
}
