//! What the engine needs of an upstream model: a trait, and the words that come back.

pub mod passthrough;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU16, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, ready};
use futures_util::stream::BoxStream;
use protocol::event::EventKind;
use protocol::fault::Fault;
use protocol::id::Owner;
use protocol::item::Item;
use protocol::passthrough::Passthrough;
use protocol::request::Create;
use protocol::trace::TraceContext;
use protocol::usage::Usage;
use serde_json::{Map, Value};

use self::passthrough::{Parts, PassthroughRequest};
use crate::config::OnLeave;
use crate::metrics::Exposition;
use crate::upstreams::State;
use crate::workers::Workers;

/// Everything a model needs to answer: the caller's request and the conversation it stands in.
#[derive(Clone, Debug)]
pub struct ModelRequest {
    /// The request as the caller made it.
    pub create: Arc<Create>,
    /// What the upstream calls the model, where that is another name than the caller's.
    pub model: Option<Arc<str>>,
    /// The conversation so far and the new input, oldest first. The request's `input` is in it.
    pub context: Arc<[Item]>,
    /// What is passed on of the trace, and told back.
    pub call: Call,
}

impl ModelRequest {
    /// The model's name as the upstream knows it.
    pub fn model(&self) -> &str {
        self.model.as_deref().unwrap_or(&self.create.model)
    }
}

/// One call of an upstream, as traces see it.
#[derive(Clone, Debug, Default)]
pub struct Call {
    /// Where in a trace it stands, if that is to be passed on.
    pub trace: Option<TraceContext>,
    /// For whom it is: callers wait for an upstream in turn.
    pub owner: Option<Owner>,
    /// Zero while there is none.
    status: Arc<AtomicU16>,
    is_given_up: Arc<AtomicBool>,
    /// Where large work on the request is done, and how many bytes are in hand for it; without, it is done where it stands.
    workers: Option<(Arc<Workers>, u64)>,
}

impl Call {
    /// A call for `owner` at this place of a trace.
    pub fn new(owner: Owner, trace: Option<TraceContext>) -> Self {
        Self { trace, owner: Some(owner), ..Self::default() }
    }

    /// Has large work on the request, for which so many bytes are in hand, done by `workers`.
    pub(crate) fn with_workers(self, workers: Arc<Workers>, bytes: u64) -> Self {
        Self { workers: Some((workers, bytes)), ..self }
    }

    /// Works on the request: off the runtime's threads and in its caller's turn where it is large. `None` if that panicked.
    pub async fn work<T: Send + 'static>(&self, work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
        match (&self.workers, &self.owner) {
            (Some((workers, bytes)), Some(owner)) => workers.run_sized(owner, *bytes, work).await,
            _ => Some(work()),
        }
    }

    /// The upstream has answered with a status of HTTP.
    pub fn answered(&self, status: u16) {
        self.status.store(status, Ordering::Relaxed);
    }

    /// Whoever asked waits no longer: the upstream was silent for too long. To be said before the words are dropped.
    pub fn give_up(&self) {
        self.is_given_up.store(true, Ordering::Relaxed);
    }

    /// Whether it was silent for too long.
    pub fn is_given_up(&self) -> bool {
        self.is_given_up.load(Ordering::Relaxed)
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
    /// What the text before it rests on (a citation), in Open Responses' form.
    Annotation(Value),
    /// More thoughts.
    Reasoning(String),
    /// More of a summary of thoughts. A word of the other kind between two of them parts them.
    ReasoningSummary(String),
    /// The end of a piece of thoughts or of its summary: what comes next of either begins anew.
    ReasoningBreak,
    /// The end of these thoughts, with what only the upstream can read of them and wants back in the next turn. It comes
    /// also where nothing of them was shown.
    ReasoningEnd {
        /// Opaque; what it begins with says whose it is.
        encrypted: String,
    },
    /// More of a refusal.
    Refusal(String),
    /// More of a call of one of the caller's tools.
    ToolCall(ToolCallDelta),
    /// An item that Weir does not interpret: a tool that the upstream ran, an image.
    Item(OpaqueStep),
    /// Fields beyond the vocabulary that belong to the thoughts.
    ReasoningExtra(Map<String, Value>),
    /// Fields beyond the vocabulary that belong to the message.
    Extra(Map<String, Value>),
    /// What it cost so far; a later one replaces it.
    Usage(Usage),
    /// Why the model stopped: the evidence of completion (promise 4).
    Finish(Finish),
    /// The upstream is there, but said nothing: it does not count as a sign of the model.
    KeepAlive,
}

