//! The engine's face: start an answer, read it, stop it, forget it. Every door asks whose it is.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{StreamExt, once};
use protocol::dialect::responses::Lane;
use protocol::fault::{Fault, FaultKind};
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;
use protocol::request::{Create, InputItem};
use protocol::response::{Response, ResponseStatus};
use protocol::snapshot;
use tokio::sync::Notify;

use crate::config::{Config, OnLeave};
use crate::conversation::{Conversation, ConversationError};
use crate::feed::Feed;
use crate::local::Local;
use crate::log::{Log, LogError, LogReader, LogState};
use crate::provider::{Finish, ModelListing, ModelRequest, Models, Provider, Route, Word, Words};
use crate::store::{Claim, Claimed, Found, Record, Removal, Store, StoreError};
use crate::tasks::Tasks;
use crate::turn::{Answer, Cause, Live, Turn};
use crate::{clock, count, id, retention};

/// Runs answers and feeds their readers. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    pub(crate) config: Config,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    models: Arc<dyn Models>,
    pub(crate) tasks: Tasks,
    live: Mutex<HashMap<ResponseId, Arc<Live>>>,
    /// Rung when an answer has ended, so that retention looks at once.
    pub(crate) ended: Notify,
}

/// An answer that runs, or ran before under the same idempotency key.
pub struct Started {
    /// Its id.
    pub id: ResponseId,
    /// A reader that stands at the begin, and counts as present while it lives.
    pub feed: Feed,
}

/// An idempotency key and the request it came with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Idempotency {
    /// The key.
    pub key: String,
    /// SHA-256 of the path and the body.
    pub request: [u8; 32],
}

/// What a start may carry beside the request.
#[derive(Debug, Default)]
pub struct Terms {
    /// The key under which the same request is the same answer.
    pub idempotency: Option<Idempotency>,
    /// The socket it came on, for turns that go on from what only the socket remembers.
    pub socket: Option<Socket>,
    /// Whether the model is left out: the answer is empty and only its id is of use.
    pub warm_up: bool,
}

/// A place on a socket.
#[derive(Clone, Debug)]
pub struct Socket {
    /// What the socket remembers.
    pub local: Arc<Local>,
    /// The lane of the turn.
    pub lane: Lane,
}

/// What is there, for tests and operations.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Census {
    /// Answers that run.
    pub running: usize,
    /// Tasks that run.
    pub tasks: usize,
    /// Bytes of all logs.
    pub log_bytes: u64,
    /// Bytes of all items.
    pub item_bytes: u64,
}

impl Engine {
    /// An engine over a log, a store and models. Starts its retention.
    pub fn new(config: Config, log: Arc<dyn Log>, store: Arc<dyn Store>, models: Arc<dyn Models>, tasks: Tasks) -> Self {
        let live = Mutex::default();
        let shared = Arc::new(Shared { config, log, store, models, tasks, live, ended: Notify::new() });
        shared.tasks.spawn("retention", retention::run(Arc::clone(&shared)));
        Self { shared }
    }

