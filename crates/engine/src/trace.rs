//! Traces: one span for each answer, one below it for the call of its upstream, and the trait of whoever takes them away.
//!
//! No prompt, no answer and no key is in a span.

use std::sync::Arc;
use std::time::SystemTime;

use protocol::trace::{SpanId, TraceContext};

use crate::metrics::Exposition;

/// Takes spans. It must not wait: what it cannot keep it drops, and counts.
pub trait Sink: Send + Sync + 'static {
    /// A span has ended.
    fn take(&self, span: Span);

    /// Writes down how many it took away, and how many not.
    fn write_metrics(&self, text: &mut Exposition);
}

/// Something that took time.
#[derive(Clone, Debug, PartialEq)]
pub struct Span {
    /// Its trace and its own id.
    pub context: TraceContext,
    /// What it is a part of.
    pub parent: Option<SpanId>,
    /// What it is called.
    pub name: String,
    /// Whose view it is.
    pub kind: SpanKind,
    /// When it began.
    pub begin: SystemTime,
    /// When it ended.
    pub end: SystemTime,
    /// What is known of it, by OpenTelemetry's names.
    pub attributes: Vec<(&'static str, Value)>,
    /// The kind of the error in which it ended.
    pub error: Option<&'static str>,
}

/// Whose view of an operation a span is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SpanKind {
    /// Of who was asked.
    Server,
    /// Of who asked over the network.
    Client,
    /// Of who did it by itself.
    Internal,
}

/// What an attribute may be.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
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

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

impl From<u64> for Value {
    fn from(number: u64) -> Self {
        Self::Number(number)
    }
}
