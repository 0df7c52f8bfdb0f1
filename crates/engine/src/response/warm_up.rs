//! The model of a warm-up, which writes nothing.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{StreamExt, once};
use protocol::fault::Fault;
use protocol::request::Create;

use crate::provider::Provider;
use crate::provider::event::{Finish, ModelEvent, ModelStream};
use crate::provider::failure::ProviderFailure;
use crate::provider::request::ModelRequest;
use crate::provider::route::{Route, RouteTarget};

/// The route of a warm-up: its first target, with a model that writes nothing.
pub(super) fn route(route: &Route) -> Route {
    let targets = route
        .targets
        .iter()
        .take(1)
        .map(|target| RouteTarget { provider: Arc::new(WarmUp), ..target.clone() });
    Route { targets: targets.collect(), ..route.clone() }
}

struct WarmUp;

impl Provider for WarmUp {
    fn ask(
        &self,
        _request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>> {
        let nothing = ModelEvent::Finish(Finish::Stop);
        ready(Ok(once(ready(Ok(nothing))).boxed())).boxed()
    }

    fn check(&self, _create: &Create) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}
