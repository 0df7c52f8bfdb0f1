//! How a response starts: its idempotency key, its route, its conversation and its place; then its
//! first entries, its record and its task.

use std::sync::Arc;

use protocol::fault::{Fault, FaultKind};
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;
use protocol::on_leave::OnLeave;
use protocol::request::Create;
use protocol::response::Response;
use protocol::trace::TraceContext;
use tokio::time::Instant;

use super::admission::Admission;
use super::builder::ResponseBuilder;
use super::context::{Previous, TurnInput};
use super::end::{Remembering, run_to_end};
use super::fault::{log_fault, store_fault};
use super::handle::RunningResponse;
use super::meter::Meter;
use super::options::{SocketContext, StartOptions};
use super::run::Turn;
use super::spans::Trace;
use super::warm_up;
use crate::conversation::named::Conversation;
use crate::engine::Engine;
use crate::feed::Feed;
use crate::log::{LogError, LogReader, LogState};
use crate::provider::call::UpstreamCall;
use crate::provider::request::ModelRequest;
use crate::provider::route::Route;
use crate::shares::Reservation;
use crate::storage::{Backend, Keeping};
use crate::store::{Claimed, IdempotencyClaim, ResponseRecord};
use crate::workers::QUICK;
use crate::{clock, id};

/// A response that was started, now or earlier under the same idempotency key.
pub struct Started {
    /// Its id.
    pub id: ResponseId,
    /// A reader at its start, which counts as present while it lives.
    pub feed: Feed,
    /// The fields of the request, by path, that have no effect here.
    pub ignored: Vec<String>,
    /// Everything its model reads; empty where the response was started earlier.
    pub context: Arc<[Item]>,
}

/// What a turn is tied to beside its input.
pub(super) struct StartContext {
    /// Its idempotency key.
    pub(super) claim: Option<IdempotencyClaim>,
    /// The socket that remembers it.
    pub(super) socket: Option<SocketContext>,
    /// The named conversation that continues from it.
    pub(super) conversation: Option<Conversation>,
    /// What happens when its last reader leaves.
    pub(super) on_leave: OnLeave,
    /// The client's place in its trace.
    pub(super) trace: Option<TraceContext>,
    /// The bytes that are reserved for it.
    pub(super) bytes: Reservation,
}

impl Engine {
    /// Starts a response, or finds the one that the same request started before under the same key.
    /// The response exists and runs by itself when this returns; the reader may leave at any time.
    ///
    /// # Errors
    /// What is wrong with the request, by its field; too many responses; a log or store that cannot
    /// write.
    pub async fn start(
        &self,
        owner: &Owner,
        mut create: Create,
        terms: StartOptions,
    ) -> Result<Started, Fault> {
        let StartOptions { idempotency, socket, warm_up, conversation, on_leave, trace, bytes } =
            terms;
        let mut bytes = bytes.map_or_else(|| self.take_bytes(owner, 0), Ok)?;
        let claim = idempotency.map(|asked| IdempotencyClaim {
            owner: owner.clone(),
            key: asked.key,
            request: asked.request,
        });
        if let Some(claim) = &claim
            && let Some(first) = self.claimed(claim).await?
        {
            return self.again(owner, first).await;
        }
        let (route, mut ignored) = self.route(&create)?;
        ignored.splice(0..0, create.ignored.iter().cloned());
        let route = if warm_up { warm_up::route(&route) } else { route };
        let previous = match &conversation {
            Some(conversation) => {
                let last = self.last_of(owner, conversation).await?;
                create.previous_response_id = last.as_ref().map(|last| last.id().clone());
                last
            }
            None => create.previous_response_id.clone().map(Previous::named),
        };
        let mut input =
            self.turn_input(owner, &mut create, previous, socket.as_ref(), &mut bytes).await?;
        if let Some(conversation) = &conversation {
            input.context = self.cut(owner, conversation.window, &create, input.context).await?;
        }
        let on_leave = on_leave
            .or(create.on_leave)
            .unwrap_or_else(|| self.on_leave(&route, &create, claim.is_some()));
        let context = StartContext { claim, socket, conversation, on_leave, trace, bytes };
        let started = self.run(owner, create, route, input, context).await?;
        Ok(Started { ignored, ..started })
    }

