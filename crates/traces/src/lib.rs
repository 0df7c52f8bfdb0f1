//! Export of traces: a bounded queue of spans, and OpenTelemetry's protocol (OTLP) over HTTP, in JSON.
//!
//! OpenTelemetry's own SDK is deliberately absent: it would cost a quarter of a clean build for what is one document.

pub mod config;
mod export;
mod otlp;
mod queue;

pub use config::{Config, TraceConfigError};
pub use export::Export;
pub use queue::SpanQueue;
