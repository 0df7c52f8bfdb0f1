//! How an answer starts: what it continues, whether it was asked for before, whether there is room, and then its first
//! entries, its record and its task.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{StreamExt, once};
use protocol::fault::{Fault, FaultKind};
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;
use protocol::request::{Create, InputItem};
use protocol::response::Response;
use protocol::trace::TraceContext;

use super::end::{Remembering, run_to_end};
use super::{Engine, Shared, Socket, Started, Terms, log_fault, store_fault};
use crate::config::OnLeave;
use crate::conversation::{Conversation, ConversationError, Stored};
use crate::count::Prompt;
use crate::log::{Life, LogError, LogReader, LogState};
use crate::metrics::{Held, Meter};
use crate::provider::{Call, Failure, Finish, Leg, ModelRequest, Provider, Route, Word, Words};
use crate::shares::{Reservation, Running};
use crate::store::{Claim, Claimed, Found, Most, Record, Removal};
use crate::thread::{Thread, Window};
use crate::turn::{Answer, Live, Trace, Turn};
use crate::workers::QUICK;
use crate::{clock, id};

/// What a new turn stands in.
pub(super) struct Setting {
    /// Everything the model will see.
    pub(super) context: Vec<Item>,
    /// What of it goes into the tree, if the turn is stored.
    pub(super) stored: Stored,
    /// Where in the tree it goes on.
    pub(super) head: Option<ItemId>,
}

/// What ties a turn to whoever asked for it.
pub(super) struct Ties {
    /// The key it will come back with.
    pub(super) claim: Option<Claim>,
    /// The socket that remembers it.
    pub(super) socket: Option<Socket>,
    /// The conversation that goes on from it.
    pub(super) thread: Option<Thread>,
    /// What happens when nobody reads it any more.
    pub(super) on_leave: OnLeave,
    /// Where in a trace they stand.
    pub(super) trace: Option<TraceContext>,
    /// The bytes that were taken for it.
    pub(super) bytes: Reservation,
}

impl Engine {
    /// Starts an answer, or finds the one that was started before by the same request under the same key. The answer
    /// exists and runs by itself when this returns; the reader may go at any time.
    ///
    /// # Errors
    /// What is wrong with the request, by its field; too many answers; a log or store that cannot write.
    pub async fn start(&self, owner: &Owner, create: Create, terms: Terms) -> Result<Started, Fault> {
        let Terms { idempotency, socket, warm_up, thread, on_leave, trace, bytes } = terms;
        let mut bytes = bytes.map_or_else(|| self.take_bytes(owner, 0), Ok)?;
        let claim = idempotency.map(|asked| Claim { owner: owner.clone(), key: asked.key, request: asked.request });
        if let Some(claim) = &claim
            && let Some(first) = self.claimed(claim).await?
        {
            return self.again(first).await;
        }
        let (route, mut ignored) = self.route(&create)?;
        ignored.splice(0..0, create.ignored.iter().cloned());
        let route = if warm_up { warm_up_route(&route) } else { route };
        let mut create = match &thread {
            Some(thread) => Create { previous_response_id: self.last_of(owner, thread).await?, ..create },
            None => create,
        };
        let mut setting = self.conversation(owner, &mut create, socket.as_ref(), &mut bytes).await?;
        if let Some(thread) = &thread {
            setting.context = self.seen(owner, thread.window, &create, setting.context).await?;
        }
        let on_leave = on_leave.or(create.on_leave).unwrap_or_else(|| self.on_leave(&route, &create, claim.is_some()));
        let started = self.run(owner, create, route, setting, Ties { claim, socket, thread, on_leave, trace, bytes }).await?;
        Ok(Started { ignored, ..started })
    }

