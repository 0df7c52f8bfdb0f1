//! The keys of an upstream: load balancing, the queue, and failing keys.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use client::{Connection, Request, Stream};
use engine::provider::route::Retries;
use engine::secret::Secret;
use engine::upstreams::{KeyHealth, UpstreamState};
use fakes::{Script, Upstream, Vendor, VendorError};
use provider::config::{KeyConfig, Strategy, UpstreamConfig, WireKind};
use serde_json::{Value, json};
use tokio::sync::Notify;

use crate::metrics::{scrape, until};
use crate::test_server::{
    TestApi, TestFrame, TestServer, TestServerPlan, WAYS, question, stateless, upstream_of,
};

/// The model that only the test's upstream serves.
const MODEL: &str = "keyed";
const NAME: &str = "lab-keyed";

const PLAIN: (TestApi, TestFrame) = (TestApi::Responses, TestFrame::Json);

/// An upstream with these keys and weights, which go out of use when they fail.
fn config(lab: &Upstream, keys: &[(&str, u32)]) -> UpstreamConfig {
    let key = |(secret, weight): &(&str, u32)| {
        // Labels are numbers, as in the settings.
        KeyConfig {
            weight: *weight,
            ..KeyConfig::new(secret.trim_start_matches("sk-"), Secret::new(*secret))
        }
    };
    UpstreamConfig {
        keys: keys.iter().map(key).collect(),
        key_rest: Duration::from_mins(10),
        strategy: Strategy::Order,
        ..upstream_of(MODEL, lab.base_url(), engine::provider::route::Timeouts::default())
    }
}

async fn open(config: UpstreamConfig) -> TestServer {
    TestServer::open_with(TestServerPlan {
        more_upstreams: vec![config],
        ..TestServerPlan::default()
    })
    .await
}

/// How often each key was used.
fn asked(lab: &Upstream) -> BTreeMap<String, usize> {
    let mut counts = BTreeMap::new();
    for request in lab.requests() {
        *counts.entry(request.key.unwrap_or_default()).or_default() += 1;
    }
    counts
}

fn counts(of: &[(&str, usize)]) -> BTreeMap<String, usize> {
    of.iter().map(|(key, count)| ((*key).to_owned(), *count)).collect()
}

async fn ask(test_server: &TestServer) -> (u16, Value) {
    test_server.json(&question(PLAIN, MODEL, &json!({}))).await
}

fn state(test_server: &TestServer) -> UpstreamState {
    test_server.engine.upstreams().into_iter().find(|state| &*state.upstream == NAME).unwrap()
}

fn health(test_server: &TestServer, key: usize) -> KeyHealth {
    state(test_server).keys[key].health
}

/// Waits until this many requests are queued.
async fn wait_waiting(test_server: &TestServer, count: usize) {
    let waiting = async {
        while state(test_server).waiting != count {
            tokio::task::yield_now().await;
        }
    };
    client::soon(waiting).await.unwrap_or_else(|_late| panic!("{:?}", state(test_server)));
}

fn gated(gate: &Arc<Notify>) -> Script {
    Script::new().role().content("Once").wait_for(gate).content(" more").finish("stop").done().end()
}

#[tokio::test]
async fn load_is_shared_by_strategy_and_weight() {
    let lab = Upstream::start().await.unwrap();
    let keys = [("sk-one", 3), ("sk-two", 1)];
    for (strategy, expected) in [(Strategy::RoundRobin, [6, 2]), (Strategy::Order, [8, 0])] {
        let before = asked(&lab);
        let test_server = open(UpstreamConfig { strategy, ..config(&lab, &keys) }).await;
        for _ in 0..8 {
            assert_eq!(ask(&test_server).await.0, 200);
        }
        let since = |key: &str| asked(&lab).get(key).unwrap_or(&0) - before.get(key).unwrap_or(&0);
        assert_eq!([since("sk-one"), since("sk-two")], expected, "{strategy:?}");
        test_server.close().await;
    }
}

#[tokio::test]
async fn random_choice_uses_every_key_and_prefers_heavier_ones() {
    let lab = Upstream::start().await.unwrap();
    let test_server = open(UpstreamConfig {
        strategy: Strategy::Random,
        ..config(&lab, &[("sk-one", 9), ("sk-two", 1)])
    })
    .await;
    for _ in 0..100 {
        assert_eq!(ask(&test_server).await.0, 200);
    }
    // The probability of another outcome is below 1 in 10000 for each.
    let asked = asked(&lab);
    assert!(asked["sk-one"] > asked["sk-two"] && asked.len() == 2, "{asked:?}");
    test_server.close().await;
}