    /// Starts an answer, or finds the one that was started before by the same request under the same key. The answer
    /// exists and runs by itself when this returns; the reader may go at any time.
    ///
    /// # Errors
    /// What is wrong with the request, by its field; too many answers; a log or store that cannot write.
    pub async fn start(&self, owner: &Owner, create: Create, terms: Terms) -> Result<Started, Fault> {
        let Terms { idempotency, socket, warm_up } = terms;
        let route = self.route(&create)?;
        let route = if warm_up { Route { provider: Arc::new(WarmUp), ..route } } else { route };
        let (before, head) = self.before(owner, &create, socket.as_ref()).await?;
        let conversation = Conversation::assemble(&*self.shared.store, owner, before, &create).await.map_err(fault_of)?;

        let id = id::response();
        // A caller that names its request will come back for the answer: it is kept, and leaving does not stop it.
        let keyed = idempotency.is_some();
        let on_leave = match (keyed, create.store || create.background) {
            (true, _) => OnLeave::Finish,
            (false, true) => self.shared.config.on_leave_stored,
            (false, false) => self.shared.config.on_leave_stateless,
        };
        let live = Live::new(id.clone(), on_leave);
        self.admit(&live)?;
        let admitted = Admission { shared: &self.shared, id: Some(&id) };

        let mut writer = self.shared.log.take(&id).map_err(log_fault)?;
        let mut answer = Answer::begin(Response::accepted(id.clone(), clock::unix_seconds(), &create));
        writer.append(&answer.take_entries()).map_err(log_fault)?;
        let input = if create.store { conversation.input } else { Vec::new() };
        let record = Record {
            id: id.clone(),
            owner: owner.clone(),
            store: create.store || keyed,
            readable: create.store,
            input: input.iter().map(|item| item.id().clone()).collect(),
            output: Vec::new(),
            head: if create.store { input.last().map(|item| item.id().clone()).or(head.clone()) } else { None },
            ended_at: None,
        };
        self.shared.store.insert(record, head.filter(|_| create.store), input).await.map_err(store_fault)?;
        if let Some(Idempotency { key, request }) = idempotency {
            let claim = Claim { owner: owner.clone(), key, request };
            match self.shared.store.claim(claim, &id).await.map_err(store_fault)? {
                Claimed::New => {}
                Claimed::Same(first) => return self.again(first),
                Claimed::Other => return Err(key_conflict()),
            }
        }
        admitted.keep();
        let feed = Feed::new(self.shared.log.open(&id).map_err(log_fault)?, 0, Some(live.sit()));
        let request = ModelRequest { create: Arc::new(create), context: conversation.context.into() };
        let limit = self.shared.config.answer_bytes;
        let tasks = self.shared.tasks.clone();
        let remembering = socket.map(|socket| Remembering { socket, before: Arc::clone(&request.context) });
        let turn = Turn { live: Arc::clone(&live), answer, writer, route, request, limit, tasks };
        self.shared.tasks.spawn("turn", run_to_end(Arc::clone(&self.shared), live, turn, remembering));
        Ok(Started { id, feed })
    }

    /// A reader of the answer that starts behind `after`.
    ///
    /// # Errors
    /// No such answer for this caller; a position that the answer does not have.
    pub async fn feed(&self, owner: &Owner, id: &ResponseId, after: Option<u64>) -> Result<Feed, Fault> {
        self.record(owner, id).await?;
        let reader = self.shared.log.open(id).map_err(|_missing| not_found(id))?;
        let committed = reader.progress().borrow().committed;
        let position = after.map_or(0, |after| after.saturating_add(1));
        if position > committed {
            let message = format!("the answer has no event {}; its last is {}", position - 1, committed.saturating_sub(1));
            return Err(Fault::invalid("position_out_of_range", "starting_after", message));
        }
        let seat = self.running(id).map(|live| live.sit());
        Ok(Feed::new(reader, position, seat))
    }

    /// The response as its log has it now.
    ///
    /// # Errors
    /// No such answer for this caller.
    pub async fn response(&self, owner: &Owner, id: &ResponseId) -> Result<Response, Fault> {
        self.record(owner, id).await?;
        self.read(&*self.shared.log.open(id).map_err(|_missing| not_found(id))?).await
    }

    /// Stops an answer if it runs, and gives it as it ended. Doing it twice changes nothing.
    ///
    /// # Errors
    /// No such answer for this caller; a log that cannot take its end.
    pub async fn cancel(&self, owner: &Owner, id: &ResponseId) -> Result<Response, Fault> {
        self.record(owner, id).await?;
        // An answer that is not kept is forgotten when its last reader goes: who stops it is one until it is told the end.
        let seat = self.running(id).map(|live| live.sit());
        let reader = self.shared.log.open(id).map_err(|_missing| not_found(id))?;
        self.stop(id, Cause::Cancelled).await?;
        let response = self.read(&*reader).await;
        drop(seat);
        response
    }

    /// Asks an answer to stop and does not wait: its end comes to its readers as the log has it.
    ///
    /// # Errors
    /// No such answer for this caller.
    pub async fn request_cancel(&self, owner: &Owner, id: &ResponseId) -> Result<(), Fault> {
        self.record(owner, id).await?;
        if let Some(live) = self.running(id) {
            live.stop(Cause::Cancelled);
        }
        Ok(())
    }

