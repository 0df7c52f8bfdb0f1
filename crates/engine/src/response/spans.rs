//! The spans of one response, and the trace context that upstreams get.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use protocol::fault::{Fault, FaultKind};
use protocol::request::Create;
use protocol::response::Response;
use protocol::trace::{SpanId, TraceContext, TraceId};

use super::labels;
use super::meter::{Meter, Times};
use super::metrics::OPERATION;
use crate::provider::call::{Peer, UpstreamCall};
use crate::provider::event::Finish;
use crate::trace::{AttributeValue, Span, SpanExporter, SpanKind};
use crate::{clock, id};

/// Attributes of a span.
pub(crate) type Attributes = Vec<(&'static str, AttributeValue)>;

/// The longest model name in a span. Callers choose the name; no real one is longer.
const LONGEST_MODEL: usize = 128;

/// The place of a response in a trace.
pub(crate) struct Trace {
    /// The span of the response, if it is recorded.
    answer: Option<Recording>,
    /// The client's place.
    client: Option<TraceContext>,
    start: SystemTime,
}

struct Recording {
    sink: Arc<dyn SpanExporter>,
    answer: TraceContext,
    /// The last call.
    call: Option<TraceContext>,
}

/// What the spans of a response and of its call are made from.
pub(crate) struct SpanSource<'a> {
    pub(crate) create: &'a Create,
    pub(crate) response: &'a Response,
    pub(crate) failure: Option<&'a Fault>,
    pub(crate) finish: Option<&'a Finish>,
    pub(crate) peer: Option<Peer>,
    pub(crate) upstream: &'a str,
    pub(crate) call: &'a UpstreamCall,
    pub(crate) meter: &'a Meter,
}

impl Trace {
    /// For a response that starts now. It is not recorded if the client's trace is not sampled.
    pub(crate) fn start(sink: Option<Arc<dyn SpanExporter>>, client: Option<TraceContext>) -> Self {
        let is_wanted = client.as_ref().is_none_or(TraceContext::is_sampled);
        let answer = sink.filter(|_| is_wanted).map(|sink| {
            let answer = match &client {
                Some(client) => client.child(span_id()),
                None => TraceContext::root(TraceId(id::bits()), span_id()),
            };
            Recording { sink, call: None, answer }
        });
        Self { answer, client, start: clock::now() }
    }

    /// Another call starts. Returns the context for the upstream: the client's own if nothing is
    /// recorded here, because an unrecorded span would be a gap in its trace.
    pub(crate) fn call(&mut self) -> Option<TraceContext> {
        let Some(recording) = &mut self.answer else { return self.client.clone() };
        recording.call = Some(recording.answer.child(span_id()));
        recording.call.clone()
    }

    /// Exports the span of a call that has ended.
    pub(crate) fn call_ended(&self, source: &SpanSource<'_>) {
        let (Some(peer), Some(times)) = (&source.peer, source.meter.call()) else { return };
        let (attributes, error) =
            source.of_call(peer, times.first_chunk.map(|first| first.as_secs_f64()));
        self.give_call(source.name(), peer, times, attributes, error);
    }

    /// Exports the span of the last call.
    pub(crate) fn give_call(
        &self,
        name: String,
        peer: &Peer,
        times: Times,
        attributes: Attributes,
        error: Option<&'static str>,
    ) {
        let Some(Recording { sink, answer, call: Some(call) }) = &self.answer else { return };
        sink.take(Span {
            context: call.clone(),
            parent: Some(answer.span_id),
            name,
            kind: if peer.address.is_some() { SpanKind::Client } else { SpanKind::Internal },
            start: self.start + times.start,
            end: self.start + times.end,
            attributes,
            error,
        });
    }

    /// Exports the spans of the response and of its last call.
    pub(crate) fn ended(&self, source: &SpanSource<'_>) {
        self.call_ended(source);
        let (attributes, error) = source.of_response();
        self.give(source.name(), source.meter.elapsed(), attributes, error);
    }

