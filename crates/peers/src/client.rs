//! The load client: one thread that reads all streams, checks every token, and says how late each one was.

pub(crate) mod connection;
pub(crate) mod http;
pub(crate) mod http2;
pub(crate) mod plan;
pub(crate) mod processes;
pub(crate) mod report;
pub(crate) mod stream;
pub(crate) mod tokens;
pub(crate) mod transport;
pub(crate) mod websocket;
pub(crate) mod window;

use std::io::{ErrorKind, Write, stdin, stdout};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use mio::unix::SourceFd;
use mio::{Events, Interest, Poll, Token};

use crate::client::connection::Connection;
use crate::client::plan::{Plan, Work};
use crate::client::report::{Report, Spread};
use crate::client::stream::{Progress, Stream};
use crate::client::tokens::Finder;
use crate::client::window::{Phase, Window};
use crate::clock;

const STDIN: Token = Token(usize::MAX);

/// More errors than these say nothing new.
const MAX_ERRORS: usize = 5;

/// Does what the plan says, and writes the report to standard output.
pub(crate) fn run(plan: Plan) -> Result<()> {
    let mut client = Client::open(plan)?;
    client.work()?;
    let report = client.report();
    writeln!(stdout(), "{}", serde_json::to_string(&report)?)?;
    Ok(())
}

struct Client {
    plan: Plan,
    finder: Finder,
    poll: Poll,
    connections: Vec<Connection>,
    buffer: Vec<u8>,
    progress: Vec<(usize, Progress)>,
    /// When the first request was sent.
    started: u64,
    sent: usize,
    /// Streams that have had their first token, and streams that have ended.
    begun: usize,
    ended: usize,
    window: Window,
    delays: Vec<u64>,
    first_tokens: Vec<u64>,
    report: Report,
}

/// Which stream of which connection.
#[derive(Clone, Copy)]
struct Place {
    connection: usize,
    stream: usize,
}

impl Client {
    fn open(plan: Plan) -> Result<Self> {
        let poll = Poll::new()?;
        let protocol = if plan.http2 { "h2" } else { "http/1.1" };
        let tls = plan.tls.as_ref().map(|tls| transport::configuration(tls, protocol));
        let tls = tls.transpose()?;
        let count = plan.streams.div_ceil(plan.streams_per_connection);
        let mut connections = Vec::with_capacity(count);
        for index in 0..count {
            let mut connection = Connection::open(&plan, tls.as_ref())?;
            let socket = &mut connection.transport.socket;
            poll.registry().register(socket, Token(index), Interest::READABLE)?;
            connections.push(connection);
        }
        let window = Window::new(plan.processes.clone());
        let finder = Finder::new(&plan.needle, plan.end.as_deref());
        Ok(Self {
            plan,
            finder,
            poll,
            connections,
            buffer: vec![0; 256 << 10],
            progress: Vec::new(),
            started: clock::now(),
            sent: 0,
            begun: 0,
            ended: 0,
            window,
            delays: Vec::new(),
            first_tokens: Vec::new(),
            report: Report::default(),
        })
    }

    fn work(&mut self) -> Result<()> {
        let mut events = Events::with_capacity(4096);
        let deadline = self.started + self.plan.timeout * 1_000_000;
        while !self.is_done() {
            let now = clock::now();
            if now > deadline {
                self.error(format!("not ended after {} s", self.plan.timeout));
                return Ok(());
            }
            self.send_due(now)?;
            self.open_and_close_window(now)?;
            let wait = self.until_next(now).min(deadline - now) + 1;
            match self.poll.poll(&mut events, Some(Duration::from_micros(wait))) {
                Err(error) if error.kind() == ErrorKind::Interrupted => continue,
                other => other?,
            }
            for event in &events {
                if event.token() == STDIN {
                    return self.leave();
                }
                self.read(event.token().0)?;
            }
        }
        self.close_window(clock::now())
    }

