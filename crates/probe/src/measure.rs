//! Measures one stream from the request to its end, over HTTP or a WebSocket.

use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use client::Request;
use client::http1::Headers;
use client::websocket::{End, Handshake, Message, Socket, shake_hands};
use serde_json::Value;
use tokio::time::timeout;

use crate::clock::ServerClock;
use crate::decode::{BodyFormat, EventFields};
use crate::dialect::{Credentials, Dialect};
use crate::framing::stream::FramedStream;
use crate::place::{Connecting, Place};
use crate::reader::{Phases, SeenEvent, StreamEnd, StreamReader};
use crate::scan::ByteScan;
use crate::stall::StallWatch;
use crate::target::error_message;
use crate::trace::{Arrival, Read, Trace};

/// How events travel.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transport {
    /// Server-Sent Events.
    Sse,
    /// NDJSON.
    Ndjson,
    /// WebSocket.
    WebSocket,
    /// A body of another type.
    Bytes,
}

impl Transport {
    /// Its name in JSON.
    pub fn name(self) -> &'static str {
        match self {
            Self::Sse => "sse",
            Self::Ndjson => "ndjson",
            Self::WebSocket => "websocket",
            Self::Bytes => "bytes",
        }
    }

    /// Its name for people.
    pub fn title(self) -> &'static str {
        match self {
            Self::Sse => "SSE",
            Self::Ndjson => "NDJSON",
            Self::WebSocket => "WebSocket",
            Self::Bytes => "HTTP body",
        }
    }
}

/// A stream that was measured.
#[derive(Clone, Debug)]
pub struct Measured {
    /// How its events travelled.
    pub transport: Transport,
    /// Its API.
    pub dialect: Dialect,
    /// How the connection was opened.
    pub connecting: Connecting,
    /// The head of the response.
    pub headers: Headers,
    /// When what happened.
    pub phases: Phases,
    /// What was seen.
    pub trace: Trace,
    /// The events.
    pub events: Vec<SeenEvent>,
    /// How it ended.
    pub end: StreamEnd,
    /// Whether it ended inside of an event.
    pub ends_inside_event: bool,
    /// How events were told apart.
    pub format: BodyFormat,
    /// The bytes of the body; `None` for a WebSocket.
    pub scan: Option<ByteScan>,
    /// Keep-alives.
    pub heartbeats: u64,
    /// The code of the close frame of a WebSocket.
    pub close_code: Option<u16>,
}

/// A stream that was refused.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// The status.
    pub status: u16,
    /// What the body says, in short.
    pub message: String,
}

impl std::fmt::Display for Refused {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(formatter, "status {}{}", self.status, self.message)
    }
}

/// The outcome of a measurement.
pub type Outcome = std::result::Result<Box<Measured>, Refused>;

/// What every measurement needs.
#[derive(Clone, Copy)]
pub struct Meter<'a> {
    /// Notes the stalls of this machine.
    pub watch: &'a StallWatch,
    /// How long one stream is read at most.
    pub longest: Duration,
}

impl Meter<'_> {
    /// Sends a request and reads the stream to its end.
    ///
    /// # Errors
    /// The server cannot be reached, or what it sends is not valid HTTP.
    pub async fn stream(
        &self,
        place: &Place,
        request: &Request,
        dialect: Dialect,
        clock: Option<ServerClock>,
    ) -> Result<Outcome> {
        let mut reader = StreamReader::open(place, request).await?;
        if reader.status != 200 {
            let message = match reader.headers.get("location") {
                Some(location) => format!(": it redirects to {location}"),
                None => error_message(&reader.text().await.unwrap_or_default()),
            };
            return Ok(Err(Refused { status: reader.status, message }));
        }
        let events = reader.collect(self.longest).await?;
        let mut measured = Measured {
            transport: match reader.format {
                BodyFormat::Sse => Transport::Sse,
                BodyFormat::Ndjson => Transport::Ndjson,
                BodyFormat::Opaque => Transport::Bytes,
            },
            dialect,
            connecting: reader.connecting.clone(),
            headers: reader.headers.clone(),
            phases: reader.phases,
            trace: reader.trace.clone(),
            end: reader.end.unwrap_or(StreamEnd::Stopped),
            ends_inside_event: reader.ends_inside_event,
            format: reader.format,
            scan: Some(reader.scan.clone()),
            heartbeats: reader.heartbeats,
            close_code: None,
            events,
        };
        measured.complete(reader.started, self.watch, clock);
        Ok(Ok(Box::new(measured)))
    }

    /// Opens a WebSocket, sends a message, and reads to the end.
    ///
    /// # Errors
    /// The server cannot be reached, or what it sends is not a valid WebSocket.
    pub async fn socket(
        &self,
        place: &Place,
        credentials: &Credentials,
        dialect: Dialect,
        message: Option<&str>,
        clock: Option<ServerClock>,
    ) -> Result<Outcome> {
        let (opened, connecting) = place.connect().await?;
        let connection = opened.into_connection(&place.authority());
        let fields = credentials.fields(dialect);
        let fields: Vec<(&str, &str)> =
            fields.iter().map(|(name, value)| (name.as_str(), value.as_str())).collect();
        let started = client::now();
        let target = place.target();
        let shaken = timeout(place.timeout(), shake_hands(connection, &target, &fields)).await;
        let connected = match shaken.context("the WebSocket handshake took too long")?? {
            Handshake::Refused(mut response) => {
                // Without the upgrade the same request may be a stream.
                let message = if response.status == 200 {
                    ": its upgrade was lost on the way".to_owned()
                } else {
                    let body = timeout(place.timeout(), response.collect()).await;
                    let body = body.ok().and_then(Result::ok).map(|(body, _)| body);
                    error_message(&String::from_utf8_lossy(&body.unwrap_or_default()))
                };
                return Ok(Err(Refused { status: response.status, message }));
            }
            Handshake::Open(connected) => connected,
        };
        let mut socket = connected.socket;
        let head = started.elapsed();
        if let Some(message) = message {
            socket.send_text(message).await?;
        }
        let mut measured = Measured {
            transport: Transport::WebSocket,
            dialect,
            connecting,
            headers: connected.headers,
            phases: Phases { head, ..Phases::default() },
            trace: Trace::default(),
            events: Vec::new(),
            end: StreamEnd::Stopped,
            ends_inside_event: false,
            format: BodyFormat::Ndjson,
            scan: None,
            heartbeats: 0,
            close_code: None,
        };
        self.read(&mut socket, &mut measured, started, place.timeout()).await?;
        measured.phases.end = Some(started.elapsed());
        measured.complete(started, self.watch, clock);
        Ok(Ok(Box::new(measured)))
    }

    /// Reads a socket until the response is over, the socket ends, or nothing comes any more.
    async fn read(
        &self,
        socket: &mut Socket,
        measured: &mut Measured,
        started: Instant,
        patience: Duration,
    ) -> Result<()> {
        loop {
            let left = self.longest.saturating_sub(started.elapsed()).min(patience);
            let next = match timeout(left, socket.next()).await {
                Ok(next) => next?,
                Err(_) if started.elapsed() >= self.longest => return Ok(()),
                Err(_) => {
                    measured.end = StreamEnd::Silent;
                    return Ok(());
                }
            };
            let at = socket.arrived().saturating_duration_since(started);
            match next {
                Some(Message::Text(text)) => measured.message(at, text.into_bytes()),
                Some(Message::Binary(bytes)) => measured.message(at, bytes.to_vec()),
                Some(Message::Ping(_) | Message::Pong(_)) => measured.heartbeats += 1,
                None => {
                    (measured.end, measured.close_code) = match socket.end() {
                        Some(End::Closed { code, .. }) => (StreamEnd::Complete, *code),
                        Some(End::Cut(cause)) => (StreamEnd::Broken(*cause), None),
                        None => (StreamEnd::Broken(None), None),
                    };
                    return Ok(());
                }
            }
            // A socket stays open for the next response.
            if measured.is_over() {
                return Ok(());
            }
        }
    }
}