    /// Exports the span of the response.
    pub(crate) fn give(
        &self,
        name: String,
        elapsed: Duration,
        attributes: Attributes,
        error: Option<&'static str>,
    ) {
        let Some(Recording { sink, answer, .. }) = &self.answer else { return };
        sink.take(Span {
            context: answer.clone(),
            parent: self.client.as_ref().map(|client| client.span_id),
            name,
            kind: SpanKind::Server,
            start: self.start,
            end: self.start + elapsed,
            attributes,
            error,
        });
    }
}

impl SpanSource<'_> {
    fn model(&self) -> &str {
        bounded(&self.create.model)
    }

    fn name(&self) -> String {
        format!("{OPERATION} {}", self.model())
    }

    fn of_both(&self) -> Vec<(&'static str, AttributeValue)> {
        let provider = self
            .peer
            .as_ref()
            .map(|peer| ("gen_ai.provider.name", AttributeValue::Text(Arc::clone(&peer.system))));
        let both = [
            ("gen_ai.operation.name", OPERATION.into()),
            ("gen_ai.request.model", self.model().into()),
        ];
        both.into_iter().chain(provider).collect()
    }

    fn of_response(&self) -> (Vec<(&'static str, AttributeValue)>, Option<&'static str>) {
        let mut attributes = self.of_both();
        attributes.push(("gen_ai.request.stream", AttributeValue::Boolean(self.create.stream)));
        attributes.push(("gen_ai.response.id", self.response.id.as_str().into()));
        attributes.push(("weir.response.status", labels::of_status(self.response.status).into()));
        if let Some(early) = &self.response.incomplete_details {
            attributes.push(("weir.response.reason", labels::of_reason(&early.reason).into()));
        }
        if let Some(usage) = &self.response.usage {
            attributes.push(("gen_ai.usage.input_tokens", usage.input_tokens.into()));
            attributes.push(("gen_ai.usage.output_tokens", usage.output_tokens.into()));
        }
        let error = self.failure.map(labels::of_fault);
        attributes.extend(error.map(|error| ("error.type", error.into())));
        (attributes, error)
    }

    fn of_call(
        &self,
        peer: &Peer,
        first_chunk: Option<f64>,
    ) -> (Vec<(&'static str, AttributeValue)>, Option<&'static str>) {
        let mut attributes = self.of_both();
        attributes.push(("weir.upstream", self.upstream.into()));
        if let Some((address, port)) = &peer.address {
            attributes.push(("server.address", AttributeValue::Text(Arc::clone(address))));
            attributes.push(("server.port", u64::from(*port).into()));
        }
        attributes.extend(
            self.call
                .status()
                .map(|status| ("http.response.status_code", u64::from(status).into())),
        );
        attributes.extend(
            first_chunk.map(|first| {
                ("gen_ai.response.time_to_first_chunk", AttributeValue::Fraction(first))
            }),
        );
        attributes.extend(self.finish.map(|finish| {
            ("gen_ai.response.finish_reasons", AttributeValue::Texts(vec![word(finish).into()]))
        }));
        let error =
            self.failure.filter(|fault| fault.kind != FaultKind::Server).map(labels::of_fault);
        attributes.extend(error.map(|error| ("error.type", error.into())));
        (attributes, error)
    }
}

/// A model's name, truncated.
pub(crate) fn bounded(model: &str) -> &str {
    model.char_indices().nth(LONGEST_MODEL).map_or(model, |(end, _)| &model[..end])
}

/// The finish reason as an attribute. Unknown ones are not passed on.
fn word(finish: &Finish) -> &'static str {
    match finish {
        Finish::Stop => "stop",
        Finish::Length => "length",
        Finish::ContentFilter => "content_filter",
        Finish::Unknown(_) => "other",
    }
}

fn span_id() -> SpanId {
    SpanId(id::bits())
}
