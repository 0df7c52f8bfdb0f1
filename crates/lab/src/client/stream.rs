//! A body as a stream of events, whatever its frame.

use std::time::Instant;

use anyhow::{Context, Result};
use bytes::Bytes;
use serde_json::Value;

use super::{BodyEnd, Connection, Response, ndjson, sse};
use crate::runtime::now;

/// Larger than any event that Weir sends.
pub(super) const LARGEST_EVENT: usize = 64 * 1024 * 1024;

/// An event, and when its last byte was read.
#[derive(Clone, Debug)]
pub struct StreamEvent {
    /// The event's name in the frame; NDJSON has none.
    pub name: Option<String>,
    /// The event's id in the frame; NDJSON has none.
    pub id: Option<Bytes>,
    /// The time in milliseconds after which a browser reconnects, if the event carries one.
    pub retry: Option<u64>,
    /// What the event says.
    pub data: Bytes,
    /// When the read that completed the event returned.
    pub arrived: Instant,
}

impl StreamEvent {
    /// The data as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.data).with_context(|| format!("not JSON: {:?}", String::from_utf8_lossy(&self.data)))
    }
}

/// What a frame's decoder found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Found {
    /// An event; NDJSON gives only data.
    Event {
        /// Its name.
        name: Option<String>,
        /// Its id.
        id: Option<Bytes>,
        /// After how many milliseconds a browser reconnects.
        retry: Option<u64>,
        /// What it says.
        data: Bytes,
    },
    /// Nothing but a sign of life.
    Heartbeat,
}

/// Takes a body apart into events.
#[derive(Debug)]
pub struct Decoder(Frames);

#[derive(Debug)]
enum Frames {
    Sse(sse::Decoder),
    Ndjson(ndjson::Decoder),
}

impl Decoder {
    /// For a body of this media type; `None` if it is no stream of events.
    pub fn of(media_type: &str) -> Option<Self> {
        let bare = media_type.split(';').next().unwrap_or_default().trim();
        match bare {
            codec::sse::MEDIA_TYPE => Some(Self::sse()),
            codec::ndjson::MEDIA_TYPE => Some(Self::ndjson()),
            _ => None,
        }
    }

    pub(super) fn sse() -> Self {
        Self(Frames::Sse(sse::Decoder::new()))
    }

    pub(super) fn ndjson() -> Self {
        Self(Frames::Ndjson(ndjson::Decoder::new()))
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Frames::Sse(decoder) => decoder.push(bytes),
            Frames::Ndjson(decoder) => decoder.push(bytes),
        }
    }

    /// What is whole by now. An error is a violation of the framing.
    pub fn next_event(&mut self) -> Result<Option<Found>> {
        match &mut self.0 {
            Frames::Sse(decoder) => decoder.next(),
            Frames::Ndjson(decoder) => decoder.next(),
        }
    }
}

/// The events of a body. Not calling [`Self::next`] is how a reader stalls.
#[derive(Debug)]
pub struct Stream {
    response: Response,
    decoder: Decoder,
    heartbeats: u64,
    arrived: Instant,
}

impl Stream {
    pub(super) fn new(response: Response, decoder: Decoder) -> Self {
        Self { response, decoder, heartbeats: 0, arrived: now() }
    }

    /// The next event; `None` at the end of the body. An event that the end cut off is not returned: a browser would
    /// discard it. An error is a violation of the framing.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>> {
        loop {
            match self.decoder.next_event()? {
                Some(Found::Event { name, id, retry, data }) => {
                    return Ok(Some(StreamEvent { name, id, retry, data, arrived: self.arrived }));
                }
                Some(Found::Heartbeat) => self.heartbeats += 1,
                None => {
                    let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
                    self.arrived = now();
                    self.decoder.push(&chunk);
                }
            }
        }
    }

    /// All events that are left, and how the body ended.
    pub async fn collect(&mut self) -> Result<(Vec<StreamEvent>, BodyEnd)> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok((events, self.end().await?))
    }

    /// The data of all events that are left, and how the body ended.
    pub async fn collect_data(&mut self) -> Result<(Vec<Bytes>, BodyEnd)> {
        let (events, end) = self.collect().await?;
        Ok((events.into_iter().map(|event| event.data).collect(), end))
    }

    /// Keep-alives seen so far.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// How the body ended; what is left of it is read and dropped.
    pub async fn end(&mut self) -> Result<BodyEnd> {
        self.response.end().await
    }

    /// The answer whose body this is.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The connection, for raw bytes and cuts.
    pub fn connection(&mut self) -> &mut Connection {
        self.response.connection()
    }

    /// The connection, in the middle of the body: to cut it by [`Connection::reset`].
    pub fn abandon(self) -> Connection {
        self.response.abandon()
    }

    /// The answer, for [`Response::into_connection`] after the end.
    pub fn into_response(self) -> Response {
        self.response
    }
}