    fn is_done(&self) -> bool {
        match self.plan.work {
            Work::Once | Work::Whole => self.ended == self.plan.streams,
            Work::Repeat { .. } => {
                let mut streams =
                    self.connections.iter().flat_map(|connection| &connection.streams);
                self.window.is_closed() && streams.all(|stream| !stream.is_running)
            }
            Work::Hold | Work::Stall | Work::Idle => false,
        }
    }

    /// Sends the first request of each stream whose moment has come.
    fn send_due(&mut self, now: u64) -> Result<()> {
        let is_silent = self.plan.work == Work::Idle && self.plan.upgrade.is_some();
        while !is_silent && self.sent < self.plan.streams && now >= self.next_send() {
            self.send(self.place(self.sent))?;
            self.sent += 1;
        }
        if self.plan.work == Work::Whole {
            self.open_window(now)?;
        }
        let is_all = is_silent || self.plan.work == Work::Stall && self.sent == self.plan.streams;
        if is_all { self.open_window(now) } else { Ok(()) }
    }

    /// The connection of a stream, and its place there.
    fn place(&self, stream: usize) -> Place {
        let each = self.plan.streams_per_connection;
        Place { connection: stream / each, stream: stream % each }
    }

    fn stream(&mut self, place: Place) -> &mut Stream {
        &mut self.connections[place.connection].streams[place.stream]
    }

    fn send(&mut self, place: Place) -> Result<()> {
        let connection = &mut self.connections[place.connection];
        connection.send(place.stream, &self.plan.request, clock::now())
    }

    fn next_send(&self) -> u64 {
        self.started + self.sent as u64 * self.plan.stagger
    }

    /// Microseconds until something is to be done that no event announces.
    fn until_next(&self, now: u64) -> u64 {
        let mut next = u64::MAX;
        if self.sent < self.plan.streams {
            next = self.next_send();
        }
        if let Work::Repeat { warm, seconds } = self.plan.work {
            next = match self.window.phase() {
                Phase::Before => next.min(self.started + warm * 1_000_000),
                Phase::Open { since, .. } => next.min(since + seconds * 1_000_000),
                Phase::Closed => next,
            };
        }
        next.saturating_sub(now)
    }

    /// Reads what has come on one connection.
    fn read(&mut self, connection: usize) -> Result<()> {
        if self.plan.work == Work::Stall {
            return Ok(());
        }
        let mut buffer = std::mem::take(&mut self.buffer);
        let mut progress = std::mem::take(&mut self.progress);
        let mut is_all = false;
        while !is_all {
            let result = self.connections[connection].read(&mut buffer, &mut progress);
            is_all = match result {
                Ok(is_all) => is_all,
                Err(error) => {
                    self.fail_all(connection, &format!("{error:#}"))?;
                    break;
                }
            };
            for (stream, what) in progress.drain(..) {
                let place = Place { connection, stream };
                self.scan(place)?;
                match what {
                    Progress::More => {}
                    Progress::Ended => self.end(place)?,
                    Progress::Cut => self.fail(place, "broken off before its end"),
                }
            }
        }
        progress.clear();
        self.progress = progress;
        self.buffer = buffer;
        Ok(())
    }

    /// Takes the tokens out of what was read.
    fn scan(&mut self, place: Place) -> Result<()> {
        let stream = &mut self.connections[place.connection].streams[place.stream];
        let now = clock::now();
        let is_open = self.window.is_open();
        let delays = &mut self.delays;
        let delay = |delay| {
            if is_open {
                delays.push(delay);
            }
        };
        let found = self.finder.scan(&mut stream.body, now, &mut stream.verifier, delay);
        self.report.tokens += found.tokens;
        if is_open {
            self.report.window.tokens += found.tokens;
        }
        if found.is_first {
            self.first_tokens.push(now - stream.sent);
            self.begun += 1;
            let opens = matches!(self.plan.work, Work::Once | Work::Hold);
            if opens && self.begun == self.plan.streams {
                self.open_window(now)?;
            }
        }
        if found.is_end { self.end(place) } else { Ok(()) }
    }

