//! The settings in force, and the types of their values.

use std::collections::BTreeMap;
use std::fmt;
use std::path::{Path, PathBuf};

use store::Durability;

use super::problem::ValueSource;
use super::tls::TlsConfig;
use crate::shutdown;

/// The settings in force.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Settings {
    /// The settings of the server.
    pub(crate) server: server::Config,
    /// The settings of the engine.
    pub(crate) engine: engine::Config,
    /// The upstreams.
    pub(crate) provider: provider::Config,
    /// The TLS settings.
    pub(crate) tls: TlsConfig,
    /// The location of data.
    pub(crate) data: DataLocation,
    /// The timeouts of a shutdown.
    pub(crate) shutdown: shutdown::Config,
    /// What running responses survive.
    pub(crate) durability: Durability,
    /// The settings of the log.
    pub(crate) log: LogConfig,
    /// The exporter of traces.
    pub(crate) traces: Option<::traces::Config>,
    /// The file that was read, if any.
    pub(crate) file: Option<PathBuf>,
    /// Each setting as it was typed, with its source.
    pub(crate) in_force: Vec<InForce>,
    /// Notes that are not problems.
    pub(crate) notes: Vec<String>,
}

/// One setting in force. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    /// The path of the setting.
    pub(crate) path: String,
    /// Its value, as users type it.
    pub(crate) value: String,
    /// Where it was set.
    pub(crate) source: ValueSource,
}

/// The location of data.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataLocation {
    /// In memory: data is lost when the process ends.
    Memory,
    /// In this directory, which may not exist yet.
    Directory(PathBuf),
}

impl DataLocation {
    /// The value that means [`DataLocation::Memory`].
    pub(crate) const MEMORY: &str = ":memory:";

    /// The directory, if any.
    pub(crate) fn directory(&self) -> Option<&Path> {
        match self {
            Self::Memory => None,
            Self::Directory(path) => Some(path),
        }
    }
}

impl fmt::Display for DataLocation {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Memory => formatter.write_str(Self::MEMORY),
            Self::Directory(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// The settings of the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// The format of lines.
    pub(crate) format: LogFormat,
    /// A level, or levels by module, as `tracing_subscriber::EnvFilter` reads them.
    pub(crate) level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// The format of the log.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// Text for reading.
    Text,
    /// One JSON object per line.
    Json,
}

/// Flags by name, without dashes, as typed.
pub(crate) type FlagValues = BTreeMap<&'static str, String>;
