//! One upstream: chooses a key, has its wire encode the request, sends it, and records the outcome.

mod answer;
mod breaker;
pub(crate) mod choice;
mod listing;
mod passthrough;
mod pool;
mod probe;
mod trouble;

use std::sync::Arc;
use std::time::Duration;

use engine::provider::Provider;
use engine::provider::call::{Peer, UpstreamCall};
use engine::provider::event::ModelStream;
use engine::provider::failure::{FailureScope, ProviderFailure};
use engine::provider::models::ModelListing;
use engine::provider::passthrough::{PassthroughParts, PassthroughRequest};
use engine::provider::request::ModelRequest;
use engine::secret::Secret;
use engine::upstreams::{Circuit, UpstreamState};
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use hyper::header::HeaderName;
use protocol::fault::{Fault, FaultKind};
use protocol::passthrough::Passthrough;
use protocol::request::Create;
use serde_json::Value;

use self::breaker::{Breaker, Pass};
use self::listing::Listing;
use self::pool::{Pool, PoolPermit};
use crate::config::{Compat, UpstreamConfig, UpstreamConfigError};
use crate::http::{self, Http, Lease, Response, Shown};
use crate::tools::Lifter;
use crate::wire::fault::{Callee, ERROR};
use crate::wire::outgoing::{Outgoing, Refused};
use crate::wire::secrets::Secrets;
use crate::wire::{self, Wire};

pub use self::trouble::{Answered, Refusal, Trouble};
pub use crate::http::{CertificateError, ConnectError};

/// One upstream. Clones share its connections, its keys and its list of models.
#[derive(Clone, Debug)]
pub struct Upstream {
    shared: Arc<UpstreamInner>,
}

#[derive(Debug)]
struct UpstreamInner {
    name: Arc<str>,
    wire: Box<dyn Wire>,
    secrets: Arc<Secrets>,
    key_field: (HeaderName, &'static str),
    compat: Compat,
    http: Http,
    pool: Arc<Pool>,
    breaker: Arc<Breaker>,
    listing: Listing,
}

/// What a running call holds, and where it reports its outcome.
#[derive(Debug)]
struct Ticket {
    seat: PoolPermit,
    pass: Pass,
    lease: Lease,
    upstream: Arc<str>,
    call: UpstreamCall,
}

impl Upstream {
    /// The upstream that `config` describes. Does not connect yet.
    ///
    /// # Errors
    /// Unusable settings.
    pub fn new(config: &UpstreamConfig) -> Result<Self, UpstreamConfigError> {
        let http = Http::new(config)?;
        let wire = wire::of(config);
        let key_field = wire.key_field();
        if config.keys.iter().any(|key| !http::can_send(&key.secret)) {
            return Err(UpstreamConfigError::Key { upstream: config.name.clone() });
        }
        let (pool, breaker, listing) =
            (Pool::new(config), Breaker::new(config.breaker), Listing::default());
        let compat = config.compat.clone();
        let (name, secrets) = (config.name.as_str().into(), Arc::new(Secrets::of(config)));
        Ok(Self {
            shared: Arc::new(UpstreamInner {
                name,
                wire,
                secrets,
                key_field,
                compat,
                http,
                pool,
                breaker,
                listing,
            }),
        })
    }

    /// The models it lists. Fetched at most once a minute; empty while it does not respond.
    pub async fn list(&self) -> Vec<ModelListing> {
        let fetch = async {
            let unlisted = |trouble: &Trouble| {
                tracing::debug!(upstream = %self.shared.name, code = ?trouble.code(), "the upstream's models could not be listed");
            };
            self.probe().await.inspect_err(unlisted).ok()
        };
        self.shared.listing.get(fetch).await
    }

    /// Whether its last list contained this model. False if it was never asked.
    pub fn has_listed(&self, model: &str) -> bool {
        self.shared.listing.has(model)
    }

    /// Allows refused keys to be used again: the problem may have been fixed.
    pub(crate) fn reset_backoff(&self) {
        self.shared.pool.reset_backoff();
    }

