//! Which upstream serves which model.

use std::collections::HashSet;
use std::sync::Arc;

use engine::provider::{ModelListing, Models, Provider, Route, Timeouts};
use futures_util::FutureExt;
use futures_util::future::{BoxFuture, join_all};

use crate::config::{BuildError, Config, UpstreamConfig};
use crate::demo::{self, Demo};
use crate::openai::OpenAi;

/// All upstreams, in the order of the configuration.
#[derive(Debug)]
pub struct Routes {
    demo: Option<Arc<Demo>>,
    upstreams: Vec<Upstream>,
}

#[derive(Debug)]
struct Upstream {
    name: Arc<str>,
    provider: Arc<OpenAi>,
    /// Empty: whatever it lists, and any name nobody else claims.
    models: Vec<String>,
    timeouts: Timeouts,
}

impl Routes {
    /// The upstreams that `config` describes.
    ///
    /// # Errors
    /// The first upstream whose settings cannot be used.
    pub fn new(config: &Config) -> Result<Self, BuildError> {
        let demo = config.demo.enabled.then(|| Arc::new(Demo::new(config.demo.tokens_per_second)));
        let upstreams = config.upstreams.iter().map(Upstream::new).collect::<Result<_, _>>()?;
        Ok(Self { demo, upstreams })
    }

    /// The upstream that claims `model`, or else the first that takes any.
    fn upstream(&self, model: &str) -> Option<&Upstream> {
        let claims = |upstream: &&Upstream| upstream.models.iter().any(|claimed| claimed == model);
        self.upstreams.iter().find(claims).or_else(|| self.upstreams.iter().find(|upstream| upstream.models.is_empty()))
    }
}

impl Models for Routes {
    fn route(&self, model: &str) -> Option<Route> {
        if let Some(demo) = self.demo.as_ref().filter(|_| model == demo::MODEL) {
            let provider = Arc::clone(demo) as Arc<dyn Provider>;
            return Some(Route { upstream: demo::MODEL.into(), provider, timeouts: Timeouts::default(), is_listed: true });
        }
        self.upstream(model).map(|upstream| upstream.route(model))
    }

    fn list(&self) -> BoxFuture<'_, Vec<ModelListing>> {
        async {
            let demo = self.demo.iter().map(|_| ModelListing { id: demo::MODEL.to_owned(), owned_by: "weir".to_owned(), created: 0 });
            let upstreams = join_all(self.upstreams.iter().map(Upstream::list)).await;
            let mut seen = HashSet::new();
            demo.chain(upstreams.into_iter().flatten()).filter(|listing| seen.insert(listing.id.clone())).collect()
        }
        .boxed()
    }
}

impl Upstream {
    fn new(config: &UpstreamConfig) -> Result<Self, BuildError> {
        Ok(Self {
            name: config.name.as_str().into(),
            provider: Arc::new(OpenAi::new(config)?),
            models: config.models.clone(),
            timeouts: config.timeouts,
        })
    }

    fn route(&self, model: &str) -> Route {
        let provider = Arc::clone(&self.provider) as Arc<dyn Provider>;
        // One that names its models is asked for no other.
        let is_listed = !self.models.is_empty() || self.provider.has_listed(model);
        Route { upstream: Arc::clone(&self.name), provider, timeouts: self.timeouts, is_listed }
    }

    /// The configured names, or else what the upstream itself lists.
    async fn list(&self) -> Vec<ModelListing> {
        if self.models.is_empty() {
            return self.provider.list().await;
        }
        let listing = |model: &String| ModelListing { id: model.clone(), owned_by: self.name.to_string(), created: 0 };
        self.models.iter().map(listing).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::DemoConfig;

    fn upstream(name: &str, models: &[&str]) -> UpstreamConfig {
        UpstreamConfig {
            name: name.to_owned(),
            base_url: "http://127.0.0.1:9/v1".to_owned(),
            api_key: None,
            models: models.iter().map(|model| (*model).to_owned()).collect(),
            timeouts: Timeouts::default(),
        }
    }

    fn routes(is_demo_enabled: bool, upstreams: Vec<UpstreamConfig>) -> Routes {
        let demo = DemoConfig { enabled: is_demo_enabled, ..DemoConfig::default() };
        Routes::new(&Config { demo, upstreams }).unwrap()
    }

    fn leads(routes: &Routes, model: &str) -> Option<String> {
        routes.route(model).map(|route| route.upstream.to_string())
    }

    #[test]
    fn a_name_leads_to_who_claims_it_and_else_to_who_takes_any() {
        let routes = routes(true, vec![upstream("any", &[]), upstream("north", &["a", "b"]), upstream("south", &["b", "demo"])]);
        assert_eq!(leads(&routes, "demo").as_deref(), Some("demo"));
        assert_eq!(leads(&routes, "a").as_deref(), Some("north"));
        assert_eq!(leads(&routes, "b").as_deref(), Some("north"));
        assert_eq!(leads(&routes, "other").as_deref(), Some("any"));
    }

    #[test]
    fn without_the_demo_its_name_is_free() {
        assert_eq!(leads(&routes(false, vec![upstream("south", &["demo"])]), "demo").as_deref(), Some("south"));
        assert_eq!(leads(&routes(false, vec![upstream("south", &["b"])]), "demo"), None);
    }

    #[tokio::test]
    async fn the_list_names_each_model_once_and_the_demo_first() {
        let routes = routes(true, vec![upstream("north", &["a", "b"]), upstream("south", &["b", "demo", "c"])]);
        let listed: Vec<_> = routes.list().await.into_iter().map(|listing| (listing.id, listing.owned_by)).collect();
        let expected = [("demo", "weir"), ("a", "north"), ("b", "north"), ("c", "south")];
        assert_eq!(listed, expected.map(|(id, owner)| (id.to_owned(), owner.to_owned())));
    }

    #[test]
    fn an_address_that_is_none_is_named() {
        let broken = UpstreamConfig { base_url: "localhost:11434".to_owned(), ..upstream("north", &[]) };
        let error = Routes::new(&Config { upstreams: vec![broken], ..Config::default() }).unwrap_err();
        assert_eq!(error.to_string(), "the base_url of the upstream 'north' cannot be used: it must begin with http:// or https://");
    }
}
