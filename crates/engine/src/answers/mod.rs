//! The engine's face: start an answer, read it, stop it, forget it. Every door asks whose it is.

pub mod compact;

mod end;
pub mod recover;
mod start;

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use protocol::dialect::StreamId;
use protocol::event::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::id::{Owner, ResponseId};
use protocol::item::Item;
use protocol::request::Create;
use protocol::response::Response;
use protocol::snapshot;
use protocol::trace::TraceContext;
use tokio::sync::{Notify, oneshot};
use tokio_util::sync::CancellationToken;

use crate::config::{Config, OnLeave};
use crate::count::{self, Prompt};
use crate::feed::Feed;
use crate::local::Local;
use crate::log::{Log, LogError, LogReader, LogState};
use crate::metrics::{Exposition, Metrics};
use crate::provider::{ModelListing, Models};
use crate::retention;
use crate::shares::{self, Connected, Ledger, Reservation, Share};
use crate::store::{Expired, Found, Most, Record, Removal, Store, StoreError};
use crate::tasks::Tasks;
use crate::thread::Thread;
use crate::trace::Sink;
use crate::turn::{Cause, Live, Seat};
use crate::upstreams::State;
use crate::workers::Workers;

/// Runs answers and feeds their readers. Cheap to clone.
#[derive(Clone)]
pub struct Engine {
    pub(crate) shared: Arc<Shared>,
}

pub(crate) struct Shared {
    config: RwLock<Config>,
    pub(crate) log: Arc<dyn Log>,
    pub(crate) store: Arc<dyn Store>,
    pub(crate) models: Arc<dyn Models>,
    pub(crate) metrics: Arc<Metrics>,
    /// Who takes the traces away, if anybody does.
    pub(crate) traces: OnceLock<Arc<dyn Sink>>,
    pub(crate) tasks: Tasks,
    /// Ends the pass-through calls that still run when the server shuts down.
    pub(crate) shut_down: CancellationToken,
    live: Mutex<HashMap<ResponseId, Arc<Live>>>,
    /// What each caller has in hand.
    pub(crate) ledger: Arc<Ledger>,
    /// Work on requests that takes long.
    pub(crate) workers: Workers,
    /// Set once nothing new may begin: after how many seconds to ask again.
    draining: OnceLock<u64>,
    /// Rung when an answer has ended, so that retention looks at once.
    pub(crate) ended: Notify,
}

/// An answer that runs, or ran before under the same idempotency key.
pub struct Started {
    /// Its id.
    pub id: ResponseId,
    /// A reader that stands at the begin, and counts as present while it lives.
    pub feed: Feed,
    /// The fields of the request, by path, that have no effect here.
    pub ignored: Vec<String>,
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
    /// The named conversation that it is a turn of. It goes before a `previous_response_id`.
    pub thread: Option<Thread>,
    /// What happens when its last reader leaves, where that is not for the settings to say.
    pub on_leave: Option<OnLeave>,
    /// Where in a trace the client stands.
    pub trace: Option<TraceContext>,
    /// The bytes that were taken for the request; they are given back with the response.
    pub bytes: Option<Reservation>,
}

