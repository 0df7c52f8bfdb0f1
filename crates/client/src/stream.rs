//! A body as a stream of events, as server-sent events or as NDJSON.

use std::time::Instant;

use anyhow::{Context, Result, bail};
use bytes::Bytes;
use codec::{ndjson, sse};
use serde_json::Value;

use crate::connection::Connection;
use crate::response::{BodyEnd, Response};
use crate::runtime::now;

/// Larger than any event that Weir sends.
pub(crate) const MAX_EVENT_BYTES: usize = 64 * 1024 * 1024;

/// An event, and when its last byte was read.
#[derive(Clone, Debug)]
pub struct StreamEvent {
    /// The event's name; NDJSON has none.
    pub name: Option<String>,
    /// The event's id; NDJSON has none.
    pub id: Option<Bytes>,
    /// The time in milliseconds after which a browser reconnects, if the event carries one.
    pub retry: Option<u64>,
    /// The event's data.
    pub data: Bytes,
    /// When the read that completed the event returned.
    pub arrived: Instant,
}

impl StreamEvent {
    /// The data as JSON.
    pub fn json(&self) -> Result<Value> {
        serde_json::from_slice(&self.data)
            .with_context(|| format!("not JSON: {:?}", String::from_utf8_lossy(&self.data)))
    }
}

/// What a [`Decoder`] finds in a body.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StreamItem {
    /// An event; in NDJSON only `data` is set.
    Event {
        /// Its name.
        name: Option<String>,
        /// Its id.
        id: Option<Bytes>,
        /// The time in milliseconds after which a browser reconnects.
        retry: Option<u64>,
        /// Its data.
        data: Bytes,
    },
    /// A keep-alive.
    Heartbeat,
}

/// Splits a body into events.
#[derive(Debug)]
pub struct Decoder(Format);

#[derive(Debug)]
enum Format {
    Sse(sse::SseDecoder),
    Ndjson(ndjson::NdjsonDecoder),
}

impl Decoder {
    /// For a body of this media type; `None` if it is not a stream of events.
    pub fn of(media_type: &str) -> Option<Self> {
        let bare = media_type.split(';').next().unwrap_or_default().trim();
        match bare {
            sse::MEDIA_TYPE => Some(Self(Format::Sse(sse::SseDecoder::new(MAX_EVENT_BYTES)))),
            ndjson::MEDIA_TYPE => {
                Some(Self(Format::Ndjson(ndjson::NdjsonDecoder::new(MAX_EVENT_BYTES))))
            }
            _ => None,
        }
    }

    /// Takes the next bytes.
    pub fn push(&mut self, bytes: &[u8]) {
        match &mut self.0 {
            Format::Sse(decoder) => decoder.push(bytes),
            Format::Ndjson(decoder) => decoder.push(bytes),
        }
    }

    /// The next complete event; `None` if it needs more bytes.
    ///
    /// # Errors
    /// A violation of the framing.
    pub fn next_event(&mut self) -> Result<Option<StreamItem>> {
        Ok(match &mut self.0 {
            Format::Sse(decoder) => {
                decoder.next_event().transpose()?.map(|decoded| match decoded {
                    sse::SseFrame::Event(event) => StreamItem::Event {
                        name: event.name,
                        id: event.id,
                        retry: event.retry,
                        data: event.data,
                    },
                    sse::SseFrame::Comment => StreamItem::Heartbeat,
                })
            }
            Format::Ndjson(decoder) => {
                decoder.next_event().transpose()?.map(|decoded| match decoded {
                    ndjson::NdjsonFrame::Line(data) => {
                        StreamItem::Event { name: None, id: None, retry: None, data }
                    }
                    ndjson::NdjsonFrame::Heartbeat => StreamItem::Heartbeat,
                })
            }
        })
    }
}

/// The events of a body. A caller that does not call [`Self::next`] is a reader that stalls.
#[derive(Debug)]
pub struct Stream {
    response: Response,
    decoder: Decoder,
    heartbeats: u64,
    arrived: Instant,
}

impl Response {
    /// The body as a stream of events.
    ///
    /// # Errors
    /// The content type is not that of a stream of events.
    pub fn events(self) -> Result<Stream> {
        let Some(decoder) = Decoder::of(self.media_type()) else {
            bail!("status {}: {:?} is not a stream of events", self.status, self.media_type());
        };
        Ok(Stream { response: self, decoder, heartbeats: 0, arrived: now() })
    }
}

impl Stream {
    /// The next event; `None` at the end of the body. An incomplete event at the end is dropped, as
    /// a browser does.
    ///
    /// # Errors
    /// A violation of the framing.
    pub async fn next(&mut self) -> Result<Option<StreamEvent>> {
        loop {
            match self.decoder.next_event()? {
                Some(StreamItem::Event { name, id, retry, data }) => {
                    return Ok(Some(StreamEvent { name, id, retry, data, arrived: self.arrived }));
                }
                Some(StreamItem::Heartbeat) => self.heartbeats += 1,
                None => {
                    let Some(chunk) = self.response.chunk().await? else { return Ok(None) };
                    self.arrived = now();
                    self.decoder.push(&chunk);
                }
            }
        }
    }

    /// All remaining events, and how the body ended.
    pub async fn collect(&mut self) -> Result<(Vec<StreamEvent>, BodyEnd)> {
        let mut events = Vec::new();
        while let Some(event) = self.next().await? {
            events.push(event);
        }
        Ok((events, self.end().await?))
    }

    /// The data of all remaining events, and how the body ended.
    pub async fn collect_data(&mut self) -> Result<(Vec<Bytes>, BodyEnd)> {
        let (events, end) = self.collect().await?;
        Ok((events.into_iter().map(|event| event.data).collect(), end))
    }

    /// The number of keep-alives so far.
    pub fn heartbeats(&self) -> u64 {
        self.heartbeats
    }

    /// How the body ended; the rest of it is read and dropped.
    pub async fn end(&mut self) -> Result<BodyEnd> {
        self.response.end().await
    }

    /// The response whose body this is.
    pub fn response(&self) -> &Response {
        &self.response
    }

    /// The connection, for raw bytes and for closing it.
    pub fn connection(&mut self) -> &mut Connection {
        self.response.connection()
    }

    /// The connection as it is, in the middle of the body, for example for [`Connection::reset`].
    pub fn abandon(self) -> Connection {
        self.response.abandon()
    }

    /// The response, for [`Response::into_connection`] after the end.
    pub fn into_response(self) -> Response {
        self.response
    }
}
