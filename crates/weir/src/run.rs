//! Runs a command: reads what was typed and what is set, and does it.

use std::net::SocketAddr;
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
use crate::{certificate, descriptors, shutdown};

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

fn serve(mut settings: Settings) -> anyhow::Result<Printed> {
    start_log(&settings.log)?;
    settings.server.connections = descriptors::fit(settings.server.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let keys: Arc<dyn Keys> = match settings.data.directory() {
            Some(directory) => Arc::new(KeyFile::open(directory)?),
            None => Arc::new(MemoryKeys::default()),
        };
        for note in &settings.notes {
            tracing::warn!("{note}");
        }
        let tls = certificate::tls(&settings.tls, &settings.data, &settings.server)?.map(Arc::new);
        let (is_encrypted, is_ours) = (tls.is_some(), settings.tls == config::Tls::SelfSigned);
        let fingerprint = tls.as_ref().filter(|_| is_ours).map(|tls| tls.fingerprint());
        let mut blueprint = Blueprint::in_memory(settings.server, settings.engine, settings.provider, keys);
        blueprint.tls = tls;
        blueprint.traces = settings.traces;
        let weir = Weir::assemble(blueprint).await?;
        let asked_to_stop = shutdown::asked()?;
        output::print(&Printed { out: greeting(weir.address(), fingerprint.as_deref(), is_encrypted), hints: String::new() })?;
        let left = weir.serve(asked_to_stop).await;
        if left > 0 {
            tracing::warn!(left, "tasks did not end in time");
        }
        Ok(Printed::default())
    })
}

/// One line: where it is, and what to try next. Another, where only a fingerprint tells who it is.
fn greeting(address: SocketAddr, fingerprint: Option<&str>, is_encrypted: bool) -> String {
    let scheme = if is_encrypted { "https" } else { "http" };
    let flags = if fingerprint.is_some() { "-kN" } else { "-N" };
    let certificate = fingerprint.map(|text| format!("its certificate is self-signed; SHA-256 {text}\n")).unwrap_or_default();
    format!(
        "weir listens on {scheme}://{address} - open it in a browser, or: curl {flags} --json '{{\"model\":\"demo\",\"input\":\"hi\",\"stream\":true}}' {scheme}://{address}/v1/responses\n{certificate}"
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