    /// Starts a response of which everything is known.
    pub(super) async fn run(
        &self,
        owner: &Owner,
        create: Create,
        route: Route,
        turn: TurnInput,
        context: StartContext,
    ) -> Result<Started, Fault> {
        let StartContext { claim, socket, conversation, on_leave, trace, bytes } = context;
        let meter = Meter::new(Arc::clone(&self.shared.metrics), &route, &create.model);
        let trace = Trace::start(self.shared.traces.get().cloned(), trace);
        let id = id::response();
        let keeping = Keeping { store: create.store || claim.is_some(), readable: create.store };
        let handle = RunningResponse::new(
            id.clone(),
            owner.clone(),
            on_leave,
            conversation.map(|named| named.name),
            keeping,
        );
        let slot = self.admit(&handle)?;
        let admission = Admission::new(&self.shared, &handle);
        let backend = self.shared.backends.for_keeping(keeping);
        let mut writer = backend.log.take(&id).map_err(log_fault)?;
        let TurnInput { context, stored, head } = turn;
        let start = {
            let (response, now) = (id.clone(), clock::unix_seconds());
            move || {
                let input = if keeping.readable { stored.of(&context) } else { Vec::new() };
                let builder = ResponseBuilder::start(Response::accepted(response, now, &create));
                (create, context, input, builder)
            }
        };
        let prepared = self.work_sized(owner, bytes.bytes(), start).await;
        let (create, context, input, mut builder) = prepared.ok_or_else(not_started)?;
        let first = builder.take_entries();
        writer.append(&first).map_err(log_fault)?;
        handle.appended(first.len(), Instant::now());
        let record = record(&id, owner, keeping.readable, head, &input);
        self.insert(backend, record, input, bytes.bytes()).await?;
        if let Some(claim) = claim {
            match backend.store.claim(claim, &id).await.map_err(store_fault)? {
                Claimed::New => {}
                // Two of the same request came at once, and the other was first.
                Claimed::Same(first) => return self.again(owner, first).await,
                Claimed::Other => return Err(key_conflict()),
            }
        }
        let reader = backend.log.open(&id).await.map_err(log_fault)?;
        started(&*reader).await.map_err(log_fault)?;
        admission.keep();

        let feed = self.cursor(reader, 0, Some(handle.attach()));
        let request = ModelRequest {
            create: Arc::new(create),
            model: None,
            context: context.into(),
            call: UpstreamCall::default(),
        };
        let read = Arc::clone(&request.context);
        let remembering = match socket {
            Some(socket) => Some(Remembering {
                socket,
                before: Arc::clone(&request.context),
                bytes: self.take_bytes(owner, 0)?,
            }),
            None => None,
        };
        let limit = self.shared.config().answer_bytes;
        let (tasks, workers) = (self.shared.tasks.clone(), Arc::clone(&self.shared.workers));
        let turn = Box::new(Turn {
            handle: Arc::clone(&handle),
            builder,
            writer,
            route,
            target: None,
            request,
            limit,
            meter,
            trace,
            tasks,
            workers,
            bytes,
            _slot: slot,
        });
        self.shared
            .tasks
            .spawn("turn", run_to_end(Arc::clone(&self.shared), handle, turn, remembering));
        Ok(Started { id, feed, ignored: Vec::new(), context: read })
    }

    /// Puts the record and the new items into the store, one large request of each caller at a
    /// time.
    async fn insert(
        &self,
        backend: &Backend,
        record: ResponseRecord,
        input: Vec<Item>,
        bytes: u64,
    ) -> Result<(), Fault> {
        let _turn =
            if bytes > QUICK { self.shared.workers.turn(&record.owner).await } else { None };
        backend.store.insert(record, input).await.map_err(store_fault)
    }

    /// The policy for the last reader's leaving. A caller with an idempotency key will come back:
    /// its response runs on.
    pub(super) fn on_leave(&self, route: &Route, create: &Create, keyed: bool) -> OnLeave {
        match (keyed || create.background, create.store) {
            (true, _) => OnLeave::Finish,
            (false, _) if route.on_leave.is_some() => route.on_leave.unwrap_or(OnLeave::Finish),
            (false, true) => self.shared.config().on_leave_stored,
            (false, false) => self.shared.config().on_leave_stateless,
        }
    }

