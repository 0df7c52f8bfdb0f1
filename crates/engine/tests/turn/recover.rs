//! The unfinished responses of a process that died are ended by the next one, over the same log and
//! store.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt};
use protocol::entry::Entry;
use protocol::id::ResponseId;
use protocol::item::{Item, ItemStatus};
use protocol::request::Create;
use protocol::response::{Response, ResponseStatus};
use protocol::usage::UsageSource;
use tokio::sync::Semaphore;
use weir_engine::Config;
use weir_engine::log::{Log, LogError, LogReader, LogWriter};
use weir_engine::memory::log::MemoryLog;
use weir_engine::memory::store::MemoryStore;
use weir_engine::provider::event::{Finish, ModelEvent};
use weir_engine::response::options::StartOptions;
use weir_engine::response::recover::RecoveryCounts;
use weir_engine::store::{RecordEnd, RecordLookup, Store};
use weir_engine::testing::failing::FailingLog;
use weir_engine::testing::late::LateLog;
use weir_engine::testing::log_laws::entries;

use crate::stage;
use crate::stage::{
    ScriptedEvent, Stage, alice, asking, kinds, last_response, read, run, say, stage_over, text,
};

/// Storage that outlives the engines over it.
struct Storage {
    log: MemoryLog,
    store: Arc<MemoryStore>,
}

impl Storage {
    fn new() -> Self {
        Self { log: MemoryLog::new(), store: Arc::new(MemoryStore::new()) }
    }

    fn stage(&self) -> Stage {
        stage_over(
            Arc::new(self.log.clone()),
            Arc::clone(&self.store) as Arc<dyn Store>,
            Config::default(),
        )
    }
}

