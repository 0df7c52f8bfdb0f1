//! A socket of the classic API: a message is a question, and what comes back is its answer, message by message.

use std::collections::VecDeque;

use codec::websocket::CloseCode;
use codec::websocket::decode::Incoming;
use codec::websocket::deflate::Agreement;
use codec::websocket::encode::pong;
use engine::feed::Feed;
use engine::instruments::counter::GaugeGuard;
use engine::log::LogError;
use engine::response::fault::log_fault;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use protocol::dialect::classic::{Door, Fold, Said};
use protocol::event::Entry;
use protocol::fault::{Fault, FaultKind};
use protocol::trace::TraceContext;
use tokio::time::{Instant, sleep_until};

use super::line::{Exit, Line};
use crate::app::App;
use crate::classic::{self, Asker};
use crate::grants::{Grant, revoked};
use crate::http::context::RequestContext as From;
use crate::listen::Connection;
use crate::metrics::Words;

/// How many bytes of events that are ready go out in one write.
const WRITE: usize = 64 << 10;

/// How many questions may wait for the answers before theirs.
const MOST: usize = 16;

/// A socket, the answer that comes on it, and the questions behind.
pub(super) struct Questions {
    app: App,
    asker: Asker,
    grant: Grant,
    connection: Option<Connection>,
    /// Where in a trace the handshake stood: all its answers are parts of that.
    trace: Option<TraceContext>,
    _counted: GaugeGuard,
    line: Line,
    /// The answer that is told. Dropping it is leaving, and stops the model.
    running: Option<Running>,
    waiting: VecDeque<String>,
    /// When nothing new may begin.
    old: Instant,
    /// When it closes, once the server goes and nothing runs.
    end: Option<Instant>,
}

/// An answer that is told.
struct Running {
    feed: Feed,
    fold: Fold,
    _counted: GaugeGuard,
}

enum Next {
    Read,
    Gone,
    Fed(Result<Option<Vec<Entry>>, LogError>),
    Silence,
    Leaving,
    Broken,
    /// Whether it is over is looked at behind every step.
    Late,
    Old,
    Revoked,
}

impl Questions {
    pub(super) fn new(app: App, asker: Asker, from: From, io: TokioIo<Upgraded>, agreement: Option<Agreement>) -> Self {
        let line = Line::new(&app, from.grant.clone(), io, agreement);
        let (old, counted) = (Instant::now() + app.config.socket_age, app.metrics.socket());
        let From { grant, connection, trace, .. } = from;
        let (running, waiting, end) = (None, VecDeque::new(), None);
        Self { app, asker, grant, connection, trace, _counted: counted, line, running, waiting, old, end }
    }

