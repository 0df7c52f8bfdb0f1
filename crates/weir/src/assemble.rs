//! The composition root: makes every part in order, and passes each only what it needs.

use std::net::SocketAddr;
use std::sync::{Arc, PoisonError, RwLock};

use anyhow::{Context, bail};
use engine::Engine;
use engine::keys::KeyStore;
use engine::log::Log;
use engine::memory::log::MemoryLog;
use engine::memory::store::MemoryStore;
use engine::provider::models::Models;
use engine::response::recover::RecoveryCounts;
use engine::store::Store;
use engine::tasks::Tasks;
use provider::LiveRoutes;
use server::{App, AppParts, Connections, Drain, Keyless, LiveServer, TlsServer};
use tokio::net::TcpListener;
use traces::Export;

use crate::shutdown;

/// The inputs of all parts. Tests provide their own log and keys; the program uses its settings.
pub struct Blueprint {
    /// The settings of the server.
    pub server: server::Config,
    /// The settings of the engine.
    pub engine: engine::Config,
    /// The settings of the upstreams.
    pub provider: provider::Config,
    /// The API keys.
    pub keys: Arc<dyn KeyStore>,
    /// The log of responses.
    pub log: Arc<dyn Log>,
    /// The other stores.
    pub store: Arc<dyn Store>,
    /// The TLS configuration; `None`: no TLS.
    pub tls: Option<Arc<TlsServer>>,
    /// The exporter of traces; `None`: no traces.
    pub traces: Option<traces::Config>,
    /// The timeouts of a shutdown.
    pub shutdown: shutdown::Config,
    /// The tasks of all parts.
    pub tasks: Tasks,
    /// A socket that already listens, such as one in a network namespace; `None`: bind one.
    pub listener: Option<TcpListener>,
}

impl Blueprint {
    /// A blueprint with everything in memory, with the given keys.
    pub fn in_memory(
        server: server::Config,
        engine: engine::Config,
        provider: provider::Config,
        keys: Arc<dyn KeyStore>,
    ) -> Self {
        let (log, store) = (Arc::new(MemoryLog::new()), Arc::new(MemoryStore::new()));
        let (tls, traces, shutdown, tasks) =
            (None, None, shutdown::Config::default(), Tasks::new());
        Self {
            server,
            engine,
            provider,
            keys,
            log,
            store,
            tls,
            traces,
            shutdown,
            tasks,
            listener: None,
        }
    }
}

/// The assembled parts, bound to an address, not yet serving.
pub struct Weir {
    listener: TcpListener,
    /// The listener of `server.admin_listen`.
    admin_listener: Option<TcpListener>,
    app: App,
    controls: Controls,
    tls: Option<Arc<TlsServer>>,
    /// Tasks that stop after all others.
    final_tasks: Tasks,
}

impl Weir {
    /// Makes the parts and binds the address.
    ///
    /// # Errors
    /// Invalid settings of an upstream; a store that cannot be written; an address that cannot be
    /// bound, or that requires an API key.
    pub async fn assemble(blueprint: Blueprint) -> anyhow::Result<Self> {
        Self::assemble_with(blueprint, |models| models).await
    }