    /// Stops an answer if it runs, and forgets it and its text.
    ///
    /// # Errors
    /// No such answer for this caller; a log or store that cannot write.
    pub async fn delete(&self, owner: &Owner, id: &ResponseId) -> Result<(), Fault> {
        self.record(owner, id).await?;
        self.stop(id, Cause::Deleted).await?;
        self.shared.store.remove(id, Removal::Deleted).await.map_err(store_fault)?;
        self.shared.log.remove(id);
        Ok(())
    }

    /// The items that were sent for this answer, with what it continues, oldest first.
    ///
    /// # Errors
    /// No such answer for this caller.
    pub async fn input_items(&self, owner: &Owner, id: &ResponseId) -> Result<Vec<Item>, Fault> {
        let record = self.record(owner, id).await?;
        let Some(last) = record.input.last().or(record.head.as_ref()) else { return Ok(Vec::new()) };
        self.shared.store.path(last).await.map_err(store_fault)
    }

    /// Counts what the model would read, without asking it.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn count_input(&self, owner: &Owner, create: Create) -> Result<u64, Fault> {
        self.route(&create)?;
        let (before, _head) = self.before(owner, &create, None).await?;
        let conversation = Conversation::assemble(&*self.shared.store, owner, before, &create).await.map_err(fault_of)?;
        let counted =
            self.shared.tasks.blocking(move || count::input(&create.model, create.instructions.as_deref(), &conversation.context));
        counted.await.ok_or_else(|| Fault::new(FaultKind::Server, "server_error", "the input could not be counted"))
    }

    /// All models.
    pub async fn models(&self) -> Vec<ModelListing> {
        self.shared.models.list().await
    }

    /// Ends every running answer as shut down.
    pub fn shut_down(&self) {
        self.shared.live().values().for_each(|live| live.stop(Cause::ServerShutdown));
    }

    /// What is there now.
    pub fn census(&self) -> Census {
        Census {
            running: self.shared.live().len(),
            tasks: self.shared.tasks.running(),
            log_bytes: self.shared.log.bytes(),
            item_bytes: self.shared.store.bytes(),
        }
    }

    /// The response as its log has it now.
    async fn read(&self, reader: &dyn LogReader) -> Result<Response, Fault> {
        let progress = *reader.progress().borrow();
        // The terminal event holds the whole response; an answer that still runs is folded from its begin.
        let from = if progress.state == LogState::Ended { progress.committed.saturating_sub(1) } else { 0 };
        let mut entries = Vec::new();
        let mut position = from;
        while position < progress.committed {
            let more = reader.read(position, usize::MAX).await.map_err(log_fault)?;
            position = more.last().map_or(progress.committed, |entry| entry.position + 1);
            entries.extend(more);
        }
        snapshot::response(&entries).ok_or_else(|| log_fault(LogError::Unavailable))
    }

    /// The answer that was started before under the same key.
    fn again(&self, id: ResponseId) -> Result<Started, Fault> {
        let reader = self.shared.log.open(&id).map_err(|_missing| {
            let message = format!("the answer to this Idempotency-Key, {id}, is no longer kept");
            Fault::new(FaultKind::NotFound, "response_expired", message).with_status(410)
        })?;
        let seat = self.running(&id).map(|live| live.sit());
        Ok(Started { id, feed: Feed::new(reader, 0, seat) })
    }

    fn route(&self, create: &Create) -> Result<Route, Fault> {
        let route = self.shared.models.route(&create.model).ok_or_else(|| {
            let message = format!("The model '{}' does not exist. GET /v1/models lists those that do.", create.model);
            Fault::invalid("model_not_found", "model", message).with_status(404)
        })?;
        if let Some(unknown) = create.extra.keys().find(|name| !route.provider.knows(name)) {
            let message = format!("The model '{}' does not know the parameter '{unknown}'.", create.model);
            return Err(Fault::invalid("unknown_parameter", unknown, message));
        }
        Ok(route)
    }

    /// The conversation that the new turn continues, and its head in the tree. What only the socket remembers has none.
    async fn before(&self, owner: &Owner, create: &Create, socket: Option<&Socket>) -> Result<(Vec<Item>, Option<ItemId>), Fault> {
        if let (Some(previous), Some(socket)) = (&create.previous_response_id, socket)
            && let Some(context) = socket.local.context(previous)
            && !self.is_stored(previous).await?
        {
            return Ok((context.to_vec(), None));
        }
        match self.head(owner, create).await? {
            Some(head) => Ok((self.shared.store.path(&head).await.map_err(store_fault)?, Some(head))),
            None => Ok((Vec::new(), None)),
        }
    }

    async fn is_stored(&self, id: &ResponseId) -> Result<bool, Fault> {
        Ok(matches!(self.shared.store.find(id).await.map_err(store_fault)?, Found::Record(record) if record.readable))
    }

    /// Where the new turn goes on.
    async fn head(&self, owner: &Owner, create: &Create) -> Result<Option<ItemId>, Fault> {
        if create.input.iter().any(|input| matches!(input, InputItem::Reference(_))) {
            // Whose item it is, only the store can say: any answer that has just ended may have made it.
            let running: Vec<Arc<Live>> = self.shared.live().values().cloned().collect();
            self.settled(&running).await;
        }
        let Some(previous) = &create.previous_response_id else { return Ok(None) };
        let missing = || {
            let message = format!("Previous response with id '{previous}' not found.");
            Fault::invalid("previous_response_not_found", "previous_response_id", message)
        };
        let mut found = self.shared.store.find(previous).await.map_err(store_fault)?;
        if matches!(&found, Found::Record(record) if record.owner == *owner && record.ended_at.is_none()) {
            self.settled(self.running(previous).as_slice()).await;
            found = self.shared.store.find(previous).await.map_err(store_fault)?;
        }
        match found {
            Found::Record(record) if record.owner == *owner && record.readable => {
                if record.ended_at.is_none() {
                    let message = format!("Previous response '{previous}' still runs: wait for its end, or cancel it.");
                    return Err(Fault { status: 409, ..Fault::invalid("previous_response_in_progress", "previous_response_id", message) });
                }
                Ok(record.head)
            }
            Found::Record(_) | Found::Expired(_) | Found::Missing => Err(missing()),
        }
    }

    /// Waits until the store knows the end of those answers whose log has one: readers hear of it first, and may build
    /// on it at once.
    async fn settled(&self, answers: &[Arc<Live>]) {
        for live in answers {
            if self.shared.log.open(&live.id).is_ok_and(|reader| reader.progress().borrow().state == LogState::Ended) {
                live.recorded().await;
            }
        }
    }

    /// The caller's record. Somebody else's is not there.
    async fn record(&self, owner: &Owner, id: &ResponseId) -> Result<Record, Fault> {
        match self.shared.store.find(id).await.map_err(store_fault)? {
            Found::Record(record) if record.owner == *owner && (record.readable || record.ended_at.is_none()) => Ok(record),
            Found::Expired(expired) if expired == *owner => {
                let message = format!("Response with id '{id}' has expired and is no longer kept.");
                Err(Fault::new(FaultKind::NotFound, "response_expired", message).with_status(410))
            }
            Found::Record(_) | Found::Expired(_) | Found::Missing => Err(not_found(id)),
        }
    }

    fn running(&self, id: &ResponseId) -> Option<Arc<Live>> {
        self.shared.live().get(id).cloned()
    }

    fn admit(&self, live: &Arc<Live>) -> Result<(), Fault> {
        let mut running = self.shared.live();
        if running.len() >= self.shared.config.running {
            let fault = Fault::new(FaultKind::RateLimit, "too_many_answers", "this server runs as many answers as it may; try again soon");
            return Err(Fault { retry_after: Some(1), ..fault });
        }
        running.insert(live.id.clone(), Arc::clone(live));
        Ok(())
    }

    /// Stops an answer and waits for its end to be in the log and in the store.
    async fn stop(&self, id: &ResponseId, cause: Cause) -> Result<(), Fault> {
        let Some(live) = self.running(id) else { return Ok(()) };
        live.stop(cause);
        let mut progress = self.shared.log.open(id).map_err(log_fault)?.progress();
        let seen = progress.wait_for(|progress| progress.state != LogState::Open).await.map(|progress| progress.state);
        match seen {
            Ok(LogState::Ended) => {
                live.recorded().await;
                Ok(())
            }
            Ok(LogState::Open | LogState::Failed) | Err(_) => Err(log_fault(LogError::Unavailable)),
        }
    }
}

