//! The log: lines on standard error, as text or as JSON; its level can change while the process
//! runs.

use std::io::{self, IsTerminal};

use tracing_subscriber::{EnvFilter, fmt};

use crate::config::settings::{LogConfig, LogFormat};

/// Sets the level of the running log.
pub(crate) type SetLevel = Box<dyn Fn(&str) -> anyhow::Result<()> + Send + Sync>;

/// Starts the log. Standard output is reserved for the output of commands.
pub(crate) fn start(config: &LogConfig) -> anyhow::Result<SetLevel> {
    let filter = EnvFilter::try_new(&config.level)?;
    let lines = fmt().with_writer(io::stderr);
    match config.format {
        LogFormat::Text => {
            let log = lines
                .with_ansi(io::stderr().is_terminal())
                .with_env_filter(filter)
                .with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Ok(Box::new(move |level| Ok(handle.reload(EnvFilter::try_new(level)?)?)))
        }
        LogFormat::Json => {
            let log =
                lines.json().flatten_event(true).with_env_filter(filter).with_filter_reloading();
            let handle = log.reload_handle();
            log.init();
            Ok(Box::new(move |level| Ok(handle.reload(EnvFilter::try_new(level)?)?)))
        }
    }
}
