//! Upstream models: the built-in demo, and the vendors' APIs.
//!
//! A [`route`] leads from a model's name to an [`upstream`], which chooses one of its keys, has its
//! [`wire`] translate the request into the vendor's format, and sends it with [`http`].

pub mod config;
pub mod demo;
mod http;
pub mod live;
mod preset;
pub mod route;
mod tools;
pub mod upstream;
mod wire;

pub use config::{Config, UpstreamConfigError};
pub use live::LiveRoutes;
pub use route::Routes;

/// Builds all upstreams that `config` describes. Does not connect yet.
///
/// # Errors
/// The first upstream with unusable settings.
pub fn build(config: &Config) -> Result<Routes, UpstreamConfigError> {
    Routes::new(config)
}

/// Parses a response body of `wire` that arrives in these pieces, without HTTP. For benchmarks and
/// fuzzing.
#[doc(hidden)]
pub fn read_pieces<'a>(
    wire: config::WireKind,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut hear: impl FnMut(
        Result<engine::provider::event::ModelEvent, engine::provider::failure::ProviderFailure>,
    ),
) {
    let mut config =
        config::UpstreamConfig::new("measured", config::Preset::Compatible, "http://127.0.0.1/v1");
    config.wire = wire;
    let mut reader = wire::of(&config).reader(
        wire::fault::Callee { name: "measured".into(), ..wire::fault::Callee::default() },
        tools::Lifter::default(),
    );
    for piece in pieces {
        reader.push(piece);
        std::iter::from_fn(|| reader.next_event()).for_each(&mut hear);
    }
    reader.finish();
    std::iter::from_fn(|| reader.next_event()).for_each(hear);
}

/// The request body that `wire` builds for a conversation. For benchmarks and fuzzing.
///
/// # Errors
/// The request uses something that the wire format does not support.
#[doc(hidden)]
pub fn write_request(
    wire: config::WireKind,
    request: &engine::provider::request::ModelRequest,
) -> Result<Vec<u8>, protocol::fault::Fault> {
    let mut config =
        config::UpstreamConfig::new("measured", config::Preset::Compatible, "http://127.0.0.1/v1");
    config.wire = wire;
    let wire = wire::of(&config);
    wire.check(&request.create)?;
    let outgoing = wire.ask(request)?;
    Ok(outgoing.raw.map_or_else(|| outgoing.body.to_string().into_bytes(), Vec::from))
}

#[cfg(test)]
mod sample;
