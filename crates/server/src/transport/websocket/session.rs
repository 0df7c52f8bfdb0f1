//! One socket from its first message to its close: one loop over the client's messages, the logs
//! that it reads, and the timers.

use std::collections::HashMap;
use std::sync::Arc;

use codec::websocket::CloseCode;
use codec::websocket::decode::IncomingMessage;
use codec::websocket::deflate::Agreement;
use codec::websocket::encode::pong;
use engine::conversation::history::SocketHistory;
use engine::feed::Feed;
use engine::instruments::counter::GaugeGuard;
use engine::log::LogError;
use engine::shares::Reservation;
use futures_util::future::BoxFuture;
use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use protocol::dialect::{ClientEvent, Message, SocketDialect, SocketRules, StreamId};
use protocol::entry::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::id::{Owner, ResponseId};
use protocol::trace::TraceContext;
use protocol::weight::Weight;
use tokio::time::{Instant, sleep_until};

use super::api::SocketApi;
use super::connection::{Exit, SocketConnection};
use super::queues::{QueuedTurn, StreamQueues, WAITING};
use crate::app::App;
use crate::grants::{Grant, revoked};
use crate::http::context::RequestContext;
use crate::listen::ConnectionHandle;

/// A message above this is read off the runtime's threads, and memory is taken for it before all of
/// it is there.
const QUICK: usize = 64 << 10;

/// The entries of a feed, and the stream they are for.
type Fed = (StreamId, SocketReader, Result<Option<Vec<Entry>>, LogError>);

/// The result of [`SocketDialect::read_message`].
type ReadMessage<D> = Result<ClientEvent<D>, (StreamId, Fault)>;

/// A reader on the socket.
pub(super) struct SocketReader {
    pub(super) feed: Feed,
    pub(super) _counted: GaugeGuard,
}

/// The next event of the session.
enum SessionInput {
    Read,
    Fed(Box<Fed>),
    Ping,
    Old,
    Draining,
    Aborted,
    Gone,
    Revoked,
}

/// A socket and what runs on it.
pub(super) struct WebSocketSession<A: SocketApi> {
    pub(super) app: App,
    pub(super) api: A,
    pub(super) owner: Owner,
    pub(super) grant: Grant,
    pub(super) connection: Option<ConnectionHandle>,
    /// The place of the handshake in a trace: all its turns are parts of that.
    pub(super) trace: Option<TraceContext>,
    pub(super) _counted: GaugeGuard,
    pub(super) socket: SocketConnection,
    pub(super) history: Arc<SocketHistory>,
    pub(super) queues: StreamQueues<A::Dialect>,
    /// Renders the response that runs on each stream.
    pub(super) dialects: HashMap<StreamId, A::Dialect>,
    /// The memory that was taken for a message of which only a part has come.
    pub(super) incoming: Option<Reservation>,
    pub(super) feeds: FuturesUnordered<BoxFuture<'static, Fed>>,
    pub(super) messages: Vec<Message>,
    /// When nothing new may start; `None` from then on.
    pub(super) end: Option<Instant>,
    /// Whether that is because the server shuts down.
    pub(super) is_draining: bool,
}

impl<A: SocketApi> WebSocketSession<A> {
    const RULES: SocketRules = <A::Dialect as SocketDialect>::RULES;

    pub(super) fn new(
        app: App,
        api: A,
        context: RequestContext,
        io: TokioIo<Upgraded>,
        agreement: Option<Agreement>,
    ) -> Self {
        Self {
            socket: SocketConnection::new(&app, context.grant.clone(), io, agreement),
            history: SocketHistory::new(),
            queues: StreamQueues::default(),
            dialects: HashMap::new(),
            incoming: None,
            feeds: FuturesUnordered::new(),
            messages: Vec::new(),
            end: Some(Instant::now() + app.config.socket_age),
            is_draining: false,
            _counted: app.metrics.socket(),
            app,
            api,
            owner: context.owner,
            grant: context.grant,
            connection: context.connection,
            trace: context.trace,
        }
    }

    /// Runs to the close. Responses that are not stored stop with it, as their reader leaves.
    pub(super) async fn run(mut self) {
        let exit = loop {
            let next = self.next().await;
            if let Some(exit) = self.handle(next).await {
                break exit;
            }
            if self.socket.flush().await.is_none() {
                break Exit::Gone;
            }
        };
        self.feeds.clear();
        if let Exit::Close(code, reason) = exit {
            tracing::debug!(code = code.get(), "socket closed");
            self.socket.close(code, &reason).await;
        }
    }

