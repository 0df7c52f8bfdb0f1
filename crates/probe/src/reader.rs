//! Reads one streamed response and notes when each read returned and each event was complete.

use std::collections::VecDeque;
use std::io;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use bytes::BytesMut;
use client::http1::{Body, Headers, Piece, take_head};
use client::{ByteStream, Request, now};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::time::timeout;

use crate::decode::{BodyFormat, Coding, EventDecoder, EventFields, Item};
use crate::place::{Connecting, Place};
use crate::scan::ByteScan;
use crate::trace::{Arrival, Read, Trace};

/// The size of one read: no proxy's buffer is larger, and a TLS record is smaller.
const READ: usize = 64 << 10;

/// The most bytes of a body that are read.
const MAX_BODY_BYTES: usize = 64 << 20;

/// When what happened, from the request on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Phases {
    /// The head of the response was complete.
    pub head: Duration,
    /// The first byte of the body.
    pub first_byte: Option<Duration>,
    /// The first event.
    pub first_event: Option<Duration>,
    /// The first event with a part of the model's text.
    pub first_text: Option<Duration>,
    /// The end of the body, or when reading stopped.
    pub end: Option<Duration>,
}

/// How a body ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StreamEnd {
    /// As HTTP marks an end: the last chunk, the whole length, or a close frame.
    Complete,
    /// Only the connection ended, where nothing else marks the end of a body.
    Closed,
    /// The connection ended before the body was complete.
    Broken(Option<io::ErrorKind>),
    /// The probe stopped reading.
    Stopped,
    /// Nothing came for as long as the probe waits.
    Silent,
}

/// An event, and when it arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SeenEvent {
    /// Its fields.
    pub fields: EventFields,
    /// When the read that completed it returned, from the request on.
    pub at: Duration,
}

impl SeenEvent {
    /// Whether it is the sentinel of OpenAI's streams, which is no JSON.
    pub fn is_sentinel(&self) -> bool {
        self.fields.data.trim_ascii() == b"[DONE]"
    }
}

/// A response that is being read.
pub struct StreamReader {
    /// How the connection was opened.
    pub connecting: Connecting,
    /// The status.
    pub status: u16,
    /// The header fields.
    pub headers: Headers,
    /// What was seen so far.
    pub trace: Trace,
    /// When what happened.
    pub phases: Phases,
    /// The bytes of the body.
    pub scan: ByteScan,
    /// Keep-alives so far.
    pub heartbeats: u64,
    /// How events are told apart.
    pub format: BodyFormat,
    /// How the body ended; `None` while it goes on.
    pub end: Option<StreamEnd>,
    /// Whether the body ended inside of an event.
    pub ends_inside_event: bool,
    /// The instant from which everything counts.
    pub started: Instant,
    stream: ByteStream,
    buffer: BytesMut,
    body: Body,
    coding: Coding,
    decoder: Option<EventDecoder>,
    ready: VecDeque<SeenEvent>,
    has_started: bool,
    body_bytes: usize,
    patience: Duration,
}

impl StreamReader {
    /// Opens a connection, sends a request on it, and reads the head of the response.
    ///
    /// # Errors
    /// The server cannot be reached, or does not respond with HTTP in time.
    pub async fn open(place: &Place, request: &Request) -> Result<Self> {
        let (opened, connecting) = place.connect().await?;
        let mut stream = opened.stream;
        let bytes = request.encode(&place.authority());
        let started = now();
        stream.write_all(&bytes).await.context("sending the request")?;
        stream.flush().await.context("sending the request")?;
        let mut buffer = BytesMut::with_capacity(READ);
        let patience = place.timeout();
        let head = loop {
            if let Some(head) = take_head(&mut buffer)? {
                if head.start_line.split(' ').nth(1).is_some_and(|code| code.starts_with('1')) {
                    continue;
                }
                break head;
            }
            buffer.reserve(READ);
            let read = timeout(patience, stream.read_buf(&mut buffer)).await;
            let read = read.with_context(|| {
                format!("{} sent no response within {} s", place.shown(), patience.as_secs())
            })?;
            let read = read.context("reading the head of the response")?;
            ensure!(read > 0, "{} closed the connection before it responded", place.shown());
        };
        let phases = Phases { head: started.elapsed(), ..Phases::default() };
        let status = head.start_line.split(' ').nth(1).and_then(|code| code.parse().ok());
        let Some(status) = status.filter(|_| head.start_line.starts_with("HTTP/1.")) else {
            bail!("{} does not speak HTTP/1: {:?}", place.shown(), head.start_line);
        };
        let is_empty = request.method == "HEAD" || status == 204 || status == 304;
        let body = if is_empty {
            Body::Length(0)
        } else {
            Body::announced(&head.headers, Body::UntilClose)?
        };
        let coding = Coding::of(head.headers.get("content-encoding"))?;
        let media_type = media_type(&head.headers).to_owned();
        let format = BodyFormat::of(&media_type);
        Ok(Self {
            connecting,
            status,
            headers: head.headers,
            trace: Trace::default(),
            phases,
            scan: ByteScan::default(),
            heartbeats: 0,
            format: format.unwrap_or(BodyFormat::Opaque),
            end: None,
            ends_inside_event: false,
            started,
            stream,
            buffer,
            body,
            coding,
            decoder: format.map(EventDecoder::new),
            ready: VecDeque::new(),
            has_started: false,
            body_bytes: 0,
            patience,
        })
    }

