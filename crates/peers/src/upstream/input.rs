//! The requests in what a connection has sent, in HTTP/1.1 or, if it starts so, in HTTP/2.

use std::collections::HashMap;

use anyhow::{Result, bail};
use memchr::memmem;

use crate::h2::{self, Frame};
use crate::upstream::script::{Framing, Script};

/// What a request asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Asked {
    Stream(Script),
    Stats,
    /// Anything else: what most servers ask for is the list of models.
    Models,
}

/// What came of a piece of input.
#[derive(Debug)]
pub(crate) enum Input {
    Request(Framing, Asked),
    /// The peer has no more interest in this stream.
    Reset(u32),
    /// There may be more room to write.
    Room,
}

/// The requests that are being read over HTTP/2, and how much may be written.
#[derive(Debug)]
pub(crate) struct Http2 {
    bodies: HashMap<u32, Vec<u8>>,
    connection_window: i64,
    initial_window: i64,
    windows: HashMap<u32, i64>,
}

impl Http2 {
    pub(crate) fn new() -> Self {
        let window = i64::from(h2::DEFAULT_WINDOW);
        Self {
            bodies: HashMap::new(),
            connection_window: window,
            initial_window: window,
            windows: HashMap::new(),
        }
    }

    /// Whether this stream and the connection have room for this number of bytes.
    pub(crate) fn has_room(&self, stream: u32, bytes: usize) -> bool {
        let room = self.connection_window.min(self.windows.get(&stream).copied().unwrap_or(0));
        i64::try_from(bytes).is_ok_and(|bytes| bytes <= room)
    }

    /// This number of bytes of DATA was written.
    pub(crate) fn wrote(&mut self, stream: u32, bytes: usize) {
        let bytes = i64::try_from(bytes).unwrap_or_default();
        self.connection_window -= bytes;
        if let Some(window) = self.windows.get_mut(&stream) {
            *window -= bytes;
        }
    }

    /// A response is over.
    pub(crate) fn forget(&mut self, stream: u32) {
        self.windows.remove(&stream);
        self.bodies.remove(&stream);
    }

    /// Takes the next frame that means something; appends what has to be sent back.
    pub(crate) fn next(
        &mut self,
        input: &mut Vec<u8>,
        reply: &mut Vec<u8>,
    ) -> Result<Option<Input>> {
        let mut taken = 0;
        let mut found = None;
        while let (None, Some(frame)) = (&found, Frame::read(&input[taken..])?) {
            found = self.frame(&frame, frame.payload(&input[taken..]), reply)?;
            taken += frame.bytes();
        }
        input.drain(..taken);
        Ok(found)
    }

    fn frame(
        &mut self,
        frame: &Frame,
        payload: &[u8],
        reply: &mut Vec<u8>,
    ) -> Result<Option<Input>> {
        let stream = frame.stream;
        match frame.kind {
            h2::HEADERS => {
                self.windows.insert(stream, self.initial_window);
                self.bodies.insert(stream, Vec::new());
                return self.end(frame, stream);
            }
            h2::DATA => {
                self.bodies.entry(stream).or_default().extend_from_slice(payload);
                return self.end(frame, stream);
            }
            h2::SETTINGS => {
                h2::acknowledge(reply, frame, payload);
                if let Some(window) = h2::initial_window(payload) {
                    let more = i64::from(window) - self.initial_window;
                    self.initial_window += more;
                    self.windows.values_mut().for_each(|window| *window += more);
                }
                return Ok(Some(Input::Room));
            }
            h2::PING => h2::acknowledge(reply, frame, payload),
            h2::WINDOW_UPDATE => {
                let more = i64::from(h2::increment(payload));
                if stream == 0 {
                    self.connection_window += more;
                } else if let Some(window) = self.windows.get_mut(&stream) {
                    *window += more;
                }
                return Ok(Some(Input::Room));
            }
            h2::RST_STREAM => {
                self.forget(stream);
                return Ok(Some(Input::Reset(stream)));
            }
            _ => {}
        }
        Ok(None)
    }

    /// The request, if this was its last frame.
    fn end(&mut self, frame: &Frame, stream: u32) -> Result<Option<Input>> {
        if !frame.has(h2::END_STREAM) {
            return Ok(None);
        }
        let body = self.bodies.remove(&stream).unwrap_or_default();
        let asked = if body.is_empty() { Asked::Models } else { Asked::Stream(Script::of(&body)?) };
        Ok(Some(Input::Request(Framing::Frames(stream), asked)))
    }
}

/// Takes the next whole request of HTTP/1.1.
pub(crate) fn next(input: &mut Vec<u8>) -> Result<Option<Input>> {
    let Some(head) = memmem::find(input, b"\r\n\r\n") else { return Ok(None) };
    let body = head + 4;
    let end = body + content_length(&input[..body])?;
    if input.len() < end {
        return Ok(None);
    }
    let asked = if input.starts_with(b"GET /stats") {
        Asked::Stats
    } else if input.starts_with(b"POST ") {
        Asked::Stream(Script::of(&input[body..end])?)
    } else {
        Asked::Models
    };
    input.drain(..end);
    Ok(Some(Input::Request(Framing::Chunks, asked)))
}

/// How long the body of a request is, by its head.
fn content_length(head: &[u8]) -> Result<usize> {
    for line in head.split(|byte| *byte == b'\n') {
        let Some(colon) = line.iter().position(|byte| *byte == b':') else { continue };
        let (name, value) = (&line[..colon], &line[colon + 1..]);
        if name.eq_ignore_ascii_case(b"content-length") {
            return Ok(std::str::from_utf8(value.trim_ascii())?.parse()?);
        }
        if name.eq_ignore_ascii_case(b"transfer-encoding") {
            bail!("a request in chunks, which no server of this bench was seen to send");
        }
    }
    Ok(0)
}