/// More of a tool call. Pieces with the same index belong together; id and name come once.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToolCallDelta {
    /// Which call of this response.
    pub index: u64,
    /// The upstream's id of the call.
    pub id: Option<String>,
    /// The tool, by the name that the caller gave it.
    pub name: Option<String>,
    /// Whether it is a custom tool, whose `arguments` are free text. Said with the name.
    pub is_custom: bool,
    /// The next piece of the arguments; may be empty.
    pub arguments: String,
    /// Fields beyond the vocabulary, such as `namespace`.
    pub extra: Map<String, Value>,
}

/// A step of an item that is passed on as it is. `key` says which item of this response.
#[derive(Clone, Debug, PartialEq)]
pub enum OpaqueStep {
    /// The item starts.
    Added {
        /// Which item.
        key: u64,
        /// The item so far, with its `type`.
        item: Map<String, Value>,
    },
    /// Something happened to it.
    Event {
        /// Which item.
        key: u64,
        /// What, as [`EventKind::is_hosted`] knows it.
        kind: EventKind,
        /// The event's fields, without those that say which item it is about.
        fields: Map<String, Value>,
    },
    /// The item is whole. It may come without the other steps.
    Done {
        /// Which item.
        key: u64,
        /// The item, with its `type`.
        item: Map<String, Value>,
    },
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
    /// A reason that Weir does not know, in the upstream's word. It is no evidence that the response is complete.
    Unknown(String),
}

/// The last message of a request for a summary, as if the user had said it: every upstream understands that.
pub const SUMMARISE: &str = "Summarise our conversation so far. Your summary will stand in its place when we go on, so keep all that \
    will be needed then: names, facts, numbers, decisions, what I asked for, what was done, and what is still open. Write it in the \
    language we speak, as plain text, and write nothing else.";

/// The code of a fault that says no more than that the connection broke in the middle of the answer.
pub const UPSTREAM_CUT: &str = "upstream_cut";

/// The code of a fault that says that the conversation is longer than the model can read.
pub const CONTEXT_LENGTH: &str = "context_length_exceeded";

/// Words as they come. Dropping it closes the upstream connection at once (promise 5). A failure is the last of them.
pub type Words = BoxStream<'static, Result<Word, Failure>>;

/// A call that failed: what the caller is told, and on whom it was, which decides what is tried next (promise 8).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Failure {
    /// Fit for the caller: never with a key in it.
    pub fault: Fault,
    /// On whom it was.
    pub blame: Blame,
}

/// On whom a failure was.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Blame {
    /// On the request, which nobody would take; or the upstream asks not to be asked again.
    Request,
    /// On the match of the two: this upstream lacks the model, or a word for what was asked. Another may have it.
    Match,
    /// On the key: it is wrong, or its account is closed. It stays so until somebody changes it.
    Key,
    /// On the key's account: no credit, no quota left. It may be filled up.
    Money,
    /// On the key's pace: it was asked too much, and may be asked again after a while.
    Rate(Option<Duration>),
    /// On the upstream: it cannot be reached, is overloaded, broken or silent; it may be asked again after a while.
    Upstream(Option<Duration>),
}

impl Failure {
    /// A failure that is on `blame`.
    pub fn new(fault: Fault, blame: Blame) -> Self {
        Self { fault, blame }
    }

    /// A failure that is on the upstream, which says nothing of when to come back.
    pub fn upstream(fault: Fault) -> Self {
        Self::new(fault, Blame::Upstream(None))
    }
}

