//! Measurement: packets and the connections they make, their contents, and what the kernel reports
//! of a socket.
//!
//! [`packet`] decodes a packet, [`flow`] puts packets together to connections, and [`http`] reads
//! the contents of their streams. These three, [`pcapng`] and [`ladder`] are without I/O and
//! without a clock. [`capture`], [`namespace`] and [`tcp_info`] make system calls; all unsafe code
//! is in `system`.
//!
//! Terms: a *packet* is what the capture gave, a *segment* is what TCP makes of it (RFC
//! 9293), a *connection* is two *streams* of bytes between a *client*, which sent the first SYN,
//! and a *server*. A *piece* is a part of a stream that has one *kind*; the pieces of a stream lie
//! side by side and leave nothing out.

pub mod capture;
pub mod flow;
pub mod headers;
pub mod http;
pub mod ladder;
pub mod live;
pub mod memory;
pub mod moment;
pub mod namespace;
pub mod packet;
pub mod pcapng;
pub mod tcp_info;

#[cfg(target_os = "linux")]
#[expect(
    unsafe_code,
    reason = "system calls that no safe crate has; nowhere else in the workspace"
)]
#[expect(
    clippy::cast_possible_truncation,
    reason = "constants and lengths, in the types that the kernel wants"
)]
mod system;

#[cfg(test)]
#[expect(clippy::cast_possible_truncation, reason = "packets of tests are short")]
mod tests;
