//! Runs a command: reads what was typed and what is set, and does it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;

use clap::Parser;
use engine::clock;
use engine::keys::{Keys, MemoryKeys};
use store::keys::KeyFile;
use store::storage::Storage;
use tracing_subscriber::EnvFilter;

use crate::assemble::{Blueprint, Weir};
use crate::cli::output::{self, Printed};
use crate::cli::{self, Cli, Command};
use crate::config::{self, LogConfig, LogFormat, Settings};
use crate::{certificate, chat, descriptors, shutdown};

/// Exit status for settings that cannot be used (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// The whole program.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.chosen() {
        // What only describes the command line needs no settings, and works with wrong ones.
        Command::Completions(arguments) => cli::manual::completions(&arguments).map(Done::Printed),
        Command::Man(arguments) => cli::manual::manual(&arguments).map(Done::Printed),
        command => match config::load(&cli.flags()) {
            Ok(settings) => obey(command, settings),
            Err(problems) => {
                output::complain(&problems);
                return ExitCode::from(EXIT_CONFIG);
            }
        },
    };
    let ended = done.and_then(|done| match done {
        Done::Printed(printed) => Ok(output::print(&printed).map(|()| ExitCode::SUCCESS)?),
        Done::Ended(status) => Ok(status),
    });
    ended.unwrap_or_else(|error| {
        output::complain(&format_args!("weir: {error:#}"));
        ExitCode::FAILURE
    })
}

/// What a command came to.
enum Done {
    /// Something to print.
    Printed(Printed),
    /// It has said everything itself, and this is its exit status.
    Ended(ExitCode),
}

fn obey(command: Command, settings: Settings) -> anyhow::Result<Done> {
    match command {
        Command::Serve => serve(settings).map(Done::Printed),
        Command::Chat(arguments) => chat::run(settings, &arguments).map(Done::Ended),
        Command::Config(arguments) => Ok(Done::Printed(cli::config::run(&settings, &arguments))),
        Command::Key(command) => cli::key::run(&settings, &command, clock::now()).map(Done::Printed),
        Command::Store(command) => cli::store::run(&settings, &command).map(Done::Printed),
        Command::Completions(arguments) => cli::manual::completions(&arguments).map(Done::Printed),
        Command::Man(arguments) => cli::manual::manual(&arguments).map(Done::Printed),
    }
}

fn serve(mut settings: Settings) -> anyhow::Result<Printed> {
    start_log(&settings.log)?;
    settings.server.connections = descriptors::fit(settings.server.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let keys: Arc<dyn Keys> = match settings.data.directory() {
            Some(directory) => {
                // Whatever is in its way is named as that, and not as a file in it that cannot be read.
                store::directory::prepare(directory)?;
                Arc::new(KeyFile::open(directory)?)
            }
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
        // It has the directory until the last task has ended.
        let storage = match settings.data.directory() {
            Some(directory) => Some(Storage::open(directory, settings.durability, &blueprint.tasks).await?),
            None => None,
        };
        if let Some(storage) = &storage {
            (blueprint.log, blueprint.store) = (storage.log(), storage.store());
        }
        let weir = Weir::assemble(blueprint).await?;
        let asked_to_stop = shutdown::asked()?;
        output::print(&Printed { out: greeting(weir.address(), fingerprint.as_deref(), is_encrypted), hints: String::new() })?;
        let left = weir.serve(asked_to_stop).await;
        if left > 0 {
            tracing::warn!(left, "tasks did not end in time");
        }
        if let Some(storage) = storage {
            storage.close().await;
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
