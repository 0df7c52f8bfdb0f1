//! An engine in memory, over a provider that a test plays by hand.

use std::sync::{Arc, Mutex};

use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{StreamExt, unfold};
use protocol::entry::Entry;
use protocol::extra::Extra;
use protocol::fault::Fault;
use protocol::id::Owner;
use protocol::item::{Item, Message, Part, Role};
use protocol::request::{Create, FunctionTool, InputItem, Tool};
use tokio::sync::{mpsc, watch};
use weir_engine::log::{Log, LogError};
use weir_engine::memory::log::MemoryLog;
use weir_engine::memory::store::MemoryStore;
use weir_engine::provider::Provider;
use weir_engine::provider::event::{ModelEvent, ModelStream, ToolCallDelta};
use weir_engine::provider::failure::ProviderFailure;
use weir_engine::provider::models::{ModelListing, Models};
use weir_engine::provider::request::ModelRequest;
use weir_engine::provider::route::{Retries, Route, RouteTarget, Timeouts};
use weir_engine::response::options::StartOptions;
use weir_engine::store::Store;
use weir_engine::tasks::Tasks;
use weir_engine::testing::log_laws::request;
use weir_engine::{Config, Engine};

pub(crate) type ScriptedEvent = Result<ModelEvent, ProviderFailure>;

/// A model that says what the test tells it to, and counts the connections that are open to it.
#[derive(Clone)]
pub(crate) struct Puppet {
    scripts: Arc<Mutex<Vec<mpsc::Receiver<ScriptedEvent>>>>,
    pub(crate) open: watch::Sender<usize>,
    pub(crate) asked: Arc<Mutex<Vec<ModelRequest>>>,
    /// How often a call that failed is made again.
    pub(crate) retries: Retries,
}

struct Guard(watch::Sender<usize>);

impl Drop for Guard {
    fn drop(&mut self) {
        self.0.send_modify(|open| *open -= 1);
    }
}

impl Provider for Puppet {
    fn ask(
        &self,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>> {
        assert!(
            request.create.safety_identifier.as_deref() != Some("panic"),
            "a provider that panics, as asked"
        );
        self.asked.lock().unwrap().push(request);
        let script = self.scripts.lock().unwrap().pop();
        self.open.send_modify(|open| *open += 1);
        let guard = Guard(self.open.clone());
        async move {
            let Some(script) = script else {
                let _open = guard;
                return std::future::pending().await;
            };
            Ok(unfold((script, guard), |(mut script, guard)| async move {
                script.recv().await.map(|said| (said, (script, guard)))
            })
            .boxed())
        }
        .boxed()
    }

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        match create.extra.keys().find(|name| *name != "seed") {
            Some(unknown) => Err(Fault::invalid("unknown_parameter", unknown, "unknown")),
            None => Ok(Vec::new()),
        }
    }
}

impl Models for Puppet {
    fn route(&self, model: &str) -> Option<Route> {
        let target = || RouteTarget {
            upstream: "puppet".into(),
            provider: Arc::new(self.clone()),
            model: None,
            timeouts: Timeouts::default(),
        };
        (model == "demo").then(|| Route {
            targets: Arc::new([target()]),
            retries: self.retries,
            on_leave: None,
            is_listed: true,
        })
    }

    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>> {
        async { Vec::new() }.boxed()
    }
}

pub(crate) struct Stage {
    pub(crate) engine: Engine,
    pub(crate) puppet: Puppet,
    pub(crate) tasks: Tasks,
}

pub(crate) fn stage_on(log: impl Log, config: Config) -> Stage {
    stage_over(Arc::new(log), Arc::new(MemoryStore::new()), config)
}

pub(crate) fn stage_over(log: Arc<dyn Log>, store: Arc<dyn Store>, config: Config) -> Stage {
    stage_with(log, store, config, Retries { count: 0, ..Retries::default() })
}

/// A stage on which calls are made again.
pub(crate) fn stage_that_retries() -> Stage {
    stage_with(
        Arc::new(MemoryLog::new()),
        Arc::new(MemoryStore::new()),
        Config::default(),
        Retries::default(),
    )
}

fn stage_with(log: Arc<dyn Log>, store: Arc<dyn Store>, config: Config, retries: Retries) -> Stage {
    let puppet = Puppet {
        scripts: Arc::default(),
        open: watch::Sender::new(0),
        asked: Arc::default(),
        retries,
    };
    let tasks = Tasks::new();
    let engine = Engine::new(config, log, store, Arc::new(puppet.clone()), tasks.clone());
    Stage { engine, puppet, tasks }
}

pub(crate) fn stage() -> Stage {
    stage_on(MemoryLog::new(), Config::default())
}

impl Stage {
    /// The next question gets what is sent here.
    pub(crate) fn script(&self) -> mpsc::Sender<ScriptedEvent> {
        let (sender, receiver) = mpsc::channel(64);
        self.puppet.scripts.lock().unwrap().insert(0, receiver);
        sender
    }

    pub(crate) async fn closed(&self) {
        self.puppet.open.subscribe().wait_for(|open| *open == 0).await.unwrap();
    }
}

pub(crate) fn alice() -> Owner {
    Owner::new("alice")
}

pub(crate) fn asking(text: &str) -> Create {
    let message = Message::new(Role::User, vec![Part::input_text(text)]);
    Create { input: vec![InputItem::Item(Item::Message(message))], ..request("demo") }
}

pub(crate) fn text(text: &str) -> ScriptedEvent {
    Ok(ModelEvent::Text { text: text.into(), logprobs: Vec::new() })
}

pub(crate) async fn say(
    script: &mpsc::Sender<ScriptedEvent>,
    words: impl IntoIterator<Item = ScriptedEvent>,
) {
    for word in words {
        script.send(word).await.unwrap();
    }
}

pub(crate) async fn read(feed: &mut weir_engine::feed::Feed) -> Result<Vec<Entry>, LogError> {
    let mut entries = Vec::new();
    while let Some(more) = feed.next(usize::MAX).await? {
        entries.extend(more);
    }
    Ok(entries)
}

pub(crate) fn kinds(entries: &[Entry]) -> Vec<&'static str> {
    entries.iter().map(|entry| entry.kind.as_str().trim_start_matches("response.")).collect()
}

pub(crate) fn last_response(entries: &[Entry]) -> protocol::response::Response {
    protocol::snapshot::response(entries).unwrap()
}

pub(crate) async fn run(stage: &Stage, create: Create, words: Vec<ScriptedEvent>) -> Vec<Entry> {
    let script = stage.script();
    let mut started = stage.engine.start(&alice(), create, StartOptions::default()).await.unwrap();
    say(&script, words).await;
    drop(script);
    read(&mut started.feed).await.unwrap()
}

/// A piece of a tool call.
pub(crate) fn call(
    index: u64,
    id: Option<&str>,
    name: Option<&str>,
    arguments: &str,
) -> Result<ModelEvent, ProviderFailure> {
    let (id, name) = (id.map(str::to_owned), name.map(str::to_owned));
    Ok(ModelEvent::ToolCall(ToolCallDelta {
        index,
        id,
        name,
        arguments: arguments.into(),
        ..ToolCallDelta::default()
    }))
}

/// A function without anything but a name.
pub(crate) fn tool(name: &str) -> Tool {
    Tool::Function(FunctionTool {
        name: name.into(),
        description: None,
        parameters: None,
        strict: None,
        extra: Extra::default(),
    })
}