    /// The next event; `None` at the end of the body, however it ended.
    ///
    /// # Errors
    /// The body is no valid HTTP, its content coding is damaged, or an event is too large.
    pub async fn next(&mut self) -> Result<Option<SeenEvent>> {
        loop {
            if let Some(event) = self.ready.pop_front() {
                return Ok(Some(event));
            }
            if self.end.is_some() {
                return Ok(None);
            }
            // What came together with the head arrived with it; a body may also be empty.
            if !std::mem::replace(&mut self.has_started, true) {
                self.take(self.phases.head)?;
                continue;
            }
            self.buffer.reserve(READ);
            match timeout(self.patience, self.stream.read_buf(&mut self.buffer)).await {
                Err(_elapsed) => self.finish(StreamEnd::Silent),
                Ok(Ok(0)) if self.body == Body::UntilClose => self.finish(StreamEnd::Closed),
                Ok(Ok(0)) => self.finish(StreamEnd::Broken(None)),
                Ok(Err(error)) => self.finish(StreamEnd::Broken(Some(error.kind()))),
                Ok(Ok(_)) => {
                    let at = self.started.elapsed();
                    self.take(at)?;
                }
            }
        }
    }

    /// Reads to the end, but not beyond `until` after the request.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn collect(&mut self, until: Duration) -> Result<Vec<SeenEvent>> {
        let mut events = Vec::new();
        loop {
            let left = until.saturating_sub(self.started.elapsed());
            match timeout(left, self.next()).await {
                Ok(event) => match event? {
                    Some(event) => events.push(event),
                    None => return Ok(events),
                },
                Err(_elapsed) => {
                    self.stop();
                    return Ok(events);
                }
            }
        }
    }

    /// The whole body as text, at most one MiB of it: of an error, or of a document.
    ///
    /// # Errors
    /// As [`Self::next`].
    pub async fn text(&mut self) -> Result<String> {
        self.decoder = Some(EventDecoder::new(BodyFormat::Opaque));
        let mut text = Vec::new();
        while let Some(event) = self.next().await? {
            text.extend_from_slice(&event.fields.data);
            if text.len() > 1 << 20 {
                break;
            }
        }
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    /// Stops reading.
    pub fn stop(&mut self) {
        self.finish(StreamEnd::Stopped);
    }

    /// The media type of the body.
    pub fn media_type(&self) -> &str {
        media_type(&self.headers)
    }

    fn finish(&mut self, end: StreamEnd) {
        if self.end.is_none() {
            self.phases.end = Some(self.started.elapsed());
            self.end = Some(end);
            if !matches!(end, StreamEnd::Stopped) {
                self.ends_inside_event =
                    self.decoder.as_mut().is_some_and(EventDecoder::ends_inside_event);
            }
        }
    }

    /// Takes what one read has brought.
    fn take(&mut self, at: Duration) -> Result<()> {
        let mut bytes = 0;
        let mut ends_inside_event = false;
        let mut is_over = false;
        loop {
            match self.body.take(&mut self.buffer)? {
                Piece::NeedMore => break,
                Piece::End => {
                    is_over = true;
                    break;
                }
                Piece::Data(data) => {
                    bytes += data.len();
                    let decoded = self.coding.decode(&data)?;
                    if decoded.is_empty() {
                        continue;
                    }
                    self.scan.push(&decoded);
                    // Events end with a line: a hop that cuts by size hardly ever cuts there.
                    ends_inside_event = !decoded.ends_with(b"\n");
                    let decoder = self.decoder.get_or_insert_with(|| {
                        self.format = BodyFormat::sniff(&decoded);
                        EventDecoder::new(self.format)
                    });
                    decoder.push(&decoded);
                    Self::collect_ready(decoder, at, &mut self.heartbeats, &mut self.ready)?;
                }
            }
        }
        if bytes > 0 {
            self.phases.first_byte.get_or_insert(at);
            self.trace.reads.push(Read { at, bytes, ends_inside_event });
            self.body_bytes += bytes;
            ensure!(
                self.body_bytes <= MAX_BODY_BYTES,
                "the body is larger than {} MiB; the probe reads no more",
                MAX_BODY_BYTES >> 20
            );
        }
        for event in self.ready.iter().filter(|event| event.at == at) {
            self.phases.first_event.get_or_insert(at);
            let bytes = event.fields.data.len();
            self.trace.arrivals.push(Arrival { at, bytes, sent_us: None });
        }
        if is_over {
            self.finish(StreamEnd::Complete);
        }
        Ok(())
    }

    fn collect_ready(
        decoder: &mut EventDecoder,
        at: Duration,
        heartbeats: &mut u64,
        ready: &mut VecDeque<SeenEvent>,
    ) -> Result<()> {
        while let Some(item) = decoder.next_item()? {
            match item {
                Item::Event(fields) => ready.push_back(SeenEvent { fields, at }),
                Item::Heartbeat => *heartbeats += 1,
            }
        }
        Ok(())
    }
}

fn media_type(headers: &Headers) -> &str {
    headers.get("content-type").unwrap_or_default().split(';').next().unwrap_or_default().trim()
}
