//! Streams the events of one response while its body arrives.

use std::mem;
use std::time::Duration;

use bytes::Bytes;
use engine::provider::event::{ModelEvent, ModelStream};
use engine::provider::failure::ProviderFailure;
use futures_util::stream::{StreamExt, unfold};

use super::Ticket;
use crate::http::Response;
use crate::http::encoding::{self, BodyDecoder, EncodingError};
use crate::wire::fault::Callee;
use crate::wire::reader::StreamParser;

/// How long to wait for the end of the body after the last event. Reading it makes the connection
/// reusable, but delays the end of the response.
pub(super) const LAST_CHUNK_TIMEOUT: Duration = Duration::from_millis(100);

/// The events of a response. Everything parsed from one read is yielded before the next read.
/// Dropping the stream closes the connection.
pub(super) fn words(
    response: Response,
    reader: Box<dyn StreamParser>,
    callee: Callee,
    ticket: Ticket,
) -> ModelStream {
    let decoder = BodyDecoder::new(response.headers());
    let answer = UpstreamStream {
        response: Some(response),
        reader,
        callee,
        decoder,
        compressed: Bytes::new(),
        error: None,
        is_cut: false,
        is_finished: false,
        ticket,
    };
    unfold(answer, |mut answer| async move { answer.next().await.map(|word| (word, answer)) })
        .boxed()
}

struct UpstreamStream {
    /// `None` when nothing more is read: the connection is closed, or returned to the pool if the
    /// body ended. Declared before the ticket, so that the next user of its slot finds the
    /// connection free.
    response: Option<Response>,
    reader: Box<dyn StreamParser>,
    callee: Callee,
    /// Decompresses the body, or the reason why that is impossible.
    decoder: Result<BodyDecoder, EncodingError>,
    /// Received, but not decompressed yet.
    compressed: Bytes,
    /// A decoding error that is still to be reported.
    error: Option<ProviderFailure>,
    /// The body was cut off, which is still to be reported.
    is_cut: bool,
    /// The model has reported why it stopped: later failures do not affect the response.
    is_finished: bool,
    ticket: Ticket,
}

impl UpstreamStream {
    async fn next(&mut self) -> Option<Result<ModelEvent, ProviderFailure>> {
        loop {
            if let Some(word) = self.reader.next_event() {
                self.heard(&word);
                return Some(word);
            }
            if let Some(error) = self.error.take() {
                let error = Err(error);
                self.heard(&error);
                return Some(error);
            }
            if mem::take(&mut self.is_cut) {
                let cut = Err(self.callee.cut());
                self.heard(&cut);
                return Some(cut);
            }
            let Some(mut response) = self.response.take() else {
                self.over();
                return None;
            };
            if self.reader.is_over() {
                self.over();
                if let Ok(Ok(None)) =
                    tokio::time::timeout(LAST_CHUNK_TIMEOUT, response.chunk()).await
                {
                    self.ticket.lease.ended();
                }
                return None;
            }
            self.read(response).await;
        }
    }

    fn heard(&mut self, word: &Result<ModelEvent, ProviderFailure>) {
        match word {
            Ok(ModelEvent::Finish(_)) => {
                self.is_finished = true;
                self.ticket.finished();
            }
            Ok(_) => {}
            Err(failure) => {
                self.response = None;
                self.is_cut = false;
                if !mem::replace(&mut self.is_finished, true) {
                    self.ticket.failed(failure);
                }
            }
        }
    }

    /// The body is over. If the model did not report why it stopped, the call has failed; the
    /// engine reports that to the caller.
    fn over(&mut self) {
        if !std::mem::replace(&mut self.is_finished, true) {
            self.ticket.failed(&self.callee.cut());
        }
    }

    /// Passes body bytes to the parser.
    fn push(&mut self, bytes: &[u8]) {
        let decoded = match &mut self.decoder {
            Ok(BodyDecoder::Identity) => return self.reader.push(bytes),
            Ok(decoder) => decoder.decode(bytes),
            Err(error) => Err(error.clone()),
        };
        match decoded {
            Ok(decoded) => self.reader.push(&decoded),
            Err(error) => {
                self.error = Some(self.callee.plain("upstream_invalid_data", &error.to_string()));
            }
        }
    }

    /// Reads once. At the end of the body the connection is returned to the pool.
    async fn read(&mut self, mut response: Response) {
        if !self.compressed.is_empty() {
            self.response = Some(response);
            let is_plain = self.decoder.as_ref().is_ok_and(|decoder| !decoder.may_expand());
            let length = if is_plain {
                self.compressed.len()
            } else {
                self.compressed.len().min(encoding::SLICE)
            };
            let slice = self.compressed.split_to(length);
            return self.push(&slice);
        }
        match response.chunk().await {
            Ok(Some(bytes)) => {
                self.response = Some(response);
                match &self.decoder {
                    // The loop decompresses it in slices, so that each slice's events are consumed
                    // before the next.
                    Ok(decoder) if decoder.may_expand() => self.compressed = bytes,
                    Ok(_) | Err(_) => self.push(&bytes),
                }
            }
            Ok(None) => {
                self.ticket.lease.ended();
                self.reader.finish();
            }
            Err(_) => {
                self.reader.finish();
                self.is_cut = true;
            }
        }
    }
}