    /// Starts an answer of which everything is known.
    pub(super) async fn run(&self, owner: &Owner, create: Create, route: Route, setting: Setting, ties: Ties) -> Result<Started, Fault> {
        let Ties { claim, socket, thread, on_leave, trace, bytes } = ties;
        let meter = Meter::new(Arc::clone(&self.shared.metrics), &route, &create.model);
        let trace = Trace::begin(self.shared.traces.get().cloned(), trace);
        let id = id::response();
        let live = Live::new(id.clone(), owner.clone(), on_leave, thread.map(|thread| thread.name));
        let place = self.admit(&live)?;
        let admitted = Admission { shared: &self.shared, id: Some(&id) };
        let life = if create.store || claim.is_some() { Life::Kept } else { Life::Fleeting };
        let mut writer = self.shared.log.take(&id, life).map_err(log_fault)?;
        let Setting { context, stored, head } = setting;
        let begin = {
            let (response, now) = (id.clone(), clock::unix_seconds());
            move || {
                let input = if create.store { stored.of(&context) } else { Vec::new() };
                let answer = Answer::begin(Response::accepted(response, now, &create));
                (create, context, input, answer)
            }
        };
        let begun = self.work_sized(owner, bytes.bytes(), begin).await;
        let (create, context, input, mut answer) = begun.ok_or_else(|| failed("the response could not be started"))?;
        writer.append(&answer.take_entries()).map_err(log_fault)?;
        let record = record(&id, owner, &create, claim.is_some(), head, &input);
        self.insert(record, input, bytes.bytes()).await?;
        if let Some(claim) = claim {
            match self.shared.store.claim(claim, &id).await.map_err(store_fault)? {
                Claimed::New => {}
                // Two of the same came at once, and the other was first.
                Claimed::Same(first) => return self.again(first).await,
                Claimed::Other => return Err(key_conflict()),
            }
        }
        let reader = self.shared.log.open(&id).await.map_err(log_fault)?;
        is_begun(&*reader).await.map_err(log_fault)?;
        admitted.keep();

        let feed = self.cursor(reader, 0, Some(live.sit()));
        let request = ModelRequest { create: Arc::new(create), model: None, context: context.into(), call: Call::default() };
        let remembering = match socket {
            Some(socket) => Some(Remembering { socket, before: Arc::clone(&request.context), bytes: self.take_bytes(owner, 0)? }),
            None => None,
        };
        let limit = self.shared.config().answer_bytes;
        let (tasks, workers) = (self.shared.tasks.clone(), Arc::clone(&self.shared.workers));
        let (leg, running) = (None, Arc::clone(&live));
        let turn = Turn { live: running, answer, writer, route, leg, request, limit, meter, trace, tasks, workers, bytes, _place: place };
        self.shared.tasks.spawn("turn", run_to_end(Arc::clone(&self.shared), live, turn, remembering));
        Ok(Started { id, feed, ignored: Vec::new() })
    }

    /// Puts the record and the new items into the store. Of each caller one large request at a time is written.
    async fn insert(&self, record: Record, input: Vec<Item>, bytes: u64) -> Result<(), Fault> {
        let _turn = if bytes > QUICK { self.shared.workers.turn(&record.owner).await } else { None };
        self.shared.store.insert(record, input).await.map_err(store_fault)
    }

    /// A caller that names its request will come back for the answer: it is kept, and leaving does not stop it.
    pub(super) fn on_leave(&self, route: &Route, create: &Create, keyed: bool) -> OnLeave {
        match (keyed || create.background, create.store) {
            (true, _) => OnLeave::Finish,
            (false, _) if route.on_leave.is_some() => route.on_leave.unwrap_or(OnLeave::Finish),
            (false, true) => self.shared.config().on_leave_stored,
            (false, false) => self.shared.config().on_leave_stateless,
        }
    }

