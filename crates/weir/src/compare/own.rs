//! The server of the comparison, in this process: on threads of its own, with the demo model, in clear and through TLS.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, Result};
use engine::memory::keys::MemoryKeys;
use engine::tasks::Tasks;
use lab::compare::stamps::Stamps;
use server::Tls;
use server::config::{CaptureMode, Keyless, LensConfig};
use tokio::net::TcpListener;
use tokio::runtime::{Builder, Runtime};
use tokio::sync::oneshot;

use crate::assemble::{Blueprint, Weir};
use crate::certificate;
use crate::config::Settings;
use crate::shutdown;

/// The threads of the server, whose processor time is its own.
const THREADS: &str = "weir-server";

/// The servers.
pub(super) struct Own {
    runtime: Runtime,
    stops: Vec<oneshot::Sender<()>>,
    /// The ports: in clear, and through TLS.
    pub(super) ports: [u16; 2],
    /// The SHA-256 of the certificate.
    pub(super) fingerprint: String,
}

/// How the servers are to be.
pub(super) struct Wanted<'a> {
    pub(super) settings: &'a Settings,
    /// The pause between two tokens.
    pub(super) pace: Duration,
    /// Where to listen, and by which addresses one comes there.
    pub(super) listen: IpAddr,
    pub(super) addresses: Vec<IpAddr>,
    pub(super) stamps: Stamps,
}

impl Own {
    /// Starts them. `at` does something where they are to listen.
    pub(super) fn start(wanted: &Wanted<'_>, at: impl Fn(&dyn Fn() -> Result<TcpListener>) -> Result<TcpListener>) -> Result<Self> {
        let runtime = Builder::new_multi_thread().worker_threads(1).thread_name(THREADS).enable_all().build()?;
        let bind = || {
            let _context = runtime.enter();
            server::bind(SocketAddr::new(wanted.listen, 0)).with_context(|| format!("cannot listen on {}", wanted.listen))
        };
        let (clear, encrypted) = (at(&bind)?, at(&bind)?);
        let names: Vec<String> = wanted.addresses.iter().map(ToString::to_string).collect();
        let tls = Arc::new(certificate::for_names(&names)?);
        let ports = [clear.local_addr()?.port(), encrypted.local_addr()?.port()];
        let mut own = Self { runtime, stops: Vec::new(), ports, fingerprint: tls.fingerprint() };
        own.serve(wanted, clear, None)?;
        own.serve(wanted, encrypted, Some(tls))?;
        Ok(own)
    }

    fn serve(&mut self, wanted: &Wanted<'_>, listener: TcpListener, tls: Option<Arc<Tls>>) -> Result<()> {
        let mut server = wanted.settings.server.clone();
        server.listen = listener.local_addr()?;
        // Only this program is in the network that it is measured in, whatever addresses that has.
        server.keyless = Keyless::Anyone;
        server.hosts.extend(wanted.addresses.iter().map(ToString::to_string));
        // The packets are looked at from the client's end, and every byte is counted.
        server.lens = LensConfig { capture: CaptureMode::Off, sampling: 1.0 };
        server.classic.enabled = true;
        // How long an answer waits until a page has made room for it is no matter of transport.
        server.classic.grace = Duration::ZERO;
        let demo = provider::config::DemoConfig { enabled: true, tokens_per_second: 1.0 / wanted.pace.as_secs_f64() };
        let provider = provider::Config { demo, ..provider::Config::default() };
        let keys = Arc::new(MemoryKeys::default());
        let mut blueprint = Blueprint::in_memory(server, wanted.settings.engine.clone(), provider, keys);
        blueprint.shutdown = shutdown::Config { delay: Duration::ZERO, spread: Duration::ZERO, grace: Duration::ZERO };
        (blueprint.tls, blueprint.listener, blueprint.stamps) = (tls, Some(listener), Some(wanted.stamps.clone()));
        let weir = self.runtime.block_on(Weir::assemble(blueprint))?;
        let (stop, stopped) = oneshot::channel::<()>();
        self.stops.push(stop);
        let tasks = Tasks::new();
        let _context = self.runtime.enter();
        tasks.spawn("compared", async {
            // What does not end in time ends with the process.
            let _left = weir.serve(async { drop(stopped.await) }).await;
        });
        Ok(())
    }

    /// Ends them.
    pub(super) fn stop(self) {
        drop(self.stops);
        self.runtime.shutdown_timeout(Duration::from_secs(1));
    }
}

/// How long the server's threads have run: the first field of `/proc/…/schedstat` (proc(5)), in nanoseconds.
pub(super) fn processor() -> Option<Duration> {
    let mut nanoseconds = 0;
    for thread in fs::read_dir("/proc/self/task").ok()?.flatten() {
        // A thread that ends meanwhile has no files any more.
        let read = |file: &str| fs::read_to_string(thread.path().join(file)).ok();
        if !read("comm").is_some_and(|name| name.starts_with(THREADS)) {
            continue;
        }
        nanoseconds += read("schedstat")?.split_whitespace().next()?.parse::<u64>().ok()?;
    }
    Some(Duration::from_nanos(nanoseconds)).filter(|time| !time.is_zero())
}