/// A place on a socket.
#[derive(Clone, Debug)]
pub struct Socket {
    /// What the socket remembers.
    pub local: Arc<Local>,
    /// The lane of the turn.
    pub lane: StreamId,
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
        let ledger = Arc::new(Ledger::default());
        ledger.configure(config.memory_bytes, config.shares.clone());
        let workers = Workers::new(tasks.clone());
        let (config, metrics, traces) = (RwLock::new(config), Arc::default(), OnceLock::new());
        let (live, draining, shut_down) = (Mutex::default(), OnceLock::new(), CancellationToken::new());
        let ended = Notify::new();
        let shared =
            Arc::new(Shared { config, log, store, models, metrics, traces, tasks, shut_down, live, ledger, workers, draining, ended });
        shared.tasks.spawn("retention", retention::run(Arc::clone(&shared)));
        Self { shared }
    }

    /// Gives the spans of every answer that starts from now on to `sink`. To be called once; later calls change nothing.
    pub fn trace_to(&self, sink: Arc<dyn Sink>) {
        self.shared.traces.get_or_init(|| sink);
    }

    /// Writes down what was counted and measured.
    pub fn write_metrics(&self, text: &mut Exposition) {
        self.shared.metrics.write(self.census(), text);
        self.shared.ledger.write_metrics(text);
        self.shared.models.write_metrics(text);
        if let Some(sink) = self.shared.traces.get() {
            sink.write_metrics(text);
        }
    }

    /// A reader of the answer that starts behind `after`.
    ///
    /// # Errors
    /// No such answer for this caller; a position that the answer does not have.
    pub async fn feed(&self, owner: &Owner, id: &ResponseId, after: Option<u64>) -> Result<Feed, Fault> {
        self.record(owner, id).await?;
        let reader = self.open(owner, id).await?;
        let committed = reader.progress().borrow().committed;
        let position = after.map_or(0, |after| after.saturating_add(1));
        if position > committed {
            let message = format!("the answer has no event {}; its last is {}", position - 1, committed.saturating_sub(1));
            return Err(Fault::invalid("position_out_of_range", "starting_after", message));
        }
        let seat = self.running(id).map(|live| live.sit());
        Ok(self.cursor(reader, position, seat))
    }

    /// The response as its log has it now.
    ///
    /// # Errors
    /// No such answer for this caller.
    pub async fn response(&self, owner: &Owner, id: &ResponseId) -> Result<Response, Fault> {
        self.record(owner, id).await?;
        let reader = self.open(owner, id).await?;
        match self.read(&*reader).await {
            Ok(response) => Ok(response),
            Err(error) => Err(self.why(owner, id, error).await),
        }
    }

    /// Stops an answer if it runs, and gives it as it ended. Doing it twice changes nothing.
    ///
    /// # Errors
    /// No such answer for this caller; a log that cannot take its end.
    pub async fn cancel(&self, owner: &Owner, id: &ResponseId) -> Result<Response, Fault> {
        self.record(owner, id).await?;
        // An answer that is not kept is forgotten when its last reader goes: who stops it is one until it is told the end.
        let seat = self.running(id).map(|live| live.sit());
        let reader = self.open(owner, id).await?;
        self.stop(id, Cause::Cancelled).await?;
        let response = self.read(&*reader).await;
        drop(seat);
        match response {
            Ok(response) => Ok(response),
            Err(error) => Err(self.why(owner, id, error).await),
        }
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
        let (shared, id, (done, told)) = (Arc::clone(&self.shared), id.clone(), oneshot::channel());
        // Once begun it is done to the end, whether or not its caller waits for that.
        self.shared.tasks.spawn("delete", async move {
            let _caller_has_left = done.send(erase(&shared, &id).await);
        });
        told.await.unwrap_or_else(|_panicked| Err(store_fault(StoreError::Unavailable)))
    }

    /// The items that were sent for this answer, with what it continues, oldest first.
    ///
    /// # Errors
    /// No such answer for this caller.
    pub async fn input_items(&self, owner: &Owner, id: &ResponseId) -> Result<Vec<Item>, Fault> {
        let record = self.record(owner, id).await?;
        let Some(last) = record.input.last().or(record.head.as_ref()) else { return Ok(Vec::new()) };
        self.shared.store.path(last, self.most()).await.map_err(store_fault)
    }

    /// Counts what the model would read, without asking it.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn count_input(&self, owner: &Owner, mut create: Create) -> Result<u64, Fault> {
        self.route(&create)?;
        let mut bytes = self.take_bytes(owner, 0)?;
        let context = self.conversation(owner, &mut create, None, &mut bytes).await?.context;
        let counted = self.work(owner, move || count::input(&Prompt::from(&create), &context));
        counted.await.ok_or_else(|| Fault::new(FaultKind::Server, "server_error", "the input could not be counted"))
    }

    /// Counts a text as the one message of a question, by the vocabulary of `model`.
    ///
    /// # Errors
    /// The counting failed.
    pub async fn count_question(&self, owner: &Owner, model: String, text: String) -> Result<u64, Fault> {
        let counted = self.work(owner, move || count::question(&model, &text));
        counted.await.ok_or_else(|| Fault::new(FaultKind::Server, "server_error", "the question could not be counted"))
    }

    /// How the upstreams are.
    pub fn upstreams(&self) -> Vec<State> {
        self.shared.models.upstreams()
    }

    /// All models.
    pub async fn models(&self) -> Vec<ModelListing> {
        self.shared.models.list().await
    }

    /// Obeys other settings from now on. Answers that run keep those they began under.
    pub fn configure(&self, config: Config) {
        self.shared.ledger.configure(config.memory_bytes, config.shares.clone());
        *self.shared.config.write().unwrap_or_else(PoisonError::into_inner) = config;
    }

    /// Begins nothing new any more: whoever asks is told to come back after `retry`. What runs goes on, and everything
    /// there is can be read, resumed and cancelled.
    pub fn drain(&self, retry: Duration) {
        let seconds = retry.as_secs() + u64::from(retry.subsec_nanos() > 0);
        // Who drains a second time changes nothing.
        let _first = self.shared.draining.set(seconds.max(1));
    }

    /// What whoever begins something new is told while the server drains.
    pub fn draining(&self) -> Option<Fault> {
        let retry_after = self.shared.draining.get().copied()?;
        let message = "This server is about to stop: ask again in a moment.";
        let fault = Fault::new(FaultKind::Server, "server_draining", message).with_status(503);
        Some(Fault { retry_after: Some(retry_after), ..fault })
    }

    /// Ends every running answer and every pass-through call as shut down. Gives their number.
    pub fn shut_down(&self) -> usize {
        let live = self.shared.live();
        live.values().for_each(|live| live.stop(Cause::ServerShutdown));
        self.shared.shut_down.cancel();
        live.len() + self.shared.passing()
    }

    /// Takes bytes for something that `owner` sends, before it is read.
    ///
    /// # Errors
    /// 503 where all callers together have too much in hand, 429 where this one has.
    pub fn take_bytes(&self, owner: &Owner, bytes: u64) -> Result<Reservation, Fault> {
        self.shared.ledger.take(owner, bytes)
    }

    /// Counts a connection on which `owner` calls; 429 where this caller has as many open as may.
    pub fn connect(&self, owner: &Owner) -> Result<Connected, Fault> {
        self.shared.ledger.connect(owner)
    }

    /// What each caller has in hand, of those who have anything.
    pub fn usage_by_caller(&self) -> Vec<shares::Usage> {
        self.shared.ledger.usage()
    }

    /// Runs work on a request that takes long, off the runtime's threads and in its caller's turn. `None` if it panicked.
    pub async fn work<T: Send + 'static>(&self, owner: &Owner, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        self.shared.workers.run(owner, work).await
    }

    /// What `owner` may have of the server; `None` where nobody else could have it.
    pub fn share(&self, owner: &Owner) -> Option<Share> {
        self.shared.ledger.share(owner)
    }

    /// Whose responses run.
    pub fn owners(&self) -> HashSet<Owner> {
        let mut owners = HashSet::new();
        for live in self.shared.live().values() {
            if !owners.contains(&live.owner) {
                owners.insert(live.owner.clone());
            }
        }
        owners
    }

    /// Stops every response of an owner whose key was revoked, and does not wait. Gives their number.
    pub fn revoke(&self, owner: &Owner) -> usize {
        let live = self.shared.live();
        let of_owner = live.values().filter(|live| live.owner == *owner);
        of_owner.map(|live| live.stop(Cause::KeyRevoked)).count()
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

    /// How many responses this caller may run at once, and how many more may start now.
    pub fn capacity(&self, owner: &Owner) -> (usize, usize) {
        let limit = self.shared.config().running;
        let free = limit.saturating_sub(self.shared.live().len());
        match self.shared.ledger.running(owner) {
            Some((own, running)) => (limit.min(own), free.min(own.saturating_sub(running))),
            None => (limit, free),
        }
    }

    /// The log of an answer whose record was just there.
    async fn open(&self, owner: &Owner, id: &ResponseId) -> Result<Box<dyn LogReader>, Fault> {
        match self.shared.log.open(id).await {
            Ok(reader) => Ok(reader),
            Err(error) => Err(self.why(owner, id, error).await),
        }
    }

    /// Why the log of an answer cannot be read whose record was just there.
    async fn why(&self, owner: &Owner, id: &ResponseId, error: LogError) -> Fault {
        match error {
            // It went meanwhile: its record says whether it has expired or was deleted.
            LogError::Missing => self.record(owner, id).await.err().unwrap_or_else(|| not_found(id)),
            LogError::Fenced | LogError::Ended | LogError::Gap | LogError::Unavailable => log_fault(error),
        }
    }

    /// The response as its log has it now.
    async fn read(&self, reader: &dyn LogReader) -> Result<Response, LogError> {
        let mut progress = reader.progress();
        // Its first entries were appended before anybody was told its id, but a log may be slow to commit them.
        drop(progress.wait_for(|progress| progress.committed > 0 || progress.state != LogState::Open).await);
        let progress = *progress.borrow();
        // The terminal event holds the whole response; an answer that still runs is folded from its begin.
        let from = if progress.state == LogState::Ended { progress.committed.saturating_sub(1) } else { 0 };
        let entries = entries(reader, from, progress.committed).await?;
        snapshot::response(&entries).ok_or(LogError::Unavailable)
    }

    /// The caller's record. Somebody else's is not there.
    async fn record(&self, owner: &Owner, id: &ResponseId) -> Result<Record, Fault> {
        match self.shared.store.find(id).await.map_err(store_fault)? {
            Found::Record(record) if record.owner == *owner && (record.readable || record.ended_at.is_none()) => Ok(record),
            Found::Expired(Expired { owner: expired, items_left }) if expired == *owner => {
                let left = match items_left {
                    0 => "Nothing of it is left.".to_owned(),
                    _ => format!("{items_left} of its items are left, as a part of the responses that continue it."),
                };
                let message = format!("Response with id '{id}' has expired and is no longer kept. {left}");
                Err(Fault::new(FaultKind::NotFound, "response_expired", message).with_status(410))
            }
            Found::Record(_) | Found::Expired(_) | Found::Missing => Err(not_found(id)),
        }
    }

    /// How much of a conversation is loaded.
    fn most(&self) -> Most {
        let config = self.shared.config();
        Most { items: config.context_items, bytes: config.context_bytes }
    }

    fn cursor(&self, reader: Box<dyn LogReader>, position: u64, seat: Option<Seat>) -> Feed {
        Feed::new(reader, position, seat, self.shared.metrics.readers.hold())
    }

    fn running(&self, id: &ResponseId) -> Option<Arc<Live>> {
        self.shared.live().get(id).cloned()
    }

    /// Stops an answer and waits for its end to be in the log and in the store.
    async fn stop(&self, id: &ResponseId, cause: Cause) -> Result<(), Fault> {
        let Some(live) = self.running(id) else { return Ok(()) };
        live.stop(cause);
        // One that is not kept may have ended and gone meanwhile.
        let Ok(reader) = self.shared.log.open(id).await else { return Ok(()) };
        let mut progress = reader.progress();
        let seen = progress.wait_for(|progress| progress.state != LogState::Open).await.map(|progress| progress.state);
        match seen {
            Ok(LogState::Ended) => {
                // A store that cannot take the end now gets it later; the answer has ended all the same.
                let _recorded = live.recorded().await;
                Ok(())
            }
            Ok(LogState::Open | LogState::Failed) | Err(_) => Err(log_fault(LogError::Unavailable)),
        }
    }
}

