//! Measurement: packets and the connections they make, what travels in them, and what the kernel knows of a socket.
//!
//! A packet is decoded by [`packet`], put together with others by [`flow`], and what its stream holds is told by [`http`].
//! These three, [`pcapng`] and [`ladder`] are without I/O and without a clock. [`capture`], [`namespace`] and [`tcp_info`] ask
//! the kernel; all that is unsafe stands in `system`.
//!
//! The words: a *packet* is what the capture gave, a *segment* is what TCP makes of it (RFC 9293), a *connection* is two
//! *streams* of bytes between a *client*, which sent the first SYN, and a *server*. A *piece* is a part of a stream that has one
//! *kind*; the pieces of a stream lie side by side and leave nothing out.

pub mod capture;
pub mod flow;
pub mod http;
pub mod ladder;
pub mod live;
pub mod moment;
pub mod namespace;
pub mod packet;
pub mod pcapng;
pub mod tcp_info;

#[cfg(target_os = "linux")]
#[expect(unsafe_code, reason = "system calls that no safe crate has; nowhere else in the house")]
#[expect(clippy::cast_possible_truncation, reason = "constants and lengths, in the types that the kernel wants")]
mod system;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "packets of tests are short")]
mod tests;
