//! All configured models: the trait by which the engine finds the route of a name.

use futures_util::future::BoxFuture;

use super::route::Route;
use crate::upstreams::State;

/// All models there are.
pub trait Models: Send + Sync + 'static {
    /// Where `model` leads; `None` where nobody serves it.
    fn route(&self, model: &str) -> Option<Route>;

    /// Every model, in the order of the configuration. An upstream that does not answer is left out.
    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>>;

    /// How the upstreams are, in the order of the configuration.
    fn upstreams(&self) -> Vec<State> {
        Vec::new()
    }
}

/// A model as `GET /v1/models` lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ModelListing {
    /// Its name.
    pub id: String,
    /// Who serves it.
    pub owned_by: String,
    /// Seconds since 1970, where the upstream says so.
    pub created: u64,
}
