//! Upstream models: the built-in demo, and the vendors' APIs.
//!
//! A model's name leads along a [`route`] to an [`upstream`], which chooses one of its keys, has its [`wire`] put the request
//! into the vendor's words, and sends it by [`http`].

pub mod config;
pub mod demo;
mod http;
pub mod live;
mod metrics;
mod preset;
pub mod route;
pub mod upstream;
mod wire;

pub use config::{BuildError, Config};
pub use live::LiveRoutes;
pub use route::Routes;

/// Makes all upstreams that `config` describes. Nothing is connected yet.
///
/// # Errors
/// The first upstream whose settings cannot be used.
pub fn build(config: &Config) -> Result<Routes, BuildError> {
    Routes::new(config)
}

#[cfg(test)]
mod sample;