    /// The answer that the same request was given before.
    async fn claimed(&self, claim: &Claim) -> Result<Option<ResponseId>, Fault> {
        if let Claimed::Same(first) = self.shared.store.claimed(claim).await.map_err(store_fault)? {
            // An answer that has just failed may be about to give its key back.
            self.settled(self.running(&first)).await?;
        }
        match self.shared.store.claimed(claim).await.map_err(store_fault)? {
            Claimed::New => Ok(None),
            Claimed::Same(first) => Ok(Some(first)),
            Claimed::Other => Err(key_conflict()),
        }
    }

    /// A reader of the answer that was started before under the same key.
    async fn again(&self, id: ResponseId) -> Result<Started, Fault> {
        let reader = self.shared.log.open(&id).await.map_err(|error| match error {
            LogError::Missing => {
                let message = format!("The answer to this Idempotency-Key, {id}, is no longer kept.");
                Fault::new(FaultKind::NotFound, "response_expired", message).with_status(410)
            }
            LogError::Fenced | LogError::Ended | LogError::Gap | LogError::Unavailable => log_fault(error),
        })?;
        is_begun(&*reader).await.map_err(log_fault)?;
        let seat = self.running(&id).map(|live| live.sit());
        Ok(Started { id, feed: self.cursor(reader, 0, seat), ignored: Vec::new() })
    }

    /// Where the model leads, and what of the request has no effect there.
    pub(super) fn route(&self, create: &Create) -> Result<(Route, Vec<String>), Fault> {
        let route = self.shared.models.route(&create.model).ok_or_else(|| {
            let message = format!("The model '{}' does not exist. GET /v1/models lists those that do.", create.model);
            Fault::invalid("model_not_found", "model", message).with_status(404)
        })?;
        able(route, create)
    }

    /// The conversation that the new turn stands in. The request's input goes over into it.
    pub(super) async fn conversation(
        &self,
        owner: &Owner,
        create: &mut Create,
        socket: Option<&Socket>,
        bytes: &mut Reservation,
    ) -> Result<Setting, Fault> {
        let previous = create.previous_response_id.as_ref();
        if let Some(previous) = previous {
            self.settled(self.running(previous)).await?;
        }
        let remembered = match (previous, socket) {
            (Some(previous), Some(socket)) if !self.is_stored(previous).await? => socket.local.context(previous),
            _ => None,
        };
        let is_remembered = remembered.is_some();
        let (before, head) = match remembered {
            Some(context) => (context.to_vec(), None),
            None => self.before(owner, previous).await?,
        };
        let most = self.most();
        let most = before.iter().try_fold(most, |most, item| most.without(item.weight())).map_err(store_fault)?;
        let conversation = self.assemble(owner, before, create, most).await?;
        bytes.grow(conversation.context.iter().map(|item| item.weight() as u64).sum())?;
        // What only a socket remembers is in no tree: a stored turn that continues it takes all of it along.
        let stored = if is_remembered { Stored::Copies } else { Stored::From(conversation.new) };
        Ok(Setting { context: conversation.context, stored, head })
    }

    async fn assemble(&self, owner: &Owner, before: Vec<Item>, create: &mut Create, most: Most) -> Result<Conversation, Fault> {
        let new = std::mem::take(&mut create.input);
        // Items that only their references name are looked for, and perhaps once more.
        let has_references = new.iter().any(|item| matches!(item, InputItem::Reference(_)));
        if !has_references {
            return Conversation::assemble(&*self.shared.store, owner, before, new, most).await.map_err(told);
        }
        match Conversation::assemble(&*self.shared.store, owner, before.clone(), new.clone(), most).await {
            Err(ConversationError::NoSuchItem(_)) => {
                // An answer of this caller that has just ended may be about to put the item into the store.
                let running: Vec<Arc<Live>> = self.shared.live().values().filter(|live| live.owner == *owner).cloned().collect();
                for live in running {
                    self.settled(Some(live)).await?;
                }
                Conversation::assemble(&*self.shared.store, owner, before, new, most).await
            }
            assembled => assembled,
        }
        .map_err(told)
    }

