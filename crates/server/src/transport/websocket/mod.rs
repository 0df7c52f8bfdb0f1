//! The frame `websocket`: the opening handshake, and a session of turns on the socket.
//!
//! There is no task and no queue per turn: one task per socket reads what the client says and tails the logs it asked for.

mod lanes;
mod line;
mod outbox;
mod session;
mod upgrade;

pub(crate) use upgrade::open;
