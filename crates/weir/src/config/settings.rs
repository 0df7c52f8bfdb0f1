//! The settings in force, and the values that they are made of.

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
    /// The server's.
    pub(crate) server: server::Config,
    /// The engine's.
    pub(crate) engine: engine::Config,
    /// The upstreams.
    pub(crate) provider: provider::Config,
    /// How connections are encrypted.
    pub(crate) tls: TlsConfig,
    /// Where data is kept.
    pub(crate) data: DataLocation,
    /// How long the process takes to stop.
    pub(crate) shutdown: shutdown::Config,
    /// What a running answer survives.
    pub(crate) durability: Durability,
    /// How to log.
    pub(crate) log: LogConfig,
    /// Where traces go.
    pub(crate) traces: Option<::traces::Config>,
    /// The file that was read, if there was one.
    pub(crate) file: Option<PathBuf>,
    /// Each setting, as it was typed, and where.
    pub(crate) in_force: Vec<InForce>,
    /// What is worth knowing, but not wrong.
    pub(crate) notes: Vec<String>,
}

/// One setting in force. Never holds a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct InForce {
    /// Its place in the file.
    pub(crate) path: String,
    /// Its value, as one types it.
    pub(crate) value: String,
    /// Where it was typed.
    pub(crate) place: ValueSource,
}

/// Where data is kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum DataLocation {
    /// Nowhere: what is there is gone with the process.
    Memory,
    /// In this directory, which may not exist yet.
    Directory(PathBuf),
}

impl DataLocation {
    /// How one types [`DataLocation::Memory`].
    pub(crate) const MEMORY: &str = ":memory:";

    /// The directory, if there is one.
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

/// How to log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct LogConfig {
    /// How lines look.
    pub(crate) format: LogFormat,
    /// What is logged: a level, or levels by module, as `tracing_subscriber::EnvFilter` reads them.
    pub(crate) level: String,
}

impl Default for LogConfig {
    fn default() -> Self {
        Self { format: LogFormat::Text, level: "info".to_owned() }
    }
}

/// How lines of the log look.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LogFormat {
    /// For people.
    Text,
    /// For machines: one JSON object a line.
    Json,
}

/// Flags by name, without dashes, as typed.
pub(crate) type FlagValues = BTreeMap<&'static str, String>;
