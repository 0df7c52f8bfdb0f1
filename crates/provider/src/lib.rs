//! Upstream models: the built-in demo, and every server that speaks OpenAI's chat completions.

pub mod config;
pub mod demo;
pub mod live;
pub mod openai;
pub mod route;

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
