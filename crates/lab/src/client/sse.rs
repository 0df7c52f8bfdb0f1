//! A body of server-sent events.

use anyhow::Result;
use codec::sse::{self, Decoded};

use super::stream::{self, Found, LARGEST_EVENT};
use super::{Response, Stream};

/// The events of an SSE body; an error if the answer is something else.
pub fn stream(response: Response) -> Result<Stream> {
    response.ensure_media_type(sse::MEDIA_TYPE)?;
    Ok(Stream::new(response, stream::Decoder::sse()))
}

#[derive(Debug)]
pub(super) struct Decoder(sse::Decoder);

impl Decoder {
    pub(super) fn new() -> Self {
        Self(sse::Decoder::new(LARGEST_EVENT))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    pub(super) fn next(&mut self) -> Result<Option<Found>> {
        Ok(self.0.next_event().transpose()?.map(|decoded| match decoded {
            Decoded::Event(event) => Found::Event { name: event.name, id: event.id, retry: event.retry, data: event.data },
            Decoded::Comment => Found::Heartbeat,
        }))
    }
}
