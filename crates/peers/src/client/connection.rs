//! One connection of the client: it sends requests and gives the bodies of the responses.

use std::io::{ErrorKind, Read, Write};
use std::net::TcpStream;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use memchr::memmem;
use rustls::ClientConfig;

use crate::client::plan::Plan;
use crate::client::stream::{Progress, Stream};
use crate::client::transport::{Opening, Transport};
use crate::client::{http, http2, websocket};
use crate::verify::Verifier;

/// How long a server may take to accept a connection and to make it a WebSocket.
const PATIENCE: Duration = Duration::from_secs(20);

enum Protocol {
    Http(http::Decoder),
    Http2(http2::Decoder),
    WebSocket(websocket::Decoder),
}

pub(crate) struct Connection {
    pub transport: Transport,
    protocol: Protocol,
    pub streams: Vec<Stream>,
}

impl Connection {
    /// Connects, and makes it a WebSocket or an HTTP/2 connection if the plan says so.
    pub(crate) fn open(plan: &Plan, tls: Option<&Arc<ClientConfig>>) -> Result<Self> {
        let mut socket = connect(plan, tls)?;
        let protocol = if let Some(upgrade) = &plan.upgrade {
            Protocol::WebSocket(upgraded(&mut socket, upgrade).context("upgrade")?)
        } else if plan.http2 {
            let mut out = Vec::new();
            http2::Decoder::open(&mut out);
            socket.write_all(&out)?;
            socket.flush()?;
            Protocol::Http2(http2::Decoder::default())
        } else {
            Protocol::Http(http::Decoder::default())
        };
        let transport = socket.finish()?;
        let streams = (0..plan.streams_per_connection).map(|_| Stream::default()).collect();
        Ok(Self { transport, protocol, streams })
    }

    /// Sends the request of the next response.
    pub(crate) fn send(&mut self, stream: usize, request: &str, now: u64) -> Result<()> {
        let stream = &mut self.streams[stream];
        stream.sent = now;
        stream.is_running = true;
        stream.verifier = Verifier::default();
        let bytes = match &mut self.protocol {
            Protocol::Http(decoder) => {
                decoder.restart();
                request.as_bytes().into()
            }
            Protocol::Http2(decoder) => {
                stream.http2 = decoder.next_stream();
                stream.has_head = false;
                http2::request(request, stream.http2)?.into()
            }
            Protocol::WebSocket(_) => std::borrow::Cow::from(websocket::text(request)),
        };
        self.transport.send(&bytes).context("send")
    }

    /// Reads once what there is, and says what became of which stream; gives whether all was read.
    pub(crate) fn read(
        &mut self,
        buffer: &mut [u8],
        progress: &mut Vec<(usize, Progress)>,
    ) -> Result<bool> {
        let read = match self.transport.read(buffer) {
            Ok(0) => {
                let end = self.closed();
                progress.extend((0..self.streams.len()).map(|index| (index, end)));
                return Ok(true);
            }
            Ok(read) => read,
            Err(error) if error.kind() == ErrorKind::WouldBlock => return Ok(true),
            Err(error) if error.kind() == ErrorKind::Interrupted => return Ok(false),
            Err(error) => return Err(error).context("read"),
        };
        let bytes = &buffer[..read];
        match &mut self.protocol {
            Protocol::Http(decoder) => {
                let taken = decoder.feed(bytes, &mut self.streams[0].body)?;
                ensure!(taken == read, "more came after the end of the response");
                let is_ended = decoder.is_ended();
                progress.push((0, if is_ended { Progress::Ended } else { Progress::More }));
            }
            Protocol::Http2(decoder) => {
                let mut reply = Vec::new();
                decoder.feed(bytes, &mut self.streams, progress, &mut reply)?;
                self.transport.send(&reply)?;
            }
            Protocol::WebSocket(decoder) => {
                let mut reply = Vec::new();
                decoder.feed(bytes, &mut self.streams[0].body, &mut reply)?;
                self.transport.send(&reply)?;
                progress.push((0, Progress::More));
            }
        }
        // Less than there was room for: the rest comes with an event of its own.
        Ok(read < buffer.len() && self.transport.ends_short())
    }

    fn closed(&self) -> Progress {
        match &self.protocol {
            Protocol::Http(decoder) if decoder.may_close() => Progress::Ended,
            Protocol::Http(_) | Protocol::Http2(_) | Protocol::WebSocket(_) => Progress::Cut,
        }
    }
}

fn connect(plan: &Plan, tls: Option<&Arc<ClientConfig>>) -> Result<Opening> {
    let socket = TcpStream::connect_timeout(&plan.address, PATIENCE).context("connect")?;
    socket.set_nodelay(true)?;
    socket.set_read_timeout(Some(PATIENCE))?;
    Opening::new(socket, tls).context("TLS")
}

/// Asks for a WebSocket and reads the head of the response.
fn upgraded(socket: &mut Opening, upgrade: &str) -> Result<websocket::Decoder> {
    socket.write_all(upgrade.as_bytes())?;
    socket.flush()?;
    let (mut head, mut buffer) = (Vec::new(), [0; 4096]);
    let end = loop {
        if let Some(end) = memmem::find(&head, b"\r\n\r\n") {
            break end + 4;
        }
        let read = socket.read(&mut buffer)?;
        ensure!(read > 0, "closed");
        head.extend_from_slice(&buffer[..read]);
    };
    if !head.starts_with(b"HTTP/1.1 101") {
        bail!("{}", String::from_utf8_lossy(&head));
    }
    ensure!(end == head.len(), "messages before the first request");
    Ok(websocket::Decoder::default())
}
