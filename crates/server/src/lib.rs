//! The face: sockets, routes, transports and callers. It turns requests into commands to the engine, and logs into bytes.

mod app;

pub mod config;

pub mod capture;
pub mod drain;
pub mod listen;
pub mod live;
pub mod router;

mod auth;
mod classic;
mod error;
mod forwarded;
mod grants;
mod metrics;
mod middleware;
mod paths;
mod rates;
mod tickets;
mod trace;
mod unread;

mod api;
mod pages;
#[cfg(test)]
mod test_app;
mod transport;
mod web;

pub use app::{App, AppParts};
pub use capture::Capture;
pub use classic::Classic;
pub use config::{CaptureMode, ClassicConfig, Config, Keyless, LensConfig, MetricsAccess, ProxyProtocol};
pub use drain::Drain;
pub use grants::{Grants, watch as watch_keys};
pub use listen::{Connection, Connections, Network, NoNetwork, Tls, TlsError, bind, serve};
pub use live::Live;
pub use metrics::Metrics;
pub use router::router;
pub use tickets::Tickets;
