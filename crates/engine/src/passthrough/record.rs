//! What is measured, traced and logged of one pass-through call. If it is dropped before its end,
//! its client left.

use std::sync::Arc;

use protocol::fault::{Fault, FaultKind};
use protocol::id::Owner;
use protocol::passthrough::{Operation, Passthrough};
use protocol::trace::TraceContext;
use tokio::time::Instant;

use crate::provider::call::{Peer, UpstreamCall};
use crate::provider::exchange::{ExchangeTarget, UpstreamExchange};
use crate::provider::route::{Route, RouteTarget};
use crate::response::labels;
use crate::response::meter::{Meter, PassthroughEnd, Tokens};
use crate::response::retry::RetryReason;
use crate::response::spans::{Attributes, Trace, bounded};
use crate::response::state::EngineState;
use crate::trace::AttributeValue;

/// The record of one call.
pub(super) struct Record {
    operation: Operation,
    model: String,
    stream: bool,
    meter: Meter,
    trace: Trace,
    /// The upstream of the last call.
    upstream: Arc<str>,
    peer: Option<Peer>,
    call: UpstreamCall,
    owner: Owner,
    tokens: Tokens,
    is_ended: bool,
}

impl Record {
    /// For a call that was accepted just now.
    pub(super) fn new(
        shared: &EngineState,
        owner: &Owner,
        route: &Route,
        request: &Passthrough,
        client: Option<TraceContext>,
    ) -> Self {
        Self {
            operation: request.operation,
            model: request.model.clone(),
            stream: request.stream,
            meter: Meter::of(
                request.operation.name(),
                Arc::clone(&shared.metrics),
                route,
                &request.model,
            ),
            trace: Trace::start(shared.traces.get().cloned(), client),
            owner: owner.clone(),
            upstream: "".into(),
            peer: None,
            call: UpstreamCall::default(),
            tokens: Tokens::default(),
            is_ended: false,
        }
    }

    /// A call of an upstream starts. Returns it for the provider.
    pub(super) fn asked(&mut self, target: &RouteTarget) -> UpstreamCall {
        self.upstream = Arc::clone(&target.upstream);
        self.peer = target.provider.peer();
        self.meter.asked(target);
        let address = self.peer.as_ref().and_then(|peer| peer.address.clone());
        let upstream = Arc::clone(&target.upstream);
        let exchange = UpstreamExchange::new(
            ExchangeTarget { response: None, upstream, address },
            Instant::now(),
        );
        self.call = UpstreamCall::new(self.owner.clone(), self.trace.call(), exchange);
        self.call.clone()
    }

    /// The caller.
    pub(super) fn owner(&self) -> &Owner {
        &self.owner
    }

    /// The upstream of the last call.
    pub(super) fn upstream(&self) -> &str {
        &self.upstream
    }

    /// A part of the response came.
    pub(super) fn received(&mut self) {
        self.meter.received(1, Instant::now());
    }

    /// Sets the tokens so far.
    pub(super) fn cost(&mut self, tokens: Tokens) {
        self.tokens = tokens;
    }

    /// The call of the upstream is over.
    pub(super) fn closed(&mut self) {
        self.meter.closed();
    }

    /// A call has failed and is repeated.
    pub(super) fn again(&mut self, failure: &Fault, reason: RetryReason) {
        tracing::debug!(
            operation = self.operation.name(),
            upstream = %self.upstream,
            code = ?failure.code,
            reason = reason.as_str(),
            "retrying"
        );
        self.meter.again(failure, reason.as_str());
        self.call_ended(Some(failure));
    }

    /// The call has ended. Only the first end counts.
    pub(super) fn end(&mut self, ending: PassthroughEnd<'_>) {
        if std::mem::replace(&mut self.is_ended, true) {
            return;
        }
        self.meter.closed();
        self.meter.passed(ending, self.tokens);
        let failure = match ending {
            PassthroughEnd::Failed(fault) => Some(fault),
            PassthroughEnd::Completed | PassthroughEnd::Left => None,
        };
        if let Some(fault) = failure {
            tracing::warn!(
                operation = self.operation.name(),
                upstream = %self.upstream,
                code = fault.code.as_str(),
                status = fault.status,
                "pass-through call failed"
            );
        }
        self.call_ended(failure.filter(|fault| fault.kind != FaultKind::Server));
        let mut attributes = self.attributes();
        attributes.push(("gen_ai.request.stream", AttributeValue::Boolean(self.stream)));
        attributes
            .extend(self.tokens.input.map(|input| ("gen_ai.usage.input_tokens", input.into())));
        attributes
            .extend(self.tokens.output.map(|output| ("gen_ai.usage.output_tokens", output.into())));
        let error = failure.map(labels::of_fault);
        attributes.extend(error.map(|error| ("error.type", error.into())));
        self.trace.give(self.name(), self.meter.elapsed(), attributes, error);
    }

    fn call_ended(&self, failure: Option<&Fault>) {
        let (Some(peer), Some(times)) = (&self.peer, self.meter.call()) else { return };
        let mut attributes = self.attributes();
        attributes.push(("weir.upstream", (&*self.upstream).into()));
        if let Some((address, port)) = &peer.address {
            attributes.push(("server.address", (&**address).into()));
            attributes.push(("server.port", u64::from(*port).into()));
        }
        attributes.extend(
            self.call
                .status()
                .map(|status| ("http.response.status_code", u64::from(status).into())),
        );
        let error = failure.map(labels::of_fault);
        attributes.extend(error.map(|error| ("error.type", error.into())));
        self.trace.give_call(self.name(), peer, times, attributes, error);
    }

    fn name(&self) -> String {
        format!("{} {}", self.operation.name(), bounded(&self.model))
    }

    fn attributes(&self) -> Attributes {
        let mut attributes: Attributes = vec![
            ("gen_ai.operation.name", self.operation.name().into()),
            ("gen_ai.request.model", bounded(&self.model).into()),
        ];
        attributes.extend(
            self.peer.as_ref().map(|peer| ("gen_ai.provider.name", (&*peer.system).into())),
        );
        attributes
    }
}

impl Drop for Record {
    fn drop(&mut self) {
        self.end(PassthroughEnd::Left);
    }
}
