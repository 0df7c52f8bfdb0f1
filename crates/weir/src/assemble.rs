//! The composition root: makes every part in order and hands each only what it needs.

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context, bail};
use engine::Engine;
use engine::keys::Keys;
use engine::log::Log;
use engine::memory::{MemoryLog, MemoryStore};
use engine::store::Store;
use engine::tasks::Tasks;
use server::{App, Connections, Tls};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use traces::Export;

use crate::shutdown;

/// How long the last traces may take to be sent.
const LAST_TRACES: Duration = Duration::from_secs(2);

/// What the parts are made from. Tests give their own log and keys; the program gives what its settings say.
pub struct Blueprint {
    /// The server's settings.
    pub server: server::Config,
    /// The engine's.
    pub engine: engine::Config,
    /// The upstreams'.
    pub provider: provider::Config,
    /// Who may come in.
    pub keys: Arc<dyn Keys>,
    /// Where answers are written.
    pub log: Arc<dyn Log>,
    /// Where the rest is.
    pub store: Arc<dyn Store>,
    /// How connections are encrypted; `None`: not at all.
    pub tls: Option<Arc<Tls>>,
    /// Where traces go; `None`: nowhere.
    pub traces: Option<traces::Config>,
    /// How long running answers may take to end when the process is told to stop.
    pub grace: Duration,
}

impl Blueprint {
    /// Everything in memory, with the given keys.
    pub fn in_memory(server: server::Config, engine: engine::Config, provider: provider::Config, keys: Arc<dyn Keys>) -> Self {
        let (log, store) = (Arc::new(MemoryLog::new()), Arc::new(MemoryStore::new()));
        Self { server, engine, provider, keys, log, store, tls: None, traces: None, grace: Duration::from_secs(5) }
    }
}

/// The parts, put together and bound to an address, not yet serving.
pub struct Weir {
    listener: TcpListener,
    app: App,
    tasks: Tasks,
    tls: Option<Arc<Tls>>,
    /// What outlives all other tasks: it takes away what these leave.
    last: Tasks,
    grace: Duration,
}

impl Weir {
    /// Makes the parts and takes the address.
    ///
    /// # Errors
    /// An upstream's settings that cannot be used; an address that cannot be had, or must not be had without a key.
    #[expect(clippy::unused_async, reason = "a store that is opened over the network awaits")]
    pub async fn assemble(blueprint: Blueprint) -> anyhow::Result<Self> {
        let Blueprint { mut server, engine, provider, keys, log, store, tls, traces, grace } = blueprint;
        if !server.listen.ip().is_loopback() && !keys.configured() {
            bail!(
                "refusing to listen on {}: it can be reached from other machines, and no key is configured.\n\
                 Make one with `weir key create --name NAME`, or listen on 127.0.0.1.",
                server.listen
            );
        }
        let routes = provider::build(&provider)?;
        let tasks = Tasks::new();
        let engine = Engine::new(engine, log, store, Arc::new(routes), tasks.clone());
        let last = Tasks::new();
        if let Some(traces) = traces {
            let (queue, export) = Export::new(traces)?;
            engine.trace_to(queue);
            last.spawn("traces", export.run(last.clone()));
        }
        let listener = server::bind(server.listen).with_context(|| format!("cannot listen on {}", server.listen))?;
        server.listen = listener.local_addr().context("the address that was taken is not known")?;
        let app = App {
            engine,
            keys,
            config: Arc::new(server),
            connections: Arc::new(Connections::default()),
            is_encrypted: tls.is_some(),
            tickets: Arc::default(),
            metrics: Arc::default(),
            tasks: tasks.clone(),
            closing: CancellationToken::new(),
        };
        Ok(Self { listener, app, tasks, tls, last, grace })
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.app.config.listen
    }

    /// The engine, for tests that count what is left.
    pub fn engine(&self) -> &Engine {
        &self.app.engine
    }

    /// How many connections are open.
    pub fn connections(&self) -> Arc<Connections> {
        Arc::clone(&self.app.connections)
    }

    /// Serves until `stop` resolves, then shuts down in order. Gives the number of tasks that had to be left behind.
    pub async fn serve(self, stop: impl Future<Output = ()> + Send) -> usize {
        let Self { listener, app, tasks, tls, last, grace } = self;
        let engine = app.engine.clone();
        let (config, connections) = (Arc::clone(&app.config), Arc::clone(&app.connections));
        let closing = app.closing.clone();
        let stop = async move {
            stop.await;
            closing.cancel();
        };
        // Metrics name the models that an upstream lists, so it is asked for its list before anybody asks for a model.
        let (listing, stopping) = (engine.clone(), tasks.clone());
        tasks.spawn("models", async move {
            tokio::select! {
                _ = listing.models() => {}
                () = stopping.stopping() => {}
            }
        });
        server::serve(listener, server::router(app), config, tasks.clone(), connections, tls, stop).await;
        let left = shutdown::drain(&engine, &tasks, grace).await;
        left + last.shutdown(LAST_TRACES).await
    }
}
