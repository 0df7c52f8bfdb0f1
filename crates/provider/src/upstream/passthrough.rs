//! Pass-through calls of one upstream, with the same keys, queue and breaker as other responses.

use std::borrow::Cow;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use engine::provider::failure::{FailureScope, ProviderFailure};
use engine::provider::passthrough::{
    PassthroughPart, PassthroughParts, PassthroughRequest, UnreadDocument,
};
use engine::upstreams::Circuit;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use protocol::fault::{Fault, FaultKind};
use protocol::passthrough::{Operation, Passthrough};

use super::answer::LAST_CHUNK_TIMEOUT;
use super::{Ticket, UpstreamInner};
use crate::http::Response;
use crate::http::encoding::{self, BodyDecoder, EncodingError};
use crate::wire::fault::{Callee, Reported};
use crate::wire::outgoing::{Outgoing, Refused};
use crate::wire::passthrough::{EventReader, Passage, Translate, Unserved, remedy};

/// The largest accepted response: 2048 vectors of 3072 numbers with about 20 characters each.
const MAX_RESPONSE_BYTES: usize = 128 << 20;

impl UpstreamInner {
    /// Checks before a call whether the upstream can serve it.
    pub(super) fn serves(&self, request: &Passthrough) -> Result<(), Fault> {
        self.wire.serves(request).map_err(|unserved| match unserved {
            Unserved::Field(fault) => fault,
            Unserved::Operation(api) => {
                let noun = request.operation.noun();
                let message = format!(
                    "The model '{}' is served by the upstream '{}', and {api} has no {noun}. {}",
                    request.model,
                    self.name,
                    remedy(request.operation)
                );
                Fault::new(FaultKind::InvalidRequest, "unsupported_operation", message)
                    .with_param("model")
            }
        })
    }

    /// Makes a call.
    pub(super) async fn pass(
        self: Arc<Self>,
        request: PassthroughRequest,
    ) -> Result<PassthroughParts, ProviderFailure> {
        if let Circuit::Open(wait) = self.breaker.circuit() {
            return Err(self.circuit_open(wait));
        }
        // The body is built after a key is free, so that queued requests do not hold a second copy.
        let seat = self.pool.seat(request.model(), request.call.owner.as_ref()).await?;
        let Passage { outgoing, read } = self
            .wire
            .pass(&request)
            .map_err(|fault| ProviderFailure::new(fault, FailureScope::Unsupported))?;
        let (operation, is_stream) = (request.request.operation, request.request.stream);
        let call = request.call.clone();
        drop(request);
        let mut rest = outgoing.into_iter();
        let Some(first) = rest.next() else {
            return Err(ProviderFailure::new(
                Fault::new(FaultKind::Server, "server_error", "there is nothing to send"),
                FailureScope::Request,
            ));
        };
        let callee = self.callee(seat.key());
        let explain =
            |refused: &Refused<'_>, failure| explained(&callee, operation, refused, failure);
        let (response, mut ticket) = self.open(seat, &first, call, explain).await?;
        drop(first);
        ticket.answered();
        Ok(if is_stream {
            events(response, EventReader::new(operation, callee.clone()), callee, ticket)
        } else {
            let gathering = Gathering {
                shared: self,
                operation,
                decoder: BodyDecoder::new(response.headers()),
                response: Some(response),
                rest,
                bodies: vec![Vec::new()],
                bytes: 0,
                callee,
                whole: Some(Whole { read, ticket }),
            };
            unfold(gathering, |mut gathering| async move {
                gathering.next().await.map(|part| (part, gathering))
            })
            .boxed()
        })
    }
}

/// Whether an error means that the upstream does not support the operation, or not for this model.
fn explained(
    callee: &Callee,
    operation: Operation,
    refused: &Refused<'_>,
    failure: ProviderFailure,
) -> ProviderFailure {
    let said = Reported::from_body(refused.body).message;
    let words = said.as_deref().unwrap_or_default().to_lowercase();
    let is_lacking = match refused.status {
        405 | 501 => true,
        // The path may exist, but not the model.
        404 => !words.contains("model"),
        // vLLM: "The model does not support Embeddings API". Ollama: "this model does not support
        // embeddings".
        _ => {
            words.contains("does not support")
                && words.contains(operation.path().trim_end_matches('s'))
        }
    };
    if is_lacking { callee.lacks(operation, refused.status, said.as_deref()) } else { failure }
}

