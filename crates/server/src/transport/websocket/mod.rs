//! The frame `websocket`: the opening handshake, and a session on the socket: `session` has turns of the Responses API,
//! `questions` those of the classic one.
//!
//! There is no task and no queue per turn: one task per socket reads what the client says and tails the logs it asked for.

mod lanes;
mod line;
mod outbox;
mod questions;
mod session;
mod upgrade;

pub(crate) use upgrade::{open, open_classic};