/// Runs a turn until it has taken in `words`, leaves it there as a process that dies would, and
/// lets the next one recover.
async fn restarted(
    create: Create,
    words: Vec<ScriptedEvent>,
) -> (Storage, Stage, Vec<Entry>, Vec<Entry>) {
    let storage = Storage::new();
    let first = storage.stage();
    let script = first.script();
    let mut started = first.engine.start(&alice(), create, StartOptions::default()).await.unwrap();
    say(&script, words).await;
    // Paused time passes only when everything waits: then all words are taken in.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let mut before = Vec::new();
    while started.feed.is_ready() {
        before.extend(started.feed.next(usize::MAX).await.unwrap().unwrap());
    }
    let second = storage.stage();
    assert_eq!(
        second.engine.recover().await,
        Ok(RecoveryCounts { ended: 1, ..RecoveryCounts::default() })
    );
    assert_eq!(
        second.engine.recover().await,
        Ok(RecoveryCounts::default()),
        "there is nothing left to do"
    );
    let mut feed = second.engine.feed(&alice(), &started.id, None).await.unwrap();
    let all = read(&mut feed).await.unwrap();
    assert_eq!(all[..before.len()], before, "what was there stays as it was");
    assert!(all.iter().map(|entry| entry.position).eq(0..all.len() as u64), "positions are dense");
    // The turn that is still there in this test has lost its log, and adds nothing.
    say(&script, [text("too late"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    let mut feed = second.engine.feed(&alice(), &started.id, None).await.unwrap();
    assert_eq!(read(&mut feed).await.unwrap(), all);
    (storage, second, before, all)
}

fn check_end(response: &Response) {
    assert_eq!(response.status, ResponseStatus::Incomplete);
    assert_eq!(response.incomplete_details.as_ref().unwrap().reason, "server_restarted");
    assert_eq!((response.completed_at, &response.error), (None, &None));
}

#[tokio::test(start_paused = true)]
async fn an_answer_cut_by_a_restart_keeps_its_text_and_is_counted() {
    let (_, stage, before, all) = restarted(asking("hi"), vec![text("Once"), text(" upon")]).await;
    let closing = ["output_text.done", "content_part.done", "output_item.done", "incomplete"];
    assert_eq!(kinds(&all[before.len()..]), closing);
    let response = last_response(&all);
    check_end(&response);
    let Item::Message(message) = &response.output[0] else { panic!("{response:?}") };
    assert_eq!(
        (message.content[0].text(), message.status),
        (Some("Once upon"), ItemStatus::Incomplete)
    );
    let usage = response.usage.unwrap();
    assert_eq!((usage.source, usage.output_tokens), (UsageSource::Counted, 2));
    assert!(usage.input_tokens > 0, "{usage:?}");
    // It can be gone on with, and the next turn sees what there was.
    let more = Create { previous_response_id: Some(response.id), ..asking("go on") };
    run(&stage, more, vec![text("!"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    let asked = stage.puppet.asked.lock().unwrap().last().unwrap().context.len();
    assert_eq!(asked, 3, "hi, Once upon, go on");
}

#[tokio::test(start_paused = true)]
async fn whatever_is_open_is_closed() {
    let thought = || Ok(ModelEvent::Reasoning("hm".into()));
    let (_, _, before, all) = restarted(asking("hi"), vec![thought()]).await;
    assert_eq!(
        kinds(&all[before.len()..]),
        ["reasoning_text.done", "content_part.done", "output_item.done", "incomplete"]
    );

    let refusal = || Ok(ModelEvent::Refusal("no".into()));
    let (_, _, before, all) =
        restarted(asking("hi"), vec![thought(), text("well"), refusal()]).await;
    assert_eq!(
        kinds(&all[before.len()..]),
        ["refusal.done", "content_part.done", "output_item.done", "incomplete"]
    );

    let call = |index: u64, arguments: &str| {
        stage::call(index, Some(&format!("call_{index}")), Some("look"), arguments)
    };
    let create = Create { tools: vec![stage::tool("look")], ..asking("hi") };
    let (_, _, before, all) =
        restarted(create, vec![text("I look"), call(0, "{\"a\""), call(1, "{")]).await;
    assert_eq!(
        kinds(&all[before.len()..]),
        ["output_item.done", "output_item.done", "incomplete"],
        "cut arguments are never done"
    );
    let response = last_response(&all);
    check_end(&response);
    let states: Vec<_> =
        response.output.iter().map(|item| matches!(item, Item::FunctionCall(call) if call.status == ItemStatus::Incomplete)).collect();
    assert_eq!(states, [false, true, true]);
}

#[tokio::test(start_paused = true)]
async fn an_answer_of_which_nothing_was_made_costs_nothing() {
    let (storage, _, before, all) = restarted(asking("hi"), vec![]).await;
    assert_eq!(kinds(&all[before.len()..]), ["incomplete"]);
    let response = last_response(&all);
    check_end(&response);
    assert_eq!(response.usage, None);
    let Ok(RecordLookup::Record(record)) = storage.store.find(&response.id).await else {
        panic!("its record is there")
    };
    assert!(record.ended_at.is_some(), "its end is in the store");
}

/// A log that knows what it was left with, and removes only when it is let.
struct Left {
    inner: MemoryLog,
    unfinished: Vec<ResponseId>,
    removals: Arc<Semaphore>,
}

impl Log for Left {
    fn take(&self, id: &ResponseId) -> Result<Box<dyn LogWriter>, LogError> {
        self.inner.take(id)
    }

    fn open(&self, id: &ResponseId) -> BoxFuture<'_, Result<Box<dyn LogReader>, LogError>> {
        self.inner.open(id)
    }

    fn remove(&self, id: &ResponseId) -> BoxFuture<'_, Result<(), LogError>> {
        let (id, removals) = (id.clone(), Arc::clone(&self.removals));
        async move {
            removals.acquire().await.unwrap().forget();
            self.inner.remove(&id).await
        }
        .boxed()
    }

    fn unfinished_logs(&self) -> Vec<ResponseId> {
        self.unfinished.clone()
    }

    fn bytes(&self) -> u64 {
        self.inner.bytes()
    }
}

fn stage_left_with(
    storage: &Storage,
    unfinished: Vec<ResponseId>,
    removals: usize,
) -> (Stage, Arc<Semaphore>) {
    let removals = Arc::new(Semaphore::new(removals));
    let log = Left { inner: storage.log.clone(), unfinished, removals: Arc::clone(&removals) };
    (
        stage_over(Arc::new(log), Arc::clone(&storage.store) as Arc<dyn Store>, Config::default()),
        removals,
    )
}

#[tokio::test(start_paused = true)]
async fn a_log_that_lost_its_tail_has_an_end_though_its_record_had_one() {
    let storage = Storage::new();
    let first = storage.stage();
    let script = first.script();
    let started =
        first.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    say(&script, [text("Once")]).await;
    let mut heard = first.engine.feed(&alice(), &started.id, None).await.unwrap();
    heard.peek(4).await.unwrap();
    // The database has the end; the journal lost it with the power.
    storage.store.finish(&started.id, RecordEnd::new(Vec::new(), 7)).await.unwrap();
    let (second, _) = stage_left_with(&storage, vec![started.id.clone()], 0);
    assert_eq!(second.engine.recover().await, Ok(RecoveryCounts::default()));
    let mut feed = second.engine.feed(&alice(), &started.id, None).await.unwrap();
    check_end(&last_response(&read(&mut feed).await.unwrap()));
}

#[tokio::test(start_paused = true)]
async fn a_log_without_an_owner_is_deleted() {
    let storage = Storage::new();
    let stray = ResponseId::new("resp_stray");
    storage.log.take(&stray).unwrap().append(&entries(0, 2)).unwrap();
    let (stage, _) = stage_left_with(&storage, vec![stray.clone()], 1);
    assert_eq!(
        stage.engine.recover().await,
        Ok(RecoveryCounts { forgotten: 1, ..RecoveryCounts::default() })
    );
    assert_eq!(storage.log.open(&stray).await.err(), Some(LogError::Missing));
}

#[tokio::test(start_paused = true)]
async fn a_deletion_is_carried_through_when_its_caller_leaves() {
    let storage = Storage::new();
    let (stage, removals) = stage_left_with(&storage, Vec::new(), 0);
    let response = last_response(
        &run(&stage, asking("hi"), vec![text("secret"), Ok(ModelEvent::Finish(Finish::Stop))])
            .await,
    );
    // The caller is gone when the record is and the log is not.
    let second = std::time::Duration::from_secs(1);
    assert!(
        tokio::time::timeout(second, stage.engine.delete(&alice(), &response.id)).await.is_err()
    );
    assert_eq!(storage.store.find(&response.id).await, Ok(RecordLookup::Missing));
    removals.add_permits(1);
    let gone = async {
        while storage.log.open(&response.id).await.err() != Some(LogError::Missing) {
            // Not a yield: paused time, and so the bound, passes only when everything waits.
            tokio::time::sleep(second / 1000).await;
        }
    };
    assert!(tokio::time::timeout(second, gone).await.is_ok(), "its text is left behind");
}

#[tokio::test(start_paused = true)]
async fn an_end_is_not_stored_while_its_log_is_unreachable() {
    let (log, store) = (FailingLog::new(), Arc::new(MemoryStore::new()));
    let stage =
        stage_over(Arc::new(log.clone()), Arc::clone(&store) as Arc<dyn Store>, Config::default());
    let script = stage.script();
    let mut started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    log.make_unreachable();
    say(&script, [text("Hello"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    read(&mut started.feed).await.unwrap();
    let ended_at = async || match store.find(&started.id).await.unwrap() {
        RecordLookup::Record(record) => record.ended_at,
        other => panic!("{other:?}"),
    };
    // Several attempts to open the log; on paused time they take none.
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    tokio::time::sleep(std::time::Duration::from_secs(1)).await;
    assert_eq!(ended_at().await, None, "an unreachable log is not a missing one");
    log.repair();
    let next = Create { previous_response_id: Some(started.id.clone()), ..asking("and then?") };
    let script = stage.script();
    let mut next = loop {
        match stage.engine.start(&alice(), next.clone(), StartOptions::default()).await {
            Ok(next) => break next,
            Err(fault) => assert_eq!(fault.code, "previous_response_in_progress"),
        }
    };
    assert!(ended_at().await.is_some());
    say(&script, [text("Bye"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    read(&mut next.feed).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn an_end_whose_log_is_missing_is_not_waited_for() {
    let (log, store) = (LateLog::with_first_commits(), Arc::new(MemoryStore::new()));
    let stage =
        stage_over(Arc::new(log.clone()), Arc::clone(&store) as Arc<dyn Store>, Config::default());
    let script = stage.script();
    let started =
        stage.engine.start(&alice(), asking("hi"), StartOptions::default()).await.unwrap();
    say(&script, [text("Hello"), Ok(ModelEvent::Finish(Finish::Stop))]).await;
    drop(script);
    stage.closed().await;
    // Paused time passes only when everything waits: then the end is appended, and waits for its
    // commit.
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(stage.engine.census().running, 1);
    log.remove(&started.id).await.unwrap();
    tokio::time::sleep(std::time::Duration::from_millis(1)).await;
    assert_eq!(stage.engine.census().running, 0);
    assert!(
        matches!(store.find(&started.id).await.unwrap(), RecordLookup::Record(record) if record.ended_at.is_some())
    );
}