impl Shared {
    fn live(&self) -> MutexGuard<'_, HashMap<ResponseId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Takes a place among the running answers back if the answer does not come to run.
struct Admission<'a> {
    shared: &'a Arc<Shared>,
    id: Option<&'a ResponseId>,
}

impl Admission<'_> {
    fn keep(mut self) {
        self.id = None;
    }
}

impl Drop for Admission<'_> {
    fn drop(&mut self) {
        let Some(id) = self.id.cloned() else { return };
        self.shared.live().remove(&id);
        self.shared.log.remove(&id);
        let shared = Arc::clone(self.shared);
        self.shared.tasks.spawn("forget", async move {
            // A store that cannot forget now has at most a record that nobody knows the id of.
            let _forgotten = shared.store.remove(&id, Removal::Forgotten).await;
        });
    }
}

/// What a socket will remember of a turn when it has ended.
struct Remembering {
    socket: Socket,
    before: Arc<[Item]>,
}

impl Remembering {
    fn remember(self, response: &Response) {
        let Socket { local, lane } = self.socket;
        if response.status == ResponseStatus::Failed {
            if let Some(parent) = &response.previous_response_id {
                local.evict(&lane, parent);
            }
            return;
        }
        let context = self.before.iter().chain(&response.output).cloned().collect();
        local.put(lane, response.id.clone(), context);
    }
}

