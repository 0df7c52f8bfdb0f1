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
