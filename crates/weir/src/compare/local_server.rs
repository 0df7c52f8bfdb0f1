//! The servers of the comparison in this process: on threads of their own, with the demo model,
//! with and without TLS.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engine::memory::keys::MemoryKeys;
use engine::tasks::Tasks;
use lab::stamps::Stamps;
use server::TlsServer;
use server::config::{CaptureMode, Keyless, LensConfig};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use super::stamped::Stamped;
use crate::assemble::{Blueprint, Weir};
use crate::certificate;
use crate::config::settings::Settings;
use crate::shutdown;

/// The name of the servers' threads, whose processor time is measured.
const THREADS: &str = "weir-server";

pub(super) struct LocalServers {
    runtime: Runtime,
    stops: Vec<oneshot::Sender<()>>,
    /// The ports without and with TLS.
    pub(super) ports: [u16; 2],
    /// The SHA-256 of the certificate.
    pub(super) fingerprint: String,
}

/// The settings of the servers.
pub(super) struct LocalServerOptions<'a> {
    pub(super) settings: &'a Settings,
    /// The pause between two tokens.
    pub(super) pace: Duration,
    /// Where to listen, and the addresses that lead there.
    pub(super) listen: IpAddr,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) stamps: Stamps,
}

impl LocalServers {
    /// Starts the servers. `at` runs a function in the network namespace in which they listen.
    pub(super) fn start(
        options: &LocalServerOptions<'_>,
        at: impl Fn(&dyn Fn() -> Result<TcpListener>) -> Result<TcpListener>,
    ) -> Result<Self> {
        let runtime = Builder::new_multi_thread()
            .worker_threads(1)
            .thread_name(THREADS)
            .enable_all()
            .build()?;
        let bind = || {
            let _context = runtime.enter();
            server::bind(SocketAddr::new(options.listen, 0))
                .with_context(|| format!("cannot listen on {}", options.listen))
        };
        let (clear, encrypted) = (at(&bind)?, at(&bind)?);
        let names: Vec<String> = options.addresses.iter().map(ToString::to_string).collect();
        let tls = Arc::new(certificate::for_names(&names)?);
        let ports = [clear.local_addr()?.port(), encrypted.local_addr()?.port()];
        let mut own = Self { runtime, stops: Vec::new(), ports, fingerprint: tls.fingerprint() };
        own.serve(options, clear, None)?;
        own.serve(options, encrypted, Some(tls))?;
        Ok(own)
    }

    fn serve(
        &mut self,
        options: &LocalServerOptions<'_>,
        listener: TcpListener,
        tls: Option<Arc<TlsServer>>,
    ) -> Result<()> {
        let mut server = options.settings.server.clone();
        server.listen = listener.local_addr()?;
        // Only this program can reach the server, whatever its addresses are.
        server.keyless = Keyless::Anyone;
        server.hosts.extend(options.addresses.iter().map(ToString::to_string));
        // The client captures the packets; the server counts every byte.
        server.lens = LensConfig { capture: CaptureMode::Off, ..LensConfig::default() };
        server.classic.enabled = true;
        // The grace period for browser pages is not a property of a transport.
        server.classic.grace = Duration::ZERO;
        let demo = provider::config::DemoConfig {
            enabled: true,
            tokens_per_second: 1.0 / options.pace.as_secs_f64(),
        };
        let provider = provider::Config { demo, ..provider::Config::default() };
        let keys = Arc::new(MemoryKeys::default());
        let mut blueprint =
            Blueprint::in_memory(server, options.settings.engine.clone(), provider, keys);
        blueprint.shutdown = shutdown::Config {
            delay: Duration::ZERO,
            spread: Duration::ZERO,
            grace: Duration::ZERO,
        };
        (blueprint.tls, blueprint.listener) = (tls, Some(listener));
        let stamps = options.stamps.clone();
        let weir = self.runtime.block_on(Weir::assemble_with(blueprint, |models| {
            Arc::new(Stamped::new(models, stamps))
        }))?;
        let (stop, stopped) = oneshot::channel::<()>();
        self.stops.push(stop);
        let tasks = Tasks::new();
        let _context = self.runtime.enter();
        tasks.spawn("compared", async {
            // Responses that do not end in time end with the process.
            let _left = weir.serve(async { drop(stopped.await) }).await;
        });
        Ok(())
    }

    /// Stops the servers.
    pub(super) fn stop(self) {
        drop(self.stops);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// The processor time of the servers' threads: the first field of `/proc/…/schedstat` (proc(5)), in
/// nanoseconds.
pub(super) fn processor() -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // The files of a thread that has ended are gone.
        let read = |file: &str| fs::read_to_string(thread.path().join(file)).ok();
        if !read("comm").is_some_and(|name| name.starts_with(THREADS)) {
            continue;
        }
        nanoseconds += read("schedstat")?.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanoseconds)).filter(|time| !time.is_zero())
}
