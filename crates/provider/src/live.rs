//! Upstreams that can be replaced at run time. Running responses keep the upstream they started
//! with.

use std::sync::{Arc, PoisonError, RwLock};

use engine::provider::models::{ModelListing, Models};
use engine::provider::route::Route;
use engine::upstreams::UpstreamState;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;

use crate::config::{Config, UpstreamConfigError};
use crate::route::Routes;

/// The current upstreams.
#[derive(Debug)]
pub struct LiveRoutes(RwLock<Arc<Routes>>);

impl LiveRoutes {
    /// Starts with these routes.
    pub fn new(routes: Routes) -> Self {
        Self(RwLock::new(Arc::new(routes)))
    }

    /// Replaces the upstreams, or keeps the current ones if `config` is invalid. An upstream with
    /// unchanged settings is kept.
    ///
    /// # Errors
    /// The first upstream or route with unusable settings.
    pub fn reload(&self, config: &Config) -> Result<(), UpstreamConfigError> {
        let routes = self.now().replaced(config)?;
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(routes);
        Ok(())
    }

    fn now(&self) -> Arc<Routes> {
        Arc::clone(&self.0.read().unwrap_or_else(PoisonError::into_inner))
    }
}

impl Models for LiveRoutes {
    fn route(&self, model: &str) -> Option<Route> {
        self.now().route(model)
    }

    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>> {
        let routes = self.now();
        async move { routes.list().await }.boxed()
    }

    fn upstreams(&self) -> Vec<UpstreamState> {
        self.now().upstreams()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::{Config, DemoConfig};
    use crate::demo;

    #[test]
    fn a_resolved_route_survives_a_reload() {
        let config = |enabled| Config {
            demo: DemoConfig { enabled, ..DemoConfig::default() },
            ..Config::default()
        };
        let live = LiveRoutes::new(Routes::new(&config(true)).unwrap());
        let before = live.route(demo::MODEL);
        live.reload(&config(false)).unwrap();
        assert!(before.is_some() && live.route(demo::MODEL).is_none());
    }
}
