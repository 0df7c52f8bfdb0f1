//! Runs a command: parses the command line, loads the settings, and executes it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use clap::Parser;
use engine::clock;
use engine::cores::Cores;
use engine::keys::KeyStore;
use engine::memory::keys::MemoryKeys;
use engine::tasks::Tasks;
use store::keys::KeyFile;
use store::storage::Storage;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::assemble::{Blueprint, Weir};
use crate::cli::output::{self, Printed};
use crate::cli::{self, Cli, CliCommand};
use crate::config::settings::{FlagValues, Settings};
use crate::config::{self, FileVersion, Loaded};
use crate::notify::Notifier;
use crate::reload::Reloader;
use crate::signals::{Reloads, Stops};
use crate::{certificate, chat, compare, descriptors, log, probe, tap};

/// Exit status for invalid settings (`EX_CONFIG` of sysexits.h).
const EXIT_CONFIG: u8 = 78;

/// Runs the program.
pub fn run() -> ExitCode {
    let cli = Cli::parse();
    let done = match cli.chosen() {
        // Commands that only describe the command line need no settings, and work with invalid
        // ones.
        CliCommand::Completions(arguments) => {
            cli::manual::completions(&arguments).map(Done::Printed)
        }
        CliCommand::Man(arguments) => cli::manual::manual(&arguments).map(Done::Printed),
        CliCommand::Probe(arguments) => Ok(Done::Ended(probe::run(&arguments))),
        command => {
            let Loaded { settings, sources } = config::load(&cli.flags());
            match settings {
                Ok(settings) => run_command(command, settings, cli.flags(), sources),
                Err(problems) => {
                    output::complain(&problems);
                    return ExitCode::from(EXIT_CONFIG);
                }
            }
        }
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

/// The result of a command.
enum Done {
    /// Output to print.
    Printed(Printed),
    /// The exit status of a command that has printed its own output.
    Ended(ExitCode),
}

fn run_command(
    command: CliCommand,
    settings: Settings,
    flags: FlagValues,
    sources: Vec<FileVersion>,
) -> anyhow::Result<Done> {
    match command {
        CliCommand::Serve => serve(settings, flags, sources).map(Done::Ended),
        CliCommand::Chat(arguments) => chat::run(settings, &arguments).map(Done::Ended),
        CliCommand::Compare(arguments) => compare::run(&settings, &arguments).map(Done::Ended),
        CliCommand::Config(arguments) => Ok(Done::Printed(cli::config::run(&settings, &arguments))),
        CliCommand::Health(arguments) => cli::health::run(&settings, &arguments).map(Done::Printed),
        CliCommand::Key(command) => {
            cli::key::run(&settings, &command, clock::now()).map(Done::Printed)
        }
        CliCommand::Tap(arguments) => Ok(Done::Ended(tap::run(&settings, &arguments))),
        CliCommand::Store(command) => cli::store::run(&settings, &command).map(Done::Printed),
        CliCommand::Upstream(command) => {
            let cli::upstream::CheckOutcome { printed, is_well } =
                cli::upstream::run(&settings, &command)?;
            output::print(&printed)?;
            Ok(Done::Ended(if is_well { ExitCode::SUCCESS } else { ExitCode::FAILURE }))
        }
        CliCommand::Completions(arguments) => {
            cli::manual::completions(&arguments).map(Done::Printed)
        }
        CliCommand::Man(arguments) => cli::manual::manual(&arguments).map(Done::Printed),
        CliCommand::Probe(arguments) => Ok(Done::Ended(probe::run(&arguments))),
    }
}

fn serve(
    mut settings: Settings,
    flags: FlagValues,
    sources: Vec<FileVersion>,
) -> anyhow::Result<ExitCode> {
    let set_level = log::start(&settings.log)?;
    let as_typed = settings.clone();
    settings.server.connections = descriptors::fit(settings.server.connections);
    lens::memory::give_back_large_blocks();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let cores = Cores::start(std::thread::available_parallelism().map_or(1, usize::from))?;
    let status = runtime.block_on(async {
        let keys: Arc<dyn KeyStore> = match settings.data.directory() {
            Some(directory) => {
                // So that an error names the directory, and not a file in it that cannot be read.
                store::directory::prepare(directory)?;
                let keys = KeyFile::open(directory)?;
                keys.require()?;
                Arc::new(keys)
            }
            None => Arc::new(MemoryKeys::default()),
        };
        for note in &settings.notes {
            tracing::warn!("{note}");
        }
        let tls = certificate::tls(&settings.tls, &settings.data, &settings.server)?.map(Arc::new);
        let (is_encrypted, is_ours) =
            (tls.is_some(), settings.tls == config::TlsConfig::SelfSigned);
        let fingerprint = tls.as_ref().filter(|_| is_ours).map(|tls| tls.fingerprint());
        let model = first_model(&settings.provider);
        let mut blueprint =
            Blueprint::in_memory(settings.server, settings.engine, settings.provider, keys);
        blueprint.tasks = Tasks::on_cores(Arc::clone(&cores));
        blueprint.tls = tls;
        blueprint.traces = settings.traces;
        blueprint.shutdown = settings.shutdown;
        // Keeps the directory locked until the last task has ended.
        let storage = match settings.data.directory() {
            Some(directory) => {
                Some(Storage::open(directory, settings.durability, &blueprint.tasks).await?)
            }
            None => None,
        };
        if let Some(storage) = &storage {
            (blueprint.log, blueprint.store) = (storage.log(), storage.store());
        }
        let weir = Weir::assemble(blueprint).await?;
        let (stops, reloads) = (Mutex::new(Stops::new()?), Reloads::new()?);
        let (controls, tasks, notifier) =
            (weir.controls(), weir.tasks(), Arc::new(Notifier::of_environment()));
        let (settings, told) = (as_typed, Arc::clone(&notifier));
        let reloader = Reloader {
            flags,
            settings,
            sources,
            set_level,
            controls,
            notifier: told,
            tasks: tasks.clone(),
        };
        tasks.spawn("reload", reloader.run(reloads));
        if let Some(pulse) = notifier.pulse() {
            tasks.spawn("pulse", ping_watchdog(Arc::clone(&notifier), pulse, tasks.clone()));
        }
        output::print(&Printed {
            out: greeting(weir.address(), &model, fingerprint.as_deref(), is_encrypted),
            hints: String::new(),
        })?;
        notifier.ready();

        let controls = weir.controls();
        let stop = async {
            stops.lock().await.next().await;
            notifier.stopping(controls.shutdown().longest());
        };
        let status = AtomicU8::new(0);
        let again = async { status.store(stops.lock().await.next().await, Ordering::Relaxed) };
        weir.serve_until(stop, again).await;
        if let Some(storage) = storage {
            storage.close().await;
        }
        anyhow::Ok(status.into_inner())
    });
    // Tasks that did not end in time were counted, and are not awaited.
    cores.stop();
    runtime.shutdown_background();
    status.map(ExitCode::from)
}

/// Sends keep-alives to systemd's watchdog.
async fn ping_watchdog(notifier: Arc<Notifier>, pulse: Duration, tasks: Tasks) {
    loop {
        notifier.alive();
        tokio::select! {
            () = tasks.stopping() => return,
            () = sleep(pulse) => {}
        }
    }
}

/// A model for the example: the demo, the first configured one, or a placeholder.
fn first_model(provider: &provider::Config) -> String {
    let is_demo = provider.demo.enabled.then(|| provider::demo::MODEL.to_owned());
    let named = || {
        provider
            .routes
            .iter()
            .map(|route| &route.model)
            .chain(provider.upstreams.iter().flat_map(|upstream| &upstream.models))
            .next()
    };
    is_demo.or_else(|| named().cloned()).unwrap_or_else(|| "MODEL".to_owned())
}

/// A line with the address and an example, and one with the fingerprint of a self-signed
/// certificate.
fn greeting(
    address: SocketAddr,
    model: &str,
    fingerprint: Option<&str>,
    is_encrypted: bool,
) -> String {
    let scheme = if is_encrypted { "https" } else { "http" };
    let flags = if fingerprint.is_some() { "-kN" } else { "-N" };
    let certificate = fingerprint
        .map(|text| format!("its certificate is self-signed; SHA-256 {text}\n"))
        .unwrap_or_default();
    format!(
        "weir listens on {scheme}://{address} - open it in a browser, or: curl {flags} --json '{{\"model\":\"{model}\",\"input\":\"hi\",\"stream\":true}}' {scheme}://{address}/v1/responses\n{certificate}"
    )
}
