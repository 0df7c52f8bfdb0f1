//! One socket from its first message to its close: one loop over what the client says, the logs it reads and the timers.

use std::sync::Arc;

use codec::websocket::CloseCode;
use codec::websocket::decode::Incoming;
use codec::websocket::deflate::Agreement;
use codec::websocket::encode::pong;
use engine::conversation::history::SocketHistory;
use engine::feed::Feed;
use engine::instruments::counter::GaugeGuard;
use engine::log::LogError;
use engine::response::fault::log_fault;
use engine::response::options::{Socket, Terms};
use engine::shares::Reservation;
use futures_util::future::{BoxFuture, FutureExt};
use futures_util::stream::{FuturesUnordered, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use lens::live::ByteBreakdown;
use protocol::dialect::responses::{ClientEvent, Lane, read_client_event, refusal};
use protocol::event::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;
use protocol::trace::TraceContext;
use protocol::weight::Weight;
use tokio::time::{Instant, sleep_until};

use super::lanes::{Lanes, Wanted};
use super::line::{Exit, Line};
use crate::app::App;
use crate::grants::{Grant, revoked};
use crate::http::context::RequestContext as From;
use crate::listen::Connection;
use crate::metrics::Words;

/// How many bytes of events that are ready go out in one write.
const WRITE: usize = 64 << 10;

/// A message above this is read off the runtime's threads, and memory is taken for it before all of it is there.
const QUICK: usize = 64 << 10;

/// What a feed gave, and the lane it is for.
type Fed = (Lane, Reading, Result<Option<Vec<Entry>>, LogError>);

/// A reader on the socket.
struct Reading {
    feed: Feed,
    _counted: GaugeGuard,
}

/// What comes next.
enum Next {
    Read,
    Fed(Box<Fed>),
    Silence,
    Old,
    Leaving,
    Broken,
    Gone,
    Revoked,
}

/// A socket and what runs on it.
pub(super) struct Session {
    app: App,
    owner: Owner,
    grant: Grant,
    connection: Option<Connection>,
    /// Where in a trace the handshake stood: all its turns are parts of that.
    trace: Option<TraceContext>,
    _counted: GaugeGuard,
    line: Line,
    local: Arc<SocketHistory>,
    lanes: Lanes,
    /// The memory that was taken for a message of which only a part has come.
    coming: Option<Reservation>,
    feeds: FuturesUnordered<BoxFuture<'static, Fed>>,
    /// When nothing new may begin; `None` once that is so.
    end: Option<Instant>,
    /// Whether that is because the server goes.
    is_leaving: bool,
}

impl Session {
    pub(super) fn new(app: App, from: From, io: TokioIo<Upgraded>, agreement: Option<Agreement>) -> Self {
        Self {
            line: Line::new(&app, from.grant.clone(), io, agreement),
            local: SocketHistory::new(),
            lanes: Lanes::default(),
            coming: None,
            feeds: FuturesUnordered::new(),
            end: Some(Instant::now() + app.config.socket_age),
            is_leaving: false,
            _counted: app.metrics.socket(),
            app,
            owner: from.owner,
            grant: from.grant,
            connection: from.connection,
            trace: from.trace,
        }
    }

    /// Runs to the close. Answers that are not stored stop with it, as their reader leaves.
    pub(super) async fn run(mut self) {
        let exit = loop {
            let next = self.next().await;
            if let Some(exit) = self.handle(next).await {
                break exit;
            }
            if self.line.flush().await.is_none() {
                break Exit::Gone;
            }
        };
        self.feeds.clear();
        if let Exit::Close(code, reason) = exit {
            tracing::debug!(code = code.get(), "socket closed");
            self.line.close(code, &reason).await;
        }
    }

    async fn next(&mut self) -> Next {
        let knock = self.line.knock();
        tokio::select! {
            biased;
            _ = self.grant.ended() => Next::Revoked,
            read = self.line.read() => read.map_or(Next::Gone, |()| Next::Read),
            Some(fed) = self.feeds.next(), if !self.feeds.is_empty() => Next::Fed(Box::new(fed)),
            () = self.app.drain.leaving(), if !self.is_leaving => Next::Leaving,
            () = self.app.drain.broken_off(), if self.is_leaving => Next::Broken,
            () = sleep_until(self.end.unwrap_or(knock)), if self.end.is_some() => Next::Old,
            () = sleep_until(knock) => Next::Silence,
        }
    }

    async fn handle(&mut self, next: Next) -> Option<Exit> {
        match next {
            Next::Read => {
                if let Err(fault) = self.grant.check() {
                    return Some(self.revoked(&fault));
                }
                let mut exit = self.read().await;
                if let (None, Err(fault)) = (&exit, self.take_ahead()) {
                    self.refuse(&Lane::default(), &fault);
                    exit = Some(Exit::Close(CloseCode::TRY_AGAIN, fault.message));
                }
                let exit = exit.or(self.start_ready().await);
                exit.or_else(|| self.leave_if_done())
            }
            Next::Fed(fed) => {
                let (lane, reading, entries) = *fed;
                let exit = self.fed(lane, reading, entries).or(self.start_ready().await);
                exit.or_else(|| self.leave_if_done())
            }
            Next::Revoked => Some(self.revoked(&revoked())),
            Next::Silence => self.line.silence(),
            Next::Leaving => {
                self.is_leaving = true;
                let moment = Instant::now() + self.app.drain.share();
                self.end = self.end.map(|end| end.min(moment));
                None
            }
            Next::Broken => Some(Exit::Close(CloseCode::RESTART, "the server shuts down: resume by position".into())),
            Next::Old => {
                self.end = None;
                let is_leaving = self.is_leaving;
                for lane in self.lanes.refuse(|wanted| !(is_leaving && wanted.is_there_already())) {
                    self.refuse(&lane, &self.too_old());
                }
                self.leave_if_done()
            }
            Next::Gone => Some(Exit::Gone),
        }
    }

    /// Everything that the client has said by now.
    async fn read(&mut self) -> Option<Exit> {
        while let Some(incoming) = self.line.next_message().await {
            match incoming {
                Ok(Incoming::Text(text)) => self.event(text).await,
                Ok(Incoming::Binary(_)) => return Some(Exit::Close(CloseCode::UNSUPPORTED, "events are text".into())),
                Ok(Incoming::Ping(payload)) => self.line.out.frame(&pong(&payload)),
                Ok(Incoming::Pong(_)) => {}
                Ok(Incoming::Close(code, _)) => return Some(self.line.closed_by_peer(code)),
                Err(violation) => return Some(Exit::Close(violation.close_code(), violation.to_string())),
            }
        }
        None
    }

    async fn event(&mut self, message: String) {
        let (event, bytes) = match self.read_event(message).await {
            Ok(read) => read,
            Err(fault) => return self.refuse(&Lane::default(), &fault),
        };
        let (lane, wanted) = match event {
            Err((lane, fault)) => return self.refuse(&lane, &fault),
            Ok(ClientEvent::Cancel { lane, response_id }) => {
                let id = response_id.or_else(|| self.lanes.running(&lane).cloned());
                let Some(id) = id else {
                    let fault = Fault::new(FaultKind::NotFound, "response_not_found", "Nothing runs on this stream.");
                    return self.refuse(&lane, &fault);
                };
                // It overtakes what waits: the answer's own end tells that it worked.
                if let Err(fault) = self.app.engine.request_cancel(&self.owner, &id).await {
                    self.refuse(&lane, &fault);
                }
                return;
            }
            Ok(ClientEvent::Create { lane, create, generate }) => (lane, Wanted::Create { create, generate, bytes }),
            Ok(ClientEvent::Resume { lane, response_id, starting_after }) => (lane, Wanted::Resume { response_id, starting_after }),
        };
        let may_begin = self.end.is_some() || (self.is_leaving && wanted.is_there_already());
        let put = if may_begin { self.lanes.put(&lane, wanted) } else { Err(self.too_old()) };
        if let Err(fault) = put {
            self.refuse(&lane, &fault);
        }
    }

    /// Reads a message, with the memory that is taken for it. What takes long runs in its caller's turn.
    async fn read_event(&mut self, message: String) -> Result<(Result<ClientEvent, (Lane, Fault)>, Reservation), Fault> {
        // What was taken for it while it came goes over to it.
        let mut bytes = self.coming.take().map_or_else(|| self.app.engine.take_bytes(&self.owner, 0), Ok)?;
        bytes.grow_to(message.len() as u64)?;
        let (text_bytes, is_quick) = (self.app.config.text_bytes, message.len() <= QUICK);
        let read = move || {
            let weight = Weight::of(message.as_bytes());
            weight.check(text_bytes)?;
            bytes.grow(weight.in_memory())?;
            Ok((read_client_event(message.as_bytes()), bytes))
        };
        if is_quick {
            return read();
        }
        let failed = || Fault::new(FaultKind::Server, "server_error", "the message could not be read");
        self.app.engine.work(&self.owner, read).await.unwrap_or_else(|| Err(failed()))
    }

    /// Takes memory for the message that is coming. A small one is counted when it is there.
    fn take_ahead(&mut self) -> Result<(), Fault> {
        let coming = self.line.coming();
        if coming <= QUICK {
            return Ok(());
        }
        let bytes = match &mut self.coming {
            Some(bytes) => bytes,
            None => self.coming.insert(self.app.engine.take_bytes(&self.owner, 0)?),
        };
        bytes.grow_to(coming as u64)
    }

    /// Starts what may start.
    async fn start_ready(&mut self) -> Option<Exit> {
        while let Some((lane, wanted)) = self.lanes.take() {
            if let Err(fault) = self.grant.check() {
                return Some(self.revoked(&fault));
            }
            match self.start(&lane, wanted).await {
                Ok(feed) => {
                    let reading = Reading { feed, _counted: self.app.metrics.lane(Words::Responses) };
                    self.tail(lane, reading);
                }
                Err(fault) => {
                    self.refuse(&lane, &fault);
                    self.lanes.done(&lane);
                }
            }
        }
        None
    }

    async fn start(&mut self, lane: &Lane, wanted: Wanted) -> Result<Feed, Fault> {
        let engine = self.app.engine.clone();
        match wanted {
            Wanted::Resume { response_id, starting_after } => {
                let feed = engine.feed(&self.owner, &response_id, starting_after).await?;
                self.lanes.runs(lane, response_id);
                Ok(feed)
            }
            Wanted::Create { create, generate, bytes } => {
                let parent = create.previous_response_id.clone();
                let socket = Socket { history: Arc::clone(&self.local), lane: lane.clone() };
                let (socket, bytes) = (Some(socket), Some(bytes));
                let terms = Terms { socket, warm_up: !generate, trace: self.trace.clone(), bytes, ..Terms::default() };
                match engine.start(&self.owner, *create, terms).await {
                    Ok(started) => {
                        self.lanes.runs(lane, started.id);
                        Ok(started.feed)
                    }
                    Err(fault) => {
                        if let Some(parent) = parent {
                            self.local.evict(lane, &parent);
                        }
                        Err(fault)
                    }
                }
            }
        }
    }

    fn tail(&mut self, lane: Lane, mut reading: Reading) {
        let fed = async move {
            let entries = reading.feed.next(WRITE).await;
            (lane, reading, entries)
        };
        self.feeds.push(fed.boxed());
    }

    fn fed(&mut self, lane: Lane, reading: Reading, entries: Result<Option<Vec<Entry>>, LogError>) -> Option<Exit> {
        match entries {
            Ok(entries) => {
                entries.iter().flatten().for_each(|entry| self.say(&lane, entry));
                if entries.is_none() || reading.feed.is_at_end() {
                    self.lanes.done(&lane);
                } else {
                    self.tail(lane, reading);
                }
                None
            }
            Err(error) => {
                self.refuse(&lane, &log_fault(error));
                Some(Exit::Close(CloseCode::INTERNAL, "the answer's log failed".into()))
            }
        }
    }

    /// One event is one message: the log's own bytes, with the lane's name put in front where it has one.
    fn say(&mut self, lane: &Lane, entry: &Entry) {
        let Some(name) = lane.name() else {
            self.count(entry.text_bytes(), entry.data.len());
            return self.line.out.text(b"", &entry.data);
        };
        // A name has no character that JSON would escape, and an event is an object that is not empty.
        let prefix = format!("{{\"stream_id\":\"{name}\",");
        let rest = entry.data.get(1..).unwrap_or_default();
        self.count(entry.text_bytes(), prefix.len() + rest.len());
        self.line.out.text(prefix.as_bytes(), rest);
    }

    /// An event goes out as so many bytes, before they may be compressed, and so many of them are the model's text.
    fn count(&self, text: usize, bytes: usize) {
        let Some(connection) = &self.connection else { return };
        let dialect = bytes.saturating_sub(text) as u64;
        connection.timeline().said(ByteBreakdown { events: 1, framing: 0, dialect, text: text as u64 });
    }

    fn refuse(&mut self, lane: &Lane, fault: &Fault) {
        let envelope = refusal(lane, fault);
        self.count(0, envelope.len());
        self.line.out.text(b"", envelope.as_bytes());
    }

    /// The credential that opened the socket has ended: what runs here is not for that caller any more.
    fn revoked(&mut self, fault: &Fault) -> Exit {
        self.refuse(&Lane::default(), fault);
        Exit::Close(CloseCode::POLICY, "the key or session is not good any more".into())
    }

    fn too_old(&self) -> Fault {
        let message = if self.is_leaving {
            "The server shuts down: connect again.".to_owned()
        } else {
            format!("This socket is older than {} minutes: connect again.", self.app.config.socket_age.as_secs() / 60)
        };
        Fault::new(FaultKind::InvalidRequest, "websocket_connection_limit_reached", message)
    }

    /// A socket on which nothing may begin any more closes when nothing runs.
    fn leave_if_done(&self) -> Option<Exit> {
        if self.end.is_some() || !self.lanes.is_idle() {
            return None;
        }
        if self.is_leaving {
            return Some(Exit::Close(CloseCode::RESTART, "the server shuts down".into()));
        }
        Some(Exit::Close(CloseCode::GOING_AWAY, "the socket is too old".into()))
    }
}
