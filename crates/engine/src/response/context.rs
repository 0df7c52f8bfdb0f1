//! The conversation that a new turn continues: from the tree of items, from its socket, or from a
//! named conversation.

use std::sync::Arc;

use protocol::fault::{Fault, FaultKind};
use protocol::id::{ItemId, Owner, ResponseId};
use protocol::item::Item;
use protocol::request::Create;

use super::fault::store_fault;
use super::handle::RunningResponse;
use super::options::SocketContext;
use crate::conversation::assemble::{Assembly, ConversationError, StoredInput};
use crate::conversation::named::{ContextWindow, Conversation};
use crate::count::{self, Prompt};
use crate::engine::Engine;
use crate::log::LogState;
use crate::shares::Reservation;
use crate::store::{RecordLookup, ResponseRecord};

/// What a new turn continues.
pub(super) struct TurnInput {
    /// Everything the model reads.
    pub(super) context: Vec<Item>,
    /// The part that goes into the tree, if the turn is stored.
    pub(super) stored: StoredInput,
    /// The item of the tree that the turn continues.
    pub(super) head: Option<ItemId>,
}

/// The response that a turn continues.
pub(super) struct Previous {
    id: ResponseId,
    /// What the store has under its id, where that was asked for already.
    found: Option<RecordLookup>,
}

impl Previous {
    /// A response that the request names.
    pub(super) fn named(id: ResponseId) -> Self {
        Self { id, found: None }
    }

    /// The id.
    pub(super) fn id(&self) -> &ResponseId {
        &self.id
    }
}

impl Engine {
    /// Counts what the model would read, without asking it.
    ///
    /// # Errors
    /// As [`Engine::start`].
    pub async fn count_input(&self, owner: &Owner, mut create: Create) -> Result<u64, Fault> {
        self.route(&create)?;
        let mut bytes = self.take_bytes(owner, 0)?;
        let previous = create.previous_response_id.clone().map(Previous::named);
        let context =
            self.turn_input(owner, &mut create, previous, None, &mut bytes).await?.context;
        let counted = self.work(owner, move || count::input(&Prompt::from(&create), &context));
        counted.await.ok_or_else(|| {
            Fault::new(FaultKind::Server, "server_error", "the input could not be counted")
        })
    }

    /// Counts what a started response's model reads as the classic API reports it.
    ///
    /// # Errors
    /// Counting failed.
    pub async fn count_context(
        &self,
        owner: &Owner,
        model: String,
        instructions: Option<String>,
        context: Arc<[Item]>,
    ) -> Result<u64, Fault> {
        let counting = move || count::wrapped(&model, instructions.as_deref(), &context);
        self.work(owner, counting).await.ok_or_else(|| {
            Fault::new(FaultKind::Server, "server_error", "the question could not be counted")
        })
    }

    /// The conversation that the new turn continues. The request's input moves into it.
    pub(super) async fn turn_input(
        &self,
        owner: &Owner,
        create: &mut Create,
        previous: Option<Previous>,
        socket: Option<&SocketContext>,
        bytes: &mut Reservation,
    ) -> Result<TurnInput, Fault> {
        let previous = match previous {
            Some(previous) => Some(self.look_up(previous).await?),
            None => None,
        };
        let remembered = match (&previous, socket) {
            (Some((previous, found)), Some(socket)) if !is_stored(found) => {
                socket.history.context(previous)
            }
            _ => None,
        };
        let is_remembered = remembered.is_some();
        let (before, head) = match (remembered, previous) {
            (Some(context), _) => (context.to_vec(), None),
            (None, Some((previous, found))) => self.before(owner, &previous, found).await?,
            (None, None) => (Vec::new(), None),
        };
        let most = self.shared.most();
        let most = before
            .iter()
            .try_fold(most, |most, item| most.without(item.weight()))
            .map_err(store_fault)?;
        let mut assembly = Assembly::new(
            Arc::clone(&self.shared.backends.stored.store),
            &self.shared.loads,
            owner,
            before,
            std::mem::take(&mut create.input),
            most,
        );
        self.assemble(owner, &mut assembly).await?;
        let conversation = assembly.finish();
        bytes.grow(conversation.context.iter().map(|item| item.weight() as u64).sum())?;
        // What only a socket remembers is in no tree: a stored turn that continues it stores all of
        // it.
        let stored =
            if is_remembered { StoredInput::Copies } else { StoredInput::Last(conversation.new) };
        Ok(TurnInput { context: conversation.context, stored, head })
    }