    /// Runs to the close. There is no greeting: a page takes every message for a part of an answer.
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
        self.running = None;
        if let Exit::Close(code, reason) = exit {
            tracing::debug!(code = code.get(), "socket closed");
            self.line.close(code, &reason).await;
        }
    }

    async fn next(&mut self) -> Next {
        let knock = self.line.knock();
        let is_idle = self.running.is_none();
        let running = &mut self.running;
        let fed = async {
            match running {
                Some(Running { feed, .. }) => feed.next(WRITE).await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            biased;
            _ = self.grant.ended() => Next::Revoked,
            read = self.line.read() => read.map_or(Next::Gone, |()| Next::Read),
            fed = fed => Next::Fed(fed),
            () = self.app.drain.leaving(), if self.end.is_none() => Next::Leaving,
            () = self.app.drain.broken_off(), if self.end.is_some() => Next::Broken,
            () = sleep_until(self.end.unwrap_or(knock)), if is_idle && self.end.is_some() => Next::Late,
            () = sleep_until(self.old), if is_idle => Next::Old,
            () = sleep_until(knock) => Next::Silence,
        }
    }

    async fn handle(&mut self, next: Next) -> Option<Exit> {
        let exit = match next {
            Next::Read => self.read().await,
            Next::Gone => Some(Exit::Gone),
            Next::Fed(entries) => self.fed(entries),
            Next::Silence => self.line.silence(),
            Next::Leaving => {
                self.end = Some(Instant::now() + self.app.drain.share());
                self.waiting.clear();
                None
            }
            Next::Broken => Some(Exit::Close(CloseCode::RESTART, "the server shuts down".into())),
            Next::Late | Next::Old => None,
            Next::Revoked => Some(self.revoked(&revoked())),
        };
        if exit.is_some() {
            return exit;
        }
        if let Some(exit) = self.ask().await {
            return Some(exit);
        }
        if self.running.is_none() && self.end.is_none() && self.is_old() {
            return Some(Exit::Close(CloseCode::GOING_AWAY, "the socket is too old".into()));
        }
        let is_done = self.running.is_none() && self.end.is_some_and(|end| Instant::now() >= end);
        is_done.then(|| Exit::Close(CloseCode::RESTART, "the server shuts down".into()))
    }

    /// Everything that the client has said by now.
    async fn read(&mut self) -> Option<Exit> {
        if let Err(fault) = self.grant.check() {
            return Some(self.revoked(&fault));
        }
        while let Some(incoming) = self.line.next_message().await {
            match incoming {
                // Who asks now is to ask the next server, and to come to it at once.
                Ok(Incoming::Text(_)) if self.end.is_some() => self.end = Some(Instant::now()),
                // One more message would be a part of the answer that runs: only the close can say it.
                Ok(Incoming::Text(_)) if self.waiting.len() >= MOST => {
                    return Some(Exit::Close(CloseCode::POLICY, format!("more than {MOST} questions wait")));
                }
                Ok(Incoming::Text(question)) => self.waiting.push_back(question),
                Ok(Incoming::Binary(_)) => return Some(Exit::Close(CloseCode::UNSUPPORTED, "questions are text".into())),
                Ok(Incoming::Ping(payload)) => self.line.out.frame(&pong(&payload)),
                Ok(Incoming::Pong(_)) => {}
                Ok(Incoming::Close(code, _)) => return Some(self.line.closed_by_peer(code)),
                Err(violation) => return Some(Exit::Close(violation.close_code(), violation.to_string())),
            }
        }
        None
    }

    /// Asks the next question, if nothing runs. Answers never run side by side: nothing would tell their words apart.
    async fn ask(&mut self) -> Option<Exit> {
        while self.running.is_none()
            && let Some(question) = self.waiting.pop_front()
        {
            if let Err(fault) = self.grant.check() {
                return Some(self.revoked(&fault));
            }
            let started =
                if self.is_old() { Err(self.too_old()) } else { start(&self.app, &self.asker, question, self.trace.clone()).await };
            let fold = Fold::new(Door::Socket);
            match started {
                Ok(feed) => self.running = Some(Running { feed, fold, _counted: self.app.metrics.lane(Words::Classic) }),
                Err(fault) => self.refuse(fold, &fault),
            }
        }
        None
    }

    /// The answer to a question that has none, in the words of its API.
    fn refuse(&mut self, mut fold: Fold, fault: &Fault) {
        let mut said = Vec::new();
        fold.fault(fault, &mut said);
        fold.done("0", &mut said);
        self.say(said, 0);
    }

    /// The credential that opened the socket has ended; the last event of its response, if one runs, says so.
    fn revoked(&mut self, fault: &Fault) -> Exit {
        let mut fold = self.running.take().map_or_else(|| Fold::new(Door::Socket), |running| running.fold);
        // These words have no place for a code, and no `[DONE]`: what ran is not whole.
        let fault = Fault { message: format!("{} ({})", fault.message, fault.code), ..fault.clone() };
        let mut said = Vec::new();
        fold.fault(&fault, &mut said);
        self.say(said, 0);
        Exit::Close(CloseCode::POLICY, "the key or session is not good any more".into())
    }

    /// Whether nothing new may begin here (`server.socket_age`).
    fn is_old(&self) -> bool {
        Instant::now() >= self.old
    }

    fn too_old(&self) -> Fault {
        let message = format!("This socket is older than {} minutes: connect again.", self.app.config.socket_age.as_secs() / 60);
        Fault::new(FaultKind::InvalidRequest, "websocket_connection_limit_reached", message)
    }

    fn fed(&mut self, entries: Result<Option<Vec<Entry>>, LogError>) -> Option<Exit> {
        let Running { feed, fold, .. } = self.running.as_mut()?;
        let (mut said, mut text) = (Vec::new(), 0);
        let exit = match entries {
            Ok(entries) => {
                for entry in entries.iter().flatten() {
                    let before = said.len();
                    fold.entry(entry, &mut said);
                    text += if said.len() > before { entry.text_bytes() } else { 0 };
                }
                if entries.is_none() || feed.is_at_end() {
                    self.running = None;
                }
                None
            }
            Err(error) => {
                fold.fault(&log_fault(error), &mut said);
                Some(Exit::Close(CloseCode::INTERNAL, "the answer's log failed".into()))
            }
        };
        self.say(said, text);
        exit
    }

    /// Each is a message. So many bytes of them all are the model's text, before they may be compressed.
    fn say(&mut self, said: Vec<Said>, text: usize) {
        if let Some(connection) = &self.connection {
            let bytes: usize = said.iter().map(|said| said.data.len()).sum();
            let dialect = bytes.saturating_sub(text) as u64;
            connection.timeline().said(lens::live::ByteBreakdown { events: said.len() as u64, framing: 0, dialect, text: text as u64 });
        }
        for said in said {
            self.line.out.text(b"", &said.data);
        }
    }
}

async fn start(app: &App, asker: &Asker, question: String, trace: Option<TraceContext>) -> Result<Feed, Fault> {
    if question.trim().is_empty() {
        return Err(Fault::invalid("invalid_value", "msg", "The question is blank."));
    }
    let model = classic::model(app).await?;
    Ok(classic::start(app, asker, &model, question, trace).await?.feed)
}
