//! The settings of traces.

use engine::secret::Secret;

/// Where traces go.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// The whole address, which ends in `/v1/traces` as a rule.
    pub endpoint: String,
    /// Headers for it, such as a key.
    pub headers: Vec<(String, Secret)>,
    /// What this server is called there (`service.name`).
    pub service: String,
}

impl Config {
    /// What a server is called that has no other name.
    pub const SERVICE: &str = "weir";
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// A header that HTTP has no place for. Its value stays out: it may be a key.
    #[error("the header '{name}' for traces cannot be sent")]
    Header {
        /// Which.
        name: String,
    },
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made for traces")]
    Client(#[source] reqwest::Error),
}