#[tokio::test]
async fn the_least_busy_key_is_next_while_responses_run() {
    let lab = Upstream::start().await.unwrap();
    let gate = Arc::new(Notify::new());
    let test_server = open(UpstreamConfig {
        strategy: Strategy::LeastBusy,
        ..config(&lab, &[("sk-one", 3), ("sk-two", 1)])
    })
    .await;
    lab.default_script(gated(&gate));
    let mut streams = Vec::new();
    for number in 1..=8 {
        streams.push(
            test_server
                .stream(&question((TestApi::Responses, TestFrame::Sse), MODEL, &json!({})))
                .await,
        );
        client::soon(lab.wait_requests(number)).await.unwrap();
    }
    assert_eq!(asked(&lab), counts(&[("sk-one", 6), ("sk-two", 2)]));
    assert_eq!(state(&test_server).keys.iter().map(|key| key.running).collect::<Vec<_>>(), [6, 2]);
    let seen = scrape(&test_server).await;
    assert_eq!(
        seen.value("weir_upstream_key_running", &[("upstream", NAME), ("key", "one")]),
        Some(6.0)
    );
    for stream in &mut streams {
        gate.notify_one();
        client::soon(stream.collect()).await.unwrap().unwrap();
    }
    test_server.quiet().await;
    assert_eq!(state(&test_server).keys.iter().map(|key| key.running).collect::<Vec<_>>(), [0, 0]);
    test_server.close().await;
}

#[tokio::test]
async fn a_rejected_key_goes_out_of_use_without_affecting_clients() {
    for way in WAYS {
        let lab = Upstream::start().await.unwrap();
        lab.require_keys(&["sk-good"]);
        let test_server = open(config(&lab, &[("sk-bad", 1), ("sk-good", 1)])).await;
        for _ in 0..3 {
            let mut response = test_server.send(&question(way, MODEL, &json!({}))).await;
            let body = String::from_utf8(response.collect().await.unwrap().0).unwrap();
            assert_eq!(response.status, 200, "{way:?}: {body}");
            assert!(
                body.contains("world")
                    && !body.contains("\"error\":{")
                    && !body.contains("refused"),
                "{way:?}: {body}"
            );
        }
        assert_eq!(asked(&lab), counts(&[("sk-bad", 1), ("sk-good", 3)]), "{way:?}");
        assert!(
            matches!(health(&test_server, 0), KeyHealth::Refused(left) if left > Duration::from_secs(20)),
            "{:?}",
            state(&test_server)
        );
        let seen = scrape(&test_server).await;
        assert_eq!(
            seen.value(
                "weir_upstream_key_state",
                &[("upstream", NAME), ("key", "bad"), ("state", "refused")]
            ),
            Some(1.0)
        );
        assert_eq!(
            seen.value(
                "weir_upstream_retries_total",
                &[("upstream", NAME), ("reason", "other_key")]
            ),
            Some(1.0)
        );
        test_server.close().await;
    }
}

#[tokio::test]
async fn without_a_valid_key_the_caller_gets_the_reason() {
    let lab = Upstream::start().await.unwrap();
    lab.require_keys(&["sk-good"]);
    let test_server = open(config(&lab, &[("sk-bad", 1), ("sk-worse", 1)])).await;
    for _ in 0..2 {
        let (status, body) = ask(&test_server).await;
        assert_eq!(
            (status, &body["error"]["code"]),
            (502, &json!("upstream_authentication_failed")),
            "{body}"
        );
    }
    // Both are out of use: the second request does not reach the upstream.
    assert_eq!(asked(&lab), counts(&[("sk-bad", 1), ("sk-worse", 1)]));
    test_server.close().await;
}

