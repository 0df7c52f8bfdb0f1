//! Embeddings, text completions and moderations end to end: routing, contents, and failures.

mod completions;
mod embeddings;
mod failures;
mod limits;
mod moderations;
mod record;

use std::time::Duration;

use client::Request;
use engine::provider::route::Timeouts;
use fakes::{Upstream, Vendor};
use provider::config::{Preset, RouteConfig, Strategy, TargetConfig, UpstreamConfig, WireKind};
use serde_json::{Value, json};

use crate::test_server::{TestServer, TestServerPlan, upstream_of};

/// The timeout where silence is the fault.
const SHORT: Duration = Duration::from_millis(200);

/// The paths, each with its input field.
const PATHS: [(&str, &str); 3] =
    [("/v1/embeddings", "input"), ("/v1/completions", "prompt"), ("/v1/moderations", "input")];

/// One upstream of each API, and the server in front of them. Each has one model, named like the API.
struct Vendors {
    test_server: TestServer,
    fakes: Vec<(&'static str, Upstream)>,
}

/// Every upstream in these tests: the model, its settings, and the server.
const KINDS: [(&str, Vendor, Preset, WireKind); 6] = [
    ("compatible", Vendor::OpenAi, Preset::Compatible, WireKind::Chat),
    ("openai", Vendor::OpenAi, Preset::OpenAi, WireKind::Chat),
    ("responses", Vendor::Responses, Preset::OpenAi, WireKind::Responses),
    ("anthropic", Vendor::Anthropic, Preset::Anthropic, WireKind::Anthropic),
    ("gemini", Vendor::Gemini, Preset::Gemini, WireKind::Gemini),
    ("ollama", Vendor::Ollama, Preset::Ollama, WireKind::Ollama),
];

impl Vendors {
    async fn open() -> Self {
        let (mut fakes, mut more_upstreams) = (Vec::new(), Vec::new());
        for (model, vendor, preset, wire) in KINDS {
            let fake = if preset == Preset::Compatible {
                Upstream::start().await
            } else {
                Upstream::start_as(vendor).await
            }
            .unwrap();
            more_upstreams.push(UpstreamConfig {
                preset,
                wire,
                ..upstream_of(model, fake.base_url(), Timeouts::default())
            });
            fakes.push((model, fake));
        }
        let test_server =
            TestServer::open_with(TestServerPlan { more_upstreams, ..TestServerPlan::default() })
                .await;
        Self { test_server, fakes }
    }

    fn fake(&self, model: &str) -> &Upstream {
        &self.fakes.iter().find(|(name, _)| *name == model).unwrap().1
    }

    /// Ends the server. Requests that an upstream would have rejected fail the test.
    async fn close(self) {
        for (model, fake) in &self.fakes {
            assert_eq!(fake.complaints(), Vec::<String>::new(), "{model}");
            client::soon(fake.wait_streams(0)).await.unwrap();
        }
        self.test_server.close().await;
    }
}

/// Two compatible upstreams, and a route `both` over them with other model names.
struct Pair {
    first: Upstream,
    second: Upstream,
}

impl Pair {
    async fn start() -> Self {
        Self { first: Upstream::start().await.unwrap(), second: Upstream::start().await.unwrap() }
    }

    /// A plan with the route; `change` changes the settings of the first upstream.
    fn plan(&self, change: impl FnOnce(&mut UpstreamConfig)) -> TestServerPlan {
        let mut first = upstream_of("first", self.first.base_url(), Timeouts::default());
        change(&mut first);
        let second = upstream_of("second", self.second.base_url(), Timeouts::default());
        let target = |name: &str| TargetConfig {
            upstream: format!("lab-{name}"),
            model: Some(format!("{name}-model")),
            weight: 1,
        };
        let upstreams = vec![target("first"), target("second")];
        let route = RouteConfig {
            model: "both".to_owned(),
            upstreams,
            strategy: Strategy::Order,
            on_leave: None,
        };
        TestServerPlan {
            more_upstreams: vec![first, second],
            routes: vec![route],
            ..TestServerPlan::default()
        }
    }

    fn asked(&self) -> [usize; 2] {
        [self.first.requests().len(), self.second.requests().len()]
    }
}

/// A request for one of the [`PATHS`].
fn request(path: &str, model: &str, more: &Value) -> Request {
    let input = PATHS.iter().find(|(known, _)| *known == path).unwrap().1;
    let mut body = json!({ "model": model, input: "hello" });
    body.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
    Request::post(path, &body)
}
