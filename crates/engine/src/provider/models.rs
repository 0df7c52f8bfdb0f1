//! All configured models: the trait by which the engine finds the route of a name.

use futures_util::future::BoxFuture;

use super::route::Route;
use crate::upstreams::UpstreamState;

/// All configured models.
pub trait Models: Send + Sync + 'static {
    /// The route of `model`; `None` if no upstream serves it.
    fn route(&self, model: &str) -> Option<Route>;

    /// Every model, in the order of the configuration. Upstreams that do not respond are left out.
    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>>;

    /// The state of the upstreams, in the order of the configuration.
    fn upstreams(&self) -> Vec<UpstreamState> {
        Vec::new()
    }
}

/// A model as `GET /v1/models` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelListing {
    /// Its name.
    pub id: String,
    /// Its owner.
    pub owned_by: String,
    /// Seconds since 1970, as the upstream reports it.
    pub created: u64,
}
