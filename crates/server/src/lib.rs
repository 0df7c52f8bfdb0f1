//! The HTTP server: sockets, routes, transports and callers. It turns requests into commands for
//! the engine, and logs into bytes.

mod app;

pub mod config;

pub mod capture;
pub mod drain;
pub mod listen;
pub mod live;

mod classic;
mod credential;
mod delayed_feed;
mod error;
mod grants;
mod metrics;
mod network;
mod paths;
mod query;
mod rates;
mod revocation;
mod sources;
mod tickets;

mod api;
mod http;
mod pages;
mod router;
mod transport;
mod web;

#[cfg(test)]
mod test_app;

pub use app::{App, AppParts};
pub use capture::PortCapture;
pub use classic::Classic;
pub use config::{
    CaptureMode, ClassicConfig, Config, Keyless, LensConfig, MetricsAccess, ProxyProtocol,
};
pub use drain::Drain;
pub use grants::Grants;
pub use listen::{ConnectionHandle, Connections, TlsError, TlsServer, bind};
pub use live::{LiveServer, serve};
pub use metrics::ServerMetrics;
pub use network::{IpNetwork, ParseNetworkError};
pub use rates::Rates;
pub use revocation::watch as watch_keys;
pub use sources::Sources;
pub use tickets::Tickets;