    async fn is_stored(&self, id: &ResponseId) -> Result<bool, Fault> {
        Ok(matches!(self.shared.store.find(id).await.map_err(store_fault)?, Found::Record(record) if record.readable))
    }

    /// The path in the tree that the new turn continues, and its head.
    async fn before(&self, owner: &Owner, previous: Option<&ResponseId>) -> Result<(Vec<Item>, Option<ItemId>), Fault> {
        let Some(previous) = previous else { return Ok((Vec::new(), None)) };
        let head = match self.shared.store.find(previous).await.map_err(store_fault)? {
            Found::Record(record) if record.owner == *owner && record.readable => {
                if record.ended_at.is_none() {
                    let message = format!("Previous response '{previous}' still runs: wait for its end, or cancel it.");
                    return Err(Fault { status: 409, ..Fault::invalid("previous_response_in_progress", "previous_response_id", message) });
                }
                record.head
            }
            Found::Record(_) | Found::Expired(_) | Found::Missing => {
                let message = format!("Previous response with id '{previous}' not found.");
                return Err(Fault::invalid("previous_response_not_found", "previous_response_id", message));
            }
        };
        match head {
            Some(head) => Ok((self.shared.store.path(&head, self.most()).await.map_err(store_fault)?, Some(head))),
            None => Ok((Vec::new(), None)),
        }
    }

    /// What of a conversation the model is shown.
    async fn seen(&self, owner: &Owner, window: Window, create: &Create, context: Vec<Item>) -> Result<Vec<Item>, Fault> {
        let create = create.clone();
        let cut = self.work(owner, move || window.cut(&Prompt::from(&create), context));
        cut.await.ok_or_else(|| failed("the conversation could not be counted"))
    }

    /// The answer that the next turn of a thread continues; `None` where it begins anew.
    async fn last_of(&self, owner: &Owner, thread: &Thread) -> Result<Option<ResponseId>, Fault> {
        let is_its = |live: &&Arc<Live>| live.owner == *owner && live.thread.as_ref() == Some(&thread.name);
        let running: Vec<Arc<Live>> = self.shared.live().values().filter(is_its).cloned().collect();
        for live in running {
            self.settled(Some(live)).await?;
        }
        let Some(last) = self.shared.head(owner, thread).await? else { return Ok(None) };
        // Somebody may have deleted it by its id, or retention have taken it: what cannot be continued is forgotten.
        Ok(self.is_stored(&last).await?.then_some(last))
    }

    /// Waits until the store knows the end of an answer whose log has one: readers hear of it first, and may build on it
    /// at once.
    async fn settled(&self, live: Option<Arc<Live>>) -> Result<(), Fault> {
        let Some(live) = live else { return Ok(()) };
        let reader = self.shared.log.open(&live.id).await;
        if reader.is_ok_and(|reader| reader.progress().borrow().state == LogState::Ended) {
            live.recorded().await.map_err(store_fault)?;
        }
        Ok(())
    }

    fn admit(&self, live: &Arc<Live>) -> Result<Running, Fault> {
        let mut running = self.shared.live();
        self.room(running.len())?;
        let place = self.shared.ledger.run(&live.owner)?;
        running.insert(live.id.clone(), Arc::clone(live));
        Ok(place)
    }

    /// Admits a pass-through call, which counts as one of those that run for as long as what this gives lives.
    ///
    /// # Errors
    /// As many run as may, or the server drains.
    pub(crate) fn admit_passthrough(&self, owner: &Owner) -> Result<(Held, Running), Fault> {
        let running = self.shared.live();
        self.room(running.len())?;
        let place = self.shared.ledger.run(owner)?;
        Ok((self.shared.metrics.passing.hold(), place))
    }

