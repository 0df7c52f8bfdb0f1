//! A stream, as the checks of its framing see it.

use client::http1::Headers;
use serde_json::Value;

use crate::decode::BodyFormat;
use crate::dialect::Dialect;
use crate::reader::{SeenEvent, StreamEnd};
use crate::scan::ByteScan;

/// A stream that is to be checked.
#[derive(Clone, Copy, Debug)]
pub struct FramedStream<'a> {
    /// Its API.
    pub dialect: Dialect,
    /// How its events were told apart.
    pub format: BodyFormat,
    /// The head.
    pub headers: &'a Headers,
    /// The bytes; `None` for a WebSocket.
    pub scan: Option<&'a ByteScan>,
    /// The events.
    pub events: &'a [SeenEvent],
    /// How it ended.
    pub end: StreamEnd,
    /// Whether it ended inside of an event.
    pub ends_inside_event: bool,
}

impl FramedStream<'_> {
    /// Whether the server ended it, rather than the probe.
    pub(crate) fn is_whole(&self) -> bool {
        match self.end {
            StreamEnd::Complete | StreamEnd::Closed => true,
            StreamEnd::Broken(_) | StreamEnd::Stopped | StreamEnd::Silent => false,
        }
    }

    /// The events' data as JSON; the sentinel of OpenAI's streams is left out.
    pub(crate) fn documents(&self) -> impl Iterator<Item = (&SeenEvent, Value)> {
        self.events
            .iter()
            .filter(|event| !event.is_sentinel())
            .filter_map(|event| Some((event, serde_json::from_slice(&event.fields.data).ok()?)))
    }
}
