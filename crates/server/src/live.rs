//! The settings in force: a request that comes after a reload is answered under the new ones, on old connections too.

use std::sync::{Arc, PoisonError, RwLock};

use axum::Router;

use crate::config::Config;
use crate::router::{self, App};

/// The face as it is now. Cheap to clone.
#[derive(Clone)]
pub struct Live(Arc<Face>);

struct Face {
    app: App,
    current: RwLock<Current>,
}

#[derive(Clone)]
struct Current {
    router: Router,
    config: Arc<Config>,
}

impl Live {
    /// The face of `app`, with the settings in it.
    pub fn new(app: App) -> Self {
        app.classic.obey(app.config.classic.clone());
        app.capture.obey(app.config.lens.capture);
        let current = Current { router: router::router(app.clone()), config: Arc::clone(&app.config) };
        Self(Arc::new(Face { app, current: RwLock::new(current) }))
    }

    /// Puts other settings in force. What is being answered goes on under those it began with, and so does what is
    /// decided once for a connection: its time limits and its largest head. Where we listen cannot change. The upstreams
    /// must be the new ones already.
    pub fn apply(&self, config: Config) {
        let config = Arc::new(Config { listen: self.app().config.listen, ..config });
        self.app().classic.obey(config.classic.clone());
        self.app().capture.obey(config.lens.capture);
        let router = router::router(App { config: Arc::clone(&config), ..self.app().clone() });
        *self.0.current.write().unwrap_or_else(PoisonError::into_inner) = Current { router, config };
    }

    /// What does not change.
    pub(crate) fn app(&self) -> &App {
        &self.0.app
    }

    /// Where requests go.
    pub(crate) fn router(&self) -> Router {
        self.0.current.read().unwrap_or_else(PoisonError::into_inner).router.clone()
    }

    /// The settings.
    pub fn config(&self) -> Arc<Config> {
        Arc::clone(&self.0.current.read().unwrap_or_else(PoisonError::into_inner).config)
    }
}
