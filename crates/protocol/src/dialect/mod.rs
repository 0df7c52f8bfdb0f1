//! Dialects: the vocabularies of the APIs that clients use. Each is a deterministic fold over the
//! log, without I/O.

mod definition;
mod message;
mod socket;

pub mod chat_completions;
pub mod classic;
pub mod openai;
mod outline;
pub mod responses;

mod readers;
mod tools;

pub use definition::Dialect;
pub use message::{Description, KeepAlive, Message, Partial, StreamEnd};
pub use socket::{ClientEvent, SocketDialect, SocketRules, StreamId};

/// Every dialect that is served.
pub const ALL: &[Description] =
    &[responses::DESCRIPTION, chat_completions::DESCRIPTION, classic::DESCRIPTION];