    /// Like [`Self::assemble`], with a wrapper around the models, for measurements.
    ///
    /// # Errors
    /// Those of [`Self::assemble`].
    pub(crate) async fn assemble_with(
        blueprint: Blueprint,
        wrap: impl FnOnce(Arc<dyn Models>) -> Arc<dyn Models> + Send,
    ) -> anyhow::Result<Self> {
        let Blueprint {
            mut server,
            engine,
            provider,
            keys,
            log,
            store,
            tls,
            traces,
            shutdown,
            tasks,
            listener,
        } = blueprint;
        if listener.is_none() && !server.listen.ip().is_loopback() && !keys.configured() {
            bail!(
                "refusing to listen on {}: it can be reached from other machines, and no key is configured.\n\
                 Create one with `weir key create --name NAME`, or listen on 127.0.0.1.",
                server.listen
            );
        }
        if server.keyless == Keyless::ThisMachine {
            require_key(&server, &*keys)?;
        }
        if let Some(address) =
            server.admin_listen.filter(|address| !address.ip().is_loopback() && !keys.configured())
        {
            bail!(
                "refusing to listen on {address} (server.admin_listen): it can be reached from other machines, and no key is configured.\n\
                 Create one with `weir key create --admin`, or listen on 127.0.0.1."
            );
        }
        check_and_fill(&mut server, &provider)?;
        let routes = Arc::new(LiveRoutes::new(provider::build(&provider)?));
        let engine =
            Engine::new(engine, log, store, wrap(Arc::<LiveRoutes>::clone(&routes)), tasks.clone());
        // Before the first request, so that no client sees an unfinished response of the last
        // process.
        let recovered = engine
            .recover()
            .await
            .context("cannot end the unfinished responses of the last process")?;
        if recovered != RecoveryCounts::default() {
            let RecoveryCounts { ended, recorded, forgotten } = recovered;
            tracing::info!(
                ended,
                recorded,
                forgotten,
                "recovered responses after an unclean shutdown"
            );
        }
        let final_tasks = Tasks::new();
        if let Some(traces) = traces {
            let (queue, export) = Export::new(traces)?;
            engine.trace_to(queue);
            final_tasks.spawn("traces", export.run(final_tasks.clone()));
        }
        let listener = match listener {
            Some(listener) => listener,
            None => server::bind(server.listen)
                .with_context(|| format!("cannot listen on {}", server.listen))?,
        };
        server.listen = listener.local_addr().context("cannot determine the bound address")?;
        let admin_listener = match server.admin_listen {
            Some(address) => {
                let bound = server::bind(address)
                    .with_context(|| format!("cannot listen on {address} (server.admin_listen)"))?;
                let address = bound.local_addr().context("cannot determine the bound address")?;
                tracing::info!(%address, "admin listener is ready");
                server.admin_listen = Some(address);
                Some(bound)
            }
            None => None,
        };
        let app = App::new(AppParts {
            engine,
            keys,
            config: Arc::new(server),
            connections: Arc::new(Connections::default()),
            is_encrypted: tls.is_some(),
            classic: Arc::default(),
            grants: Arc::default(),
            tickets: Arc::default(),
            capture: Arc::default(),
            metrics: Arc::default(),
            tasks,
            drain: Drain::default(),
            rates: Arc::default(),
            sources: Arc::default(),
        });
        let (engine, live, tasks, keys) = (
            app.engine.clone(),
            LiveServer::new(app.clone()),
            app.tasks.clone(),
            Arc::clone(&app.keys),
        );
        let controls = Controls {
            engine,
            keys,
            routes,
            live,
            tasks,
            shutdown: Arc::new(RwLock::new(shutdown)),
        };
        Ok(Self { listener, admin_listener, app, controls, tls, final_tasks })
    }

    /// The address it listens on.
    pub fn address(&self) -> SocketAddr {
        self.app.config.listen
    }

    /// The address of `server.admin_listen`.
    pub fn admin_address(&self) -> Option<SocketAddr> {
        self.app.config.admin_listen
    }

    /// The engine, for tests that count leftovers.
    pub fn engine(&self) -> &Engine {
        &self.app.engine
    }