/// An upstream model.
pub trait Provider: Send + Sync + 'static {
    /// Asks the model. Resolves when the upstream has answered with a head that promises a stream; dropping the future
    /// closes the connection.
    ///
    /// # Errors
    /// The upstream's refusal, that it could not be reached, or that its head did not come in time.
    fn ask(&self, request: ModelRequest) -> BoxFuture<'static, Result<Words, Failure>>;

    /// Checks before the call that it can do what the request asks for. Gives the fields, by path, that it leaves out because
    /// they cannot matter.
    ///
    /// # Errors
    /// The first field that it cannot serve and must not leave out, by its path.
    fn check(&self, create: &Create) -> Result<Vec<String>, Fault>;

    /// Says before a pass-through call whether it can serve it.
    ///
    /// # Errors
    /// It has no such operation, or no word for a field of the request.
    fn serves(&self, request: &Passthrough) -> Result<(), Fault> {
        Err(passthrough::unsupported(request))
    }

    /// Makes a pass-through call. Resolves when the upstream has answered with a head that promises a response; dropping the
    /// future closes the connection.
    ///
    /// # Errors
    /// As [`Self::serves`] and [`Self::ask`].
    fn pass(&self, request: PassthroughRequest) -> BoxFuture<'static, Result<Parts, Failure>> {
        ready(Err(Failure::new(passthrough::unsupported(&request.request), Blame::Match))).boxed()
    }

    /// Whether it has another way to answer at once, such as another key, after a call for `model` that failed.
    fn has_another_way(&self, _model: &str) -> bool {
        false
    }

    /// Who is asked; `None` where nobody is, and there is nothing to measure.
    fn peer(&self) -> Option<Peer> {
        None
    }
}

/// How long to wait for what.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timeouts {
    /// For the connection, TLS included.
    pub connect: Duration,
    /// From asking to the upstream's head; the provider sees to it, as it sees to `connect`.
    pub headers: Duration,
    /// From the head to the first word of the model.
    pub first_token: Duration,
    /// Between two signs of life, once the model has started: a connection that is silent for longer is dead.
    pub idle: Duration,
    /// Between two words of the model while the upstream sends keep-alives only: it may withhold long arguments, or queue.
    pub keep_alive: Duration,
    /// From the first asking to the end, retries included; zero is no limit.
    pub total: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            connect: Duration::from_secs(10),
            // Reasoning models and queues of busy providers answer late; DeepSeek itself gives up after ten minutes.
            headers: Duration::from_secs(120),
            first_token: Duration::from_secs(600),
            idle: Duration::from_secs(120),
            keep_alive: Duration::from_secs(600),
            total: Duration::ZERO,
        }
    }
}

/// Where a model's name leads.
#[derive(Clone)]
pub struct Route {
    /// Whom to ask, the first before the others; never empty.
    pub legs: Arc<[Leg]>,
    /// How often and how long it is tried again.
    pub retries: Retries,
    /// What happens to an answer when its last reader leaves, where the route says it.
    pub on_leave: Option<OnLeave>,
    /// Whether the settings or an upstream itself name the model, so that its name may be a label of metrics. What a caller
    /// makes up may not.
    pub is_listed: bool,
}

/// One of those that may be asked.
#[derive(Clone)]
pub struct Leg {
    /// The name of the upstream, for logs.
    pub upstream: Arc<str>,
    /// The provider to ask.
    pub provider: Arc<dyn Provider>,
    /// Its own name for the model, where that is another.
    pub model: Option<Arc<str>>,
    /// How long to wait for it.
    pub timeouts: Timeouts,
}

/// How often and how long a call that failed is made again, before anything of an answer has come (promise 8).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Retries {
    /// How often all legs are tried again. Going on to another leg or another key is no retry.
    pub count: u32,
    /// How long after the first call nothing is tried any more.
    pub deadline: Duration,
}

impl Default for Retries {
    fn default() -> Self {
        Self { count: 2, deadline: Duration::from_secs(60) }
    }
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

    /// How the upstreams are, in the order of the configuration.
    fn upstreams(&self) -> Vec<State> {
        Vec::new()
    }

    /// Writes down how the upstreams are.
    fn write_metrics(&self, _text: &mut Exposition) {}
}
