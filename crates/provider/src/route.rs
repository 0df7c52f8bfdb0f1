//! Resolves model names to upstreams, and orders the upstreams of a route.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use engine::provider::Provider;
use engine::provider::models::{ModelListing, Models};
use engine::provider::route::{Retries, Route, RouteTarget, Timeouts};
use engine::upstreams::UpstreamState;
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};
use protocol::on_leave::OnLeave;

use crate::config::{Config, RouteConfig, Strategy, UpstreamConfig, UpstreamConfigError};
use crate::demo::{self, Demo};
use crate::upstream::Upstream;
use crate::upstream::choice::{WeightedCandidate, choose};

/// All upstreams, in the order of the configuration, and the routes to them.
#[derive(Debug)]
pub struct Routes {
    demo: Option<Arc<Demo>>,
    upstreams: Vec<Arc<Listed>>,
    several: HashMap<String, Several>,
    /// The routes' models, in the order of the configuration.
    names: Vec<String>,
    retries: Retries,
}

#[derive(Debug)]
struct Listed {
    name: Arc<str>,
    upstream: Arc<Upstream>,
    /// The settings it was built from. Without `models` it serves the models it lists, and any name
    /// that no other upstream claims.
    config: UpstreamConfig,
}

/// A model with a route to one or more upstreams.
#[derive(Debug)]
struct Several {
    targets: Vec<Target>,
    strategy: Strategy,
    on_leave: Option<OnLeave>,
}

/// What a route leads to.
#[derive(Debug)]
enum Destination {
    Upstream(Arc<Listed>),
    Demo(Arc<Demo>),
}

#[derive(Debug)]
struct Target {
    destination: Destination,
    model: Option<Arc<str>>,
    weight: u32,
    served: AtomicU64,
}

impl Routes {
    /// The upstreams and routes that `config` describes.
    ///
    /// # Errors
    /// The first one with unusable settings.
    pub fn new(config: &Config) -> Result<Self, UpstreamConfigError> {
        Self::after(config, &[])
    }

    /// Builds new routes and reuses upstreams whose settings did not change: their connections,
    /// model lists and running requests are kept, and refused keys are tried again.
    ///
    /// # Errors
    /// The first one with unusable settings.
    pub(crate) fn replaced(&self, config: &Config) -> Result<Self, UpstreamConfigError> {
        let routes = Self::after(config, &self.upstreams)?;
        for listed in &routes.upstreams {
            listed.upstream.reset_backoff();
        }
        Ok(routes)
    }

    fn after(config: &Config, before: &[Arc<Listed>]) -> Result<Self, UpstreamConfigError> {
        let demo = config.demo.enabled.then(|| Arc::new(Demo::new(config.demo.tokens_per_second)));
        let listed =
            |config: &UpstreamConfig| match before.iter().find(|listed| listed.config == *config) {
                Some(same) => Ok(Arc::clone(same)),
                None => Listed::new(config),
            };
        let upstreams = config.upstreams.iter().map(listed).collect::<Result<Vec<_>, _>>()?;
        let several = |route: &RouteConfig| {
            Ok((route.model.clone(), Several::new(route, &upstreams, demo.as_ref())?))
        };
        let several = config.routes.iter().map(several).collect::<Result<_, _>>()?;
        let names = config.routes.iter().map(|route| route.model.clone()).collect();
        Ok(Self { demo, upstreams, several, names, retries: config.retries })
    }

    /// The upstream with this name.
    pub fn upstream(&self, name: &str) -> Option<&Upstream> {
        self.upstreams.iter().find(|listed| &*listed.name == name).map(|listed| &*listed.upstream)
    }

    /// The upstream that claims `model`. Otherwise, among those without a configured list: the one
    /// that lists it; or whose vendor the name shows; or one whose list is not known yet, so that a
    /// request for a local model is not sent to another vendor only because the local server starts
    /// later; or the first, which rejects unknown models itself.
    fn serving(&self, model: &str) -> Option<&Arc<Listed>> {
        let claims =
            |listed: &&Arc<Listed>| listed.config.models.iter().any(|claimed| claimed == model);
        let open = || self.upstreams.iter().filter(|listed| listed.config.models.is_empty());
        (self.upstreams.iter().find(claims))
            .or_else(|| open().find(|listed| listed.upstream.has_listed(model)))
            .or_else(|| open().find(|listed| listed.config.preset.is_own(model)))
            .or_else(|| open().find(|listed| !listed.upstream.has_list()))
            .or_else(|| open().next())
    }
}

impl Models for Routes {
    fn route(&self, model: &str) -> Option<Route> {
        let route = |targets: Arc<[RouteTarget]>, on_leave, is_listed| Route {
            targets,
            retries: self.retries,
            on_leave,
            is_listed,
        };
        if let Some(several) = self.several.get(model) {
            return Some(route(several.targets(model), several.on_leave, true));
        }
        if let Some(demo) = self.demo.as_ref().filter(|_| model == demo::MODEL) {
            return Some(route(Arc::new([demo_target(demo, None)]), None, true));
        }
        let listed = self.serving(model)?;
        // An upstream with configured models is asked for no others.
        let is_listed = !listed.config.models.is_empty() || listed.upstream.has_listed(model);
        Some(route(Arc::new([listed.target(None)]), None, is_listed))
    }

    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>> {
        async {
            let ours = |id: &str| ModelListing {
                id: id.to_owned(),
                owned_by: "weir".to_owned(),
                created: 0,
            };
            let demo = self.demo.iter().map(|_| ours(demo::MODEL));
            let routes = self.names.iter().map(|name| ours(name));
            let upstreams = join_all(self.upstreams.iter().map(|listed| listed.list())).await;
            let mut seen = HashSet::new();
            demo.chain(routes)
                .chain(upstreams.into_iter().flatten())
                .filter(|listing| seen.insert(listing.id.clone()))
                .collect()
        }
        .boxed()
    }

