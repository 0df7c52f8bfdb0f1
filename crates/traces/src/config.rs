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
    /// The name of a server without a configured one.
    pub const SERVICE: &str = "weir";
}

/// Settings that cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TraceConfigError {
    /// A header that is not valid in HTTP. Its value is not shown: it may be a key.
    #[error("the header '{name}' for traces cannot be sent")]
    Header {
        /// Which.
        name: String,
    },
    /// The HTTP client could not be made.
    #[error("no HTTP client could be made for traces")]
    Client(#[source] reqwest::Error),
}