    async fn next(&mut self) -> SessionInput {
        let ping = self.socket.next_ping();
        tokio::select! {
            biased;
            _ = self.grant.ended() => SessionInput::Revoked,
            read = self.socket.read() => read.map_or(SessionInput::Gone, |()| SessionInput::Read),
            Some(fed) = self.feeds.next(), if !self.feeds.is_empty() => SessionInput::Fed(Box::new(fed)),
            () = self.app.drain.draining(), if !self.is_draining => SessionInput::Draining,
            () = self.app.drain.aborted(), if self.is_draining => SessionInput::Aborted,
            () = sleep_until(self.end.unwrap_or(ping)), if self.end.is_some() => SessionInput::Old,
            () = sleep_until(ping) => SessionInput::Ping,
        }
    }

    async fn handle(&mut self, next: SessionInput) -> Option<Exit> {
        match next {
            SessionInput::Read => {
                if let Err(fault) = self.grant.check() {
                    return Some(self.revoke(&fault));
                }
                let mut exit = self.read().await;
                if let (None, Err(fault)) = (&exit, self.take_ahead()) {
                    self.refuse(&StreamId::default(), &fault);
                    exit = Some(Exit::Close(CloseCode::TRY_AGAIN, fault.message));
                }
                let exit = exit.or(self.start_ready().await);
                exit.or_else(|| self.leave_if_done())
            }
            SessionInput::Fed(fed) => {
                let (stream, reading, entries) = *fed;
                let exit = self.fed(stream, reading, entries).or(self.start_ready().await);
                exit.or_else(|| self.leave_if_done())
            }
            SessionInput::Revoked => Some(self.revoke(&revoked())),
            SessionInput::Ping => self.socket.ping(),
            SessionInput::Draining => {
                self.is_draining = true;
                let moment = Instant::now() + self.app.drain.share();
                self.end = self.end.map(|end| end.min(moment));
                if !Self::RULES.interleaves_errors {
                    // An error cannot stand here now; the close shows that they will not run.
                    self.queues.refuse(|_| true);
                }
                None
            }
            SessionInput::Aborted if Self::RULES.resumes => Some(Exit::Close(
                CloseCode::RESTART,
                "the server is shutting down: resume by position".into(),
            )),
            SessionInput::Aborted => {
                Some(Exit::Close(CloseCode::RESTART, "the server is shutting down".into()))
            }
            SessionInput::Old => {
                self.end = None;
                self.refuse_waiting();
                self.leave_if_done()
            }
            SessionInput::Gone => Some(Exit::Gone),
        }
    }

    /// Starts nothing new. Where errors have to wait, turns are refused when they would
    /// start.
    fn refuse_waiting(&mut self) {
        if !Self::RULES.interleaves_errors {
            return;
        }
        let is_draining = self.is_draining;
        for stream in self.queues.refuse(|turn| !(is_draining && turn.is_resume())) {
            self.refuse(&stream, &self.too_old());
        }
    }

    /// Every message that has come.
    async fn read(&mut self) -> Option<Exit> {
        while let Some(incoming) = self.socket.next_message().await {
            let exit = match incoming {
                Ok(IncomingMessage::Text(_))
                    if self.is_draining && !Self::RULES.interleaves_errors =>
                {
                    // The client should reconnect to the next server at once.
                    self.end = None;
                    None
                }
                Ok(IncomingMessage::Text(text)) => self.event(text).await,
                Ok(IncomingMessage::Binary(_)) => Some(Exit::Close(
                    CloseCode::UNSUPPORTED,
                    format!("{} are text", Self::RULES.messages),
                )),
                Ok(IncomingMessage::Ping(payload)) => {
                    self.socket.out.frame(&pong(&payload));
                    None
                }
                Ok(IncomingMessage::Pong(_)) => None,
                Ok(IncomingMessage::Close(code, _)) => Some(self.socket.closed_by_peer(code)),
                Err(violation) => Some(Exit::Close(violation.close_code(), violation.to_string())),
            };
            if exit.is_some() {
                return exit;
            }
        }
        None
    }