    /// The response that was started before by the same request.
    async fn claimed(&self, claim: &IdempotencyClaim) -> Result<Option<ResponseId>, Fault> {
        let claimed =
            match self.shared.backends.stored.store.claimed(claim).await.map_err(store_fault)? {
                Claimed::Same(first) => {
                    // A response that has just failed may be about to release its key: the store is
                    // asked again.
                    self.settled(self.shared.running(&first)).await?;
                    self.shared.backends.stored.store.claimed(claim).await.map_err(store_fault)?
                }
                claimed @ (Claimed::New | Claimed::Other) => claimed,
            };
        match claimed {
            Claimed::New => Ok(None),
            Claimed::Same(first) => Ok(Some(first)),
            Claimed::Other => Err(key_conflict()),
        }
    }

    /// A reader of the response that was started before under the same key.
    async fn again(&self, owner: &Owner, id: ResponseId) -> Result<Started, Fault> {
        let reader =
            self.shared.backends.stored.log.open(&id).await.map_err(|error| match error {
                LogError::Missing => {
                    let message =
                        format!("The response for this Idempotency-Key, {id}, is no longer kept.");
                    Fault::new(FaultKind::NotFound, "response_expired", message).with_status(410)
                }
                LogError::Fenced | LogError::Ended | LogError::Gap | LogError::Unavailable => {
                    log_fault(error)
                }
            })?;
        started(&*reader).await.map_err(log_fault)?;
        let reader = self.shared.loads.reader(owner, reader);
        let guard = self.shared.running(&id).map(|handle| handle.attach());
        let feed = self.cursor(reader, 0, guard);
        Ok(Started { id, feed, ignored: Vec::new(), context: Arc::default() })
    }

    /// The route of the request's model, and the fields of the request that have no effect there.
    pub(super) fn route(&self, create: &Create) -> Result<(Route, Vec<String>), Fault> {
        let route = self.shared.models.route(&create.model).ok_or_else(|| {
            let message = format!(
                "The model '{}' does not exist. GET /v1/models lists those that do.",
                create.model
            );
            Fault::invalid("model_not_found", "model", message).with_status(404)
        })?;
        able(route, create)
    }
}

/// Waits until the first entries are durable, so that a returned id can always be found.
async fn started(reader: &dyn LogReader) -> Result<(), LogError> {
    let mut progress = reader.progress();
    let started = progress
        .wait_for(|progress| progress.committed > 0 || progress.state == LogState::Failed)
        .await;
    match started.map(|progress| progress.state) {
        Ok(LogState::Open | LogState::Ended) => Ok(()),
        Ok(LogState::Failed) => Err(LogError::Unavailable),
        Err(_removed) => Err(LogError::Missing),
    }
}

/// The record of a new response, with the items that go into the tree with it.
fn record(
    id: &ResponseId,
    owner: &Owner,
    readable: bool,
    head: Option<ItemId>,
    input: &[Item],
) -> ResponseRecord {
    let parent = head.filter(|_| readable);
    ResponseRecord {
        id: id.clone(),
        owner: owner.clone(),
        readable,
        head: input.last().map(|item| item.id().clone()).or_else(|| parent.clone()),
        input: input.iter().map(|item| item.id().clone()).collect(),
        output: Vec::new(),
        parent,
        ended_at: None,
    }
}

fn not_started() -> Fault {
    Fault::new(FaultKind::Server, "server_error", "the response could not be started")
}

/// The route without the targets that cannot serve the request, and the fields that the first of
/// the others ignores.
///
/// # Errors
/// No target can: the first one's reason.
fn able(mut route: Route, create: &Create) -> Result<(Route, Vec<String>), Fault> {
    let (mut targets, mut ignored, mut first) = (Vec::new(), None, None);
    for target in &*route.targets {
        match target.provider.check(create) {
            Ok(left_out) => {
                targets.push(target.clone());
                ignored.get_or_insert(left_out);
            }
            Err(fault) => first = first.or(Some(fault)),
        }
    }
    match first {
        Some(fault) if targets.is_empty() => Err(fault),
        _ => {
            route.targets = targets.into();
            Ok((route, ignored.unwrap_or_default()))
        }
    }
}

fn key_conflict() -> Fault {
    let message = "This Idempotency-Key was used before with another request.";
    Fault::new(FaultKind::Conflict, "idempotency_key_reused", message).with_param("Idempotency-Key")
}
