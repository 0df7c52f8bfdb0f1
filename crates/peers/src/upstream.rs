//! The fake upstream: one thread that writes every token by itself, with its number and the moment it was written.

pub(crate) mod connection;
pub(crate) mod input;
pub(crate) mod script;

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashMap};
use std::io::{ErrorKind, Write, stdout};
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use mio::net::TcpListener;
use mio::{Events, Interest, Poll, Token};

use crate::clock;
use crate::upstream::connection::{Connection, Wrote};
use crate::upstream::input::{Asked, Input};
use crate::upstream::script::{Framing, Pace};

const LISTENER: Token = Token(usize::MAX);

/// Serves until it is ended.
pub(crate) fn serve(address: SocketAddr) -> Result<()> {
    let mut upstream = Upstream::listen(address)?;
    writeln!(stdout(), "{}", upstream.listener.local_addr()?)?;
    let mut events = Events::with_capacity(4096);
    loop {
        upstream.turn(&mut events)?;
    }
}

struct Upstream {
    poll: Poll,
    listener: TcpListener,
    connections: HashMap<usize, Connection>,
    accepted: usize,
    /// The paced streams, the next one first. Each stream that runs is here, or in `flat`, or parked, or silent.
    due: BinaryHeap<Reverse<(u64, usize, Framing)>>,
    /// The streams that are written as fast as they are read.
    flat: Vec<(usize, Framing)>,
    stats: Stats,
    input: Vec<u8>,
    output: Vec<u8>,
}

#[derive(Default)]
struct Stats {
    started: u64,
    ended: u64,
    /// Streams whose reader went before their end.
    left: u64,
    last_left: u64,
}

impl Upstream {
    fn listen(address: SocketAddr) -> Result<Self> {
        let poll = Poll::new()?;
        let mut listener = TcpListener::bind(address)?;
        poll.registry().register(&mut listener, LISTENER, Interest::READABLE)?;
        Ok(Self {
            poll,
            listener,
            connections: HashMap::new(),
            accepted: 0,
            due: BinaryHeap::new(),
            flat: Vec::new(),
            stats: Stats::default(),
            input: vec![0; 64 << 10],
            output: Vec::new(),
        })
    }

    fn turn(&mut self, events: &mut Events) -> Result<()> {
        let timeout = if self.flat.is_empty() { self.until_due() } else { Some(Duration::ZERO) };
        match self.poll.poll(events, timeout) {
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(()),
            other => other?,
        }
        for event in &*events {
            let Token(id) = event.token();
            if event.token() == LISTENER {
                self.accept()?;
                continue;
            }
            if event.is_writable() {
                self.flush(id);
            }
            if event.is_readable() || event.is_read_closed() || event.is_error() {
                self.read(id);
            }
        }
        self.write_due();
        self.write_flat();
        Ok(())
    }

    fn until_due(&self) -> Option<Duration> {
        let Reverse((due, ..)) = self.due.peek()?;
        Some(Duration::from_micros(due.saturating_sub(clock::now())))
    }

    fn accept(&mut self) -> Result<()> {
        loop {
            let mut socket = match self.listener.accept() {
                Ok((socket, _)) => socket,
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(()),
                Err(error) if error.kind() == ErrorKind::ConnectionAborted => continue,
                Err(error) => return Err(error.into()),
            };
            socket.set_nodelay(true)?;
            let id = self.accepted;
            self.accepted += 1;
            let both = Interest::READABLE | Interest::WRITABLE;
            self.poll.registry().register(&mut socket, Token(id), both)?;
            self.connections.insert(id, Connection::new(socket));
        }
    }

    fn read(&mut self, id: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.read(&mut self.input) {
            Ok(true) => self.respond(id),
            Ok(false) | Err(_) => self.close(id),
        }
    }

