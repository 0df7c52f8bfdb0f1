//! Upstream models: the built-in demo, and the vendors' APIs.
//!
//! A model's name leads along a [`route`] to an [`upstream`], which chooses one of its keys, has its [`wire`] put the request
//! into the vendor's words, and sends it by [`http`].

pub mod config;
pub mod demo;
mod http;
pub mod live;
mod preset;
pub mod route;
mod tools;
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

/// The words in a body of `wire` that came in these pieces: the parser alone, without HTTP. For measurements and fuzzing.
#[doc(hidden)]
pub fn read_pieces<'a>(
    wire: config::WireKind,
    pieces: impl IntoIterator<Item = &'a [u8]>,
    mut hear: impl FnMut(Result<engine::provider::event::Word, engine::provider::failure::Failure>),
) {
    let mut config = config::UpstreamConfig::new("measured", config::Preset::Compatible, "http://127.0.0.1/v1");
    config.wire = wire;
    let mut reader = wire::of(&config)
        .reader(wire::fault::Callee { name: "measured".into(), ..wire::fault::Callee::default() }, tools::Lifter::default());
    for piece in pieces {
        reader.push(piece);
        std::iter::from_fn(|| reader.next_word()).for_each(&mut hear);
    }
    reader.finish();
    std::iter::from_fn(|| reader.next_word()).for_each(hear);
}

/// The body of the request that `wire` makes of a conversation. For measurements and fuzzing.
///
/// # Errors
/// What the wire has no word for.
#[doc(hidden)]
pub fn write_request(wire: config::WireKind, request: &engine::provider::request::ModelRequest) -> Result<Vec<u8>, protocol::fault::Fault> {
    let mut config = config::UpstreamConfig::new("measured", config::Preset::Compatible, "http://127.0.0.1/v1");
    config.wire = wire;
    let wire = wire::of(&config);
    wire.check(&request.create)?;
    let outgoing = wire.ask(request)?;
    Ok(outgoing.raw.map_or_else(|| outgoing.body.to_string().into_bytes(), Vec::from))
}

#[cfg(test)]
mod sample;