    /// Runs an assembly to its end. An item that is not found is looked up once more: a response of
    /// this caller that has just ended may be about to store it.
    async fn assemble(&self, owner: &Owner, assembly: &mut Assembly<'_>) -> Result<(), Fault> {
        match assembly.run().await {
            Err(ConversationError::NoSuchItem(_)) => {
                let is_owned = |handle: &&Arc<RunningResponse>| handle.owner == *owner;
                let running: Vec<Arc<RunningResponse>> =
                    self.shared.responses().values().filter(is_owned).cloned().collect();
                for handle in running {
                    self.settled(Some(handle)).await?;
                }
                assembly.run().await
            }
            assembled => assembled,
        }
        .map_err(|error| match error {
            ConversationError::NoSuchItem(fault) | ConversationError::Fault(fault) => fault,
            ConversationError::Store(error) => store_fault(error),
        })
    }

    /// What the store has of the previous response, which is asked once.
    async fn look_up(&self, previous: Previous) -> Result<(ResponseId, RecordLookup), Fault> {
        let Previous { id, found } = previous;
        if let Some(found) = found {
            return Ok((id, found));
        }
        self.settled(self.shared.running(&id)).await?;
        let found = self.shared.backends.of(&id).store.find(&id).await.map_err(store_fault)?;
        Ok((id, found))
    }

    /// The path in the tree that the new turn continues, and its head.
    async fn before(
        &self,
        owner: &Owner,
        previous: &ResponseId,
        found: RecordLookup,
    ) -> Result<(Vec<Item>, Option<ItemId>), Fault> {
        let head = match found {
            RecordLookup::Record(record) if record.owner == *owner && record.readable => {
                if record.ended_at.is_none() {
                    let message = format!(
                        "Previous response '{previous}' is still running: wait until it ends, or cancel it."
                    );
                    return Err(Fault {
                        status: 409,
                        ..Fault::invalid(
                            "previous_response_in_progress",
                            "previous_response_id",
                            message,
                        )
                    });
                }
                record.head
            }
            RecordLookup::Record(_) | RecordLookup::Expired(_) | RecordLookup::Missing => {
                let message = format!("Previous response with id '{previous}' not found.");
                return Err(Fault::invalid(
                    "previous_response_not_found",
                    "previous_response_id",
                    message,
                ));
            }
        };
        match head {
            Some(head) => {
                Ok((self.shared.path(owner, &head).await.map_err(store_fault)?, Some(head)))
            }
            None => Ok((Vec::new(), None)),
        }
    }

    /// The part of a conversation that the model reads.
    pub(super) async fn cut(
        &self,
        owner: &Owner,
        window: ContextWindow,
        create: &Create,
        context: Vec<Item>,
    ) -> Result<Vec<Item>, Fault> {
        let create = create.clone();
        let cut = self.work(owner, move || window.cut(&Prompt::from(&create), context));
        cut.await.ok_or_else(|| {
            Fault::new(FaultKind::Server, "server_error", "the conversation could not be counted")
        })
    }

    /// The response that the next turn of a named conversation continues; `None` where a new one
    /// starts.
    pub(super) async fn last_of(
        &self,
        owner: &Owner,
        conversation: &Conversation,
    ) -> Result<Option<Previous>, Fault> {
        let is_turn_of = |handle: &&Arc<RunningResponse>| {
            handle.owner == *owner && handle.conversation.as_ref() == Some(&conversation.name)
        };
        let running: Vec<Arc<RunningResponse>> =
            self.shared.responses().values().filter(is_turn_of).cloned().collect();
        for handle in running {
            self.settled(Some(handle)).await?;
        }
        let Some(id) = self.shared.head(owner, conversation).await? else { return Ok(None) };
        let found = self.shared.backends.of(&id).store.find(&id).await.map_err(store_fault)?;
        // It may have been deleted by its id, or have expired: then the conversation starts anew.
        Ok(is_stored(&found).then_some(Previous { id, found: Some(found) }))
    }

    /// Waits until the store has the end of a response whose log has one: readers see the end
    /// first, and may build on it at once.
    pub(super) async fn settled(&self, handle: Option<Arc<RunningResponse>>) -> Result<(), Fault> {
        let Some(handle) = handle else { return Ok(()) };
        let backend = self.shared.backends.for_keeping(handle.keeping);
        let reader = backend.log.open(&handle.id).await;
        if reader.is_ok_and(|reader| reader.progress().borrow().state == LogState::Ended) {
            handle.recorded().await.map_err(store_fault)?;
        }
        Ok(())
    }
}

fn is_stored(found: &RecordLookup) -> bool {
    matches!(found, RecordLookup::Record(ResponseRecord { readable: true, .. }))
}
