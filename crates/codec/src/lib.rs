//! Frames: which bytes carry a message. Codecs for Server-Sent Events, NDJSON and WebSocket,
//! without I/O and without a clock.

mod buffer;
mod frame;

pub mod json;
pub mod ndjson;
pub mod sse;

pub mod emitter;
pub mod event_stream;
pub mod websocket;

pub use buffer::EventTooLarge;
pub use frame::{Frame, Message};