    /// Does what has been asked so far.
    fn respond(&mut self, id: usize) {
        loop {
            let Some(connection) = self.connections.get_mut(&id) else { return };
            match connection.next() {
                Ok(None) => return,
                Ok(Some(Input::Request(framing, asked))) => self.start(id, framing, asked),
                Ok(Some(Input::Reset(stream))) => {
                    if connection.reset(stream) {
                        self.stats.leave(1);
                    }
                }
                Ok(Some(Input::Room)) => self.unpark(id),
                Err(error) => {
                    report(&error);
                    self.close(id);
                }
            }
        }
    }

    fn start(&mut self, id: usize, framing: Framing, asked: Asked) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        let out = &mut self.output;
        let result = match asked {
            Asked::Stream(script) => {
                self.stats.started += 1;
                let result = connection.start(framing, script, clock::now(), out);
                result.map(|wrote| Some((script.pace, wrote)))
            }
            Asked::Stats => connection.whole(framing, &self.stats.json(), out).map(|()| None),
            Asked::Models => {
                connection.whole(framing, r#"{"object":"list","data":[]}"#, out).map(|()| None)
            }
        };
        match result {
            Ok(None) => {}
            Ok(Some((pace, Wrote::Token(due)))) => self.schedule(id, framing, pace, due),
            Ok(Some((_, Wrote::End | Wrote::NoRoom))) => self.stats.ended += 1,
            Err(_) => self.close(id),
        }
    }

    fn schedule(&mut self, id: usize, framing: Framing, pace: Pace, due: u64) {
        match pace {
            Pace::Flat => self.flat.push((id, framing)),
            Pace::Step | Pace::Own => self.due.push(Reverse((due, id, framing))),
            Pace::Silent => {}
        }
    }

    /// One token for each paced stream whose moment has come.
    fn write_due(&mut self) {
        while let Some(Reverse((due, id, framing))) = self.due.peek().copied() {
            if due > clock::now() {
                return;
            }
            self.due.pop();
            if let Some(next) = self.write(id, framing) {
                self.due.push(Reverse((next, id, framing)));
            }
        }
    }

    /// One token for each stream that has no pace.
    fn write_flat(&mut self) {
        let mut streams = std::mem::take(&mut self.flat);
        streams.retain(|(id, framing)| self.write(*id, *framing).is_some());
        // A stream that ended may have been followed by the next one on its connection.
        streams.append(&mut self.flat);
        self.flat = streams;
    }

    /// Writes one token; gives when the next one is due, or nothing if there is none before there is room.
    fn write(&mut self, id: usize, framing: Framing) -> Option<u64> {
        let connection = self.connections.get_mut(&id)?;
        match connection.token(framing, clock::now(), &mut self.output) {
            Ok(Some(Wrote::Token(due))) => return Some(due),
            Ok(Some(Wrote::End)) => {
                self.stats.ended += 1;
                self.respond(id);
            }
            Ok(Some(Wrote::NoRoom) | None) => {}
            Err(_) => self.close(id),
        }
        None
    }

    /// The socket has room again.
    fn flush(&mut self, id: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        match connection.flush() {
            Ok(()) => {
                self.unpark(id);
                self.respond(id);
            }
            Err(_) => self.close(id),
        }
    }

    /// There may be room for the streams of this connection that wait for it.
    fn unpark(&mut self, id: usize) {
        let Some(connection) = self.connections.get_mut(&id) else { return };
        for (framing, pace, due) in connection.unpark() {
            self.schedule(id, framing, pace, due);
        }
    }

    fn close(&mut self, id: usize) {
        let Some(mut connection) = self.connections.remove(&id) else { return };
        self.stats.leave(connection.running());
        // Closing it deregisters it, too.
        drop(self.poll.registry().deregister(&mut connection.socket));
    }
}

impl Stats {
    fn leave(&mut self, streams: usize) {
        if streams > 0 {
            self.left += streams as u64;
            self.last_left = clock::now();
        }
    }

    fn json(&self) -> String {
        let Self { started, ended, left, last_left } = self;
        format!(r#"{{"started":{started},"ended":{ended},"left":{left},"last_left":{last_left}}}"#)
    }
}

#[expect(clippy::print_stderr, reason = "a request that is not understood is a fault of the bench")]
fn report(error: &anyhow::Error) {
    eprintln!("upstream: {error:#}");
}
