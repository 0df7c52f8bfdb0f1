//! The face: sockets, routes, transports and callers. It turns requests into commands to the engine, and logs into bytes.

pub mod config;

pub mod listen;
pub mod router;

mod auth;
mod classic;
mod error;
mod forwarded;
mod middleware;
mod tickets;
mod unread;

mod api;
mod pages;
mod transport;
mod web;

pub use classic::Classic;
pub use config::{ClassicConfig, Config, ProxyProtocol};
pub use listen::{Connection, Connections, Network, NoNetwork, Tls, TlsError, bind, serve};
pub use router::{App, router};
pub use tickets::Tickets;
