//! Records when a model sends text, between the engine and its models. Only the servers of `weir
//! compare` use it.

use std::sync::Arc;

use engine::provider::Provider;
use engine::provider::call::Peer;
use engine::provider::event::{ModelEvent, ModelStream};
use engine::provider::failure::ProviderFailure;
use engine::provider::models::{ModelListing, Models};
use engine::provider::request::ModelRequest;
use engine::provider::route::Route;
use futures_util::future::BoxFuture;
use futures_util::{FutureExt, StreamExt};
use lab::stamps::Stamps;
use protocol::fault::Fault;
use protocol::request::Create;

/// Models whose pieces of text are recorded in [`Stamps`].
pub(super) struct Stamped {
    models: Arc<dyn Models>,
    stamps: Stamps,
}

impl Stamped {
    pub(super) fn new(models: Arc<dyn Models>, stamps: Stamps) -> Self {
        Self { models, stamps }
    }
}

impl Models for Stamped {
    fn route(&self, model: &str) -> Option<Route> {
        let mut route = self.models.route(model)?;
        let stamped = |target: &engine::provider::route::RouteTarget| {
            let provider: Arc<dyn Provider> = Arc::new(StampedProvider {
                inner: Arc::clone(&target.provider),
                stamps: self.stamps.clone(),
            });
            engine::provider::route::RouteTarget { provider, ..target.clone() }
        };
        route.targets = route.targets.iter().map(stamped).collect();
        Some(route)
    }

    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>> {
        self.models.list()
    }
}

struct StampedProvider {
    inner: Arc<dyn Provider>,
    stamps: Stamps,
}

impl Provider for StampedProvider {
    fn ask(
        &self,
        request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>> {
        let (asked, stamps) = (self.inner.ask(request), self.stamps.start());
        async move {
            let events = asked.await?;
            let record = move |event: &Result<ModelEvent, ProviderFailure>| {
                if matches!(event, Ok(ModelEvent::Text { .. })) {
                    stamps.stamp();
                }
            };
            Ok(events.inspect(record).boxed())
        }
        .boxed()
    }

    fn check(&self, create: &Create) -> Result<Vec<String>, Fault> {
        self.inner.check(create)
    }

    fn has_another_way(&self, model: &str) -> bool {
        self.inner.has_another_way(model)
    }

    fn peer(&self) -> Option<Peer> {
        self.inner.peer()
    }
}
