//! Runs a command: reads what was typed and what is set, and does it.

use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use engine::clock;
use engine::keys::{Keys, MemoryKeys};
use store::keys::KeyFile;
use tracing_subscriber::EnvFilter;

use crate::assemble::{Blueprint, Weir};
use crate::cli::output::{self, Printed};
use crate::cli::{self, Cli, Command};
use crate::config::{self, LogConfig, LogFormat, Settings};
use crate::shutdown;

/// Exit status for settings that cannot be used (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// The whole program.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let settings = match config::load(&cli.flags()) {
        Ok(settings) => settings,
        Err(problems) => {
            output::complain(&problems);
            return ExitCode::from(EXIT_CONFIG);
        }
    };
    let done = match cli.chosen() {
        Command::Serve => serve(settings),
        Command::Config(arguments) => Ok(cli::config::run(&settings, &arguments)),
        Command::Key(command) => cli::key::run(&settings, &command, clock::now()),
    };
    match done.and_then(|printed| Ok(output::print(&printed)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::complain(&format_args!("weir: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn serve(settings: Settings) -> anyhow::Result<Printed> {
    start_log(&settings.log)?;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let keys: Arc<dyn Keys> = match settings.data.directory() {
            Some(directory) => Arc::new(KeyFile::open(directory)?),
            None => Arc::new(MemoryKeys::default()),
        };
        for note in &settings.notes {
            tracing::warn!("{note}");
        }
        let weir = Weir::assemble(Blueprint::in_memory(settings.server, settings.engine, settings.provider, keys)).await?;
        output::print(&Printed { out: greeting(&weir), hints: String::new() })?;
        let left = weir.serve(shutdown::asked()).await;
        if left > 0 {
            tracing::warn!(left, "tasks did not end in time");
        }
        Ok(Printed::default())
    })
}

/// One line: where it is, and what to try next.
fn greeting(weir: &Weir) -> String {
    let address = weir.address();
    format!(
        "weir listens on http://{address} - open it in a browser, or try: curl -N http://{address}/v1/responses -H 'content-type: application/json' -d '{{\"model\":\"demo\",\"input\":\"hello\",\"stream\":true}}'\n"
    )
}

/// Logs go to standard error: standard output is for what was asked for.
fn start_log(config: &LogConfig) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(&config.level)?;
    let log = tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr);
    match config.format {
        LogFormat::Text => log.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
    Ok(())
}
