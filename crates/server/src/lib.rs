//! The face: sockets, routes, transports and callers. It turns requests into commands to the engine, and logs into bytes.

pub mod config;

pub mod listen;
pub mod router;

mod auth;
mod error;
mod forwarded;
mod metrics;
mod middleware;
mod tickets;
mod trace;
mod unread;

mod api;
mod transport;
mod web;

pub use config::{Config, MetricsAccess, ProxyProtocol};
pub use listen::{Connection, Connections, Network, NoNetwork, Tls, TlsError, bind, serve};
pub use metrics::Metrics;
pub use router::{App, router};
pub use tickets::Tickets;
