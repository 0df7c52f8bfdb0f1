//! WebSockets: the opening handshake, and one session on each socket, whatever its API.
//!
//! There is no task and no queue per turn: one task per socket reads the client's messages and
//! tails the logs of its responses.

mod api;
mod calibrated;
mod connection;
mod queues;
mod send_buffer;
mod session;
mod turns;
mod upgrade;

pub(crate) use api::{DialectSocket, SocketApi, SocketTurn};
pub(crate) use calibrated::open_source;
pub(crate) use upgrade::open;