    /// The state of its circuit breaker and keys.
    pub fn state(&self) -> UpstreamState {
        let shared = &self.shared;
        UpstreamState {
            upstream: Arc::clone(&shared.name),
            circuit: shared.breaker.circuit(),
            keys: shared.pool.keys(),
            waiting: shared.pool.waiting(),
        }
    }

    /// Whether `model` can be requested now: a key is usable, and the breaker is not open.
    pub(crate) fn is_ready(&self, model: &str) -> bool {
        !matches!(self.shared.breaker.circuit(), Circuit::Open(_))
            && self.shared.pool.is_usable(model)
    }

    /// Whether its models were ever listed.
    pub(crate) fn has_list(&self) -> bool {
        self.shared.listing.has_list()
    }

    /// The number of responses running on it.
    pub(crate) fn running(&self) -> usize {
        self.shared.pool.keys().iter().map(|key| key.running).sum()
    }
}

impl Provider for Upstream {
    fn ask(
        &self,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>> {
        let shared = Arc::clone(&self.shared);
        async move {
            if let Circuit::Open(wait) = shared.breaker.circuit() {
                return Err(shared.circuit_open(wait));
            }
            // The body is built after a key is free, so that queued requests do not hold one.
            let seat = shared.pool.seat(request.model(), request.call.owner.as_ref()).await?;
            let (call, writer) = (request.call.clone(), Arc::clone(&shared));
            let written = call.work(move || writer.write(&request)).await;
            let failed = || {
                Fault::new(
                    FaultKind::Server,
                    "server_error",
                    "the request could not be written for the upstream",
                )
            };
            let (outgoing, lifter) = written
                .unwrap_or_else(|| Err(ProviderFailure::new(failed(), FailureScope::Request)))?;
            shared.ask(seat, &outgoing, lifter, call).await
        }
        .boxed()
    }

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        let ignored = self.shared.wire.check(create).map_err(|fault| create.paths.fault(fault))?;
        Ok(ignored.iter().map(|path| create.paths.path(path)).collect())
    }

    fn serves(&self, request: &Passthrough) -> Result<(), Fault> {
        self.shared.serves(request)
    }

    fn pass(
        &self,
        request: PassthroughRequest,
    ) -> BoxFuture<'static, Result<PassthroughParts, ProviderFailure>> {
        Arc::clone(&self.shared).pass(request).boxed()
    }

    fn has_another_way(&self, model: &str) -> bool {
        self.shared.pool.has_others() && self.is_ready(model)
    }

    fn peer(&self) -> Option<Peer> {
        Some(self.shared.http.peer().clone())
    }
}

impl UpstreamInner {
    /// The request in the upstream's words, its body in bytes, and what turns calls back into calls
    /// of the caller's tools.
    fn write(&self, request: &ModelRequest) -> Result<(Outgoing, Lifter), ProviderFailure> {
        let mut outgoing = self.wire.ask(request).map_err(|fault| {
            ProviderFailure::new(request.create.paths.fault(fault), FailureScope::Unsupported)
        })?;
        if let Value::Object(body) = &mut outgoing.body {
            body.extend(self.compat.body.clone());
        }
        Ok((outgoing.written(), self.wire.lifter(request, self.compat.unknown_tools)))
    }

    async fn ask(
        &self,
        seat: PoolPermit,
        outgoing: &Outgoing,
        lifter: Lifter,
        call: UpstreamCall,
    ) -> Result<ModelStream, ProviderFailure> {
        let callee = self.callee(seat.key());
        let (response, mut ticket) = self.open(seat, outgoing, call, |_, failure| failure).await?;
        ticket.answered();
        Ok(answer::words(response, self.wire.reader(callee.clone(), lifter), callee, ticket))
    }