    fn upstreams(&self) -> Vec<UpstreamState> {
        self.upstreams.iter().map(|listed| listed.upstream.state()).collect()
    }
}

impl Listed {
    fn new(config: &UpstreamConfig) -> Result<Arc<Self>, UpstreamConfigError> {
        let (name, upstream) = (config.name.as_str().into(), Arc::new(Upstream::new(config)?));
        Ok(Arc::new(Self { name, upstream, config: config.clone() }))
    }

    fn target(&self, model: Option<Arc<str>>) -> RouteTarget {
        let provider = Arc::clone(&self.upstream) as Arc<dyn Provider>;
        RouteTarget {
            upstream: Arc::clone(&self.name),
            provider,
            model,
            timeouts: self.config.timeouts,
        }
    }

    /// The configured names, or the upstream's own list.
    async fn list(&self) -> Vec<ModelListing> {
        if self.config.models.is_empty() {
            return self.upstream.list().await;
        }
        let listing = |model: &String| ModelListing {
            id: model.clone(),
            owned_by: self.name.to_string(),
            created: 0,
        };
        self.config.models.iter().map(listing).collect()
    }
}

impl Several {
    fn new(
        config: &RouteConfig,
        upstreams: &[Arc<Listed>],
        demo: Option<&Arc<Demo>>,
    ) -> Result<Self, UpstreamConfigError> {
        let unknown = |upstream: &str| UpstreamConfigError::Route {
            model: config.model.clone(),
            upstream: upstream.to_owned(),
        };
        let targets = config.upstreams.iter().map(|target| {
            let named = upstreams.iter().find(|listed| *listed.name == *target.upstream);
            let demo = demo.filter(|_| target.upstream == demo::MODEL);
            let destination = named
                .map(|listed| Destination::Upstream(Arc::clone(listed)))
                .or_else(|| demo.map(|demo| Destination::Demo(Arc::clone(demo))))
                .ok_or_else(|| unknown(&target.upstream))?;
            let model = target.model.as_deref().map(Arc::from);
            Ok(Target { destination, model, weight: target.weight, served: AtomicU64::new(0) })
        });
        let targets = targets.collect::<Result<Vec<_>, _>>()?;
        if targets.is_empty() {
            return Err(unknown(""));
        }
        Ok(Self { targets, strategy: config.strategy, on_leave: config.on_leave })
    }

    /// The target that the strategy picks, then the others in order. Targets that are unavailable
    /// come last.
    fn targets(&self, model: &str) -> Arc<[RouteTarget]> {
        let is_ready =
            |target: &Target| target.destination.is_ready(target.model.as_deref().unwrap_or(model));
        let (mut ready, mut rest): (Vec<usize>, Vec<usize>) =
            (0..self.targets.len()).partition(|index| is_ready(&self.targets[*index]));
        let candidates: Vec<WeightedCandidate> =
            ready.iter().map(|index| self.targets[*index].candidate(*index)).collect();
        if let Some(first) = choose(self.strategy, &candidates, fastrand::f64) {
            self.keep_pace(first, &rest);
            ready.retain(|index| *index != first);
            ready.insert(0, first);
        }
        ready.append(&mut rest);
        ready
            .into_iter()
            .map(|index| &self.targets[index])
            .map(|target| target.destination.target(target.model.clone()))
            .collect()
    }
}

impl Several {
    /// Counts a request for the chosen target. Unavailable targets are counted along, or they would
    /// get all requests when they come back.
    fn keep_pace(&self, asked: usize, others: &[usize]) {
        let target = &self.targets[asked];
        let served = target.served.fetch_add(1, Ordering::Relaxed) + 1;
        let share = served / u64::from(target.weight.max(1));
        for other in others.iter().map(|index| &self.targets[*index]) {
            other.served.fetch_max(share * u64::from(other.weight.max(1)), Ordering::Relaxed);
        }
    }
}

impl Destination {
    fn is_ready(&self, model: &str) -> bool {
        match self {
            Self::Upstream(listed) => listed.upstream.is_ready(model),
            Self::Demo(_) => true,
        }
    }

    fn running(&self) -> usize {
        match self {
            Self::Upstream(listed) => listed.upstream.running(),
            // Nothing limits it.
            Self::Demo(_) => 0,
        }
    }

    fn target(&self, model: Option<Arc<str>>) -> RouteTarget {
        match self {
            Self::Upstream(listed) => listed.target(model),
            Self::Demo(demo) => demo_target(demo, model),
        }
    }
}

fn demo_target(demo: &Arc<Demo>, model: Option<Arc<str>>) -> RouteTarget {
    let provider = Arc::clone(demo) as Arc<dyn Provider>;
    RouteTarget { upstream: demo::MODEL.into(), provider, model, timeouts: Timeouts::default() }
}

impl Target {
    fn candidate(&self, index: usize) -> WeightedCandidate {
        let (running, served) = (self.destination.running(), self.served.load(Ordering::Relaxed));
        WeightedCandidate { index, weight: self.weight, running, served }
    }
}

#[cfg(test)]
mod tests;