impl Measured {
    /// The stream, for the checks of its framing.
    pub fn framed(&self) -> FramedStream<'_> {
        FramedStream {
            dialect: self.dialect,
            format: self.format,
            headers: &self.headers,
            scan: self.scan.as_ref(),
            events: &self.events,
            end: self.end,
            ends_inside_event: self.ends_inside_event,
        }
    }

    /// The content coding of the body.
    pub fn encoding(&self) -> Option<&str> {
        self.headers.get("content-encoding").filter(|coding| *coding != "identity")
    }

    /// The id of the response, if its events or its head name one.
    pub fn response_id(&self) -> Option<String> {
        let in_events = self.events.iter().find_map(|event| {
            let document: Value = serde_json::from_slice(&event.fields.data).ok()?;
            document["response"]["id"].as_str().map(str::to_owned)
        });
        in_events.or_else(|| self.headers.get("weir-response-id").map(str::to_owned))
    }

    fn message(&mut self, at: Duration, data: Vec<u8>) {
        let bytes = data.len();
        self.phases.first_byte.get_or_insert(at);
        self.phases.first_event.get_or_insert(at);
        match self.trace.reads.last_mut().filter(|read| read.at == at) {
            Some(read) => read.bytes += bytes,
            None => self.trace.reads.push(Read { at, bytes, ends_inside_event: false }),
        }
        self.trace.arrivals.push(Arrival { at, bytes, sent_us: None });
        let fields = EventFields { data: data.into(), ..EventFields::default() };
        self.events.push(SeenEvent { fields, at });
    }

    /// Whether the last event says that the response is over.
    fn is_over(&self) -> bool {
        self.events.last().is_some_and(|event| self.dialect.is_terminal(event) == Some(true))
    }

    /// Adds what is known once the stream has ended: stalls, the times of the source, the first
    /// text.
    fn complete(&mut self, started: Instant, watch: &StallWatch, clock: Option<ServerClock>) {
        self.trace.stalls = watch.since(started);
        for (arrival, event) in self.trace.arrivals.iter_mut().zip(&self.events) {
            let Ok(document) = serde_json::from_slice::<Value>(&event.fields.data) else {
                continue;
            };
            if self.phases.first_text.is_none() && self.dialect.text(&document).is_some() {
                self.phases.first_text = Some(event.at);
            }
            if self.dialect == Dialect::Source
                && let (Some(clock), Some(sent_us)) = (clock, document["sent_us"].as_i64())
            {
                arrival.sent_us = Some(clock.since(sent_us, started));
            }
        }
    }
}

/// The stream, or an error that says what was refused.
///
/// # Errors
/// It was refused.
pub(crate) fn accepted(outcome: Outcome, what: &str) -> Result<Box<Measured>> {
    match outcome {
        Ok(measured) => Ok(measured),
        Err(refused) if matches!(refused.status, 401 | 403) => {
            bail!(
                "{what} was refused with {refused}; name the variable that holds the key with --key-env"
            )
        }
        Err(refused) => bail!("{what} was refused with {refused}"),
    }
}