#[tokio::test]
async fn a_rate_limited_key_pauses_for_as_long_as_each_vendor_asks() {
    for vendor in Vendor::ALL {
        let lab = Upstream::start().await.unwrap();
        let (_, wire) = WireKind::ALL.iter().find(|(word, _)| *word == vendor.name()).unwrap();
        let config = UpstreamConfig {
            wire: *wire,
            base_url: lab.base_url_of(vendor),
            ..config(&lab, &[("sk-one", 1), ("sk-two", 1)])
        };
        let test_server = open(config).await;
        lab.script_for_key(
            "sk-one",
            Script::refused_for(429, VendorError::RateLimit, Duration::from_secs(7)),
        );
        for _ in 0..3 {
            let (status, body) = ask(&test_server).await;
            assert_eq!(status, 200, "{vendor:?}: {body}");
        }
        assert_eq!(asked(&lab), counts(&[("sk-one", 1), ("sk-two", 3)]), "{vendor:?}");
        assert_eq!(lab.complaints(), Vec::<String>::new());
        // Ollama cannot say how long.
        let longest = if vendor == Vendor::Ollama { 1 } else { 7 };
        let KeyHealth::Cooling(left) = health(&test_server, 0) else {
            panic!("{vendor:?}: {:?}", state(&test_server))
        };
        assert!(
            left <= Duration::from_secs(longest)
                && left + Duration::from_secs(5) > Duration::from_secs(longest),
            "{vendor:?}: {left:?}"
        );
        assert_eq!(health(&test_server, 1), KeyHealth::Well);
        test_server.close().await;
    }
}

#[tokio::test]
async fn a_key_is_used_again_after_its_pause() {
    let lab = Upstream::start().await.unwrap();
    let test_server = open(UpstreamConfig {
        key_rest: Duration::from_millis(200),
        ..config(&lab, &[("sk-one", 1), ("sk-two", 1)])
    })
    .await;
    lab.script_for_key(
        "sk-one",
        Script::refused_for(429, VendorError::RateLimit, Duration::from_secs(7)),
    );
    assert_eq!(ask(&test_server).await.0, 200);
    let well = [("upstream", NAME), ("key", "one"), ("state", "well")];
    until(
        &test_server,
        |seen| seen.value("weir_upstream_key_state", &well) == Some(1.0),
        "the key is well again",
    )
    .await;
    assert_eq!(ask(&test_server).await.0, 200);
    assert_eq!(asked(&lab), counts(&[("sk-one", 2), ("sk-two", 1)]));
    test_server.close().await;
}

#[tokio::test]
async fn with_all_keys_paused_the_caller_gets_a_retry_delay() {
    let lab = Upstream::start().await.unwrap();
    let test_server = open(config(&lab, &[("sk-one", 1), ("sk-two", 1)])).await;
    lab.script_for_key(
        "sk-one",
        Script::refused_for(429, VendorError::RateLimit, Duration::from_secs(30)),
    );
    lab.script_for_key(
        "sk-two",
        Script::refused_for(429, VendorError::RateLimit, Duration::from_secs(7)),
    );
    for _ in 0..2 {
        let mut response =
            test_server.send(&question((TestApi::Chat, TestFrame::Sse), MODEL, &json!({}))).await;
        let body = String::from_utf8(response.collect().await.unwrap().0).unwrap();
        let wait: u64 = response.headers.get("retry-after").unwrap().parse().unwrap();
        assert!(
            response.status == 429 && (1..=7).contains(&wait),
            "{} {wait} {body}",
            response.status
        );
    }
    assert_eq!(asked(&lab), counts(&[("sk-one", 1), ("sk-two", 1)]));
    test_server.close().await;
}

#[tokio::test]
async fn a_key_without_credit_is_used_once() {
    for (status, vendor) in [
        (402, Vendor::OpenAi),
        (429, Vendor::OpenAi),
        (429, Vendor::Responses),
        (402, Vendor::Anthropic),
    ] {
        let lab = Upstream::start().await.unwrap();
        let (_, wire) = WireKind::ALL.iter().find(|(word, _)| *word == vendor.name()).unwrap();
        let at = |keys| UpstreamConfig {
            wire: *wire,
            base_url: lab.base_url_of(vendor),
            ..config(&lab, keys)
        };
        let retries = Retries { count: 2, ..Retries::default() };
        // A single key fails at once, with or without retries.
        let test_server = TestServer::open_with(TestServerPlan {
            more_upstreams: vec![at(&[("sk-empty", 1)])],
            retries,
            ..TestServerPlan::default()
        })
        .await;
        lab.script_for_key("sk-empty", Script::refused(status, VendorError::Quota));
        let (_, body) = ask(&test_server).await;
        assert_eq!(
            body["error"]["code"], "upstream_quota_exhausted",
            "{status} {vendor:?}: {body}"
        );
        assert_eq!(asked(&lab), counts(&[("sk-empty", 1)]), "{status} {vendor:?}");
        test_server.close().await;
        // Another key takes over.
        let test_server = open(at(&[("sk-empty", 1), ("sk-full", 1)])).await;
        lab.script_for_key("sk-empty", Script::refused(status, VendorError::Quota));
        for _ in 0..2 {
            assert_eq!(ask(&test_server).await.0, 200);
        }
        assert_eq!(asked(&lab), counts(&[("sk-empty", 2), ("sk-full", 2)]), "{status} {vendor:?}");
        assert!(
            matches!(health(&test_server, 0), KeyHealth::Empty(_)),
            "{:?}",
            state(&test_server)
        );
        test_server.close().await;
    }
}

