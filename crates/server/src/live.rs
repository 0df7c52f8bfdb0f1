//! The settings in force: a request that comes after a reload is answered under the new ones, on old connections too.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;

use crate::app::App;
use crate::config::Config;
use crate::router;

/// The face as it is now. Cheap to clone.
#[derive(Clone)]
pub struct Live {
    face: Arc<Face>,
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

struct Face {
    app: App,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    public: Part,
    operations: Part,
}

/// What a listener serves.
#[derive(Clone)]
struct Part {
    router: Router,
    config: Arc<Config>,
}

impl Current {
    fn new(app: &App, config: &Arc<Config>) -> Self {
        let part = |config: Arc<Config>, router: fn(App) -> Router, is_encrypted| Part {
            router: router(app.with_config(Arc::clone(&config), is_encrypted)),
            config,
        };
        Self {
            public: part(Arc::clone(config), router::router, app.is_encrypted),
            operations: part(Arc::new(config.for_operations()), router::operations, false),
        }
    }
}

impl Live {
    /// The face of `app`, with the settings in it.
    pub fn new(app: App) -> Self {
        app.classic.apply(app.config.classic.clone());
        app.capture.obey(app.config.lens.capture);
        let current = RwLock::new(Current::new(&app, &app.config));
        Self { face: Arc::new(Face { app, current }), listener: Listener::Public }
    }

    /// A face whose public listener serves this router.
    #[cfg(test)]
    pub(crate) fn with_router(app: App, router: Router) -> Self {
        let live = Self::new(app);
        live.face.current.write().unwrap_or_else(PoisonError::into_inner).public.router = router;
        live
    }

    /// The face for [`Config::admin_listen`], under the same settings.
    #[must_use]
    pub fn for_operations(&self) -> Self {
        Self { face: Arc::clone(&self.face), listener: Listener::Operations }
    }

    /// Puts other settings in force. What is being answered goes on under those it began with, and so does what is
    /// decided once for a connection: its time limits and its largest head. Where we listen cannot change. The upstreams
    /// must be the new ones already.
    pub fn apply(&self, config: Config) {
        let Config { listen, admin_listen, .. } = *self.app().config;
        let config = Arc::new(Config { listen, admin_listen, ..config });
        self.app().classic.apply(config.classic.clone());
        self.app().capture.obey(config.lens.capture);
        let current = Current::new(self.app(), &config);
        *self.face.current.write().unwrap_or_else(PoisonError::into_inner) = current;
    }

    /// What does not change.
    pub(crate) fn app(&self) -> &App {
        &self.face.app
    }

    /// Where requests go.
    pub(crate) fn router(&self) -> Router {
        self.part(|part| part.router.clone())
    }

    /// The settings.
    pub fn config(&self) -> Arc<Config> {
        self.part(|part| Arc::clone(&part.config))
    }

    fn part<T>(&self, of: impl FnOnce(&Part) -> T) -> T {
        let current = self.face.current.read().unwrap_or_else(PoisonError::into_inner);
        match self.listener {
            Listener::Public => of(&current.public),
            Listener::Operations => of(&current.operations),
        }
    }
}
