//! The settings in force: a request that comes after a reload is served under the new ones, on old
//! connections too.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;
use http::Uri;
use protocol::fault::Fault;
use tokio::net::TcpListener;

use crate::app::App;
use crate::config::Config;
use crate::error;
use crate::http::label;
use crate::listen::{self, Label, Listening, ServiceFactory, TlsServer};
use crate::paths;
use crate::router;

/// The HTTP server under the settings in force. Cheap to clone.
#[derive(Clone)]
pub struct LiveServer {
    shared: Arc<LiveParts>,
    listener: Listener,
}

/// Which of the two listeners a connection came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Listener {
    /// Everything is served there.
    Public,
    /// Health, readiness and metrics.
    Operations,
}

struct LiveParts {
    app: App,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    public: Served,
    operations: Served,
}

/// What a listener serves.
#[derive(Clone)]
struct Served {
    router: Router,
    config: Arc<Config>,
}

impl Current {
    fn new(app: &App, config: &Arc<Config>) -> Self {
        let served = |config: Arc<Config>, router: fn(App) -> Router, is_encrypted| Served {
            router: router(app.with_config(Arc::clone(&config), is_encrypted)),
            config,
        };
        Self {
            public: served(Arc::clone(config), router::router, app.is_encrypted),
            operations: served(Arc::new(config.for_operations()), router::operations, false),
        }
    }
}

impl LiveServer {
    /// The server of `app`, with the settings in it.
    pub fn new(app: App) -> Self {
        app.classic.apply(app.config.classic.clone());
        app.capture.set_mode(app.config.lens.capture);
        let current = RwLock::new(Current::new(&app, &app.config));
        Self { shared: Arc::new(LiveParts { app, current }), listener: Listener::Public }
    }

    /// A server whose public listener serves this router.
    #[cfg(test)]
    pub(crate) fn with_router(app: App, router: Router) -> Self {
        let live = Self::new(app);
        live.shared.current.write().unwrap_or_else(PoisonError::into_inner).public.router = router;
        live
    }

    /// The server for [`Config::admin_listen`], under the same settings.
    #[must_use]
    pub fn for_operations(&self) -> Self {
        Self { shared: Arc::clone(&self.shared), listener: Listener::Operations }
    }

    /// Puts other settings in force. Requests that are being served go on under those they started
    /// with, and so does what is decided once for a connection: its time limits and its largest
    /// head. The addresses it listens on cannot change. The upstreams must be the new ones already.
    pub fn apply(&self, config: Config) {
        let LiveParts { app, current } = &*self.shared;
        let Config { listen, admin_listen, .. } = *app.config;
        let config = Arc::new(Config { listen, admin_listen, ..config });
        app.classic.apply(config.classic.clone());
        app.capture.set_mode(config.lens.capture);
        let applied = Current::new(app, &config);
        *current.write().unwrap_or_else(PoisonError::into_inner) = applied;
    }

    /// The settings.
    pub fn config(&self) -> Arc<Config> {
        self.served(|served| Arc::clone(&served.config))
    }

    fn served<T>(&self, of: impl FnOnce(&Served) -> T) -> T {
        let current = self.shared.current.read().unwrap_or_else(PoisonError::into_inner);
        match self.listener {
            Listener::Public => of(&current.public),
            Listener::Operations => of(&current.operations),
        }
    }
}

impl ServiceFactory for LiveServer {
    type Service = Router;

    fn config(&self) -> Arc<Config> {
        Self::config(self)
    }

    fn service(&self) -> Router {
        self.served(|served| served.router.clone())
    }

    fn error_body(&self, fault: &Fault) -> String {
        error::body(fault)
    }

    fn normalise(&self, uri: &mut Uri) {
        paths::normalise(uri);
    }

    fn label<'a>(&self, uri: &'a Uri) -> Label<'a> {
        label::label(uri)
    }
}

/// Serves `live` on `listener` until its drain starts. Then nothing new is accepted and idle
/// connections close; running responses go on, as tasks.
pub async fn serve(listener: TcpListener, live: LiveServer, tls: Option<Arc<TlsServer>>) {
    let app = &live.shared.app;
    let listening = Listening {
        connections: Arc::clone(&app.connections),
        tasks: app.tasks.clone(),
        drain: app.drain.clone(),
        tls,
    };
    listen::serve(listener, listening, live).await;
}
