//! For unit tests: the server's parts around a model without I/O.

use std::sync::Arc;

use engine::Engine;
use engine::memory::keys::MemoryKeys;
use engine::memory::log::MemoryLog;
use engine::memory::store::MemoryStore;
use engine::provider::Provider;
use engine::provider::event::{Finish, ModelEvent, ModelStream};
use engine::provider::failure::ProviderFailure;
use engine::provider::models::{ModelListing, Models};
use engine::provider::request::ModelRequest;
use engine::provider::route::{Retries, Route, RouteTarget, Timeouts};
use engine::tasks::Tasks;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use futures_util::stream::{self, StreamExt};
use protocol::fault::Fault;
use protocol::request::Create;
use protocol::usage::{Usage, UsageSource};

use crate::app::{App, AppParts};
use crate::config::Config;
use crate::drain::Drain;

/// The parts under these settings.
pub(crate) fn app(config: Config) -> App {
    let (tasks, log, store) =
        (Tasks::new(), Arc::new(MemoryLog::new()), Arc::new(MemoryStore::new()));
    App::new(AppParts {
        engine: Engine::new(
            engine::Config::default(),
            log,
            store,
            Arc::new(Scripted),
            tasks.clone(),
        ),
        keys: Arc::new(MemoryKeys::default()),
        config: Arc::new(config),
        connections: Arc::default(),
        is_encrypted: false,
        classic: Arc::default(),
        grants: Arc::default(),
        tickets: Arc::default(),
        capture: Arc::default(),
        metrics: Arc::default(),
        tasks,
        drain: Drain::default(),
        rates: Arc::default(),
        sources: Arc::default(),
    })
}

/// A model whose output is always `Hello`, in two pieces.
#[derive(Clone, Copy)]
struct Scripted;

impl Provider for Scripted {
    fn ask(
        &self,
        _request: ModelRequest,
    ) -> BoxFuture<'static, Result<ModelStream, ProviderFailure>> {
        let text = |text: &str| Ok(ModelEvent::Text { text: text.into(), logprobs: Vec::new() });
        let end = [
            Ok(ModelEvent::Usage(Usage::new(UsageSource::Provider, 1, 2))),
            Ok(ModelEvent::Finish(Finish::Stop)),
        ];
        std::future::ready(Ok(
            stream::iter([text("Hel"), text("lo")].into_iter().chain(end)).boxed()
        ))
        .boxed()
    }

    fn check(&self, _create: &Create) -> Result<Vec<String>, Fault> {
        Ok(Vec::new())
    }
}

impl Models for Scripted {
    fn route(&self, _model: &str) -> Option<Route> {
        let target = RouteTarget {
            upstream: "scripted".into(),
            provider: Arc::new(*self),
            model: None,
            timeouts: Timeouts::default(),
        };
        Some(Route {
            targets: Arc::new([target]),
            retries: Retries::default(),
            on_leave: None,
            is_listed: true,
        })
    }

    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>> {
        std::future::ready(Vec::new()).boxed()
    }
}