/// A document that is being received. Some APIs need several requests for one.
struct Gathering {
    shared: Arc<UpstreamInner>,
    operation: Operation,
    /// `None` when nothing more is read. Declared before the ticket, so that the next user of its
    /// slot finds the connection free.
    response: Option<Response>,
    /// Decompresses the body.
    decoder: Result<BodyDecoder, EncodingError>,
    /// The requests that remain to be sent.
    rest: vec::IntoIter<Outgoing>,
    bodies: Vec<Vec<u8>>,
    /// The size of all bodies.
    bytes: usize,
    callee: Callee,
    /// `None` after the end.
    whole: Option<Whole>,
}

/// Builds the result from the complete document.
struct Whole {
    read: Translate,
    ticket: Ticket,
}

impl Gathering {
    async fn next(&mut self) -> Option<Result<PassthroughPart, ProviderFailure>> {
        let response = self.response.as_mut()?;
        let part = match response.chunk().await {
            // DeepSeek sends empty lines while a request is queued.
            Ok(Some(chunk))
                if chunk.trim_ascii().is_empty()
                    && self.bodies.last().is_none_or(Vec::is_empty) =>
            {
                Ok(PassthroughPart::KeepAlive)
            }
            Ok(Some(chunk)) => self.take(&chunk).map(|()| PassthroughPart::Progress),
            Ok(None) => match self.rest.next() {
                Some(outgoing) => self.go_on(&outgoing).await.map(|()| PassthroughPart::Progress),
                None => return self.end().map(Ok),
            },
            Err(_) => Err(self.callee.cut()),
        };
        if let Err(failure) = &part {
            self.response = None;
            if let Some(mut whole) = self.whole.take() {
                whole.ticket.failed(failure);
            }
        }
        Some(part)
    }

    /// Adds to the body, decompressed if necessary.
    fn take(&mut self, chunk: &[u8]) -> Result<(), ProviderFailure> {
        for slice in
            chunk.chunks(encoding::SLICE.max(if is_plain(&self.decoder) { chunk.len() } else { 0 }))
        {
            let decoded = decode(&mut self.decoder, slice, &self.callee)?;
            self.bytes += decoded.len();
            if self.bytes > MAX_RESPONSE_BYTES {
                let what = format!("sent a response of more than {} MiB", MAX_RESPONSE_BYTES >> 20);
                return Err(self.callee.plain("upstream_response_too_large", &what));
            }
            if let Some(body) = self.bodies.last_mut() {
                body.extend_from_slice(&decoded);
            }
        }
        Ok(())
    }

    /// Sends the next request with the same key.
    async fn go_on(&mut self, outgoing: &Outgoing) -> Result<(), ProviderFailure> {
        let Some(Whole { ticket, .. }) = &mut self.whole else { return Ok(()) };
        ticket.lease.ended();
        let shown = self.shared.shown(ticket.seat.key());
        let sent = self.shared.http.send(outgoing, shown, &ticket.call).await;
        let (mut response, lease) =
            sent.map_err(|unreached| unreached.failure(&self.shared.name))?;
        ticket.lease = lease;
        ticket.call.answered(response.status().as_u16());
        if !response.status().is_success() {
            let explain = |refused: &Refused<'_>, failure| {
                explained(&self.callee, self.operation, refused, failure)
            };
            return Err(self.shared.refusal(&mut response, &self.callee, explain).await);
        }
        self.decoder = BodyDecoder::new(response.headers());
        self.response = Some(response);
        self.bodies.push(Vec::new());
        Ok(())
    }

    fn end(&mut self) -> Option<PassthroughPart> {
        self.response = None;
        let Whole { read, mut ticket } = self.whole.take()?;
        ticket.lease.ended();
        let (bodies, callee) = (std::mem::take(&mut self.bodies), self.callee.clone());
        let read = move || {
            let fields = read(&bodies, &callee);
            match &fields {
                Ok(_) => ticket.finished(),
                Err(failure) => ticket.failed(failure),
            }
            fields
        };
        Some(PassthroughPart::Document(UnreadDocument { read: Box::new(read) }))
    }
}