    /// The open connections.
    pub fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.app.connections)
    }

    /// Handles for changing settings while it serves.
    pub(crate) fn controls(&self) -> Controls {
        self.controls.clone()
    }

    /// The tasks of all parts.
    pub(crate) fn tasks(&self) -> Tasks {
        self.app.tasks.clone()
    }

    /// Serves until `stop` resolves, then shuts down in order. Returns the number of tasks that did
    /// not end.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> usize {
        self.serve_until(stop, std::future::pending()).await.left
    }

    /// The same, but stops at once when `again` resolves after `stop`. Returns the result of the
    /// shutdown.
    pub async fn serve_until(
        self,
        stop: impl Future<Output = ()> + Send,
        again: impl Future<Output = ()> + Send,
    ) -> shutdown::ShutdownReport {
        let Self { listener, admin_listener, app, controls, tls, final_tasks } = self;
        let watching = server::watch_keys(app.clone());
        let AppParts { engine, connections, drain, tasks, .. } = &*app;
        list_models(engine, tasks);
        let stopping = async {
            stop.await;
            let parts =
                shutdown::ShutdownParts { engine, connections, drain, tasks, last: &final_tasks };
            shutdown::run(parts, controls.shutdown(), again).await
        };
        let operations = async {
            if let Some(listener) = admin_listener {
                server::serve(listener, controls.live.for_operations(), None).await;
            }
        };
        let ((), (), (), report) = tokio::join!(
            server::serve(listener, controls.live.clone(), tls),
            operations,
            watching,
            stopping
        );
        report
    }
}

/// Handles for changing settings while the parts run.
#[derive(Clone)]
pub(crate) struct Controls {
    engine: Engine,
    keys: Arc<dyn KeyStore>,
    routes: Arc<LiveRoutes>,
    live: LiveServer,
    tasks: Tasks,
    shutdown: Arc<RwLock<shutdown::Config>>,
}

impl Controls {
    /// Applies other settings: all of them or none.
    ///
    /// # Errors
    /// Invalid settings of an upstream; `classic.pages` is not a directory; an address that
    /// requires an API key.
    pub(crate) fn apply(
        &self,
        mut server: server::Config,
        engine: engine::Config,
        provider: &provider::Config,
        shutdown: shutdown::Config,
    ) -> anyhow::Result<()> {
        require_key(&server, &*self.keys)?;
        check_and_fill(&mut server, provider)?;
        self.routes.reload(provider)?;
        self.engine.configure(engine);
        self.live.apply(server);
        list_models(&self.engine, &self.tasks);
        *self.shutdown.write().unwrap_or_else(PoisonError::into_inner) = shutdown;
        Ok(())
    }

    /// The maximum number of connections.
    pub(crate) fn max_connections(&self) -> usize {
        self.live.config().connections
    }

    /// The timeouts of a shutdown.
    pub(crate) fn shutdown(&self) -> shutdown::Config {
        *self.shutdown.read().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Requests the model lists of all upstreams, at start and after a reload: metrics are labelled
/// only with listed models.
fn list_models(engine: &Engine, tasks: &Tasks) {
    let (engine, stopping) = (engine.clone(), tasks.clone());
    tasks.spawn("models", async move {
        tokio::select! {
            _ = engine.models() => {}
            () = stopping.stopping() => {}
        }
    });
}

/// Without API keys a server may only be reachable from this machine.
fn require_key(server: &server::Config, keys: &dyn KeyStore) -> anyhow::Result<()> {
    let Some(setting) = server.reaches_beyond().filter(|_| !keys.configured()) else {
        return Ok(());
    };
    bail!(
        "{setting} makes this server reachable by others, and no key is configured: \
         without keys every caller would be an admin.\n\
         Create one with `weir key create --name NAME`, or remove {setting} from the settings."
    )
}

/// Checks and fills in settings that depend on the machine or on other settings.
fn check_and_fill(server: &mut server::Config, provider: &provider::Config) -> anyhow::Result<()> {
    let classic = &mut server.classic;
    if let Some(pages) = classic.pages.as_ref().filter(|pages| !pages.is_dir()) {
        bail!("classic.pages: {} is not a directory", pages.display());
    }
    classic.model = classic.model.take().or_else(|| default_model(provider));
    Ok(())
}

/// The default model of the classic API: the first model of the first upstream, or the demo without
/// upstreams. If that upstream configures no models, it is asked for its list at the first request.
fn default_model(provider: &provider::Config) -> Option<String> {
    match provider.upstreams.first() {
        Some(upstream) => upstream.models.first().cloned(),
        None => provider.demo.enabled.then(|| provider::demo::MODEL.to_owned()),
    }
}
