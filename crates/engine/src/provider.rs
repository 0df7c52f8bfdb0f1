//! What the engine needs of an upstream model: a trait, and the words that come back.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use futures_util::stream::BoxStream;
use protocol::fault::Fault;
use protocol::item::Item;
use protocol::request::Create;
use protocol::trace::TraceContext;
use protocol::usage::Usage;
use serde_json::Value;

/// Everything a model needs to answer: the caller's request and the conversation it stands in.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// The request as the caller made it.
    pub create: Arc<Create>,
    /// The conversation so far and the new input, oldest first. The request's `input` is in it.
    pub context: Arc<[Item]>,
    /// What is passed on of the trace, and told back.
    pub call: Call,
}

/// One call of an upstream, as traces see it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Where in a trace it stands, if that is to be passed on.
    pub trace: Option<TraceContext>,
    /// Zero while there is none.
    status: Arc<AtomicU16>,
}

impl Call {
    /// A call at this place of a trace.
    pub fn new(trace: Option<TraceContext>) -> Self {
        Self { trace, status: Arc::default() }
    }

    /// The upstream has answered with a status of HTTP.
    pub fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// The status it answered with.
    pub fn status(&self) -> Option<u16> {
        Some(self.status.load(Ordering::Relaxed)).filter(|status| *status != 0)
    }
}

/// Who is asked, for metrics and traces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peer {
    /// OpenTelemetry's word for it (`gen_ai.provider.name`), or the name of the upstream.
    pub system: Arc<str>,
    /// The host and the port, unless it is a part of this process.
    pub address: Option<(Arc<str>, u16)>,
}

/// One word from upstream, normalised. What a provider sends beyond these is tolerated and left out.
#[derive(Clone, Debug, PartialEq)]
pub enum Word {
    /// More text, with its log probabilities as they came (often none).
    Text {
        /// The text; never empty.
        text: String,
        /// Log probabilities.
        logprobs: Vec<Value>,
    },
    /// More thoughts.
    Reasoning(String),
    /// More of a refusal.
    Refusal(String),
    /// More of a tool call. Pieces with the same index belong together; id and name come once.
    ToolCall {
        /// Which call of this answer.
        index: u64,
        /// The upstream's name for the call.
        id: Option<String>,
        /// The function.
        name: Option<String>,
        /// The next piece of the arguments; may be empty.
        arguments: String,
    },
    /// What it cost so far; a later one replaces it.
    Usage(Usage),
    /// Why the model stopped: the evidence of completion (promise 4).
    Finish(Finish),
    /// The upstream is there, but said nothing: it does not count as a sign of the model.
    KeepAlive,
}

/// Why a model stopped.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finish {
    /// It had said everything, or waits for its tools.
    Stop,
    /// It hit the limit on output tokens.
    Length,
    /// A filter cut it.
    ContentFilter,
    /// A reason the vocabulary has no word for; the answer counts as whole.
    Other(String),
}

/// The last message of a request for a summary, as if the user had said it: every upstream understands that.
pub const SUMMARISE: &str = "Summarise our conversation so far. Your summary will stand in its place when we go on, so keep all that \
    will be needed then: names, facts, numbers, decisions, what I asked for, what was done, and what is still open. Write it in the \
    language we speak, as plain text, and write nothing else.";

/// The code of a fault that says no more than that the connection broke in the middle of the answer.
pub const UPSTREAM_CUT: &str = "upstream_cut";

/// Words as they come. Dropping it closes the upstream connection at once (promise 5).
pub type Words = BoxStream<'static, Result<Word, Fault>>;

/// An upstream model.
pub trait Provider: Send + Sync + 'static {
    /// Asks the model. Resolves when the upstream has answered with a head that promises a stream; dropping the future
    /// closes the connection.
    ///
    /// # Errors
    /// The upstream's refusal, or that it could not be reached, as a fault fit for the caller: never with a key in it.
    fn ask(&self, request: ModelRequest) -> BoxFuture<'static, Result<Words, Fault>>;

    /// Whether it knows a parameter for which the vocabulary has no word.
    fn knows(&self, parameter: &str) -> bool;

    /// Who is asked; `None` where nobody is, and there is nothing to measure.
    fn peer(&self) -> Option<Peer> {
        None
    }
}

/// How long to wait for what. Only model words reset `idle`; keep-alives do not.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// From asking to the upstream's head.
    pub headers: Duration,
    /// From the head to the first word of the model.
    pub first_token: Duration,
    /// Between two words of the model.
    pub idle: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // Reasoning models and queues of busy providers answer late; DeepSeek itself gives up after ten minutes.
            headers: Duration::from_secs(120),
            first_token: Duration::from_secs(600),
            idle: Duration::from_secs(120),
        }
    }
}

/// Where a model's name leads.
#[derive(Clone)]
pub struct Route {
    /// The name of the upstream, for logs.
    pub upstream: Arc<str>,
    /// The provider to ask.
    pub provider: Arc<dyn Provider>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
    /// Whether the settings or the upstream itself name the model, so that its name may be a label of metrics. What a caller
    /// makes up may not.
    pub is_listed: bool,
}

/// A model as `GET /v1/models` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelListing {
    /// Its name.
    pub id: String,
    /// Who serves it.
    pub owned_by: String,
    /// Seconds since 1970, where the upstream says so.
    pub created: u64,
}

/// All models there are.
pub trait Models: Send + Sync + 'static {
    /// Where `model` leads; `None` where nobody serves it.
    fn route(&self, model: &str) -> Option<Route>;

    /// Every model, in the order of the configuration. An upstream that does not answer is left out.
    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>>;
}
