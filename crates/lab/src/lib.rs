//! Compares the transports: the same conversation on each of them, measured at the client, at the
//! server and on the wire.
//!
//! It measures a server from outside, over its sockets, without any use of its internals.

pub mod bilingual;
pub mod conversation;
pub mod plan;
pub mod session;

pub mod bytes;
pub mod captured;
pub mod load;
pub mod numbers;
pub mod samples;
pub mod server_view;
pub mod spread;
pub mod stall;
pub mod stamps;

mod clock;
mod cut;
mod mid_stream;
mod recording;

pub mod repeat;
pub mod run;

pub mod claims;
pub mod report;
