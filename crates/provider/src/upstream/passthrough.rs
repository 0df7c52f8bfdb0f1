//! Pass-through calls of one upstream: under the same keys, queue and breaker as answers.

use std::borrow::Cow;
use std::sync::Arc;
use std::vec;

use bytes::Bytes;
use engine::provider::failure::{Blame, Failure};
use engine::provider::passthrough::{Document, Part, Parts, PassthroughRequest};
use engine::upstreams::Circuit;
use futures_util::StreamExt;
use futures_util::stream::unfold;
use protocol::fault::{Fault, FaultKind};
use protocol::passthrough::{Operation, Passthrough};
use reqwest::Response;

use super::answer::LAST_CHUNK_TIMEOUT;
use super::{Shared, Ticket};
use crate::http::encoding::{self, Decoder, EncodingError};
use crate::wire::fault::{Callee, Reported};
use crate::wire::outgoing::{Outgoing, Refused};
use crate::wire::passthrough::{EventReader, Passage, Translate, Unserved, remedy};

/// The largest response that is taken in: the vectors of 2048 texts, of 3072 numbers each, at some 20 characters a number.
const MAX_RESPONSE_BYTES: usize = 128 << 20;

impl Shared {
    /// Says before a call whether the upstream can serve it.
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
                Fault::new(FaultKind::InvalidRequest, "unsupported_operation", message).with_param("model")
            }
        })
    }

    /// Makes a call.
    pub(super) async fn pass(self: Arc<Self>, request: PassthroughRequest) -> Result<Parts, Failure> {
        if let Circuit::Open(wait) = self.breaker.circuit() {
            return Err(self.left_alone(wait));
        }
        // A request in the queue holds no second body: the body is made when there is a place for it.
        let seat = self.pool.seat(request.model(), request.call.owner.as_ref()).await?;
        let Passage { outgoing, read } = self.wire.pass(&request).map_err(|fault| Failure::new(fault, Blame::Match))?;
        let (operation, is_stream) = (request.request.operation, request.request.stream);
        let call = request.call.clone();
        drop(request);
        let mut rest = outgoing.into_iter();
        let Some(first) = rest.next() else {
            return Err(Failure::new(Fault::new(FaultKind::Server, "server_error", "there is nothing to send"), Blame::Request));
        };
        let callee = self.callee(seat.key());
        let explain = |refused: &Refused<'_>, failure| explained(&callee, operation, refused, failure);
        let (response, mut ticket) = self.open(seat, &first, call, explain).await?;
        drop(first);
        ticket.answered();
        Ok(if is_stream {
            events(response, EventReader::new(operation, callee.clone()), callee, ticket)
        } else {
            let gathering = Gathering {
                shared: self,
                operation,
                decoder: Decoder::new(response.headers()),
                response: Some(response),
                rest,
                bodies: vec![Vec::new()],
                bytes: 0,
                callee,
                whole: Some(Whole { read, ticket }),
            };
            unfold(gathering, |mut gathering| async move { gathering.next().await.map(|part| (part, gathering)) }).boxed()
        })
    }
}

/// A refusal that says that the upstream does not have the operation at all, or not for this model.
fn explained(callee: &Callee, operation: Operation, refused: &Refused<'_>, failure: Failure) -> Failure {
    let said = Reported::from_body(refused.body).message;
    let words = said.as_deref().unwrap_or_default().to_lowercase();
    let is_lacking = match refused.status {
        405 | 501 => true,
        // There may be the path, and no such model.
        404 => !words.contains("model"),
        // vLLM: "The model does not support Embeddings API". Ollama: "this model does not support embeddings".
        _ => words.contains("does not support") && words.contains(operation.path().trim_end_matches('s')),
    };
    if is_lacking { callee.lacks(operation, refused.status, said.as_deref()) } else { failure }
}

/// A document while it comes. An API may need several requests for it.
struct Gathering {
    shared: Arc<Shared>,
    operation: Operation,
    /// `None` when nothing more is read. Before the ticket: who gets its place finds the connection free.
    response: Option<Response>,
    /// What makes the body's bytes of those that come.
    decoder: Result<Decoder, EncodingError>,
    /// The requests that are still to be sent.
    rest: vec::IntoIter<Outgoing>,
    bodies: Vec<Vec<u8>>,
    /// Of all bodies.
    bytes: usize,
    callee: Callee,
    /// `None` after the end.
    whole: Option<Whole>,
}

/// What is done with a document that is whole.
struct Whole {
    read: Translate,
    ticket: Ticket,
}