    /// A response has ended: its tokens are judged, and the next one may start.
    fn end(&mut self, place: Place) -> Result<()> {
        let expected = self.plan.tokens;
        let stream = self.stream(place);
        if !stream.is_running {
            return Ok(());
        }
        stream.is_running = false;
        let faults = std::mem::take(&mut stream.verifier).end(expected);
        self.report.faults.add(faults);
        self.report.responses += 1;
        self.ended += 1;
        let now = clock::now();
        match self.plan.work {
            Work::Once => self.close_window(now),
            Work::Idle if self.ended == self.plan.streams => self.open_window(now),
            Work::Whole | Work::Idle => Ok(()),
            Work::Repeat { .. } => {
                match self.window.phase() {
                    Phase::Before => {}
                    Phase::Open { .. } => self.report.window.responses += 1,
                    Phase::Closed => return Ok(()),
                }
                self.send(place)
            }
            Work::Hold | Work::Stall => {
                self.error("a response ended that should have been held".to_owned());
                Ok(())
            }
        }
    }

    /// A connection is of no more use.
    fn fail_all(&mut self, connection: usize, error: &str) -> Result<()> {
        self.poll.registry().deregister(&mut self.connections[connection].transport.socket)?;
        for stream in 0..self.plan.streams_per_connection {
            self.fail(Place { connection, stream }, error);
        }
        Ok(())
    }

    /// A response was broken off, so the row has failed.
    fn fail(&mut self, place: Place, error: &str) {
        let stream = self.stream(place);
        if stream.is_running {
            stream.is_running = false;
            let faults = std::mem::take(&mut stream.verifier).leave();
            self.report.faults.add(faults);
            self.ended += 1;
            self.error(format!("a stream on connection {}: {error}", place.connection));
        } else if self.plan.work == Work::Idle {
            self.error("an idle connection was closed".to_owned());
        }
    }

    fn error(&mut self, error: String) {
        if self.report.errors.len() < MAX_ERRORS {
            self.report.errors.push(error);
        }
    }

    fn open_and_close_window(&mut self, now: u64) -> Result<()> {
        let Work::Repeat { warm, seconds } = self.plan.work else { return Ok(()) };
        match self.window.phase() {
            Phase::Before if now >= self.started + warm * 1_000_000 => self.open_window(now),
            Phase::Open { since, .. } if now >= since + seconds * 1_000_000 => {
                self.close_window(now)
            }
            Phase::Before | Phase::Open { .. } | Phase::Closed => Ok(()),
        }
    }

    fn open_window(&mut self, now: u64) -> Result<()> {
        let is_held = matches!(self.plan.work, Work::Hold | Work::Stall | Work::Idle);
        if self.window.open(now)? && is_held {
            writeln!(stdout(), r#"{{"ready":{now}}}"#)?;
            let descriptor = stdin().as_raw_fd();
            let mut source = SourceFd(&descriptor);
            self.poll.registry().register(&mut source, STDIN, Interest::READABLE)?;
        }
        Ok(())
    }

    fn close_window(&mut self, now: u64) -> Result<()> {
        self.window.close(now, &mut self.report.window)
    }

    /// Closes all connections at once.
    fn leave(&mut self) -> Result<()> {
        self.close_window(clock::now())?;
        self.report.left = Some(clock::now());
        let connections = std::mem::take(&mut self.connections);
        for stream in connections.into_iter().flat_map(|connection| connection.streams) {
            self.report.faults.add(stream.verifier.leave());
        }
        Ok(())
    }

    fn report(mut self) -> Report {
        if self.report.window.micros == 0 {
            self.error("there was no time in which all streams ran".to_owned());
        }
        self.report.elapsed = clock::now() - self.started;
        self.report.delay = Spread::of(self.delays);
        self.report.first_token = Spread::of(self.first_tokens);
        self.report
    }
}

/// Reads a plan.
pub(crate) fn parse(plan: &str) -> Result<Plan> {
    let plan: Plan = serde_json::from_str(plan).context("the plan")?;
    let (all, each) = (plan.streams, plan.streams_per_connection);
    if all == 0 || each == 0 || all % each > 0 || each > 1 && !plan.http2 {
        bail!("{all} streams, {each} on each connection");
    }
    Ok(plan)
}
