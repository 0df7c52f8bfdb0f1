//! The model of a warm-up, which writes nothing.

use std::sync::Arc;

use futures_util::future::{BoxFuture, FutureExt, ready};
use futures_util::stream::{StreamExt, once};
use protocol::fault::Fault;
use protocol::request::Create;

use crate::provider::Provider;
use crate::provider::event::{Finish, Word, Words};
use crate::provider::failure::Failure;
use crate::provider::request::ModelRequest;
use crate::provider::route::{Leg, Route};

/// The route of a warm-up: its first target, with a model that writes nothing.
pub(super) fn route(route: &Route) -> Route {
    let legs = route.legs.iter().take(1).map(|leg| Leg { provider: Arc::new(WarmUp), ..leg.clone() });
    Route { legs: legs.collect(), ..route.clone() }
}

struct WarmUp;

impl Provider for WarmUp {
    fn ask(&self, _request: ModelRequest) -> BoxFuture<'static, Result<Words, Failure>> {
        let nothing = Word::Finish(Finish::Stop);
        ready(Ok(once(ready(Ok(nothing))).boxed())).boxed()
    }

    fn check(&self, _create: &Create) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}