/// Sends a streamed request, identified by its text, on a connection that can be dropped, without waiting.
async fn start(test_server: &TestServer, text: &str) -> Connection {
    let mut connection = Connection::open(test_server.address).await.unwrap();
    connection.write(&numbered(text)).await.unwrap();
    connection
}

fn numbered(text: &str) -> Request {
    let body = json!({ "model": MODEL, "messages": [{ "role": "user", "content": text }], "stream": true });
    Request::post("/v1/chat/completions", &body)
}

async fn stream_of(connection: Connection) -> Stream {
    connection.read_response(&numbered("")).await.unwrap().events().unwrap()
}

/// The texts of the upstream's requests, in order.
fn texts(lab: &Upstream) -> Vec<String> {
    lab.requests()
        .iter()
        .map(|request| request.body["messages"][0]["content"].as_str().unwrap().to_owned())
        .collect()
}

fn narrow(lab: &Upstream, queue: usize) -> UpstreamConfig {
    let mut config = UpstreamConfig { queue, ..config(lab, &[("sk-one", 1)]) };
    config.keys[0].concurrency = 1;
    config
}

#[tokio::test]
async fn the_key_queue_is_served_in_order_without_requests_that_left() {
    let lab = Upstream::start().await.unwrap();
    let gate = Arc::new(Notify::new());
    lab.default_script(gated(&gate));
    let test_server = open(narrow(&lab, 3)).await;
    let first = start(&test_server, "first").await;
    client::soon(lab.wait_requests(1)).await.unwrap();
    let mut waiting = Vec::new();
    for (count, text) in ["second", "left", "third"].into_iter().enumerate() {
        waiting.push(start(&test_server, text).await);
        wait_waiting(&test_server, count + 1).await;
    }
    let seen = scrape(&test_server).await;
    assert_eq!(seen.value("weir_upstream_waiting", &[("upstream", NAME)]), Some(3.0));

    // The queue is full, which is reported at once.
    let (status, body) =
        test_server.json(&stateless((TestApi::Chat, TestFrame::Json), MODEL)).await;
    assert_eq!((status, &body["error"]["code"]), (429, &json!("upstream_queue_full")), "{body}");

    drop(waiting.remove(1));
    wait_waiting(&test_server, 2).await;
    let mut connections = [first].into_iter().chain(waiting);
    for served in 1..=3 {
        gate.notify_one();
        let mut stream = stream_of(connections.next().unwrap()).await;
        let (events, _) = client::soon(stream.collect()).await.unwrap().unwrap();
        assert_eq!(events.last().unwrap().data.as_ref(), b"[DONE]");
        if served < 3 {
            client::soon(lab.wait_requests(served + 1)).await.unwrap();
        }
    }
    assert_eq!(texts(&lab), ["first", "second", "third"]);
    test_server.close().await;
}

#[tokio::test]
async fn waiting_too_long_for_a_key_is_an_error() {
    let lab = Upstream::start().await.unwrap();
    lab.default_script(Script::new().role().content("Once").stall());
    let test_server =
        open(UpstreamConfig { queue_timeout: Duration::from_millis(100), ..narrow(&lab, 3) }).await;
    let first = start(&test_server, "first").await;
    client::soon(lab.wait_requests(1)).await.unwrap();
    let mut response = test_server.send(&numbered("second")).await;
    let body = String::from_utf8(response.collect().await.unwrap().0).unwrap();
    assert_eq!((response.status, response.headers.get("retry-after")), (429, Some("1")), "{body}");
    assert!(body.contains("upstream_queue_full"), "{body}");
    assert_eq!(texts(&lab), ["first"]);
    drop(first);
    test_server.quiet().await;
    test_server.close().await;
}
