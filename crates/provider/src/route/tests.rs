//! Which upstreams a model name resolves to, and in which order.

use super::*;
use crate::config::{DemoConfig, Preset, TargetConfig};

fn upstream(name: &str, models: &[&str]) -> UpstreamConfig {
    let models = models.iter().map(|model| (*model).to_owned()).collect();
    UpstreamConfig {
        models,
        ..UpstreamConfig::new(name, Preset::Compatible, "http://127.0.0.1:9/v1")
    }
}

fn routes(is_demo_enabled: bool, upstreams: Vec<UpstreamConfig>) -> Routes {
    let demo = DemoConfig { enabled: is_demo_enabled, ..DemoConfig::default() };
    Routes::new(&Config { demo, upstreams, ..Config::default() }).unwrap()
}

/// The upstreams of a model, in the order in which they are tried.
fn targets(routes: &Routes, model: &str) -> Vec<String> {
    routes
        .route(model)
        .map(|route| route.targets.iter().map(|target| target.upstream.to_string()).collect())
        .unwrap_or_default()
}

fn leads(routes: &Routes, model: &str) -> Option<String> {
    targets(routes, model).into_iter().next()
}

fn route(model: &str, strategy: Strategy, targets: &[(&str, Option<&str>, u32)]) -> RouteConfig {
    let target = |(upstream, model, weight): &(&str, Option<&str>, u32)| TargetConfig {
        upstream: (*upstream).to_owned(),
        model: model.map(str::to_owned),
        weight: *weight,
    };
    RouteConfig {
        model: model.to_owned(),
        upstreams: targets.iter().map(target).collect(),
        strategy,
        on_leave: None,
    }
}

#[test]
fn a_name_resolves_to_the_upstream_that_claims_it_or_to_one_that_takes_any() {
    let routes = routes(
        true,
        vec![
            upstream("any", &[]),
            upstream("north", &["a", "b"]),
            upstream("south", &["b", "demo"]),
        ],
    );
    assert_eq!(leads(&routes, "demo").as_deref(), Some("demo"));
    assert_eq!(leads(&routes, "a").as_deref(), Some("north"));
    assert_eq!(leads(&routes, "b").as_deref(), Some("north"));
    assert_eq!(leads(&routes, "other").as_deref(), Some("any"));
}

#[test]
fn the_demo_name_is_free_when_the_demo_is_disabled() {
    assert_eq!(
        leads(&routes(false, vec![upstream("south", &["demo"])]), "demo").as_deref(),
        Some("south")
    );
    assert_eq!(leads(&routes(false, vec![upstream("south", &["b"])]), "demo"), None);
}

#[tokio::test]
async fn the_list_names_each_model_once_and_the_demo_first() {
    let routes =
        routes(true, vec![upstream("north", &["a", "b"]), upstream("south", &["b", "demo", "c"])]);
    let listed: Vec<_> =
        routes.list().await.into_iter().map(|listing| (listing.id, listing.owned_by)).collect();
    let expected = [("demo", "weir"), ("a", "north"), ("b", "north"), ("c", "south")];
    assert_eq!(listed, expected.map(|(id, owner)| (id.to_owned(), owner.to_owned())));
}

#[test]
fn an_invalid_base_url_is_reported_with_its_upstream() {
    let broken =
        UpstreamConfig { base_url: "localhost:11434".to_owned(), ..upstream("north", &[]) };
    let error = Routes::new(&Config { upstreams: vec![broken], ..Config::default() }).unwrap_err();
    assert_eq!(
        error.to_string(),
        "the base_url of the upstream 'north' cannot be used: it must start with http:// or https://"
    );
}

#[test]
fn a_route_has_precedence_over_what_upstreams_claim() {
    let upstreams = vec![upstream("north", &["fast"]), upstream("south", &["b"])];
    let config = Config {
        upstreams,
        routes: vec![route(
            "fast",
            Strategy::Order,
            &[("south", Some("b"), 1), ("north", None, 1)],
        )],
        ..Config::default()
    };
    let routes = Routes::new(&config).unwrap();
    assert_eq!(targets(&routes, "fast"), ["south", "north"]);
    let models: Vec<_> =
        routes.route("fast").unwrap().targets.iter().map(|target| target.model.clone()).collect();
    assert_eq!(models, [Some(Arc::from("b")), None]);
    assert_eq!(targets(&routes, "b"), ["south"]);
}

#[test]
fn a_route_balances_by_weight_and_keeps_the_others_as_fallback() {
    let upstreams = vec![upstream("north", &["a"]), upstream("south", &["a"])];
    let routes = vec![route("a", Strategy::RoundRobin, &[("north", None, 3), ("south", None, 1)])];
    let routes = Routes::new(&Config { upstreams, routes, ..Config::default() }).unwrap();
    let mut first = Vec::new();
    for _ in 0..8 {
        let targets = targets(&routes, "a");
        assert_eq!(targets.len(), 2);
        first.push(targets[0].clone());
    }
    assert_eq!(first.iter().filter(|name| *name == "north").count(), 6);
}

#[test]
fn a_route_to_an_unknown_upstream_is_reported() {
    let error = Routes::new(&Config {
        routes: vec![route("a", Strategy::Order, &[("east", None, 1)])],
        ..Config::default()
    })
    .unwrap_err();
    assert_eq!(
        error.to_string(),
        "the route for the model 'a' leads to the upstream 'east', which does not exist"
    );
}

#[test]
fn an_upstream_with_unchanged_settings_survives_a_reload() {
    let config = |timeout| {
        let mut south = upstream("south", &["b"]);
        south.timeouts.idle = std::time::Duration::from_secs(timeout);
        Config { upstreams: vec![upstream("north", &["a"]), south], ..Config::default() }
    };
    let before = Routes::new(&config(1)).unwrap();
    let after = before.replaced(&config(2)).unwrap();
    let is_same =
        |name: &str| std::ptr::eq(before.upstream(name).unwrap(), after.upstream(name).unwrap());
    assert!(is_same("north") && !is_same("south"));
}

#[test]
fn an_unknown_model_goes_to_an_upstream_whose_list_is_not_known_yet() {
    // No upstream has listed its models yet: the name's vendor decides, or else the first upstream.
    let own = UpstreamConfig { preset: Preset::Anthropic, ..upstream("south", &[]) };
    let routes = routes(false, vec![upstream("north", &[]), own]);
    assert_eq!(leads(&routes, "claude-sonnet-5").as_deref(), Some("south"));
    assert_eq!(leads(&routes, "qwen3").as_deref(), Some("north"));
}

#[test]
fn a_route_may_lead_to_the_demo() {
    let config = |enabled| Config {
        demo: DemoConfig { enabled, ..DemoConfig::default() },
        upstreams: vec![upstream("north", &["a"])],
        routes: vec![route("gpt-3.5-turbo", Strategy::Order, &[("demo", None, 1)])],
        ..Config::default()
    };
    let routes = Routes::new(&config(true)).unwrap();
    assert_eq!(targets(&routes, "gpt-3.5-turbo"), ["demo"]);
    assert!(Routes::new(&config(false)).is_err(), "there is no demo");
}