/// Takes an answer and its text away. The record first: nobody finds the answer any more, and a log that cannot go now is
/// found by the next start.
async fn erase(shared: &Shared, id: &ResponseId) -> Result<(), Fault> {
    shared.store.remove(id, Removal::Deleted).await.map_err(store_fault)?;
    shared.log.remove(id).await.map_err(log_fault)
}

/// What a log holds from one position up to another, which is committed.
async fn entries(reader: &dyn LogReader, from: u64, to: u64) -> Result<Vec<Entry>, LogError> {
    let mut entries: Vec<Entry> = Vec::new();
    let mut position = from;
    while position < to {
        let more = reader.read(position, usize::MAX).await?;
        position = more.last().ok_or(LogError::Missing)?.position + 1;
        entries.extend(more);
    }
    Ok(entries)
}

impl Shared {
    /// The settings in force.
    pub(crate) fn config(&self) -> Config {
        self.config.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// How many pass-through calls run.
    fn passing(&self) -> usize {
        usize::try_from(self.metrics.passing.get()).unwrap_or(usize::MAX)
    }

    fn live(&self) -> MutexGuard<'_, HashMap<ResponseId, Arc<Live>>> {
        self.live.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn not_found(id: &ResponseId) -> Fault {
    Fault::new(FaultKind::NotFound, "response_not_found", format!("Response with id '{id}' not found."))
}

pub(crate) fn store_fault(error: StoreError) -> Fault {
    if error == StoreError::TooLarge {
        let message = "The conversation is larger than this server loads (engine.context_bytes, engine.context_items): start a new one, or compact it.";
        return Fault::invalid("conversation_too_large", "previous_response_id", message);
    }
    Fault::new(FaultKind::Server, "store_unavailable", error.to_string()).with_status(503)
}

/// The fault of a log that does not do what it was asked.
pub fn log_fault(error: LogError) -> Fault {
    Fault::new(FaultKind::Server, "log_unavailable", error.to_string()).with_status(503)
}