    async fn event(&mut self, message: String) -> Option<Exit> {
        let (event, bytes) = match self.read_event(message).await {
            Ok(read) => read,
            Err(fault) => return self.turn_down(&StreamId::default(), fault),
        };
        let (stream, turn) = match event {
            Err((stream, fault)) => return self.turn_down(&stream, fault),
            Ok(ClientEvent::Cancel { stream, response_id }) => {
                self.cancel(&stream, response_id).await;
                return None;
            }
            Ok(ClientEvent::Create { stream, create, dialect, generate }) => {
                (stream, QueuedTurn::Create { create, dialect, generate, bytes })
            }
            Ok(ClientEvent::Resume { stream, response_id, starting_after, dialect }) => {
                (stream, QueuedTurn::Resume { response_id, starting_after, dialect })
            }
        };
        let may_start = self.end.is_some() || (self.is_draining && turn.is_resume());
        if may_start || !Self::RULES.interleaves_errors {
            return self.put(&stream, turn);
        }
        self.refuse(&stream, &self.too_old());
        None
    }

    /// Handled before the turns that wait. The end of the response shows the result.
    async fn cancel(&mut self, stream: &StreamId, response_id: Option<ResponseId>) {
        let Some(id) = response_id.or_else(|| self.queues.running(stream).cloned()) else {
            let fault = Fault::new(
                FaultKind::NotFound,
                "response_not_found",
                "No response is in progress on this stream.",
            );
            return self.refuse(stream, &fault);
        };
        if let Err(fault) = self.app.engine.request_cancel(&self.owner, &id).await {
            self.refuse(stream, &fault);
        }
    }

    /// Refuses a message now, or when its turn has come.
    fn turn_down(&mut self, stream: &StreamId, fault: Fault) -> Option<Exit> {
        if !Self::RULES.interleaves_errors {
            return self.put(stream, QueuedTurn::Refused(fault));
        }
        self.refuse(stream, &fault);
        None
    }

    fn put(&mut self, stream: &StreamId, turn: QueuedTurn<A::Dialect>) -> Option<Exit> {
        let fault = self.queues.put(stream, turn).err()?;
        if !Self::RULES.interleaves_errors {
            // A message would be a part of the response that runs, so only the close can report it.
            return Some(Exit::Close(
                CloseCode::POLICY,
                format!("more than {WAITING} {} are waiting", Self::RULES.messages),
            ));
        }
        self.refuse(stream, &fault);
        None
    }

    /// Reads a message, with the memory that is taken for it. Long work is queued per
    /// caller.
    async fn read_event(
        &mut self,
        message: String,
    ) -> Result<(ReadMessage<A::Dialect>, Reservation), Fault> {
        // The memory reserved while the message arrived now belongs to it.
        let mut bytes =
            self.incoming.take().map_or_else(|| self.app.engine.take_bytes(&self.owner, 0), Ok)?;
        bytes.grow_to(message.len() as u64)?;
        let (text_bytes, is_quick) = (self.app.config.text_bytes, message.len() <= QUICK);
        let read = move || {
            if Self::RULES.reads_json {
                let weight = Weight::of(message.as_bytes());
                weight.check(text_bytes)?;
                bytes.grow(weight.in_memory())?;
            }
            Ok((A::Dialect::read_message(message.as_bytes()), bytes))
        };
        if is_quick {
            return read();
        }
        let failed =
            || Fault::new(FaultKind::Server, "server_error", "the message could not be read");
        self.app.engine.work(&self.owner, read).await.unwrap_or_else(|| Err(failed()))
    }

    /// Takes memory for the message that is coming. A small one is counted when it is there.
    fn take_ahead(&mut self) -> Result<(), Fault> {
        let incoming = self.socket.incoming();
        if incoming <= QUICK {
            return Ok(());
        }
        let bytes = match &mut self.incoming {
            Some(bytes) => bytes,
            None => self.incoming.insert(self.app.engine.take_bytes(&self.owner, 0)?),
        };
        bytes.grow_to(incoming as u64)
    }

    pub(super) fn too_old(&self) -> Fault {
        let message = if self.is_draining {
            "The server is shutting down: connect again.".to_owned()
        } else {
            format!(
                "This socket is older than {} minutes: connect again.",
                self.app.config.socket_age.as_secs() / 60
            )
        };
        Fault::new(FaultKind::InvalidRequest, "websocket_connection_limit_reached", message)
    }

    /// A socket that may start nothing new closes when nothing runs.
    fn leave_if_done(&self) -> Option<Exit> {
        if self.end.is_some() || !self.queues.is_idle() {
            return None;
        }
        if self.is_draining {
            return Some(Exit::Close(CloseCode::RESTART, "the server is shutting down".into()));
        }
        Some(Exit::Close(CloseCode::GOING_AWAY, "the socket has reached its maximum age".into()))
    }
}
