//! Streams the events of one response while its body arrives.

use std::mem;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use bytes::Bytes;
use engine::provider::event::{ModelEvent, ModelStream};
use engine::provider::failure::ProviderFailure;
use futures_util::stream::{Stream, StreamExt};
use tokio::time::Sleep;

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
    mut response: Response,
    reader: Box<dyn StreamParser>,
    callee: Callee,
    ticket: Ticket,
) -> ModelStream {
    let decoder = BodyDecoder::new(&response.take_headers());
    let answer = UpstreamStream {
        response: Some(response),
        reader,
        callee,
        decoder,
        compressed: Bytes::new(),
        error: None,
        is_cut: false,
        is_finished: false,
        last_chunk: None,
        ticket,
    };
    answer.boxed()
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
    /// After the last event: when the end of the body is no longer awaited.
    last_chunk: Option<Pin<Box<Sleep>>>,
    ticket: Ticket,
}

impl Stream for UpstreamStream {
    type Item = Result<ModelEvent, ProviderFailure>;

    fn poll_next(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        loop {
            if let Some(word) = self.next_parsed() {
                return Poll::Ready(Some(word));
            }
            if self.response.is_none() {
                self.over();
                return Poll::Ready(None);
            }
            if self.reader.is_over() {
                self.over();
                ready!(self.poll_last_chunk(context));
                self.response = None;
                return Poll::Ready(None);
            }
            ready!(self.poll_read(context));
        }
    }
}

impl UpstreamStream {
    /// What needs no more bytes.
    fn next_parsed(&mut self) -> Option<Result<ModelEvent, ProviderFailure>> {
        let word = if let Some(word) = self.reader.next_event() {
            word
        } else if let Some(error) = self.error.take() {
            Err(error)
        } else if mem::take(&mut self.is_cut) {
            Err(self.callee.cut())
        } else {
            return None;
        };
        self.heard(&word);
        Some(word)
    }

    /// Waits a moment for the end of the body.
    fn poll_last_chunk(&mut self, context: &mut Context<'_>) -> Poll<()> {
        let Some(response) = &mut self.response else { return Poll::Ready(()) };
        match response.poll_chunk(context) {
            Poll::Ready(Ok(None)) => self.ticket.lease.ended(),
            Poll::Ready(_) => {}
            Poll::Pending => {
                let limit = self
                    .last_chunk
                    .get_or_insert_with(|| Box::pin(tokio::time::sleep(LAST_CHUNK_TIMEOUT)));
                ready!(limit.as_mut().poll(context));
            }
        }
        Poll::Ready(())
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
        if !mem::replace(&mut self.is_finished, true) {
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
    fn poll_read(&mut self, context: &mut Context<'_>) -> Poll<()> {
        if !self.compressed.is_empty() {
            let is_plain = self.decoder.as_ref().is_ok_and(|decoder| !decoder.may_expand());
            let length = if is_plain {
                self.compressed.len()
            } else {
                self.compressed.len().min(encoding::SLICE)
            };
            let slice = self.compressed.split_to(length);
            self.push(&slice);
            return Poll::Ready(());
        }
        let Some(response) = &mut self.response else { return Poll::Ready(()) };
        match ready!(response.poll_chunk(context)) {
            Ok(Some(bytes)) => match &self.decoder {
                // The loop decompresses it in slices, so that each slice's events are consumed
                // before the next.
                Ok(decoder) if decoder.may_expand() => self.compressed = bytes,
                Ok(_) | Err(_) => self.push(&bytes),
            },
            Ok(None) => {
                self.response = None;
                self.ticket.lease.ended();
                self.reader.finish();
            }
            Err(_) => {
                self.response = None;
                self.reader.finish();
                self.is_cut = true;
            }
        }
        Poll::Ready(())
    }
}