/// The events of a stream. Everything parsed from one read is yielded before the next read.
/// Dropping it closes the connection.
fn events(
    response: Response,
    reader: EventReader,
    callee: Callee,
    ticket: Ticket,
) -> PassthroughParts {
    let decoder = BodyDecoder::new(response.headers());
    let stream = PassthroughBody {
        response: Some(response),
        decoder,
        compressed: Bytes::new(),
        reader,
        callee,
        ticket: Some(ticket),
    };
    unfold(stream, |mut stream| async move { stream.next().await.map(|part| (part, stream)) })
        .boxed()
}

/// Whether the body is not compressed.
fn is_plain(decoder: &Result<BodyDecoder, EncodingError>) -> bool {
    decoder.as_ref().is_ok_and(|decoder| !decoder.may_expand())
}

/// Decompresses body bytes if necessary.
fn decode<'a>(
    decoder: &mut Result<BodyDecoder, EncodingError>,
    bytes: &'a [u8],
    callee: &Callee,
) -> Result<Cow<'a, [u8]>, ProviderFailure> {
    let decoded = match decoder {
        Ok(BodyDecoder::Identity) => return Ok(Cow::Borrowed(bytes)),
        Ok(decoder) => decoder.decode(bytes),
        Err(error) => Err(error.clone()),
    };
    decoded
        .map(Cow::Owned)
        .map_err(|error| callee.plain("upstream_invalid_data", &error.to_string()))
}

struct PassthroughBody {
    /// `None` when nothing more is read.
    response: Option<Response>,
    /// Decompresses the body.
    decoder: Result<BodyDecoder, EncodingError>,
    /// Received, but not decompressed yet.
    compressed: Bytes,
    reader: EventReader,
    callee: Callee,
    /// `None` after the end.
    ticket: Option<Ticket>,
}

impl PassthroughBody {
    async fn next(&mut self) -> Option<Result<PassthroughPart, ProviderFailure>> {
        loop {
            if let Some(part) = self.reader.next_part() {
                return Some(part.map_err(|failure| self.failed(failure)));
            }
            let Some(mut response) = self.response.take() else {
                if let Some(mut ticket) = self.ticket.take() {
                    ticket.finished();
                }
                return None;
            };
            if self.reader.is_over() {
                // The end of the body follows the last event: reading it makes the connection
                // reusable.
                if let Ok(Ok(None)) =
                    tokio::time::timeout(LAST_CHUNK_TIMEOUT, response.chunk()).await
                {
                    self.ended();
                }
                continue;
            }
            if !self.compressed.is_empty() {
                let length = if is_plain(&self.decoder) {
                    self.compressed.len()
                } else {
                    self.compressed.len().min(encoding::SLICE)
                };
                let slice = self.compressed.split_to(length);
                match decode(&mut self.decoder, &slice, &self.callee) {
                    Ok(decoded) => self.reader.push(&decoded),
                    Err(failure) => return Some(Err(self.failed(failure))),
                }
                self.response = Some(response);
                continue;
            }
            match response.chunk().await {
                Ok(Some(bytes)) => {
                    self.compressed = bytes;
                    self.response = Some(response);
                }
                Ok(None) => {
                    self.ended();
                    self.reader.finish();
                }
                Err(_) => {
                    let cut = self.callee.cut();
                    return Some(Err(self.failed(cut)));
                }
            }
        }
    }

    /// The body has been read to its end.
    fn ended(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.lease.ended();
        }
    }

    fn failed(&mut self, failure: ProviderFailure) -> ProviderFailure {
        self.response = None;
        if let Some(mut ticket) = self.ticket.take() {
            ticket.failed(&failure);
        }
        failure
    }
}
