//! Runs a command: reads what was typed and what is set, and does it.

use std::net::SocketAddr;
use std::process::ExitCode;
use std::sync::Arc;
use std::sync::atomic::{AtomicU8, Ordering};
use std::time::Duration;

use clap::Parser;
use engine::clock;
use engine::keys::{Keys, MemoryKeys};
use engine::tasks::Tasks;
use store::keys::KeyFile;
use tokio::sync::Mutex;
use tokio::time::sleep;

use crate::assemble::{Blueprint, Weir};
use crate::cli::output::{self, Printed};
use crate::cli::{self, Cli, Command};
use crate::config::{self, Flags, Settings};
use crate::notify::Notifier;
use crate::reload::Reloader;
use crate::signals::{Reloads, Stops};
use crate::{certificate, descriptors, log};

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
        Command::Serve => return serve(settings, cli.flags()).unwrap_or_else(|error| failed(&error)),
        Command::Config(arguments) => Ok(cli::config::run(&settings, &arguments)),
        Command::Health(arguments) => cli::health::run(&settings, &arguments),
        Command::Key(command) => cli::key::run(&settings, &command, clock::now()),
    };
    match done.and_then(|printed| Ok(output::print(&printed)?)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => failed(&error),
    }
}

fn failed(error: &anyhow::Error) -> ExitCode {
    output::complain(&format_args!("weir: {error:#}"));
    ExitCode::FAILURE
}

fn serve(mut settings: Settings, flags: Flags) -> anyhow::Result<ExitCode> {
    let set_level = log::start(&settings.log)?;
    let as_typed = settings.clone();
    settings.server.connections = descriptors::fit(settings.server.connections);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    let status = runtime.block_on(async {
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
        blueprint.shutdown = settings.shutdown;
        let weir = Weir::assemble(blueprint).await?;
        let (stops, reloads) = (Mutex::new(Stops::new()?), Reloads::new()?);
        let (controls, tasks, notifier) = (weir.controls(), weir.tasks(), Arc::new(Notifier::of_environment()));
        let reloader = Reloader { flags, settings: as_typed, set_level, controls, notifier: Arc::clone(&notifier), tasks: tasks.clone() };
        tasks.spawn("reload", reloader.run(reloads));
        if let Some(pulse) = notifier.pulse() {
            tasks.spawn("pulse", beat(Arc::clone(&notifier), pulse, tasks.clone()));
        }
        output::print(&Printed { out: greeting(weir.address(), fingerprint.as_deref(), is_encrypted), hints: String::new() })?;
        notifier.ready();

        let controls = weir.controls();
        let stop = async {
            stops.lock().await.next().await;
            notifier.stopping(controls.shutdown().longest());
        };
        let status = AtomicU8::new(0);
        let again = async { status.store(stops.lock().await.next().await, Ordering::Relaxed) };
        weir.serve_until(stop, again).await;
        anyhow::Ok(status.into_inner())
    });
    // Whatever did not end in time was counted and is not waited for.
    runtime.shutdown_background();
    status.map(ExitCode::from)
}

/// Tells systemd that we live, for as long as we do.
async fn beat(notifier: Arc<Notifier>, pulse: Duration, tasks: Tasks) {
    loop {
        notifier.alive();
        tokio::select! {
            () = tasks.stopping() => return,
            () = sleep(pulse) => {}
        }
    }
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
