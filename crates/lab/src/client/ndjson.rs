//! A body of one JSON document per line.

use anyhow::Result;
use codec::ndjson::{self, Decoded};

use super::stream::{self, Found, LARGEST_EVENT};
use super::{Response, Stream};

/// The lines of an NDJSON body; an error if the answer is something else.
pub fn stream(response: Response) -> Result<Stream> {
    response.ensure_media_type(ndjson::MEDIA_TYPE)?;
    Ok(Stream::new(response, stream::Decoder::ndjson()))
}

#[derive(Debug)]
pub(super) struct Decoder(ndjson::Decoder);

impl Decoder {
    pub(super) fn new() -> Self {
        Self(ndjson::Decoder::new(LARGEST_EVENT))
    }

    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.0.push(bytes);
    }

    pub(super) fn next(&mut self) -> Result<Option<Found>> {
        Ok(self.0.next_event().transpose()?.map(|decoded| match decoded {
            Decoded::Line(data) => Found::Event { name: None, id: None, retry: None, data },
            Decoded::Heartbeat => Found::Heartbeat,
        }))
    }
}