impl Gathering {
    async fn next(&mut self) -> Option<Result<Part, Failure>> {
        let response = self.response.as_mut()?;
        let part = match response.chunk().await {
            // DeepSeek sends empty lines while a request waits for its turn.
            Ok(Some(chunk)) if chunk.trim_ascii().is_empty() && self.bodies.last().is_none_or(Vec::is_empty) => Ok(Part::KeepAlive),
            Ok(Some(chunk)) => self.take(&chunk).map(|()| Part::Progress),
            Ok(None) => match self.rest.next() {
                Some(outgoing) => self.go_on(&outgoing).await.map(|()| Part::Progress),
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

    /// Takes in more of a body, decompressed if necessary.
    fn take(&mut self, chunk: &[u8]) -> Result<(), Failure> {
        for slice in chunk.chunks(encoding::SLICE.max(if is_plain(&self.decoder) { chunk.len() } else { 0 })) {
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

    /// Sends the next request, under the same key.
    async fn go_on(&mut self, outgoing: &Outgoing) -> Result<(), Failure> {
        let Some(Whole { ticket, .. }) = &mut self.whole else { return Ok(()) };
        ticket.lease.ended();
        let shown = self.shared.shown(ticket.seat.key());
        let sent = self.shared.http.send(outgoing, shown, ticket.call.trace.as_ref()).await;
        let (mut response, lease) = sent.map_err(|unreached| unreached.failure(&self.shared.name))?;
        ticket.lease = lease;
        ticket.call.answered(response.status().as_u16());
        if !response.status().is_success() {
            let explain = |refused: &Refused<'_>, failure| explained(&self.callee, self.operation, refused, failure);
            return Err(self.shared.refusal(&mut response, &self.callee, explain).await);
        }
        self.decoder = Decoder::new(response.headers());
        self.response = Some(response);
        self.bodies.push(Vec::new());
        Ok(())
    }

    fn end(&mut self) -> Option<Part> {
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
        Some(Part::Document(Document { read: Box::new(read) }))
    }
}

/// The events of a stream. All that one read gave is yielded before the next read; dropping it closes the connection.
fn events(response: Response, reader: EventReader, callee: Callee, ticket: Ticket) -> Parts {
    let decoder = Decoder::new(response.headers());
    let stream = Stream { response: Some(response), decoder, compressed: Bytes::new(), reader, callee, ticket: Some(ticket) };
    unfold(stream, |mut stream| async move { stream.next().await.map(|part| (part, stream)) }).boxed()
}

/// Whether a body comes as it is.
fn is_plain(decoder: &Result<Decoder, EncodingError>) -> bool {
    decoder.as_ref().is_ok_and(|decoder| !decoder.may_expand())
}

/// More of a body, decompressed if necessary.
fn decode<'a>(decoder: &mut Result<Decoder, EncodingError>, bytes: &'a [u8], callee: &Callee) -> Result<Cow<'a, [u8]>, Failure> {
    let decoded = match decoder {
        Ok(Decoder::Identity) => return Ok(Cow::Borrowed(bytes)),
        Ok(decoder) => decoder.decode(bytes),
        Err(error) => Err(error.clone()),
    };
    decoded.map(Cow::Owned).map_err(|error| callee.plain("upstream_invalid_data", &error.to_string()))
}

struct Stream {
    /// `None` when nothing more is read.
    response: Option<Response>,
    /// What makes the body's bytes of those that come.
    decoder: Result<Decoder, EncodingError>,
    /// What came and is not decompressed yet.
    compressed: Bytes,
    reader: EventReader,
    callee: Callee,
    /// `None` after the end.
    ticket: Option<Ticket>,
}

impl Stream {
    async fn next(&mut self) -> Option<Result<Part, Failure>> {
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
                // The body's end comes right after the last event: who reads it can use the connection again.
                if let Ok(Ok(None)) = tokio::time::timeout(LAST_CHUNK_TIMEOUT, response.chunk()).await {
                    self.ended();
                }
                continue;
            }
            if !self.compressed.is_empty() {
                let length = if is_plain(&self.decoder) { self.compressed.len() } else { self.compressed.len().min(encoding::SLICE) };
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

    /// The body has come to its end.
    fn ended(&mut self) {
        if let Some(ticket) = &mut self.ticket {
            ticket.lease.ended();
        }
    }

    fn failed(&mut self, failure: Failure) -> Failure {
        self.response = None;
        if let Some(mut ticket) = self.ticket.take() {
            ticket.failed(&failure);
        }
        failure
    }
}
