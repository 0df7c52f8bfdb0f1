//! Traces: one span for each response, a child span for each call of its upstream, and the trait of
//! an exporter.
//!
//! A span contains no prompt, no output and no key.

use std::sync::Arc;
use std::time::SystemTime;

use protocol::trace::{SpanId, TraceContext};

/// Exports spans. It must not block: spans that it cannot take are dropped and counted.
pub trait SpanExporter: Send + Sync + 'static {
    /// Takes a span that has ended.
    fn take(&self, span: Span);

    /// How many spans were exported and dropped so far.
    fn counts(&self) -> SpanCounts;
}

/// What became of the spans that a sink was given.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SpanCounts {
    /// Spans that were exported.
    pub exported: u64,
    /// Spans that were dropped.
    pub dropped: u64,
}

/// Something that took time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// The parent span.
    pub parent: Option<SpanId>,
    /// Its name.
    pub name: String,
    /// Its kind.
    pub kind: SpanKind,
    /// Its start.
    pub start: SystemTime,
    /// Its end.
    pub end: SystemTime,
    /// Its attributes, under OpenTelemetry's names.
    pub attributes: Vec<(&'static str, AttributeValue)>,
    /// The type of the error with which it ended.
    pub error: Option<&'static str>,
}

/// OpenTelemetry's span kinds, as far as they are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// The operation of a server.
    Server,
    /// A call over the network.
    Client,
    /// A call inside the process.
    Internal,
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq)]
pub enum AttributeValue {
    /// A text.
    Text(Arc<str>),
    /// A whole number.
    Number(u64),
    /// A number.
    Fraction(f64),
    /// True or false.
    Boolean(bool),
    /// Texts.
    Texts(Vec<Arc<str>>),
}

impl From<&str> for AttributeValue {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for AttributeValue {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}