/// The model of a warm-up: it says nothing.
struct WarmUp;

impl Provider for WarmUp {
    fn ask(&self, _request: ModelRequest) -> BoxFuture<'static, Result<Words, Fault>> {
        let nothing = Word::Finish(Finish::Other("warm_up".into()));
        ready(Ok(once(ready(Ok(nothing))).boxed())).boxed()
    }

    fn knows(&self, _parameter: &str) -> bool {
        true
    }
}

/// Runs a turn, writes down how it ended, and forgets it if it is not to be kept.
async fn run_to_end(shared: Arc<Shared>, live: Arc<Live>, turn: Turn, remembering: Option<Remembering>) {
    let ended = turn.run().await;
    if let (Some(remembering), Some(response)) = (remembering, &ended) {
        remembering.remember(response);
    }
    if ended.as_ref().is_some_and(|response| response.status == ResponseStatus::Failed && response.output.is_empty()) {
        // Nothing was made and nothing paid: who comes back with the same key wants another try, not the same refusal. A
        // store that cannot give the key back repeats the refusal, which is safe.
        let _released = shared.store.release(&live.id).await;
    }
    let output = ended.map(|response| response.output).unwrap_or_default();
    let kept = match shared.store.find(&live.id).await {
        Ok(Found::Record(record)) => record.store.then_some(record.readable),
        Ok(Found::Expired(_) | Found::Missing) | Err(_) => None,
    };
    let output = if kept == Some(true) { output } else { Vec::new() };
    if let Err(error) = shared.store.finish(&live.id, output, clock::unix_seconds()).await {
        tracing::error!(response = %live.id, %error, "the end of an answer could not be stored");
    }
    live.record();
    if kept.is_none() {
        live.deserted().await;
        // What cannot be forgotten now, retention finds later.
        let _forgotten = shared.store.remove(&live.id, Removal::Forgotten).await;
        shared.log.remove(&live.id);
    }
    shared.live().remove(&live.id);
    shared.ended.notify_one();
}

fn not_found(id: &ResponseId) -> Fault {
    Fault::new(FaultKind::NotFound, "response_not_found", format!("Response with id '{id}' not found."))
}

fn key_conflict() -> Fault {
    let message = "this Idempotency-Key was used before with another request";
    Fault::new(FaultKind::Conflict, "idempotency_key_reused", message).with_param("Idempotency-Key")
}

fn fault_of(error: ConversationError) -> Fault {
    match error {
        ConversationError::Fault(fault) => fault,
        ConversationError::Store(error) => store_fault(error),
    }
}

fn store_fault(error: StoreError) -> Fault {
    Fault::new(FaultKind::Server, "store_unavailable", error.to_string()).with_status(503)
}

/// The fault of a log that does not do what it was asked.
pub fn log_fault(error: LogError) -> Fault {
    Fault::new(FaultKind::Server, "log_unavailable", error.to_string()).with_status(503)
}