    /// Whether another may run beside so many answers. To be called under their lock: what is admitted before a drain is seen
    /// by it.
    fn room(&self, running: usize) -> Result<(), Fault> {
        if let Some(fault) = self.draining() {
            return Err(fault);
        }
        if running + self.shared.passing() >= self.shared.config().running {
            let fault = Fault::new(FaultKind::RateLimit, "too_many_answers", "This server runs as many answers as it may; try again soon.");
            return Err(Fault { retry_after: Some(1), ..fault });
        }
        Ok(())
    }
}

fn told(error: ConversationError) -> Fault {
    match error {
        ConversationError::NoSuchItem(fault) | ConversationError::Fault(fault) => fault,
        ConversationError::Store(error) => store_fault(error),
    }
}

/// Waits until the first entries are safe: whoever is told the id will find the answer, whatever happens then.
async fn is_begun(reader: &dyn LogReader) -> Result<(), LogError> {
    let mut progress = reader.progress();
    let begun = progress.wait_for(|progress| progress.committed > 0 || progress.state == LogState::Failed).await;
    match begun.map(|progress| progress.state) {
        Ok(LogState::Open | LogState::Ended) => Ok(()),
        Ok(LogState::Failed) => Err(LogError::Unavailable),
        Err(_removed) => Err(LogError::Missing),
    }
}

/// The record of a new answer, with the items that go into the tree with it.
fn record(id: &ResponseId, owner: &Owner, create: &Create, keyed: bool, head: Option<ItemId>, input: &[Item]) -> Record {
    let parent = head.filter(|_| create.store);
    Record {
        id: id.clone(),
        owner: owner.clone(),
        store: create.store || keyed,
        readable: create.store,
        head: input.last().map(|item| item.id().clone()).or_else(|| parent.clone()),
        input: input.iter().map(|item| item.id().clone()).collect(),
        output: Vec::new(),
        parent,
        ended_at: None,
    }
}

/// Work on a request that did not come to its end.
fn failed(message: &str) -> Fault {
    Fault::new(FaultKind::Server, "server_error", message)
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
        let shared = Arc::clone(self.shared);
        self.shared.tasks.spawn("forget", async move {
            // What cannot be forgotten now nobody knows the id of, and the next start finds it.
            let _forgotten = shared.store.remove(&id, Removal::Forgotten).await;
            let _forgotten = shared.log.remove(&id).await;
        });
    }
}

/// The route without the legs that cannot serve the request, and what the first of the others leaves out of it.
///
/// # Errors
/// No leg can: what the first of them lacks.
fn able(mut route: Route, create: &Create) -> Result<(Route, Vec<String>), Fault> {
    let (mut legs, mut ignored, mut first) = (Vec::new(), None, None);
    for leg in &*route.legs {
        match leg.provider.check(create) {
            Ok(left_out) => {
                legs.push(leg.clone());
                ignored.get_or_insert(left_out);
            }
            Err(fault) => first = first.or(Some(fault)),
        }
    }
    match first {
        Some(fault) if legs.is_empty() => Err(fault),
        _ => {
            route.legs = legs.into();
            Ok((route, ignored.unwrap_or_default()))
        }
    }
}

/// The route of a warm-up: the model that says nothing.
fn warm_up_route(route: &Route) -> Route {
    let legs = route.legs.iter().take(1).map(|leg| Leg { provider: Arc::new(WarmUp), ..leg.clone() });
    Route { legs: legs.collect(), ..route.clone() }
}

/// The model of a warm-up: it says nothing.
struct WarmUp;

impl Provider for WarmUp {
    fn ask(&self, _request: ModelRequest) -> BoxFuture<'static, Result<Words, Failure>> {
        let nothing = Word::Finish(Finish::Stop);
        ready(Ok(once(ready(Ok(nothing))).boxed())).boxed()
    }

    fn check(&self, _create: &Create) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}

fn key_conflict() -> Fault {
    let message = "This Idempotency-Key was used before with another request.";
    Fault::new(FaultKind::Conflict, "idempotency_key_reused", message).with_param("Idempotency-Key")
}
