//! One connection of the upstream: requests are read, and each response is written as its script says.

use std::io::{ErrorKind, Read, Write};

use anyhow::{Result, bail};
use mio::net::TcpStream;

use crate::h2;
use crate::upstream::input::{self, Http2, Input};
use crate::upstream::script::{Framing, Pace, Script};

/// A request that is longer is none of ours.
const MAX_REQUEST: usize = 1 << 20;

/// More than any one write of a stream.
const WRITE_BYTES: usize = 1 << 10;

/// A response that is being written.
pub(crate) struct Running {
    framing: Framing,
    pub script: Script,
    next: u64,
    /// When the next token is due.
    pub due: u64,
    /// Whether it waits for room to write.
    is_parked: bool,
}

/// What became of a token.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wrote {
    /// It was written; when the next one is due.
    Token(u64),
    /// It was the end.
    End,
    /// There is no room; the stream is parked.
    NoRoom,
}

pub(crate) struct Connection {
    pub socket: TcpStream,
    input: Vec<u8>,
    /// What the socket had no room for; no more is written before it is gone.
    pending: Vec<u8>,
    http2: Option<Http2>,
    running: Vec<Running>,
}

impl Connection {
    pub(crate) fn new(socket: TcpStream) -> Self {
        Self { socket, input: Vec::new(), pending: Vec::new(), http2: None, running: Vec::new() }
    }

    /// Takes what the peer has sent. `false` if it has closed.
    pub(crate) fn read(&mut self, buffer: &mut [u8]) -> Result<bool> {
        loop {
            match self.socket.read(buffer) {
                Ok(0) => return Ok(false),
                Ok(read) => {
                    self.input.extend_from_slice(&buffer[..read]);
                    if self.input.len() > MAX_REQUEST {
                        bail!("a request of more than {MAX_REQUEST} bytes");
                    }
                    // Less than there was room for: the rest comes with an event of its own.
                    if read < buffer.len() {
                        return Ok(true);
                    }
                }
                Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// The next thing that the peer wants; over HTTP/1.1 nothing before the response that is running has ended.
    pub(crate) fn next(&mut self) -> Result<Option<Input>> {
        if self.http2.is_none() && self.input.starts_with(h2::PREFACE) {
            self.input.drain(..h2::PREFACE.len());
            self.http2 = Some(Http2::new());
            let mut out = Vec::new();
            h2::open(&mut out);
            self.write(&out)?;
        }
        let Some(http2) = &mut self.http2 else {
            let is_busy = !self.running.is_empty() || !self.pending.is_empty();
            return if is_busy { Ok(None) } else { input::next(&mut self.input) };
        };
        let mut reply = Vec::new();
        let next = http2.next(&mut self.input, &mut reply)?;
        self.write(&reply)?;
        Ok(next)
    }

    /// Starts a stream: its head, its first token, and its end if that is all.
    pub(crate) fn start(
        &mut self,
        framing: Framing,
        script: Script,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Wrote> {
        out.clear();
        framing.open(out);
        if script.tokens > 0 {
            framing.token(out, 0, now);
        }
        let wrote = if script.tokens <= 1 && script.pace != Pace::Silent {
            framing.finish(out, &script);
            Wrote::End
        } else {
            let due = script.after(now);
            self.running.push(Running { framing, script, next: 1, due, is_parked: false });
            Wrote::Token(due)
        };
        self.write_stream(framing, out)?;
        if wrote == Wrote::End {
            self.forget(framing);
        }
        Ok(wrote)
    }

    /// Writes one more token of a stream, or the end if that was the last. Nothing if there is no such stream any more.
    pub(crate) fn token(
        &mut self,
        framing: Framing,
        now: u64,
        out: &mut Vec<u8>,
    ) -> Result<Option<Wrote>> {
        let is_full = !self.pending.is_empty()
            || self
                .http2
                .as_ref()
                .is_some_and(|http2| !http2.has_room(stream(framing), WRITE_BYTES));
        let Some(index) = self.running.iter().position(|running| running.framing == framing) else {
            return Ok(None);
        };
        let running = &mut self.running[index];
        if is_full {
            running.is_parked = true;
            return Ok(Some(Wrote::NoRoom));
        }
        out.clear();
        if running.next == running.script.tokens {
            framing.finish(out, &running.script);
            self.running.swap_remove(index);
            self.write_stream(framing, out)?;
            self.forget(framing);
            return Ok(Some(Wrote::End));
        }
        framing.token(out, running.next, now);
        running.next += 1;
        running.due = running.script.after(running.due);
        let due = running.due;
        self.write_stream(framing, out)?;
        Ok(Some(Wrote::Token(due)))
    }

    /// Writes a response that is no stream.
    pub(crate) fn whole(&mut self, framing: Framing, body: &str, out: &mut Vec<u8>) -> Result<()> {
        out.clear();
        framing.whole(out, body);
        self.write_stream(framing, out)?;
        self.forget(framing);
        Ok(())
    }

    /// Writes what there was no room for.
    pub(crate) fn flush(&mut self) -> Result<()> {
        let pending = std::mem::take(&mut self.pending);
        self.write(&pending)
    }

    /// The streams that wait for room, which are parked no longer.
    pub(crate) fn unpark(&mut self) -> Vec<(Framing, Pace, u64)> {
        if !self.pending.is_empty() {
            return Vec::new();
        }
        let parked = self.running.iter_mut().filter(|running| running.is_parked);
        parked
            .map(|running| {
                running.is_parked = false;
                (running.framing, running.script.pace, running.due)
            })
            .collect()
    }

    /// Ends a stream that its reader has left. Whether there was one.
    pub(crate) fn reset(&mut self, stream: u32) -> bool {
        let before = self.running.len();
        self.running.retain(|running| running.framing != Framing::Frames(stream));
        self.running.len() < before
    }

    /// How many streams run.
    pub(crate) fn running(&self) -> usize {
        self.running.len()
    }

    fn forget(&mut self, framing: Framing) {
        if let Some(http2) = &mut self.http2 {
            http2.forget(stream(framing));
        }
    }

    fn write_stream(&mut self, framing: Framing, bytes: &[u8]) -> Result<()> {
        if let Some(http2) = &mut self.http2 {
            // The headers of the frames are not counted, and a few bytes too many do no harm.
            http2.wrote(stream(framing), bytes.len());
        }
        self.write(bytes)
    }

    fn write(&mut self, bytes: &[u8]) -> Result<()> {
        if !self.pending.is_empty() {
            self.pending.extend_from_slice(bytes);
            return Ok(());
        }
        let mut written = 0;
        while written < bytes.len() {
            match self.socket.write(&bytes[written..]) {
                Ok(0) => bail!("the socket takes nothing"),
                Ok(more) => written += more,
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.pending.extend_from_slice(&bytes[written..]);
                    return Ok(());
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn stream(framing: Framing) -> u32 {
    match framing {
        Framing::Chunks => 0,
        Framing::Frames(stream) => stream,
    }
}