    /// Sends a request, and waits for successful response headers. `explain` can refine the failure
    /// that the wire reports.
    async fn open(
        &self,
        seat: PoolPermit,
        outgoing: &Outgoing,
        call: UpstreamCall,
        explain: impl FnOnce(&Refused<'_>, ProviderFailure) -> ProviderFailure + Send,
    ) -> Result<(Response, Ticket), ProviderFailure> {
        // After the queue: the upstream may have failed meanwhile, and a queued request must not
        // hold the probe.
        let pass = self.breaker.pass().map_err(|wait| self.circuit_open(wait))?;
        let callee = self.callee(seat.key());
        // Created before sending, so that a caller that leaves while waiting for the response is
        // noticed.
        let mut ticket =
            Ticket { seat, pass, lease: Lease::default(), upstream: Arc::clone(&self.name), call };
        let sent = self.http.send(outgoing, self.shown(ticket.seat.key()), &ticket.call).await;
        let mut response = match sent {
            Ok((response, lease)) => {
                ticket.lease = lease;
                response
            }
            Err(unreached) => {
                let failure = unreached.failure(&self.name);
                ticket.failed(&failure);
                return Err(failure);
            }
        };
        ticket.call.answered(response.status().as_u16());
        if !response.status().is_success() {
            let failure = self.refusal(&mut response, &callee, explain).await;
            if let Ok(Ok(None)) =
                tokio::time::timeout(answer::LAST_CHUNK_TIMEOUT, response.chunk()).await
            {
                ticket.lease.ended();
            }
            ticket.failed(&failure);
            return Err(failure);
        }
        Ok((response, ticket))
    }

    /// Reads an error response.
    async fn refusal(
        &self,
        response: &mut Response,
        callee: &Callee,
        explain: impl FnOnce(&Refused<'_>, ProviderFailure) -> ProviderFailure + Send,
    ) -> ProviderFailure {
        let body = http::error_body(response).await;
        let refused = Refused {
            status: response.status().as_u16(),
            headers: response.headers(),
            body: &body,
        };
        explain(&refused, self.wire.refusal(callee, &refused))
    }

    fn callee(&self, key: Option<&Secret>) -> Callee {
        Callee {
            name: Arc::clone(&self.name),
            key: key.cloned(),
            secrets: Arc::clone(&self.secrets),
        }
    }

    fn shown<'a>(&'a self, key: Option<&'a Secret>) -> Option<Shown<'a>> {
        key.map(|key| Shown { field: &self.key_field.0, before: self.key_field.1, key })
    }

    fn circuit_open(&self, wait: Duration) -> ProviderFailure {
        let message = format!(
            "The upstream '{}' has failed several times in a row and is not called for a while.",
            self.name
        );
        let seconds = wait.as_secs() + u64::from(wait.subsec_nanos() > 0);
        let fault =
            Fault::new(FaultKind::Upstream, "upstream_unavailable", message).with_status(503);
        ProviderFailure::new(
            Fault { retry_after: Some(seconds), ..fault },
            FailureScope::Upstream(Some(wait)),
        )
    }
}

impl Ticket {
    /// The upstream has responded with headers.
    fn answered(&mut self) {
        if self.pass.answered() {
            tracing::info!(upstream = %self.upstream, "the upstream has recovered");
        }
    }

    /// The model has reported why it stopped.
    fn finished(&mut self) {
        self.seat.succeeded();
        self.pass.succeeded();
    }

    /// The call has failed, before or after the response headers.
    fn failed(&mut self, failure: &ProviderFailure) {
        self.seat.failed(failure);
        match failure.scope {
            // A server error for one request does not make the upstream unavailable: only this
            // request may be too much for it.
            FailureScope::Upstream(_) if failure.fault.code == ERROR => self.answered(),
            FailureScope::Upstream(_) => {
                if let Some(pause) = self.pass.failed() {
                    let pause_ms = u64::try_from(pause.as_millis()).unwrap_or(u64::MAX);
                    let code = failure.fault.code.as_str();
                    tracing::warn!(upstream = %self.upstream, pause_ms, code, "the upstream keeps failing; its circuit breaker opens");
                }
            }
            // The upstream is available, and reported why it cannot serve the request.
            FailureScope::Request
            | FailureScope::Unsupported
            | FailureScope::Credential
            | FailureScope::Quota
            | FailureScope::RateLimited(_) => {
                self.answered();
                self.pass.succeeded();
            }
        }
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        // The caller gave up waiting: a failure that no byte from the upstream reports.
        if self.call.is_given_up() {
            let silent = ProviderFailure::upstream(Fault::new(
                FaultKind::Upstream,
                "upstream_timeout",
                "the upstream was silent",
            ));
            self.failed(&silent);
        }
    }
}
